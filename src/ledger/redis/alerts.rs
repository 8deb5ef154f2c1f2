//! The bytes in which reports and alerts are kept: `lua/alerts.lua` says how, and writes what is read here.

use crate::ledger::LedgerError;
use crate::storm::alerts::{AlertRegister, AlertStanding};
use crate::storm::{AlertRegisters, AlertReport, Digest, Past, Says};

/// The counts at the head of the alerts.
const HEAD: usize = 16;
/// An alert, or a report.
const RECORD: usize = 16;

/// Appends a report, as the journal has it.
pub(super) fn write_report(bytes: &mut Vec<u8>, report: &AlertReport) {
    let says: u8 = match report.says {
        Says::Resolved => 0,
        Says::Firing { resolvable: false } => 1,
        Says::Firing { resolvable: true } => 2,
        Says::Held(Past::Over) => 3,
        Says::Held(Past::Handled) => 4,
    };
    // Nothing is reported before 1970, and seven bytes last until the year 2255 in what Lua counts exactly.
    let at = report.at.max(0).to_be_bytes();
    bytes.extend_from_slice(&report.uid.to_be_bytes());
    bytes.push(says);
    bytes.extend_from_slice(&at[1..]);
}

/// Reports, as the journal has them.
pub(super) fn reports<'a>(reports: impl IntoIterator<Item = &'a AlertReport>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reports.into_iter().for_each(|report| write_report(&mut bytes, report));
    bytes
}

/// Digests, eight bytes each.
pub(super) fn digests(digests: impl IntoIterator<Item = Digest>) -> Vec<u8> {
    digests.into_iter().flat_map(Digest::to_be_bytes).collect()
}

/// What the server knows of the alerts of a key.
pub(super) fn read_alerts(bytes: &[u8]) -> Result<AlertRegisters, LedgerError> {
    let records = bytes.get(HEAD..).unwrap_or_default();
    let unreadable = || LedgerError::Unavailable("the alerts of a storm cannot be read from Redis".to_owned());
    let (records, rest) = records.as_chunks::<RECORD>();
    if !rest.is_empty() {
        return Err(unreadable());
    }
    records.iter().map(|record| read_alert(record).ok_or_else(unreadable)).collect()
}

fn read_alert(record: &[u8; RECORD]) -> Option<(Digest, AlertRegister)> {
    let (digest, rest) = record.split_first_chunk()?;
    let (standing, time) = rest.split_first()?;
    let mut at = [0; 8];
    at.get_mut(1..)?.copy_from_slice(time);
    let standing = AlertStanding::of_number(*standing)?;
    Some((Digest::from_be_bytes(*digest), AlertRegister { at: i64::from_be_bytes(at), standing }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_sixteen_bytes_and_what_is_no_alert_is_an_error() {
        let report = AlertReport { uid: 0x0102, at: 0x0304, says: Says::Firing { resolvable: true } };
        assert_eq!(reports([&report]), [0, 0, 0, 0, 0, 0, 1, 2, 2, 0, 0, 0, 0, 0, 3, 4]);
        let mut kept = vec![0; HEAD];
        kept.extend([0, 0, 0, 0, 0, 0, 1, 2, 6, 0, 0, 0, 0, 0, 3, 4]);
        let handled = AlertRegister { at: 0x0304, standing: AlertStanding::Handled };
        assert_eq!(read_alerts(&kept).unwrap().get(0x0102), Some(handled));
        assert!(read_alerts(&[]).unwrap().is_empty());
        kept[HEAD + 8] = 9;
        assert!(read_alerts(&kept).is_err());
        assert!(read_alerts(&kept[..HEAD + 3]).is_err());
    }
}
