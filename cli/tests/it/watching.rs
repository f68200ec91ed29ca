//! Watching a database while it runs: in its own process, and from a file.

use continuant::Metrics;
use serde_json::Value as Json;

use crate::terminal::Terminal;

/// The documents that were printed.
fn documents(printed: &str) -> Vec<Json> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_database_is_watched_while_its_cycles_run() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    let documents = documents(&terminal.run("run --for 30ms --top --every 10ms --json").done());
    let (last, looks) = documents.split_last().unwrap();
    assert_eq!((&last["name"], &last["versions"]), (&"visits".into(), &1.into()));
    assert!(looks.iter().all(|look| look["metrics"].is_object()) && !looks.is_empty());
    let metrics = &looks.last().unwrap()["metrics"];
    assert_eq!((&metrics["steps"]["advance"], &metrics["wakes_run"]), (&1.into(), &1.into()));
    assert_eq!(metrics["commit_seconds"]["count"], 1);
    terminal.run("call visits ring").done();
    let shown = terminal.run("run --for 1ms --top").done();
    for line in ["steps", "commit time", "refusals", "wakes", "log"] {
        assert!(shown.lines().any(|shown| shown.starts_with(line)), "{line}: {shown}");
    }
    assert!(shown.contains(", advance ") && shown.contains("visits"), "{shown}");
}

#[test]
fn metrics_are_written_to_a_file_and_watched_there() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    terminal.run("run --metrics visits.prom").done();
    let text = std::fs::read_to_string(terminal.path("visits.prom")).unwrap();
    let metrics = Metrics::from_open_metrics(&text).unwrap();
    assert_eq!((metrics.wakes_run, metrics.steps.sum()), (1, 1));
    assert!(!terminal.path("visits.prom.new").exists());
    let shown = terminal.run("top visits.prom --for 20ms --every 5ms").done();
    assert!(shown.starts_with("visits.prom, written ") && shown.contains(", advance "), "{shown}");
    let looks = documents(&terminal.run("--json top visits.prom --for 0ms").done());
    assert_eq!((looks.len(), &looks[0]["metrics"]), (1, &metrics.json()));
}

#[test]
fn what_cannot_be_watched_is_said() {
    let terminal = Terminal::with_visits();
    let missing = terminal.run("top missing.prom");
    assert_eq!(missing.code, Some(1));
    assert!(missing.stderr.starts_with("error: reading missing.prom: "), "{}", missing.stderr);
    let other = terminal.run("top policy.cedar");
    let problem = "policy.cedar: metrics: expected `# EOF` at the end, found other text";
    assert_eq!((other.code, other.stderr), (Some(1), format!("error: {problem}\n")));
    let unwritten = terminal.run("run --metrics missing/visits.prom");
    assert!(unwritten.stderr.starts_with("error: writing missing/visits.prom: "));
}

#[test]
fn figures_as_large_as_can_be_are_shown() {
    let terminal = Terminal::new();
    let text = Metrics::default().open_metrics();
    let lines = text.lines().map(|line| match line.rsplit_once(' ') {
        Some((sample, "0")) => format!("{sample} {}\n", u64::MAX),
        Some((sample, "0.0")) => format!("{sample} {}.999999999\n", u64::MAX),
        _ => format!("{line}\n"),
    });
    terminal.write("large.prom", lines.collect::<String>());
    let shown = terminal.run("top large.prom --for 0ms").done();
    assert!(shown.contains("18,446,744,073,709,551,615 waiting"), "{shown}");
    let json = terminal.run("--json top large.prom --for 0ms").done();
    assert_eq!(documents(&json)[0]["metrics"]["failures"], u64::MAX);
}

/// Only the closed pipe ends it.
#[test]
fn a_reader_that_goes_away_ends_the_watching() {
    let terminal = Terminal::with_visits();
    terminal.run("run --metrics visits.prom").done();
    for line in ["run --top --every 1ms", "top visits.prom --every 1ms"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = terminal.command(line).stdout(writer).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*stderr), (Some(0), ""), "{line}");
    }
    terminal.run("verify visits --replay").done();
}
