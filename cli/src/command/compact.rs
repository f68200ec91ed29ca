//! `compact`: drops what retention does not keep, and compresses the rest.

use std::time::Duration;

use clap::Args;
use continuant::storage::{self, ClockJump, Compacted, Incomplete};
use continuant::{Database, Error, Time};
use serde_json::json;

use crate::aside;
use crate::failure::{Failure, Result};
use crate::printer::Printer;
use crate::table::grouped;
use crate::target::Target;
use crate::{moment, progress};

/// Drop what `retain` does not keep, and compress the rest
///
/// Only full segments of the log are compacted, unless --all is given; the size of the open
/// segment, and everything left undone, is printed. Each segment gives its space back before the
/// next; there must be room for one that is compressed. At the end the index's file gives back its
/// free space. The bytes before and after are those that the whole database takes on disk.
///
/// Ages are counted from the newest version on record that is not after this host's clock: a wrong
/// clock drops nothing as long as no version was made under it. Nor does the first version that is
/// made under a clock that jumped ahead: when some versions are older than three weeks before the
/// newest, and none is from the first two of these weeks, nothing is dropped by age, and a note
/// says so. Where that is no wrong clock but a pause, --trust-clock counts from the clock.
#[derive(Debug, Args)]
pub(crate) struct Compact {
    /// Close the open segment and compact everything, however little it saves
    #[arg(long)]
    all: bool,

    /// Count ages from the clock's time, also when nothing on record is as new, or the times on
    /// record jump by two weeks or more
    #[arg(long)]
    trust_clock: bool,
}

/// Returns the failure of a compaction, with the work before it if that is known.
fn ended_early(error: Error) -> Failure {
    let mut source = std::error::Error::source(&error);
    let mut incomplete = None;
    while let Some(cause) = source {
        incomplete = incomplete.or(cause.downcast_ref::<Incomplete>().copied());
        source = cause.source();
    }
    let Some(Incomplete { done, room_needed }) = incomplete else { return error.into() };
    let segments = grouped(done.segment_count);
    let stopped = format!("{segments} segments were compacted, and the others are unchanged");
    Failure::unless_stopped(error, stopped).with_details(json!({
        "segments": done.segment_count,
        "segments_left": done.left_count,
        "bytes_before": done.bytes_before,
        "bytes_after": done.bytes_after,
        "versions_dropped": done.trimmed_count,
        "versions_held": done.held_count,
        "room_needed": room_needed,
    }))
}

/// Returns the possible reasons why versions are held.
fn holders(db: &Database) -> Result<Vec<&'static str>> {
    let is_letter = db.dead_letters().next().transpose()?.is_some();
    let reasons = [
        (!db.outboxes().is_empty(), "an outbox has not given their outputs (see `outbox`)"),
        (db.message_count() > 0, "their messages are on their way (`run` delivers them)"),
        (is_letter, "they sent dead letters (see `dead-letters`)"),
    ];
    Ok(reasons.into_iter().filter_map(|(holds, reason)| holds.then_some(reason)).collect())
}

/// The least difference at which the output says that the newest version is older than the clock.
const BEHIND_MIN: Duration = Duration::from_secs(60);

impl Compact {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let directory = target.directory();
        let storage = storage::Options::new().existing(true).compact_index(true);
        let held = || storage::Options::new().bytes_on_disk(&directory).map_err(Failure::from);
        let (compacted, before, now, holders) = target.with_storage(storage, |db| {
            let before = held()?;
            let bar = progress::bar("compacting", 0);
            let compacted =
                progress::in_order(bar, |progress| match (self.all, self.trust_clock) {
                    (true, true) => db.compact_all_by_clock(progress),
                    (true, false) => db.compact_all(progress),
                    (false, true) => db.compact_by_clock(progress),
                    (false, false) => db.compact(progress),
                });
            let compacted = compacted.map_err(ended_early)?;
            let holders = if compacted.held_count > 0 { holders(db)? } else { Vec::new() };
            Ok((compacted, before, db.now(), holders))
        })?;
        // The index is smaller only now.
        let compacted = Compacted { bytes_before: before, bytes_after: held()?, ..compacted };
        let segments = compacted.segment_count;
        printer.done(format!("{segments} segments compacted"), json!({ "segments": segments }));
        if let Some(ClockJump { from, to }) = compacted.jump {
            let message = format!(
                "nothing was dropped by age: the times on record jump from {from} to the week \
                 before {to}, as they do when a clock is wrong. If that was a pause, and this \
                 host's clock is right, --trust-clock counts ages from it"
            );
            aside::note(printer, "clock-jump", &message);
        }
        match printer.is_json() {
            true => printer.document(&json!({
                "segments": compacted.segment_count,
                "segments_left": compacted.left_count,
                "bytes_before": compacted.bytes_before,
                "bytes_after": compacted.bytes_after,
                "versions_dropped": compacted.trimmed_count,
                "versions_held": compacted.held_count,
                "open_bytes": compacted.open_bytes,
                "ages_from": moment::json(compacted.ages_from.filter(|&from| from > Time::MIN)),
                "clock_jump": compacted.jump.map(|ClockJump { from, to }| {
                    json!({ "from": moment::json(from), "to": moment::json(to) })
                }),
            })),
            false => self.print(&compacted, now, &holders, printer),
        }
    }

    fn print(
        &self,
        compacted: &Compacted,
        now: Time,
        holders: &[&str],
        printer: &mut Printer,
    ) -> Result<()> {
        printer.pairs(&[
            ("segments", grouped(compacted.segment_count)),
            ("bytes on disk before", grouped(compacted.bytes_before)),
            ("bytes on disk after", grouped(compacted.bytes_after)),
            ("versions dropped", grouped(compacted.trimmed_count)),
            ("versions held", grouped(compacted.held_count)),
            ("bytes in the open segment", grouped(compacted.open_bytes)),
        ])?;
        for line in self.remarks(compacted, holders) {
            printer.line(&line)?;
        }
        let Some(from) = compacted.ages_from else { return Ok(()) };
        if compacted.jump.is_some() {
            return Ok(());
        }
        if from == Time::MIN {
            return printer.line(
                "nothing was dropped by age: everything on record is later than this host's clock",
            );
        }
        let behind = now.saturating_duration_since(from);
        if behind < BEHIND_MIN {
            return printer.line(&format!("ages are counted from {from}"));
        }
        let behind = moment::show_span(behind);
        printer.line(&format!(
            "ages are counted from {from}, the newest time on record, which is {behind} before \
             this host's clock: --trust-clock counts from the clock instead"
        ))
    }

    /// Returns remarks on work left undone, and why.
    fn remarks(&self, compacted: &Compacted, holders: &[&str]) -> Vec<String> {
        let mut remarks = Vec::new();
        if compacted.segment_count == 0 {
            remarks.push(match (compacted.left_count, self.all) {
                (0, true) => "nothing was compacted: there is nothing in the log".to_string(),
                (0, false) => "nothing was compacted: no segment of the log is full".to_string(),
                (left, _) => {
                    let left = grouped(left);
                    format!("nothing was compacted: {left} segments are as compact as they get")
                }
            });
        }
        if !self.all && compacted.open_bytes > 0 {
            let remark =
                "the open segment was left as it is: `compact --all` closes and compacts it";
            remarks.push(remark.to_string());
        }
        if !holders.is_empty() {
            remarks.push(format!("versions are held because {}", holders.join(", or ")));
        }
        remarks
    }
}
