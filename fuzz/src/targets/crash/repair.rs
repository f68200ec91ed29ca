//! Power cuts during a repair: the repair is started again, and ends as if nothing had cut it
//! short.
//!
//! This module does not know the steps of a repair.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use continuant::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{AcceptedLoss, Compared, ErrorKind, Repaired};

use crate::disk::volume::{Change, FileId, Operation, Volume};
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::source;
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::workload::{PATH, Work};

/// The share of a repair's operations before which the power is cut.
const CUT: f64 = 0.05;

/// A disk on which a power cut left all that was acknowledged: nothing is lost by a repair, nor by
/// one that a power cut ended.
pub(super) fn whole(
    work: &Work,
    left: &Volume,
    acknowledged: usize,
    rng: &mut StdRng,
    tally: &Tally,
) -> Outcome {
    let is_whole = |repaired: Repaired| {
        let is_whole = !matches!(repaired.compared, Compared::Lost(_));
        hold(format!("nothing is lost: {repaired:?}"), is_whole)
    };
    let disk = SimulatedDisk::traced(left.clone());
    match repair(work, &disk, None) {
        // The power was cut before there was one.
        Err(error) if acknowledged == 0 && is_none_yet(error.kind()) => return Ok(()),
        repaired => must("a repair", repaired).and_then(is_whole)?,
    }
    let trace = disk.take_trace();
    work.recover(&disk, acknowledged, rng)?;
    cuts(left, &trace, rng, |left, rng| {
        tally.add("repairs that were cut short", 1);
        if rng.random_bool(0.5) {
            let disk = SimulatedDisk::new(left.clone());
            must("another repair", repair(work, &disk, None)).and_then(is_whole)?;
            return work.recover(&disk, acknowledged, rng).map(drop);
        }
        work.recover(&SimulatedDisk::new(left), acknowledged, rng).map(drop)
    })
}

/// Returns whether there is no database, or the beginning of one.
fn is_none_yet(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotADatabase | ErrorKind::Unfinished { is_backup: false })
}

/// Tests a log whose end is gone: a repair with an accepted loss is on record once, however often a
/// power cut ended it.
pub(super) fn lost(work: &Work, done: &Volume, rng: &mut StdRng, tally: &Tally) -> Outcome {
    let Some(left) = shorter(done, rng) else { return Ok(()) };
    let lost = match repair(work, &SimulatedDisk::new(left.clone()), None) {
        // Only preallocated room was cut off.
        Ok(_) => return Ok(()),
        Err(error) => match error.kind() {
            ErrorKind::Lost(lost) => lost.clone(),
            ErrorKind::Damaged { .. } => return Ok(()),
            kind => return Err(format!("what is gone is told as it is: {kind:?}")),
        },
    };
    let accepted = AcceptedLoss { token: lost.token, time: Time::from_millis(7) };
    let disk = SimulatedDisk::traced(left.clone());
    must("accepting a loss", repair(work, &disk, Some(accepted)))?;
    let trace = disk.take_trace();
    recorded(work, &disk)?;
    cuts(&left, &trace, rng, |left, rng| {
        tally.add("losses whose repair was cut short", 1);
        let disk = SimulatedDisk::new(left.clone());
        match repair(work, &disk, None) {
            Ok(repaired) => {
                let is_known = matches!(repaired.compared, Compared::Lost(_) | Compared::Whole(_));
                hold(format!("it is on record: {repaired:?}"), is_known)?;
                recorded(work, &disk)?;
            }
            Err(error) => {
                let ErrorKind::Lost(again) = error.kind() else { return Err(error.to_string()) };
                equal("what accepts it", &lost.token, &again.token)?;
            }
        }
        let disk = SimulatedDisk::new(left);
        must("accepting it again", repair(work, &disk, Some(accepted)))?;
        if rng.random_bool(0.5) { recorded(work, &disk) } else { Ok(()) }
    })
}

fn repair(
    work: &Work,
    disk: &SimulatedDisk,
    accepted: Option<AcceptedLoss>,
) -> storage::Result<Repaired> {
    work.options().disk(Arc::new(disk.clone())).repair(PATH, accepted, |_, _| {})
}

/// Cuts the power before some of a trace's operations, and examines the disk that is left.
fn cuts(
    start: &Volume,
    trace: &[Operation],
    rng: &mut StdRng,
    mut look: impl FnMut(Volume, &mut StdRng) -> Outcome,
) -> Outcome {
    let mut volume = start.clone();
    for (index, operation) in trace.iter().enumerate() {
        let is_named = matches!(operation, Operation::Name(_) | Operation::SyncDirectory(_));
        if is_named || rng.random_bool(CUT) {
            let leaves = [Leaves::Everything, Leaves::Nothing, Leaves::Some];
            let leaves = leaves[rng.random_range(0..leaves.len())];
            // The draws for one cut do not change those for the next.
            let mut rng = source(rng.random());
            let left = volume.cut(leaves, &mut rng);
            look(left, &mut rng).map_err(|problem| {
                let length = trace.len();
                format!("a repair cut before {index} of {length}, leaving {leaves:?}: {problem}")
            })?;
        }
        volume.apply(operation);
    }
    Ok(())
}

/// Requires that one loss is on record, and all else is sound.
fn recorded(work: &Work, disk: &SimulatedDisk) -> Outcome {
    let options = work.options().existing(true).disk(Arc::new(disk.clone()));
    let store = must("opening what was repaired", options.open(PATH))?;
    equal("losses on record", &1, &store.losses().len())?;
    let report = must("checking", store.check(|_, _| {}))?;
    disk.kill();
    hold(format!("it is sound: {:?}", report.damage), report.is_sound())
}

/// Returns a disk whose log ends earlier than before.
fn shorter(done: &Volume, rng: &mut StdRng) -> Option<Volume> {
    let mut volume = done.clone();
    volume.settle();
    let log = PathBuf::from(PATH).join("log");
    let is_segment = |path: &Path| path.parent() == Some(&log);
    let segments: Vec<(PathBuf, FileId)> = volume
        .named_files()
        .filter(|(path, _)| is_segment(path))
        .map(|(path, file)| (path.to_path_buf(), file))
        .collect();
    let (_, last) = segments.into_iter().max()?;
    let written = volume.content(last).bytes();
    let end = written.iter().rposition(|&byte| byte != 0)?;
    let length = rng.random_range(0..=end) as u64;
    volume.apply(&Operation::File(last, Change::SetLength(length)));
    volume.settle();
    Some(volume)
}
