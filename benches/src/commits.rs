//! What durability costs at the level of the store: many commits at once, and one at a time, each
//! beside the same bytes appended to a file.
//!
//! It does not know what a step costs.

use std::path::Path;
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
    frames: Frames,
    frame_count: u64,
}

impl Bench {
    fn new(object_count: usize) -> Result<Bench> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store");
        let store = Store::open(&path)?;
        let population = Population::create(&store, object_count)?;
        let mut frames = Frames::new(&path);
        frames.skip()?;
        let frame_count = store.stats()?.frame_count;
        Ok(Bench { directory, store, population, frames, frame_count })
    }

    /// Walks over what was appended since the last time: the log must have just that.
    fn appended(&mut self, each: impl FnMut(&Path, Vec<u8>, &[usize]) -> Result<()>) -> Result<()> {
        let (mut each, path) = (each, self.directory.path());
        let walked = self.frames.walk(|group| each(path, group.bytes, &group.lengths))?;
        let before = std::mem::replace(&mut self.frame_count, self.store.stats()?.frame_count);
        let written = self.frame_count - before;
        ensure!(walked == written, "the log has {walked} new frames, the store wrote {written}");
        Ok(())
    }
}

/// Commits of many threads to many objects.
pub(crate) fn group(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut bench = Bench::new(sizes.objects)?;
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        bench.population.prepare(round as u64);
        let took = bench.population.append(&bench.store, threads)?;
        ours.push(sizes.objects as f64 / took.as_secs_f64());
        let (mut spent, mut file) = (Duration::ZERO, None);
        bench.appended(|path, bytes, _| {
            let room = (sizes.objects as u64 + 1) * 8192;
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(Appended::create(path, room)?),
            };
            spent += file.append(&bytes)?;
            Ok(())
        })?;
        floor.push(sizes.objects as f64 / spent.as_secs_f64());
    }
    let about = "one 4 KiB page and an unsigned input each, to as many objects, from every core, \
                 until the last is acknowledged";
    let floor_about = "the same bytes in the same groups, one write and fdatasync a group, to a \
                       preallocated file";
    let vs = vec![Peer { name: FLOOR, about: floor_about, samples: floor }];
    let unit = Unit::COMMITS_PER_SECOND;
    let figure = Figure { name: GROUP, about, unit, samples: ours, vs };
    Ok(vec![figure])
}

/// Commits that each wait for the one before.
pub(crate) fn single(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut bench = Bench::new(sizes.singles)?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 0..rounds {
        bench.population.prepare(round as u64);
        let took = bench.population.append_singly(&bench.store)?;
        ours.push(median(&took));
        let (mut took, mut file) = (Vec::new(), None);
        bench.appended(|path, bytes, lengths| {
            let room = (sizes.singles as u64 + 1) * 8192;
            let file = match &mut file {
                Some(file) => file,
                None => file.insert(Appended::create(path, room)?),
            };
            let mut rest = &bytes[..];
            for length in lengths {
                let (frame, behind) = rest.split_at(*length);
                took.push(file.append(frame)?);
                rest = behind;
            }
            Ok(())
        })?;
        floor.push(median(&took));
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
