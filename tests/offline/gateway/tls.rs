//! TLS, with certificates that change and certificates of clients. `openssl` makes them, as it makes those of the throwaway cluster.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use stormfold::sources::GatewaySettings;
use stormfold::sources::http::SecuritySettings;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::world::{Answer, World, body, exchange, settings};

/// An authority, and what it has signed.
pub struct Authority(TempDir);

fn openssl(folder: &Path, arguments: &str) {
    let output =
        Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().expect("openssl is installed");
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Authority {
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap();
        openssl(
            folder.path(),
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2",
        );
        std::fs::write(folder.path().join("ext"), "subjectAltName=IP:127.0.0.1\n").unwrap();
        Self(folder)
    }

    /// Signs a certificate of this name, over any of the same name.
    pub fn sign(&self, name: &str) {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(self.0.path(), &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        openssl(
            self.0.path(),
            &format!(
                "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.new"
            ),
        );
        std::fs::rename(self.0.path().join(format!("{name}.new")), self.0.path().join(format!("{name}.crt"))).unwrap();
    }

    pub fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    pub fn certificate(&self, file: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.path(file)).unwrap()
    }

    /// A client that trusts this authority, and shows the certificate of this name.
    fn client(&self, shows: Option<(&Self, &str)>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate("ca.crt")).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots);
        let config = match shows {
            None => config.with_no_client_auth(),
            Some((authority, name)) => {
                let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{name}.key"))).unwrap();
                config.with_client_auth_cert(vec![authority.certificate(&format!("{name}.crt"))], key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

fn with(security: SecuritySettings) -> GatewaySettings {
    GatewaySettings { security, ..settings() }
}

/// Posts over TLS: the answer, and the certificate that the gateway has shown.
async fn post(world: &World, client: &TlsConnector) -> Result<(Answer, CertificateDer<'static>), String> {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = client.connect(name, stream).await.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned();
    let text = body(&["prod"]).to_string();
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", text.len());
    let answer = exchange(stream, "POST /webhook/alertmanager", &headers, text.as_bytes()).await?;
    Ok((answer, shown))
}

#[tokio::test]
async fn a_certificate_that_changes_is_shown_to_the_next_client() {
    let authority = Authority::new();
    authority.sign("server");
    let (cert_file, key_file) = (Some(authority.path("server.crt")), Some(authority.path("server.key")));
    let world = World::new(with(SecuritySettings { cert_file, key_file, ..SecuritySettings::default() }), &[]).await;
    let client = authority.client(None);
    let (answer, first) = post(&world, &client).await.unwrap();
    assert_eq!((answer.status, &first), (200, &authority.certificate("server.crt")));
    // Half of it is written: what was there goes on.
    std::fs::write(authority.path("server.crt"), "-----BEGIN").unwrap();
    until("the half-written file was met", || async {
        world.metrics.gateway.reload_failures.get() == 1 || post(&world, &client).await.is_err()
    })
    .await;
    assert_eq!(post(&world, &client).await.unwrap().1, first);
    authority.sign("server");
    let second = authority.certificate("server.crt");
    until("the new certificate is shown", || async { post(&world, &client).await.unwrap().1 == second }).await;
    // Who does not speak TLS gets nothing, and troubles nobody.
    let plain = exchange(TcpStream::connect(world.address).await.unwrap(), "GET /", "", b"").await;
    assert!(plain.is_err(), "{plain:?}");
    assert_eq!(post(&world, &client).await.unwrap().0.status, 200);
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_client_must_show_a_certificate_of_the_authority_that_is_named() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.sign("server");
    authority.sign("alertmanager");
    stranger.sign("alertmanager");
    let security = SecuritySettings {
        cert_file: Some(authority.path("server.crt")),
        key_file: Some(authority.path("server.key")),
        client_ca_file: Some(authority.path("ca.crt")),
        ..SecuritySettings::default()
    };
    let world = World::new(with(security), &[]).await;
    assert!(post(&world, &authority.client(None)).await.is_err());
    assert!(post(&world, &authority.client(Some((&stranger, "alertmanager")))).await.is_err());
    assert_eq!(world.api_server.calls(), 0);
    let (answer, _) = post(&world, &authority.client(Some((&authority, "alertmanager")))).await.unwrap();
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_at_the_start() {
    use stormfold::sources::http::Gateway;
    let world = World::simple().await;
    let missing = Some("not-there.pem".into());
    let security = SecuritySettings { cert_file: missing.clone(), key_file: missing, ..SecuritySettings::default() };
    let metrics = &world.metrics.gateway;
    let clock = stormfold::runtime::clock::Clock::new(|| jiff::Timestamp::UNIX_EPOCH);
    let fault = Gateway::open(&with(security), vec![], clock, metrics.clone()).err().unwrap();
    assert!(fault.contains("not-there.pem cannot be read"), "{fault}");
}
