//! The cost of verifying a lineage, with and without running its steps again.
//!
//! This bench does not know what is compared.

use std::time::Instant;

use anyhow::{Result, ensure};
use continuant::{Database, ObjectId, Options, Replay};

use crate::counter;
use crate::figure::{Figure, Samples, Unit};
use crate::sizes::Sizes;

pub(crate) const REPLAY: &str = "verify.replay";
pub(crate) const LINEAGE: &str = "verify.lineage";

/// Verification of one counter's whole lineage.
pub(crate) fn verify(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let options = Options::new().workers(1).mailbox_max(sizes.versions + 1);
    let db = options.open(directory.path().join("db"))?;
    let id = counter::create(&db)?;
    counter::increments(&db, id, sizes.versions - 1)?;
    let (mut replay, mut lineage) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        replay.push(versions_per_second(&db, id, sizes, Replay::Yes)?);
        lineage.push(versions_per_second(&db, id, sizes, Replay::No)?);
    }
    let unit = Unit::VERSIONS_PER_SECOND;
    let about = "`db.verify(id, Replay::Yes)`: every step run again";
    let replay = Figure::new(REPLAY, about, unit, replay, Vec::new());
    let about = "`db.verify(id, Replay::No)`: hashes, roots, admissions";
    let lineage = Figure::new(LINEAGE, about, unit, lineage, Vec::new());
    Ok(vec![replay, lineage])
}

fn versions_per_second(db: &Database, id: ObjectId, sizes: &Sizes, replay: Replay) -> Result<f64> {
    let start = Instant::now();
    let verified = db.verify(id, replay)?;
    let took = start.elapsed().as_secs_f64();
    let (expected, found) = (sizes.versions as u64, verified.versions);
    ensure!(found == expected, "{found} versions were verified, there are {expected}");
    Ok(found as f64 / took)
}
