//! Missed wakes: a wake that was due and made no version, the cause, and the time of its next try.
//!
//! A refusal may be temporary, such as that of a rate or of an hour, so a wake is tried again with
//! pauses that double from a second to an hour, until the object has changed. This module does not
//! know how a wake is run.

use std::time::Duration;

use object::refusal::Verdict;
use object::time::Time;

/// The first pause before a wake is tried again.
pub(crate) const RETRY: Duration = Duration::from_secs(1);
/// The longest.
const RETRY_MAX: Duration = Duration::from_secs(60 * 60);

/// A wake that was due and made no version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// The time at which it was due.
    pub(crate) wake: Time,
    /// The time from which it is tried again by itself.
    pub(crate) retry: Time,
    /// The time at which that try runs, under a clock that the embedder moves.
    pub(crate) at: Time,
    /// The pause before that; zero when it was tried before the database was opened.
    pause: Duration,
    /// The outcome of the last try.
    pub(crate) cause: Cause,
    /// The verdict of the last time that it was refused: the same one is not put on record again.
    pub(crate) known: Option<Verdict>,
}

/// The cause for which a due wake has made no version.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The cycle was refused, and the refusal is on record if there was room for it.
    Refused(Verdict),
    /// The object's time is ahead of the host's clock by this span, beyond the
    /// [tolerance](crate::Options::clock_ahead_max).
    Ahead(Duration),
    /// The host or the store failed over it.
    Failed(String),
}

impl Missed {
    /// Returns the record of a wake that was refused, as the record shows: it is tried at once.
    pub(crate) fn on_record(wake: Time, verdict: Verdict) -> Missed {
        Missed::of(None, wake, Cause::Refused(verdict))
    }

    /// A wake of an object that is ahead of the clock, which is not tried before `until`.
    pub(crate) fn ahead(before: Option<&Missed>, wake: Time, by: Duration, until: Time) -> Missed {
        Missed { retry: until, ..Missed::of(before, wake, Cause::Ahead(by)) }
    }

    /// Returns the record of a wake that was tried at `at`, in vain, given the record before; `now`
    /// is the clock's time.
    ///
    /// A clock that the embedder moves gets as many tries between two looks as there would have
    /// been, up to an hour. Beyond it the pauses continue to double, so that a clock can be moved
    /// any distance.
    pub(crate) fn again(
        before: Option<&Missed>,
        wake: Time,
        at: Time,
        now: Time,
        cause: Cause,
    ) -> Missed {
        let before = before.filter(|missed| missed.wake == wake);
        let pause =
            before.map_or(Duration::ZERO, |missed| missed.pause).saturating_mul(2).max(RETRY);
        // A verdict holds for its moment. A failed try may fail at every moment that the clock was
        // moved over, and has no verdict yet for its own moment.
        let has_failed = matches!(cause, Cause::Failed(_));
        let from = if has_failed { now } else { at };
        let soon = from.saturating_add(pause.min(RETRY_MAX));
        let retry = soon.max(from.saturating_add(pause).min(now));
        let at = if has_failed { at } else { retry };
        Missed { retry, at, pause, ..Missed::of(before, wake, cause) }
    }

    /// A wake that was tried on request: it is tried again when it would have been.
    pub(crate) fn asked(before: &Missed, cause: Cause) -> Missed {
        let Missed { wake, retry, at, pause, .. } = *before;
        Missed { retry, at, pause, ..Missed::of(Some(before), wake, cause) }
    }

    fn of(before: Option<&Missed>, wake: Time, cause: Cause) -> Missed {
        let known = match &cause {
            Cause::Refused(verdict) => Some(verdict.clone()),
            Cause::Ahead(_) | Cause::Failed(_) => before.and_then(|missed| missed.known.clone()),
        };
        Missed { wake, retry: wake, at: wake, pause: Duration::ZERO, cause, known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_beyond_it_only_up_to_the_clocks_time() {
        let zero = Time::MIN;
        let tries = |now: u64, count: usize| {
            let now = Time::from_millis(now);
            let first = Missed::again(None, zero, zero, now, Cause::Ahead(Duration::ZERO));
            let next = |missed: &Missed| {
                let (at, now) = (missed.retry, now.max(missed.retry));
                Some(Missed::again(Some(missed), zero, at, now, Cause::Ahead(Duration::ZERO)))
            };
            let tries = std::iter::successors(Some(first), next);
            tries.map(|missed| missed.retry.as_millis() / 1000).take(count).collect::<Vec<_>>()
        };
        assert_eq!(tries(0, 6), [1, 3, 7, 15, 31, 63]);
        assert_eq!(tries(0, 14)[11..], [4095, 7695, 11295], "from there on, each hour");
        let of_a_day = tries(24 * 3600 * 1000, 18);
        assert_eq!(of_a_day[..12], tries(0, 12)[..], "however the clock is moved");
        assert_eq!(of_a_day[12..], [8191, 16383, 32767, 65535, 86400, 90000]);
        let ever = tries(u64::MAX - 1, 70);
        assert!(ever.contains(&((u64::MAX - 1) / 1000)), "it ends: {ever:?}");
    }

    #[test]
    fn another_wake_begins_with_the_first_pause() {
        let (at, cause) = (Time::from_millis, || Cause::Ahead(Duration::from_secs(1)));
        let first = Missed::again(None, at(5), at(10), at(10), cause());
        let second = Missed::again(Some(&first), at(6), at(20), at(20), cause());
        assert_eq!((first.retry, second.retry), (at(1010), at(1020)));
    }
}
