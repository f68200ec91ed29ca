//! Clocks: the system's clock, or one that the embedder moves.
//!
//! The engine stamps each input with the clock; a guest sees only that stamp. No other time is
//! believed: neither a message's nor a capsule's. This module does not know who waits for a time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use object::time::Time;

/// The source of the times that the engine claims.
#[derive(Debug)]
pub struct Clock {
    /// The milliseconds of the time that the embedder set last; unused by the system's clock.
    manual: Option<AtomicU64>,
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Clock {
        Clock { manual: None }
    }

    /// A clock that stands at `now` until [`Database::run_until`](crate::Database::run_until)
    /// moves it.
    pub fn manual(now: Time) -> Clock {
        Clock { manual: Some(AtomicU64::new(now.as_millis())) }
    }

    /// The time.
    pub fn now(&self) -> Time {
        match &self.manual {
            Some(now) => Time::from_millis(now.load(Ordering::Acquire)),
            None => SystemTime::now().into(),
        }
    }

    /// Returns the microseconds since 1970-01-01 UTC by the system's clock: default nonces begin
    /// there.
    pub fn microseconds() -> u64 {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX)
    }

    /// Returns whether the embedder moves it.
    pub fn is_manual(&self) -> bool {
        self.manual.is_some()
    }

    /// Moves a manual clock forward to `time`; it never goes back. The system's clock does not
    /// move.
    pub(crate) fn advance_to(&self, time: Time) {
        if let Some(now) = &self.manual {
            now.fetch_max(time.as_millis(), Ordering::AcqRel);
        }
    }

    /// The time that a wake runs at which could run at `at`, when it runs by `now`: a clock that
    /// the embedder moves passes through every moment on its way, the system's does not go back.
    pub(crate) fn wake_time(&self, at: Time, now: Time) -> Time {
        if self.is_manual() { at } else { now.max(at) }
    }
}

/// A span of time for people, rounded down: `3287d`, `2h 5m`, `1s`, `20ms`.
pub(crate) fn span(span: Duration) -> String {
    const UNITS: [(u128, &str); 5] =
        [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let milliseconds = span.as_millis();
    let first = UNITS.iter().position(|(unit, _)| milliseconds >= *unit).unwrap_or(4);
    let (unit, name) = UNITS[first];
    let shown = format!("{}{name}", milliseconds / unit);
    let next = UNITS.get(first + 1).map(|(next, name)| (milliseconds % unit / next, name));
    match next.filter(|(count, _)| *count > 0 && first < 3) {
        Some((count, name)) => format!("{shown} {count}{name}"),
        None => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_two_greatest_units() {
        let spans = [0, 20, 1999, 60_000, 61_000, 7_500_000, 86_400_000, 284_000_000_000];
        let shown = ["0ms", "20ms", "1s", "1m", "1m 1s", "2h 5m", "1d", "3287d"];
        assert_eq!(spans.map(|ms| span(Duration::from_millis(ms))), shown);
    }
}
