//! Text of objects, capsules, files and callers that a terminal would obey: none of it reaches the
//! terminal.
//!
//! Every command is walked, as `help` lists them, so that none is left out.

use std::collections::BTreeSet;
use std::process::Output;

use crate::objects::{self, HOSTILE};
use crate::terminal::Terminal;

/// The object's name: a mark of direction in it, and what nobody sees.
const NAME: &str = "vis\u{202e}its\u{200b}";

/// Runs the binary with these words, which may be any.
fn run(terminal: &Terminal, words: &[&str]) -> Output {
    let mut command = terminal.command("");
    command.args(words).env("CONTINUANT_LOG", "debug").output().unwrap()
}

/// Returns whether a terminal obeys a character, or nobody sees it.
fn is_hidden(letter: char) -> bool {
    let marks = ['\u{202e}', '\u{2028}', '\u{2029}', '\u{200b}', '\u{feff}'];
    letter.is_control() && letter != '\n' || marks.contains(&letter)
}

#[track_caller]
fn check(words: &[&str], what: &str, bytes: &[u8]) {
    let text = str::from_utf8(bytes).unwrap();
    let hidden: Vec<char> = text.chars().filter(|letter| is_hidden(*letter)).collect();
    assert_eq!(hidden, [], "{words:?}, {what}: {text:?}");
    let forged = text.lines().any(|line| line.trim_start().starts_with("FORGED"));
    assert!(!forged, "{words:?}, {what}: {text}");
}

/// The commands that a `help` lists.
pub(crate) fn listed(terminal: &Terminal, of: &str) -> BTreeSet<String> {
    let help = terminal.run(of).done();
    let commands = help.split("Commands:\n").nth(1).unwrap().lines();
    let commands = commands.take_while(|line| !line.is_empty());
    // A name's description may continue in the next line, further in.
    let named = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let words = named.map(|line| line.split_whitespace().next().unwrap().to_string());
    words.filter(|word| word != "help").collect()
}

fn hostile() -> Terminal {
    let terminal = Terminal::new();
    terminal.write("object.wasm", objects::hostile());
    terminal.write("policy.cedar", objects::hostile_policy());
    terminal.write(&format!("f{HOSTILE}.csv"), HOSTILE);
    terminal.write("calls.jsonl", serde_json::json!([NAME, "say", HOSTILE]).to_string());
    terminal.run("key new owner.key").done();
    let create = ["create", "object.wasm", HOSTILE, "--policy", "policy.cedar", "--name", NAME];
    let created = run(&terminal, &create);
    assert!(created.status.success(), "{created:?}");
    for what in [HOSTILE, "no", "yes", HOSTILE] {
        let called = run(&terminal, &["call", NAME, "say", what]);
        assert_eq!(called.status.code(), Some(if what == "no" { 3 } else { 0 }), "{called:?}");
    }
    terminal
}

