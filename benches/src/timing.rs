//! The time that one of many takes, where each is too short to be timed by itself, and time that
//! passes.
//!
//! It does not know what is timed.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Lets time pass in which nothing is asked for.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Nanoseconds for each of `count` runs.
///
/// # Errors
///
/// Those of `run`, at the first.
pub(crate) fn nanoseconds_each<T>(count: usize, run: impl Fn() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        black_box(run()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / count as f64)
}
