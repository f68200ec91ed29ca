//! Faults of every operation of a disk, one run for each: the store reports the fault in its own
//! words, acknowledges nothing more, and has everything acknowledged when it is opened again, with
//! the power cut or not.
//!
//! A seed chooses how operations fail and a workload; the run then lets operation 0 fail, operation
//! 1 and so on, until the workload ends before. Every other workload starts with a recovery. Some
//! seeds have a disk with less room than the workload takes instead: the acknowledged work is then
//! read from the full disk, which accepts no change. Others have one with little room left, in
//! which all of the log is compacted: that fails only where there is less room than it names.

use std::sync::Arc;

use continuant::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::disk::Disk;
use storage::{ErrorKind, Incomplete};

use crate::disk::fault::{Fault, Plan};
use crate::disk::volume::{Mark, Operation, Volume};
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::source;
use crate::outcome::{Outcome, hold, must};
use crate::tally::Tally;
use crate::threads::watch_threads;
use crate::workload::{PATH, Threads, Work};

/// Room below which a compaction is tried, in bytes.
const COMPACTION_ROOM: u64 = 200 << 10;
/// Bytes by which a compaction may leave less room than it found.
const SLACK: u64 = 8 << 10;

/// The ways in which operations fail: the fault, whether all later ones fail as well, and of which
/// files.
const WAYS: [(Fault, bool, &str); 11] = [
    (Fault::Io, false, ""),
    (Fault::Io, true, ""),
    (Fault::Io, true, ".log"),
    (Fault::Io, true, "index.redb"),
    (Fault::Full, false, ""),
    (Fault::Full, true, ""),
    (Fault::Evicted, false, ""),
    (Fault::Evicted, true, ""),
    (Fault::Short, false, ""),
    (Fault::Short, true, ""),
    (Fault::Interrupted, false, ""),
];

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    let ways = WAYS.len() as u64 + 1;
    let number = seed / ways;
    let Some(&(fault, for_ever, only)) = WAYS.get((seed % ways) as usize) else {
        return tight(number, tally);
    };
    let mut rng = source(number);
    let mut work = Work::new(&mut rng, 8, Threads::InTurn)?;
    let mut start = Volume::new();
    if number % 2 == 1 {
        (work, start) = interrupted(&work, &mut rng)?;
    }
    for at in 0.. {
        let plan = Plan { fault, at, for_ever, only };
        let fired = one(&work, &start, plan.clone(), &mut source(rng.random()));
        let fired = fired.map_err(|problem| format!("{plan:?}: {problem}"))?;
        if fired == 0 {
            return hold("a fault fired", at > 0);
        }
        tally.add("faults", fired);
        tally.add("operations that failed", 1);
    }
    unreachable!("a workload has an end")
}

/// Does the work on disks that have less room than it takes.
fn tight(number: u64, tally: &Tally) -> Outcome {
    let mut rng = source(number);
    let work = Work::new(&mut rng, 12, Threads::InTurn)?;
    let disk = SimulatedDisk::new(Volume::new());
    disk.limit(u64::MAX);
    must("the work", work.run(&disk))?;
    let needed = disk.held_max();
    for _ in 0..6 {
        let room = rng.random_range(0..needed);
        let full = filled(&work, room, &mut rng);
        if full.map_err(|problem| format!("{room} of {needed} bytes: {problem}"))? {
            tally.add("full disks", 1);
        }
    }
    for _ in 0..12 {
        let free = rng.random_range(0..COMPACTION_ROOM);
        let done = compacted(&work, &disk.volume(), free);
        if !done.map_err(|problem| format!("compacting in {free} bytes: {problem}"))? {
            tally.add("compactions without room", 1);
        }
    }
    Ok(())
}

/// Compacts all of the log on a disk with `free` bytes of room, and returns whether there was
/// enough: if not, there was less than the error names.
fn compacted(work: &Work, volume: &Volume, free: u64) -> Result<bool, String> {
    let disk = Arc::new(SimulatedDisk::new(volume.clone()));
    let options = work.options().existing(true);
    let store = must("opening", options.disk(Arc::clone(&disk) as Arc<dyn Disk>).open(PATH))?;
    // Full segments would give back more room than the open one takes.
    must("compacting", store.compact(Time::MIN, |_, _| {}))?;
    disk.limit(disk.volume().bytes_held() + free);
    let Err(error) = store.compact_all(Time::MIN, |_, _| {}) else { return Ok(true) };
    let source = std::error::Error::source(&error).and_then(|it| it.downcast_ref::<Incomplete>());
    let needed = source.and_then(|incomplete| incomplete.room_needed);
    let needed = needed.ok_or_else(|| format!("it names what it needs: {error:?}"))?;
    // Packs take a little more than their segments where nothing can be compressed.
    hold(format!("there was as much as it needs, {needed}"), needed + SLACK > free)?;
    disk.kill();
    Ok(false)
}

