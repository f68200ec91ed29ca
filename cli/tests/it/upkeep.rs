//! Backups, restoring, retention and compaction.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use continuant::{Clock, Code, Database, Options, Time, args, storage};
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
    // Time passes between the two, however little.
    while json(&terminal, "call visits increment 1")["time"] == first["time"] {}
    let updated = json(&terminal, "backup visits.backup");
    let bytes = |report: &Value, name: &str| report[name].as_u64().unwrap();
    assert!(bytes(&updated, "new_bytes") < bytes(&updated, "bytes"), "{updated}");
    let again = terminal.run("backup visits.backup").done();
    let is_nothing = |line: &str| line.split_whitespace().eq(["new", "0"]);
    assert!(again.lines().any(is_nothing), "{again}");
    let made = |line: &&str| line.starts_with("creations and imports  1");
    assert_eq!(again.lines().filter(made).count(), 1, "{again}");

    terminal.run("restore visits.backup --db all").done();
    let count = terminal.run("get visits count").done();
    assert_eq!(terminal.run("get visits count --db all").done(), count);
    terminal.run("verify visits --replay --db all").done();
    let time = first["time"].as_str().unwrap();
    terminal.run(&format!("restore visits.backup --db then --until {time}")).done();
    assert!(terminal.run("get visits count --db then").done() < count);
    terminal.run("call visits increment 5 --db then").done();
}

/// Returns a terminal with a database of many small segments: an object `visits` with `count`
/// versions.
fn with_a_long_history(count: u64) -> Terminal {
    let terminal = Terminal::new();
    let small = storage::Options::new().segment_bytes(64 << 10);
    let db: Database = Options::new().storage(small).open(terminal.path("continuant.db")).unwrap();
    let code = Code::wasm(objects::module()).unwrap().policy(objects::policy(objects::NOBODY));
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

/// Regression: of a whole database it was not said that nothing was left to replay.
#[test]
fn what_is_verified_by_header_only_is_said_of_all_objects_too() {
    let terminal = Terminal::with_visits();
    for _ in 0..3 {
        terminal.run("call visits increment 1").done();
    }
    let create = "create object.wasm welcome --policy policy.cedar --name other";
    terminal.run(create).done();
    terminal.run("retain visits --versions 1").done();
    terminal.run("compact --all").done();
    let row = |line: &str, label: &str| {
        let told = terminal.run(line).done();
        let row = told.lines().find_map(|row| row.strip_prefix(label));
        row.map(|row| row.trim().to_string())
    };
    for (line, headers, outcome) in [
        ("verify visits", "4", "verified"),
        ("verify visits --replay", "4", "verified, with nothing to replay"),
        ("verify", "4", "verified"),
        ("verify --replay", "4", "verified, replayed"),
    ] {
        assert_eq!(row(line, "by header only").as_deref(), Some(headers), "{line}");
        let label = if line.contains("visits") { "lineage " } else { "lineages " };
        assert_eq!(row(line, label).as_deref(), Some(outcome), "{line}");
    }
    assert_eq!(row("verify other --replay", "by header only"), None);
    let told = terminal.run("verify --replay --json").done();
    let mut replayed = Vec::new();
    for document in told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        replayed.push((document["headers_only"].as_u64(), document["replayed"].as_bool()));
    }
    replayed.sort_unstable();
    assert_eq!(replayed, [(Some(0), Some(true)), (Some(4), Some(false))]);
    terminal.run("retain --versions 1").done();
    terminal.run("call other increment 1").done();
    terminal.run("compact --all").done();
    let outcome = row("verify --replay", "lineages ");
    assert_eq!(outcome.as_deref(), Some("verified, with nothing to replay"));
}

/// Bytes that the file system holds for a directory.
fn held(path: &Path) -> u64 {
    let paths = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let held = |path: &PathBuf| path.metadata().unwrap().blocks() * 512;
    paths.map(|path| if path.is_dir() { self::held(&path) } else { held(&path) }).sum()
}

