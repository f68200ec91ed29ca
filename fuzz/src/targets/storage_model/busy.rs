//! A check of a store that changes meanwhile: versions are appended, rules of retention change, the
//! index is written, and a compaction runs, in which there are checks too.
//!
//! It does not know what was in the store before, but for its model.

use std::ops::ControlFlow;

use continuant::Time;
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{ErrorKind, Retention, Store};

use super::model::Model;
use super::{append, draft};
use crate::generate::lineage::{Author, Ingredients};
use crate::outcome::{Outcome, equal, hold, must};

/// A store in use.
pub(super) struct Busy<'a> {
    pub(super) store: &'a Store,
    pub(super) rng: StdRng,
    pub(super) parts: &'a Ingredients,
    pub(super) authors: Vec<Author>,
    pub(super) model: Model,
    /// Changes that are still to come.
    pub(super) left: u32,
    /// True while a compaction is under way: there is one at a time.
    pub(super) is_compacting: bool,
}

impl Busy<'_> {
    /// Checks the store, which changes now and then: it is sound at every moment.
    pub(super) fn check(&mut self) -> Outcome {
        let (store, mut changed) = (self.store, Ok(()));
        let report = store.check(|_, _| {
            if changed.is_ok() {
                changed = self.change_now_and_then();
            }
        });
        changed?;
        let report = must("checking", report)?;
        let objects = report.object_count as usize <= self.model.objects.len();
        hold("no more objects than there are", objects)?;
        hold(format!("a store in use is sound: {:?}", report.damage), report.is_sound())
    }

    fn change_now_and_then(&mut self) -> Outcome {
        if self.left == 0 || self.rng.random_bool(0.8) {
            return Ok(());
        }
        self.left -= 1;
        match self.rng.random_range(0..8) {
            0 => must("a checkpoint", self.store.checkpoint()),
            1 | 2 if !self.is_compacting => self.compact(),
            3 => self.stop(),
            _ => self.step(),
        }
    }

    fn step(&mut self) -> Outcome {
        let draft = draft(&mut self.rng, self.parts, &mut self.authors, &self.model);
        must("appending", append(self.store, self.parts, &draft))?;
        self.model.apply(&draft);
        Ok(())
    }

    /// Lets go of history, with a check between two segments.
    fn compact(&mut self) -> Outcome {
        let rule = Retention::Versions(self.rng.random_range(1..4));
        must("a rule", self.store.set_retention(None, rule))?;
        let (store, mut checked) = (self.store, Ok(()));
        self.is_compacting = true;
        let compacted = store.compact_all(Time::MIN, |_, _| {
            if checked.is_ok() && self.rng.random_bool(0.3) {
                checked = self.check();
            }
        });
        self.is_compacting = false;
        checked?;
        must("compacting", compacted).map(drop)
    }

    /// Stops a check on its way.
    fn stop(&mut self) -> Outcome {
        let (last, mut calls) = (self.rng.random_range(0..20), 0);
        let stopped = self.store.check(|_, _| {
            calls += 1;
            if calls > last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        match stopped {
            Ok(report) => hold("a check that is not stopped is whole", report.is_sound()),
            Err(error) => {
                hold(format!("it is stopped: {error:?}"), *error.kind() == ErrorKind::Stopped)
            }
        }?;
        // One that has read to the end of the log goes on to the next part, if there is one.
        hold(format!("{calls} calls, and stopped at {last}"), calls <= last + 2)
    }

    /// Requires that every object has its newest version.
    pub(super) fn compare(&self) -> Outcome {
        for (id, object) in &self.model.objects {
            let head = must("a head", self.store.head(*id))?.ok_or("an object has a head")?;
            equal("the newest version", &object.newest().header, &head.head.header)?;
        }
        Ok(())
    }
}