/// Does the work on a disk of `room` bytes, and returns whether that was too little.
fn filled(work: &Work, room: u64, rng: &mut StdRng) -> Result<bool, String> {
    let disk = SimulatedDisk::traced(Volume::new());
    disk.limit(room);
    let result = work.run(&disk);
    let (trace, volume) = (disk.take_trace(), disk.volume());
    if let Err(error) = &result {
        hold(format!("the error says what failed: {error:?}"), is_of(error, Fault::Full))?;
    }
    silent(&trace).map_err(|problem| format!("{result:?}: {problem}"))?;
    let acknowledged = Work::acknowledged(&trace);
    if acknowledged > 0 {
        let full = SimulatedDisk::traced(volume.clone());
        full.limit(0);
        let read = work.read(&full, acknowledged, rng);
        read.map_err(|problem| format!("{result:?}, read: {problem}"))?;
    }
    let restarted = restart(work, &volume, acknowledged, rng);
    restarted.map_err(|problem| format!("{result:?}, restarted: {problem}"))?;
    Ok(result.is_err())
}

/// Returns a disk that a power cut left in the middle of the work, and work to continue with.
fn interrupted(work: &Work, rng: &mut StdRng) -> Result<(Work, Volume), String> {
    let disk = SimulatedDisk::traced(Volume::new());
    must("the work", work.run(&disk))?;
    let trace = disk.take_trace();
    let (before, _) = trace.split_at(rng.random_range(trace.len() / 2..trace.len()));
    let mut volume = Volume::new();
    before.iter().for_each(|operation| volume.apply(operation));
    let left = volume.cut(Leaves::Some, rng);
    let disk = SimulatedDisk::new(left.clone());
    let state = work.recover(&disk, Work::acknowledged(before), rng)?;
    Ok((work.after(rng, state)?, left))
}

/// Does the work with one fault; how often it fired.
fn one(work: &Work, start: &Volume, plan: Plan, rng: &mut StdRng) -> Result<u64, String> {
    let fault = plan.fault;
    let disk = SimulatedDisk::traced(start.clone());
    disk.plan(Some(plan));
    let result = work.run(&disk);
    let fired = disk.fired();
    let trace = disk.take_trace();
    let is_tolerated = fired == 0 || matches!(fault, Fault::Short | Fault::Interrupted);
    match &result {
        Ok(()) => {}
        Err(error) if is_tolerated => return Err(format!("it is tolerated: {error}")),
        Err(error) => hold(format!("the error says what failed: {error:?}"), is_of(error, fault))?,
    }
    if !is_tolerated {
        silent(&trace).map_err(|problem| format!("{result:?}: {problem}"))?;
    }
    let acknowledged = Work::acknowledged(&trace);
    let volume = disk.volume();
    let restarted = restart(work, &volume, acknowledged, rng);
    restarted.map_err(|problem| format!("{result:?}, restarted: {problem}"))?;
    for leaves in [Leaves::Everything, Leaves::Nothing, Leaves::Some] {
        let about = |problem: String| format!("{result:?}, leaving {leaves:?}: {problem}");
        let left = volume.cut(leaves, rng);
        // A torn end is passed over by what only reads.
        if acknowledged > 0 && rng.random_bool(0.1) {
            let read = work.read(&SimulatedDisk::traced(left.clone()), acknowledged, rng);
            read.map_err(|problem| about(format!("read: {problem}")))?;
        }
        work.recover(&SimulatedDisk::new(left), acknowledged, rng).map_err(about)?;
    }
    Ok(fired)
}

/// Opens the store on the same disk, with all that is cached, as another process would. It may
/// continue; then the power is cut after all.
fn restart(work: &Work, volume: &Volume, acknowledged: usize, rng: &mut StdRng) -> Outcome {
    let state = work.recover(&SimulatedDisk::new(volume.clone()), acknowledged, rng)?;
    if rng.random_bool(0.5) {
        return Ok(());
    }
    let more = work.after(rng, state)?;
    let disk = SimulatedDisk::new(volume.clone());
    must("going on", more.run(&disk))?;
    let left = disk.volume().cut(Leaves::Nothing, rng);
    more.recover(&SimulatedDisk::new(left), more.states.len() - 1, rng).map(|_| ())
}

fn is_of(error: &storage::Error, fault: Fault) -> bool {
    match error.kind() {
        ErrorKind::Poisoned | ErrorKind::UncleanClose => true,
        ErrorKind::Io { .. } => fault != Fault::Full,
        ErrorKind::Full => fault == Fault::Full,
        _ => false,
    }
}

/// Requires that nothing is acknowledged between a failure and the next opening.
fn silent(trace: &[Operation]) -> Outcome {
    let (mut failed, mut full) = (false, false);
    for operation in trace {
        match operation {
            Operation::Mark(Mark::Failed) => failed = true,
            Operation::Mark(Mark::Full) => full = true,
            Operation::Mark(Mark::Well) => (failed, full) = (false, false),
            Operation::Mark(Mark::Room) => full = false,
            Operation::Mark(Mark::Acknowledged(frame)) => {
                let about = format!("frame {frame} is not acknowledged after a failure");
                hold(about, !failed && !full)?;
            }
            _ => {}
        }
    }
    Ok(())
}
