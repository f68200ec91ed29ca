//! Durable work that cannot be printed: on a full disk, and with a closed pipe.
//!
//! Every command is walked, as `help` lists them, so that none is left out.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::process::Stdio;

use serde_json::Value as Json;

use crate::demo::HEAD;
use crate::hostile::listed;
use crate::objects;
use crate::terminal::{Printed, Terminal, root};

/// The exit code of durable work that could not be printed.
const NOT_PRINTED: Option<i32> = Some(7);

/// Runs a line whose output has no room.
fn unprinted(terminal: &Terminal, line: &str) -> Printed {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = terminal.command(line).stdout(full).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Printed { stdout: String::new(), stderr, code: output.status.code() }
}

/// Objects to change: anything may be done with them by everybody.
fn stage() -> Terminal {
    let terminal = Terminal::with_visits();
    let named = r#"[Action::"amend", Action::"upgrade", Action::"open_session", Action::"delete"]"#;
    let all = format!(
        "@id(\"open\") permit(principal, action, resource);\n\
         @id(\"named\") permit(principal, action in {named}, resource);\n"
    );
    terminal.write("all.cedar", &all);
    terminal
        .write("more.cedar", format!("{all}@id(\"more\") permit(principal, action, resource);"));
    terminal.write("second.wasm", objects::second());
    for name in ["board", "fleet"] {
        let line = format!("create object.wasm hello --policy all.cedar --name {name}");
        terminal.run(&line).done();
    }
    // An object that was imported by name.
    let guest = root().join("guest");
    terminal.write("purse.wasm", std::fs::read(guest.join("objects/purse.wasm")).unwrap());
    let policy = std::fs::read_to_string(guest.join("examples/purse/policy.cedar")).unwrap();
    let owner = terminal.owner();
    terminal.write("purse.cedar", policy.replace(&"0".repeat(64), &owner));
    terminal.run(&format!("create purse.wasm {owner} --policy purse.cedar --name ada")).done();
    terminal.run("call ada mint 100 --sign owner.key").done();
    terminal
}

fn shown(terminal: &Terminal, name: &str) -> Json {
    serde_json::from_str(&terminal.run(&format!("--json show {name}")).done()).unwrap()
}

/// Makes a dead letter.
fn letter(terminal: &Terminal) {
    let nobody = format!("{:064}", 7);
    terminal.run(&format!("call ada pay {nobody} 20 --sign owner.key")).done();
}

/// A step of the walk: lines to run before, the line, the work that it reports, and a line that
/// shows it.
struct Step {
    before: &'static [&'static str],
    line: &'static str,
    done: &'static str,
    after: (&'static str, &'static str),
}

const fn step(line: &'static str, done: &'static str, after: (&'static str, &'static str)) -> Step {
    Step { before: &[], line, done, after }
}

/// Every command that changes something.
const STEPS: &[Step] = &[
    step("init --db made", "the database made;", ("list --db made", "")),
    step(
        "key new other.key",
        "the key file other.key, of the key ",
        ("key show other.key", "public"),
    ),
    step(
        "key import owner.key --to same.key",
        "the key file same.key, of the key ",
        ("key show same.key", "public"),
    ),
    step(
        "key export owner.key --pem --to owner.pem",
        "the key file owner.pem, of the key ",
        ("key import owner.pem --to third.key", "pkcs8"),
    ),
    step(
        "create object.wasm hello --policy policy.cedar --name made",
        ", called \"made\";",
        ("get made label", "hello"),
    ),
    step("fork visits 0 --name forked", ", called \"forked\";", ("get forked count", "0")),
    step("name set forked spare", " has the name \"spare\";", ("get spare count", "0")),
    step("name move spare made", " has the name \"spare\";", ("get spare label", "hello")),
    step("name free spare", "the name \"spare\" is free;", ("name history spare --json", "until")),
    step("call visits increment 5", "version 1 of object ", ("get visits count", "5")),
    step("write visits mood=3", "version 2 of object ", ("get visits mood", "3")),
    step("session new s.session", "the session file s.session", ("key show owner.key", "")),
    step(
        "session open board s.session --sign owner.key",
        "version 1 of object ",
        ("call board increment 1 --session s.session", "version"),
    ),
    step(
        "policy amend board more.cedar",
        "version 3 of object ",
        ("show board --policy", "\"more\""),
    ),
    Step {
        before: &["call board ring"],
        line: "advance board",
        done: "version 5 of object ",
        after: ("get board count", "2"),
    },
    Step {
        before: &["call board ring"],
        line: "run",
        done: "1 objects were woken",
        after: ("get board count", "3"),
    },
    step("upgrade board second.wasm", "version 8 of object ", ("show board", "object@2.0.0")),
    Step {
        before: &["create object.wasm hello --policy all.cedar --name over"],
        line: "delete over",
        done: "version 1 of object ",
        after: ("list", "deleted"),
    },
    step("outbox mailer --new", "the outbox \"mailer\" is made", ("outbox", "mailer")),
    step("outbox mailer --remove", "the outbox \"mailer\" is removed", ("outbox", "")),
    step(
        "retain visits --versions 5",
        "the retention rule of object ",
        ("retain visits", "5 versions"),
    ),
    step(
        "dump visits --output memory",
        "the file memory;",
        ("dump visits --output memory --force", ""),
    ),
    step("check --repair", "the index was rebuilt", ("check", "none")),
    step("dead-letters drop --all", "1 of 1 letters are dropped", ("dead-letters", "")),
    step("compact --all", " segments compacted", ("get visits count", "5")),
    step(
        "backup kept.backup",
        "the backup kept.backup, up to ",
        ("list --db kept.backup", "visits"),
    ),
    step("restore kept.backup --db again", "the database again", ("list --db again", "visits")),
    step(
        "export visits copy.continuant",
        "the capsule copy.continuant;",
        ("verify copy.continuant", ""),
    ),
    step("export visits moved.continuant --move", "ended here; ", ("list", "moved away")),
    step(
        "import moved.continuant --db there",
        " is imported, up to version ",
        ("list --db there", ""),
    ),
    step("export visits --take-back", " goes on here", ("call visits increment 1", "version")),
    step("demo --flights none.csv --db played", "the database played", ("list --db played", "")),
];