#[test]
fn compaction_says_what_it_did_not_do_and_with_all_does_it() {
    let terminal = Terminal::with_visits();
    for _ in 0..3 {
        terminal.run("call visits increment 1").done();
    }
    terminal.run("retain --versions 1").done();
    let nothing = terminal.run("compact").done();
    assert!(nothing.contains("nothing was compacted: no segment of the log is full"), "{nothing}");
    assert!(nothing.contains("`compact --all` closes and compacts it"), "{nothing}");
    terminal.run("at visits 1").done();
    let before = held(&terminal.path("continuant.db"));
    let compacted = json(&terminal, "compact --all");
    let number = |name: &str| compacted[name].as_u64().unwrap();
    assert_eq!((number("segments"), number("versions_dropped")), (1, 3), "{compacted}");
    assert_eq!(number("bytes_before"), before);
    assert_eq!(number("bytes_after"), held(&terminal.path("continuant.db")));
    assert_eq!(terminal.run("at visits 1").code, Some(5));
    let again = terminal.run("compact --all").done();
    assert!(again.contains("nothing was compacted: 1 segments are as compact"), "{again}");
    assert_eq!(terminal.run("get visits count").done(), "3\n");
    terminal.run("check").done();
}

#[test]
fn an_outbox_is_made_on_request_listed_and_removed() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    let missing = terminal.run("outbox mial");
    assert_eq!(missing.code, Some(5), "{}", missing.stderr);
    assert!(missing.stderr.contains("--new makes one"), "{}", missing.stderr);
    assert_eq!(terminal.run("outbox mial --remove").code, Some(5));
    let none = terminal.run("outbox --json");
    assert_eq!((none.code, &*none.stdout), (Some(0), ""), "to ask for one makes none");
    assert!(none.stderr.contains("there is no outbox"), "{}", none.stderr);
    let given = json(&terminal, "outbox mail --new");
    assert_eq!(given["output"]["name"], "rung", "{given}");
    assert_eq!(terminal.run("outbox mail --new").code, Some(1));
    terminal.run("outbox idle --new --peek").done();
    assert_eq!(terminal.run("outbox mail --json").code, Some(0));
    let listed = terminal.run("outbox --json").done();
    let listed: Vec<Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&listed[0]["outbox"], &listed[0]["outputs_behind"]), (&"idle".into(), &1.into()));
    assert!(listed[0]["bytes_held"].as_u64() > Some(0) && listed[0]["acknowledged"].is_null());
    assert_eq!((&listed[1]["outbox"], &listed[1]["outputs_behind"]), (&"mail".into(), &0.into()));
    assert_eq!(listed[1]["bytes_held"], 0);
    assert_eq!(listed[1]["acknowledged"], given["time"]);
    let table = terminal.run("outbox").done();
    assert!(table.contains("outputs not given") && table.contains("idle"), "{table}");
    // The outbox holds back the version whose output it has not given, and compaction says so.
    terminal.run("call visits increment 1").done();
    terminal.run("retain --versions 1").done();
    let held = terminal.run("compact --all").done();
    assert!(held.contains("versions held              1"), "{held}");
    assert!(held.contains("see `outbox`"), "{held}");
    assert_eq!(json(&terminal, "outbox idle --remove")["removed"], true);
    assert_eq!(json(&terminal, "compact --all")["versions_dropped"], 1);
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

/// Regression: changes written to a backup were in no later backup, and none continued it any more.
#[test]
fn a_backup_is_read_and_not_written_to() {
    let terminal = Terminal::with_visits();
    terminal.run("backup kept").done();
    for line in [
        "call visits increment 1 --db kept",
        "create object.wasm a --policy policy.cedar --db kept",
    ] {
        let refused = terminal.run(line);
        assert_eq!(refused.code, Some(1), "{line}: {}", refused.stdout);
        assert!(
            refused.stderr.starts_with("error: kept is a backup: "),
            "{line}: {}",
            refused.stderr
        );
    }
    assert_eq!(terminal.run("get visits count --db kept").done(), "0\n");
    terminal.run("call visits increment 1").done();
    terminal.run("backup kept").done();
    terminal.run("restore kept --db again").done();
    assert_eq!(terminal.run("get visits count --db again").done(), "1\n");
}

