//! Losses of a database or a backup: they are reported, nothing continues as if they had not
//! happened, and they stay on record. And limits of the host.

use std::fs;
use std::path::Path;
use std::process::Command;

use continuant::{Code, Database, Options, args, storage};
use serde_json::Value;

use crate::objects;
use crate::terminal::{Printed, Terminal};

fn parsed(printed: &Printed) -> Value {
    serde_json::from_str(printed.stdout.lines().next().unwrap()).unwrap()
}

fn error_kind(printed: &Printed) -> String {
    let told: Value = serde_json::from_str(printed.stderr.lines().last().unwrap()).unwrap();
    told["error"]["kind"].as_str().unwrap().to_string()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(fs::copy(from, to).unwrap()),
        }
    }
}

#[test]
fn a_repair_tells_what_the_log_has_lost_and_goes_on_when_that_is_accepted() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 1").done();
    let older = fs::read(terminal.path("continuant.db/log/00000001.log")).unwrap();
    terminal.run("call visits increment 2").done();
    let whole = terminal.path("continuant.db");
    type Harm<'a> = (&'a str, u64, &'a dyn Fn(&Path));
    let harms: [Harm<'_>; 4] = [
        ("removed", 3, &|log| fs::remove_dir_all(log).unwrap()),
        ("older", 1, &|log| fs::write(log.join("00000001.log"), &older).unwrap()),
        ("header", 3, &|log| fs::write(log.join("00000001.log"), &older[..96]).unwrap()),
        ("byte", 1, &|log| {
            let mut bytes = fs::read(log.join("00000001.log")).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(log.join("00000001.log"), bytes).unwrap();
        }),
    ];
    for (name, versions, harm) in harms {
        copy(&whole, &terminal.path(name));
        harm(&terminal.path(name).join("log"));
        assert_eq!(terminal.run(&format!("check --db {name}")).code, Some(4), "{name}");
        let told = terminal.run(&format!("check --repair --db {name} --json"));
        assert_eq!((told.code, error_kind(&told)), (Some(4), "lost".to_string()), "{name}");
        let lost = parsed(&told);
        assert_eq!(lost["versions_lost"], versions, "{name}: {lost}");
        assert_eq!(lost["objects"][0]["name"], "visits");
        assert_eq!(lost["objects"][0]["newest"], 2);
        let shown = terminal.run(&format!("check --repair --db {name}"));
        assert!(shown.stdout.contains("\"visits\""), "{}", shown.stdout);
        let other = terminal.run(&format!("check --repair --accept-loss {:016x} --db {name}", 7));
        assert_eq!(other.code, Some(4), "{name}: another token");
        assert_eq!(terminal.run(&format!("list --db {name}")).code, Some(4), "{name}");

        let token = lost["accept_loss"].as_str().unwrap();
        let line = format!("check --repair --accept-loss {token} --db {name}");
        let repaired = terminal.run(&line).done();
        assert!(repaired.contains("the loss was accepted"), "{repaired}");
        assert!(repaired.contains("lost before"), "{repaired}");
        // Regression: accepted once more, it was no loss, with exit code 5.
        let once_more = terminal.run(&line).done();
        assert!(once_more.contains("nothing is left to accept"), "{once_more}");
        let once_more = terminal.run(&format!("{line} --json")).done();
        let once_more: Value = serde_json::from_str(&once_more).unwrap();
        assert_eq!(once_more["repair"]["compared"], "whole");
        assert_eq!(once_more["repair"]["accepted_before"]["versions"], versions);
        // The loss stays on record: in checks and lists, after another repair, in backups.
        fs::remove_file(terminal.path(name).join("index.redb")).unwrap();
        let again = terminal.run(&format!("check --repair --db {name} --json")).done();
        let again: Value = serde_json::from_str(&again).unwrap();
        assert_eq!(again["losses"][0]["versions"], versions);
        assert_eq!(again["repair"]["compared"], "no-index");
        for line in ["list", "show visits"] {
            let listed = terminal.run(&format!("{line} --db {name}"));
            assert!(listed.stderr.contains("this database has lost"), "{}", listed.stderr);
        }
        terminal.run(&format!("backup {name}.backup --db {name}")).done();
        let checked = terminal.run(&format!("check --db {name}.backup")).done();
        assert!(checked.contains("lost before"), "{checked}");
    }
    // Nothing is lost: what is named is not there.
    let none = terminal.run("check --repair --accept-loss 0000000000000007 --json");
    assert_eq!((none.code, error_kind(&none)), (Some(5), "no-loss".to_string()), "{none:?}");
    assert!(
        none.stderr.contains("no loss with the token 0000000000000007: the log has everything")
    );
    let usage = terminal.run("check --accept-loss 0000000000000007");
    assert_eq!(usage.code, Some(2), "nothing is repaired");
    assert_eq!(terminal.run("check --repair --accept-loss all").code, Some(2));
}

