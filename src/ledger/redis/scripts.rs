//! The scripts, typed. None is on the hot path: `open` and `close` run once per storm, `stage` and `ack` once per publish.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/prelude.lua"), include_str!($file))));
    };
}

script!(BEGIN_AFRESH, "lua/begin_afresh.lua");
script!(OPEN, "lua/open.lua");
script!(STAGE, "lua/stage.lua");
script!(PUBLISHED, "lua/published.lua");
script!(ACK, "lua/ack.lua");
script!(CLOSE, "lua/close.lua");
script!(FORGET, "lua/forget.lua");
script!(REMOVE, "lua/remove.lua");

/// All of them, to be loaded with each new connection: a restart and a failover lose them.
pub(super) fn all() -> [&'static Script; 8] {
    [&BEGIN_AFRESH, &OPEN, &STAGE, &PUBLISHED, &ACK, &CLOSE, &FORGET, &REMOVE]
}

/// `EVALSHA` of a script with these keys; arguments are added by the caller, in the order of the script's header.
pub(super) fn call(script: &Script, keys: &[String]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(script.get_hash()).arg(keys.len()).arg(keys);
    cmd
}
