//! What an error of the client library means: what the caller is told, and what becomes of the connection.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::server::ACL_RULE;
use crate::ledger::LedgerError;

/// What is done about an error before the caller hears of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The server answers: its connection is as good as any.
    Keep,
    /// Another connection for the next call: this one is dead, in doubt, or leads to the wrong server.
    Rebuild,
    /// The same, and this call again: the connection broke, and the call may have had its effect or not.
    RebuildAndRepeat,
    /// The server forgot the scripts: load them and repeat.
    LoadScripts,
}

/// An error, understood.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: LedgerError,
    pub(super) remedy: Remedy,
}

impl Failure {
    fn unavailable(text: impl Into<String>, remedy: Remedy) -> Self {
        Self { error: LedgerError::Unavailable(text.into()), remedy }
    }

    fn refused(text: impl Into<String>, remedy: Remedy) -> Self {
        Self { error: LedgerError::Refused(text.into()), remedy }
    }

    /// No answer in time. Whether the call had its effect is not known, and the answer may still come: to a connection that is gone.
    pub(super) fn timeout(bound: std::time::Duration) -> Self {
        Self::unavailable(format!("no answer in {} s", bound.as_secs_f64()), Remedy::Rebuild)
    }
}

impl From<&RedisError> for Failure {
    fn from(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(kind) => of_server(kind, error),
            ErrorKind::Extension => of_code(error.code().unwrap_or_default(), error),
            ErrorKind::Io if error.is_timeout() => Self::unavailable(error.to_string(), Remedy::Rebuild),
            ErrorKind::Io => Self::unavailable(connection_words(error), Remedy::RebuildAndRepeat),
            ErrorKind::AuthenticationFailed => wrong_password(error),
            ErrorKind::RESP3NotSupported => {
                Self::refused("Redis 7.0 or newer is needed, this one does not know RESP3", Remedy::Rebuild)
            }
            // The latter is of rustls: a certificate or a key that it cannot use.
            ErrorKind::InvalidClientConfig | ErrorKind::Client => Self::refused(error.to_string(), Remedy::Rebuild),
            ErrorKind::UnexpectedReturnType => Self::unavailable(error.to_string(), Remedy::Keep),
            // Garbage on the wire, or a kind of error that a later version of the library has: a fresh connection is the safe answer.
            _ => Self::unavailable(error.to_string(), Remedy::Rebuild),
        }
    }
}

/// Errors with a code that the library knows.
fn of_server(kind: ServerErrorKind, error: &RedisError) -> Failure {
    let words = || words(error);
    match kind {
        ServerErrorKind::NoScript => Failure::unavailable(words(), Remedy::LoadScripts),
        // A failover moved the name of the primary, and this connection still leads to the old one: it would fail for ever.
        ServerErrorKind::ReadOnly => Failure::unavailable(
            format!(
                "this Redis is a replica ({}): after a failover, or because --redis-url names one; reconnecting",
                words()
            ),
            Remedy::Rebuild,
        ),
        ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown => Failure::unavailable(words(), Remedy::Rebuild),
        // A MULTI that was refused as a whole says why at its end.
        ServerErrorKind::ExecAbort => {
            let detail = error.detail().unwrap_or_default();
            let cause = detail.split_once("because of: ").map_or("", |(_, cause)| cause);
            of_code(cause.split(' ').next().unwrap_or_default(), error)
        }
        ServerErrorKind::NoPerm => no_permission(&words()),
        ServerErrorKind::Moved
        | ServerErrorKind::Ask
        | ServerErrorKind::CrossSlot
        | ServerErrorKind::ClusterDown
        | ServerErrorKind::TryAgain => Failure::refused(super::server::no_cluster(&words()), Remedy::Rebuild),
        ServerErrorKind::ResponseError | ServerErrorKind::NotBusy | ServerErrorKind::NoSub => {
            Failure::unavailable(words(), Remedy::Keep)
        }
        // A code that a later version of the library knows: the server answers, and its words say what.
        _ => Failure::unavailable(words(), Remedy::Keep),
    }
}

/// Errors with a code that the library does not know.
fn of_code(code: &str, error: &RedisError) -> Failure {
    let words = words(error);
    match code {
        "OOM" => Failure { error: LedgerError::Full(full(&words)), remedy: Remedy::Keep },
        "NOPERM" => no_permission(&words),
        "READONLY" => of_server(ServerErrorKind::ReadOnly, error),
        "LOADING" | "MASTERDOWN" => Failure::unavailable(words, Remedy::Rebuild),
        "BUSY" => Failure::unavailable(format!("another client's script blocks Redis: {words}"), Remedy::Keep),
        "NOAUTH" | "WRONGPASS" => wrong_password(error),
        "WRONGTYPE" => Failure::refused(
            format!(
                "a key of ours has another type ({words}): does this Redis database belong to something else, too?"
            ),
            Remedy::Keep,
        ),
        "MISCONF" => {
            Failure::unavailable(format!("Redis refuses writes because it cannot save: {words}"), Remedy::Keep)
        }
        // NOREPLICAS, NOGOODSLAVE and what later servers say: the server answers, and its words say what is wrong.
        _ => Failure::unavailable(words, Remedy::Keep),
    }
}

