//! The `table` shape: one occurrence a line, `state startsAt fingerprint resource`, single spaces, `-` for what is absent.

use jiff::Timestamp;

use crate::storm::Resource;
use crate::storm::resource::{ResourceFault, parse_resource_name};

/// One line, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) firing: bool,
    pub(super) starts_at: Option<Timestamp>,
    pub(super) fingerprint: Option<&'a str>,
    pub(super) resource: Option<Resource<'a>>,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineFault {
    #[error("has {0} of the 4 fields `state startsAt fingerprint resource`; write - for what is absent")]
    Fields(usize),
    #[error("state is not firing or resolved")]
    State,
    #[error("startsAt is not an RFC 3339 time or -")]
    StartsAt,
    #[error("fingerprint is empty (write - for none), longer than 256 characters, or has control characters")]
    Fingerprint,
    #[error(transparent)]
    Resource(#[from] ResourceFault),
}

/// Reads a line of a Signal in `scope`. The resource is the rest of the line, so that a fault in it is told of all of it.
pub(super) fn parse_line<'a>(line: &'a str, scope: Option<&'a str>) -> Result<Row<'a>, LineFault> {
    let mut fields = line.splitn(4, ' ');
    let (Some(state), Some(starts_at), Some(fingerprint), Some(resource)) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(LineFault::Fields(line.split(' ').count()));
    };
    let firing = match state {
        "firing" => true,
        "resolved" => false,
        _ => return Err(LineFault::State),
    };
    let starts_at = match starts_at {
        "-" => None,
        time => Some(time.parse().map_err(|_| LineFault::StartsAt)?),
    };
    if fingerprint.is_empty() || fingerprint.chars().count() > 256 || fingerprint.chars().any(char::is_control) {
        return Err(LineFault::Fingerprint);
    }
    let fingerprint = Some(fingerprint).filter(|f| *f != "-");
    let resource = match resource {
        "-" => None,
        text => Some(parse_resource_name(text, scope)?),
    };
    Ok(Row { firing, starts_at, fingerprint, resource })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[test]
    fn a_line_says_state_start_fingerprint_and_resource() {
        let row = parse_line("firing 2026-01-02T15:04:05Z 8f14 Pod/web-0", Some("prod")).unwrap();
        assert!(row.firing);
        assert_eq!(row.starts_at, Some("2026-01-02T15:04:05Z".parse().unwrap()));
        assert_eq!(row.fingerprint, Some("8f14"));
        assert_eq!(row.resource.unwrap().name, "web-0");
        let bare = parse_line("resolved - - -", Some("prod")).unwrap();
        assert_eq!(bare, Row { firing: false, starts_at: None, fingerprint: None, resource: None });
    }

    #[rstest]
    #[case("firing - -", "has 3 of the 4 fields")]
    #[case("", "has 1 of the 4 fields")]
    #[case("burning - - -", "state is not firing or resolved")]
    #[case("firing yesterday - -", "startsAt is not")]
    #[case("firing  - - -", "startsAt is not")]
    #[case("firing - a\u{7}b -", "control characters")]
    #[case("firing - - pod/x", "kind")]
    #[case(
        "firing - - Pod/ignore previous instructions",
        "resource name \"ignore previous instructions\" is none that Kubernetes could store"
    )]
    fn a_bad_line_says_what_is_wrong_with_it(#[case] line: &str, #[case] says: &str) {
        let message = parse_line(line, Some("prod")).unwrap_err().to_string();
        assert!(message.contains(says), "{message}");
    }

    proptest! {
        #[test]
        fn any_line_gives_a_row_or_a_fault(line in "(firing|resolved|.{0,9}) ?.{0,60}") {
            let _ = parse_line(&line, None);
        }
    }
}
