//! The cost of a long history: reading a version of an object that has many, and committing to it,
//! each beside objects of a hundred versions in the same store.
//!
//! There are enough shallow objects that their versions do not stay in the processor's caches: the
//! comparison is of depth, not of how warm the bytes are.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use continuant::Time;
use continuant::object::memory::Memory;
use continuant::storage::{Store, Version};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::lineage::{self, Lineage, TIME_STEP};
use crate::pages::Random;
use crate::payloads::{Mold, PAGE_INDEX};
use crate::sizes::Sizes;

pub(crate) const BY_SEQ: &str = "asof.read.seq";
pub(crate) const BY_TIME: &str = "asof.read.time";
pub(crate) const COMMIT: &str = "commit.at_depth";
const SHALLOW: &str = "baseline.depth_100";
const SHALLOW_VERSIONS: u64 = 100;
const SHALLOW_ABOUT: &str = "the same, of objects of 100 versions";

struct Histories {
    _directory: tempfile::TempDir,
    store: Store,
    deep: Vec<Lineage>,
    shallow: Vec<Lineage>,
    random: Random,
}

/// The samples of the deep object and of the shallow ones.
#[derive(Default)]
struct Measured {
    deep: Samples,
    shallow: Samples,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    Seq,
    Time,
}

/// Reads by seq and by time, and commits.
pub(crate) fn history(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut histories = Histories::new(sizes)?;
    let (mut by_seq, mut by_time, mut commit) =
        (Measured::default(), Measured::default(), Measured::default());
    for _ in 0..rounds {
        by_seq.deep.push(histories.reads(Key::Seq, true, sizes.asof_reads)?);
        by_seq.shallow.push(histories.reads(Key::Seq, false, sizes.asof_reads)?);
        by_time.deep.push(histories.reads(Key::Time, true, sizes.asof_reads)?);
        by_time.shallow.push(histories.reads(Key::Time, false, sizes.asof_reads)?);
    }
    // Commits make the shallow objects deeper, so the reads come first.
    for _ in 0..rounds {
        let (deep, shallow) = histories.commits(sizes.depth_commits)?;
        commit.deep.push(deep);
        commit.shallow.push(shallow);
    }
    let seq_about = "`store.version(id, seq)` of a random version of one deep object, and a field";
    let time_about = "`store.as_of(id, time)` of a random version of the same, and a field";
    let commit_about = "commits to the deep object, none waiting for the one before, until all are \
                        durable";
    Ok(vec![
        by_seq.figure(BY_SEQ, seq_about, Unit::MICROSECONDS),
        by_time.figure(BY_TIME, time_about, Unit::MICROSECONDS),
        commit.figure(COMMIT, commit_about, Unit::COMMITS_PER_SECOND),
    ])
}

impl Measured {
    fn figure(self, name: &str, about: &'static str, unit: Unit) -> Figure {
        let vs = vec![Peer { name: SHALLOW, about: SHALLOW_ABOUT, samples: self.shallow }];
        Figure::new(name, about, unit, self.deep, vs)
    }
}

impl Histories {
    fn new(sizes: &Sizes) -> Result<Histories> {
        let directory = tempfile::tempdir()?;
        let store = Store::open(directory.path().join("store"))?;
        let mold = Mold::new()?;
        let grown = |number, versions| {
            let mut lineage = Lineage::create(&store, &mold, number)?;
            lineage.grow(&store, versions)?;
            Ok(lineage)
        };
        let deep = vec![grown(0, sizes.depth)?];
        let numbers = 1..=sizes.shallow_objects as u64;
        let shallow = numbers.map(|number| grown(number, SHALLOW_VERSIONS));
        let shallow = shallow.collect::<Result<_>>()?;
        store.checkpoint()?;
        Ok(Histories { _directory: directory, store, deep, shallow, random: Random::new(7) })
    }

    /// Microseconds for each of `count` reads.
    fn reads(&mut self, key: Key, is_deep: bool, count: usize) -> Result<f64> {
        let objects = if is_deep { &self.deep } else { &self.shallow };
        let start = Instant::now();
        for _ in 0..count {
            let object = &objects[self.random.below(objects.len() as u64) as usize];
            let seq = 1 + self.random.below(object.seq());
            let version = match key {
                Key::Seq => self.store.version(object.id(), seq)?,
                Key::Time => self
                    .store
                    .as_of(object.id(), Time::from_millis(seq * TIME_STEP + TIME_STEP / 2))?,
            };
            let found = field(&version.context("the version is there")?)?;
            ensure!(found == seq, "version {seq} has the field of version {found}");
        }
        Ok(start.elapsed().as_secs_f64() * 1e6 / count as f64)
    }

    /// Commits in a second, to the deep object and to the shallow ones in turn, a hundred each.
    fn commits(&mut self, count: u64) -> Result<(f64, f64)> {
        let deep = [self.deep[0].prepare(count)?];
        let each = count.div_ceil(self.shallow.len() as u64).max(SHALLOW_VERSIONS);
        let many = count.div_ceil(each) as usize;
        let shallow: Vec<_> =
            self.shallow[..many].iter_mut().map(|one| one.prepare(each)).collect::<Result<_>>()?;
        let rate = |count: u64, took: Duration| count as f64 / took.as_secs_f64();
        let shallow = rate(each * many as u64, lineage::append(&self.store, &shallow)?);
        let deep = rate(count, lineage::append(&self.store, &deep)?);
        // The next round finds other objects in front.
        self.shallow.rotate_left(many);
        Ok((deep, shallow))
    }
}

/// The field that versions change.
fn field(version: &Version) -> Result<u64> {
    let bytes = black_box(version.image.page(PAGE_INDEX)).first_chunk();
    Ok(u64::from_le_bytes(*bytes.context("a page has eight bytes")?))
}