#[test]
fn a_restore_to_a_time_of_which_retention_kept_no_state_says_so_and_makes_nothing() {
    let terminal = Terminal::with_visits();
    let first = json(&terminal, "call visits increment 1");
    let then = first["time"].as_str().unwrap().to_string();
    while json(&terminal, "call visits increment 1")["time"] == first["time"] {}
    let newest = terminal.run("get visits count").done();
    terminal.run("backup whole").done();
    terminal.run(&format!("restore whole --db one --until {then}")).done();
    terminal.run("retain visits --versions 1").done();
    terminal.run("compact --all").done();
    terminal.run("backup trimmed").done();
    // A backup that had them says what it has no more, once.
    std::fs::create_dir_all(terminal.path("again/log")).unwrap();
    for name in ["continuant.db", "backup.witness", "log/00000001.log"] {
        let (from, to) = (format!("whole/{name}"), format!("again/{name}"));
        std::fs::copy(terminal.path(&from), terminal.path(&to)).unwrap();
    }
    let followed = terminal.run("backup again");
    let dropped = json(&terminal, "show visits")["seq"].as_u64().unwrap();
    let told = format!("note: the backup had {dropped} versions whole of which it has the headers");
    assert!(followed.code == Some(0) && followed.stderr.starts_with(&told), "{followed:?}");
    let followed = terminal.run("backup whole --json");
    let told: Value = serde_json::from_str(&followed.stdout).unwrap();
    assert_eq!(told["versions_dropped"], dropped);
    let noted: Value = serde_json::from_str(&followed.stderr).unwrap();
    assert_eq!(noted["note"]["kind"], "versions-dropped");
    assert_eq!(json(&terminal, "backup whole")["versions_dropped"], 0);
    assert_eq!(terminal.run("backup whole").stderr, "");
    let restored = terminal.run(&format!("restore trimmed --db two --until {then}"));
    assert_eq!(restored.code, Some(4), "{}", restored.stdout);
    let told =
        "error: trimmed: retention has dropped the state that 1 objects had at that time: visits";
    assert!(restored.stderr.starts_with(told), "{}", restored.stderr);
    assert!(!terminal.path("two").exists());
    // The error names the first position from which a state is kept.
    let place = restored.stderr.split("--until-position ").nth(1).unwrap();
    let place = place.split_whitespace().next().unwrap();
    terminal.run(&format!("restore trimmed --db later --until-position {place}")).done();
    assert_eq!(terminal.run("get visits count --db later").done(), newest);
    let line = format!("restore trimmed --db two --until {then} --allow-pruned --json");
    let restored = json(&terminal, line.trim_end_matches(" --json"));
    assert_eq!(restored["objects_without_state"], 1, "{restored}");
    assert_eq!(terminal.run("get visits count --db two").code, Some(5));
    terminal.run("history visits --db two").done();
    for line in ["verify visits --db two", "verify visits --replay --db two"] {
        let verified = terminal.run(line);
        assert_eq!(verified.code, Some(4), "{}", verified.stderr);
        let told = "retention dropped the state of its newest version here, 1: it kept versions";
        assert!(verified.stderr.contains(told), "{}", verified.stderr);
    }
    terminal.run("restore trimmed --db three").done();
}

/// The terminal's database, under a clock that stands.
fn at_time(terminal: &Terminal, now: u64) -> Database {
    let options = Options::new().clock(Clock::manual(Time::from_millis(now))).cycles(false);
    options.open(terminal.path("continuant.db")).unwrap()
}

/// Regression: a restore to a time behind a clock that went back included the change that was to be
/// undone.
#[test]
fn a_restore_to_a_time_that_names_no_place_asks_for_one() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 1").done();
    // The clock is set ahead, and back.
    let now = Clock::system().now();
    let db = at_time(&terminal, now.saturating_add(Duration::from_millis(120_000)).as_millis());
    let storage::Resolved::Object(id) = db.resolve("visits").unwrap() else { panic!("no visits") };
    db.call(id, "increment", args![40u64]).wait().unwrap();
    db.close().unwrap();
    let db = at_time(&terminal, now.saturating_add(Duration::from_millis(60_000)).as_millis());
    let code = Code::wasm(objects::module()).unwrap().policy(objects::policy(objects::NOBODY));
    db.create(code.args(args!["late"]).name("late")).unwrap();
    db.close().unwrap();
    terminal.run("backup kept").done();
    let until = now.saturating_add(Duration::from_millis(90_000));
    let asked = terminal.run(&format!("restore kept --db then --until {until} --json"));
    assert_eq!(asked.code, Some(1), "{}", asked.stdout);
    let error: Value = serde_json::from_str(asked.stderr.trim()).unwrap();
    let error = &error["error"];
    assert_eq!(error["kind"], "times-out-of-order", "{error}");
    assert!(!terminal.path("then").exists());
    let place = |name: &str, of: &str| error[name][of].as_str().unwrap().to_string();
    let (before, behind) = (place("first_later", "position"), place("last_not_later", "end"));
    terminal.run(&format!("restore kept --db before --until-position {before}")).done();
    assert_eq!(terminal.run("get visits count --db before").done(), "1\n");
    assert_eq!(terminal.run("get late count --db before").code, Some(5));
    terminal.run(&format!("restore kept --db behind --until-position {behind}")).done();
    assert_eq!(terminal.run("get visits count --db behind").done(), "41\n");
    terminal.run("show late --db behind").done();
    let (segment, offset) = before.split_once(':').unwrap();
    let inside = format!("{segment}:{}", offset.parse::<u64>().unwrap() + 1);
    let refused = terminal.run(&format!("restore kept --db inside --until-position {inside}"));
    assert_eq!(refused.code, Some(5), "{}", refused.stderr);
    assert!(
        refused.stderr.contains(&format!("ends at {inside}, but at {before} and, ")),
        "{}",
        refused.stderr
    );
}

