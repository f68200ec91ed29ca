//! Runs: the bytes of a page in which one of its states differs from another.
//!
//! This module does not know where pages are, nor what their bytes mean.
//!
//! Invariant: runs are not empty, lie in their page, ascend, and are more than `GAP` bytes apart.

use object::limits::PAGE_BYTES;
use object::memory::Page;

/// Bytes between two changes that are not worth a run of their own.
const GAP: usize = 4;
/// The cost of a run in a record besides its bytes.
const HEAD_BYTES: usize = 3;
/// Bytes that are compared at a time, by a call.
const STRETCH: usize = 256;
/// Bytes of a stretch that are compared at a time, without one.
const STRIDE: usize = 32;

/// Bytes of a page that follow each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) start: u16,
    pub(crate) length: u16,
}

impl Run {
    fn new(start: usize, end: usize) -> Run {
        assert!(start < end && end <= PAGE_BYTES, "a run is in its page");
        Run { start: start as u16, length: (end - start) as u16 }
    }

    pub(crate) fn end(self) -> usize {
        usize::from(self.start) + usize::from(self.length)
    }

    /// The run's bytes in a page.
    pub(crate) fn of(self, page: &Page) -> &[u8] {
        &page[usize::from(self.start)..self.end()]
    }
}

/// Returns the runs in which two pages differ.
pub(crate) fn changed(before: &Page, after: &Page) -> Vec<Run> {
    let mut runs = Runs::default();
    let stretches = before.chunks(STRETCH).zip(after.chunks(STRETCH)).enumerate();
    for (stretch, (before, after)) in stretches.filter(|(_, (before, after))| before != after) {
        let strides = before.as_chunks::<STRIDE>().0.iter().zip(after.as_chunks::<STRIDE>().0);
        for (stride, (one, other)) in strides.enumerate().filter(|(_, (one, other))| one != other) {
            let start = stretch * STRETCH + stride * STRIDE;
            let differing = (0..STRIDE).filter(|&at| one[at] != other[at]);
            differing.for_each(|at| runs.add(start + at, start + at + 1));
        }
    }
    debug_assert_eq!(runs.0.is_empty(), before == after, "what differs is in some run");
    runs.0
}

/// The runs that have every byte of `one` and `other`.
pub(crate) fn union(one: &[Run], other: &[Run]) -> Vec<Run> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut runs = Runs::default();
    loop {
        let next = match (ones.peek(), others.peek()) {
            (Some(first), Some(second)) if first.start <= second.start => ones.next(),
            (_, Some(_)) => others.next(),
            (_, None) => ones.next(),
        };
        let Some(run) = next else { break };
        runs.add(usize::from(run.start), run.end());
    }
    debug_assert!(covers(&runs.0, one) && covers(&runs.0, other), "a union has both");
    runs.0
}

/// Returns whether `runs` have every byte of `some`.
pub(crate) fn covers(runs: &[Run], some: &[Run]) -> bool {
    some.iter()
        .all(|run| runs.iter().any(|over| over.start <= run.start && over.end() >= run.end()))
}

/// About the bytes that runs take in a record.
pub(crate) fn cost(runs: &[Run]) -> usize {
    runs.iter().map(|run| HEAD_BYTES + usize::from(run.length)).sum()
}

/// Runs that grow at their end.
#[derive(Default)]
struct Runs(Vec<Run>);

impl Runs {
    /// Adds bytes that start at or behind the last run's start.
    fn add(&mut self, start: usize, end: usize) {
        match self.0.last_mut() {
            Some(last) if start <= last.end() + GAP => {
                *last = Run::new(usize::from(last.start), end.max(last.end()));
            }
            last => {
                assert!(last.is_none_or(|last| last.end() < start), "runs ascend");
                self.0.push(Run::new(start, end));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn holds(runs: &[Run]) {
        let apart = runs.is_sorted_by(|one, next| one.end() + GAP < usize::from(next.start));
        assert!(apart, "{runs:?}");
    }

    #[test]
    fn runs_over_the_first_page_give_every_later_one() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let first = std::array::from_fn::<u8, PAGE_BYTES, _>(|_| rng.random());
            let (mut page, mut all) = (first, Vec::new());
            for _ in 0..rng.random_range(1..20) {
                let before = page;
                for _ in 0..rng.random_range(0..6) {
                    let start = rng.random_range(0..PAGE_BYTES);
                    let end = (start + rng.random_range(1..40)).min(PAGE_BYTES);
                    page[start..end].fill(rng.random());
                }
                let new = changed(&before, &page);
                let union = union(&all, &new);
                holds(&new);
                holds(&union);
                assert!(covers(&union, &all) && covers(&union, &new), "seed {seed}");
                all = union;
                let mut rebuilt = first;
                for run in &all {
                    rebuilt[usize::from(run.start)..run.end()].copy_from_slice(run.of(&page));
                }
                assert_eq!(rebuilt, page, "seed {seed}");
            }
        }
    }
}