#[test]
fn a_marker_that_is_lost_is_made_again() {
    let terminal = Terminal::with_visits();
    fs::remove_file(terminal.path("continuant.db/continuant.db")).unwrap();
    let lost = terminal.run("list");
    assert_eq!(lost.code, Some(4));
    assert!(lost.stderr.contains("check --repair"), "{}", lost.stderr);
    assert_eq!(terminal.run("init").code, Some(1), "it is no place for a new one");
    let repaired = terminal.run("check --repair").done();
    assert!(repaired.contains("made again"), "{repaired}");
    terminal.run("call visits increment 1").done();
}

#[test]
fn a_restore_of_nothing_or_of_less_fails_and_leaves_nothing() {
    let terminal = Terminal::with_visits();
    terminal.run("call visits increment 1").done();
    terminal.run("backup kept").done();
    let nothing = terminal.run("restore kept --until 2001-01-01T00:00:00Z --db then --json");
    assert_eq!((nothing.code, error_kind(&nothing)), (Some(5), "nothing".to_string()));
    assert!(nothing.stderr.contains("--allow-empty"), "{}", nothing.stderr);
    assert!(!terminal.path("then").exists());
    let line = "restore kept --until 2001-01-01T00:00:00Z --allow-empty --db then --json";
    let restored = parsed(&terminal.run(line));
    assert_eq!((&restored["objects"], &restored["frames"]), (&0.into(), &0.into()));
    assert!(restored["frames_left_out"].as_u64() > Some(0), "{restored}");

    let whole = parsed(&terminal.run("restore kept --db whole --json"));
    assert_eq!((&whole["objects"], &whole["versions"]), (&1.into(), &2.into()));
    assert_eq!(whole["witness"], "backup");
    let log = terminal.path("kept/log/00000001.log");
    let bytes = fs::read(&log).unwrap();
    fs::write(&log, &bytes[..bytes.len() - 1]).unwrap();
    let cut = terminal.run("restore kept --db cut --json");
    assert_eq!((cut.code, error_kind(&cut)), (Some(4), "backup-cut".to_string()));
    assert!(!terminal.path("cut").exists());
    let told = cut.stderr.split("--accept-end ").nth(1).unwrap();
    let end = told.split_whitespace().next().unwrap();
    terminal.run(&format!("restore kept --accept-end {end} --db cut")).done();
    assert!(terminal.run("list --db cut").done().contains("visits"));
    // A backup mends the damaged part that it builds on, and reports it; one without a record of
    // its end reports that.
    let mended = terminal.run("backup kept --json");
    assert_eq!((mended.code, error_kind(&mended)), (Some(4), "mended".to_string()));
    assert!(parsed(&mended)["mended"][0].as_str().unwrap().contains("log/00000001.log"));
    terminal.run("backup kept --verify").done();
    fs::remove_file(terminal.path("kept/backup.witness")).unwrap();
    let restored = terminal.run("restore kept --db old").done();
    assert!(restored.contains("no record of its end"), "{restored}");
}

