//! The time of one run of many, where each is too short to be timed by itself, and the passing of
//! time.
//!
//! This module does not know what it times.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;

/// Lets time pass without any request.
pub(crate) fn pass(time: Duration) {
    std::thread::sleep(time);
}

/// Returns the nanoseconds of each of `count` runs.
///
/// # Errors
///
/// The first error of `run`.
pub(crate) fn nanoseconds_each<T>(count: usize, run: impl Fn() -> Result<T>) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..count {
        black_box(run()?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e9 / count as f64)
}
