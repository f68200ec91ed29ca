//! Verdicts of host limits, which are tighter than those of the formats: their text, and which
//! limit each names, so that the step can be run again under the same.
//!
//! Such a verdict has the reason out-of-fuel or trap, and a detail such as *a limit of the host:
//! fuel_max is 100000*. This module does not know how limits are enforced.
//!
//! Invariant: `read` returns limits only for a text that `refused` makes, with a number below the
//! formats'.

use object::refusal::{Reason, Verdict};

use crate::substrate::{HostLimit, StepLimits};

const PREFIX: &str = "a limit of the host: ";
const ALL: [HostLimit; 3] = [HostLimit::Fuel, HostLimit::Outputs, HostLimit::EffectsBytes];

/// The verdict on a step that this one of the limits stopped.
pub(crate) fn refused(limit: HostLimit, limits: StepLimits) -> Verdict {
    let (name, max) = option(limit, limits);
    let reason = if limit == HostLimit::Fuel { Reason::OutOfFuel } else { Reason::Trap };
    Verdict::native(reason, format!("{PREFIX}{name} is {max}"))
}

/// The limits under which a step was run that was refused so, if it was by one of a host's own.
pub(crate) fn read(verdict: &Verdict) -> Option<StepLimits> {
    let (name, max) = verdict.detail.strip_prefix(PREFIX)?.split_once(" is ")?;
    let widest = StepLimits::default();
    let limit = ALL.into_iter().find(|limit| option(*limit, widest).0 == name)?;
    let max = max.parse().ok().filter(|max| *max < option(limit, widest).1)?;
    let limits = match limit {
        HostLimit::Fuel => StepLimits { fuel: max, ..widest },
        HostLimit::Outputs => StepLimits { outputs: max as usize, ..widest },
        HostLimit::EffectsBytes => StepLimits { effects_bytes: max as usize, ..widest },
    };
    (refused(limit, limits) == *verdict).then_some(limits)
}

/// Returns the name of the option, and its value.
fn option(limit: HostLimit, limits: StepLimits) -> (&'static str, u64) {
    match limit {
        HostLimit::Fuel => ("fuel_max", limits.fuel),
        HostLimit::Outputs => ("outputs_max", limits.outputs as u64),
        HostLimit::EffectsBytes => ("effects_bytes_max", limits.effects_bytes as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_refused_says_by_which_limits() {
        let own = StepLimits { fuel: 7, outputs: 0, effects_bytes: 99 };
        for limit in ALL {
            let verdict = refused(limit, own);
            let limits = read(&verdict).expect("a limit of the host");
            assert_eq!(option(limit, limits), option(limit, own));
            assert_eq!(refused(limit, limits), verdict);
            let other = Verdict::native(Reason::State, verdict.detail.clone());
            assert_eq!(read(&other), None, "another reason");
            let detail = verdict.detail.replace(" is ", " is 0");
            assert_eq!(read(&Verdict::native(verdict.reason, detail)), None, "written otherwise");
            let none = refused(limit, StepLimits::default());
            assert_eq!(read(&none), None, "the formats' own");
        }
        for detail in ["", "a limit of the host: ", "a limit of the host: fuel_max is ", "x is 1"] {
            assert_eq!(read(&Verdict::native(Reason::Trap, detail)), None, "{detail}");
        }
    }
}
