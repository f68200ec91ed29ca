//! The time to open a database that was closed: it must not grow with the number of objects.
//!
//! This bench does not know recovery: nothing is behind the index.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use continuant::storage::Store;
use continuant::{ObjectId, Options};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::payloads::Mold;
use crate::sizes::Sizes;

pub(crate) const CLEAN: &str = "open.clean";
pub(crate) const CLEAN_WAKES: &str = "open.clean.wakes";
const BASELINE: &str = "baseline.100_objects";
const BASELINE_OBJECTS: usize = 100;
/// A wake that does not come while anybody waits.
const WAKE: u64 = u64::MAX / 2;

/// Opens a database whose objects want no wake, and one whose objects all want one.
pub(crate) fn clean(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let about = "open of a database of many objects that was closed";
    let about_wakes = "the same, where every object has a wake ahead";
    let mut figures = Vec::new();
    for (name, about, wake) in [(CLEAN, about, None), (CLEAN_WAKES, about_wakes, Some(WAKE))] {
        let many = Closed::create(&directory.path().join(name), sizes.open_objects, wake)?;
        let few = directory.path().join(format!("{name}.few"));
        let few = Closed::create(&few, BASELINE_OBJECTS, wake)?;
        let (mut ours, mut baseline) = (Samples::default(), Samples::default());
        for _ in 0..rounds {
            ours.push(many.open()?);
            baseline.push(few.open()?);
        }
        let about_baseline = "the same, of 100 objects";
        let vs = vec![Peer { name: BASELINE, about: about_baseline, samples: baseline }];
        figures.push(Figure::new(name, about, Unit::MILLISECONDS, ours, vs));
    }
    Ok(figures)
}

struct Closed {
    path: PathBuf,
    last: ObjectId,
}

impl Closed {
    fn create(path: &Path, object_count: usize, wake: Option<u64>) -> Result<Closed> {
        let store = Store::open(path)?;
        let mold = Mold::new()?;
        let mut last = None;
        for number in 0..object_count as u64 {
            last = Some(mold.create(&store, number, wake)?);
        }
        store.close()?;
        let last = last.context("there are objects")?.hash().into();
        Ok(Closed { path: path.to_path_buf(), last })
    }

    /// Opens it; in how many milliseconds.
    fn open(&self) -> Result<f64> {
        let start = Instant::now();
        let db = Options::new().open(&self.path)?;
        let took = start.elapsed();
        ensure!(db.info(self.last)?.seq == 0, "the last object is as it was created");
        db.close()?;
        Ok(took.as_secs_f64() * 1e3)
    }
}
