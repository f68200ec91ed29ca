//! Clocks: objects ahead of the host's clock, overdue wakes, and the ages of versions.

use std::time::Duration;

use continuant::storage::{self, Retention};
use continuant::{Clock, Code, Database, Options, Time, args};
use serde_json::Value;

use crate::objects;
use crate::terminal::Terminal;

const DAY: u64 = 24 * 60 * 60 * 1000;

fn json(terminal: &Terminal, line: &str) -> Vec<Value> {
    let printed = terminal.run(&format!("{line} --json")).done();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Makes a database `name` of a host with this clock: an object `visits` of 501 versions, with a
/// retention of a day.
fn of_a_host(terminal: &Terminal, name: &str, now: u64) {
    let small = storage::Options::new().segment_bytes(64 << 10);
    let options = Options::new().clock(Clock::manual(Time::from_millis(now))).storage(small);
    let db: Database = options.open(terminal.path(name)).unwrap();
    let code = Code::wasm(objects::module()).unwrap().policy(objects::policy(objects::NOBODY));
    let id = db.create(code.args(args!["welcome"]).name("visits")).unwrap();
    let calls: Vec<_> =
        (0..500).map(|_| db.call(id, "increment", args![1u64]).submit().unwrap()).collect();
    calls.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    db.set_retention(None, Retention::Age(Duration::from_millis(DAY))).unwrap();
    db.close().unwrap();
}

#[test]
fn what_is_ahead_of_the_clock_is_said_and_asked_for_by_request() {
    let terminal = Terminal::new();
    of_a_host(
        &terminal,
        "theirs",
        (Clock::system().now().saturating_add(Duration::from_millis(30 * DAY))).as_millis(),
    );
    terminal.run("export visits visits.continuant --db theirs").done();
    let shown = terminal.run("verify visits.continuant").done();
    assert!(shown.contains("ahead of this host's clock"), "{shown}");
    let is_ahead = |document: &Value| document["ahead_ms"].as_u64().unwrap() > 29 * DAY;
    assert!(is_ahead(&json(&terminal, "verify visits.continuant")[0]));
    let imported = json(&terminal, "import visits.continuant");
    assert!(is_ahead(&imported[0]), "{imported:?}");
    let id = imported[0]["object"].as_str().unwrap().to_string();
    for line in ["list", &format!("show {id}"), &format!("verify {id}")] {
        let documents = json(&terminal, line);
        assert!(is_ahead(&documents[0]), "{line}: {documents:?}");
        let shown = terminal.run(line).done();
        assert!(shown.contains(" ahead"), "{line}: {shown}");
    }
    let checked = json(&terminal, "check");
    assert_eq!(
        (&checked[0]["ahead"]["objects"], &checked[0]["ahead"]["object"]),
        (&Value::from(1), &Value::from(id.as_str()))
    );
    let shown = terminal.run("check").done();
    assert!(shown.contains("ahead of clock"), "{shown}");

    let refused = terminal.run(&format!("call {id} increment 1 --json"));
    assert_eq!(refused.code, Some(1));
    assert!(
        refused.stderr.contains("\"ahead\"") && refused.stderr.contains("--ahead"),
        "{}",
        refused.stderr
    );
    let told = terminal.run(&format!("dry-run {id} increment 1"));
    assert_eq!(told.code, Some(1), "{}", told.stderr);
    terminal.run(&format!("dry-run {id} increment 1 --ahead")).done();
    terminal.run("key new some.key").done();
    for _ in 0..3 {
        terminal.run(&format!("call {id} increment 1 --ahead --sign some.key")).done();
    }
    assert_eq!(terminal.run(&format!("get {id} count")).done(), "503\n");
    terminal.run(&format!("verify {id} --replay")).done();
}

#[test]
fn compaction_counts_ages_from_the_newest_on_record_unless_the_clock_is_trusted() {
    let terminal = Terminal::new();
    of_a_host(
        &terminal,
        "continuant.db",
        (Clock::system().now().saturating_sub(Duration::from_millis(30 * DAY))).as_millis(),
    );
    let compacted = &json(&terminal, "compact")[0];
    assert_eq!(compacted["versions_dropped"], 0, "{compacted}");
    assert!(compacted["ages_from"].is_string(), "{compacted}");
    let shown = terminal.run("compact").done();
    assert!(shown.contains("--trust-clock counts from the clock instead"), "{shown}");
    terminal.run("at visits 1").done();
    let compacted = &json(&terminal, "compact --trust-clock")[0];
    assert!(compacted["versions_dropped"].as_u64().unwrap() > 100, "{compacted}");
    assert_eq!(terminal.run("at visits 1").code, Some(5));
}

/// Regression: one wake that ran under a clock a year ahead made all other history old.
#[test]
fn a_wake_that_ran_by_a_clock_a_year_ahead_lets_no_history_go() {
    let terminal = Terminal::new();
    let past = Clock::system().now().as_millis() - 365 * DAY;
    of_a_host(&terminal, "continuant.db", past);
    // By this host's clock, which is a year ahead of that one, another object is made.
    terminal.write("object.wasm", objects::module());
    terminal.write("policy.cedar", objects::policy(objects::NOBODY));
    terminal.run("create object.wasm late --policy policy.cedar").done();
    let shown = terminal.run("compact --all --json");
    let compacted: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(compacted["versions_dropped"], 0, "{compacted}");
    assert!(compacted["ages_from"].is_null(), "{compacted}");
    let jump = &compacted["clock_jump"];
    assert!(jump["from"].is_string() && jump["to"].is_string(), "{compacted}");
    let shown = terminal.run("compact --all");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let note = "nothing was dropped by age: the times on record jump";
    assert!(shown.stderr.contains(note), "{shown:?}");
    assert!(shown.stderr.contains("--trust-clock counts ages from it"), "{shown:?}");
    terminal.run("at visits 1").done();
    let compacted = &json(&terminal, "compact --all --trust-clock")[0];
    assert!(compacted["versions_dropped"].as_u64().unwrap() > 400, "{compacted}");
    assert!(compacted["clock_jump"].is_null(), "{compacted}");
    assert_eq!(terminal.run("at visits 1").code, Some(5));
}

#[test]
fn run_says_which_wakes_are_overdue_and_why() {
    let terminal = Terminal::with_visits();
    let policy = objects::policy(&terminal.owner())
        + "@id(\"never\") forbid(principal, action == Action::\"advance\", resource);\n";
    terminal.write("never.cedar", policy);
    terminal.run("create object.wasm bell --policy never.cedar --name bell").done();
    terminal.run("call bell ring").done();
    let ran = terminal.run("run").done();
    assert!(ran.ends_with("1 overdue, refused: forbidden by never\n"), "{ran}");
    assert!(ran.contains("bell: due "), "{ran}");
    for _ in 0..2 {
        let ran = json(&terminal, "run");
        assert_eq!(ran.len(), 1, "nothing new is on record: {ran:?}");
        assert_eq!((&ran[0]["name"], &ran[0]["cause"]), (&"bell".into(), &"refused".into()));
        assert_eq!(ran[0]["why"], "refused: forbidden by never");
        assert!(ran[0]["overdue"].is_string() && ran[0]["retry"].is_string(), "{ran:?}");
    }
    assert_eq!(json(&terminal, "list --name bell")[0]["refusals"], 1);
    terminal.run("run --metrics fleet.prom").done();
    let metrics = std::fs::read_to_string(terminal.path("fleet.prom")).unwrap();
    assert!(metrics.contains("wakes_overdue 1\n"), "{metrics}");
    let asked = terminal.run("advance bell");
    assert_eq!(asked.code, Some(3), "{}", asked.stderr);
    assert_eq!(json(&terminal, "list --name bell")[0]["refusals"], 2, "someone asked");
}

/// A session counts by the host's clock, and an object by its own time.
#[test]
fn a_session_of_an_object_that_is_ahead_ends_sooner_and_that_is_said() {
    const MINUTE: u64 = 60 * 1000;
    let terminal = Terminal::new();
    terminal.run("key new owner.key").done();
    let opens =
        "@id(\"opens\") permit(principal is Key, action == Action::\"open_session\", resource);";
    for (name, ahead) in [("near", 0), ("ahead", 4 * MINUTE)] {
        let clock =
            Clock::manual(Clock::system().now().saturating_add(Duration::from_millis(ahead)));
        let db = Options::new().clock(clock).open(terminal.path(name)).unwrap();
        let policy = objects::policy(&terminal.owner()) + opens;
        let code = Code::wasm(objects::module()).unwrap().policy(policy);
        db.create(code.args(args!["welcome"]).name("visits")).unwrap();
        db.close().unwrap();
    }
    for (name, span) in [("short", "1m"), ("long", "1h")] {
        terminal.run(&format!("session new {name}.session --for {span}")).done();
    }
    let open = |db: &str, session: &str| {
        terminal.run(&format!("session open visits {session}.session --sign owner.key --db {db}"))
    };
    for session in ["short", "long"] {
        let opened = open("near", session);
        assert_eq!((opened.code, &*opened.stderr), (Some(0), ""), "{opened:?}");
    }
    let opened = open("ahead", "long");
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let note = "note: visits is 3m";
    assert!(opened.stderr.starts_with(note), "{opened:?}");
    assert!(opened.stderr.contains("for it the session ends in 5"), "{opened:?}");
    let expired = open("ahead", "short");
    assert_eq!(expired.code, Some(3), "{expired:?}");
    assert!(expired.stderr.starts_with(note), "{expired:?}");
    assert!(expired.stderr.contains("for it the session has ended already"), "{expired:?}");
    let told = "ahead of this host's clock, and decides what has expired (";
    assert!(expired.stderr.contains(told), "{expired:?}");
    // An expiry given as a span is as clear.
    let call = "call visits increment 1 --sign owner.key --expires 1m --db ahead";
    let expired = terminal.run(call);
    assert_eq!(expired.code, Some(3), "{expired:?}");
    assert!(expired.stderr.contains("expired: ") && expired.stderr.contains(told), "{expired:?}");
    let call = "call visits increment 1 --session long.session --db ahead";
    terminal.run(call).done();
}
