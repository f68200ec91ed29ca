//! Comparison of a store with the model: heads, versions by seq and by time, lineages both ways,
//! refusals, lists, names, wakes, the evidence tree.
//!
//! It changes neither.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object::hash::ObjectId;
use object::image::BaseImage;
use object::memory::{Memory, page_count};
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{Direction, LineageEntry, NameHolding, ObjectInfo, Report, Store};

use super::model::{Entry, Holding, Model, Object, Version};
use crate::generate::lineage::encoded;
use crate::outcome::{Outcome, equal, hold, must};

/// Compares everything, and versions of every object at random.
pub(crate) fn store(store: &Store, model: &Model, rng: &mut StdRng) -> Outcome {
    listed(store, model, rng)?;
    model.leaves.compare(store)?;
    model.leaves.compare_tile(store, rng)?;
    for (id, object) in &model.objects {
        let found = one(store, *id, object, rng);
        found.map_err(|problem| format!("object {id}: {problem}"))?;
    }
    let stranger = ObjectId(rng.random());
    hold("a stranger is not there", must("a stranger", store.head(stranger))?.is_none())
}

/// Compares names, heads, the bytes of every version, and the evidence tree.
pub(crate) fn heads(store: &Store, model: &Model) -> Outcome {
    names(store, model)?;
    model.leaves.compare(store)?;
    for (id, object) in &model.objects {
        let found = head(store, *id, object).and_then(|_| entries(store, *id, object));
        found.map_err(|problem| format!("object {id}: {problem}"))?;
    }
    Ok(())
}

/// Returns the list of all objects by the model.
pub(crate) fn infos(model: &Model) -> Vec<ObjectInfo> {
    model.objects.iter().map(|(id, object)| info(*id, object)).collect()
}

