//! The scripts, typed. None is on the hot path: `open` and `close` run once per storm, `stage`, `which` and `ack` once per publish. Each of them frees memory or
//! makes it possible to free some, so a full server runs it (`allow-oom`); what grows is bounded by its arguments.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! script {
    ($name:ident, $($file:literal),+) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!("#!lua flags=allow-oom\n", include_str!("lua/prelude.lua"), $(include_str!($file)),+)));
    };
}

script!(BEGIN_AFRESH, "lua/begin_afresh.lua");
script!(OPEN, "lua/open.lua");
script!(STAGE, "lua/alerts.lua", "lua/stage.lua");
script!(WHICH, "lua/alerts.lua", "lua/which.lua");
script!(PUBLISHED, "lua/published.lua");
script!(ACK, "lua/alerts.lua", "lua/ack.lua");
script!(CLOSE, "lua/alerts.lua", "lua/close.lua");
script!(FORGET, "lua/alerts.lua", "lua/forget.lua");
script!(REMOVE, "lua/alerts.lua", "lua/remove.lua");
script!(OUTLIVE, "lua/alerts.lua", "lua/outlive.lua");
script!(TAKE_OVER, "lua/alerts.lua", "lua/take_over.lua");
/// A full server refuses it: what it remembers frees nothing.
pub(super) static HOLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(
        "#!lua\n",
        include_str!("lua/prelude.lua"),
        include_str!("lua/alerts.lua"),
        include_str!("lua/hold.lua")
    ))
});

/// All of them, to be loaded with each new connection: a restart and a failover lose them.
pub(super) fn all() -> [&'static Script; 12] {
    [&BEGIN_AFRESH, &OPEN, &STAGE, &WHICH, &PUBLISHED, &ACK, &CLOSE, &FORGET, &REMOVE, &TAKE_OVER, &OUTLIVE, &HOLD]
}

/// `EVALSHA` of a script with these keys; arguments are added by the caller, in the order of the script's header.
pub(super) fn call(script: &Script, keys: &[String]) -> Cmd {
    let mut cmd = redis::cmd("EVALSHA");
    cmd.arg(script.get_hash()).arg(keys.len()).arg(keys);
    cmd
}
