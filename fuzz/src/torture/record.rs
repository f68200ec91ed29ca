//! The acknowledged commits, and the check that a database has them.
//!
//! This module does not know the writers, nor how they end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use continuant::{Clock, Database, ObjectId, Options, Replay, Time, VersionHash};
use rand::RngExt;
use rand::rngs::StdRng;

use super::writer::storage_options;
use crate::tally::Tally;

/// The number of old commits that are read again after each round.
const SAMPLES: usize = 200;

/// A commit that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) object: ObjectId,
    pub(super) seq: u64,
    pub(super) version: VersionHash,
}

/// Every acknowledged commit of one database.
pub(super) struct Record {
    path: PathBuf,
    /// Versions by seq; acknowledgements of several threads come in any order.
    objects: BTreeMap<ObjectId, BTreeMap<u64, VersionHash>>,
    /// Commits that were not examined yet.
    new: Vec<Commit>,
    bytes: u64,
}

impl Record {
    pub(super) fn new(path: PathBuf) -> Record {
        let (objects, new) = Default::default();
        Record { path, objects, new, bytes: 0 }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the database when it was last measured.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a commit down.
    pub(super) fn enter(&mut self, commit: Commit) -> anyhow::Result<()> {
        let Commit { object, seq, version } = commit;
        if let Some(before) = self.objects.entry(object).or_default().insert(seq, version) {
            bail!("{object}, {seq} was acknowledged twice: as {before} and as {version}");
        }
        self.new.push(commit);
        Ok(())
    }

    /// Opens the database and looks for every new commit and some old ones; a lineage is verified,
    /// and everything checked.
    pub(super) fn check(&mut self, rng: &mut StdRng, tally: &Tally) -> anyhow::Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let db = self.open(rng)?;
        for commit in self.new.drain(..) {
            find(&db, commit)?;
            tally.add("commits checked", 1);
        }
        for _ in 0..SAMPLES {
            let versions = self.objects.iter().nth(rng.random_range(0..self.objects.len()));
            let (&object, versions) = versions.expect("the index is below the length");
            let last = versions.last_key_value().map_or(0, |(seq, _)| *seq);
            if let Some((&seq, &version)) = versions.range(rng.random_range(0..=last)..).next() {
                find(&db, Commit { object, seq, version })?;
                tally.add("commits checked again", 1);
            }
        }
        let replay = if rng.random_bool(0.1) { Replay::Yes } else { Replay::No };
        let object = self.objects.keys().nth(rng.random_range(0..self.objects.len()));
        verify(&db, *object.expect("the index is below the length"), replay, tally)?;
        self.end(db)
    }

    /// Looks for every commit again, and verifies every lineage.
    pub(super) fn check_all(&mut self, rng: &mut StdRng, tally: &Tally) -> anyhow::Result<()> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let db = self.open(rng)?;
        for (&object, versions) in &self.objects {
            for (&seq, &version) in versions {
                find(&db, Commit { object, seq, version })?;
                tally.add("commits checked again", 1);
            }
            verify(&db, object, Replay::No, tally)?;
        }
        self.end(db)
    }

    fn open(&self, rng: &mut StdRng) -> anyhow::Result<Database> {
        let options = Options::new().clock(Clock::manual(Time::MIN)).storage(storage_options(rng));
        options.open(&self.path).context("reopening")
    }

    fn end(&mut self, db: Database) -> anyhow::Result<()> {
        let report = db.check(|_, _| {})?;
        ensure!(report.is_sound(), "it is damaged: {:?}", report.damage);
        self.bytes = db.stats()?.bytes_on_disk;
        db.close().context("closing")
    }
}

fn find(db: &Database, commit: Commit) -> anyhow::Result<()> {
    let Commit { object, seq, version } = commit;
    let found = db.at(object, seq).with_context(|| format!("LOST: {object}, {seq}, {version}"))?;
    let found = found.hash();
    ensure!(found == version, "LOST: {object}, {seq}: acknowledged {version}, there is {found}");
    Ok(())
}

fn verify(db: &Database, object: ObjectId, replay: Replay, tally: &Tally) -> anyhow::Result<()> {
    db.verify(object, replay).with_context(|| format!("verifying {object}, {replay:?}"))?;
    tally.add("lineages verified", 1);
    Ok(())
}
