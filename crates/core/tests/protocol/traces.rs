//! The page of decision 0012 with the traces: what the search found in the protocol when it was first searched, as it finds it again with the
//! rule broken that came of it.

use std::path::Path;

use stormfold_core::rules::Rule;

use super::case::{Budget, Case, LedgerRule};
use super::mutations::{Broken, without};
use super::search::search;
use super::{END, NONE, case, in_turn, published};

/// Where the page is, from the package of this test.
const PAGE: &str = "../../docs/decisions/0012-traces.md";
/// With this in the environment the page is written.
const WRITE: &str = "STORMFOLD_WRITE_TRACES";
const WIDTH: usize = 100;

const HEAD: &str = "What the search found in the protocol when it was first searched, as it finds it again with the rule broken that came of it: \
the shortest way there. This page is printed by `crates/core/tests/protocol/traces.rs`, which fails when it is another one; \
`STORMFOLD_WRITE_TRACES=1` writes it.

Each line is a step: a command to Redis or a call to the API server, with what it is for before it, or something that happens. \
`TakeChunk` is the next Signals, `Hear` an event of the watch on RemediationRequests, `CheckServer` the look at Redis that finds another \
ledger, and a merge that `has its answer` is one that the engine hears of. Occurrences are bits of a number. Where there are two \
processes, their numbers come first.";

/// One thing that was found.
struct Finding {
    title: &'static str,
    prose: &'static str,
    broken: Vec<Broken>,
    case: Case,
    breaks: &'static str,
}

fn finding(title: &'static str, prose: &'static str, broken: Vec<Broken>, case: Case, breaks: &'static str) -> Finding {
    Finding { title, prose, broken, case, breaks }
}

/// What the ledger lost, or kept for too long.
fn of_the_ledger() -> Vec<Finding> {
    let flush = Budget { flushes: 1, ..END };
    vec![
        finding(
            "A receipt for what the ledger has lost",
            "Redis is emptied behind a merge. The run that comes next finds the storm unknown, and its Signals get the receipts that the merge \
             owed. Now receipts that were owed before a loss are owed anew by the list that follows it, and what nobody can vouch for is let go.",
            vec![Broken::Engine(Rule::ReceiptsEndWithLedger), Broken::Engine(Rule::UnknownEndsOweNothing)],
            case(&[1], 1, flush),
            "invariant 1",
        ),
        finding(
            "A storm that is over stays open in the ledger",
            "Redis falls back behind a close. Only open objects were looked at after the list. Now after a loss every object is looked at.",
            vec![Broken::Engine(Rule::ClosedAreLookedAt)],
            case(&[1], 1, Budget { rollbacks: 1, ..END }),
            "invariant 15",
        ),
        finding(
            "A ledger that fell back says that it is intact",
            "Another server with older data takes the place of the one that was there. The first answer to what it is is lost, and by the next \
             one it is the server that was expected: closed objects are not looked at. Now it counts as another one until a `begin` has said so.",
            vec![Broken::Ledger(LedgerRule::ReplacedIsForgotten)],
            case(&[1], 1, Budget { rollbacks: 1, lost_replies: 1, ..END }),
            "invariant 15",
        ),
        finding(
            "A storm that nothing joined stays",
            "It is opened, and everything in the batch turns out to be held. Now its registers expire unless something joins. (Since no storm is dropped \
             before a list, a quick search reaches this only without that rule.)",
            vec![Broken::Ledger(LedgerRule::EmptyStormsStay), Broken::Engine(Rule::DropAfterList)],
            case(&[1], 1, flush),
            "invariant 15",
        ),
        finding(
            "What a merge left under names that nobody knows",
            "Redis is emptied, a merge leaves its set there (its dirty mark is known to be there, and is not left again), and the process dies \
             before it has the answer. Now whoever makes the next incarnation removes first what is there.",
            vec![Broken::Ledger(LedgerRule::StraysOfTheLostStay)],
            case(&[1, 2], 1, Budget { flushes: 1, crashes: 1, ..NONE }),
            "invariant 15",
        ),
    ]
}

