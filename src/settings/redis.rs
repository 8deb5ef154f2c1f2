//! The flags of the ledger in Redis.

use std::fmt;
use std::path::PathBuf;

use clap::Args;

use crate::ledger::redis::RedisSettings;

/// Where Redis is, and what it is shown.
#[derive(Args, Clone)]
pub struct RedisFlags {
    /// Where Redis is, for `--ledger redis`: redis://HOST:PORT/DATABASE, or rediss:// for TLS. One database per installation.
    // Its value may hold a password: `--help` must not print it.
    #[arg(long = "redis-url", env = "STORMFOLD_REDIS_URL", hide_env_values = true, required_if_eq("ledger", "redis"))]
    url: Option<String>,
    /// Trust the authorities in this file, PEM, and no others, with rediss://. Default: those that Mozilla trusts.
    #[arg(long = "redis-ca-file", env = "STORMFOLD_REDIS_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// Show Redis this certificate, PEM; with --redis-key-file.
    #[arg(long = "redis-cert-file", env = "STORMFOLD_REDIS_CERT_FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// The key of that certificate, PEM.
    #[arg(long = "redis-key-file", env = "STORMFOLD_REDIS_KEY_FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// The name of the user is in this file. Read at every connect. Default: that in the URL, else none.
    #[arg(long = "redis-username-file", env = "STORMFOLD_REDIS_USERNAME_FILE")]
    username_file: Option<PathBuf>,
    /// The password is in this file. Read at every connect: rotating it needs no restart. Default: that in the URL, else none.
    #[arg(long = "redis-password-file", env = "STORMFOLD_REDIS_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

/// Without the password in the URL.
impl fmt::Debug for RedisFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings().fmt(f)
    }
}

impl RedisFlags {
    /// As the ledger takes them; `None` without a URL.
    pub(super) fn settings(&self) -> Option<RedisSettings> {
        // An empty one is none, so that a template with an optional value may leave it empty.
        let file = |file: &Option<PathBuf>| file.clone().filter(|file| !file.as_os_str().is_empty());
        Some(RedisSettings {
            url: self.url.clone()?,
            ca_file: file(&self.ca_file),
            cert_file: file(&self.cert_file),
            key_file: file(&self.key_file),
            username_file: file(&self.username_file),
            password_file: file(&self.password_file),
        })
    }
}
