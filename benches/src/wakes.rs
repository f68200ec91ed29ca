//! The lateness of own cycles: objects that run once a second each, spread over the second, under
//! the system's clock.
//!
//! This bench does not know the timer.

use std::time::Duration;

use anyhow::{Result, ensure};
use continuant::{Code, Database, ObjectId, Options, args};

use crate::figure::{Figure, Samples, Unit};
use crate::sizes::Sizes;
use crate::timing::pass;

pub(crate) const LATENESS: &str = "timer.lateness";

/// The time between two cycles of an object.
const PERIOD: Duration = Duration::from_secs(1);

/// An object that runs `period` milliseconds after it ran, and first at `at`.
const SCHEMA: &str = "package bench:clock; interface clock { record state { period: u64, runs: \
                      u64 } start: func(at: u64, period: u64); }";
const BODY: &str = r#"
    (import "continuant" "now" (func $now (result i64)))
    (import "continuant" "wake" (func $wake (param i64)))
    (memory (export "memory") 1 1)
    (global (export "state") i32 (i32.const 4096))
    (func (export "start") (param i64 i64)
        (i64.store (i32.const 4096) (local.get 1))
        (call $wake (local.get 0)))
    (func (export "cycle")
        (i64.store (i32.const 4104) (i64.add (i64.load (i32.const 4104)) (i64.const 1)))
        (call $wake (i64.add (call $now) (i64.load (i32.const 4096)))))"#;
const POLICY: &str = r#"@id("all") permit(principal, action, resource);"#;

/// Wakes of a second in each round.
pub(crate) fn lateness(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let directory = tempfile::tempdir()?;
    let db = Options::new().open(directory.path().join("db"))?;
    let ids = clocks(&db, sizes.wakes_each_second)?;
    let mut late = Samples::default();
    for _ in 0..rounds {
        let before = db.metrics();
        pass(PERIOD);
        let after = db.metrics();
        let run = after.wakes_run - before.wakes_run;
        ensure!(run as usize * 2 > ids.len(), "{run} of {} wakes ran in their second", ids.len());
        let lateness = after.lateness.since(&before.lateness);
        let slow = lateness.quantile(0.99).unwrap_or_default();
        late.push(slow.as_secs_f64() * 1e3);
    }
    db.close()?;
    let about = "from when a wake was due to when it began, the slowest hundredth, in whole ms; \
                 10,000 wakes a second";
    Ok(vec![Figure::new(LATENESS, about, Unit::MILLISECONDS, late, Vec::new())])
}

/// Returns objects whose wakes are spread over a second, and that have all begun to run.
fn clocks(db: &Database, count: usize) -> Result<Vec<ObjectId>> {
    let module = format!(r#"(module (@custom "continuant:schema" "{SCHEMA}") {BODY})"#);
    let code = Code::wasm(wat::parse_str(module)?)?.policy(POLICY);
    let (mut ids, mut last) = (Vec::with_capacity(count), None);
    for _ in 0..count {
        let (id, pending) = db.begin_create(code.clone())?;
        ids.push(id);
        last = Some(pending);
    }
    last.map_or(Ok(()), |last| last.wait().map(drop))?;
    let period = PERIOD.as_millis() as u64;
    let first = db.now().saturating_add(Duration::from_millis(2 * period));
    let (mut last, spread) = (None, count.max(1) as u64);
    for (number, &id) in (0..).zip(&ids) {
        let at = first.saturating_add(Duration::from_millis(number * period / spread));
        last = Some(db.call(id, "start", args![at.as_millis(), period]).submit()?);
    }
    last.map_or(Ok(()), |last| last.wait().map(drop))?;
    while db.metrics().wakes_run < count as u64 {
        pass(PERIOD / 10);
    }
    Ok(ids)
}