/// Commands that change nothing, or do nothing that is not done as well when it is asked for again.
const READING: &[&str] = &[
    "key show owner.key",
    "dry-run visits increment 1",
    "policy check visits policy.cedar",
    "policy hash policy.cedar",
    "show visits",
    "get visits count",
    "read visits --as anonymous",
    "list",
    "name history visits",
    "history visits",
    "explain visits",
    "at visits 0",
    "diff visits 0 1",
    "blame visits count",
    "verify visits",
    "dump visits",
    "fuzz object.wasm --policy policy.cedar --steps 50",
    "dead-letters",
    "outbox",
    "evidence",
    "check",
    "retain",
    "completions bash",
    "man",
];

#[test]
fn what_is_done_is_said_where_its_receipt_cannot_be_printed() {
    let terminal = stage();
    terminal.write("none.csv", HEAD);
    letter(&terminal);
    for Step { before, line, done, after: (after, seen) } in STEPS {
        before.iter().for_each(|line| drop(terminal.run(line).done()));
        let printed = unprinted(&terminal, line);
        assert_eq!(printed.code, NOT_PRINTED, "{line}: {printed:?}");
        let told = printed.stderr.lines().last().unwrap();
        let start = "error: writing output: No space left on device (os error 28), but the work \
                     is done and durable: ";
        let told = told.strip_prefix(start).unwrap_or_else(|| panic!("{line}: {told}"));
        assert!(told.contains(done), "{line}: {told}");
        assert!(told.ends_with("; do not repeat it"), "{line}: {told}");
        let now = terminal.run(after).done();
        assert!(now.contains(seen), "{line}: {after}: {now}");
    }
}

#[test]
fn what_changes_nothing_just_fails() {
    let terminal = stage();
    terminal.run("call visits increment 5").done();
    for line in READING {
        let printed = unprinted(&terminal, line);
        // Nothing was to be printed where it is all right.
        let is_quiet = printed.code == Some(0) && printed.stderr.starts_with("note: ");
        assert!(printed.code == Some(1) || is_quiet, "{line}: {printed:?}");
        assert!(!printed.stderr.contains("durable"), "{line}: {printed:?}");
    }
    // A refusal does not report any work.
    let refused = unprinted(&terminal, "call visits increment 1001");
    assert_eq!(refused.code, Some(3), "{refused:?}");
    terminal.write("calls.jsonl", "[\"visits\", \"increment\", 1]\n");
    let batch = unprinted(&terminal, "batch calls.jsonl --sign owner.key --base 7");
    assert_eq!(batch.code, Some(1), "{batch:?}");
    assert!(batch.stderr.ends_with("; --resume 7 continues the batch\n"), "{batch:?}");
    let resumed = terminal.run("batch calls.jsonl --sign owner.key --resume 7").done();
    assert_eq!(resumed, "line 1: version 2, result 6, on record\n");
    // A message of an outbox counts as given once it is printed.
    terminal.run("call visits ring").done();
    terminal.run("outbox mailer --new --limit 0").done();
    for code in [1, 1] {
        assert_eq!(unprinted(&terminal, "outbox mailer").code, Some(code));
    }
    assert!(terminal.run("outbox mailer").done().contains("rung"));
}

#[test]
fn every_command_is_walked() {
    let terminal = Terminal::new();
    let lines = STEPS.iter().map(|step| step.line).chain(READING.iter().copied());
    let walked: BTreeSet<&str> = lines.flat_map(|line| line.split(' ').next()).collect();
    for command in listed(&terminal, "help") {
        // `batch` and `top` have tests of their own.
        let is_elsewhere = ["batch", "top"].contains(&&*command);
        assert!(walked.contains(&*command) || is_elsewhere, "{command} is walked");
    }
}

