//! Commands that found nothing or did nothing: their output and exit code.

use continuant::Time;
use expect_test::{expect, expect_file};
use serde_json::Value as Json;

use crate::objects;
use crate::terminal::Terminal;

#[test]
fn what_is_nothing_is_said() {
    let terminal = Terminal::with_visits();
    terminal.run("init --db none").done();
    terminal.write("second.wasm", objects::second());
    terminal.write("empty.continuant", "");
    let lines = [
        "list --db none",
        "list --json --db none",
        "list --name x",
        "list --changed-since 2999-01-01",
        "history visits --since 2999-01-01",
        "history visits --refused",
        "history visits --refused --json",
        "dead-letters",
        "dead-letters --json",
        "outbox",
        "outbox mail --new",
        "outbox mail --json",
        "run",
        "run --json",
        "retain visits --all",
        "verify --all --db none",
        "policy check visits policy.cedar",
        "policy check visits policy.cedar --last 0",
        "list --limit 0",
        "history visits --limit 0",
        "history visits --refused --limit 0",
        "retain visits --age 1ms",
        "upgrade visits object.wasm",
        "upgrade visits object.wasm --dry-run",
        "import empty.continuant",
        "verify empty.continuant",
    ];
    terminal.check(&lines, expect_file!["transcripts/empties.txt"]);
}

#[test]
fn a_fleet_of_a_code_that_no_object_has_is_none() {
    let terminal = Terminal::with_visits();
    terminal.write("second.wasm", objects::second());
    let shown: Json = serde_json::from_str(&terminal.run("show visits --json").done()).unwrap();
    let code = shown["code"].as_str().unwrap().to_string();
    let other = terminal.run(&format!("upgrade --all-of {} second.wasm", "5".repeat(64)));
    assert_eq!(other.code, Some(5), "{}", other.stderr);
    assert!(other.stderr.starts_with("error: no object has the code 555"), "{}", other.stderr);
    let same = terminal.run(&format!("upgrade --all-of {code} object.wasm"));
    assert_eq!(
        (same.code, &*same.stderr),
        (Some(2), "error: object.wasm is the code that the objects have already\n")
    );
    // The first digits do, if no other code begins so.
    let (short, wrong) = (&code[..10], if code.starts_with('0') { "1" } else { "0" });
    let listed = terminal.run(&format!("list --code {short} --json")).done();
    assert_eq!(listed.lines().count(), 1);
    let none = terminal.run(&format!("list --code {wrong}{short}"));
    assert_eq!(none.code, Some(5), "{}", none.stderr);
    let bad = terminal.run("list --code gg");
    assert_eq!(bad.code, Some(2), "{}", bad.stderr);
    let kept = terminal.run(&format!("upgrade --all-of {short} second.wasm"));
    assert_eq!(kept.code, Some(3), "it stays as it is, and was found: {}", kept.stderr);
}

#[test]
fn a_run_says_how_many_wait_and_until_when() {
    let terminal = Terminal::new();
    let db = continuant::Options::new()
        .clock(continuant::Clock::manual(Time::from_millis(32_503_680_000_000)))
        .open(terminal.path("continuant.db"))
        .unwrap();
    let code = continuant::Code::wasm(objects::module()).unwrap();
    let code = code.policy(objects::policy(objects::NOBODY)).args(continuant::args!["welcome"]);
    for _ in 0..3 {
        let id = db.create(code.clone()).unwrap();
        db.call(id, "ring", vec![]).wait().unwrap();
    }
    db.close().unwrap();
    let shown = terminal.run("run").done();
    expect![[r#"
        no object was due: the next of 3 wakes is at 3000-01-01T00:00:00.001Z
    "#]]
    .assert_eq(&shown);
}

#[test]
fn what_is_fuzzed_and_never_admitted_was_not_checked() {
    let terminal = Terminal::with_visits();
    terminal.write("none.cedar", "");
    let fuzzed = terminal.run("fuzz object.wasm --policy none.cedar --steps 200 --seed 1");
    assert_eq!(fuzzed.code, Some(1), "{}", fuzzed.stderr);
    assert!(fuzzed.stderr.contains("only creations were ever admitted"), "{}", fuzzed.stderr);
}

#[test]
fn an_explanation_without_a_rule_says_so() {
    let terminal = Terminal::with_visits();
    terminal.write(
        "one.cedar",
        "@id(\"ring\") permit(principal, action == Action::\"ring\", resource);",
    );
    terminal.run("create object.wasm two --policy one.cedar --name one").done();
    let refused = terminal.run("call one increment 1");
    assert_eq!(refused.code, Some(3));
    let told = terminal.run("explain one --refusal 1").done();
    let last = told.lines().last().unwrap();
    let because = "no rule permits `increment`: rules permit ring; what no rule permits is refused";
    assert_eq!(last, format!("because    {because}"));
}
