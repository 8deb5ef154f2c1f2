//! An API server that fails: nothing is lost, nothing is called done, and the next run repeats what is left.

use rstest::rstest;
use stormfold::cluster::request_of;
use stormfold::metrics::{ApiWrite, DispositionLabel, WriteResult};
use stormfold::storm::decide::LedgerView;
use stormfold_core::engine::effect::Next;

use crate::press::{Press, apply, create, storm};
use crate::script::Expected;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Code(u16),
    Silence,
    UnknownField,
}

impl Fault {
    fn on(self, call: Expected) -> Expected {
        match self {
            Self::Code(code) => call.fails(code),
            Self::Silence => call.silent(),
            // What the API server answers to an apply of a field that its CRD does not have (B8).
            Self::UnknownField => call.fails_with(
                500,
                "failed to create typed patch object: .status.storm.x: field not declared in schema",
                None,
            ),
        }
    }
}

async fn nothing_is_called_done(press: &Press, disposition: DispositionLabel) {
    assert_eq!(press.receipts.released(), 0, "a receipt for what is not published");
    assert!(press.is_dirty(storm()).await, "the storm counts as published");
    assert!(matches!(press.view(storm()).await, LedgerView::Open { published: false, .. }));
    assert_eq!(press.failures(disposition), 1);
    assert_eq!(press.writes(ApiWrite::Status, WriteResult::Done), 0);
}

// A13, E1, E2, B6, B8. Invariant 10: no error ends in a lost Signal, a success log, or a silent skip.
#[rstest]
#[case(Fault::Code(429), DispositionLabel::Transient)]
#[case(Fault::Code(500), DispositionLabel::Transient)]
#[case(Fault::Code(503), DispositionLabel::Transient)]
#[case(Fault::Code(504), DispositionLabel::Transient)]
#[case(Fault::Silence, DispositionLabel::Unavailable)]
#[case(Fault::Code(400), DispositionLabel::Terminal)]
#[case(Fault::Code(403), DispositionLabel::Terminal)]
#[case(Fault::Code(422), DispositionLabel::Terminal)]
#[case(Fault::UnknownField, DispositionLabel::Terminal)]
#[tokio::test(start_paused = true)]
async fn no_error_of_the_api_server_ends_in_a_lost_signal_or_a_success(
    #[case] fault: Fault,
    #[case] disposition: DispositionLabel,
) {
    let mut press = Press::with(&[1]).await;
    assert_eq!(press.run(storm(), vec![fault.on(create())]).await, Next::Failed);
    nothing_is_called_done(&press, disposition).await;
    assert_eq!(press.writes(ApiWrite::Create, WriteResult::Failed), 1);
    assert_eq!(press.writes(ApiWrite::Create, WriteResult::Done), 0);

    let mut press = Press::with(&[1]).await;
    assert_eq!(press.run(storm(), vec![create(), fault.on(apply(storm()))]).await, Next::Failed);
    nothing_is_called_done(&press, disposition).await;
    assert_eq!(press.writes(ApiWrite::Status, WriteResult::Failed), 1);

    let next = press.run(storm(), vec![apply(storm())]).await;
    assert!(matches!(next, Next::Published(..)), "{next:?}");
    assert!(press.receipts.released() > 0);
    assert!(!press.is_dirty(storm()).await);
}

// A13: an update that fails after the merge is repeated with all that came since.
#[tokio::test(start_paused = true)]
async fn a_failed_update_is_repeated_with_what_came_since() {
    let mut press = Press::published(&[1]).await;
    press.merge("prod", &[2], 1).await;
    assert_eq!(press.run(storm(), vec![apply(storm()).fails(503)]).await, Next::Failed);
    assert!(press.is_dirty(storm()).await);
    press.merge("prod", &[3], 2).await;
    assert!(matches!(press.run(storm(), vec![apply(storm())]).await, Next::Published(..)));
    assert_eq!(press.shown(storm())["alertCount"], 3);
}

// E1: the update landed and its answer was lost; the repeat meets its own work.
#[tokio::test(start_paused = true)]
async fn an_update_whose_answer_was_lost_is_not_written_twice() {
    let mut press = Press::published(&[1]).await;
    let lagging = press.watch_catches_up(storm());
    press.merge("prod", &[2], 1).await;
    press.run(storm(), vec![apply(storm())]).await;
    press.engine().replace(request_of(&lagging).unwrap());
    let next = press.run(storm(), vec![apply(storm()), crate::press::get(storm())]).await;
    assert!(matches!(next, Next::After(_)), "{next:?}");
    assert_eq!(press.shown(storm())["revision"], 2);
}

// E4: in a namespace that is being deleted nothing can be created, and its Signals go with it.
#[tokio::test(start_paused = true)]
async fn a_storm_of_a_namespace_that_is_being_deleted_is_dropped() {
    let mut press = Press::with(&[1]).await;
    let terminating = create().fails_with(403, "namespace prod is being terminated", Some("NamespaceTerminating"));
    assert_eq!(press.run(storm(), vec![terminating]).await, Next::Done);
    assert_eq!(press.receipts.abandoned(), 1);
    assert_eq!(press.view(storm()).await, LedgerView::Unknown);
    assert_eq!(press.run(storm(), vec![]).await, Next::Done);
    assert_eq!(press.writes(ApiWrite::Create, WriteResult::Done), 0);
}