fn listed(store: &Store, model: &Model, rng: &mut StdRng) -> Outcome {
    let expected = infos(model);
    let (limit, mut found) = (rng.random_range(1..5), Vec::<ObjectInfo>::new());
    loop {
        let last = found.last().map(|info| info.id);
        let page = must("listing", store.list(last, limit))?;
        hold("a page of a list is within its limit", page.len() <= limit)?;
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    equal("the list", &expected, &found)?;
    names(store, model)?;
    equal("an unknown name", &None, &must("finding", store.find("nobody"))?)?;
    let mut wakes: Vec<(Time, ObjectId)> = model
        .objects
        .iter()
        .filter_map(|(id, object)| Some((object.newest().header.wake?, *id)))
        .collect();
    wakes.sort_unstable();
    let found = must("wakes", store.wakes_until(Time::MAX))?;
    equal("all wakes", &wakes, &found)?;
    if let Some((time, _)) = wakes.get(wakes.len() / 2) {
        let expected: Vec<_> = wakes.iter().filter(|(wake, _)| wake <= time).copied().collect();
        equal("some wakes", &expected, &must("wakes", store.wakes_until(*time))?)?;
    }
    Ok(())
}

/// Compares the holders of every name that any object ever had.
pub(crate) fn names(store: &Store, model: &Model) -> Outcome {
    for (name, holdings) in &model.holdings {
        let holder = model.names.get(name).copied();
        equal("the object of a name", &holder, &must("finding", store.find(name))?)?;
        let history = must("the history of a name", store.name_history(name))?;
        let found: Result<Vec<NameHolding>, _> = history.collect();
        let found = must("the history of a name", found)?;
        let shown = |it: &NameHolding| Holding {
            object: it.object,
            from: it.from.time,
            until: it.until.map(|until| until.time),
        };
        let mut found: Vec<Holding> = found.iter().map(shown).collect();
        found.reverse();
        equal(&format!("the history of {name:?}"), holdings, &found)?;
    }
    let unknown = must("the history of a name", store.name_history("nobody"))?.next();
    hold("an unknown name has no history", unknown.is_none())
}

fn info(id: ObjectId, object: &Object) -> ObjectInfo {
    let header = &object.newest().header;
    ObjectInfo {
        id,
        name: object.name.clone(),
        seq: header.seq,
        hash: header.hash(),
        time: header.time,
        created: object.versions[0].header.time,
        wake: header.wake,
        moved: false,
        deleted: object.is_deleted().then_some(header.time),
        refusal_count: object.refusals().count() as u64,
        code: header.code,
        policy: header.policy,
        base: object.newest().base,
    }
}

/// The base image of a version.
pub(crate) fn base(store: &Store, version: &Version) -> Result<Arc<BaseImage>, String> {
    Ok(must("the base", store.base(version.base))?.ok_or("a version has a base")?)
}

fn head(store: &Store, id: ObjectId, object: &Object) -> Outcome {
    let info_found = must("the info", store.info(id))?;
    equal("the info", &Some(info(id, object)), &info_found)?;
    let loaded = must("the head", store.head(id))?.ok_or("an object has a head")?;
    let newest = object.newest();
    equal("the head", &newest.header, &loaded.head.header)?;
    equal("the head's hash", &newest.header.hash(), &loaded.head.hash)?;
    equal("the time of the genesis", &object.versions[0].header.time, &loaded.head.created)?;
    equal("the secret", &object.next_secret(), &loaded.head.secret)?;
    equal("the last refusal", &object.last_refusal(), &loaded.head.refusals)?;
    let refusal_count = object.refusals().count() as u64;
    equal("the number of refusals", &refusal_count, &loaded.head.refusal_count)?;
    equal("the name", &object.name, &loaded.name)?;
    equal("the ledger", &object.ledger.clone().unwrap_or_default(), &loaded.head.ledger)?;
    let base = base(store, newest)?;
    memory(newest, &base, &loaded.image)?;
    globals(newest, &base, &loaded.globals)
}

fn one(store: &Store, id: ObjectId, object: &Object, rng: &mut StdRng) -> Outcome {
    head(store, id, object)?;
    for _ in 0..3 {
        let seq = rng.random_range(0..object.versions.len() + 2);
        let found = must("a version", store.version(id, seq as u64))?;
        version(store, object.versions.get(seq), found)
            .map_err(|problem| format!("version {seq}: {problem}"))?;
        let of = &object.versions[rng.random_range(0..object.versions.len())];
        let time = (of.header.time.saturating_add(Duration::from_millis(rng.random_range(0..3))))
            .saturating_sub(Duration::from_millis(1));
        let found = must("a version as of a time", store.as_of(id, time))?;
        version(store, object.as_of(time.as_millis()), found)
            .map_err(|problem| format!("as of {time}: {problem}"))?;
    }
    lineage(store, id, object, rng)
}

fn version(store: &Store, expected: Option<&Version>, found: Option<storage::Version>) -> Outcome {
    let header = |found: &storage::Version| found.commit.header().clone();
    let expected_header = expected.map(|version| version.header.clone());
    equal("the header", &expected_header, &found.as_ref().map(header))?;
    let (Some(expected), Some(found)) = (expected, found) else { return Ok(()) };
    hold("its bytes are those appended", encoded(&found.complete()) == *expected.bytes)?;
    let base = base(store, expected)?;
    memory(expected, &base, &found.image)?;
    globals(expected, &base, &found.globals)
}

pub(crate) fn memory(expected: &Version, base: &BaseImage, found: &impl Memory) -> Outcome {
    equal("the memory's length", &expected.header.memory_bytes, &found.bytes_count())?;
    let count = page_count(found.bytes_count());
    let memory = expected.memory(base);
    for (index, page) in (0..count).zip(memory.chunks(4096)) {
        hold(format!("page {index} is the one appended"), found.page(index) == page)?;
    }
    Ok(())
}

pub(crate) fn globals(expected: &Version, base: &BaseImage, found: &[u64]) -> Outcome {
    let expected = expected.globals.as_deref().unwrap_or(base.globals());
    equal("the globals", &expected, &found)
}

fn entries(store: &Store, id: ObjectId, object: &Object) -> Outcome {
    let mut found = must("the lineage", store.lineage(id))?;
    for (index, entry) in object.entries.iter().enumerate() {
        let next = found.next().ok_or(format!("the lineage ends before entry {index}"))?;
        match (entry, must(format!("entry {index}"), next)?) {
            (Entry::Version(at), LineageEntry::Commit(complete)) => {
                let expected = &object.versions[*at].bytes;
                hold(
                    format!("entry {index} is that version"),
                    encoded(&complete.commit()) == **expected,
                )?;
            }
            (Entry::Refusal(expected), LineageEntry::Refusal(refusal)) => {
                equal(&format!("entry {index}"), expected, &refusal)?;
            }
            (expected, other) => {
                return Err(format!("entry {index}: expected {expected:?}, found {other:?}"));
            }
        }
    }
    hold("the lineage has no more", found.next().is_none())
}

fn lineage(store: &Store, id: ObjectId, object: &Object, rng: &mut StdRng) -> Outcome {
    entries(store, id, object)?;
    let refusals: Result<Vec<_>, _> = must("the refusals", store.refusals(id))?.collect();
    let expected: Vec<_> = object.refusals().rev().cloned().collect();
    equal("the refusals", &expected, &must("the refusals", refusals)?)?;
    let count = object.versions.len() as u64;
    let range = rng.random_range(0..count)..rng.random_range(0..count + 3);
    let wanted: Vec<u64> = (range.start..range.end.min(count)).collect();
    for direction in [Direction::Forward, Direction::Backward] {
        let versions = must("versions", store.versions(id, range.clone(), direction))?;
        let seqs: Result<Vec<u64>, _> = versions.map(|it| Ok(it?.header().seq)).collect();
        let mut seqs = must("versions", seqs.map_err(|error: storage::Error| error))?;
        if direction == Direction::Backward {
            seqs.reverse();
        }
        equal(&format!("versions {range:?} {direction:?}"), &wanted, &seqs)?;
    }
    Ok(())
}

/// Findings of a check, in any order; other entries; and counts.
pub(crate) type Findings = (BTreeSet<String>, Vec<String>, [u64; 8]);

/// Returns the findings of a check, in any number of parts.
pub(crate) fn findings(report: &Report) -> Findings {
    let damage = report.damage.iter().map(ToString::to_string).collect();
    let others = report.lost.iter().map(ToString::to_string);
    let losses = report.losses.iter().map(|loss| format!("{loss:?}"));
    let names = report.doubtful_names.iter().map(|name| format!("{name:?}"));
    let counts = [
        report.object_count,
        report.version_count,
        report.refusal_count,
        report.frame_count,
        report.bytes,
        report.damage_count,
        report.lost_count,
        report.consequence_count,
    ];
    (damage, others.chain(losses).chain(names).collect(), counts)
}
