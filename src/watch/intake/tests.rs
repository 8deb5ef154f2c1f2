//! Intake: what is counted, what is refused, and that no delivery of a Signal differs from the first.

use kube::core::ObjectMeta;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::api::{Occurrence, SignalSpec};
use crate::storm::Past;
use crate::storm::Severity;

const CREATED: &str = "2026-05-01T12:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn signal(spec: SignalSpec) -> Signal {
    let metadata = ObjectMeta {
        name: Some("s".into()),
        namespace: Some("prod".into()),
        uid: Some("uid-of-s".into()),
        creation_timestamp: Some(time(CREATED).into()),
        ..ObjectMeta::default()
    };
    Signal { metadata, spec: SignalSpec { name: "X".into(), ..spec }, status: None }
}

fn take_under(policies: &PolicySet, signal: &Signal) -> Result<Observation, Rejection> {
    intake(signal, policies, &Labels::new(), &Reach::default(), &DigestKey::new([3; 16]))
}

fn take(spec: SignalSpec) -> Result<Observation, Rejection> {
    take_under(&PolicySet::default(), &signal(spec))
}

/// Where Signals of this namespace may speak of others.
fn take_wide(spec: SignalSpec, wide: &str) -> Result<Observation, Rejection> {
    let reach = Reach::of([wide.to_owned()]);
    intake(&signal(spec), &PolicySet::default(), &Labels::new(), &reach, &DigestKey::new([3; 16]))
}

fn table(lines: &str) -> SignalSpec {
    SignalSpec { table: Some(lines.into()), ..SignalSpec::default() }
}

fn item(fingerprint: &str, starts_at: Option<&str>) -> Occurrence {
    Occurrence {
        fingerprint: Some(fingerprint.into()),
        starts_at: starts_at.map(|text| time(text).into()),
        resource: Some(api::OccurrenceResource {
            kind: "Pod".into(),
            name: "a".into(),
            ..api::OccurrenceResource::default()
        }),
        ..Occurrence::default()
    }
}

fn items(items: Vec<Occurrence>) -> SignalSpec {
    SignalSpec { occurrences: Some(items), ..SignalSpec::default() }
}

// E5, E6: what an alert is about is said by the Signal, and never guessed from its labels.
// The two shapes are one language: the same occurrence written in either is one occurrence.
#[test]
fn both_shapes_give_the_same_occurrence() {
    let start = "2026-05-01T11:59:30Z";
    let structured = take(items(vec![item("f", Some(start))])).unwrap();
    let line = take(table(&format!("firing {start} f Pod/a\n"))).unwrap();
    assert_eq!(structured.reports, line.reports);
    assert_eq!((structured.first_seen, structured.last_seen), (line.first_seen, line.last_seen));
    assert_eq!(structured.first_seen, time(start));
}

// C19, F2: what makes a repeat a repeat is cluster, fingerprint and resource; never the state, nor the start, which moves when Prometheus restarts.
#[test]
fn the_identity_of_an_alert_is_cluster_fingerprint_and_resource() {
    let uid_of = |line: &str, cluster: Option<&str>| {
        take(SignalSpec { cluster: cluster.map(Into::into), ..table(line) }).unwrap().reports[0].uid
    };
    let base = uid_of("firing 2026-05-01T11:00:00Z f Pod/a", None);
    assert_eq!(uid_of("resolved 2026-05-01T11:00:00Z f Pod/a", None), base);
    assert_eq!(uid_of("firing 2026-05-01T11:00:01Z f Pod/a", None), base);
    assert_eq!(uid_of("firing - f Pod/a", None), base);
    for (line, cluster) in [
        ("firing 2026-05-01T11:00:00Z g Pod/a", None),
        ("firing 2026-05-01T11:00:00Z f Pod/b", None),
        ("firing 2026-05-01T11:00:00Z f -", None),
        ("firing 2026-05-01T11:00:00Z f Pod/a", Some("east")),
    ] {
        assert_ne!(uid_of(line, cluster), base, "{line} {cluster:?}");
    }
}

