//! Metrics: what a database has done and its present state, as counters, gauges and latencies, read
//! together.
//!
//! One table, `Metrics::visit`, names each of them with its unit and kind; the forms that programs
//! read, [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text and JSON, are
//! made from it. This module does not know how figures are counted (`registry`), nor their use.
//!
//! Figures are read one after another while the database runs: each is right, and two related ones
//! may be a moment apart.

mod histogram;
mod open_metrics;
mod registry;

use std::time::Duration;

use object::header::Kind;
use object::refusal::Reason;
use serde_json::{Map, Value as Json, json};

pub use histogram::{BUCKETS, Histogram};
pub use open_metrics::ParseError;
pub(crate) use registry::{Count, Registry};

/// The delay from which a wake counts as late.
pub const WAKE_LATE: Duration = Duration::from_millis(100);

/// The work of a database since it was opened, and its present state.
///
/// ```
/// use continuant::{Code, Database, Kind, Metrics, args};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let db = Database::open(directory.path().join("db"))?;
/// # let code = Code::wasm(continuant::samples::COUNTER)?
/// #     .policy(continuant::samples::COUNTER_POLICY);
/// # let counter = db.create(code)?;
/// db.call(counter, "increment", args![2u64]).wait()?;
/// let metrics = db.metrics();
/// assert_eq!(metrics.steps.of(Kind::Call), 1);
/// println!("{:?}", metrics.commit.quantile(0.99));        // from post to durable
/// let text = metrics.open_metrics();                      // for whoever scrapes it
/// assert_eq!(Metrics::from_open_metrics(&text)?, metrics);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// The time since the database was opened.
    pub uptime: Duration,

    /// Steps that were admitted and made a version.
    pub steps: Counts<Kind>,
    /// Inputs that were refused, on record or not.
    pub refusals: Counts<Reason>,
    /// Inputs and wakes over which the host or the store failed, so that there is no verdict.
    pub failures: u64,
    /// Wakes that were due and made a version.
    pub wakes_run: u64,
    /// Wakes that were due and made none: they were refused, or failed, or their object was ahead
    /// of the clock.
    pub wakes_missed: u64,
    /// Tries of wakes that were missed before.
    pub wakes_retried: u64,
    /// Wakes that were run or missed, and began more than [`WAKE_LATE`] after they were due.
    pub wakes_late: u64,
    /// Transactions that were admitted. Their steps are counted by kind as well.
    pub transactions_committed: u64,
    /// Transactions that one of their objects refused. The refusal is counted by reason as well.
    pub transactions_refused: u64,
    /// Transactions over which the host or the store failed.
    pub transactions_failed: u64,
    /// Inputs, and transactions, turned away because a mailbox was full.
    pub letters_turned_away: u64,
    /// Messages that versions sent. Those that were delivered are steps of their kind.
    pub messages_sent: u64,
    /// Messages that became dead letters: they were refused, or there is no such object.
    pub messages_dead: u64,
    /// Objects read from the store for their next step.
    pub objects_loaded: u64,
    /// Objects that left memory.
    pub objects_evicted: u64,
    /// Steps that code was instantiated for.
    pub slots_instantiated: u64,
    /// Steps that found their code instantiated.
    pub slots_reused: u64,
    /// Modules that were compiled.
    pub codes_compiled: u64,
    /// Modules that were not, because the [code cache](crate::Options::code_cache) had them.
    pub codes_cached: u64,
    /// Groups of frames that became durable together.
    pub log_groups: u64,
    /// Frames that became durable.
    pub log_frames: u64,
    /// Bytes of these frames.
    pub log_bytes: u64,
    /// Syncs of the log.
    pub log_syncs: u64,
    /// The total time of these.
    pub log_sync: Duration,

    /// Workers that run an object now.
    pub workers_busy: u64,
    /// Objects in memory, or about to be.
    pub objects_resident: u64,
    /// The approximate memory that they take.
    pub resident_bytes: u64,
    /// Objects that wait for a worker.
    pub objects_queued: u64,
    /// Letters that were posted and are not worked through: inputs, wakes, and a transaction once
    /// for each of its objects.
    pub letters_waiting: u64,
    /// Messages on their way.
    pub messages_waiting: u64,
    /// The number of objects whose next wake the timer knows.
    pub wakes_armed: u64,
    /// Wakes that were missed and have made no version since.
    pub wakes_overdue: u64,
    /// The lead of the newest version that was made, loaded or imported, over the clock.
    pub ahead: Duration,
    /// The bytes of the log that the index does not cover yet: opening would read them again.
    pub unindexed_bytes: u64,
    /// Leaves of the evidence tree: one for each version and each refusal on record here, and for
    /// each import one or two.
    pub evidence_leaves: u64,

    /// The durations of admitted steps, from their credentials to the verdict.
    pub step: Histogram,
    /// The times until versions were durable: of inputs and transactions, from when they were
    /// posted, of own cycles and messages, from when they began. Creations are not included.
    pub commit: Histogram,
    /// The delays of wakes, from when they were due to when they began, by the database's clock.
    pub lateness: Histogram,
}

