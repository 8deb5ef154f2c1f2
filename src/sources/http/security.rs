//! Who may report: a bearer token, TLS, and certificates of clients. Each from files that may change.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

use super::files::Watched;
use crate::metrics::GatewayMetrics;

/// What the flags say about who may report.
#[derive(Clone, Debug, Default)]
pub struct SecuritySettings {
    /// A token in each line: one of them is asked for.
    pub token_file: Option<PathBuf>,
    /// Our certificate, with those up to its authority, PEM.
    pub cert_file: Option<PathBuf>,
    /// Its key, PEM.
    pub key_file: Option<PathBuf>,
    /// Authorities of the certificates that clients must show, PEM.
    pub client_ca_file: Option<PathBuf>,
    /// Whether anybody may report, from anywhere.
    pub allow_anonymous: bool,
    /// Whether reports may come unencrypted, from anywhere.
    pub allow_plaintext: bool,
}

impl SecuritySettings {
    /// What can be told without reading a file. Security is off by itself only where nobody else can connect.
    pub fn validate(&self, listen: IpAddr) -> Result<(), String> {
        if self.client_ca_file.is_some() && self.cert_file.is_none() {
            return Err("--gateway-client-ca-file is for TLS: give --gateway-tls-cert-file and --gateway-tls-key-file"
                .to_owned());
        }
        // An empty path is none, and half of TLS must not be none by mistake.
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("give both --gateway-tls-cert-file and --gateway-tls-key-file, or neither".to_owned());
        }
        if listen.is_loopback() {
            return Ok(());
        }
        if self.token_file.is_none() && self.client_ca_file.is_none() && !self.allow_anonymous {
            return Err(format!(
                "--gateway-listen {listen} is open to others, and anybody could report: give --gateway-token-file or \
                 --gateway-client-ca-file, or say --gateway-allow-anonymous"
            ));
        }
        if self.cert_file.is_none() && !self.allow_plaintext {
            return Err(format!(
                "--gateway-listen {listen} is open to others, and alerts and tokens could be read on their way: give \
                 --gateway-tls-cert-file and --gateway-tls-key-file, or say --gateway-allow-plaintext, as behind a service mesh"
            ));
        }
        Ok(())
    }
}

/// The digests of the tokens that are accepted.
struct Tokens(Vec<[u8; 32]>);

/// Who may send webhooks, and over which TLS.
pub(super) struct Security {
    tokens: Option<Watched<Tokens>>,
    tls: Option<Watched<ServerConfig>>,
}

impl Security {
    /// Reads the files; the message says which cannot be used.
    pub(super) fn open(settings: &SecuritySettings, metrics: &GatewayMetrics) -> Result<Self, String> {
        let tokens = settings.token_file.clone().map(|file| Watched::open(vec![file], read_tokens, metrics.clone()));
        let tls = match (&settings.cert_file, &settings.key_file) {
            (Some(cert), Some(key)) => {
                let files = [Some(cert), Some(key), settings.client_ca_file.as_ref()];
                let files = files.into_iter().flatten().cloned().collect();
                Some(Watched::open(files, read_tls, metrics.clone()))
            }
            _ => None,
        };
        Ok(Self { tokens: tokens.transpose()?, tls: tls.transpose()? })
    }

    /// Whether a request with this `Authorization` may report.
    pub(super) fn admits(&self, authorization: Option<&[u8]>) -> bool {
        let Some(tokens) = &self.tokens else { return true };
        let Some((scheme, token)) = authorization.and_then(|value| value.split_at_checked(7)) else { return false };
        scheme.eq_ignore_ascii_case(b"bearer ") && tokens.get().holds(token.trim_ascii())
    }

    /// How to speak TLS with the next connection, if at all.
    pub(super) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(Watched::get)
    }
}

impl Tokens {
    /// In a time that depends on neither token: digests are of one length, and all of them are compared to their end.
    fn holds(&self, token: &[u8]) -> bool {
        let digest: [u8; 32] = Sha256::digest(token).into();
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&digest)).into()
    }
}

fn read_tokens(contents: &[Vec<u8>]) -> Result<Tokens, String> {
    let lines = contents.iter().flat_map(|content| content.split(|byte| *byte == b'\n'));
    let tokens: Vec<_> = lines.map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()).collect();
    if tokens.is_empty() {
        return Err("no token in it: it has one in each line".to_owned());
    }
    Ok(Tokens(tokens.into_iter().map(|token| Sha256::digest(token).into()).collect()))
}

