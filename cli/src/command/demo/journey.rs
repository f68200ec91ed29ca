//! A journey: one aircraft leaves as a capsule, arrives in a second database, and continues there.
//!
//! This module does not know the first database's history; all that the second needs is in the
//! capsule.

use std::collections::BTreeSet;
use std::path::Path;

use continuant::{Clock, Database, Kind, ObjectId, Options, Replay, Snapshot, Time, Value};

use super::flights::Row;
use super::play::operator;
use super::totals::{Due, Totals};
use crate::command::{export, import};
use crate::failure::{Failure, Result};

/// The aircraft's journey.
#[derive(Debug)]
pub(super) struct Journey {
    /// The aircraft's tail number.
    pub(super) name: String,
    /// The capsule's length.
    pub(super) bytes: u64,
    /// The version that it left as.
    pub(super) left: u64,
    /// The version that it is now, in the second database.
    pub(super) seq: u64,
    /// The kind of request that made the version.
    pub(super) kind: Kind,
    /// The version's time.
    pub(super) time: Time,
}

/// Sends the aircraft that is due first, or the first of all, from `db` to a database in `folder`;
/// `None` when there is no aircraft.
pub(super) fn travel(
    db: &Database,
    totals: &Totals,
    rows: &[Row<'_>],
    folder: &Path,
) -> Result<Option<Journey>> {
    let due = totals.next_due.as_ref().filter(|due| due.wake > db.now());
    let Some(id) = due.map(|due| due.id).or(totals.ids.first().copied()) else {
        return Ok(None);
    };
    let capsule = folder.join("aircraft.continuant");
    let bytes = export::write(db, id, &capsule, false)?;
    let here = db.verify(id, Replay::No)?;
    let options = Options::new().clock(Clock::manual(db.now())).workers(1);
    let other = options.open(folder.join("elsewhere"))?;
    if import::read(&other, &capsule, None)? != id || other.verify(id, Replay::Yes)? != here {
        return Err(broken("the lineage that arrived is not the one that left"));
    }
    let before = other.snapshot(id)?;
    match due {
        Some(due) => inspect(&other, due)?,
        None => cancel(&other, id, &before, rows)?,
    }
    let after = other.snapshot(id)?;
    let there = other.verify(id, Replay::Yes)?;
    if there.versions != here.versions + 1 || there.head != after.hash() {
        return Err(broken("its lineage did not grow by one version"));
    }
    crate::target::close_durably(other)?;
    let header = after.header();
    let (left, seq) = (before.header().seq, header.seq);
    let name = db.info(id)?.name.unwrap_or_default();
    Ok(Some(Journey { name, bytes, left, seq, kind: header.kind, time: header.time }))
}

/// Lets the time of the inspection come: nobody calls it.
fn inspect(db: &Database, due: &Due) -> Result<()> {
    let inspections = |snapshot: &Snapshot| snapshot.get::<u64>("inspections");
    let before = inspections(&db.snapshot(due.id)?)?;
    db.run_until(due.wake)?;
    let after = db.snapshot(due.id)?;
    let cleared = after.value("notice")? == Value::Option(None);
    if after.header().kind != Kind::Cycle || inspections(&after)? != before + 1 || !cleared {
        return Err(broken("its own cycle did not inspect it"));
    }
    Ok(())
}

/// Cancels a flight: there is always one more to cancel.
fn cancel(db: &Database, id: ObjectId, before: &Snapshot, rows: &[Row<'_>]) -> Result<()> {
    let carriers: BTreeSet<&str> = rows.iter().map(|row| row.carrier).collect();
    let state = before.value("operator")?;
    let mut keys = carriers.into_iter().map(operator);
    let key = keys.find(|key| state == Value::Bytes(key.public().0.to_vec()));
    let key = key.ok_or_else(|| broken("its operator is none of the carriers"))?;
    let nonce = rows.last().map_or(0, |row| row.line) + 1;
    db.call(id, "cancel", Vec::new()).signed(&key).nonce(nonce).wait()?;
    Ok(())
}

fn broken(problem: &str) -> Failure {
    Failure::damaged("demo", format!("the aircraft in the second database: {problem}"))
}
