//! The runner: one target, seed after seed, until there is a failure or an end.
//!
//! The first run has the given seed, the next the seed after it, so running the seed of a failure
//! repeats it. This module does not know what targets do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::tally::{Counts, Tally};
use crate::targets::Target;
use crate::threads::on_thread;

/// The seeds and the duration of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of the first run.
    pub seed: u64,
    /// Runs at most.
    pub runs_max: Option<u64>,
    /// Time at most.
    pub time_max: Option<Duration>,
    /// True to print each seed before its run: for a run that ends the process.
    pub trace: bool,
    /// True to show progress on the terminal.
    pub progress: bool,
}

/// The summary of all runs.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Runs done.
    pub runs: u64,
    /// The time that they took.
    pub took: Duration,
    /// The counts of the runs.
    pub counts: Counts,
    /// The seed that failed, and how.
    pub failure: Option<(u64, String)>,
}

/// Runs a target as planned, on a thread of its own.
pub fn run(target: &'static Target, plan: Plan) -> Summary {
    on_thread(move || {
        let (start, tally) = (Instant::now(), Tally::new(plan.progress));
        let (mut runs, mut failure) = (0, None);
        while failure.is_none()
            && plan.runs_max.is_none_or(|max| runs < max)
            && plan.time_max.is_none_or(|max| start.elapsed() < max)
        {
            let seed = plan.seed.wrapping_add(runs);
            if plan.trace {
                eprintln!("{} --seed {seed}", target.name);
            }
            failure = attempt(target, seed, &tally).err().map(|problem| (seed, problem));
            runs += 1;
        }
        Summary { runs, took: start.elapsed(), counts: tally.end(), failure }
    })
}

/// Runs a target once, on a thread of its own.
///
/// # Errors
///
/// Returns the property that did not hold.
pub fn run_one(target: &'static Target, seed: u64) -> Outcome {
    on_thread(move || attempt(target, seed, &Tally::new(false)))
}

fn attempt(target: &Target, seed: u64, tally: &Tally) -> Outcome {
    let run = AssertUnwindSafe(|| (target.run)(seed, tally));
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panic: {}", text.unwrap_or("without a message")))
    })
}
