//! Stops: why a step has no outcome, by a verdict about its input, or by a failure of the host,
//! which is no verdict.
//!
//! This module does not know what a step is.

use object::refusal::Verdict;

use crate::error::Error;

/// The cause for which a step has no outcome.
pub(crate) enum Stop {
    /// A verdict about the input, the same on every host that gives it the same limits.
    Refused(Verdict),
    /// The host failed: no verdict.
    Failed(Error),
}

impl From<Verdict> for Stop {
    fn from(verdict: Verdict) -> Stop {
        Stop::Refused(verdict)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Failed(error)
    }
}

impl From<object::Error> for Stop {
    fn from(error: object::Error) -> Stop {
        Stop::Failed(error.into())
    }
}
