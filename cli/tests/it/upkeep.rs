//! Backups, restoring, retention and compaction.

use continuant::{Code, Database, Options, args, storage};
use expect_test::expect_file;
use serde_json::Value;

use crate::objects;
use crate::terminal::Terminal;

fn json(terminal: &Terminal, line: &str) -> Value {
    serde_json::from_str(&terminal.run(&format!("{line} --json")).done()).unwrap()
}

#[test]
fn a_backup_is_brought_up_to_date_and_restored_as_of_any_moment() {
    let terminal = Terminal::with_visits();
    let first = json(&terminal, "call visits increment 2");
    let made = json(&terminal, "backup visits.backup");
    assert_eq!(made["bytes"], made["new_bytes"]);
    // Time goes on from one to the other, however short.
    while json(&terminal, "call visits increment 1")["time"] == first["time"] {}
    let updated = json(&terminal, "backup visits.backup");
    let bytes = |report: &Value, name: &str| report[name].as_u64().unwrap();
    assert!(bytes(&updated, "new_bytes") < bytes(&updated, "bytes"), "{updated}");
    let again = terminal.run("backup visits.backup").done();
    assert!(again.contains("new      0"), "{again}");

    terminal.run("restore visits.backup --db all").done();
    let count = terminal.run("get visits count").done();
    assert_eq!(terminal.run("get visits count --db all").done(), count);
    terminal.run("verify visits --replay --db all").done();
    let time = first["time"].as_str().unwrap();
    terminal.run(&format!("restore visits.backup --db then --until {time}")).done();
    assert!(terminal.run("get visits count --db then").done() < count);
    terminal.run("call visits increment 5 --db then").done();
}

/// A terminal with a database of many small segments: an object `visits` with so many versions.
fn with_a_long_history(count: u64) -> Terminal {
    let terminal = Terminal::new();
    let small = storage::Options::new().segment_bytes(64 << 10);
    let db: Database = Options::new().storage(small).open(terminal.path("continuant.db")).unwrap();
    let code = Code::wasm(objects::module()).unwrap().policy(objects::policy("nobody"));
    let id = db.create(code.args(args!["welcome"]).name("visits")).unwrap();
    let calls: Vec<_> =
        (0..count).map(|_| db.call(id, "increment", args![1u64]).submit().unwrap()).collect();
    calls.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    db.close().unwrap();
    terminal
}

#[test]
fn what_is_not_retained_goes_with_the_next_compaction() {
    let terminal = with_a_long_history(1000);
    assert_eq!(json(&terminal, "retain")["versions"], Value::Null);
    assert_eq!(json(&terminal, "retain visits --versions 3")["versions"], 3);
    terminal.run("retain --age 30d").done();
    let shown = terminal.run("retain visits").done();
    assert!(shown.contains("3 versions"), "{shown}");
    terminal.run("at visits 1").done();
    let compacted = json(&terminal, "compact");
    let number = |name: &str| compacted[name].as_u64().unwrap();
    assert!(number("segments") > 0 && number("versions_dropped") > 0, "{compacted}");
    assert!(number("bytes_after") < number("bytes_before"), "{compacted}");
    assert_eq!(json(&terminal, "compact")["versions_dropped"], 0);
    let gone = terminal.run("at visits 1 --json");
    assert_eq!(gone.code, Some(5), "{}", gone.stderr);
    assert!(gone.stderr.contains("\"pruned\""), "{}", gone.stderr);
    terminal.run("at visits 999").done();
    assert_eq!(terminal.run("get visits count").done(), "1000\n");
    terminal.run("verify visits").done();
    terminal.run("check").done();
    terminal.run("call visits increment 1").done();
}

#[test]
fn what_cannot_be_backed_up_or_restored() {
    let terminal = Terminal::with_visits();
    terminal.write("full/file", "");
    terminal.run("init --db other").done();
    terminal.run("backup others --db other").done();
    let lines = [
        "backup full",
        "backup others",
        "backup continuant.db",
        "restore nowhere --db new",
        "restore others",
        "restore others --db full",
        "retain --all --versions 3",
        "retain --versions 0",
        "retain guests",
        "--json backup full",
    ];
    terminal.check(&lines, expect_file!["transcripts/unkept.txt"]);
}
