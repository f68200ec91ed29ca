//! The counters of a database, the text that programs read, and the spans that a subscriber sees.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use continuant::{
    Durability, Error, ErrorKind, Kind, Metrics, ObjectId, Options, Reason, Time, args, storage,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::disk::HeldDisk;
use crate::objects::{Fixture, OPEN, START, counter_code};

/// Anyone may do anything but add more than 1,000.
const LIMITED: &str = r#"@id("open") permit(principal, action, resource);
    @id("limit") forbid(principal, action == Action::"add", resource)
    when { context.input.amount > 1000 };"#;

/// Returns the counts that are not zero, by name.
fn some<T: Copy + Debug>(counts: impl Iterator<Item = (T, u64)>) -> String {
    let some = counts.filter(|(_, count)| *count > 0);
    some.map(|(of, count)| format!("{of:?} {count}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn steps_are_counted_by_kind_and_refusals_by_reason() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().refusals_max(3));
    assert_eq!(db.metrics().steps.sum(), 0);
    let id = db.create(counter_code(LIMITED)).unwrap();
    for _ in 0..3 {
        db.call(id, "add", args![1u64]).wait().unwrap();
    }
    db.write(id, vec![("total", 5u64.into())]).wait().unwrap();
    db.call(id, "ring", args![START + 10]).durability(Durability::Relaxed).wait().unwrap();
    db.run_until(Time::from_millis(START + 10)).unwrap();
    for method in ["spin", "fail", "deep"] {
        db.call(id, method, args![]).wait().unwrap_err();
    }
    // These refusals are not on record any more, but are still counted.
    for _ in 0..2 {
        db.call(id, "add", args![1001u64]).wait().unwrap_err();
    }
    let metrics = db.metrics();
    assert_eq!(some(metrics.steps.iter()), "Create 1, Call 4, Cycle 1, Write 1");
    let refused = "OutOfFuel 1, StackExhausted 1, Trap 1, Forbidden 2";
    assert_eq!(some(metrics.refusals.iter()), refused);
    assert_eq!((metrics.refusals.of(Reason::Forbidden), metrics.steps.of(Kind::Call)), (2, 4));
    assert_eq!(metrics.failures, 0);
    assert_eq!(metrics.step.count(), 6, "all but the creation");
    assert_eq!(metrics.commit.count(), 6);
    assert!(metrics.commit.quantile(0.5).unwrap() > Duration::ZERO);
    assert_eq!(metrics.slots_instantiated + metrics.slots_reused, 12, "refused ones as well");
    assert!((1..=2).contains(&metrics.slots_instantiated), "one a worker: {metrics:?}");
    assert_eq!(db.history(id).refused().count(), 3);
}

#[test]
fn wakes_are_counted_as_run_missed_and_late() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let never = r#"@id("calls") permit(principal, action, resource)
        unless { action == Action::"advance" };"#;
    let (runs, misses) = (counter_code(OPEN), counter_code(never));
    let [runs, misses] = [runs, misses].map(|code| db.create(code).unwrap());
    db.call(misses, "ring", args![START + 50]).wait().unwrap();
    db.call(runs, "ring", args![START + 1_000]).wait().unwrap();
    assert_eq!(db.metrics().wakes_armed, 2);
    db.run_until(Time::from_millis(START + 50)).unwrap();
    let metrics = db.metrics();
    let wakes = |it: &Metrics| [it.wakes_run, it.wakes_missed, it.wakes_late, it.wakes_armed];
    assert_eq!(wakes(&metrics), [0, 1, 0, 2]);
    assert_eq!((metrics.wakes_overdue, metrics.wakes_retried), (1, 0));
    assert_eq!(metrics.lateness.sum, Duration::ZERO);
    // The clock jumps: the first is due at 1000, the next two each a second later.
    db.run_until(Time::from_millis(START + 3_060)).unwrap();
    let metrics = db.metrics();
    assert_eq!(wakes(&metrics), [3, 1, 2, 2], "60 ms is not late");
    assert_eq!((metrics.wakes_overdue, metrics.wakes_retried), (1, 2), "at 1050 and 3050");
    assert_eq!((metrics.lateness.count(), metrics.lateness.sum.as_millis()), (4, 3_180));
    assert_eq!(metrics.steps.of(Kind::Cycle), 3);
}

#[test]
fn transactions_are_counted_by_what_became_of_them() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = [(); 2].map(|()| db.create(counter_code(LIMITED)).unwrap());
    let add = |amounts: [u64; 2]| {
        db.transaction(std::iter::zip(ids, amounts).map(|(id, by)| db.call(id, "add", args![by])))
    };
    add([1, 2]).wait().unwrap();
    add([1, 2]).wait().unwrap();
    add([1, 1001]).wait().unwrap_err();
    let metrics = db.metrics();
    let outcomes =
        |it: &Metrics| [it.transactions_committed, it.transactions_refused, it.transactions_failed];
    assert_eq!(outcomes(&metrics), [2, 1, 0]);
    assert_eq!(some(metrics.steps.iter()), "Create 2, Call 4");
    assert_eq!(some(metrics.refusals.iter()), "Forbidden 1");
    assert_eq!((metrics.commit.count(), metrics.log_frames), (2, 5), "one frame each");
}

