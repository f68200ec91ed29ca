//! `run`: runs the own cycles of all objects: those due now, or all that come due in a time.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use continuant::{Cause, Database, Metrics, ObjectId, ObjectInfo, Time};
use serde_json::json;

use crate::failure::Result;
use crate::printer::Printer;
use crate::screen::Screen;
use crate::table::{Align, Table, grouped};
use crate::target::{Target, short};
use crate::{aside, files, moment, progress, stop, vitals};

/// The longest wait before the clock is read again: it may be set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Run the objects' own cycles: those that are due, or all that come due in a while
///
/// Nothing else has to run for objects to be woken: a line in a crontab is enough. Prints what each
/// woken object did, and which are overdue: a refused wake is tried again, with pauses that double
/// from a second to an hour, and whenever this is run.
///
/// If the metrics cannot be written any more, that is a warning, and cycles continue.
///
/// On SIGTERM, SIGINT or SIGHUP it closes the database, writes the last metrics, prints what was
/// done until then, and ends with 0; on a second one it ends at once.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Stay this long, and run each cycle when it is due
    #[arg(long = "for", value_name = "SPAN", value_parser = moment::parse_span)]
    span: Option<Duration>,

    /// Stay until this time, and run each cycle when it is due
    #[arg(long, value_name = "TIME", value_parser = moment::parse_future, conflicts_with = "span")]
    until: Option<Time>,

    /// Show what the database is doing, until interrupted if nothing else says how long; with
    /// --json, or without a terminal, one look after another is printed
    #[arg(long)]
    top: bool,

    /// Write the metrics to this file, replaced as a whole each time: for `top`, or a node
    /// exporter's textfile collector. A pipe or a device is written to, and the target of a link is
    /// replaced
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,

    /// The form of the metrics: the one that a textfile collector and Prometheus' own text format
    /// take, or OpenMetrics
    #[arg(long, value_name = "FORM", value_enum, default_value_t, requires = "metrics")]
    metrics_as: Form,

    /// The time between two writes, and two looks
    #[arg(long, value_name = "SPAN", value_parser = moment::parse_span, default_value = "1s")]
    every: Duration,
}

/// The form of written metrics.
#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Form {
    #[default]
    Prometheus,
    Openmetrics,
}

impl Form {
    fn text(self, metrics: &Metrics) -> String {
        match self {
            Form::Prometheus => metrics.prometheus(),
            Form::Openmetrics => metrics.open_metrics(),
        }
    }
}

/// An object that wants to be woken.
struct Sleeper {
    name: Option<String>,
    seq: u64,
    refusal_count: u64,
}

impl Run {
    pub(crate) fn run(self, target: &Target, printer: &mut Printer) -> Result<()> {
        let _orderly = stop::orderly();
        target.with(|db| {
            let woken = self.watch(db, self.end(db), printer)?;
            if !woken.is_empty() {
                let what = format!("{} objects were woken", grouped(woken.len() as u64));
                let document = json!({ "woken": woken.len() });
                printer.done(format!("{what}: `continuant history` shows what each did"), document);
            }
            let any = print(db, woken, printer)?;
            let waits = print_overdue(db, printer)? | print_held(db, printer)?;
            match (any || waits, printer.is_json()) {
                (true, _) => Ok(()),
                (false, true) => {
                    aside::note(printer, "none-due", &none_due(db));
                    Ok(())
                }
                (false, false) => printer.line(&none_due(db)),
            }
        })
    }

    /// Returns when to stop.
    fn end(&self, db: &Database) -> End {
        match (self.until, self.span.map(|span| Instant::now().checked_add(span))) {
            (None, Some(Some(end))) => End::After(end),
            (None, None) if !self.top => End::At(db.now()),
            (until, _) => End::At(until.unwrap_or(Time::MAX)),
        }
    }

