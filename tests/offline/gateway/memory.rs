//! What reading a body takes is bounded by the size of the body.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use stormfold::sources::Limits;
use stormfold::sources::alertmanager::{TargetRules, read};

/// The most memory that this process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

// What all alerts of a body have in common is in it once, and must not be in memory for each of its Signals.
#[test]
fn a_body_of_many_names_and_long_group_labels_takes_memory_of_its_own_size() {
    let mut text = "{\"version\":\"4\",\"groupLabels\":{".to_owned();
    for n in 0..64 {
        let _ = write!(text, "{}\"label{n}\":\"{}\"", if n == 0 { "" } else { "," }, "x".repeat(1_000));
    }
    text.push_str("},\"alerts\":[");
    for n in 0..10_000 {
        let _ = write!(text, "{}{{\"labels\":{{\"alertname\":\"A{n}\"}}}}", if n == 0 { "" } else { "," });
    }
    text.push_str("]}");
    let limits = Limits { batch: 500, max_body: 4 << 20, timeout: Duration::from_secs(10) };
    let before = peak();
    let (signals, ..) = read(text.as_bytes(), &TargetRules::default(), &limits, Timestamp::UNIX_EPOCH).unwrap();
    let more = peak() - before;
    assert_eq!(signals, 10_000);
    assert!(more < 64, "{more} MiB for a body of {} KiB", text.len() / 1024);
}
