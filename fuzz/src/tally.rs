//! Counts of what runs did, shown on a terminal meanwhile.
//!
//! This module does not know what is counted.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// The time between two updates of the terminal.
const EVERY: Duration = Duration::from_millis(500);

/// Counts, by name.
pub type Counts = BTreeMap<&'static str, u64>;

/// Counts what runs do.
#[derive(Debug)]
pub struct Tally(Mutex<State>);

#[derive(Debug)]
struct State {
    counts: Counts,
    start: Instant,
    /// The time of the last update of the terminal; none without one.
    told: Option<Instant>,
}

impl Tally {
    /// Starts at zero; shows the counts on the terminal if asked to.
    pub fn new(tells: bool) -> Tally {
        let start = Instant::now();
        let (counts, told) = (Counts::new(), tells.then_some(start));
        Tally(Mutex::new(State { counts, start, told }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics while it counts")
    }

    /// Counts `count` more.
    pub fn add(&self, what: &'static str, count: u64) {
        let mut state = self.state();
        *state.counts.entry(what).or_default() += count;
        if state.told.is_some_and(|told| told.elapsed() > EVERY) {
            state.told = Some(Instant::now());
            let line = text(&state.counts, state.start.elapsed());
            // A terminal that is gone is nobody's concern here.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    /// Returns a count so far.
    pub fn count(&self, what: &str) -> u64 {
        self.state().counts.get(what).copied().unwrap_or_default()
    }

    /// Returns the counts, and ends the updates of the terminal.
    pub fn end(&self) -> Counts {
        let mut state = self.state();
        if state.told.take().is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
        state.counts.clone()
    }
}

/// The counts in one line, with the rate of each.
pub fn text(counts: &Counts, took: Duration) -> String {
    let seconds = took.as_secs_f64().max(1e-9);
    let each = counts.iter().map(|(what, count)| {
        let rate = *count as f64 / seconds;
        format!("{count} {what} ({rate:.0}/s)")
    });
    let each: Vec<String> = each.collect();
    format!("{}, {seconds:.1} s", each.join(", "))
}