#[test]
fn what_fails_is_no_refusal() {
    let disk = HeldDisk::default();
    let options = Options::new().storage(storage::Options::new().disk(Arc::new(disk.clone())));
    let db = options.cycles(false).open("db").unwrap();
    let ids = [(); 2].map(|()| db.create(counter_code(OPEN)).unwrap());
    disk.fail();
    db.call(ids[0], "add", args![1u64]).wait().unwrap_err();
    let before = db.metrics();
    assert_eq!((before.failures, before.commit.count()), (0, 0), "it was admitted, and then lost");
    db.call(ids[0], "add", args![1u64]).wait().unwrap_err();
    let both = ids.map(|id| db.call(id, "add", args![1u64]));
    db.transaction(both).wait().unwrap_err();
    let metrics = db.metrics();
    assert_eq!((metrics.failures, metrics.transactions_failed), (1, 1));
    assert_eq!((metrics.refusals.sum(), metrics.transactions_refused), (0, 0));
    assert_eq!(metrics.log_frames, before.log_frames);
}

#[test]
fn a_full_mailbox_is_counted() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().workers(1).mailbox_max(4));
    let id = db.create(counter_code(OPEN)).unwrap();
    let mut pending = vec![db.call(id, "spin", args![]).submit().unwrap()];
    let is_full = |error: Error| matches!(error.kind(), ErrorKind::MailboxFull { .. });
    loop {
        match db.call(id, "add", args![1u64]).submit() {
            Ok(more) => pending.push(more),
            Err(error) => break assert!(is_full(error)),
        }
        assert!(pending.len() < 100_000, "the mailbox never filled");
    }
    assert_eq!(db.metrics().letters_turned_away, 1);
    let transaction = db.transaction([db.call(id, "add", args![1u64])]).submit();
    let turned_away = 1 + u64::from(transaction.is_err_and(is_full));
    drop(pending.into_iter().map(|pending| pending.wait()).collect::<Vec<_>>());
    assert_eq!(db.metrics().letters_turned_away, turned_away);
}

#[test]
fn objects_come_into_memory_and_leave_it() {
    let fixture = Fixture::new();
    let one = fixture.open();
    let id = one.create(counter_code(OPEN)).unwrap();
    one.call(id, "add", args![1u64]).wait().unwrap();
    let max = 3 * one.metrics().resident_bytes;
    one.close().unwrap();
    let db = fixture.open_with(fixture.options().workers(1).resident_bytes_max(max));
    let ids: Vec<_> = (0..10).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    let check = |metrics: &Metrics| {
        assert!(metrics.resident_bytes <= max, "{metrics:?}");
        let left = 10 + metrics.objects_loaded - metrics.objects_evicted;
        assert_eq!(metrics.objects_resident, left);
    };
    let metrics = db.metrics();
    check(&metrics);
    assert_eq!(metrics.objects_loaded, 0);
    for id in &ids {
        db.call(*id, "add", args![1u64]).wait().unwrap();
    }
    db.run_until(Time::from_millis(START)).unwrap();
    let metrics = db.metrics();
    check(&metrics);
    assert_eq!(metrics.objects_resident, 3);
    assert!(metrics.objects_evicted > 0 && metrics.objects_loaded <= metrics.objects_evicted);
    db.snapshot(ids[9]).unwrap();
    db.call(ids[0], "add", args![1u64]).wait().unwrap();
    let loaded = db.metrics().objects_loaded;
    db.call(ids[9], "add", args![1u64]).wait().unwrap();
    assert_eq!(db.metrics().objects_loaded, loaded, "what was read lately stays");
}

#[test]
fn the_log_is_told_of_as_the_store_has_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    for _ in 0..5 {
        db.call(id, "add", args![1u64]).wait().unwrap();
    }
    let metrics = db.metrics();
    assert_eq!(metrics.log_frames, 6);
    assert!((1..=6).contains(&metrics.log_groups) && metrics.log_syncs >= metrics.log_groups);
    assert!(metrics.log_bytes > 6 * 480, "each has a header: {}", metrics.log_bytes);
    assert!(metrics.unindexed_bytes > 0 && metrics.unindexed_bytes < metrics.log_bytes);
    assert_eq!((metrics.evidence_leaves, db.evidence().size), (6, 6));
    let evidence = db.evidence();
    db.close().unwrap();
    let db = fixture.open();
    assert_eq!(db.evidence(), evidence);
    let metrics = db.metrics();
    assert_eq!(metrics.evidence_leaves, 6);
    assert_eq!((metrics.log_frames, metrics.unindexed_bytes), (0, 0), "closing wrote the index");
}

