//! What a step of a warm object costs, from the call to its version in the log.
//!
//! It does not know the parts of a step.

use std::time::Instant;

use anyhow::{Result, ensure};
use continuant::Options;

use crate::counter;
use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor;
use crate::frames::Frames;
use crate::sizes::Sizes;

pub(crate) const RELAXED: &str = "step.relaxed";

/// Steps of one object by one worker that do not wait for the disk.
pub(crate) fn relaxed(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("db");
    let db = Options::new().workers(1).mailbox_max(sizes.steps + 1).open(&path)?;
    let id = counter::create(&db)?;
    let mut frames = Frames::new(&path);
    let warm_up = sizes.steps / 10 + 1;
    counter::increments(&db, id, warm_up)?;
    frames.skip()?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        let start = Instant::now();
        counter::increments(&db, id, sizes.steps)?;
        ours.push(sizes.steps as f64 / start.elapsed().as_secs_f64());
        let mut longest = Vec::new();
        frames.walk(|group| {
            let length = group.lengths[0];
            if length > longest.len() {
                longest = group.bytes[..length].to_vec();
            }
            Ok(())
        })?;
        let took = floor::step(&longest, sizes.steps);
        floor.push(sizes.steps as f64 / took.as_secs_f64());
    }
    let expected = (warm_up + rounds * sizes.steps) as u64;
    let found: u64 = db.snapshot(id)?.get("count")?;
    ensure!(found == expected, "the counter is {found}, {expected} steps were submitted");
    let about = "calls of a warm counter with its policy, one worker, none waiting for the disk, \
                 until the last is durable";
    let floor_about = "for each step one BLAKE3 hash of a 4 KiB page and one copy of a frame in \
                       memory: no guest, no decision, no disk";
    let vs = vec![Peer { name: "floor.step", about: floor_about, samples: floor }];
    Ok(vec![Figure::new(RELAXED, about, Unit::STEPS_PER_SECOND, ours, vs)])
}