/// Counts by kind, or by reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts<T>(Vec<(T, u64)>);

/// The counts of the ways in which objects were put into instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loads {
    /// Loads into an instance that was made for the object.
    pub(crate) instantiated: u64,
    /// Loads into an existing instance.
    pub(crate) reused: u64,
}

impl<T: Copy + PartialEq> Counts<T> {
    fn none(all: &[T]) -> Counts<T> {
        Counts(all.iter().map(|&of| (of, 0)).collect())
    }

    /// Returns the count of this one.
    pub fn of(&self, one: T) -> u64 {
        self.iter().find(|(of, _)| *of == one).map_or(0, |(_, count)| count)
    }

    /// Returns the sum of all counts.
    pub fn sum(&self) -> u64 {
        // Parsed counts may be anything.
        self.iter().fold(0, |sum, (_, count)| sum.saturating_add(count))
    }

    /// Iterates over all, in the order of codes, with the count of each.
    pub fn iter(&self) -> impl Iterator<Item = (T, u64)> + '_ {
        self.0.iter().copied()
    }
}

impl Default for Counts<Kind> {
    fn default() -> Counts<Kind> {
        Counts::none(Kind::ALL)
    }
}

impl Default for Counts<Reason> {
    fn default() -> Counts<Reason> {
        Counts::none(Reason::ALL)
    }
}

/// The name of a metric, and its unit.
struct Name {
    /// The name without the common prefix; it ends with the unit, if there is one.
    name: &'static str,
    unit: &'static str,
    help: &'static str,
}

