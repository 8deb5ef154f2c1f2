//! Where Redis is and what it is shown: TLS, files, flags, and passwords that are never told.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use clap::Parser;
use stormfold::ledger::redis::RedisSettings;
use stormfold::ledger::{Ledger, LedgerError};
use stormfold::settings::{Cli, Command as Asked};
use tempfile::TempDir;

use crate::redis_server::{RedisServer, free_port};
use crate::redis_world::{World, until};

/// Nobody would write it by chance.
const SECRET: &str = "hunter2-6174";

fn openssl(folder: &Path, line: &str) {
    let output =
        Command::new("openssl").current_dir(folder).args(line.split(' ')).output().expect("openssl is missing");
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority of one's own, and a certificate for 127.0.0.1 that it signed.
fn certificates() -> TempDir {
    let folder = TempDir::new().unwrap();
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    std::fs::write(folder.path().join("san"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    for authority in ["ca", "other"] {
        let subject =
            format!("req -x509 {new_key} -days 2 -subj /CN={authority} -keyout {authority}.key -out {authority}.crt");
        openssl(folder.path(), &subject);
    }
    openssl(folder.path(), &format!("req {new_key} -subj /CN=redis -keyout redis.key -out redis.csr"));
    openssl(
        folder.path(),
        "x509 -req -in redis.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile san -out redis.crt",
    );
    folder
}

/// A server with TLS on a second port; that one's address.
fn tls_server(folder: &Path, clients: &str) -> (RedisServer, String) {
    let file = |name: &str| folder.join(name).display().to_string();
    let port = free_port().to_string();
    let (cert, key, ca) = (file("redis.crt"), file("redis.key"), file("ca.crt"));
    let server = RedisServer::start(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        clients,
    ]);
    (server, format!("rediss://127.0.0.1:{port}"))
}

#[tokio::test]
async fn tls_trusts_the_authority_in_the_file_and_no_other() {
    let folder = certificates();
    let file = |name: &str| Some(folder.path().join(name));
    let (_server, url) = tls_server(folder.path(), "no");
    let trusting = |ca_file| World::new(RedisSettings { ca_file, ..RedisSettings::new(url.clone()) });
    let world = trusting(file("ca.crt"));
    world.ledger.begin().await.unwrap();
    world.write().await.unwrap();
    for ca_file in [file("other.crt"), None] {
        let error = trusting(ca_file).ledger.begin().await.unwrap_err().to_string();
        assert!(error.contains("UnknownIssuer") && error.contains("--redis-ca-file"), "{error}");
    }
    for wrong in ["redis.key", "missing.crt"] {
        let error = trusting(file(wrong)).ledger.begin().await.unwrap_err();
        assert!(matches!(&error, LedgerError::Refused(words) if words.contains(wrong)), "{error}");
    }
}

#[tokio::test]
async fn an_authority_file_that_is_mended_lets_in_without_a_restart() {
    let folder = certificates();
    let (_server, url) = tls_server(folder.path(), "no");
    let ca_file = folder.path().join("mounted.crt");
    let world = World::new(RedisSettings { ca_file: Some(ca_file.clone()), ..RedisSettings::new(url) });
    assert!(matches!(world.ledger.begin().await, Err(LedgerError::Refused(_))));
    std::fs::copy(folder.path().join("ca.crt"), ca_file).unwrap();
    until(async || world.ledger.begin().await).await;
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_ours() {
    let folder = certificates();
    let file = |name: &str| Some(folder.path().join(name));
    let (_server, url) = tls_server(folder.path(), "yes");
    let settings = RedisSettings { ca_file: file("ca.crt"), ..RedisSettings::new(url) };
    assert!(World::new(settings.clone()).ledger.begin().await.is_err());
    let settings = RedisSettings { cert_file: file("redis.crt"), key_file: file("redis.key"), ..settings };
    World::new(settings).ledger.begin().await.unwrap();
}

#[tokio::test]
async fn a_socket_of_this_machine_is_an_address_too() {
    let folder = TempDir::new().unwrap();
    let path: PathBuf = folder.path().join("s");
    let _server = RedisServer::start(&["--unixsocket", path.to_str().unwrap()]);
    let world = World::begun(format!("redis+unix://{}", path.display())).await;
    world.write().await.unwrap();
}

#[tokio::test]
async fn no_error_and_no_debug_text_tells_the_password() {
    let server = RedisServer::start(&[]);
    let port = server.port();
    let urls = [
        format!("redis://:{SECRET}@127.0.0.1:{port}"),
        format!("redis://somebody:{SECRET}@127.0.0.1:{port}"),
        format!("redis://:{SECRET}@127.0.0.1:1"),
        format!("rediss://:{SECRET}@127.0.0.1:{port}"),
        format!("redis://:{SECRET}@127.0.0.1:{port}/x"),
        format!("redis://:{SECRET}@127.0.0.1:{port}/99"),
        format!("redis://:/{SECRET}@127.0.0.1:{port}"),
        format!("redis://:#{SECRET}@127.0.0.1:{port}"),
        format!("redis+unix:///nowhere?pass={SECRET}"),
        format!("http://:{SECRET}@127.0.0.1"),
    ];
    server.command("ACL SETUSER default on resetpass >another ~* +@all").unwrap();
    for url in urls {
        let settings = RedisSettings::new(url);
        let debug = format!("{settings:?}");
        let invalid = settings.validate().err().unwrap_or_default();
        let error = World::new(settings).ledger.begin().await.unwrap_err();
        for text in [debug, invalid, error.to_string(), format!("{error:?}")] {
            assert!(!text.contains("6174"), "{text}");
        }
    }
}

/// What the program says to these arguments, before it would need a cluster.
fn program(arguments: &[&str], url: &str) -> Output {
    let program = env!("CARGO_BIN_EXE_stormfold");
    Command::new(program)
        .args(arguments)
        .env("STORMFOLD_REDIS_URL", url)
        .env("KUBECONFIG", "/nowhere")
        .output()
        .unwrap()
}

#[test]
fn an_address_that_is_none_is_bad_usage_and_names_the_flag() {
    for (arguments, url, names) in [
        (&["run", "--ledger", "redis"][..], "localhost:6379", "--redis-url"),
        (&["run", "--ledger", "redis"], "rediss://localhost/#insecure", "--redis-ca-file"),
        (&["run", "--ledger", "redis", "--redis-ca-file", "x"], "redis://localhost", "--redis-ca-file"),
        (&["run", "--ledger", "redis", "--redis-cert-file", "x"], "rediss://localhost", "--redis-key-file"),
        (&["run", "--ledger", "redis", "--redis-password-file", "x"], "redis://:y@localhost", "--redis-password-file"),
    ] {
        let output = program(arguments, url);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert!(words.contains(names), "{words}");
    }
    // Nobody needs the address of what is not used.
    assert_ne!(program(&["run"], "nonsense").status.code(), Some(2));
}

#[test]
fn help_and_debug_of_the_settings_do_not_tell_the_password() {
    let url = format!("redis://:{SECRET}@localhost");
    let help = program(&["run", "--help"], &url);
    let text = String::from_utf8_lossy(&help.stdout);
    assert!(text.contains("STORMFOLD_REDIS_URL") && !text.contains(SECRET), "{text}");
    let cli = Cli::parse_from(["stormfold", "run", "--ledger", "redis", "--redis-url", &url]);
    assert!(!format!("{cli:?}").contains(SECRET));
    let Asked::Run(settings) = cli.command() else { panic!("run") };
    assert_eq!(settings.redis().map(|redis| redis.url), Some(url));
}
