//! `tree`: which storm followed which.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use super::Screen;
use super::access::{Access, full_name};
use super::fault::PluginError;
use super::list::{created, storm_of};
use super::text::{Style, clean, many};
use super::why_words::state_words;
use crate::api::RemediationRequest;
use crate::settings::OutputFormat;

/// A storm in its chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    namespace: String,
    name: String,
    /// How many storms of the chain came before it.
    depth: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    state: String,
    alerts: i64,
    firing: i64,
    age: String,
}

/// Shows the chains of storms.
pub(super) async fn tree(access: &Access, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let found: Vec<RemediationRequest> = access.list(ListParams::default()).await?;
    if screen.output == OutputFormat::Name {
        return screen.say(&found.iter().map(|request| full_name(request) + "\n").collect::<String>());
    }
    let links = links(&found, screen.style);
    if screen.machine(&links)? {
        return Ok(());
    }
    screen.say(&text(&links, access.is_all()))
}

/// Namespace and name.
pub(super) type StormPlace = (String, String);

pub(super) fn place(request: &RemediationRequest) -> StormPlace {
    (request.namespace().unwrap_or_default(), request.name_any())
}

/// Every storm, behind the one that it followed; of the chains the youngest first.
fn links(found: &[RemediationRequest], style: Style) -> Vec<Link> {
    let names: BTreeSet<StormPlace> = found.iter().map(place).collect();
    let mut followers = BTreeMap::<StormPlace, Vec<&RemediationRequest>>::new();
    let mut roots = Vec::new();
    for request in found {
        let before = request.spec.previous_ref.as_ref();
        let before = before.map(|before| (request.namespace().unwrap_or_default(), before.name.clone()));
        // One whose predecessor is gone is the oldest that is left.
        match before.filter(|before| names.contains(before) && *before != place(request)) {
            Some(before) => followers.entry(before).or_default().push(request),
            None => roots.push(request),
        }
    }
    roots.sort_by_key(|request| (Reverse(request.namespace()), created(request), Reverse(request.name_any())));
    // A chain may be as long as its storms are many: it is walked, not recursed into.
    let mut walk: Vec<(&RemediationRequest, usize)> = roots.into_iter().map(|root| (root, 0)).collect();
    let mut links = Vec::new();
    while let Some((request, depth)) = walk.pop() {
        links.push(link(request, depth, style));
        let mut next = followers.remove(&place(request)).unwrap_or_default();
        next.sort_by_key(|request| Reverse(request.spec.epoch));
        walk.extend(next.into_iter().map(|request| (request, depth + 1)));
    }
    // Chains that bite their own tail: somebody made them by hand.
    links.extend(followers.into_values().flatten().map(|request| link(request, 0, style)));
    links
}

fn link(request: &RemediationRequest, depth: usize, style: Style) -> Link {
    let (namespace, name) = place(request);
    let storm = storm_of(request);
    Link {
        namespace,
        name,
        depth,
        previous: request.spec.previous_ref.as_ref().map(|previous| previous.name.clone()),
        state: state_words(request),
        alerts: storm.map_or(0, |storm| storm.alert_count),
        firing: storm.map_or(0, |storm| storm.firing_count),
        age: style.age(created(request)),
    }
}

/// For people.
fn text(links: &[Link], all: bool) -> String {
    if links.is_empty() {
        return "no storms\n".to_owned();
    }
    let line = |link: &Link| {
        let place = if all { format!("{}/", link.namespace) } else { String::new() };
        let branch = if link.depth > 0 { "└─ " } else { "" };
        let facts = format!("{}, {}, {} fire, {} old", link.state, many(link.alerts, "alert"), link.firing, link.age);
        format!("{branch}{} ({facts})\n", clean(&format!("{place}{}", link.name)))
    };
    links.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CloseReason, PreviousRef};
    use crate::kubectl::fixtures::{at, closed, name_of, request};

    fn after(before: &RemediationRequest, second: i64) -> RemediationRequest {
        let mut next = request(&before.spec.signal.name, second);
        next.spec.previous_ref = Some(PreviousRef { name: name_of(before) });
        next
    }

    #[test]
    fn a_chain_is_one_root_with_those_that_followed() {
        let first = closed(request("Flaps", 0), CloseReason::MaxAge);
        let second = closed(after(&first, 30), CloseReason::MaxAge);
        let third = after(&second, 60);
        let style = Style { colours: false, now: at(70) };
        let links = links(&[third.clone(), first.clone(), second, request("Alone", 5)], style);
        let text = text(&links, false);
        let shape: Vec<String> = text.lines().map(|line| line.chars().take(9).collect()).collect();
        assert_eq!(shape, ["storm-alo", "storm-fla", "└─ storm-", "└─ storm-"], "{text}");
        assert!(text.contains("(Closed, MaxAge, 3 alerts, 2 fire, 70s old)"), "{text}");
        assert_eq!((links[3].name.clone(), links[3].depth), (name_of(&third), 2));
    }

    #[test]
    fn storms_that_follow_each_other_in_a_ring_are_told_once() {
        let mut first = request("Ring", 0);
        let second = after(&first, 30);
        first.spec.previous_ref = Some(PreviousRef { name: name_of(&second) });
        assert_eq!(links(&[first, second], Style { colours: false, now: at(0) }).len(), 2);
    }
}
