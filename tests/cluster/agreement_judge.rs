//! What Alertmanager says beside what the RemediationRequests show: where they disagree, for how long, and for how long they may.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The alerts of one name that Alertmanager calls active: what each is about, and since when it fires.
pub type Active = BTreeMap<String, String>;

/// What is looked at of a RemediationRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub name: String,
    pub open: bool,
    pub firing: i64,
    pub resources: BTreeSet<String>,
    /// Of the whole storm, for people.
    pub more: String,
}

/// How the two disagree about the alerts of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Alerts are active, and no request is open.
    InNone,
    /// More than one request is open.
    InSeveral,
    /// The open request says of another number of alerts that they fire.
    Miscounted,
    /// The open request does not name what an active alert is about.
    NotNamed,
    /// A request is open, says that nothing fires, and nothing does: it is to close when its settle delay is over.
    NotClosed,
}

/// What the two disagree about at a look.
#[derive(Debug)]
pub struct Disagreement {
    pub name: String,
    pub fault: Fault,
    /// For how long, since Alertmanager last changed its mind.
    pub lasts: Duration,
    /// That is longer than it may.
    pub too_long: bool,
}

fn fault(active: &Active, shown: &[Shown]) -> Option<Fault> {
    let open: Vec<_> = shown.iter().filter(|shown| shown.open).collect();
    match open[..] {
        [] => (!active.is_empty()).then_some(Fault::InNone),
        [one] if usize::try_from(one.firing) != Ok(active.len()) => Some(Fault::Miscounted),
        [_] if active.is_empty() => Some(Fault::NotClosed),
        [one] => active.keys().any(|resource| !one.resources.contains(resource)).then_some(Fault::NotNamed),
        [..] => Some(Fault::InSeveral),
    }
}

/// Since when a name is as it is.
struct Clock {
    active: Active,
    changed: Instant,
    disagrees: Option<(Fault, Instant)>,
}

/// See the module.
pub struct Judge {
    /// From a change of what Alertmanager says until the requests show it.
    told: Duration,
    /// From there until a request of which nothing fires is closed.
    closed: Duration,
    clocks: BTreeMap<String, Clock>,
    /// Names of which Alertmanager does not tell everything: while they are silenced, and then until it calls one of them active.
    left_out: BTreeMap<String, bool>,
    /// The longest disagreements, those that are allowed among them.
    pub longest: BTreeMap<Fault, Duration>,
    /// How often what Alertmanager says of a name has changed.
    pub changes: usize,
}

impl Judge {
    pub fn new(told: Duration, closed: Duration) -> Self {
        let (clocks, left_out, longest) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { told, closed, clocks, left_out, longest, changes: 0 }
    }

    /// Every allowance begins anew: Alertmanager or the operator was away.
    pub fn begin_anew(&mut self, now: Instant) {
        for clock in self.clocks.values_mut() {
            (clock.changed, clock.disagrees) = (now, None);
        }
    }

    /// This name is silenced, or no longer.
    pub fn silence(&mut self, name: &str, silenced: bool) {
        self.left_out.insert(name.to_owned(), silenced);
    }

    /// Whether the two agreed in everything at the last look.
    pub fn agrees(&self) -> bool {
        self.clocks.values().all(|clock| clock.disagrees.is_none())
    }