#[test]
fn metrics_are_printed_as_the_format_wants_it() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let id = db.create(counter_code(LIMITED)).unwrap();
    db.call(id, "ring", args![START + 7]).wait().unwrap();
    db.run_until(Time::from_millis(START + 7)).unwrap();
    db.call(id, "add", args![1001u64]).wait().unwrap_err();
    db.transaction([db.call(id, "add", args![1u64])]).wait().unwrap();
    let metrics = db.metrics();
    let text = metrics.open_metrics();
    let samples = check_open_metrics(&text);
    assert!(samples > 40, "{samples}");
    for line in [
        "# TYPE continuant_steps counter",
        "continuant_steps_total{kind=\"advance\"} 1",
        "continuant_refusals_total{reason=\"forbidden\"} 1",
        "continuant_transactions_total{outcome=\"committed\"} 1",
        "# UNIT continuant_commit_seconds seconds",
        "continuant_commit_seconds_count 3",
        "continuant_wake_lateness_seconds_sum 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing:\n{text}");
    }
    assert_eq!(Metrics::from_open_metrics(&text).unwrap(), metrics);
    let classic = metrics.prometheus();
    check_prometheus(&classic);
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_string).collect()
    };
    assert_eq!(samples(&classic), samples(&text));
    assert_eq!(Metrics::from_open_metrics(&classic).unwrap(), metrics);
    let json = metrics.json();
    assert_eq!((&json["steps"]["call"], &json["failures"]), (&2.into(), &0.into()));
    assert_eq!(json["commit_seconds"]["count"], 3);
    assert!(json["commit_seconds"]["p99"].as_f64().unwrap() > 0.0);
}

#[test]
fn text_that_is_not_of_metrics_is_an_error() {
    let text = Metrics::default().open_metrics();
    let unknown = text.replace("# EOF", "continuant_later_total 5\n# EOF");
    assert_eq!(Metrics::from_open_metrics(&unknown).unwrap(), Metrics::default());
    let bucket = "continuant_step_seconds_bucket{le=\"0.000001024\"} 0";
    assert!(text.contains(bucket));
    for (text, problem) in [
        (String::new(), "`# EOF` at the end"),
        (text.replace("# EOF", ""), "`# EOF` at the end"),
        ("# EOF".to_string(), "metrics of a database"),
        ("other_total 5\n# EOF".to_string(), "metrics of a database"),
        (text.replace("failures_total 0", "failures_total -1"), "a count, found -1"),
        (text.replace("uptime_seconds 0.0", "uptime_seconds 1e9"), "seconds, found 1e9"),
        (text.replace("failures_total 0", "failures_total"), "a sample and its value"),
        (text.replace(bucket, &bucket.replace("} 0", "} 9")), "buckets that add up, found 0"),
    ] {
        let error = Metrics::from_open_metrics(&text).unwrap_err().to_string();
        assert!(error.contains(problem), "{problem}: {error}");
    }
    for end in (0..text.len()).step_by(97) {
        Metrics::from_open_metrics(&text[..end]).unwrap_err();
    }
}

/// Holds text against Prometheus' own format: each sample is of the family before it, by the name
/// that a parser of that format looks for, and each family has a type and a help.
fn check_prometheus(text: &str) {
    let (mut family, mut kind, mut helped) = ("", "", true);
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            match words[..] {
                ["TYPE", name, of] => {
                    assert!(helped, "{family} has a help");
                    (family, kind, helped) = (name, of, false);
                    assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                }
                ["HELP", name, help] => {
                    helped = name == family && help.ends_with('.');
                }
                _ => panic!("{line}"),
            }
            continue;
        }
        let name = parse_sample(line).0;
        let suffixes: &[&str] = match kind {
            "histogram" => &["_bucket", "_sum", "_count"],
            "counter" | "gauge" => &[""],
            _ => panic!("{family} is a {kind}"),
        };
        let suffix = name.strip_prefix(family).expect(line);
        assert!(suffixes.contains(&suffix), "{line}");
    }
    assert!(helped);
}

