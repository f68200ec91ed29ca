//! The cost of durability at the level of the store: many commits in flight, and one at a time,
//! each beside the same bytes appended to a file.
//!
//! This bench does not know the cost of a step.

use std::time::Duration;

use anyhow::{Result, ensure};
use continuant::storage::Store;

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor::append_again;
use crate::frames::Frames;
use crate::pages::Edit;
use crate::population::Population;
use crate::sizes::Sizes;

pub(crate) const GROUP: &str = "commit.durable.group";
pub(crate) const GROUP_1024: &str = "commit.durable.group.1024";
pub(crate) const FIELDS_1024: &str = "commit.durable.group.1024.fields";
pub(crate) const SINGLE: &str = "commit.durable.single";
const FLOOR: &str = "floor.append_fdatasync";

/// A store with its objects, and a walk over its log.
pub struct Commits {
    directory: tempfile::TempDir,
    store: Store,
    /// The objects.
    pub population: Population,
    /// The frames of the last round, from where they start.
    last: Frames,
    frame_count: u64,
}

/// The unit of a write: one frame, or all frames that became durable together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A write and a sync for each frame.
    Frame,
    /// A write and a sync for each group.
    Group,
}

impl Commits {
    /// Opens a store with objects that have a version each besides their genesis.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn new(object_count: usize) -> Result<Commits> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store");
        let store = Store::open(&path)?;
        let population = Population::create(&store, object_count)?;
        let mut commits =
            Commits { directory, store, population, last: Frames::new(&path), frame_count: 0 };
        commits.population.prepare(0, 0..object_count, Edit::Page)?;
        commits.round(|population, store| population.append(store, 1, usize::MAX))?;
        Ok(commits)
    }

    /// Runs one round of the prepared commits.
    ///
    /// # Errors
    ///
    /// Those of `append` and of the store.
    pub fn round<T>(
        &mut self,
        append: impl FnOnce(&mut Population, &Store) -> Result<T>,
    ) -> Result<T> {
        self.last.skip()?;
        self.frame_count = self.store.stats()?.frame_count;
        append(&mut self.population, &self.store)
    }

    /// Writes the index, so that nothing runs in the background of the next commits.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn rest(&self) -> Result<()> {
        Ok(self.store.checkpoint()?)
    }

    /// Appends the frames of the last round to a file, and returns the time of each write and sync.
    ///
    /// # Errors
    ///
    /// Those of the file system, and a log of an unexpected form.
    pub fn floor(&self, by: By) -> Result<Vec<Duration>> {
        let (took, walked) = append_again(&self.last, self.directory.path(), by)?;
        let written = self.store.stats()?.frame_count - self.frame_count;
        ensure!(walked == written, "the log has {walked} new frames, the store wrote {written}");
        Ok(took)
    }
}

/// Threads that commit: one a core, and two at least.
pub fn committers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).max(2)
}

/// Commits of many threads to many objects, as many in flight as the store lets.
pub(crate) fn group(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "one 4 KiB page and an unsigned input each, to as many objects, from every core, \
                 until the last is acknowledged";
    grouped(Grouped { name: GROUP, about, edit: Edit::Page, in_flight: usize::MAX }, sizes, rounds)
}

/// The same, with 1,024 in flight.
pub(crate) fn group_1024(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "the same, with at most 1,024 commits that are not acknowledged";
    grouped(Grouped { name: GROUP_1024, about, edit: Edit::Page, in_flight: 1024 }, sizes, rounds)
}

/// The same, where only a field of the page changes.
pub(crate) fn fields_1024(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "the same, where 8 bytes of the page change";
    grouped(Grouped { name: FIELDS_1024, about, edit: Edit::Field, in_flight: 1024 }, sizes, rounds)
}

struct Grouped {
    name: &'static str,
    about: &'static str,
    edit: Edit,
    in_flight: usize,
}

fn grouped(grouped: Grouped, sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let Grouped { name, about, edit, in_flight } = grouped;
    let mut commits = Commits::new(sizes.objects)?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 1..=rounds {
        commits.population.prepare(round as u64, 0..sizes.objects, edit)?;
        // On both sides of the figure, so that neither finds the disk more rested.
        let before: Duration = commits.floor(By::Group)?.iter().sum();
        let took =
            commits.round(|population, store| population.append(store, committers(), in_flight));
        ours.push(sizes.objects as f64 / took?.as_secs_f64());
        let after: Duration = commits.floor(By::Group)?.iter().sum();
        floor.push(2.0 * sizes.objects as f64 / (before + after).as_secs_f64());
    }
    let floor_about = "the same bytes in the same groups, one write and fdatasync a group, to a \
                       preallocated file";
    let vs = vec![Peer { name: FLOOR, about: floor_about, samples: floor }];
    Ok(vec![Figure::new(name, about, Unit::COMMITS_PER_SECOND, ours, vs)])
}

/// Commits that each wait for the one before.
pub(crate) fn single(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut commits = Commits::new(sizes.singles)?;
    let (mut ours, mut floor) = (Samples::default(), Samples::default());
    for round in 1..=rounds {
        commits.population.prepare(round as u64, 0..sizes.singles, Edit::Page)?;
        let mut around = commits.floor(By::Frame)?;
        let took = commits.round(Population::append_singly)?;
        ours.push(median_micros(&took));
        around.extend(commits.floor(By::Frame)?);
        floor.push(median_micros(&around));
    }
    let about = "the same, each waiting for the one before; the median of a round";
    let floor_about = "the same frames, one write and fdatasync each, to a preallocated file";
    let vs = vec![Peer { name: FLOOR, about: floor_about, samples: floor }];
    Ok(vec![Figure::new(SINGLE, about, Unit::MICROSECONDS, ours, vs)])
}

/// The median in microseconds.
pub fn median_micros(took: &[Duration]) -> f64 {
    let micros: Samples = took.iter().map(|took| took.as_secs_f64() * 1e6).collect();
    micros.median()
}
