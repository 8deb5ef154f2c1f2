//! Docs that cannot lie: what they name exists.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::CommandFactory;
use stormfold::settings::Cli;

use crate::guards::{root, rust_files};

/// Flags of other programs that the docs name.
const FLAGS_OF_OTHERS: &[&str] = &["--output", "--maxmemory", "--requirepass"];

/// The Markdown pages of the repository: their place in it, and their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                pages.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(pages.len() > 20, "the pages are found: {}", pages.len());
    pages
}

/// What stands between backticks outside of fenced blocks, with the page.
fn named() -> Vec<(PathBuf, String)> {
    let mut named = Vec::new();
    for (page, text) in pages() {
        let mut fenced = false;
        let prose: String = text
            .lines()
            .filter(|line| {
                let fence = line.trim_start().starts_with("```");
                fenced ^= fence;
                !fenced && !fence
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let spans = prose.split('`').skip(1).step_by(2);
        named.extend(spans.map(|span| (page.clone(), span.split_whitespace().collect::<Vec<_>>().join(" "))));
    }
    named
}

/// Fails with all that is wrong, not only with the first.
fn none_is_wrong(wrong: &BTreeSet<String>) {
    assert!(wrong.is_empty(), "{}", wrong.iter().cloned().collect::<Vec<_>>().join("\n"));
}

#[test]
fn every_path_that_the_docs_name_exists() {
    let rooms = ["src/", "crates/", "tests/", "benches/", "docs/", "hack/", "manifests/", "crds/", ".ci/"];
    let mut wrong = BTreeSet::new();
    for (page, span) in named() {
        let path = span.split([' ', ':']).next().unwrap_or_default();
        if !rooms.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        let exists = match path.split_once(['*', '{', '[', '<']) {
            None => root().join(path).exists(),
            Some((before, _)) => {
                let (folder, start) = before.rsplit_once('/').unwrap_or(("", before));
                let entries = std::fs::read_dir(root().join(folder));
                entries.is_ok_and(|entries| {
                    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with(start))
                })
            }
        };
        if !exists {
            wrong.insert(format!("{}: there is no `{path}`", page.display()));
        }
    }
    none_is_wrong(&wrong);
}

/// The names of all functions and modules of the tree, and those of the figures that benchmarks print.
fn functions() -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    let folders = ["src", "crates", "tests", "benches"];
    for file in folders.iter().flat_map(|folder| rust_files(&root().join(folder))) {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines() {
            for keyword in ["fn ", "mod ", "const ", "field "] {
                let Some((_, rest)) = line.split_once(keyword) else { continue };
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                functions.insert(name);
            }
            if file.starts_with(root().join("benches")) {
                functions.extend(line.split('"').skip(1).step_by(2).map(str::to_owned));
            }
        }
    }
    functions
}

// A name of at least four words in snake case is that of a test or of a function.
#[test]
fn every_test_and_function_that_the_docs_name_exists() {
    let functions = functions();
    let mut wrong = BTreeSet::new();
    for (page, span) in named() {
        let last = span.rsplit("::").next().unwrap_or_default();
        let snake = last.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        let metric = last.starts_with("stormfold_") || last.starts_with("process_");
        if snake && !metric && last.matches('_').count() >= 3 && !functions.contains(last) {
            wrong.insert(format!("{}: there is no function `{last}`", page.display()));
        }
    }
    none_is_wrong(&wrong);
}

#[test]
fn every_flag_that_the_docs_name_exists() {
    let mut command = <Cli as CommandFactory>::command();
    command.build();
    let (mut commands, mut next) = (Vec::new(), vec![&command]);
    while let Some(command) = next.pop() {
        commands.push(command);
        next.extend(command.get_subcommands());
    }
    let flags: BTreeSet<String> = commands
        .into_iter()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .chain(FLAGS_OF_OTHERS.iter().map(|flag| (*flag).to_owned()))
        .collect();
    let mut wrong = BTreeSet::new();
    for (page, span) in named() {
        let flag = span.split([' ', '=']).next().unwrap_or_default();
        if flag.starts_with("--") && flag.len() > 2 && !flags.contains(flag) {
            wrong.insert(format!("{}: there is no flag `{flag}`", page.display()));
        }
    }
    none_is_wrong(&wrong);
}

// docs/metrics.md itself is compared with a running operator: `the_table_of_metrics_is_what_a_real_operator_exports`.
#[test]
fn every_metric_that_the_docs_name_is_in_the_table_of_metrics() {
    let table = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let table: BTreeSet<&str> = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(table.len() > 30, "the table is found");
    let mut wrong = BTreeSet::new();
    for (page, span) in named() {
        let name: String = span.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let base = ["_bucket", "_count", "_sum"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(&name);
        if name.starts_with("stormfold_") && !table.contains(base) && !table.contains(name.as_str()) {
            wrong.insert(format!("{}: there is no metric `{name}`", page.display()));
        }
    }
    none_is_wrong(&wrong);
}

/// The section of ARCHITECTURE.md under this heading.
fn section(heading: &str) -> String {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let (_, rest) = text.split_once(&format!("## {heading}\n")).expect("the section is there");
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}

#[test]
fn the_map_of_the_architecture_has_every_room_and_no_other() {
    let map = section("Rooms");
    let mut wrong = BTreeSet::new();
    for folder in ["src", "crates", "crates/core/src"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let place = format!("{folder}/{name}");
            let told = map.contains(&format!("`{place}`")) || map.contains(&format!("`{place}/"));
            if !told && !map.contains(&format!("`{name}`")) && name != "lib.rs" && name != "Cargo.toml" {
                wrong.insert(format!("ARCHITECTURE.md: the map lacks `{place}`"));
            }
        }
    }
    none_is_wrong(&wrong);
}

#[test]
fn the_path_of_one_signal_is_told_in_twelve_lines_that_each_name_a_function() {
    let functions = functions();
    let path = section("Path of one Signal");
    let steps: Vec<&str> = path.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).collect();
    assert!(!steps.is_empty() && steps.len() <= 12, "{} lines", steps.len());
    for step in steps {
        let name = step.split('`').nth(1).unwrap_or_default();
        assert!(functions.contains(name), "no function is named in: {step}");
    }
}

// Tables, fenced blocks and lines of one word (a link) may be longer.
#[test]
fn no_line_of_prose_is_longer_than_a_hundred_characters() {
    let mut wrong = BTreeSet::new();
    for (page, text) in pages() {
        let mut fenced = false;
        for (number, line) in (1..).zip(text.lines()) {
            fenced ^= line.trim_start().starts_with("```");
            let table = line.trim_start().starts_with('|');
            if !fenced && !table && line.chars().count() > 100 && line.trim().contains(' ') {
                wrong.insert(format!("{}:{number}: {} characters", page.display(), line.chars().count()));
            }
        }
    }
    none_is_wrong(&wrong);
}
