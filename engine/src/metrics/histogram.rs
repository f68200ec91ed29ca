//! Histograms: latencies in buckets of a fixed layout, counted without a lock, and read as a whole.
//!
//! Buckets are log-linear: four between a power of two of nanoseconds and the next, from 1,024 ns
//! to 2^36 ns (69 s), with one for all below and one for all above. This module does not know what
//! is timed.
//!
//! Invariant: a bucket holds durations above the bound before its own, and not above its own. So a
//! duration estimated by its bucket's middle is off by at most an eighth of the true one, or by 512
//! ns below 1,024 ns, unless it is beyond the last bound.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets between a power of two and the next, as a power of two.
const SPLIT: u32 = 2;
/// The first bound is this power of two.
const FIRST: u32 = 10;
/// The last bound is this power of two.
const LAST: u32 = 36;
/// The number of buckets of a [`Histogram`].
pub const BUCKETS: usize = 2 + (((LAST - FIRST) as usize) << SPLIT);

/// Buckets that threads count in.
#[derive(Debug)]
pub(crate) struct Buckets {
    counts: [AtomicU64; BUCKETS],
    nanoseconds: AtomicU64,
}

/// The distribution of durations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// The count of each bucket; [`Histogram::bound`] gives the bounds.
    pub counts: [u64; BUCKETS],
    /// The sum of all durations.
    pub sum: Duration,
}

impl Default for Buckets {
    fn default() -> Buckets {
        let counts = [const { AtomicU64::new(0) }; BUCKETS];
        Buckets { counts, nanoseconds: AtomicU64::new(0) }
    }
}

impl Buckets {
    /// Counts a duration: two relaxed additions.
    pub(crate) fn record(&self, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[index(nanoseconds)].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Adds the counts to a histogram.
    pub(crate) fn add_to(&self, histogram: &mut Histogram) {
        for (sum, count) in histogram.counts.iter_mut().zip(&self.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        histogram.sum = histogram.sum.saturating_add(Duration::from_nanos(nanoseconds));
    }
}

/// The bucket of a duration.
fn index(nanoseconds: u64) -> usize {
    // A bound is in the bucket below it.
    let below = nanoseconds.saturating_sub(1);
    if below < 1 << FIRST {
        return 0;
    }
    let power = u64::BITS - 1 - below.leading_zeros();
    if power >= LAST {
        return BUCKETS - 1;
    }
    let part = (below >> (power - SPLIT)) & ((1 << SPLIT) - 1);
    1 + (((power - FIRST) as usize) << SPLIT) + part as usize
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { counts: [0; BUCKETS], sum: Duration::ZERO }
    }
}

impl Histogram {
    /// The longest duration that the bucket at `index` holds; none for the last, which has no end.
    ///
    /// # Panics
    ///
    /// When there is no such bucket.
    pub fn bound(index: usize) -> Option<Duration> {
        assert!(index < BUCKETS, "a histogram has {BUCKETS} buckets");
        let nanoseconds = match index.checked_sub(1) {
            None => 1 << FIRST,
            Some(above) => {
                let (power, part) = (FIRST + (above as u32 >> SPLIT), above as u64 % (1 << SPLIT));
                ((1 << SPLIT) + part + 1) << (power - SPLIT)
            }
        };
        (index < BUCKETS - 1).then_some(Duration::from_nanos(nanoseconds))
    }

    /// Returns the number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the average duration; none when there are none.
    pub fn mean(&self) -> Option<Duration> {
        match self.count() {
            0 => None,
            count => Some(Duration::from_nanos_u128(self.sum.as_nanos() / u128::from(count))),
        }
    }

    /// The duration that a `share` of all, from 0 to 1, do not exceed: the middle of its bucket, or
    /// the last bound when it is beyond that. None when there was none.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((count as f64 * share.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut cumulative = 0;
        let index = self.counts.iter().position(|count| {
            cumulative += count;
            cumulative >= rank
        })?;
        let low = index.checked_sub(1).and_then(Histogram::bound).unwrap_or_default();
        Some(Histogram::bound(index).map_or(low, |high| (low + high) / 2))
    }

    /// Returns the durations since `before`, an earlier copy of the same histogram.
    pub fn since(&self, before: &Histogram) -> Histogram {
        let mut since = self.clone();
        for (count, before) in since.counts.iter_mut().zip(&before.counts) {
            *count = count.saturating_sub(*before);
        }
        since.sum = self.sum.saturating_sub(before.sum);
        since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(nanoseconds: u64) -> Histogram {
        let buckets = Buckets::default();
        buckets.record(Duration::from_nanos(nanoseconds));
        let mut histogram = Histogram::default();
        buckets.add_to(&mut histogram);
        histogram
    }

    #[test]
    fn a_bound_is_the_last_of_its_bucket() {
        for at in 0..BUCKETS - 1 {
            let bound = Histogram::bound(at).expect("it has a bound").as_nanos() as u64;
            assert_eq!((index(bound), index(bound + 1)), (at, at + 1), "{bound}");
        }
        assert_eq!(Histogram::bound(BUCKETS - 1), None);
        assert_eq!(Histogram::bound(BUCKETS - 2), Some(Duration::from_nanos(1 << LAST)));
        assert_eq!((index(0), index(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn what_is_told_is_off_by_an_eighth_at_most() {
        let mut nanoseconds = 1025_u64;
        while nanoseconds <= 1 << LAST {
            let told = only(nanoseconds).quantile(0.5).expect("there is one").as_nanos() as u64;
            assert!(told.abs_diff(nanoseconds) * 8 <= nanoseconds, "{nanoseconds} as {told}");
            nanoseconds += nanoseconds / 97;
        }
    }

    #[test]
    fn quantiles_are_of_what_was_counted() {
        let buckets = Buckets::default();
        (1..=100).for_each(|ms| buckets.record(Duration::from_millis(ms)));
        let mut all = Histogram::default();
        assert_eq!((all.quantile(0.99), all.mean()), (None, None));
        buckets.add_to(&mut all);
        let ms = |share| all.quantile(share).expect("there are some").as_millis();
        assert_eq!((all.count(), ms(0.0), ms(0.5), ms(0.99)), (100, 0, 46, 92));
        assert_eq!(all.mean(), Some(Duration::from_micros(50_500)));
        let before = all.clone();
        buckets.record(Duration::from_secs(1000));
        buckets.add_to(&mut all);
        let since = all.since(&before).since(&before);
        assert_eq!(since.count(), 1);
        assert_eq!(since.quantile(0.5), Some(Duration::from_nanos(1 << LAST)), "beyond the last");
    }
}
