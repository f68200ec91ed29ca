//! The disk space of a commit: in the log, and in the index.
//!
//! Bytes do not vary from round to round, so each is counted once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Result, ensure};
use continuant::Options;
use continuant::object::header::HEADER_BYTES;
use continuant::storage::Store;

use crate::commits::committers;
use crate::counter;
use crate::figure::{Figure, Peer, Unit};
use crate::frames::Frames;
use crate::pages::Edit;
use crate::population::Population;
use crate::sizes::Sizes;

pub(crate) const PER_COMMIT: &str = "space.per_commit";
pub(crate) const INDEX: &str = "space.index";
const FIELD_BYTES: f64 = 8.0;
/// The least bytes of an index: each object's id and the place of its newest version.
const KEY_AND_PLACE_BYTES: usize = 40;

/// Bytes of log of a counter's increment.
pub(crate) fn per_commit(sizes: &Sizes, _rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("db");
    let db = Options::new().workers(1).mailbox_max(sizes.versions + 1).open(&path)?;
    let id = counter::create(&db)?;
    let mut frames = Frames::new(&path);
    frames.skip()?;
    counter::increments(&db, id, sizes.versions)?;
    let bytes = frames.skip()? as f64 / sizes.versions as f64;
    let sum = HEADER_BYTES as f64 + FIELD_BYTES;
    let about = "bytes of log for each increment of a counter, with its input, effects, admission";
    let vs = vec![Peer::fixed("sum.header_and_change", "480 bytes of header, 8 of change", sum)];
    Ok(vec![Figure::new(PER_COMMIT, about, Unit::BYTES, [bytes].into_iter().collect(), vs)])
}

/// Bytes of index of many commits to many objects.
pub(crate) fn index(sizes: &Sizes, _rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("store");
    let store = Store::open(&path)?;
    let (objects, versions) = (sizes.space_objects, sizes.space_versions);
    let mut population = Population::create(&store, objects)?;
    for round in 0..versions {
        population.prepare(round as u64, 0..objects, Edit::Field)?;
        population.append(&store, committers(), usize::MAX)?;
    }
    store.close()?;
    ensure!(population.newest(0).1 == versions as u64, "every object has its versions");
    let commits = (objects * versions) as f64;
    let bytes = held(&path.join("index.redb"))? / commits;
    let floor = (KEY_AND_PLACE_BYTES * objects) as f64 / commits;
    let about = "bytes of index for each commit, after as many commits to each of many objects";
    let vs = vec![Peer::fixed("floor.key_and_place", "40 bytes for each object", floor)];
    Ok(vec![Figure::new(INDEX, about, Unit::BYTES, [bytes].into_iter().collect(), vs)])
}

/// Bytes that the file system holds for a file.
fn held(path: &Path) -> Result<f64> {
    Ok((fs::metadata(path)?.blocks() * 512) as f64)
}