#[test]
fn without_a_fingerprint_each_item_of_each_signal_is_an_occurrence_and_a_redelivery_is_the_same() {
    let lines = table("firing - - Pod/a\nfiring - - Pod/a\n");
    let first = take(lines.clone()).unwrap();
    assert_ne!(first.reports[0].uid, first.reports[1].uid);
    assert_eq!(take(lines.clone()).unwrap().reports, first.reports);
    let mut other = signal(lines);
    other.metadata.uid = Some("another".into());
    let other = take_under(&PolicySet::default(), &other).unwrap();
    assert_ne!(other.reports[0].uid, first.reports[0].uid);
}

// A11: five minutes of the future and a day of the past are believed; the zero time is none.
#[rstest]
#[case("2026-05-01T12:05:00Z", "2026-05-01T12:05:00Z", 0)]
#[case("2026-05-01T12:05:01Z", "2026-05-01T12:05:00Z", 1)]
#[case("2026-04-30T12:00:00Z", CREATED, 0)]
#[case("2026-04-30T11:59:59Z", CREATED, 1)]
#[case("0001-01-01T00:00:00Z", CREATED, 0)]
#[case("9999-12-30T00:00:00Z", "2026-05-01T12:05:00Z", 1)]
fn times_too_far_from_the_creation_are_clamped_and_counted(
    #[case] starts_at: &str,
    #[case] last_seen: &str,
    #[case] clamped: usize,
) {
    let observation = take(items(vec![item("f", Some(starts_at))])).unwrap();
    assert_eq!(observation.last_seen, time(last_seen));
    assert_eq!(observation.clamped, clamped);
    assert!(observation.first_seen >= time("2026-04-30T12:00:00Z"));
}

// The creation has whole seconds, a report microseconds: a re-fire within a second is later than the end before it.
#[rstest]
#[case(None, CREATED, 0)]
#[case(Some("2026-05-01T12:00:00.000001Z"), "2026-05-01T12:00:00.000001Z", 0)]
#[case(Some("2026-05-01T12:00:00.000001999Z"), "2026-05-01T12:00:00.000001Z", 0)]
#[case(Some("2026-05-01T12:05:00Z"), "2026-05-01T12:05:00Z", 0)]
#[case(Some("2026-05-01T12:05:00.000001Z"), "2026-05-01T12:05:00Z", 1)]
#[case(Some("2026-04-30T12:00:00Z"), "2026-04-30T12:00:00Z", 0)]
#[case(Some("2026-04-30T11:59:59.999999Z"), "2026-04-30T12:00:00Z", 1)]
#[case(Some("0001-01-01T00:00:00Z"), CREATED, 0)]
fn a_signal_was_reported_when_it_says_or_else_when_it_was_created(
    #[case] stated: Option<&str>,
    #[case] reported_at: &str,
    #[case] clamped: usize,
) {
    let reported = stated.map(|text| time(text).into());
    let observation = take(SignalSpec { reported_at: reported, ..table("firing - f Pod/a") }).unwrap();
    assert_eq!((observation.reported_at, observation.clamped), (time(reported_at), clamped));
}

// E7: one bad line is one bad line.
#[test]
fn a_bad_line_is_refused_by_its_number_and_the_others_count() {
    let observation = take(table("firing - a Pod/a\nnonsense\n\nfiring - b pod/b\nfiring - c Pod/c\n")).unwrap();
    assert_eq!(observation.reports.len(), 2);
    assert_eq!(observation.refused.count, 2);
    assert!(observation.refused.first.unwrap().starts_with("spec.table line 2: has 1 of the 4 fields"));
}

