//! What can be typed next, in the words of kubectl's completion: a line each, a tabulator before its description, and a directive in the end.

use clap::Command;
use kube::ResourceExt;
use kube::api::ListParams;

use super::Screen;
use super::access::Access;
use super::fault::PluginError;
use super::text::clean;
use super::why_words::state_words;
use crate::api::{RemediationRequest, Signal};
use crate::settings::{ClusterFlags, StormCommand, StormFlags, storm_command};

/// That nothing but these lines is offered: no names of files.
const NO_FILES: &str = ":4";
/// That names of files are offered.
const FILES: &str = ":0";
/// More lines than this help nobody.
const MOST: usize = 200;

/// What fits where a line is being typed.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// These words, with what each is.
    Words(Vec<(String, String)>),
    /// Names of storms, and of Signals if both fit.
    Objects { signals: bool },
    /// A file.
    File,
}

/// The cluster that a line which is being typed speaks of.
pub(super) fn at(flags: &StormFlags) -> ClusterFlags {
    let mut at = flags.at.clone();
    let StormCommand::Complete(typed) = &flags.command else { return at };
    let value = |names: [&str; 2]| {
        let mut words = typed.words.iter();
        words.find_map(|word| match word.split_once('=') {
            Some((name, value)) if names.contains(&name) => Some(value.to_owned()),
            _ => None,
        })
    };
    let next = |names: [&str; 2]| {
        let at = typed.words.iter().position(|word| names.contains(&word.as_str()))?;
        typed.words.get(at + 1).filter(|value| !value.is_empty()).cloned()
    };
    let of = |names| value(names).or_else(|| next(names));
    at.namespace = of(["--namespace", "-n"]).or(at.namespace);
    at.context = of(["--context", "--context"]).or(at.context);
    at.kubeconfig = of(["--kubeconfig", "--kubeconfig"]).map(Into::into).or(at.kubeconfig);
    at
}

/// Says what can be typed next.
pub(super) async fn complete(access: &Access, words: &[String], screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let typed = words.last().map(String::as_str).unwrap_or_default();
    let offered = match offer(words, &storm_command()) {
        Offer::File => return screen.say(&format!("{FILES}\n")),
        Offer::Words(words) => words,
        // What cannot be seen is not offered: a shell has no place for an error.
        Offer::Objects { signals } => objects(access, signals).await.unwrap_or_default(),
    };
    let fits = offered.into_iter().filter(|(word, _)| word.starts_with(typed)).take(MOST);
    let lines: String = fits.map(|(word, about)| format!("{}\t{}\n", clean(&word), clean(&about))).collect();
    screen.say(&format!("{lines}{NO_FILES}\n"))
}

async fn objects(access: &Access, signals: bool) -> Result<Vec<(String, String)>, PluginError> {
    let requests: Vec<RemediationRequest> = access.list(ListParams::default()).await?;
    let mut found: Vec<(String, String)> = requests
        .iter()
        .map(|request| (request.name_any(), format!("{}: {}", state_words(request), request.spec.pattern)))
        .collect();
    if signals {
        let signals: Vec<Signal> = access.list(ListParams::default()).await?;
        found.extend(signals.iter().map(|signal| (signal.name_any(), format!("Signal of {}", signal.spec.name))));
    }
    Ok(found)
}

/// What fits behind these words; the last one is being typed.
fn offer(words: &[String], root: &Command) -> Offer {
    let (typed, before) = words.split_last().map_or(("", words), |(typed, before)| (typed.as_str(), before));
    let mut command = root;
    let (mut names, mut waits) = (0, None);
    for word in before {
        if waits.take().is_some() {
            continue;
        }
        if word.starts_with('-') {
            waits = if word.contains('=') { None } else { flag(command, root, word).filter(|flag| takes_value(flag)) };
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        } else {
            names += 1;
        }
    }
    if let Some(flag) = waits {
        return values(flag);
    }
    if typed.starts_with('-') {
        let flags = command.get_arguments().chain(root.get_arguments());
        let long = flags.filter(|flag| !flag.is_hide_set()).filter_map(|flag| {
            Some((format!("--{}", flag.get_long()?), flag.get_help().map(ToString::to_string).unwrap_or_default()))
        });
        let mut long: Vec<(String, String)> = long.collect();
        long.sort();
        long.dedup_by(|one, other| one.0 == other.0);
        return Offer::Words(long);
    }
    if command.has_subcommands() {
        let about = |command: &Command| command.get_about().map(ToString::to_string).unwrap_or_default();
        let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
        return Offer::Words(commands.map(|command| (command.get_name().to_owned(), about(command))).collect());
    }
    match command.get_positionals().next() {
        Some(_) if names == 0 => Offer::Objects { signals: command.get_name() == "why" },
        _ => Offer::Words(Vec::new()),
    }
}

fn flag<'a>(command: &'a Command, root: &'a Command, word: &str) -> Option<&'a clap::Arg> {
    let is_it = |flag: &&clap::Arg| {
        flag.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
            || flag.get_short().is_some_and(|short| word.strip_prefix('-') == Some(short.to_string().as_str()))
    };
    command.get_arguments().chain(root.get_arguments()).find(is_it)
}

fn takes_value(flag: &clap::Arg) -> bool {
    // NO_COLOR is the one whose value may be left out.
    flag.get_action().takes_values() && flag.get_long() != Some("no-color")
}

/// The values of a flag.
fn values(flag: &clap::Arg) -> Offer {
    let possible = flag.get_possible_values();
    let about = |value: &clap::builder::PossibleValue| value.get_help().map(ToString::to_string).unwrap_or_default();
    match flag.get_long() {
        Some("kubeconfig") => Offer::File,
        Some("outcome") => {
            let outcomes = crate::storm::Outcome::ALL.map(|outcome| (format!("{outcome:?}"), String::new()));
            Offer::Words(outcomes.into())
        }
        _ => Offer::Words(possible.iter().map(|value| (value.get_name().to_owned(), about(value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn offered(line: &str) -> Vec<String> {
        match offer(&words(line), &storm_command()) {
            Offer::Words(words) => words.into_iter().map(|(word, _)| word).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_come_first_and_the_hidden_one_is_not_among_them() {
        let commands = offered("");
        for command in ["list", "why", "show", "timeline", "tree", "close", "hold", "ack", "finish", "top", "check"] {
            assert!(commands.contains(&command.to_owned()), "{command} in {commands:?}");
        }
        assert!(!commands.contains(&"complete".to_owned()));
    }

    #[rstest]
    #[case("why ", true)]
    #[case("why --namespace shop storm-", true)]
    #[case("-n shop close ", false)]
    #[case("finish --outcome Failed ", false)]
    fn names_are_those_of_the_cluster(#[case] line: &str, #[case] signals: bool) {
        assert_eq!(offer(&words(line), &storm_command()), Offer::Objects { signals });
    }

    #[test]
    fn flags_and_their_values_are_offered() {
        assert!(offered("finish it --").contains(&"--observed-revision".to_owned()));
        assert!(offered("list --").contains(&"--namespace".to_owned()));
        assert_eq!(offered("list -o "), ["text", "wide", "name", "json", "yaml"]);
        assert_eq!(offered("finish it --outcome ").len(), 5);
        assert_eq!(offer(&words("list --kubeconfig "), &storm_command()), Offer::File);
        assert!(offered("close it ").is_empty());
    }
}
