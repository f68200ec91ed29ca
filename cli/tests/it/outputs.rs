//! Files that commands read and write: limits, permissions, and files that are not plain.

use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use continuant::Metrics;

use crate::terminal::Terminal;

fn pipe(terminal: &Terminal, name: &str) {
    assert!(Command::new("mkfifo").arg(terminal.path(name)).status().unwrap().success());
}

#[test]
fn no_file_is_read_beyond_its_limit() {
    let terminal = Terminal::with_visits();
    let calls = "batch calls.jsonl --sign";
    for (line, limit) in [
        ("create /dev/zero --policy policy.cedar".to_string(), 4 << 20),
        ("create object.wasm a --policy /dev/zero".to_string(), 64 << 10),
        ("create object.wasm a --policy policy.cedar --guard /dev/zero".to_string(), 64 << 10),
        ("policy hash /dev/zero".to_string(), 64 << 10),
        ("policy check visits /dev/zero".to_string(), 64 << 10),
        ("upgrade visits /dev/zero".to_string(), 4 << 20),
        ("fuzz object.wasm --policy policy.cedar --invariants /dev/zero".to_string(), 64 << 10),
        ("key show /dev/zero".to_string(), 4096),
        ("key import /dev/zero --to other.key".to_string(), 16384),
        (format!("{calls} /dev/zero"), 4096),
        ("call visits ring --session /dev/zero".to_string(), 4096),
        ("session open visits /dev/zero --sign owner.key".to_string(), 4096),
        ("demo --flights /dev/zero".to_string(), 256 << 20),
        ("top /dev/zero".to_string(), 1 << 20),
    ] {
        let printed = terminal.run(&line);
        let problem = format!(" /dev/zero: expected at most {limit} bytes, found more\n");
        assert_eq!(printed.code, Some(1), "{line}: {printed:?}");
        assert!(printed.stderr.ends_with(&problem), "{line}: {printed:?}");
    }
    let printed = terminal.run("batch /dev/zero --sign owner.key");
    assert_eq!(printed.code, Some(2), "{printed:?}");
    let problem = "line 1: expected at most 8388608 bytes, found more";
    assert!(printed.stderr.contains(problem), "{printed:?}");
    for line in ["verify /dev/zero", "import /dev/zero"] {
        let printed = terminal.run(line);
        assert!(matches!(printed.code, Some(1 | 4)), "{line}: {printed:?}");
    }
}

#[test]
fn a_link_is_followed_and_stays() {
    let terminal = Terminal::with_visits();
    std::fs::create_dir(terminal.path("real")).unwrap();
    for (name, line) in [
        ("run.prom", "run --metrics"),
        ("memory", "dump visits --force --output"),
        ("visits.continuant", "export visits --force"),
    ] {
        let link = terminal.path(&format!("link-{name}"));
        // To nothing yet, then to a file of another mode.
        symlink(format!("real/{name}"), &link).unwrap();
        for mode in [0o644, 0o640] {
            terminal.run(&format!("{line} link-{name}")).done();
            assert!(link.symlink_metadata().unwrap().file_type().is_symlink(), "{line}");
            let real = terminal.path(&format!("real/{name}"));
            let about = real.symlink_metadata().unwrap();
            assert!(about.is_file() && about.len() > 0, "{line}");
            if mode == 0o640 {
                assert_eq!(about.permissions().mode() & 0o777, 0o640, "{line}");
            }
            std::fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
        }
    }
    let files = std::fs::read_dir(terminal.path("real")).unwrap().count();
    assert_eq!(files, 3, "nothing else is left there");
}