    /// Whether some of it was not looked at.
    pub fn leaves_out(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// Looks at both sides.
    pub fn look(
        &mut self,
        now: Instant,
        said: &BTreeMap<String, Active>,
        shown: &BTreeMap<String, Vec<Shown>>,
    ) -> Vec<Disagreement> {
        let names: BTreeSet<_> = said.keys().chain(shown.keys()).cloned().collect();
        names.into_iter().filter_map(|name| self.look_at(now, name, said, shown)).collect()
    }

    fn look_at(
        &mut self,
        now: Instant,
        name: String,
        said: &BTreeMap<String, Active>,
        shown: &BTreeMap<String, Vec<Shown>>,
    ) -> Option<Disagreement> {
        let active = said.get(&name).cloned().unwrap_or_default();
        let new = Clock { active: Active::new(), changed: now, disagrees: None };
        let clock = self.clocks.entry(name.clone()).or_insert(new);
        if clock.active != active {
            (clock.active, clock.changed) = (active.clone(), now);
            self.changes += 1;
        }
        if self.left_out.get(&name) == Some(&false) && !active.is_empty() {
            self.left_out.remove(&name);
            clock.changed = now;
        }
        let shown = shown.get(&name).map(Vec::as_slice).unwrap_or_default();
        let fault = fault(&active, shown).filter(|_| !self.left_out.contains_key(&name));
        clock.disagrees = fault.map(|fault| (fault, clock.disagrees.map_or(now, |(_, since)| since)));
        let (fault, since) = clock.disagrees?;
        let lasts = now.duration_since(since.max(clock.changed));
        let longest = self.longest.entry(fault).or_default();
        *longest = lasts.max(*longest);
        let allowed = if fault == Fault::NotClosed { self.told + self.closed } else { self.told };
        Some(Disagreement { name, fault, lasts, too_long: lasts > allowed })
    }
}

const TOLD: Duration = Duration::from_secs(5);
const CLOSED: Duration = Duration::from_secs(3);

fn said(pods: &[&str]) -> BTreeMap<String, Active> {
    let active = pods.iter().map(|pod| ((*pod).to_owned(), "since".to_owned())).collect();
    [("A".to_owned(), active)].into_iter().filter(|(_, active): &(_, Active)| !active.is_empty()).collect()
}

fn shown(requests: &[(bool, i64, &[&str])]) -> BTreeMap<String, Vec<Shown>> {
    let request = |(open, firing, pods): &(bool, i64, &[&str])| Shown {
        name: "storm".into(),
        open: *open,
        firing: *firing,
        resources: pods.iter().map(ToString::to_string).collect(),
        more: String::new(),
    };
    [("A".to_owned(), requests.iter().map(request).collect())].into()
}

/// Looks at the same for so many seconds; the fault that is found, and after how many.
fn judged(judge: &mut Judge, pods: &[&str], requests: &[(bool, i64, &[&str])]) -> Option<(Fault, u64)> {
    let begun = Instant::now();
    judge.begin_anew(begun);
    (0..20).find_map(|second| {
        let found = judge.look(begun + Duration::from_secs(second), &said(pods), &shown(requests));
        found.first().filter(|found| found.too_long).map(|found| (found.fault, second))
    })
}

#[test]
fn agreement_judge_finds_each_disagreement_that_lasts_and_no_other() {
    let ended: (bool, i64, &[&str]) = (false, 1, &["a"]);
    for (pods, requests, expected) in [
        (&["a"][..], &[(true, 1, &["a"][..])][..], None),
        (&["a"], &[(true, 1, &["a", "b"]), ended], None),
        (&[], &[ended], None),
        (&["a"], &[ended], Some((Fault::InNone, 6))),
        (&["a"], &[(true, 1, &["a"]), (true, 1, &["a"])], Some((Fault::InSeveral, 6))),
        (&["a", "b"], &[(true, 1, &["a", "b"])], Some((Fault::Miscounted, 6))),
        (&[], &[(true, 1, &["a"])], Some((Fault::Miscounted, 6))),
        (&["b"], &[(true, 1, &["a"])], Some((Fault::NotNamed, 6))),
        (&[], &[(true, 0, &["a"])], Some((Fault::NotClosed, 9))),
    ] {
        let judge = &mut Judge::new(TOLD, CLOSED);
        assert_eq!(judged(judge, pods, requests), expected, "{pods:?} {requests:?}");
        assert_eq!(judge.agrees(), expected.is_none(), "{pods:?} {requests:?}");
    }
}

#[test]
fn agreement_judge_leaves_out_what_is_silenced_until_it_is_active_again() {
    let judge = &mut Judge::new(TOLD, CLOSED);
    let fires = [(true, 1, &["a"][..])];
    judge.silence("A", true);
    assert_eq!(judged(judge, &[], &fires), None);
    judge.silence("A", false);
    assert_eq!(judged(judge, &[], &fires), None);
    assert!(judge.agrees() && judge.leaves_out());
    assert_eq!(judged(judge, &["a"], &fires), None);
    assert!(judge.agrees() && !judge.leaves_out());
    assert_eq!(judged(judge, &[], &fires), Some((Fault::Miscounted, 6)));
}
