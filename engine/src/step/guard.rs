//! Asking the guard of a policy: its module runs in a slot, on the record of a step.
//!
//! The commit path, the replay, explanations and rehearsals all ask by this module, so that they
//! cannot differ. It does not know what becomes of the answer.
//!
//! Invariant: a guard finds its initial memory and globals each time, whatever it was asked before.

use std::sync::Arc;

use object::image::Image;
use object::limits::GUARD_FUEL_MAX;
use policy::Guard;
use policy::guard::{Evidence, Guards};
use schema::{CoreValue, Unread};

use crate::stack::DeepStack;
use crate::step::catalog::Catalog;
use crate::step::slots::Instances;
use crate::step::stop::Stop;
use crate::substrate::{Answers, StepError};

/// Runs guards in instances of its own.
pub(crate) struct GuardRunner<'a> {
    catalog: &'a Catalog,
    instances: &'a mut Instances,
    stack: DeepStack,
}

impl<'a> GuardRunner<'a> {
    pub(crate) fn new(
        catalog: &'a Catalog,
        instances: &'a mut Instances,
        stack: DeepStack,
    ) -> GuardRunner<'a> {
        GuardRunner { catalog, instances, stack }
    }
}

impl Guards<Image, Image> for GuardRunner<'_> {
    type Stop = Stop;

    fn ask(
        &mut self,
        guard: &Guard,
        evidence: Evidence,
        before: &Image,
        after: &Image,
    ) -> Result<(), Stop> {
        let runnable = self.catalog.guard(self.stack, guard)?;
        let image = Image::new(Arc::clone(&runnable.base));
        let loaded = self.instances.load(&runnable, &image)?;
        loaded.slot.set_globals(image.base().globals());
        let case = Case { evidence, before: before.clone(), after: after.clone() };
        loaded.slot.begin_asking(Box::new(case), GUARD_FUEL_MAX);
        let admit =
            runnable.code.function("admit").expect("a guard that was instrumented exports it");
        let word = loaded.slot.call(admit, &[]);
        loaded.slot.end_step();
        loaded.reject();
        match word {
            Ok(results) => match results[..] {
                [CoreValue::I32(0)] => Ok(()),
                [CoreValue::I32(code)] => Err(Guard::refuses(code.cast_signed()).into()),
                _ => unreachable!("a guard that was instrumented returns an i32"),
            },
            Err(StepError::Trap(trap)) => Err(Guard::traps(trap).into()),
            Err(StepError::Host(failure)) => Err(Stop::Failed(failure.into())),
        }
    }
}

/// The step that a guard is asked about.
struct Case {
    evidence: Evidence,
    before: Image,
    after: Image,
}

impl Answers for Case {
    fn read(&self, path: &str, room: &mut [u8], budget: &mut u64) -> Result<Option<u64>, Unread> {
        self.evidence.read(&self.before, &self.after, path, room, budget)
    }
}