#[test]
fn a_restore_that_is_refused_says_what_can_be_asked_for_instead() {
    let terminal = Terminal::with_visits();
    let end = || parsed(&terminal.run("backup kept --json"))["end"].as_str().unwrap().to_string();
    let first = end();
    let within = terminal.run("restore kept --db kept/then");
    let told = "kept/then: it is in the directory that is to be restored: name a new directory";
    assert_eq!(within.code, Some(1));
    assert!(within.stderr.contains(told), "{}", within.stderr);
    let old = fs::read(terminal.path("kept/backup.witness")).unwrap();
    terminal.run("call visits increment 1").done();
    let second = end();
    // An older record of its end is put back.
    fs::write(terminal.path("kept/backup.witness"), old).unwrap();
    for asked in ["", "--until now ", &format!("--until-position {second} ")] {
        let line = format!("restore kept --db then {asked}");
        let beyond = terminal.run(&line);
        assert_eq!(beyond.code, Some(4), "{asked}");
        let told = format!(
            "restore up to the recorded end with --until-position {first}, or up to {second} with \
             --accept-end {second}\n"
        );
        assert!(beyond.stderr.ends_with(&told), "{asked}: {}", beyond.stderr);
        terminal.run(&format!("{line}--accept-end {second}")).done();
        fs::remove_dir_all(terminal.path("then")).unwrap();
    }
}

#[test]
fn a_restore_that_was_killed_is_run_again() {
    let terminal = Terminal::with_visits();
    terminal.run("backup kept").done();
    // A process that is killed while it copies leaves this.
    let half = terminal.path("new");
    fs::create_dir_all(half.join("log")).unwrap();
    fs::copy(terminal.path("kept/continuant.db"), half.join("continuant.db.tmp")).unwrap();
    let log = fs::read(terminal.path("kept/log/00000001.log")).unwrap();
    fs::write(half.join("log/00000001.log.tmp"), &log[..200]).unwrap();
    let opened = terminal.run("list --db new");
    assert_eq!(opened.code, Some(5), "it is no database yet");
    terminal.run("restore kept --db new").done();
    assert!(terminal.run("list --db new").done().contains("visits"));
    assert_eq!(terminal.run("restore kept --db new").code, Some(1), "now it is one");
}

#[test]
fn a_backup_into_the_database_is_refused() {
    let terminal = Terminal::with_visits();
    for to in
        ["./continuant.db", "continuant.db/", "continuant.db/backup", "other/../continuant.db"]
    {
        fs::create_dir_all(terminal.path("other")).unwrap();
        let refused = terminal.run(&format!("backup {to} --json"));
        assert_eq!(error_kind(&refused), "not-its-backup", "{to}: {}", refused.stderr);
    }
    assert!(!terminal.path("continuant.db/backup").exists());
}

/// Runs a line with a limit of the shell's.
fn limited(terminal: &Terminal, limit: &str, line: &str) -> Printed {
    let mut command = terminal.command(line);
    let program = command.get_program().to_os_string();
    let arguments: Vec<_> = command.get_args().map(|it| it.to_os_string()).collect();
    command = {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(program);
        shell.args(arguments).current_dir(terminal.path("")).env("CONTINUANT_CODE_CACHE", "");
        shell.env_remove("CONTINUANT_DB").env_remove("CONTINUANT_LOG");
        shell
    };
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Printed { stdout, stderr, code: output.status.code() }
}

/// Regression: a hundred segments were kept open, whatever the limit.
#[test]
fn a_database_of_many_segments_is_read_and_written_with_few_open_files() {
    let terminal = Terminal::new();
    let small = storage::Options::new().segment_bytes(64 << 10);
    let db: Database = Options::new().storage(small).open(terminal.path("continuant.db")).unwrap();
    let code = Code::wasm(objects::module()).unwrap().policy(objects::policy(objects::NOBODY));
    let id = db.create(code.args(args!["welcome"]).name("visits")).unwrap();
    while db.stats().unwrap().segment_count < 70 {
        let calls: Vec<_> =
            (0..500).map(|_| db.call(id, "increment", args![1u64]).submit().unwrap()).collect();
        calls.into_iter().for_each(|pending| drop(pending.wait().unwrap()));
    }
    db.close().unwrap();
    for line in ["check", "history visits", "verify visits", "call visits increment 1", "compact"] {
        let printed = limited(&terminal, "-n 40", line);
        assert_eq!(printed.code, Some(0), "{line}: {}", printed.stderr);
    }
}

#[test]
fn too_little_address_space_is_called_so() {
    let terminal = Terminal::with_visits();
    let printed = limited(&terminal, "-v 6000000", "call visits increment 1");
    assert_eq!(printed.code, Some(1));
    assert!(printed.stderr.contains("4 GiB of address space"), "{}", printed.stderr);
    assert!(printed.stderr.contains("ulimit -v"), "{}", printed.stderr);
    terminal.run("call visits increment 1").done();
}
