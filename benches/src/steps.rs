//! The cost of a step of a warm object, from the call to its version in the log.
//!
//! This bench does not know the parts of a step.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Result, ensure};
use continuant::{Database, Durability, ObjectId, Options, Pending, args};

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor;
use crate::frames::Frames;
use crate::sizes::Sizes;

pub(crate) const RELAXED: &str = "step.relaxed";
pub(crate) const RELAXED_2: &str = "step.relaxed.2";

/// Calls that are submitted before the caller waits for those before them: twice as many are under
/// way, and the caller is woken once for all of them.
const BATCH: usize = 512;

/// A database of its own, with counters that took some steps already.
struct Counters {
    db: Database,
    ids: Vec<ObjectId>,
    /// Steps that were submitted.
    submitted: usize,
    frames: Frames,
    _directory: tempfile::TempDir,
}

impl Counters {
    /// Creates one counter for each of `workers` workers.
    fn new(workers: usize, warm_up: usize) -> Result<Counters> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("db");
        let db = Options::new().workers(workers).mailbox_max(2 * BATCH).open(&path)?;
        let ids = (0..workers).map(|_| counter::create(&db)).collect::<Result<_>>()?;
        let frames = Frames::new(&path);
        let mut counters = Counters { db, ids, submitted: 0, frames, _directory: directory };
        counters.steps_per_second(warm_up)?;
        counters.frames.skip()?;
        Ok(counters)
    }

    /// Does `count` steps, of each counter in turn, until the last is durable.
    fn steps_per_second(&mut self, count: usize) -> Result<f64> {
        let start = Instant::now();
        let mut before: Vec<Pending> = Vec::new();
        for first in (0..count).step_by(BATCH) {
            // The last calls of the batch, one of each counter.
            let mut last = VecDeque::new();
            for index in first..count.min(first + BATCH) {
                let call = self.db.call(self.ids[index % self.ids.len()], "increment", args![1u64]);
                last.push_back(call.durability(Durability::Relaxed).submit()?);
                if last.len() > self.ids.len() {
                    last.pop_front();
                }
            }
            wait(std::mem::replace(&mut before, last.into()))?;
        }
        wait(before)?;
        self.db.sync()?;
        self.submitted += count;
        Ok(count as f64 / start.elapsed().as_secs_f64())
    }

    /// The longest frame that was written since it was last asked for.
    fn longest_frame(&mut self) -> Result<Vec<u8>> {
        let mut longest = Vec::new();
        self.frames.walk(|group| {
            let length = group.lengths[0];
            if length > longest.len() {
                longest = group.bytes[..length].to_vec();
            }
            Ok(())
        })?;
        Ok(longest)
    }

    /// Checks that every submitted step was made.
    fn check(&self) -> Result<()> {
        let count = |id: &ObjectId| Ok(self.db.snapshot(*id)?.get::<u64>("count")?);
        let found = self.ids.iter().map(count).sum::<Result<u64>>()?;
        let expected = self.submitted as u64;
        ensure!(found == expected, "the counters are {found}, {expected} steps were submitted");
        Ok(())
    }
}

fn wait(calls: Vec<Pending>) -> Result<()> {
    calls.into_iter().try_for_each(|call| Ok(call.wait().map(drop)?))
}

/// Steps that do not wait for the disk: of one object by one worker, and of two by two.
pub(crate) fn relaxed(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let warm_up = sizes.steps / 10 + 1;
    let (mut one, mut two) = (Counters::new(1, warm_up)?, Counters::new(2, warm_up)?);
    let mut bare = floor::Guest::new(counter::WASM)?;
    let (mut ours, mut both, mut floor) = <(Samples, Samples, Samples)>::default();
    for _ in 0..rounds {
        ours.push(one.steps_per_second(sizes.steps)?);
        let took = floor::step(&mut bare, &one.longest_frame()?, sizes.steps)?;
        floor.push(sizes.steps as f64 / took.as_secs_f64());
        both.push(two.steps_per_second(sizes.steps)?);
    }
    one.check()?;
    two.check()?;
    let about = "calls of a warm counter with its policy, one worker, each answered before it is \
                 durable, at most 1,024 under way, until the last is durable";
    let floor_about = "for each step a call of the guest as it is, one BLAKE3 hash of a 4 KiB page \
                       and one copy of a frame in memory: no decision, no disk";
    let about_both = "the same of two counters, by two workers";
    let one_worker = Peer { name: RELAXED, about: "one worker", samples: ours.clone() };
    let vs = vec![Peer { name: "floor.step", about: floor_about, samples: floor }];
    Ok(vec![
        Figure::new(RELAXED, about, Unit::STEPS_PER_SECOND, ours, vs),
        Figure::new(RELAXED_2, about_both, Unit::STEPS_PER_SECOND, both, vec![one_worker]),
    ])
}