fn full(words: &str) -> String {
    format!(
        "Redis is at its maxmemory ({words}); raise it: CONFIG SET maxmemory <bytes>, and in redis.conf; nothing is lost: new Signals \
         wait, publishing and closing go on and free memory"
    )
}

fn wrong_password(error: &RedisError) -> Failure {
    let text = format!(
        "Redis rejected the credentials ({}): correct --redis-username-file and --redis-password-file, or the user in Redis; both files are read \
         again at each try",
        words(error)
    );
    Failure::refused(text, Remedy::Rebuild)
}

fn no_permission(words: &str) -> Failure {
    Failure::refused(
        format!("Redis denies commands that are needed ({words}); grant the user: ACL SETUSER <name> {ACL_RULE}"),
        Remedy::Keep,
    )
}

/// The server's words, with its code.
fn words(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

/// A handshake that failed is an error of the connection like any other, with words that help nobody who does not know TLS.
fn connection_words(error: &RedisError) -> String {
    let words = error.to_string();
    if words.contains("UnknownIssuer") {
        format!("{words}: name the authority that signed the certificate of Redis by --redis-ca-file")
    } else if words.contains("InvalidContentType") {
        format!("{words}: this port of Redis does not use TLS: use redis:// instead of rediss://, or another port")
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a line of the server means.
    fn of(line: &str) -> (LedgerError, Remedy) {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let Failure { error, remedy } = Failure::from(&value.extract_error().unwrap_err());
        (error, remedy)
    }

    #[test]
    fn a_server_that_is_not_ready_is_unavailable_in_its_own_words() {
        for (line, remedy) in [
            ("LOADING Redis is loading the dataset in memory", Remedy::Rebuild),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Remedy::Rebuild),
            ("READONLY You can't write against a read only replica.", Remedy::Rebuild),
            ("EXECABORT Transaction discarded because of: READONLY You can't write", Remedy::Rebuild),
            ("BUSY Redis is busy running a script.", Remedy::Keep),
            ("MISCONF Redis is configured to save RDB snapshots", Remedy::Keep),
            ("NOREPLICAS Not enough good replicas to write.", Remedy::Keep),
            ("ERR unknown command 'SINTERCARD'", Remedy::Keep),
            ("EXECABORT Transaction discarded because of previous errors.", Remedy::Keep),
            ("NOSCRIPT No matching script.", Remedy::LoadScripts),
        ] {
            let (error, seen) = of(line);
            assert!(matches!(&error, LedgerError::Unavailable(words) if words.contains(line)), "{line}: {error}");
            assert_eq!(seen, remedy, "{line}");
        }
    }

    #[test]
    fn a_full_server_is_full_whether_a_command_or_a_transaction_is_refused() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
        ] {
            let (error, remedy) = of(line);
            assert!(matches!(&error, LedgerError::Full(words) if words.contains(line)), "{error}");
            assert_eq!(remedy, Remedy::Keep);
        }
    }

    #[test]
    fn what_somebody_must_mend_is_refused_with_what_to_mend() {
        for (line, mend) in [
            ("NOPERM User x has no permissions to run the 'append' command", "ACL SETUSER <name> ~{??}* "),
            ("NOPERM this user has no permissions to access one of the keys", "+append"),
            ("WRONGPASS invalid username-password pair or user is disabled.", "--redis-password-file"),
            ("NOAUTH Authentication required.", "--redis-password-file"),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", "belong to something else"),
            ("MOVED 3999 127.0.0.1:6381", "cluster-enabled no"),
            ("CROSSSLOT Keys in request don't hash to the same slot", "cluster-enabled no"),
        ] {
            let (error, _) = of(line);
            assert!(
                matches!(&error, LedgerError::Refused(words) if words.contains(line) && words.contains(mend)),
                "{error}"
            );
        }
    }

    // The server may come back before anybody notices that it was away.
    #[test]
    fn a_broken_connection_is_worth_a_second_try_and_a_timeout_is_not() {
        let of = |kind: std::io::ErrorKind| Failure::from(&RedisError::from(std::io::Error::from(kind))).remedy;
        assert_eq!(of(std::io::ErrorKind::BrokenPipe), Remedy::RebuildAndRepeat);
        assert_eq!(of(std::io::ErrorKind::TimedOut), Remedy::Rebuild);
    }
}
