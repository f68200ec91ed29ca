//! The rounds: in each, every peer and Continuant's store take in the next version of each object
//! in groups of 1,024, and then of some objects one by one.
//!
//! Between two rounds the file system writes its pending data, so that no round pays for the one
//! before.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use continuant_benches::commits::{By, Commits, committers, median_micros};
use continuant_benches::figure::{self, Figure, Samples, Unit};
use continuant_benches::machine;
use continuant_benches::pages::Edit;
use continuant_benches::population::Population;

#[cfg(feature = "fjall")]
use crate::fjall::Fjall;
#[cfg(feature = "lmdb")]
use crate::lmdb::Lmdb;
use crate::peer::{Peer, Rows};
#[cfg(feature = "redb")]
use crate::redb::Redb;
#[cfg(feature = "rocksdb")]
use crate::rocksdb::RocksDb;
use crate::sqlite::Sqlite;

/// Commits that become durable together.
const GROUP: usize = 1024;
/// Commits one by one in a round.
const SINGLES: usize = 300;

/// A peer that there is.
struct Known {
    name: &'static str,
    about: &'static str,
    open: fn(&Path) -> Result<Box<dyn Peer>>,
}

const PEERS: &[Known] = &[
    #[cfg(feature = "redb")]
    Known { name: "redb", about: "redb, one transaction a group, as by default", open: Redb::open },
    Known {
        name: "sqlite",
        about: "SQLite, one transaction a group, WAL, synchronous = FULL",
        open: Sqlite::open,
    },
    #[cfg(feature = "lmdb")]
    Known { name: "lmdb", about: "LMDB, one transaction a group, as by default", open: Lmdb::open },
    #[cfg(feature = "fjall")]
    Known {
        name: "fjall",
        about: "fjall, one batch a group, the journal synced",
        open: Fjall::open,
    },
    #[cfg(feature = "rocksdb")]
    Known {
        name: "rocksdb",
        about: "RocksDB, one batch a group, the journal synced",
        open: RocksDb::open,
    },
];

/// One measurement of a round.
#[derive(Clone, Copy)]
struct Task {
    name: &'static str,
    about: &'static str,
    floor_about: &'static str,
    edit: Edit,
    /// Commits that become durable together.
    group: usize,
    unit: Unit,
}

const TASKS: [Task; 3] = [
    Task {
        name: "commit.durable.group",
        about: "a version, a head and a page each, 8 bytes of which changed; 1,024 at a time",
        floor_about: "Continuant's bytes in the same groups, to a preallocated file",
        edit: Edit::Field,
        group: GROUP,
        unit: Unit::COMMITS_PER_SECOND,
    },
    Task {
        name: "commit.durable.group.pages",
        about: "the same, where all of the page changed",
        floor_about: "Continuant's bytes in the same groups, to a preallocated file",
        edit: Edit::Page,
        group: GROUP,
        unit: Unit::COMMITS_PER_SECOND,
    },
    Task {
        name: "commit.durable.single",
        about: "as the first, one at a time; the median of a round",
        floor_about: "the same frames one by one, to a preallocated file",
        edit: Edit::Field,
        group: 1,
        unit: Unit::MICROSECONDS,
    },
];

/// A peer, and its measurements of each task.
struct Measured {
    known: &'static Known,
    peer: Box<dyn Peer>,
    samples: [Samples; TASKS.len()],
}

/// The measurements of the store itself, and of a file that gets the same bytes.
#[derive(Default)]
struct Ours {
    samples: [Samples; TASKS.len()],
    floors: [Samples; TASKS.len()],
}

/// Measures the peers whose names contain `only`, and the store.
pub(crate) fn compare(objects: usize, rounds: usize, only: Option<&str>) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let mut peers = Vec::new();
    for known in PEERS.iter().filter(|known| only.is_none_or(|only| known.name.contains(only))) {
        let peer = (known.open)(directory.path())?;
        peers.push(Measured { known, peer, samples: Default::default() });
    }
    ensure!(!peers.is_empty(), "no peer has such a name");
    let mut commits = Commits::new(objects)?;
    let mut ours = Ours::default();
    // The first round finds everything empty: it is not counted.
    for round in 0..=rounds {
        for (index, task) in TASKS.iter().enumerate() {
            let all = 0..objects;
            let first = round * SINGLES % objects;
            let some = first..(first + SINGLES).min(objects);
            let chosen = if task.group == 1 { some } else { all };
            let number = (TASKS.len() * round + index) as u64;
            commits.population.prepare(number + 1, chosen, task.edit)?;
            for measured in &mut peers {
                let sample = measured.measure(task, &commits.population)?;
                if round > 0 {
                    measured.samples[index].push(sample);
                }
            }
            let (sample, floor) = ours_of(task, &mut commits)?;
            if round > 0 {
                ours.samples[index].push(sample);
                ours.floors[index].push(floor);
            }
        }
    }
    Ok(figures(ours, peers))
}

impl Task {
    /// The figure of commits that took so long, group by group.
    fn figure_of(&self, commit_count: usize, took: &[Duration]) -> f64 {
        match self.group {
            1 => median_micros(took),
            _ => commit_count as f64 / took.iter().sum::<Duration>().as_secs_f64(),
        }
    }
}

impl Measured {
    fn measure(&mut self, task: &Task, population: &Population) -> Result<f64> {
        machine::settle();
        let (mut took, mut commit_count) = (Vec::new(), 0);
        let mut upcoming = population.upcoming().peekable();
        while upcoming.peek().is_some() {
            let group = Rows::of(upcoming.by_ref().take(task.group));
            commit_count += group.len();
            let start = Instant::now();
            self.peer.commit(&group)?;
            took.push(start.elapsed());
        }
        self.peer.rest()?;
        Ok(task.figure_of(commit_count, &took))
    }
}

/// The store's figure, and the floor's.
fn ours_of(task: &Task, commits: &mut Commits) -> Result<(f64, f64)> {
    let commit_count = commits.population.upcoming().count();
    machine::settle();
    let (took, by) = match task.group {
        1 => (commits.round(Population::append_singly)?, By::Frame),
        group => {
            let append = |population: &mut Population, store: &_| {
                population.append(store, committers(), group)
            };
            (vec![commits.round(append)?], By::Group)
        }
    };
    commits.rest()?;
    machine::settle();
    let floor = commits.floor(by)?;
    Ok((task.figure_of(commit_count, &took), task.figure_of(commit_count, &floor)))
}

fn figures(ours: Ours, peers: Vec<Measured>) -> Vec<Figure> {
    let Ours { samples, floors } = ours;
    let mut figures: Vec<Figure> = TASKS
        .iter()
        .zip(samples.into_iter().zip(floors))
        .map(|(task, (samples, floor))| {
            let (name, about) = ("floor.append_fdatasync", task.floor_about);
            let vs = vec![figure::Peer { name, about, samples: floor }];
            Figure::new(task.name, task.about, task.unit, samples, vs)
        })
        .collect();
    for Measured { known, samples, .. } in peers {
        for (figure, samples) in figures.iter_mut().zip(samples) {
            figure.vs.push(figure::Peer { name: known.name, about: known.about, samples });
        }
    }
    figures
}
