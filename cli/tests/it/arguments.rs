//! Typed arguments: each is read whole, or refused with the accepted forms.

use std::io::Write;
use std::process::{Output, Stdio};

use serde_json::Value as Json;

use crate::terminal::Terminal;

fn run(terminal: &Terminal, words: &[&str]) -> Output {
    terminal.command("").args(words).output().unwrap()
}

/// Returns the error of a command that fails.
#[track_caller]
fn refused(terminal: &Terminal, words: &[&str]) -> String {
    let output = run(terminal, words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
    stderr
}

/// Every argument that is a time: in front of the time, and behind it.
const TIMES: &[(&[&str], &[&str])] = &[
    (&["history", "visits", "--since"], &[]),
    (&["history", "visits", "--until"], &[]),
    (&["list", "--created-since"], &[]),
    (&["list", "--created-until"], &[]),
    (&["list", "--changed-since"], &[]),
    (&["list", "--changed-until"], &[]),
    (&["restore", "backup", "--db", "new", "--until"], &[]),
    (&["at", "visits"], &[]),
    (&["diff", "visits"], &["0"]),
    (&["diff", "visits", "0"], &[]),
    (&["get", "visits", "count", "--at"], &[]),
    (&["read", "visits", "--as", "anonymous", "--at"], &[]),
    (&["dump", "visits", "--output", "memory", "--at"], &[]),
    (&["run", "--until"], &[]),
    (&["call", "visits", "increment", "1", "--sign", "owner.key", "--expires"], &[]),
    (&["batch", "calls.jsonl", "--sign", "owner.key", "--expires"], &[]),
];

#[test]
fn no_time_is_read_in_part() {
    let terminal = Terminal::with_visits();
    let wrong = [
        "2026-11-29T21:30:22+01:00[Europe/Berlin]",
        "2026-11-29T21:30:22 and more",
        "2026-11-29x",
        "1795987822s5",
        "0x19F",
        "then",
    ];
    for (before, behind) in TIMES {
        for time in wrong {
            let told = refused(&terminal, &[before, &[time][..], behind].concat());
            assert!(told.contains("such as 20"), "{before:?}: {told}");
        }
    }
    let seconds = refused(&terminal, &["history", "visits", "--since", "1795987822"]);
    assert!(seconds.contains("did you mean 2026-11-29T21:30:22.000Z"), "{seconds}");
    assert!(!terminal.path("new").exists() && !terminal.path("memory").exists());
}

#[test]
fn a_time_without_a_zone_keeps_its_time_of_day() {
    let terminal = Terminal::with_visits();
    let called = terminal.run("--json call visits increment 2").done();
    let called: Json = serde_json::from_str(&called).unwrap();
    let time = called["time"].as_str().unwrap().trim_end_matches('Z');
    let count = |time: &str| {
        let output = run(&terminal, &["get", "visits", "count", "--at", time]);
        String::from_utf8(output.stdout).unwrap()
    };
    for time in [time.to_string(), time.replace('T', " "), format!("{time}Z"), "now".to_string()] {
        assert_eq!(count(&time), "2\n", "{time}");
    }
    let rows = |words: &[&str]| {
        let output = run(&terminal, &[&["--json", "history", "visits"][..], words].concat());
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    assert_eq!(rows(&["--since", time, "--limit", "9"]), 1, "the creation was before");
    assert_eq!(rows(&["--since", "1h ago"]), 2);
    assert_eq!(rows(&["--until", "1h"]), 0);
    terminal.run("run --until 1ms").done();
    let call = ["call", "visits", "increment", "1", "--sign", "owner.key", "--expires", "+5m"];
    assert!(run(&terminal, &call).status.success());
}

#[test]
fn numbers_hashes_and_secrets_are_digits_and_nothing_else() {
    let terminal = Terminal::with_visits();
    let numbers: &[&[&str]] = &[
        &["history", "visits", "--limit"],
        &["list", "--limit"],
        &["outbox", "mailer", "--limit"],
        &["retain", "--versions"],
        &["fork", "visits"],
        &["explain", "visits"],
        &["explain", "visits", "--refusal"],
        &["policy", "check", "visits", "policy.cedar", "--last"],
        &["demo", "--workers"],
        &["fuzz", "object.wasm", "--policy", "policy.cedar", "--steps"],
        &["fuzz", "object.wasm", "--policy", "policy.cedar", "--seed"],
        &["fuzz", "object.wasm", "--policy", "policy.cedar", "--minutes"],
        &["fuzz", "object.wasm", "--policy", "policy.cedar", "--steps-max"],
        &["call", "visits", "increment", "1", "--sign", "owner.key", "--nonce"],
    ];
    for words in numbers {
        for number in ["+1", " 1", "1_0", "0x1", "1e1", "1.0", "", "99999999999999999999"] {
            let told = refused(&terminal, &[words, &[number][..]].concat());
            assert!(told.contains("expected a"), "{words:?} {number}: {told}");
        }
    }
    let digits = "1".repeat(63);
    for (words, count) in [
        (&["call", "visits", "ring", "--sign", "owner.key", "--parent"][..], 64),
        (&["list", "--code"], 64),
        (&["upgrade", "object.wasm", "--all-of"], 64),
        (&["read", "visits", "--as"], 64),
        (&["create", "object.wasm", "a", "--policy", "policy.cedar", "--secret"], 64),
    ] {
        for first in ["+", " ", "_", "g", "0x"] {
            let hash = format!("{first}{}", &digits[..count - first.len()]);
            let told = refused(&terminal, &[words, &[&hash[..]]].concat());
            assert!(told.contains("hexadecimal digits"), "{words:?} {hash}: {told}");
        }
    }
    for span in ["5", "+5m", "-5m", "5m ago", "1.5h", "PT5M", "5M", "1y"] {
        let told = refused(&terminal, &["run", "--for", span]);
        assert!(told.contains("expected a span") || told.contains("unexpected"), "{told}");
    }
}

#[test]
fn an_argument_is_taken_from_a_file_or_from_stdin() {
    let terminal = Terminal::with_visits();
    // Longer than one argument of a process can be.
    let long = "x".repeat(40_000);
    terminal.write("note.txt", format!("{long}\n"));
    terminal.run("call visits rename @note.txt --sign owner.key").done();
    assert_eq!(terminal.run("get visits label").done(), format!("{long}\n"));
    let mut call = terminal.command("call visits rename - --sign owner.key");
    let mut child = call.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"from stdin\n\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(terminal.run("get visits label").done(), "from stdin\n");
    terminal.run("call visits rename @@note --sign owner.key").done();
    assert_eq!(terminal.run("get visits label").done(), "@note\n");
    terminal.write("count.txt", "7\n");
    terminal.run("write visits count=@count.txt").done();
    assert_eq!(terminal.run("get visits count").done(), "7\n");
    let missing = terminal.run("call visits rename @nowhere.txt");
    let problem = "error: reading an argument from nowhere.txt: ";
    assert!(missing.code == Some(1) && missing.stderr.starts_with(problem), "{missing:?}");
    let endless = terminal.run("call visits rename @/dev/zero");
    assert!(endless.stderr.contains("at most 8388608 bytes"), "{endless:?}");
    let twice = terminal.run("write visits count=- mood=-");
    assert_eq!((twice.code, twice.stderr.contains("given twice")), (Some(2), true), "{twice:?}");
    // A file of calls may come from others: no file is read for a line of it.
    terminal.write("calls.jsonl", "[\"visits\", \"rename\", \"@owner.key\"]\n");
    terminal.run("batch calls.jsonl --sign owner.key").done();
    assert_eq!(terminal.run("get visits label").done(), "@owner.key\n");
}

#[test]
fn numbers_beyond_what_json_readers_have_are_strings_where_that_is_asked_for() {
    let terminal = Terminal::with_visits();
    let large = "18446744073709551615";
    let count = |line: &str| {
        let printed: Json = serde_json::from_str(&terminal.run(line).done()).unwrap();
        printed["value"].clone()
    };
    terminal.run(&format!("write visits count={large}")).done();
    assert_eq!(count("--json get visits count"), u64::MAX);
    assert_eq!(count("--json --json-numbers string get visits count"), large);
    assert_eq!(count("get visits count --json --json-numbers number"), u64::MAX);
    terminal.run("write visits count=9007199254740992").done();
    assert_eq!(count("--json --json-numbers string get visits count"), 9_007_199_254_740_992_u64);
    assert_eq!(terminal.run("--json --json-numbers text list").code, Some(2));
    // A string of digits is read as the number.
    let written = run(&terminal, &["write", "visits", &format!("count=\"{large}\"")]);
    assert!(written.status.success(), "{written:?}");
    assert_eq!(terminal.run("get visits count").done(), format!("{large}\n"));
    for beyond in ["18446744073709551616", "1e20", "1.8446744073709552e+19"] {
        let told = terminal.run(&format!("write visits count={beyond}"));
        let problem = format!("error: field count: expected u64, found {beyond}\n");
        assert_eq!((told.code, told.stderr), (Some(2), problem));
    }
    terminal.write("calls.jsonl", "[\"visits\", \"increment\", 18446744073709551616]\n");
    let told = terminal.run("batch calls.jsonl --sign owner.key");
    assert!(told.stderr.contains("expected u64, found 18446744073709551616"), "{told:?}");
}

#[test]
fn marks_of_the_byte_order_are_passed_over_or_named() {
    let terminal = Terminal::with_visits();
    let mark = |name: &str| {
        let bytes = std::fs::read(terminal.path(name)).unwrap();
        terminal.write(&format!("marked.{name}"), [b"\xef\xbb\xbf", &bytes[..]].concat());
    };
    terminal.write("calls.jsonl", "[\"visits\", \"increment\", 2]\n");
    ["policy.cedar", "calls.jsonl"].into_iter().for_each(mark);
    let hash = terminal.run("policy hash policy.cedar").done();
    assert_eq!(terminal.run("policy hash marked.policy.cedar").done(), hash);
    terminal.run("batch marked.calls.jsonl --sign owner.key").done();
    assert_eq!(terminal.run("get visits count").done(), "2\n");
    let key = std::fs::read(terminal.path("owner.key")).unwrap();
    terminal.write("marked.key", [b"\xef\xbb\xbf", &key[..]].concat());
    let shown = terminal.run("key show marked.key");
    assert!(shown.code == Some(0) && shown.stdout.contains(&terminal.owner()), "{shown:?}");
    terminal.write("wide.cedar", b"\xff\xfep\0e\0");
    let wide = terminal.run("policy hash wide.cedar");
    assert_eq!(
        wide.stderr,
        "error: wide.cedar: expected text in UTF-8, found UTF-16: save it as UTF-8\n"
    );
}