// C18: refused before any store is touched.
#[rstest]
#[case("nonsense\nnonsense", reason::NO_VALID_OCCURRENCE, 2)]
#[case("\n", reason::NO_VALID_OCCURRENCE, 0)]
fn a_signal_without_a_valid_occurrence_is_rejected(#[case] lines: &str, #[case] why: &str, #[case] count: usize) {
    let rejection = take(table(lines)).unwrap_err();
    assert_eq!((rejection.reason, rejection.occurrences), (why, count));
    assert!(rejection.message.contains("spec."), "{}", rejection.message);
}

#[test]
fn two_thousand_lines_are_taken_and_one_more_is_too_many() {
    let lines = |n: usize| (0..n).map(|i| format!("firing - f{i} -\n")).collect::<String>();
    assert_eq!(take(table(&lines(2_000))).unwrap().reports.len(), 2_000);
    let rejection = take(table(&lines(2_001))).unwrap_err();
    assert_eq!((rejection.reason, rejection.occurrences), (reason::TOO_MANY_LINES, 2_001));
}

// B1, E8, A24, C12: the scope is the stated namespace, else the Signal's own; the empty string stays empty; the object is
// always where its Signals are.
#[rstest]
#[case(None, None, "X in prod", "prod")]
#[case(Some("web"), None, "X in web", "web")]
#[case(Some(""), None, "X (cluster-scoped)", "")]
#[case(None, Some("east"), "X in prod on east", "prod")]
fn the_pattern_names_the_scope(
    #[case] namespace: Option<&str>,
    #[case] cluster: Option<&str>,
    #[case] pattern: &str,
    #[case] trouble: &str,
) {
    let spec = SignalSpec {
        namespace: namespace.map(Into::into),
        cluster: cluster.map(Into::into),
        severity: api::Severity::Critical,
        ..table("firing - f Node/n1")
    };
    let observation = take_wide(spec, "prod").unwrap();
    assert_eq!((observation.opening.pattern.as_str(), observation.opening.namespace.as_str()), (pattern, trouble));
    assert_eq!(observation.opening.object_namespace, "prod");
    assert_eq!(observation.severity, Severity::Critical);
    assert_eq!(observation.reports[0].resource.as_ref().unwrap().1.as_ref(), "Node/n1");
}

// Invariant 22: the trouble is where the Signal is, or the administrator lets the Signal's namespace speak of others.
#[rstest]
#[case(Some("web"), "spec.namespace is \"web\": ")]
#[case(Some(""), "spec.namespace is \"\" (cluster-scoped): ")]
fn a_signal_that_says_that_the_trouble_is_elsewhere_is_rejected(#[case] namespace: Option<&str>, #[case] says: &str) {
    let mut spec = table("firing - a Pod/a\n\nnonsense\n");
    spec.namespace = namespace.map(Into::into);
    spec.occurrences = Some(vec![item("f", None)]);
    let rejection = take(spec.clone()).unwrap_err();
    assert_eq!((rejection.reason, rejection.occurrences), (reason::CROSS_NAMESPACE, 3));
    assert!(rejection.message.starts_with(says), "{}", rejection.message);
    assert!(rejection.message.contains("the administrator for --cross-namespace=prod"), "{}", rejection.message);
    for (wide, taken) in [("prod", true), ("*", true), ("web", false)] {
        assert_eq!(take_wide(spec.clone(), wide).is_ok(), taken, "{wide}");
    }
}

#[test]
fn a_signal_that_states_its_own_namespace_says_nothing_new() {
    let stated =
        SignalSpec { namespace: Some("prod".into()), ..table("firing - a Pod/a\nfiring - b /namespaces/prod/Pod/b") };
    let unstated = take(table("firing - a Pod/a\nfiring - b Pod/b")).unwrap();
    assert_eq!(take(stated).unwrap(), unstated);
}