#[test]
fn a_pipe_and_a_device_are_written_and_stay() {
    let terminal = Terminal::with_visits();
    pipe(&terminal, "pipe");
    for line in ["dump visits --output pipe", "export visits pipe"] {
        let mut command = terminal.command(line);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut bytes = Vec::new();
        std::fs::File::open(terminal.path("pipe")).unwrap().read_to_end(&mut bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && bytes.len() > 1000, "{line}: {output:?}");
        if line.starts_with("export") {
            terminal.write("read.continuant", bytes);
            terminal.run("verify read.continuant --replay").done();
        }
    }
    // Nobody reads it: metrics are for nobody then, and nothing waits.
    terminal.run("run --metrics pipe").done();
    let reader = std::thread::spawn({
        let path = terminal.path("pipe");
        move || std::fs::read_to_string(path).unwrap()
    });
    // The command continues until the reader is there.
    while !reader.is_finished() {
        terminal.run("run --for 5ms --every 1ms --metrics pipe").done();
    }
    let text = reader.join().unwrap();
    assert!(text.contains("continuant_steps_total"), "{text}");
    terminal.run("run --metrics /dev/null").done();
    let full = terminal.run("dump visits --output /dev/full");
    assert_eq!(full.code, Some(1), "{full:?}");
    assert!(full.stderr.starts_with("error: writing /dev/full: No space left"), "{full:?}");
    use std::os::unix::fs::FileTypeExt;
    let kind = |path| std::fs::symlink_metadata(path).unwrap().file_type();
    assert!(kind(terminal.path("pipe")).is_fifo());
    assert!(kind("/dev/null".into()).is_char_device());
}

#[test]
fn nothing_is_written_over_unasked() {
    let terminal = Terminal::with_visits();
    for line in ["dump visits --output kept", "export visits kept"] {
        terminal.write("kept", "precious");
        let printed = terminal.run(line);
        let problem = "error: kept exists: --force writes over it\n";
        assert_eq!((printed.code, printed.stderr.as_str()), (Some(1), problem), "{line}");
        assert_eq!(std::fs::read(terminal.path("kept")).unwrap(), b"precious");
        terminal.run(&format!("{line} --force")).done();
        assert_ne!(std::fs::read(terminal.path("kept")).unwrap(), b"precious");
        // An empty file has nothing to lose.
        terminal.write("kept", "");
        terminal.run(line).done();
    }
    let directory = terminal.run("dump visits --output continuant.db --force");
    assert!(directory.stderr.contains("directory"), "{directory:?}");
}

/// Regression: the metrics, and with --force a capsule and a memory, took the place of a segment.
#[test]
fn no_file_of_a_database_is_written() {
    let terminal = Terminal::with_visits();
    terminal.run("backup visits.backup").done();
    let link = |to, from| std::os::unix::fs::symlink(to, terminal.path(from)).unwrap();
    link("continuant.db/log", "folder");
    link("continuant.db/log/new", "link");
    let places = [
        "continuant.db/log/00000001.log",
        "continuant.db/log/new",
        "continuant.db/log/new/deeper",
        "continuant.db/continuant.db",
        "continuant.db/continuant.db.tmp",
        "continuant.db/continuant.db.mended",
        "continuant.db/INDEX.REDB",
        "continuant.db/index.redb",
        // A database that is no backup has no such file yet, and would be taken for one.
        "continuant.db/backup.witness",
        "visits.backup/backup.witness",
        "folder/00000001.log",
        "link",
    ];
    let all = ["export visits", "dump visits --output", "run --metrics", "key new", "session new"];
    let forced = |line: &str| if line.contains("visits") { " --force" } else { "" };
    let check = |db: &str| terminal.run(&format!("check --db {db}")).done();
    let before = ["continuant.db", "visits.backup"].map(check);
    for place in places {
        for line in all {
            let printed = terminal.run(&format!("{line} {place}{}", forced(line)));
            let about = format!("{line} {place}: {printed:?}");
            assert_eq!(printed.code, Some(1), "{about}");
            assert!(printed.stderr.contains("which is a database or a backup: name"), "{about}");
        }
    }
    assert_eq!(terminal.run("man continuant.db/log").code, Some(1));
    assert!(!terminal.path("continuant.db/log/new").exists());
    assert_eq!(before, ["continuant.db", "visits.backup"].map(check));
    // A directory of the same name beside it is no database.
    terminal.run("dump visits --output beside").done();
    terminal.write("plain/continuant.db", "a file of another kind");
    terminal.run("dump visits --output plain/memory").done();
}

