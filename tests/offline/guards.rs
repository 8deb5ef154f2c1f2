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
    ("storm", &["api"]),
    ("api", &[]),
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

#[test]
fn no_arrow_between_rooms_turns_round() {
    for (room, allowed) in ARROWS {
        let folder = root().join("src").join(room);
        let files = if folder.is_dir() { rust_files(&folder) } else { vec![folder.with_extension("rs")] };
        for file in files {
            for line in std::fs::read_to_string(&file).unwrap().lines() {
                let Some(used) = line.split("crate::").nth(1) else { continue };
                let used = used.split([':', ';', ' ', '{', ',', ')', '(']).next().unwrap();
                let fine = used.is_empty() || used == room || allowed.contains(&used);
                assert!(fine, "{}: {room} uses {used}: {line}", file.display());
            }
        }
    }
}

// `storm` may name our API types in the two translations only.
#[test]
fn api_and_storm_meet_in_metadata_only() {
    for file in rust_files(&root().join("src/storm")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let meets = text.contains("crate::api");
        assert!(!meets || file.ends_with("metadata.rs"), "{}", file.display());
    }
}

#[test]
fn no_file_is_over_400_lines() {
    for folder in ["src", "tests", "benches"] {
        for file in rust_files(&root().join(folder)) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 400, "{} has {lines} lines", file.display());
        }
    }
}