/// Ends that came too early.
fn of_ends() -> Vec<Finding> {
    let flush = Budget { flushes: 1, ..END };
    vec![
        finding(
            "The end is written while the Signals are listed",
            "The close was in the ledger, the process died, the end was written before the list had told what it holds; then Redis is restarted \
             empty. Now ends are written when the list is complete.",
            vec![Broken::Engine(Rule::EndAfterList)],
            case(&[1], 1, Budget { wipes: 1, crashes: 1, ..END }),
            "invariant 1",
        ),
        finding(
            "The end passes between a merge and its receipts",
            "A merge has had its effect, its receipts are not owed yet, and the end of the storm finds nothing owed. Now the end waits for merges \
             that are under way.",
            vec![Broken::Engine(Rule::EndAfterMerges)],
            published(case(&[1, 2], 1, flush)),
            "invariant 1",
        ),
        finding(
            "The end passes a receipt of a Signal that the storm holds",
            "A repeat was told by nobody yet that the storm holds it. Now the end waits for those receipts, too.",
            vec![Broken::Engine(Rule::EndAfterHeldReceipts)],
            case(&[1], 1, Budget { flushes: 1, crashes: 1, ..END }),
            "invariant 1",
        ),
        finding(
            "A successor opens while nobody knows what the closed storm holds",
            "Redis is emptied between a close and its end. The storm is rebuilt, its end is written, it is dropped, and a repeat comes before the \
             Signals are read again. Now such a storm is dropped only when all Signals have been read since its end was seen: by then the ledger \
             holds what it held. (Since the namespace is read again when a storm is dropped, and what closed storms may hold waits for that, one replica alone \
             reaches this only without that rule; what one replica waits for, another one does not.)",
            vec![Broken::Engine(Rule::DropAfterList), Broken::Engine(Rule::RereadHoldsUp)],
            published(case(&[1, 1], 1, flush)),
            "invariant 1",
        ),
    ]
}

/// Signals that closed storms hold.
fn of_holders() -> Vec<Finding> {
    let flush = Budget { flushes: 1, ..END };
    vec![
        finding(
            "A Signal joins the successor of the storm that holds it",
            "The storm that a receipt names ends between the look at it and the merge. Now holders are looked at again before anything joins. \
             (Since no storm is dropped before a list, a quick search reaches this only without that rule.)",
            vec![Broken::Engine(Rule::HoldersCheckedTwice), Broken::Engine(Rule::DropAfterList)],
            case(&[1], 1, flush),
            "invariant 1",
        ),
        finding(
            "A receipt is owed for ever",
            "A repeat of what a closed storm holds joined the open one with nothing; nothing publishes that. Now its receipt names the storm that \
             holds it.",
            vec![Broken::Engine(Rule::HeldNamesItsHolder)],
            Case { names_stay: true, ..in_turn(case(&[1], 2, END)) },
            "invariant 13",
        ),
    ]
}

/// Searches, and prints what was found. What is wrong must be what the finding says.
fn section((number, finding): (usize, Finding)) -> (usize, String) {
    let Finding { title, prose, broken, case, breaks } = finding;
    let found = search(&without(&broken, case));
    let names: Vec<String> = broken.iter().map(|rule| rule.name()).collect();
    let names = names.join(", ");
    let wrong = found.wrong.unwrap_or_else(|| panic!("{names}: nothing is wrong in {} states", found.states));
    println!("{names}: found in {} states: {}", found.states, wrong.lines().next().unwrap());
    assert!(wrong.lines().next().is_some_and(|first| first.contains(breaks)), "{names}: {wrong}");
    let (first, steps) = wrong.split_once('\n').unwrap();
    let steps = steps.split("\nRedis ").next().unwrap();
    (number, format!("\n## {title}\n\n{}\n\n```text\n{names}: {first}\n{steps}\n```\n", wrapped(prose)))
}

/// Every other section, with its number.
fn every_other_from(first: usize) -> Vec<(usize, String)> {
    let findings = of_the_ledger().into_iter().chain(of_ends()).chain(of_holders());
    findings.enumerate().skip(first).step_by(2).map(section).collect()
}

/// In lines that are not too long.
fn wrapped(prose: &str) -> String {
    let mut lines = vec![String::new()];
    for word in prose.split(' ') {
        let words: Vec<&str> = word.split("\n\n").collect();
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                lines.extend([String::new(), String::new()]);
            } else if lines.last().is_some_and(|line| line.len() + 1 + word.len() > WIDTH) {
                lines.push(String::new());
            }
            let line = lines.last_mut().unwrap();
            line.push_str(if line.is_empty() { "" } else { " " });
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[test]
fn the_traces_in_decision_0012_are_what_the_search_prints() {
    let mut page = format!("# 0012, the traces\n\n{}\n", wrapped(HEAD));
    // Two at once: each takes its memory.
    let halves = [0, 1].map(|first| std::thread::spawn(move || every_other_from(first)));
    let mut sections: Vec<_> = halves.into_iter().flat_map(|half| half.join().unwrap()).collect();
    sections.sort_unstable();
    page.extend(sections.into_iter().map(|(_, section)| section));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    if std::env::var(WRITE).is_ok() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == page, "{PAGE} is another one; {WRITE}=1 writes it");
}
