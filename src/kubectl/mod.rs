//! `kubectl storm`: questions to a cluster about its storms, and answers to it, with the rights of whoever asks and nothing but the Kubernetes API.
//!
//! What `why` says is what the operator's own rules say of what the cluster has now; nothing here restates them.

mod access;
mod act;
mod affected;
mod answers;
mod check;
mod complete;
mod dashboard;
mod fates;
pub mod fault;
#[cfg(test)]
mod fixtures;
mod history;
mod list;
mod report;
mod scene;
mod show;
mod text;
mod top;
mod tree;
mod why;
mod why_policy;
mod why_request;
mod why_signal;
#[cfg(test)]
mod why_tests;
mod why_text;
mod why_words;

use std::io::Write;

use access::Access;
use act::Ask;
use fault::{PluginError, exit};
use text::Style;

use crate::runtime::clock::Clock;
use crate::settings::{OutputFormat, StormCommand, StormFlags};

/// Where answers go, and how they look.
pub struct Screen<'a> {
    out: &'a mut dyn Write,
    style: Style,
    clock: Clock,
    output: OutputFormat,
}

impl<'a> Screen<'a> {
    /// Answers to `out`, in the form that the flags say; `terminal`: whether people look at it as it comes.
    pub fn new(out: &'a mut dyn Write, flags: &StormFlags, terminal: bool, clock: Clock) -> Self {
        let output = flags.at.output;
        let for_people = matches!(output, OutputFormat::Text | OutputFormat::Wide);
        let colours = terminal && for_people && flags.at.colours();
        Self { out, style: Style { colours, now: clock.now() }, clock, output }
    }

    /// How it looks after some time.
    fn style_now(&self) -> Style {
        Style { now: self.clock.now(), ..self.style }
    }

    /// Text that is clean.
    fn say(&mut self, text: &str) -> Result<(), PluginError> {
        self.out.write_all(text.as_bytes())?;
        Ok(self.out.flush()?)
    }

    /// A value for machines; false when people are to read it.
    fn machine(&mut self, value: &impl serde::Serialize) -> Result<bool, PluginError> {
        let clean = |value: &_| serde_json::to_value(value).map(text::clean_value).map_err(std::io::Error::other);
        let text = match self.output {
            OutputFormat::Text | OutputFormat::Wide | OutputFormat::Name => return Ok(false),
            OutputFormat::Json => {
                let value = clean(value)?;
                format!("{}\n", serde_json::to_string_pretty(&value).map_err(std::io::Error::other)?)
            }
            OutputFormat::Yaml => serde_saphyr::to_string(&clean(value)?).map_err(std::io::Error::other)?,
        };
        self.say(&text).map(|()| true)
    }

    fn is_wide(&self) -> bool {
        self.output == OutputFormat::Wide
    }
}

/// Does what the flags say; gives the exit code. Notes for people come back beside it.
pub async fn run(flags: &StormFlags, screen: &mut Screen<'_>) -> (Result<u8, PluginError>, Vec<String>) {
    let access = match Access::open(&complete::at(flags)).await {
        Ok(access) => access,
        Err(error) => return (Err(error), Vec::new()),
    };
    let done = answer(flags, &access, screen).await;
    (done, access.take_notes())
}

async fn answer(flags: &StormFlags, access: &Access, screen: &mut Screen<'_>) -> Result<u8, PluginError> {
    use StormCommand::{Check, Complete, Dashboard, List, Report, Top, Tree};
    if access.is_all() && !matches!(&flags.command, List(_) | Tree | Top | Check | Report | Dashboard(_) | Complete(_))
    {
        return Err(PluginError::Usage(
            "-A is for list, tree, top, check, report and dashboard: name one namespace".to_owned(),
        ));
    }
    match &flags.command {
        StormCommand::List(flags) => list::list(access, flags, screen).await,
        StormCommand::Why(of) => why::why(access, &of.object, screen).await,
        StormCommand::Show(of) => show::show(access, &of.name, screen).await,
        StormCommand::Timeline(of) => history::timeline(access, &of.name, screen).await,
        StormCommand::Tree => tree::tree(access, screen).await,
        StormCommand::Close(of) => act::ask(access, Ask::Close, &of.name, screen).await,
        StormCommand::Hold(of) => {
            let asks = if of.release { Ask::Release } else { Ask::Hold };
            act::ask(access, asks, &of.name, screen).await
        }
        StormCommand::Ack(of) => act::ask(access, Ask::Acknowledge, &of.name, screen).await,
        StormCommand::Finish(of) => act::finish(access, of, screen).await,
        StormCommand::Report => report::report(access, screen).await,
        StormCommand::Top => top::top(access, screen).await,
        StormCommand::Check => return check::check(access, screen).await,
        StormCommand::Dashboard(flags) => dashboard::dashboard(access, flags, screen).await,
        StormCommand::Complete(of) => complete::complete(access, &of.words, screen).await,
    }?;
    Ok(exit::DONE)
}
