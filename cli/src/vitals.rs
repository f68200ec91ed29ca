//! A database's metrics for people to watch: rates and latencies since the last look, and the
//! present state.
//!
//! This module does not know where metrics come from, nor where lines go.

use std::time::Duration;

use continuant::metrics::{Histogram, Metrics};
use indicatif::{BinaryBytes, HumanDuration};

use crate::table::grouped;

/// The changes between two looks at the same database.
struct Between<'a> {
    now: &'a Metrics,
    before: Metrics,
    seconds: f64,
}

/// Returns the lines for a database that is at `now` and was at `before` at the last look. If it
/// was opened again meanwhile, they cover everything since.
pub(crate) fn lines(now: &Metrics, before: &Metrics) -> Vec<String> {
    let is_same = before.uptime <= now.uptime;
    let before = if is_same { before.clone() } else { Metrics::default() };
    let seconds = now.uptime.saturating_sub(before.uptime).as_secs_f64();
    let rows = Between { now, before, seconds }.rows();
    let width = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    rows.into_iter().map(|(label, text)| format!("{label:width$}  {text}")).collect()
}

impl Between<'_> {
    fn rows(&self) -> Vec<(&'static str, String)> {
        let Metrics { uptime, workers_busy, .. } = self.now;
        let (step, commit) = (self.times(|it| &it.step), self.times(|it| &it.commit));
        let late = quantile(&self.times(|it| &it.lateness), 0.99);
        let kinds = self.each(|it| it.steps.iter().map(|(of, count)| (of.name(), count)).collect());
        let reasons =
            self.each(|it| it.refusals.iter().map(|(of, count)| (of.name(), count)).collect());
        vec![
            ("up", format!("{}, {workers_busy} workers busy", HumanDuration(*uptime))),
            ("steps", format!("{}{kinds}", self.rate(|it| it.steps.sum()))),
            ("step time", format!("p50 {}, p99 {}", quantile(&step, 0.5), quantile(&step, 0.99))),
            ("commits", self.rate(|it| it.commit.count())),
            (
                "commit time",
                format!("p50 {}, p99 {}", quantile(&commit, 0.5), quantile(&commit, 0.99)),
            ),
            ("refusals", format!("{}{reasons}", self.rate(|it| it.refusals.sum()))),
            ("failures", self.rate(|it| it.failures)),
            ("transactions", self.transactions()),
            ("wakes", self.wakes(&late)),
            ("letters", self.letters()),
            ("messages", self.messages()),
            ("objects", self.objects()),
            ("slots", self.slots()),
            ("log", self.log()),
        ]
    }

    fn transactions(&self) -> String {
        let [committed, refused, failed] = [
            self.rate(|it| it.transactions_committed),
            self.rate(|it| it.transactions_refused),
            self.rate(|it| it.transactions_failed),
        ];
        format!("{committed}, refused {refused}, failed {failed}")
    }

    fn wakes(&self, late: &str) -> String {
        let [run, missed, slow] = [
            self.rate(|it| it.wakes_run),
            self.rate(|it| it.wakes_missed),
            self.rate(|it| it.wakes_late),
        ];
        let [armed, overdue] = [self.now.wakes_armed, self.now.wakes_overdue].map(grouped);
        format!(
            "{run}, missed {missed}, late {slow}, lateness p99 {late}, {armed} armed, {overdue} \
             overdue"
        )
    }

    fn letters(&self) -> String {
        let turned_away = self.rate(|it| it.letters_turned_away);
        format!("{} waiting, turned away {turned_away}", grouped(self.now.letters_waiting))
    }

    fn messages(&self) -> String {
        let (sent, dead) = (self.rate(|it| it.messages_sent), self.rate(|it| it.messages_dead));
        format!("{sent}, dead {dead}, {} on their way", grouped(self.now.messages_waiting))
    }

    fn objects(&self) -> String {
        let (loaded, evicted) =
            (self.rate(|it| it.objects_loaded), self.rate(|it| it.objects_evicted));
        let [resident, queued] = [self.now.objects_resident, self.now.objects_queued].map(grouped);
        let bytes = BinaryBytes(self.now.resident_bytes);
        format!(
            "{resident} in memory ({bytes}), {queued} queued, loaded {loaded}, evicted {evicted}"
        )
    }

    fn slots(&self) -> String {
        let (made, reused) =
            (self.rate(|it| it.slots_instantiated), self.rate(|it| it.slots_reused));
        format!("instantiated {made}, reused {reused}")
    }

    fn log(&self) -> String {
        let bytes = BinaryBytes(self.per_second(|it| it.log_bytes) as u64);
        let groups = self.rate(|it| it.log_groups);
        let syncs = self.now.log_syncs.saturating_sub(self.before.log_syncs);
        let time = self.now.log_sync.saturating_sub(self.before.log_sync);
        let sync = u32::try_from(syncs).ok().and_then(|syncs| time.checked_div(syncs));
        let behind = BinaryBytes(self.now.unindexed_bytes);
        format!("{bytes}/s, {groups} in groups, sync {}, {behind} not indexed", show(sync))
    }

    fn per_second(&self, of: impl Fn(&Metrics) -> u64) -> f64 {
        let count = of(self.now).saturating_sub(of(&self.before)) as f64;
        if self.seconds > 0.0 { count / self.seconds } else { 0.0 }
    }

    fn rate(&self, of: impl Fn(&Metrics) -> u64) -> String {
        format!("{:.1}/s", self.per_second(of))
    }

    /// The rates of those that there were any of.
    fn each(&self, of: impl Fn(&Metrics) -> Vec<(&'static str, u64)>) -> String {
        let names = of(self.now).into_iter().enumerate().filter_map(|(index, (name, count))| {
            let before = of(&self.before).get(index).map_or(0, |(_, count)| *count);
            (count > before).then(|| {
                let rate = self.rate(|it| of(it).get(index).map_or(0, |(_, count)| *count));
                format!(", {name} {rate}")
            })
        });
        names.collect()
    }

    fn times(&self, of: impl Fn(&Metrics) -> &Histogram) -> Histogram {
        of(self.now).since(of(&self.before))
    }
}

fn quantile(times: &Histogram, share: f64) -> String {
    show(times.quantile(share))
}

/// `1.2ms`.
fn show(time: Option<Duration>) -> String {
    time.map_or("-".to_string(), |time| format!("{time:.1?}"))
}
