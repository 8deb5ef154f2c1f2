//! What reading the tree can prove.

use std::path::{Path, PathBuf};

use stormfold::api::crds;

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
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

/// Room → the rooms whose types it may name; each is above its own line. Its own are always allowed; `core` is all of the core.
const ARROWS: &[(&str, &[&str])] = &[
    ("core::disposition", &[]),
    ("core::rules", &[]),
    ("core::storm", &["core::rules"]),
    ("core::ledger", &["core::disposition", "core::storm"]),
    ("core::request", &["core::storm"]),
    ("core::engine", &["core::disposition", "core::rules", "core::storm", "core::ledger", "core::request"]),
    ("core", &[]),
    ("storm", &[]),
    ("api", &["core::storm"]),
    ("admission", &["storm", "api"]),
    ("metrics", &["core"]),
    ("runtime", &["core", "storm", "api", "metrics"]),
    ("inbox", &["core", "storm"]),
    ("ledger", &["core", "storm", "metrics"]),
    ("cluster", &["core", "storm", "api", "metrics", "runtime"]),
    ("policies", &["core", "storm", "api", "metrics", "runtime", "inbox"]),
    ("watch", &["core", "storm", "api", "metrics", "runtime", "inbox", "cluster", "policies"]),
    ("driver", &["core", "storm", "api", "metrics", "runtime", "inbox", "ledger", "cluster", "policies", "watch"]),
    ("retention", &["core", "storm", "api", "metrics", "runtime", "inbox", "ledger", "cluster", "policies"]),
    ("sources", &["storm", "api", "metrics", "runtime", "policies"]),
    ("admin", &["metrics", "runtime"]),
    ("settings", &["storm", "runtime", "ledger", "sources"]),
    ("kubectl", &["core", "storm", "api", "runtime", "cluster", "policies", "watch", "settings"]),
    ("replay", &["core", "storm", "api", "admission", "runtime", "ledger", "cluster", "policies", "watch", "sources"]),
    ("policy_tests", &["core", "storm", "api", "admission", "replay"]),
    ("cli", &["storm", "api", "sources", "settings", "replay", "policy_tests"]),
    ("telemetry", &["settings"]),
];

/// The files of a room, and what `crate::` means in them.
fn place(room: &str) -> (Vec<PathBuf>, &'static str) {
    let (path, home) = match room.strip_prefix("core::") {
        Some(room) => (root().join("crates/core/src").join(room), "core::"),
        None if room == "api" => (root().join("crates/api/src"), "api::"),
        None => (root().join("src").join(room), ""),
    };
    let mut files = if path.is_dir() { rust_files(&path) } else { Vec::new() };
    files.extend(Some(path.with_extension("rs")).filter(|file| file.is_file()));
    (files, home)
}

/// The rooms that a line names.
fn named(line: &str, home: &str) -> Vec<String> {
    let prefixes = [("crate::", home), ("stormfold_core::", "core::"), ("stormfold_api::", "api::")];
    let of_prefix = |(prefix, home): (&str, &str)| -> Vec<String> {
        let words = line.split(prefix).skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.map(|mut words| format!("{home}{}", words.next().unwrap())).collect()
    };
    prefixes.into_iter().flat_map(of_prefix).collect()
}

/// The lines of a file that are no comments.
fn code(file: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(str::to_owned).collect()
}

#[test]
fn no_arrow_between_rooms_turns_round() {
    for (index, (room, allowed)) in ARROWS.iter().enumerate() {
        let above = &ARROWS[..index];
        assert!(
            allowed.iter().all(|used| above.iter().any(|(room, _)| room == used)),
            "{room} is not below all it uses"
        );
        let (files, home) = place(room);
        for file in files {
            for line in code(&file) {
                for used in named(&line, home) {
                    // The API is a crate of its own: its own modules are no rooms.
                    let of = if used.starts_with("api::") { "api" } else { &used };
                    let fine = |allowed: &&str| {
                        of == *allowed || of.strip_prefix(allowed).is_some_and(|rest| rest.starts_with("::"))
                    };
                    let fine = of == *room || allowed.iter().any(fine);
                    assert!(fine, "{}: {room} uses {used}: {line}", file.display());
                }
            }
        }
    }
}

// But for the composition root, which uses all of them.
#[test]
fn every_room_has_its_arrows() {
    for (source, home) in [("src", ""), ("crates/core/src", "core::")] {
        for entry in std::fs::read_dir(root().join(source)).unwrap().map(|entry| entry.unwrap().path()) {
            let room = entry.file_stem().unwrap().to_str().unwrap().to_owned();
            let known = |(known, _): &(&str, &[&str])| *known == format!("{home}{room}");
            let is_root = ["lib", "main", "app"].contains(&room.as_str());
            assert!(is_root || ARROWS.iter().any(known), "{home}{room} has no arrows");
        }
    }
}

// They meet in the store, the queue, the receipts and the resync alone.
#[test]
fn ingest_and_publish_name_each_other_nowhere() {
    for (room, other) in [("ingest", "publish"), ("publish", "ingest")] {
        let files = rust_files(&root().join("crates/core/src/engine").join(room));
        assert!(!files.is_empty());
        for file in files {
            for line in code(&file) {
                let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
                assert!(!words.any(|word| word == other), "{}: {line}", file.display());
            }
        }
    }
}

// A new source is one folder: what all of them share does not know it is there, and storing knows nothing of being told.
#[test]
fn what_sources_share_names_no_source() {
    let room = root().join("src/sources");
    let shared = ["http", "writer"];
    let folders = std::fs::read_dir(&room).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let folders: Vec<_> = folders.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let sources: Vec<_> = folders.iter().map(String::as_str).filter(|folder| !shared.contains(folder)).collect();
    assert!(sources.contains(&"alertmanager"), "the sources are found: {sources:?}");
    for file in rust_files(&room) {
        let within = file.strip_prefix(&room).unwrap();
        let home = within.iter().next().unwrap().to_str().unwrap();
        if sources.contains(&home) || home == "mod.rs" {
            continue;
        }
        let strangers = sources.iter().chain(&shared).filter(|name| **name != home);
        let strangers: Vec<_> = strangers.map(|name| format!("{name}::")).collect();
        for line in code(&file) {
            let own = line.replace("axum::http::", "");
            assert!(!strangers.iter().any(|name| own.contains(name.as_str())), "{}: {line}", file.display());
        }
    }
}

#[test]
fn the_core_waits_for_nothing_and_locks_nothing() {
    for file in rust_files(&root().join("crates/core/src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        for word in ["Mutex", "RwLock", "async", "Notify"] {
            assert!(!text.contains(word), "{}: {word}", file.display());
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

// One word for a thing, one thing for a word. Inner items of functions and associated types are no names of the tree.
#[test]
fn every_type_name_is_unique_in_the_tree() {
    let mut places = std::collections::BTreeMap::<String, Vec<String>>::new();
    for source in ["src", "crates/core/src", "crates/api/src"] {
        for file in rust_files(&root().join(source)) {
            for line in std::fs::read_to_string(&file).unwrap().lines() {
                let item = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(super) ")).unwrap_or(line);
                let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
                let kinds = ["struct ", "enum ", "trait ", "type ", "union "];
                let Some(rest) = kinds.iter().find_map(|kind| item.strip_prefix(kind)) else { continue };
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
                places.entry(name).or_default().push(file.display().to_string());
            }
        }
    }
    let twice: Vec<_> = places.iter().filter(|(_, places)| places.len() > 1).collect();
    assert!(places.len() > 200, "the types are found: {}", places.len());
    assert!(twice.is_empty(), "{twice:#?}");
}
