//! What durability costs at the level of the store: many commits at once, and one at a time, each
//! beside the same bytes appended to a file.
//!
//! It does not know what a step costs.

use std::time::Duration;

use anyhow::{Result, ensure};
use continuant::storage::Store;

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor::Appended;
use crate::frames::Frames;
use crate::population::Population;
use crate::sizes::Sizes;

pub(crate) const GROUP: &str = "commit.durable.group";
pub(crate) const SINGLE: &str = "commit.durable.single";
const FLOOR: &str = "floor.append_fdatasync";

/// A store with its objects, and a walk over its log.
struct Bench {
    directory: tempfile::TempDir,
    store: Store,
    population: Population,
    /// Where the frames of the last round start.
    last: Frames,
    frame_count: u64,
}

impl Bench {
    /// A store with objects that have a version each besides their genesis.
    fn new(object_count: usize) -> Result<Bench> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store");
        let store = Store::open(&path)?;
        let population = Population::create(&store, object_count)?;
        let mut bench =
            Bench { directory, store, population, last: Frames::new(&path), frame_count: 0 };
        bench.round(0, |population, store| population.append(store, 1))?;
        Ok(bench)
    }

    /// One round of commits.
    fn round<T>(
        &mut self,
        round: u64,
        append: impl FnOnce(&mut Population, &Store) -> Result<T>,
    ) -> Result<T> {
        self.population.prepare(round);
        self.last.skip()?;
        self.frame_count = self.store.stats()?.frame_count;
        append(&mut self.population, &self.store)
    }

    /// Appends the frames of the last round to a file, each group or each frame by itself; how long
    /// each took.
    fn floor(&self, by_group: bool) -> Result<Vec<Duration>> {
        let room = (self.population.len() as u64 + 1) * 8192;
        let mut file = Appended::create(self.directory.path(), room)?;
        let mut took = Vec::new();
        let walked = self.last.clone().walk(|group| {
            let mut rest = &group.bytes[..];
            let all = [rest.len()];
            for length in if by_group { &all[..] } else { &group.lengths[..] } {
                let (some, behind) = rest.split_at(*length);
                took.push(file.append(some)?);
                rest = behind;
            }
            Ok(())
        })?;
        let written = self.store.stats()?.frame_count - self.frame_count;
        ensure!(walked == written, "the log has {walked} new frames, the store wrote {written}");
        Ok(took)
    }
}

/// Commits of many threads to many objects.
pub(crate) fn group(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut bench = Bench::new(sizes.objects)?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 1..=rounds {
        // On both sides of the figure, so that neither finds the disk more rested.
        let before: Duration = bench.floor(true)?.iter().sum();
        let took = bench.round(round as u64, |population, store| population.append(store, threads));
        ours.push(sizes.objects as f64 / took?.as_secs_f64());
        let after: Duration = bench.floor(true)?.iter().sum();
        floor.push(2.0 * sizes.objects as f64 / (before + after).as_secs_f64());
    }
    let about = "one 4 KiB page and an unsigned input each, to as many objects, from every core, \
                 until the last is acknowledged";
    let floor_about = "the same bytes in the same groups, one write and fdatasync a group, to a \
                       preallocated file";
    let vs = vec![Peer { name: FLOOR, about: floor_about, samples: floor }];
    let unit = Unit::COMMITS_PER_SECOND;
    Ok(vec![Figure { name: GROUP, about, unit, samples: ours, vs }])
}

/// Commits that each wait for the one before.
pub(crate) fn single(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut bench = Bench::new(sizes.singles)?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 1..=rounds {
        let mut around = bench.floor(false)?;
        let took = bench.round(round as u64, Population::append_singly)?;
        ours.push(median(&took));
        around.extend(bench.floor(false)?);
        floor.push(median(&around));
    }
    let about = "the same, each waiting for the one before; the median of a round";
    let floor_about = "the same frames, one write and fdatasync each, to a preallocated file";
    let vs = vec![Peer { name: FLOOR, about: floor_about, samples: floor }];
    let unit = Unit::MICROSECONDS;
    Ok(vec![Figure { name: SINGLE, about, unit, samples: ours, vs }])
}

/// The median in microseconds.
fn median(took: &[Duration]) -> f64 {
    let micros: Samples = took.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    micros.median()
}
