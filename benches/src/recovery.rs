//! The speed of recovery after a crash: the log behind the index is read at open.
//!
//! A crash is a copy of the files of a store that is still open. Recovery reads the disk, not the
//! kernel's cache, so the floor that counts is the cold one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use continuant::storage::{Options, Store};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor;
use crate::frames::Frames;
use crate::machine;
use crate::pages::Edit;
use crate::population::Population;
use crate::sizes::Sizes;

pub(crate) const PAGES: &str = "recover.tail";
pub(crate) const FIELDS: &str = "recover.tail.fields";
const VERSIONS: u64 = 3;

/// A store that crashed, again and again.
struct Crashed {
    directory: tempfile::TempDir,
    /// Still open: its files stay as they are.
    _store: Store,
    population: Population,
    files: Vec<(PathBuf, u64)>,
    bytes_count: u64,
}

/// Recovery of versions that changed whole pages.
pub(crate) fn pages(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "log read at open after a crash, behind what the index covers: whole pages changed";
    tail(PAGES, about, Edit::Page, sizes.tail_objects, rounds)
}

/// Recovery of versions that changed one field.
pub(crate) fn fields(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let about = "the same: one field changed";
    tail(FIELDS, about, Edit::Field, sizes.tail_objects, rounds)
}

fn tail(
    name: &str,
    about: &'static str,
    edit: Edit,
    object_count: usize,
    rounds: usize,
) -> Result<Vec<Figure>> {
    let crashed = Crashed::new(object_count, edit)?;
    let rate = |took: Duration| crashed.bytes_count as f64 / 1e6 / took.as_secs_f64();
    let [mut ours, mut cold, mut warm] = <[Samples; 3]>::default();
    for _ in 0..rounds {
        floor::forget(&crashed.files)?;
        cold.push(rate(floor::read_and_hash(&crashed.files)?));
        warm.push(rate(floor::read_and_hash(&crashed.files)?));
        ours.push(rate(crashed.open()?));
    }
    let about_cold = "the same bytes read from the disk, a MiB at a time, and hashed";
    let about_warm = "the same, of what the kernel has cached";
    let vs = vec![
        Peer { name: "floor.read_hash.cold", about: about_cold, samples: cold },
        Peer { name: "floor.read_hash.warm", about: about_warm, samples: warm },
    ];
    Ok(vec![Figure::new(name, about, Unit::MEGABYTES_PER_SECOND, ours, vs)])
}

impl Crashed {
    fn new(object_count: usize, edit: Edit) -> Result<Crashed> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("store");
        let options = Options::new().recent_rows_max(usize::MAX).tail_bytes_max(u64::MAX);
        let store = options.open(&path)?;
        let mut population = Population::create(&store, object_count)?;
        for round in 0..VERSIONS {
            population.prepare(round, 0..object_count, edit)?;
            population.append(&store, 1, usize::MAX)?;
        }
        let mut frames = Frames::new(&path);
        let (bytes_count, files) = (frames.skip()?, frames.files()?);
        Ok(Crashed { directory, _store: store, population, files, bytes_count })
    }

    /// Opens a copy of the files as they are; how long that took.
    fn open(&self) -> Result<Duration> {
        let copy = self.directory.path().join("copy");
        self.copy(&self.directory.path().join("store"), &copy)?;
        machine::settle();
        let start = Instant::now();
        let store = Options::new().existing(true).open(&copy)?;
        let took = start.elapsed();
        let (id, seq) = self.population.newest(self.population.len() - 1);
        let found = store.info(id)?.context("the last object is there")?.seq;
        ensure!(found == seq, "the last object has version {found}, not {seq}");
        drop(store);
        fs::remove_dir_all(&copy)?;
        Ok(took)
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        fs::create_dir_all(to.join("log"))?;
        for name in ["continuant.db", "index.redb"] {
            fs::copy(from.join(name), to.join(name))?;
        }
        for (path, _) in &self.files {
            let name = path.file_name().context("a segment has a name")?;
            let copy = to.join("log").join(name);
            // A full segment is never written again: it can be shared.
            let is_last = Some(path) == self.files.last().map(|(path, _)| path);
            if is_last { fs::copy(path, copy).map(|_| ())? } else { fs::hard_link(path, copy)? }
        }
        Ok(())
    }
}
