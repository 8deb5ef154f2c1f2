//! What the docs show of `stormfold replay` and `stormfold test` is what they print.

use clap::Parser as _;
use stormfold::cli::{self, CommandResult};
use stormfold::settings::{Cli, Command};

use crate::guards::root;

fn run(line: &str) -> CommandResult {
    match Cli::parse_from(line.split(' ')).command() {
        Command::Replay(flags) => cli::replay(&flags),
        Command::Test(flags) => cli::test(&flags),
        other => panic!("{other:?}"),
    }
}

// The files that they name are in the repository, whose root is where tests run.
#[test]
fn what_the_docs_show_of_replays_and_tests_is_what_they_print() {
    let mut shown = 0;
    for page in ["README.md", "docs/replay.md"] {
        let text = std::fs::read_to_string(root().join(page)).unwrap();
        let blocks = text.split("```").filter_map(|block| block.strip_prefix("text\n$ "));
        for block in
            blocks.filter(|block| block.starts_with("stormfold replay ") || block.starts_with("stormfold test "))
        {
            let (line, output) = block.split_once('\n').unwrap();
            let result = run(line);
            let remarks: String = result.remarks.iter().map(|remark| format!("{remark}\n")).collect();
            let printed = result.output + &remarks;
            assert!(output == printed, "{page} should show of `{line}`:\n{printed}");
            shown += 1;
        }
    }
    assert!(shown >= 6, "the blocks are found: {shown}");
}