#[test]
fn a_reader_that_went_away_is_told_as_well_and_programs_in_json() {
    let terminal = Terminal::with_visits();
    let unread = |line: &str| {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        terminal.command(line).stdout(writer).output().unwrap()
    };
    let output = unread("--json call visits increment 2");
    assert_eq!(output.status.code(), NOT_PRINTED, "{output:?}");
    let told: Json = serde_json::from_slice(&output.stderr).unwrap();
    let (error, now) = (&told["error"], shown(&terminal, "visits"));
    assert_eq!(error["kind"], "not-printed");
    let done = serde_json::json!({ "object": now["object"], "seq": 1, "version": now["hash"] });
    assert_eq!(error["done"], done, "{error} {now}");
    // A command that only reads ends quietly.
    let output = unread("list");
    assert_eq!((output.status.code(), &output.stderr[..]), (Some(0), &b""[..]), "{output:?}");
}

#[test]
fn what_is_done_in_part_is_told_of_too() {
    let terminal = stage();
    letter(&terminal);
    let printed = unprinted(&terminal, "dead-letters retry --all");
    assert_eq!(printed.code, Some(3), "{printed:?}");
    assert!(printed.stderr.contains("1 of 1 letters are sent on their way"), "{printed:?}");
    let code = shown(&terminal, "board")["code"].as_str().unwrap().to_string();
    // The third takes none.
    let printed = unprinted(&terminal, &format!("upgrade --all-of {code} second.wasm"));
    assert_eq!(printed.code, Some(3), "{printed:?}");
    let told = "the work is done and durable, but its result could not be printed: ";
    assert!(printed.stderr.contains(told), "{printed:?}");
    assert!(printed.stderr.contains("2 objects are upgraded, and 1 are unchanged"), "{printed:?}");
    assert!(terminal.run("show fleet").done().contains("object@2.0.0"));
}

#[test]
fn a_log_that_is_asked_for_in_other_words_is_warned_of() {
    let terminal = Terminal::with_visits();
    let output = terminal.command("get visits count").env("CONTINUANT_LOG", "a=b=c").output();
    let output = output.unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"0\n"[..]));
    assert!(stderr.starts_with("warning: CONTINUANT_LOG is not a filter of the log"), "{stderr}");
}

#[test]
fn a_code_cache_that_cannot_be_used_is_a_warning() {
    let terminal = Terminal::with_visits();
    terminal.write("a-file", "");
    std::fs::create_dir(terminal.path("open")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(terminal.path("open"), mode).unwrap();
    for cache in ["a-file", "a-file/within", "/proc/nowhere", "open"] {
        for (line, said) in [("get visits count", "0\n"), ("verify visits --replay", "")] {
            let mut command = terminal.command(line);
            let output = command.env("CONTINUANT_CODE_CACHE", cache).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(0), "{cache}: {stderr}");
            assert!(String::from_utf8(output.stdout).unwrap().contains(said), "{cache}");
            let start = format!("warning: code cache {cache}: ");
            assert!(stderr.starts_with(&start), "{cache}: {stderr}");
            assert!(
                stderr
                    .contains("; modules are compiled without a cache: set CONTINUANT_CODE_CACHE")
            );
            assert_eq!(stderr.lines().count(), 1, "{cache}: {stderr}");
        }
    }
}

#[test]
fn metrics_that_cannot_be_written_any_more_are_a_warning() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits ring").done();
    // A file that can never be written is reported before anything runs.
    let printed = terminal.run("run --metrics nowhere/run.prom");
    assert_eq!(printed.code, Some(1), "{printed:?}");
    assert_eq!(terminal.run("get visits count").done(), "0\n");
    std::fs::create_dir(terminal.path("metrics")).unwrap();
    let mut command =
        terminal.command("run --for 1h --every 1ms --json --metrics metrics/run.prom");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    while !terminal.path("metrics/run.prom").exists() {
        std::thread::yield_now();
    }
    // Others take the directory away while it writes there.
    while std::fs::remove_dir_all(terminal.path("metrics")).is_err() {}
    let pid = child.id().to_string();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut warning = String::new();
    std::io::BufRead::read_line(&mut lines, &mut warning).unwrap();
    let told: Json = serde_json::from_str(&warning).unwrap();
    assert_eq!(told["warning"]["kind"], "metrics", "{warning}");
    let mut kill = std::process::Command::new("kill");
    assert!(kill.args(["-TERM", &pid]).status().unwrap().success());
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut out).unwrap();
    assert_eq!(terminal.run("get visits count --wait 10m").done(), "1\n", "{out}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert_eq!(rest, "", "it is said once");
}