/// Checks a text against the OpenMetrics format, line by line; returns how many samples it has.
fn check_open_metrics(text: &str) -> usize {
    let body = text.strip_suffix("# EOF\n").expect("the end is marked");
    let (mut families, mut samples) = (HashSet::new(), HashSet::new());
    let (mut family, mut kind, mut unit) = ("", "", "");
    // The last bucket's bound and count.
    let mut bucket = (f64::MIN, 0);
    for line in body.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let words: Vec<&str> = comment.splitn(3, ' ').collect();
            let [word, name, rest] = words[..] else { panic!("{line}") };
            match word {
                "TYPE" => {
                    assert!(["counter", "gauge", "histogram"].contains(&rest), "{line}");
                    assert!(families.insert(name), "a family stands in one place: {line}");
                    (family, kind, unit, bucket) = (name, rest, "", (f64::MIN, 0));
                    assert!(is_name(name) && !name.ends_with("_total"), "{line}");
                }
                "UNIT" => {
                    assert!(name == family && family.ends_with(&format!("_{rest}")), "{line}");
                    unit = rest;
                }
                "HELP" => assert!(name == family && !rest.contains('"'), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        assert!(samples.insert(line.rsplit_once(' ').expect(line).0), "twice: {line}");
        let (name, label, value) = parse_sample(line);
        let suffix = name.strip_prefix(family).expect(line);
        let number: f64 = value.parse().expect(line);
        assert!(number >= 0.0 && !value.contains('e'), "{line}");
        match (kind, suffix) {
            ("counter", "_total") | ("gauge", "") => assert_ne!(label.map(|it| it.0), Some("le")),
            ("histogram", "_bucket") => {
                let Some(("le", bound)) = label else { panic!("{line}") };
                let (bound, count) = (bound.replace("+Inf", "inf"), value.parse().expect(line));
                let bound: f64 = bound.parse().expect(line);
                assert!(bound > bucket.0 && count >= bucket.1, "buckets ascend: {line}");
                bucket = (bound, count);
            }
            ("histogram", "_count") => {
                assert_eq!(bucket, (f64::INFINITY, value.parse().expect(line)), "{line}");
            }
            ("histogram", "_sum") => assert_eq!(unit, "seconds"),
            _ => panic!("no sample of a {kind}: {line}"),
        }
    }
    samples.len()
}

/// A sample's name, its label if it has one, and its value.
fn parse_sample(line: &str) -> (&str, Option<(&str, &str)>, &str) {
    let (sample, value) = line.rsplit_once(' ').expect(line);
    let Some((name, labels)) = sample.split_once('{') else { return (sample, None, value) };
    let (label, quoted) = labels.strip_suffix("\"}").expect(line).split_once("=\"").expect(line);
    assert!(is_name(name) && is_name(label) && !quoted.contains(['"', '\\', '\n']), "{line}");
    (name, Some((label, quoted)), value)
}

fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'))
}

/// Keeps spans and events as text, each with the span that it was in.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Seen {
    fn keep(&self, what: &Metadata<'_>, record: impl FnOnce(&mut Text)) -> u64 {
        let mut text = Text(what.name().split_whitespace().next().unwrap().to_string());
        record(&mut text);
        let mut seen = self.0.lock().unwrap();
        seen.push(text.0);
        seen.len() as u64
    }

    /// Returns the spans and events about an object.
    fn about(&self, id: ObjectId) -> Vec<String> {
        let (seen, id) = (self.0.lock().unwrap(), format!(" object={id}"));
        let about = seen.iter().filter(|text| text.contains(&id));
        about.map(|text| text.replace(&id, "")).collect()
    }
}

impl Subscriber for Seen {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("continuant")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        Id::from_u64(self.keep(span.metadata(), |text| span.record(text)))
    }

    fn event(&self, event: &Event<'_>) {
        self.keep(event.metadata(), |text| event.record(text));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_subscriber_sees_a_step_its_refusal_and_the_group_that_it_is_in() {
    // The subscriber is of the whole process: other tests run beside it, with other objects.
    let seen = Seen::default();
    tracing::subscriber::set_global_default(seen.clone()).unwrap();
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(LIMITED)).unwrap();
    db.call(id, "add", args![1u64]).wait().unwrap();
    db.call(id, "add", args![1001u64]).wait().unwrap_err();
    let add = |seq| format!("step seq={seq} kind=\"call\" action=\"add\"");
    let refused = "event message=refused reason=\"forbidden\" rules=[\"limit\"] detail=\"\"";
    assert_eq!(seen.about(id), [&add(1), &add(2), refused]);
    let all = seen.0.lock().unwrap().clone();
    assert!(all.iter().any(|text| text.starts_with("event message=admitted fuel=")), "{all:?}");
    let is_group = |text: &String| text.starts_with("group start=") && text.contains(" frames=1 ");
    assert!(all.iter().any(is_group), "{all:?}");
}