/// Certificate, key, and perhaps the authorities of clients.
fn read_tls(contents: &[Vec<u8>]) -> Result<ServerConfig, String> {
    let [certificate, key, authorities @ ..] = contents else {
        return Err("a certificate and a key are needed".to_owned());
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|fault| format!("no private key in PEM: {fault}"))?;
    let config = ServerConfig::builder();
    let config = match authorities.first() {
        None => config.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(authorities)? {
                roots.add(authority).map_err(|fault| format!("an authority of clients cannot be used: {fault}"))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            config.with_client_cert_verifier(
                verifier.map_err(|fault| format!("the authorities of clients cannot be used: {fault}"))?,
            )
        }
    };
    let mut config = config
        .with_single_cert(chain, key)
        .map_err(|fault| format!("certificate and key cannot be used together: {fault}"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err("no certificate in PEM".to_owned()),
        Err(fault) => Err(format!("no certificate in PEM: {fault}")),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::metrics::Metrics;

    fn path() -> PathBuf {
        "x".into()
    }

    #[rstest]
    #[case("127.0.0.1", SecuritySettings::default(), None)]
    #[case("::1", SecuritySettings::default(), None)]
    #[case("0.0.0.0", SecuritySettings::default(), Some("--gateway-token-file"))]
    #[case("10.0.0.1", SecuritySettings { token_file: Some(path()), ..Default::default() }, Some("--gateway-tls-cert-file"))]
    #[case("0.0.0.0", SecuritySettings { token_file: Some(path()), allow_plaintext: true, ..Default::default() }, None)]
    #[case("0.0.0.0", SecuritySettings { token_file: Some(path()), cert_file: Some(path()), key_file: Some(path()), ..Default::default() }, None)]
    #[case("::", SecuritySettings { allow_anonymous: true, allow_plaintext: true, ..Default::default() }, None)]
    #[case("127.0.0.1", SecuritySettings { client_ca_file: Some(path()), ..Default::default() }, Some("--gateway-client-ca-file"))]
    #[case("0.0.0.0", SecuritySettings { token_file: Some(path()), cert_file: Some(path()), ..Default::default() }, Some("--gateway-tls-key-file"))]
    #[case("0.0.0.0", SecuritySettings { client_ca_file: Some(path()), cert_file: Some(path()), ..Default::default() }, Some("--gateway-tls-key-file"))]
    #[case("127.0.0.1", SecuritySettings { key_file: Some(path()), ..Default::default() }, Some("--gateway-tls-cert-file"))]
    fn security_is_off_by_itself_on_the_loopback_only(
        #[case] listen: &str,
        #[case] settings: SecuritySettings,
        #[case] says: Option<&str>,
    ) {
        let fault = settings.validate(listen.parse().unwrap()).err();
        assert_eq!(fault.is_some(), says.is_some(), "{fault:?}");
        assert!(fault.unwrap_or_default().contains(says.unwrap_or_default()));
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_the_tokens_in_the_file_is_asked_for_and_the_file_may_change() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("token");
        let settings = SecuritySettings { token_file: Some(file.clone()), ..Default::default() };
        let metrics = Metrics::default().gateway;
        std::fs::write(&file, "\n \n").unwrap();
        assert!(Security::open(&settings, &metrics).err().unwrap().contains("no token"));
        std::fs::write(&file, "old\nnew\r\n").unwrap();
        let security = Security::open(&settings, &metrics).unwrap();
        for admitted in ["Bearer old", "bearer new", "Bearer  new "] {
            assert!(security.admits(Some(admitted.as_bytes())), "{admitted}");
        }
        for refused in ["", "Bearer", "Bearer ", "Bearer ol", "Bearer oldx", "Basic old", "old", "Bearer old\nnew"] {
            assert!(!security.admits(Some(refused.as_bytes())), "{refused}");
        }
        assert!(!security.admits(None));
        std::fs::write(&file, "new").unwrap();
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(!security.admits(Some(b"Bearer old")) && security.admits(Some(b"Bearer new")));
    }

    #[rstest]
    #[case(&["", ""], "no certificate")]
    #[case(&["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""], "no private key")]
    #[case(&["x"], "are needed")]
    fn files_that_are_no_certificates_are_told(#[case] files: &[&str], #[case] says: &str) {
        let contents: Vec<_> = files.iter().map(|text| text.as_bytes().to_vec()).collect();
        let fault = read_tls(&contents).err().unwrap();
        assert!(fault.contains(says), "{fault}");
    }
}