/// Regression: in the directory of a database no output could be named.
#[test]
fn files_may_be_beside_those_of_a_database() {
    let terminal = Terminal::with_visits();
    std::fs::create_dir(terminal.path("continuant.db/exports")).unwrap();
    let check = || terminal.run("check --json").done();
    let before = check();
    let outputs = [
        ("dump visits --output", "memory"),
        ("export visits", "exports/visits.continuant"),
        ("export visits", "log.continuant"),
        ("run --metrics", "logbook.prom"),
        ("key new", "some.key"),
        ("key import ../owner.key --to", "same.key"),
        ("key export ../owner.key --pem --to", "some.pem"),
        ("session new", "some.session"),
    ];
    for (line, place) in outputs {
        let mut command = terminal.command(&format!("{line} {place} --db ."));
        let output = command.current_dir(terminal.path("continuant.db")).output().unwrap();
        assert!(output.status.success(), "{line} {place}: {output:?}");
        assert!(terminal.path("continuant.db").join(place).is_file(), "{line} {place}");
    }
    terminal.run("man continuant.db/man").done();
    // They are in nobody's way.
    assert_eq!(check(), before);
    terminal.run("call visits ring").done();
    terminal.run("check --repair").done();
    terminal.run("compact --all").done();
    terminal.run("backup visits.backup").done();
    assert!(!terminal.path("visits.backup/memory").exists());
}

#[test]
fn metrics_are_in_the_form_that_is_asked_for() {
    let terminal = Terminal::with_visits();
    terminal.run("run --metrics run.prom").done();
    let text = std::fs::read_to_string(terminal.path("run.prom")).unwrap();
    assert!(text.contains("# TYPE continuant_steps_total counter\n"), "{text}");
    assert!(text.contains("# HELP continuant_steps_total Steps admitted.\n"), "{text}");
    let classic = Metrics::from_open_metrics(&text).unwrap();
    terminal.run("run --metrics run.prom --metrics-as openmetrics").done();
    let text = std::fs::read_to_string(terminal.path("run.prom")).unwrap();
    assert!(text.contains("# TYPE continuant_steps counter\n"), "{text}");
    assert_eq!(Metrics::from_open_metrics(&text).unwrap().steps, classic.steps);
}

#[test]
fn a_secret_that_others_may_read_is_warned_of() {
    let terminal = Terminal::with_visits();
    terminal.run("session new board.session").done();
    for (file, line) in [
        ("owner.key", "key show owner.key"),
        ("owner.key", "call visits ring --sign owner.key"),
        ("board.session", "call visits ring --session board.session"),
    ] {
        let path = terminal.path(file);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let told = terminal.run(line).stderr;
        let warning = format!(
            "warning: others may read {file}, which has mode 640: `chmod 600 {file}` keeps it to \
             its owner\n"
        );
        assert!(told.starts_with(&warning), "{line}: {told}");
        let json = terminal.run(&format!("--json {line}")).stderr;
        let json: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        assert_eq!(json["warning"]["kind"], "readable-secret");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        assert!(!terminal.run(line).stderr.contains("warning"), "{line}");
    }
}

#[test]
fn a_capsule_that_comes_through_a_pipe_is_verified() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits visits.continuant").done();
    pipe(&terminal, "pipe");
    let mut verify = terminal.command("verify pipe");
    let child = verify.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let capsule = std::fs::read(terminal.path("visits.continuant")).unwrap();
    std::fs::write(terminal.path("pipe"), capsule).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let import = terminal.run("import pipe --db other");
    assert!(import.code == Some(1) && import.stderr.contains("not a regular file"), "{import:?}");
    assert!(!terminal.path("other").exists());
}
