//! `top`: where the storms are, and what folding saved.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::api::ListParams;
use serde::Serialize;

use super::Screen;
use super::access::Access;
use super::fault::PluginError;
use super::list::{is_open, storm_of};
use super::text::{Cell, Style, table};
use crate::api::RemediationRequest;

/// The storms of one namespace under one policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
struct TopShare {
    namespace: String,
    policy: String,
    open: usize,
    closed: usize,
    alerts: i64,
    firing: i64,
}

/// Shows where the storms are.
pub(super) async fn top(access: &Access, screen: &mut Screen<'_>) -> Result<(), PluginError> {
    let found: Vec<RemediationRequest> = access.list(ListParams::default()).await?;
    let shares = shares(&found);
    if screen.machine(&shares)? {
        return Ok(());
    }
    screen.say(&text(&shares, screen.style))
}

/// By namespace and policy, where most fires first.
fn shares(found: &[RemediationRequest]) -> Vec<TopShare> {
    let mut shares = BTreeMap::<(String, String), TopShare>::new();
    for request in found {
        let place = (request.namespace().unwrap_or_default(), request.spec.policy_ref.name.clone());
        let share = shares.entry(place.clone()).or_insert_with(|| {
            let (namespace, policy) = place;
            TopShare { namespace, policy, ..TopShare::default() }
        });
        if is_open(request) {
            share.open += 1;
        } else {
            share.closed += 1;
        }
        let (alerts, firing) = storm_of(request).map_or((0, 0), |storm| (storm.alert_count, storm.firing_count));
        share.alerts += alerts;
        // What a closed storm left fires in its successor.
        share.firing += if is_open(request) { firing } else { 0 };
    }
    let mut shares: Vec<TopShare> = shares.into_values().collect();
    shares.sort_by_key(|share| {
        (Reverse(share.firing), Reverse(share.alerts), share.namespace.clone(), share.policy.clone())
    });
    shares
}

fn text(shares: &[TopShare], style: Style) -> String {
    let row = |share: &TopShare| {
        let requests = share.open + share.closed;
        let numbers =
            [share.open.to_string(), share.closed.to_string(), share.alerts.to_string(), share.firing.to_string()];
        let folded = format!("{} to {requests}", share.alerts);
        let mut row = vec![Cell::from(&share.namespace), Cell::from(&share.policy)];
        row.extend(numbers.iter().map(Cell::from));
        row.push(Cell::from(folded));
        row
    };
    let mut rows: Vec<Vec<Cell>> = shares.iter().map(row).collect();
    let sum = |of: fn(&TopShare) -> usize| shares.iter().map(of).sum::<usize>();
    let (open, closed) = (sum(|share| share.open), sum(|share| share.closed));
    let (alerts, firing) =
        shares.iter().fold((0, 0), |(alerts, firing), share| (alerts + share.alerts, firing + share.firing));
    let total = [open.to_string(), closed.to_string(), alerts.to_string(), firing.to_string()];
    let mut last = vec![Cell::from("all"), Cell::from("")];
    last.extend(total.iter().map(Cell::from));
    last.push(Cell::from(format!("{alerts} to {}", open + closed)));
    rows.push(last);
    table(style, &["NAMESPACE", "POLICY", "OPEN", "CLOSED", "ALERTS", "FIRING", "FOLDED"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::CloseReason;
    use crate::kubectl::fixtures::{at, closed, request};

    #[test]
    fn storms_are_counted_by_namespace_and_policy() {
        let mut other = request("B", 0);
        other.metadata.namespace = Some("web".into());
        let found = [request("A", 0), closed(request("A", 50), CloseReason::Quiet), other];
        let text = text(&shares(&found), Style { colours: false, now: at(60) });
        let lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines[1..],
            ["shop default 1 1 6 2 6 to 2", "web default 1 0 3 2 3 to 1", "all 2 1 9 4 9 to 3"].map(str::to_owned)
        );
    }
}
