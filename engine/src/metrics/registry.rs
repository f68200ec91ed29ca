//! The registry: counts of the threads of an open database, each mostly in a shard of its own.
//!
//! Hot paths come here, so counting is relaxed additions on lines that other threads seldom write,
//! without a lock or an allocation. A step costs two looks at the clock, and so does a commit. This
//! module does not know the use of the figures.
//!
//! Invariant: a version, a refusal, a failure or a transaction is counted before its waiting caller
//! gets the reply, so that the caller finds it here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;
use object::header::Kind;
use object::refusal::Reason;

use crate::metrics::histogram::Buckets;
use crate::metrics::{Loads, Metrics, WAKE_LATE};

/// The single counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Count {
    Failures,
    WakesRun,
    WakesMissed,
    WakesRetried,
    WakesLate,
    TransactionsCommitted,
    TransactionsRefused,
    TransactionsFailed,
    LettersTurnedAway,
    MessagesSent,
    MessagesDead,
    ObjectsLoaded,
    ObjectsEvicted,
    SlotsInstantiated,
    SlotsReused,
    TurnsBegun,
    /// The last one.
    TurnsEnded,
}

const COUNTS: usize = Count::TurnsEnded as usize + 1;

/// The counters of a database.
#[derive(Debug)]
pub(crate) struct Registry {
    opened: Instant,
    /// The shards, a power of two of them.
    shards: Vec<Arc<CachePadded<Shard>>>,
}

#[derive(Debug)]
struct Shard {
    counts: [AtomicU64; COUNTS],
    steps: [AtomicU64; Kind::ALL.len()],
    refusals: [AtomicU64; Reason::ALL.len()],
    step: Buckets,
    commit: Buckets,
    lateness: Buckets,
}

/// A commit that is under way.
#[derive(Debug)]
pub(crate) struct CommitTimer {
    shard: Arc<CachePadded<Shard>>,
    posted: Instant,
}

impl CommitTimer {
    /// The commit is durable.
    pub(crate) fn stop(self) {
        self.shard.commit.record(self.posted.elapsed());
    }
}

impl Shard {
    fn new() -> Shard {
        Shard {
            counts: [const { AtomicU64::new(0) }; COUNTS],
            steps: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            refusals: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            step: Buckets::default(),
            commit: Buckets::default(),
            lateness: Buckets::default(),
        }
    }
}

impl Registry {
    /// Returns a registry at zero, for a database of `worker_count` workers.
    pub(crate) fn new(worker_count: usize) -> Registry {
        let count = (worker_count + 1).next_power_of_two();
        let shards = (0..count).map(|_| Arc::new(CachePadded::new(Shard::new())));
        Registry { opened: Instant::now(), shards: shards.collect() }
    }

    /// Returns the shard of this thread, shared with few others: threads get shards in turn.
    fn shard(&self) -> &Arc<CachePadded<Shard>> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static PLACE: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        &self.shards[PLACE.with(|place| place & (self.shards.len() - 1))]
    }

    /// Counts one more.
    pub(crate) fn count(&self, what: Count) {
        self.shard().counts[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a version that was made, with the messages that it sent.
    pub(crate) fn version(&self, kind: Kind, messages: usize) {
        let shard = self.shard();
        shard.steps[usize::from(kind.code())].fetch_add(1, Ordering::Relaxed);
        if messages > 0 {
            shard.counts[Count::MessagesSent as usize]
                .fetch_add(messages as u64, Ordering::Relaxed);
        }
    }

    /// Counts a refusal.
    pub(crate) fn refusal(&self, reason: Reason) {
        self.shard().refusals[usize::from(reason.code())].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts how objects were put into slots.
    pub(crate) fn loads(&self, Loads { instantiated, reused }: Loads) {
        let counts = &self.shard().counts;
        counts[Count::SlotsInstantiated as usize].fetch_add(instantiated, Ordering::Relaxed);
        counts[Count::SlotsReused as usize].fetch_add(reused, Ordering::Relaxed);
    }

    /// Takes in how long a step took that was admitted.
    pub(crate) fn step(&self, took: Duration) {
        self.shard().step.record(took);
    }

    /// Takes in how late a wake is run.
    pub(crate) fn lateness(&self, late: Duration) {
        self.shard().lateness.record(late);
        if late > WAKE_LATE {
            self.count(Count::WakesLate);
        }
    }

    /// Returns a timer that records the duration of a commit, once it is durable.
    pub(crate) fn commit(&self, posted: Instant) -> CommitTimer {
        CommitTimer { shard: Arc::clone(self.shard()), posted }
    }

    /// Returns the counts so far; gauges are zero, except that of busy workers.
    pub(crate) fn read(&self) -> Metrics {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let sum = |what: Count| {
            self.shards.iter().map(|shard| load(&shard.counts[what as usize])).sum::<u64>()
        };
        // In this order, so that no turn ends before it began.
        let (ended, begun) = (sum(Count::TurnsEnded), sum(Count::TurnsBegun));
        let mut metrics = Metrics {
            uptime: self.opened.elapsed(),
            failures: sum(Count::Failures),
            wakes_run: sum(Count::WakesRun),
            wakes_missed: sum(Count::WakesMissed),
            wakes_retried: sum(Count::WakesRetried),
            wakes_late: sum(Count::WakesLate),
            transactions_committed: sum(Count::TransactionsCommitted),
            transactions_refused: sum(Count::TransactionsRefused),
            transactions_failed: sum(Count::TransactionsFailed),
            letters_turned_away: sum(Count::LettersTurnedAway),
            messages_sent: sum(Count::MessagesSent),
            messages_dead: sum(Count::MessagesDead),
            objects_loaded: sum(Count::ObjectsLoaded),
            objects_evicted: sum(Count::ObjectsEvicted),
            slots_instantiated: sum(Count::SlotsInstantiated),
            slots_reused: sum(Count::SlotsReused),
            workers_busy: begun.saturating_sub(ended),
            ..Metrics::default()
        };
        for shard in &self.shards {
            for ((_, into), count) in metrics.steps.0.iter_mut().zip(&shard.steps) {
                *into += load(count);
            }
            for ((_, into), count) in metrics.refusals.0.iter_mut().zip(&shard.refusals) {
                *into += load(count);
            }
            shard.step.add_to(&mut metrics.step);
            shard.commit.add_to(&mut metrics.commit);
            shard.lateness.add_to(&mut metrics.lateness);
        }
        metrics
    }
}