/// Regression: a full disk elsewhere was reported as the database's.
#[test]
fn a_capsule_that_finds_no_room_blames_its_own_file() {
    let terminal = Terminal::with_visits();
    for line in ["export visits /dev/full", "export visits /dev/full --move"] {
        let full = terminal.run(line);
        assert_eq!(full.code, Some(1), "{line}");
        let told = "error: writing /dev/full: No space left on device";
        assert!(full.stderr.starts_with(told), "{line}: {}", full.stderr);
    }
    terminal.run("call visits increment 1").done();
}

/// Regression: a failed import left an empty database behind.
#[test]
fn a_capsule_that_is_damaged_makes_no_database() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits whole.continuant").done();
    let bytes = std::fs::read(terminal.path("whole.continuant")).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 2] ^= 1;
    std::fs::write(terminal.path("changed.continuant"), changed).unwrap();
    std::fs::write(terminal.path("cut.continuant"), &bytes[..bytes.len() - 9]).unwrap();
    let lines = ["changed.continuant", "cut.continuant", "none.continuant", "object.wasm"];
    for line in lines.map(|file| format!("import {file} --db new")) {
        assert!(matches!(terminal.run(&line).code, Some(1 | 4)), "{line}");
        assert!(!terminal.path("new").exists(), "{line}");
    }
    let name = "a".repeat(64);
    assert_ne!(
        terminal.run(&format!("import whole.continuant --db new --name {name}")).code,
        Some(0)
    );
    assert!(!terminal.path("new").exists());
    terminal.run("import whole.continuant --db new").done();
}

/// Regression: with one object ahead of the clock, ages were counted from 1970.
#[test]
fn ages_are_counted_from_the_newest_version_that_is_not_ahead() {
    let terminal = Terminal::with_visits();
    let first = json(&terminal, "call visits increment 1");
    let db = at_time(
        &terminal,
        Clock::system().now().saturating_add(Duration::from_millis(3_600_000)).as_millis(),
    );
    let storage::Resolved::Object(id) = db.resolve("visits").unwrap() else { panic!("no visits") };
    db.call(id, "increment", args![1u64]).wait().unwrap();
    db.close().unwrap();
    terminal.run("retain --age 30d").done();
    let compacted = json(&terminal, "compact --all");
    assert_eq!(compacted["ages_from"], first["time"], "{compacted}");
    assert_eq!(compacted["versions_dropped"], 0);
}

#[test]
fn an_unfinished_backup_is_said_to_be_one() {
    let terminal = Terminal::with_visits();
    terminal.run("backup kept").done();
    // As if it had been killed before its last rename.
    let marker = |name: &str| terminal.path("kept").join(name);
    std::fs::rename(marker("continuant.db"), marker("continuant.db.tmp")).unwrap();
    for line in ["list --db kept", "restore kept --db new", "check --db kept", "compact --db kept"]
    {
        let told = terminal.run(line);
        assert_eq!(told.code, Some(5), "{line}: {}", told.stderr);
        let words = "kept: it is an unfinished backup: back up into it again";
        assert!(told.stderr.contains(words), "{line}: {}", told.stderr);
    }
    assert!(!terminal.path("new").exists());
    terminal.run("backup kept").done();
    terminal.run("restore kept --db new").done();
}