/// Lines of every command, with text of strangers wherever there may be some.
fn walk() -> Vec<Vec<&'static str>> {
    let policy = ["--policy", "policy.cedar"];
    let mut lines: Vec<Vec<&str>> = vec![
        vec!["init", "--db", HOSTILE],
        vec!["init", "--db", HOSTILE],
        vec!["key", "new", HOSTILE],
        vec!["key", "new", HOSTILE],
        vec!["key", "show", HOSTILE],
        vec!["key", "show", "policy.cedar"],
        vec!["key", "import", HOSTILE, "--to", "i\u{1b}\nFORGED"],
        vec!["key", "import", "policy.cedar", "--to", HOSTILE],
        vec!["key", "export", "owner.key", "--pem", "--to", "e\u{1b}\nFORGED"],
        vec!["key", "export", "owner.key", "--ssh-public", "--comment", HOSTILE],
        vec!["create", "object.wasm", HOSTILE, "--name", HOSTILE, policy[0], policy[1]],
        vec!["create", HOSTILE, policy[0], policy[1]],
        vec!["create", "object.wasm", HOSTILE, policy[0], HOSTILE],
        vec!["fork", NAME, "1", "--name", "for\u{202e}k"],
        vec!["call", NAME, "say", HOSTILE],
        vec!["call", NAME, HOSTILE],
        vec!["call", HOSTILE, "say"],
        vec!["call", NAME, "say", HOSTILE, "--sign", HOSTILE, "--nonce", HOSTILE],
        vec!["batch", "calls.jsonl", "--sign", "owner.key"],
        vec!["batch", HOSTILE, "--sign", "owner.key"],
        vec!["write", NAME, "count=5"],
        vec!["write", NAME, HOSTILE],
        vec!["write", NAME, "label=x\u{1b}\nFORGED"],
        vec!["dry-run", NAME, "say", HOSTILE],
        vec!["dry-run", NAME, "say", "no"],
        vec!["session", "new", "s\u{1b}\nFORGED"],
        vec!["session", "open", NAME, "s\u{1b}\nFORGED", "--sign", "owner.key"],
        vec!["policy", "check", NAME, "policy.cedar"],
        vec!["policy", "amend", NAME, "policy.cedar", "--sign", "owner.key"],
        vec!["policy", "hash", HOSTILE],
        vec!["policy", "hash", "policy.cedar"],
        vec!["upgrade", NAME, "object.wasm", "--dry-run"],
        vec!["upgrade", NAME, HOSTILE],
        vec!["delete", NAME],
        vec!["advance", NAME],
        vec!["advance", HOSTILE],
        vec!["run"],
        vec!["run", "--top", "--for", "1ms", "--metrics", HOSTILE],
        vec!["show", NAME],
        vec!["show", HOSTILE],
        vec!["get", NAME, HOSTILE],
        vec!["read", NAME, "--as", "anonymous"],
        vec!["read", NAME, "--as", HOSTILE],
        vec!["list"],
        vec!["list", "--name", NAME],
        vec!["top", HOSTILE, "--for", "0ms"],
        vec!["top", "policy.cedar"],
        vec!["history", NAME],
        vec!["history", NAME, "--refused", "--since", HOSTILE],
        vec!["dead-letters"],
        vec!["dead-letters", "retry", HOSTILE],
        vec!["dead-letters", "drop", HOSTILE],
        vec!["outbox", HOSTILE],
        vec!["outbox", "mailer", "--new"],
        vec!["explain", NAME],
        vec!["explain", NAME, "1"],
        vec!["explain", NAME, "--refusal", "1"],
        vec!["at", NAME, "1"],
        vec!["at", NAME, HOSTILE],
        vec!["diff", NAME, "0", "2"],
        vec!["blame", NAME, "label"],
        vec!["blame", NAME, HOSTILE],
    ];
    lines.extend(names());
    lines.extend(upkeep());
    lines
}

/// Lines about names.
fn names() -> Vec<Vec<&'static str>> {
    vec![
        vec!["delete", HOSTILE],
        vec!["name", "set", "for\u{202e}k", "s\u{202e}et"],
        vec!["name", "set", NAME, HOSTILE],
        vec!["name", "move", HOSTILE, NAME],
        vec!["name", "move", "s\u{202e}et", "for\u{202e}k"],
        vec!["name", "history", "s\u{202e}et"],
        vec!["name", "history", HOSTILE],
        vec!["name", "free", HOSTILE],
        vec!["name", "free", "s\u{202e}et"],
    ]
}

/// Lines of the commands that look at a whole object or database, and of those that there are not.
fn upkeep() -> Vec<Vec<&'static str>> {
    let policy = ["--policy", "policy.cedar"];
    vec![
        vec!["dump", NAME, "--output", "m\u{1b}\nFORGED"],
        vec!["dump", NAME, "--output", "m\u{1b}\nFORGED"],
        vec!["verify", NAME, "--replay"],
        vec!["verify"],
        vec!["verify", HOSTILE],
        vec!["verify", "policy.cedar"],
        vec!["export", NAME, "c\u{1b}\nFORGED"],
        vec!["export", NAME, "c\u{1b}\nFORGED"],
        vec!["import", "c\u{1b}\nFORGED"],
        vec!["import", HOSTILE, "--db", "other"],
        vec!["evidence"],
        vec!["check"],
        vec!["fuzz", "object.wasm", HOSTILE, "--steps", "200", policy[0], policy[1]],
        vec!["fuzz", "object.wasm", "--steps", "9", policy[0], policy[1], "--invariant", HOSTILE],
        vec!["retain", NAME, "--versions", "900"],
        vec!["retain", HOSTILE],
        vec!["compact"],
        vec!["backup", "b\u{1b}\nFORGED"],
        vec!["restore", "b\u{1b}\nFORGED", "--db", "r\u{1b}\nFORGED"],
        vec!["restore", HOSTILE, "--db", "r2"],
        vec![
            "demo",
            "--flights",
            concat!("f", "x\u{1b}[31m\nFORGED\u{9b}2J\u{7f}\u{202e}\u{2028}\u{200b}", ".csv"),
        ],
        vec!["completions", "bash"],
        vec!["completions", "zsh"],
        vec!["completions", HOSTILE],
        vec!["man"],
        vec!["man", "p\u{1b}\nFORGED"],
        vec![HOSTILE],
        vec!["--db", HOSTILE, HOSTILE],
    ]
}