/// The kind of a metric, and its value.
enum Figure<'a> {
    Counter(&'a mut u64),
    /// A counter for each value of a label.
    Counters(&'static str, Vec<(&'static str, &'a mut u64)>),
    /// A counter of time.
    Time(&'a mut Duration),
    Gauge(&'a mut u64),
    /// A gauge of time.
    Age(&'a mut Duration),
    Histogram(&'a mut Histogram),
}

impl Metrics {
    /// Returns one JSON document, with times in seconds, and for a histogram its count, mean and
    /// quantiles.
    pub fn json(&self) -> Json {
        let mut document = Map::new();
        self.clone().visit(|Name { name, .. }, figure| {
            let value = match figure {
                Figure::Counter(count) | Figure::Gauge(count) => json!(*count),
                Figure::Time(time) | Figure::Age(time) => json!(time.as_secs_f64()),
                Figure::Counters(_, counts) => counts
                    .into_iter()
                    .map(|(name, count)| (name.to_string(), json!(*count)))
                    .collect(),
                Figure::Histogram(histogram) => {
                    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
                    let quantile = |share| seconds(histogram.quantile(share));
                    json!({
                        "count": histogram.count(),
                        "mean": seconds(histogram.mean()),
                        "p50": quantile(0.5),
                        "p90": quantile(0.9),
                        "p99": quantile(0.99),
                        "p999": quantile(0.999),
                    })
                }
            };
            document.insert(name.to_string(), value);
        });
        document.into()
    }

    /// Names every metric, in an order of its own.
    fn visit(&mut self, mut each: impl FnMut(Name, Figure<'_>)) {
        self.visit_engine(&mut each);
        self.visit_log(&mut each);
        let mut gauge =
            |name, unit, help, gauge| each(Name { name, unit, help }, Figure::Gauge(gauge));
        let busy = "Workers that run an object now.";
        gauge("workers_busy", "", busy, &mut self.workers_busy);
        gauge("objects_resident", "", "Objects in memory now.", &mut self.objects_resident);
        let taken = "Memory that the objects in memory take.";
        gauge("resident_bytes", "bytes", taken, &mut self.resident_bytes);
        gauge("objects_queued", "", "Objects that wait for a worker.", &mut self.objects_queued);
        let waiting = "Inputs and wakes that wait in mailboxes, or are being worked on.";
        gauge("letters_waiting", "", waiting, &mut self.letters_waiting);
        gauge(
            "messages_waiting",
            "",
            "Messages between objects that were sent and not delivered yet.",
            &mut self.messages_waiting,
        );
        gauge("wakes_armed", "", "Objects that have a next wake.", &mut self.wakes_armed);
        let overdue = "Wakes that are overdue: due, and without a version so far.";
        gauge("wakes_overdue", "", overdue, &mut self.wakes_overdue);
        let behind = "Bytes at the end of the log that the index does not cover yet.";
        gauge("unindexed_bytes", "bytes", behind, &mut self.unindexed_bytes);
        let leaves = "Leaves of the evidence tree: versions and refusals on record here.";
        gauge("evidence_leaves", "", leaves, &mut self.evidence_leaves);
        let help = "How far the newest version is ahead of this host's clock.";
        let ahead = Name { name: "ahead_seconds", unit: "seconds", help };
        each(ahead, Figure::Age(&mut self.ahead));
        let mut times = |name, help, times| {
            each(Name { name, unit: "seconds", help }, Figure::Histogram(times));
        };
        times(
            "step_seconds",
            "Time of an admitted step: from its credentials to its verdict.",
            &mut self.step,
        );
        times(
            "commit_seconds",
            "Time until a version is durable: from the posting of an input, or the start of a \
             wake or message.",
            &mut self.commit,
        );
        let late = "Time from when a wake was due until its cycle began.";
        times("wake_lateness_seconds", late, &mut self.lateness);
    }

    fn visit_engine(&mut self, each: &mut impl FnMut(Name, Figure<'_>)) {
        let help = "How long the database has been open.";
        let uptime = Name { name: "uptime_seconds", unit: "seconds", help };
        each(uptime, Figure::Age(&mut self.uptime));
        let steps = Name { name: "steps", unit: "", help: "Steps admitted." };
        let kinds = self.steps.0.iter_mut().map(|(kind, count)| (kind.name(), count));
        each(steps, Figure::Counters("kind", kinds.collect()));
        let refusals = Name { name: "refusals", unit: "", help: "Inputs refused." };
        let reasons = self.refusals.0.iter_mut().map(|(reason, count)| (reason.name(), count));
        each(refusals, Figure::Counters("reason", reasons.collect()));
        let mut count = |name, help, count| {
            each(Name { name, unit: "", help }, Figure::Counter(count));
        };
        count("failures", "Inputs and wakes that failed, without a verdict.", &mut self.failures);
        count("wakes_run", "Wakes whose cycle made a version.", &mut self.wakes_run);
        count(
            "wakes_missed",
            "Wakes whose cycle was refused or failed at the first try.",
            &mut self.wakes_missed,
        );
        count("wakes_retried", "Further tries of such wakes.", &mut self.wakes_retried);
        count("wakes_late", "Wakes whose cycle began late.", &mut self.wakes_late);
        let outcomes = vec![
            ("committed", &mut self.transactions_committed),
            ("refused", &mut self.transactions_refused),
            ("failed", &mut self.transactions_failed),
        ];
        let transactions =
            Name { name: "transactions", unit: "", help: "Transactions, by outcome." };
        each(transactions, Figure::Counters("outcome", outcomes));
        let mut count = |name, help, count| {
            each(Name { name, unit: "", help }, Figure::Counter(count));
        };
        let full = "Inputs turned away because the object's mailbox was full.";
        count("letters_turned_away", full, &mut self.letters_turned_away);
        count("messages_sent", "Messages sent between objects.", &mut self.messages_sent);
        count("messages_dead", "Messages that became dead letters.", &mut self.messages_dead);
        count("objects_loaded", "Objects read from the store.", &mut self.objects_loaded);
        count(
            "objects_evicted",
            "Objects dropped from memory to make room.",
            &mut self.objects_evicted,
        );
        let made = "Steps for which code had to be instantiated.";
        count("slots_instantiated", made, &mut self.slots_instantiated);
        let found = "Steps that reused an instance of their code.";
        count("slots_reused", found, &mut self.slots_reused);
        count("codes_compiled", "Modules compiled to machine code.", &mut self.codes_compiled);
        let cached = "Modules loaded from the code cache instead.";
        count("codes_cached", cached, &mut self.codes_cached);
    }

    fn visit_log(&mut self, each: &mut impl FnMut(Name, Figure<'_>)) {
        let mut count = |name, unit, help, count| {
            each(Name { name, unit, help }, Figure::Counter(count));
        };
        count("log_groups", "", "Groups of commits that became durable.", &mut self.log_groups);
        count("log_frames", "", "Frames of the log that became durable.", &mut self.log_frames);
        count(
            "log_bytes",
            "bytes",
            "Bytes of the frames that became durable.",
            &mut self.log_bytes,
        );
        count("log_syncs", "", "Times that the log was synced to the disk.", &mut self.log_syncs);
        let sync =
            Name { name: "log_sync_seconds", unit: "seconds", help: "Time spent syncing the log." };
        each(sync, Figure::Time(&mut self.log_sync));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_and_ends_with_its_unit() {
        let mut names = Vec::new();
        Metrics::default().visit(|Name { name, unit, help }, _| {
            assert!(unit.is_empty() || name.ends_with(&format!("_{unit}")), "{name} in {unit}");
            assert!(help.ends_with('.') && !name.ends_with("_total"), "{name}: {help}");
            names.push(name);
        });
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
