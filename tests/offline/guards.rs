//! What reading the tree can prove.

use std::path::{Path, PathBuf};

use stormfold::api::crds;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}

#[test]
fn the_crds_folder_is_what_the_program_prints() {
    for crd in crds() {
        let plural = crd.spec.names.plural.clone();
        let file = std::fs::read_to_string(root().join("crds").join(format!("{plural}.yaml"))).unwrap();
        assert_eq!(file, serde_saphyr::to_string(&crd).unwrap(), "run `make crds`");
    }
}

// Room → the rooms whose types it may name. Its own are always allowed.
const ARROWS: [(&str, &[&str]); 11] = [
    ("storm", &[]),
    ("api", &["storm"]),
    ("ledger", &["storm", "metrics"]),
    ("runtime", &["api", "ledger", "metrics"]),
    ("metrics", &[]),
    ("policies", &["api", "storm", "runtime", "metrics"]),
    ("publish", &["api", "storm", "ledger", "runtime", "metrics", "policies"]),
    ("ingest", &["api", "storm", "ledger", "runtime", "metrics", "policies", "publish"]),
    ("retention", &["api", "storm", "runtime", "metrics", "policies", "publish"]),
    ("gateway", &["api", "storm", "runtime", "metrics"]),
    ("admin", &["runtime", "metrics", "publish"]),
];

/// Where a room is, and how a line begins to name another one. The API is a crate of its own: its own modules are no rooms.
fn place(room: &str) -> (PathBuf, &'static str) {
    match room {
        "storm" => (root().join("crates/core/src/storm"), "crate::"),
        "api" => (root().join("crates/api/src"), "stormfold_core::"),
        _ => (root().join("src").join(room), "crate::"),
    }
}

#[test]
fn no_arrow_between_rooms_turns_round() {
    for (room, allowed) in ARROWS {
        let (folder, prefix) = place(room);
        let files = if folder.is_dir() { rust_files(&folder) } else { vec![folder.with_extension("rs")] };
        for file in files {
            for line in std::fs::read_to_string(&file).unwrap().lines() {
                let Some(used) = line.split(prefix).nth(1) else { continue };
                let used = used.split([':', ';', ' ', '{', ',', ')', '(']).next().unwrap();
                let fine = used.is_empty() || used == room || allowed.contains(&used);
                assert!(fine, "{}: {room} uses {used}: {line}", file.display());
            }
        }
    }
}

// What the CRDs share with `storm` is re-exported at the root of the API; storms and objects meet in the translations only.
#[test]
fn api_and_storm_meet_in_the_conversions_only() {
    for file in rust_files(&root().join("crates/api/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let may = file.ends_with("conversions.rs") || file.ends_with("lib.rs");
        assert!(may || !text.contains("stormfold_core"), "{}", file.display());
    }
}

#[test]
fn the_core_has_no_kube_no_redis_no_runtime_and_no_clock() {
    let mut tree = std::process::Command::new(env!("CARGO"));
    tree.current_dir(root()).args(["tree", "-p", "stormfold-core", "-e", "normal", "--prefix", "none"]);
    let output = tree.args(["--offline", "--locked"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates = String::from_utf8(output.stdout).unwrap();
    assert!(crates.starts_with("stormfold-core "), "{crates}");
    for line in crates.lines() {
        let name = line.split(' ').next().unwrap();
        let refused = ["kube", "kube-core", "k8s-openapi", "tokio", "redis", "futures", "hyper"];
        assert!(!refused.contains(&name), "{crates}");
    }
    for file in rust_files(&root().join("crates/core/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for clock in ["Timestamp::now", "Zoned::now", "SystemTime::now", "Instant::now"] {
            assert!(!text.contains(clock), "{}: {clock}", file.display());
        }
    }
}

#[test]
fn no_file_is_over_400_lines() {
    for folder in ["src", "crates", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 400, "{} has {lines} lines", file.display());
        }
    }
}
