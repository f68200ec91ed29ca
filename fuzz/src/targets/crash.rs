//! Power cuts at every write and every sync of a workload: acknowledged work is kept, other work is
//! there whole or not at all, and the store continues from it; also when the power is cut again
//! while it recovers, or later.
//!
//! Some disks are repaired before they are opened, and some logs lose their end: a power cut ends
//! the repair as well.
//!
//! The workload runs once, on a disk that records; each point of the record makes disks as a power
//! cut may leave them. One seed in four has threads that race: it does not repeat exactly.

mod repair;

use rand::RngExt;
use rand::rngs::StdRng;

use crate::disk::volume::{Mark, Operation, Volume};
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::source;
use crate::outcome::{Outcome, must};
use crate::tally::Tally;
use crate::threads::watch_threads;
use crate::workload::{Threads, Work};

/// The number of power cuts at each point that leave any part.
const PARTS: usize = 3;
/// Power cuts in a row.
const DEPTH: usize = 3;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    let mut rng = source(seed);
    let threads = if seed % 4 == 3 { Threads::Racing } else { Threads::InTurn };
    let steps = rng.random_range(4..16);
    let work = Work::new(&mut rng, steps, threads)?;
    let mut cuts = Cuts { rng, tally };
    let done = cuts.along(&work, &Volume::new(), 1)?;
    repair::lost(&work, &done, &mut cuts.rng, tally)
        .map_err(|problem| format!("the end of the log is gone: {problem}"))
}

struct Cuts<'a> {
    rng: StdRng,
    tally: &'a Tally,
}

impl Cuts<'_> {
    /// Does the work on a disk and cuts the power at points of it: at all when this is the first
    /// time, else at some. Gives the disk with the work done.
    fn along(&mut self, work: &Work, start: &Volume, depth: usize) -> Result<Volume, String> {
        let disk = SimulatedDisk::traced(start.clone());
        must("the work", work.run(&disk))?;
        self.through(work, start, disk.take_trace(), depth)
    }

    /// Cuts the power at points of the work, and returns the disk behind all of it.
    fn through(
        &mut self,
        work: &Work,
        start: &Volume,
        trace: Vec<Operation>,
        depth: usize,
    ) -> Result<Volume, String> {
        let (mut volume, mut acknowledged) = (start.clone(), 0);
        for (index, operation) in trace.iter().enumerate() {
            let is_point = !matches!(operation, Operation::Mark(_) | Operation::DropCache(_));
            if is_point && (depth == 1 || self.rng.random_bool(0.1)) {
                let outcome = self.point(work, &volume, acknowledged, depth);
                outcome.map_err(|problem| {
                    format!("before operation {index} of {}: {problem}", trace.len())
                })?;
            }
            volume.apply(operation);
            if let Operation::Mark(Mark::Acknowledged(frames)) = operation {
                acknowledged = acknowledged.max(*frames);
            }
        }
        self.point(work, &volume, acknowledged, depth)?;
        Ok(volume)
    }

    fn point(&mut self, work: &Work, volume: &Volume, floor: usize, depth: usize) -> Outcome {
        if volume.is_settled() {
            return self.cut(work, volume, floor, Leaves::Everything, depth);
        }
        self.cut(work, volume, floor, Leaves::Everything, depth)?;
        self.cut(work, volume, floor, Leaves::Nothing, depth)?;
        let parts = if depth == 1 { PARTS } else { 1 };
        (0..parts).try_for_each(|_| self.cut(work, volume, floor, Leaves::Some, depth))
    }

    fn cut(
        &mut self,
        work: &Work,
        volume: &Volume,
        floor: usize,
        leaves: Leaves,
        depth: usize,
    ) -> Outcome {
        let again = depth < DEPTH && self.rng.random_bool(0.02);
        // A database's id is random, and so are the cuts of its packs: the draws for one cut must
        // not change those for the next.
        let mut rng = source(self.rng.random());
        let left = volume.cut(leaves, &mut rng);
        let disk = SimulatedDisk::new(left.clone());
        let about = |problem| format!("leaving {leaves:?}: {problem}");
        if rng.random_bool(0.002) {
            repair::whole(work, &left, floor, &mut rng, self.tally).map_err(about)?;
        }
        let state = work.recover(&disk, floor, &mut rng).map_err(about)?;
        self.tally.add("crash points", 1);
        if !again {
            return Ok(());
        }
        let more = work.after(&mut rng, state)?;
        let again = Cuts { rng, tally: self.tally }.along(&more, &left, depth + 1);
        again.map(drop).map_err(|problem| about(format!("then, {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::fault::Kind;

    /// Returns the outcome of the first seeds on disks that lie about a kind of sync.
    fn lied_to(kind: Kind) -> Outcome {
        watch_threads();
        (0..4).try_for_each(|seed| {
            let mut rng = source(seed);
            let work = Work::new(&mut rng, 6, Threads::InTurn)?;
            let disk = SimulatedDisk::traced(Volume::new());
            disk.lie(kind);
            must("the work", work.run(&disk))?;
            let tally = Tally::new(false);
            let mut cuts = Cuts { rng, tally: &tally };
            cuts.through(&work, &Volume::new(), disk.take_trace(), 1).map(drop)
        })
    }

    #[test]
    fn disks_that_lie_are_caught() {
        for kind in [Kind::Sync, Kind::SyncDirectory] {
            lied_to(kind).expect_err("what was acknowledged is lost");
        }
        // This disk lies about operations that do not occur.
        lied_to(Kind::Look).expect("nothing is lost");
    }
}
