//! Reads from a store whose files may be damaged: each result is as appended, or an error, or
//! missing.
//!
//! This module does not know the damage.

use object::hash::ObjectId;
use object::time::Time;
use storage::{Error, LineageEntry, Retention, Store};

use crate::generate::lineage::encoded;
use crate::outcome::{Outcome, equal, hold};
use crate::targets::storage_model::compare;
use crate::targets::storage_model::model::{Entry, Model, Object};

/// Returns whether everything is served; a failure is content that was never appended.
pub(crate) fn served(store: &Store, model: &Model) -> Result<bool, String> {
    let infos = compare::infos(model);
    let mut all = match store.list(None, usize::MAX) {
        Ok(list) => {
            let known = list.iter().all(|info| infos.contains(info));
            hold(format!("the list has what was appended: {list:?}"), known)?;
            list.len() == infos.len()
        }
        Err(_) => false,
    };
    for (name, id) in &model.names {
        all &= match store.find(name) {
            Ok(Some(found)) => equal("the object of a name", id, &found).map(|()| true)?,
            Ok(None) | Err(_) => false,
        };
    }
    let wakes = infos.iter().filter_map(|info| Some((info.wake?, info.id)));
    let wakes: Vec<(Time, ObjectId)> = wakes.collect();
    all &= match store.wakes_until(Time::MAX) {
        Ok(found) => {
            hold("wakes are those appended", found.iter().all(|wake| wakes.contains(wake)))?;
            found.len() == wakes.len()
        }
        Err(_) => false,
    };
    all &= match store.retention(None) {
        Ok(rule) => equal("the rule of retention", &Retention::All, &rule).map(|()| true)?,
        Err(_) => false,
    };
    all &= model.leaves.are_served(store)?;
    for (id, object) in &model.objects {
        all &= head(store, *id, object)?;
        all &= lineage(store, *id, object)?;
    }
    Ok(all)
}

fn head(store: &Store, id: ObjectId, object: &Object) -> Result<bool, String> {
    let Ok(Some(loaded)) = store.head(id) else { return Ok(false) };
    let newest = object.newest();
    equal("the head", &newest.header, &loaded.head.header)?;
    equal("the head's hash", &newest.header.hash(), &loaded.head.hash)?;
    equal("the secret", &object.next_secret(), &loaded.head.secret)?;
    equal("the last refusal", &object.last_refusal(), &loaded.head.refusals)?;
    equal("the ledger", &object.ledger.clone().unwrap_or_default(), &loaded.head.ledger)?;
    let base = compare::base(store, newest)?;
    compare::memory(newest, &base, &loaded.image)?;
    compare::globals(newest, &base, &loaded.globals).map(|()| true)
}

fn lineage(store: &Store, id: ObjectId, object: &Object) -> Result<bool, String> {
    let Ok(found) = store.lineage(id) else { return Ok(false) };
    let mut count = 0;
    for (index, found) in found.enumerate() {
        let Ok(found): Result<LineageEntry, Error> = found else { return Ok(false) };
        let expected = object.entries.get(index);
        entry(object, expected, &found).map_err(|problem| format!("entry {index}: {problem}"))?;
        count += 1;
    }
    Ok(count == object.entries.len())
}

fn entry(object: &Object, expected: Option<&Entry>, found: &LineageEntry) -> Outcome {
    match (expected, found) {
        (Some(Entry::Version(at)), LineageEntry::Commit(stored)) => {
            let expected = &object.versions[*at].bytes;
            hold("it is that version", encoded(&stored.commit()) == **expected)
        }
        (Some(Entry::Refusal(expected)), LineageEntry::Refusal(found)) => {
            equal("the refusal", expected, found)
        }
        _ => Err(format!("expected {expected:?}, found {found:?}")),
    }
}