    /// Has cycles run on a thread until `end`, and shows and writes metrics meanwhile, and then.
    fn watch(
        &self,
        db: &Database,
        end: End,
        printer: &mut Printer,
    ) -> Result<BTreeMap<ObjectId, Sleeper>> {
        // An error in writing the file is reported before anything runs.
        self.publish(&db.metrics())?;
        let mut is_published = true;
        let (sender, ended) = channel();
        let halt = AtomicBool::new(false);
        thread::scope(|scope| {
            let halt = &halt;
            scope.spawn(move || sender.send(stay(db, end, halt)));
            let bar = (!self.top).then(|| progress::counting("wakes"));
            let (mut screen, mut before) = (Screen::new(), Metrics::default());
            loop {
                let ran = ended.recv_timeout(self.every.max(Duration::from_millis(1)));
                let is_under_way = matches!(ran, Err(RecvTimeoutError::Timeout));
                let now = db.metrics();
                debug_assert!(now.wakes_run >= before.wakes_run, "a counter only rises");
                if let Some(bar) = &bar {
                    bar.set_position(now.wakes_run);
                }
                is_published = self.publish_again(&now, is_published);
                if let Err(failure) = self.show(&mut screen, printer, &now, &before) {
                    halt.store(true, Ordering::Release);
                    stop::wake();
                    return Err(failure);
                }
                before = now;
                if let Some(bar) = bar.as_ref().filter(|_| !is_under_way) {
                    bar.finish_and_clear();
                }
                match ran {
                    Ok(ran) => return ran,
                    Err(RecvTimeoutError::Timeout) => {}
                    // The thread panicked; the end of the scope passes the panic on.
                    Err(RecvTimeoutError::Disconnected) => return Ok(BTreeMap::new()),
                }
            }
        })
    }

    /// Writes metrics, if that is asked for.
    fn publish(&self, now: &Metrics) -> Result<()> {
        match &self.metrics {
            Some(path) => files::publish(path, &self.metrics_as.text(now)),
            None => Ok(()),
        }
    }

    /// Writes metrics while cycles run, and returns whether it could; cycles continue without.
    /// Warns of the first of several failures.
    fn publish_again(&self, now: &Metrics, did_before: bool) -> bool {
        match self.publish(now) {
            Ok(()) => true,
            Err(failure) => {
                if did_before {
                    let more = "cycles continue, and the metrics are tried again";
                    let message = format!("{}; {more}", failure.message());
                    aside::warn("metrics", &message);
                }
                false
            }
        }
    }

    /// Shows metrics, if the options ask for it.
    fn show(
        &self,
        screen: &mut Screen,
        printer: &mut Printer,
        now: &Metrics,
        before: &Metrics,
    ) -> Result<()> {
        match (self.top, printer.is_json()) {
            (true, true) => {
                printer.document(&json!({ "metrics": now.json() }))?;
                printer.flush()
            }
            (true, false) => screen.show(printer, &vitals::lines(now, before)),
            (false, _) => Ok(()),
        }
    }
}

/// The end of a run: a time of the clock, or a span, which the clock cannot change.
#[derive(Clone, Copy)]
enum End {
    At(Time),
    After(Instant),
}

impl End {
    fn left(self, now: Time) -> Duration {
        match self {
            End::At(time) => time.saturating_duration_since(now),
            End::After(end) => end.saturating_duration_since(Instant::now()),
        }
    }
}

/// Runs cycles that are due, then those that come due until `end`, or until a signal stops it.
/// Returns the objects that were due, as they were before. Only these are examined.
fn stay(db: &Database, end: End, halt: &AtomicBool) -> Result<BTreeMap<ObjectId, Sleeper>> {
    let mut sleepers = BTreeMap::new();
    loop {
        for id in db.due(db.now()) {
            if let Entry::Vacant(place) = sleepers.entry(id) {
                let ObjectInfo { name, seq, refusal_count, .. } = db.info(id)?;
                place.insert(Sleeper { name, seq, refusal_count });
            }
        }
        db.run_until(db.now())?;
        let now = db.now();
        let left = end.left(now);
        if left.is_zero() || halt.load(Ordering::Acquire) || stop::asked().is_some() {
            return Ok(sleepers);
        }
        let next = db.next_wake().map(|wake| wake.saturating_duration_since(now));
        let wait = next.map_or(left, |next| next.min(left)).min(WAIT_MAX);
        // May return early; the loop looks at the clock.
        stop::pause(wait, || halt.load(Ordering::Acquire));
    }
}