#[rstest]
#[case("/namespaces/web/Pod/b", "Pod \"b\" is in namespace web: ")]
#[case("/Pod/b", "Pod \"b\" is cluster-scoped: ")]
#[case("Node/n1", "Node \"n1\" is cluster-scoped: ")]
#[case("/namespaces/prod/Node/n1", "Node \"n1\" is cluster-scoped: ")]
fn a_resource_elsewhere_is_refused_in_either_shape_and_the_others_count(#[case] resource: &str, #[case] says: &str) {
    let lines = table(&format!("firing - a Pod/a\nfiring - b {resource}\nfiring - c -\n"));
    let parsed = crate::storm::resource::parse_resource_name(resource, Some("prod")).unwrap();
    let mut elsewhere = item("b", None);
    elsewhere.resource = Some(api::OccurrenceResource {
        api_version: None,
        kind: parsed.kind.into(),
        namespace: Some(parsed.namespace.unwrap_or_default().into()),
        name: parsed.name.into(),
    });
    let items = items(vec![item("a", None), elsewhere, Occurrence { resource: None, ..item("c", None) }]);
    for (spec, place) in [(lines, "spec.table line 2: "), (items, "spec.occurrences[1].resource: ")] {
        let observation = take(spec.clone()).unwrap();
        assert_eq!((observation.reports.len(), observation.refused.count), (2, 1));
        let message = observation.refused.first.unwrap();
        assert!(message.starts_with(&format!("{place}{says}")), "{message}");
        assert!(message.contains("the administrator for --cross-namespace=prod"), "{message}");
        assert_eq!(take_wide(spec, "prod").unwrap().reports.len(), 3);
    }
}

#[rstest]
#[case("firing - a Node/a\nfiring - b /namespaces/web/Pod/b\n", reason::CROSS_NAMESPACE)]
#[case("firing - a Node/a\nnonsense\n", reason::NO_VALID_OCCURRENCE)]
fn a_signal_of_which_all_is_elsewhere_is_told_that(#[case] lines: &str, #[case] why: &str) {
    let rejection = take(table(lines)).unwrap_err();
    assert_eq!((rejection.reason, rejection.occurrences), (why, 2));
    assert!(rejection.message.starts_with("spec.table line 1: Node"), "{}", rejection.message);
}

proptest! {
    #[test]
    fn any_table_is_taken_or_rejected_and_everything_in_it_is_accounted_for(lines in "(firing - [a-z]{1,3} (Pod/)?[a-z]{1,3}\n|.{0,30}\n){0,20}") {
        let filled = lines.lines().filter(|line| !line.is_empty()).count();
        match take(table(&lines)) {
            Ok(observation) => prop_assert_eq!(observation.reports.len() + observation.refused.count, filled),
            Err(rejection) => prop_assert_eq!(rejection.occurrences, filled),
        }
    }
}

// R1: places are counted over what is refused, and blank lines are no occurrences; a receipt that somebody else has written says nothing.
#[rstest]
#[case(Some("0,3"), None, &[(0, Past::Over), (1, Past::Over)])]
#[case(Some("3-4"), Some("0"), &[(0, Past::Handled), (1, Past::Over), (2, Past::Over)])]
#[case(Some("0"), Some("0"), &[(0, Past::Handled)])]
#[case(Some("1-2,9-65535,x,-,7-3"), Some(""), &[])]
#[case(None, None, &[])]
fn what_a_receipt_says_of_reports_is_read_back(
    #[case] held: Option<&str>,
    #[case] handled: Option<&str>,
    #[case] expected: &[(u16, Past)],
) {
    let mut bad = item("b", None);
    bad.resource.as_mut().unwrap().name = "not a name".into();
    let spec = SignalSpec {
        occurrences: Some(vec![item("a", None), bad]),
        ..table("burning - - -\n\nfiring - c -\nfiring - d -\n")
    };
    let [held, handled] = [held, handled].map(|text| text.map(str::to_owned));
    let occurrences = Some(api::OccurrenceSummary { total: 5, new: 1, rejected: 2, held, handled });
    let status = Some(api::SignalStatus { occurrences, ..api::SignalStatus::default() });
    let observation = take_under(&PolicySet::default(), &Signal { status, ..signal(spec) }).unwrap();
    assert_eq!(observation.held, expected);
    assert_eq!(observation.places(), [0, 3, 4]);
}
