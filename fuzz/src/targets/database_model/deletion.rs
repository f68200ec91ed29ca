//! Objects that are deleted, where their policies permit it, and what is asked of them later.
//!
//! This module does not know how objects live.

use std::io::Cursor;

use continuant::{ErrorKind, Reason, Replay, StorageErrorKind};
use rand::RngExt;

use super::Run;
use crate::outcome::{Outcome, equal, hold, must};

impl Run {
    /// Deletes an object, if its policy permits that; an older capsule does not bring it back.
    pub(super) fn delete(&mut self, index: usize) -> Outcome {
        let now = self.now;
        let (id, object) = &mut self.objects[index];
        let id = *id;
        let db = self.db.as_ref().expect("the database is open between operations");
        let mut older = Vec::new();
        must("exporting", db.export(id, &mut older))?;
        let name = must("the info", db.info(id))?.name;
        let deleted = db.delete(id).wait();
        let expected = object.delete(now);
        equal("that it may be deleted", &expected, &deleted.is_ok())?;
        if let Err(error) = deleted {
            let reason = error.refusal().map(|verdict| verdict.reason);
            return equal("why it is not deleted", &Some(Reason::NotPermitted), &reason);
        }
        if let Some(name) = name {
            equal("the object of its name", &None, &must("finding", db.find(&name))?)?;
        }
        let again = db.import(Cursor::new(older));
        let is_here = |error: &continuant::Error| match error.kind() {
            ErrorKind::Storage(error) => {
                matches!(error.kind(), StorageErrorKind::HereAlready { .. })
            }
            _ => false,
        };
        hold("an older capsule does not bring it back", again.as_ref().is_err_and(is_here))?;
        self.compare(index)?;
        self.deleted.push(self.objects.swap_remove(index));
        self.stay_deleted()
    }

    /// Requires that the objects that were deleted are as they were then, and take nothing more.
    pub(super) fn stay_deleted(&mut self) -> Outcome {
        for (id, object) in &self.deleted {
            let db = self.db.as_ref().expect("the database is open between operations");
            let at = object.versions.last().expect("an object has a version").time;
            let is_deleted = |error: &continuant::Error| match error.kind() {
                ErrorKind::Deleted { at: found } => found.as_millis() == at,
                _ => false,
            };
            let seq = self.rng.random_range(0..object.versions.len()) as u64;
            let refused = match self.rng.random_range(0..5) {
                0 => db.delete(*id).wait().map(drop),
                1 => db.write(*id, vec![]).wait().map(drop),
                2 => db.fork(*id, seq, None).map(drop),
                3 => db.advance(*id).map(drop),
                _ => {
                    let others = self.objects.iter().map(|(id, _)| db.write(*id, vec![]));
                    let all = others.chain([db.write(*id, vec![])]);
                    db.transaction(all.collect::<Vec<_>>()).wait().map(drop)
                }
            };
            hold(format!("it is deleted: {refused:?}"), refused.as_ref().is_err_and(is_deleted))?;
            let named = db.set_name(*id, "again").map(drop);
            hold(format!("it has no name: {named:?}"), named.as_ref().is_err_and(is_deleted))?;
            let info = must("the info", db.info(*id))?;
            let found = (info.seq, info.refusal_count, info.wake, info.deleted.is_some());
            let last = object.versions.len() as u64 - 1;
            equal("the object as it was deleted", &(last, object.refusals, None, true), &found)?;
            let newest = must("a snapshot", db.snapshot(*id))?;
            equal("its state", &object.state(last as usize), &must("the state", newest.state())?)?;
            let verified = must("verifying", db.verify(*id, Replay::No))?;
            equal("its versions", &(last + 1), &verified.versions)?;
        }
        Ok(())
    }
}
