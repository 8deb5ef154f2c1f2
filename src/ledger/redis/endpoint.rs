//! Where the server is, and what to show it: read at every connect, so that a rotated password or certificate needs no restart.

use std::fmt;
use std::path::{Path, PathBuf};

use redis::io::tcp::TcpSettings;
use redis::{
    Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, TlsCertificates,
};

use crate::ledger::LedgerError;

/// Where the server is, and the files with what it is shown.
#[derive(Clone, Default)]
pub struct RedisSettings {
    /// `redis://` or `rediss://`, host, port and database; or `redis+unix://` and the path of a socket.
    pub url: String,
    /// Certificates of the authorities that may have signed the server's, PEM. `None`: those that Mozilla trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// The name of the user.
    pub username_file: Option<PathBuf>,
    /// The password.
    pub password_file: Option<PathBuf>,
}

/// The URL may hold a password: of it, only the address is shown.
impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, ca_file, cert_file, key_file, username_file, password_file } = self;
        f.debug_struct("RedisSettings")
            .field("address", &self.address())
            .field("ca_file", ca_file)
            .field("cert_file", cert_file)
            .field("key_file", key_file)
            .field("username_file", username_file)
            .field("password_file", password_file)
            .finish()
    }
}

impl RedisSettings {
    /// A server that asks for nothing.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }

    /// What can be told without reading a file or asking the server. The message names the flag, and never the password.
    pub fn validate(&self) -> Result<(), String> {
        let info = self.parse().map_err(|fault| {
            format!(
                "--redis-url is not the address of a Redis: {fault}. Write it as redis://HOST:PORT/DATABASE, or rediss:// for TLS; \
                 characters such as @ / # in a password as %40 %2F %23, or put it in a file and name that by --redis-password-file"
            )
        })?;
        let tls = match info.addr() {
            ConnectionAddr::TcpTls { insecure: true, .. } => {
                return Err(
                    "--redis-url asks for #insecure, which this program does not do: name the authority that signed \
                            the certificate of Redis by --redis-ca-file"
                        .to_owned(),
                );
            }
            ConnectionAddr::TcpTls { .. } => true,
            _ => false,
        };
        let files = [
            ("--redis-ca-file", &self.ca_file),
            ("--redis-cert-file", &self.cert_file),
            ("--redis-key-file", &self.key_file),
        ];
        if let Some((flag, _)) = files.iter().find(|(_, file)| file.is_some() && !tls) {
            return Err(format!(
                "{flag} is for TLS, and --redis-url does not begin with rediss://: without it nothing is encrypted"
            ));
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("--redis-cert-file and --redis-key-file are of use together only".to_owned());
        }
        let redis = info.redis_settings();
        if redis.password().is_some() && self.password_file.is_some() {
            return Err(
                "both --redis-url and --redis-password-file give a password: leave it out of the URL".to_owned()
            );
        }
        if redis.username().is_some() && self.username_file.is_some() {
            return Err("both --redis-url and --redis-username-file name a user: leave it out of the URL".to_owned());
        }
        Ok(())
    }

    /// Host and port, or the path of the socket.
    pub(super) fn address(&self) -> String {
        self.parse().map_or_else(|_| "no address".to_owned(), |info| info.addr().to_string())
    }

    /// A client with what the files say now.
    pub(super) fn client(&self) -> Result<Client, LedgerError> {
        let refused = |error: &redis::RedisError| {
            LedgerError::Refused(format!("no TLS connection to Redis can be made: {error}"))
        };
        let info = self.parse().map_err(LedgerError::Refused)?;
        // RESP3 whatever the URL says: on RESP2 a connection that was closed while idle is noticed by the first call that fails.
        let mut redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // `CLIENT SETINFO` came with 7.2 and needs a right of its own: a name in `CLIENT LIST` is not worth that.
        redis = redis.set_skip_set_lib_name();
        if let Some(file) = &self.username_file {
            redis = redis.set_username(secret("--redis-username-file", file)?);
        }
        if let Some(file) = &self.password_file {
            redis = redis.set_password(secret("--redis-password-file", file)?);
        }
        // Without it a pipeline waits for the acknowledgement of the one before: 40 ms on many a Linux.
        let info = info.set_redis_settings(redis).set_tcp_settings(TcpSettings::default().set_nodelay(true));
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Client::open(info).map_err(|error| refused(&error));
        }
        let client_tls = match (&self.cert_file, &self.key_file) {
            (Some(cert), Some(key)) => Some(ClientTlsConfig {
                client_cert: pem("--redis-cert-file", cert, "CERTIFICATE")?,
                client_key: pem("--redis-key-file", key, "PRIVATE KEY")?,
            }),
            _ => None,
        };
        let root_cert = self.ca_file.as_deref().map(|file| pem("--redis-ca-file", file, "CERTIFICATE")).transpose()?;
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert }).map_err(|error| refused(&error))
    }

    fn parse(&self) -> Result<ConnectionInfo, String> {
        // The words of the library quote nothing of the address but an unknown protocol.
        self.url.as_str().into_connection_info().map_err(|error| error.to_string())
    }
}

fn read(flag: &str, file: &Path) -> Result<Vec<u8>, LedgerError> {
    std::fs::read(file).map_err(|error| {
        LedgerError::Refused(format!("{flag} {} cannot be read: {error}; it is tried again", file.display()))
    })
}

/// Without the line break that editors and `echo` leave.
fn secret(flag: &str, file: &Path) -> Result<String, LedgerError> {
    let wrong = |what: &str| LedgerError::Refused(format!("{flag} {} {what}; it is read again", file.display()));
    let text = String::from_utf8(read(flag, file)?).map_err(|_| wrong("is not text in UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() { Err(wrong("is empty")) } else { Ok(text.to_owned()) }
}

/// A file without any certificate would be taken for no authority at all, and each server for one that nobody knows.
fn pem(flag: &str, file: &Path, what: &str) -> Result<Vec<u8>, LedgerError> {
    let text = read(flag, file)?;
    let end = format!("{what}-----");
    let has = text.windows(end.len()).any(|part| part == end.as_bytes());
    let wrong = || LedgerError::Refused(format!("{flag} {} has no {what} in PEM; it is read again", file.display()));
    has.then_some(text).ok_or_else(wrong)
}