#[test]
fn no_command_prints_what_a_terminal_obeys() {
    let terminal = hostile();
    let lines = walk();
    let walked: BTreeSet<String> = lines.iter().map(|words| words[0].to_string()).collect();
    for command in listed(&terminal, "help") {
        assert!(walked.contains(&command), "{command} is walked");
    }
    for group in ["key", "session", "policy", "dead-letters", "name"] {
        for command in listed(&terminal, &format!("help {group}")) {
            let found = lines.iter().any(|words| words.starts_with(&[group, &command]));
            assert!(found, "{group} {command} is walked");
        }
    }
    let mut escaped = 0;
    for json in [&["--json"][..], &[]] {
        for words in &lines {
            let words = [json, words].concat();
            let output = run(&terminal, &words);
            check(&words, "stdout", &output.stdout);
            check(&words, "stderr", &output.stderr);
            let text = String::from_utf8_lossy(&output.stdout);
            escaped += usize::from(text.contains("\\u{1b}") || text.contains("\\u001b"));
        }
    }
    assert!(escaped > 30, "the text was there to be printed, {escaped} times");
}

#[test]
fn a_capsule_of_strangers_is_looked_at_safely() {
    let terminal = hostile();
    assert!(run(&terminal, &["export", NAME, "theirs.continuant"]).status.success());
    let id = run(&terminal, &["show", NAME, "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&id.stdout).unwrap();
    let id = shown["object"].as_str().unwrap();
    for words in [
        &["verify", "theirs.continuant"][..],
        &["import", "theirs.continuant", "--db", "ours"],
        &["history", id, "--db", "ours"],
        &["show", id, "--db", "ours"],
        &["explain", id, "--refusal", "1", "--db", "ours"],
        &["list", "--db", "ours"],
        &["outbox", "mailer", "--new", "--db", "ours"],
        &["call", id, "say", "no", "--db", "ours"],
    ] {
        let output = run(&terminal, words);
        assert!([0, 3].contains(&output.status.code().unwrap()), "{output:?}");
        check(words, "stdout", &output.stdout);
        check(words, "stderr", &output.stderr);
    }
    let history = run(&terminal, &["history", id, "--db", "ours"]);
    let shown = run(&terminal, &["show", id, "--json", "--db", "ours"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let count = |name: &str| shown[name].as_u64().unwrap() as usize;
    // A head, and a row for each version and each refusal: text of the object makes none.
    let rows = String::from_utf8(history.stdout).unwrap();
    assert_eq!(rows.lines().count(), 1 + (count("seq") + 1) + count("refusals"), "{rows}");
    assert_eq!((count("seq") > 4, count("refusals")), (true, 2), "{rows}");
}

#[test]
fn a_value_goes_into_a_pipe_as_it_is() {
    let terminal = hostile();
    let value = run(&terminal, &["get", NAME, "label"]);
    assert_eq!(String::from_utf8(value.stdout).unwrap(), format!("{HOSTILE}\n"));
    let value = run(&terminal, &["read", NAME, "label", "--as", "anonymous"]);
    assert_eq!(String::from_utf8(value.stdout).unwrap(), format!("{HOSTILE}\n"));
    let policy = run(&terminal, &["show", NAME, "--policy"]);
    assert_eq!(String::from_utf8(policy.stdout).unwrap(), objects::hostile_policy());
}
