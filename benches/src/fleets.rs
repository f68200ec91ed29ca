//! The cost of giving all objects of a code another one: the new code migrates each state, two
//! policies decide, and the version is durable when the receipt comes.
//!
//! This bench does not know how an upgrade is run.

use std::time::Instant;

use anyhow::{Result, ensure};
use continuant::object::hash::CodeHash;
use continuant::{Code, Database, Pending, Upgrade, args};

use crate::counter::WASM;
use crate::figure::{Figure, Samples, Unit};
use crate::sizes::Sizes;

pub(crate) const UPGRADE: &str = "upgrade.fleet";

/// The counter's second version.
const SECOND: &[u8] = include_bytes!("../../guest/objects/tally.wasm");
const POLICY: &str = r#"
    @id("any") permit(principal, action, resource);
    @id("upgrade") permit(principal, action == Action::"upgrade", resource);"#;

/// Counters, all upgraded at once; in each round a database of its own.
pub(crate) fn upgrade(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let mut rates = Samples::default();
    for _ in 0..rounds {
        let directory = tempfile::tempdir()?;
        let db = Database::open(directory.path().join("db"))?;
        let code = Code::wasm(WASM)?.policy(POLICY);
        let mut last: Option<Pending> = None;
        let mut ids = Vec::with_capacity(sizes.objects);
        for _ in 0..sizes.objects {
            let (id, pending) = db.begin_create(code.clone())?;
            ids.push(id);
            last = Some(pending);
        }
        last.map(Pending::wait).transpose()?;
        db.call(ids[0], "increment", args![7u64]).wait()?;
        let start = Instant::now();
        let mut count = 0;
        for told in db.upgrade_all(CodeHash::of(WASM), &Upgrade::wasm(SECOND)?) {
            told?.1?;
            count += 1;
        }
        rates.push(count as f64 / start.elapsed().as_secs_f64());
        ensure!(count == ids.len(), "{count} of {} objects were upgraded", ids.len());
        ensure!(db.snapshot(ids[0])?.get::<i64>("balance")? == 7, "the state was not taken over");
        db.close()?;
    }
    let about = "objects that go on with other code, each with its state migrated, durable";
    Ok(vec![Figure::new(UPGRADE, about, Unit::OBJECTS_PER_SECOND, rates, Vec::new())])
}