/// Prints what the woken objects did, and returns whether any did something.
fn print(db: &Database, woken: BTreeMap<ObjectId, Sleeper>, printer: &mut Printer) -> Result<bool> {
    let mut table = Table::new([
        ("object", Align::Left),
        ("versions", Align::Right),
        ("refusals", Align::Right),
        ("next wake", Align::Left),
        ("name", Align::Left),
    ]);
    let mut any = false;
    for (id, sleeper) in woken {
        let info = db.info(id)?;
        let versions = info.seq - sleeper.seq;
        let refusals = info.refusal_count - sleeper.refusal_count;
        if (versions, refusals) == (0, 0) {
            continue;
        }
        any = true;
        if printer.is_json() {
            printer.document(&json!({
                "object": info.id.to_string(),
                "name": sleeper.name,
                "versions": versions,
                "refusals": refusals,
                "wake": moment::json(info.wake),
            }))?;
            continue;
        }
        let wake = info.wake.map_or("-".to_string(), |time| time.to_string());
        let name = sleeper.name.unwrap_or_default();
        let cells = [short(&info.id), versions.to_string(), refusals.to_string(), wake, name];
        table.row(printer, cells)?;
    }
    if any && !printer.is_json() {
        table.end(printer)?;
    }
    Ok(any)
}

/// Returns a line saying that nothing ran, and when the next cycle is due.
fn none_due(db: &Database) -> String {
    match (db.wake_count() as u64, db.next_wake()) {
        (_, None) => "no object was due, and no wake is set".to_string(),
        (1, Some(next)) => format!("no object was due: the only wake is at {next}"),
        (count, Some(next)) => {
            let count = grouped(count);
            format!("no object was due: the next of {count} wakes is at {next}")
        }
    }
}

/// Prints which wakes were due and made no version, and why; whether there are any.
fn print_overdue(db: &Database, printer: &mut Printer) -> Result<bool> {
    let (overdue, mut whys) = (db.overdue(), BTreeSet::new());
    for one in &overdue {
        let name = db.info(one.object)?.name;
        let (cause, why) = match &one.cause {
            Cause::Refused(verdict) => ("refused", format!("refused: {verdict}")),
            Cause::Ahead(by) => {
                let by = moment::show_span(*by);
                let why = format!("the object's time is {by} ahead of this host's clock");
                ("ahead", format!("{why}: --ahead accepts that"))
            }
            Cause::Failed(problem) => ("failed", format!("failed: {problem}")),
            _ => ("other", "the wake made no version".to_string()),
        };
        if printer.is_json() {
            printer.document(&json!({
                "object": one.object.to_string(),
                "name": name,
                "overdue": moment::json(one.wake),
                "cause": cause,
                "why": why,
                "retry": moment::json(one.retry),
            }))?;
            continue;
        }
        let name = name.map_or(String::new(), |name| format!(" {name}"));
        let (id, wake, retry) = (short(&one.object), one.wake, one.retry);
        printer.line(&format!("{id}{name}: due {wake}, {why}; again at {retry}"))?;
        whys.insert(why);
    }
    let count = grouped(overdue.len() as u64);
    match (whys.len(), whys.first()) {
        (1, Some(why)) => printer.line(&format!("{count} overdue, {why}"))?,
        (2.., _) => printer.line(&format!("{count} overdue"))?,
        _ => {}
    }
    Ok(!overdue.is_empty())
}

/// Prints how many messages were not delivered; whether there are any.
fn print_held(db: &Database, printer: &mut Printer) -> Result<bool> {
    let held = db.message_count() as u64;
    if held > 0 && !printer.is_json() {
        let why = "their receivers are ahead of this host's clock, or failed";
        printer.line(&format!("{} messages wait: {why}", grouped(held)))?;
    }
    Ok(held > 0)
}
