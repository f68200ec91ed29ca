//! Signals that ask the binary to end, sent to it for real.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use continuant::{Durability, Metrics, Options, args, storage};
use serde_json::Value as Json;

use crate::demo::month;
use crate::terminal::Terminal;

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill").args(["-s", signal, &child.id().to_string()]).status();
    assert!(sent.unwrap().success());
}

/// Returns whether a signal was ignored when the tests were started, as SIGINT is in the background
/// of a shell: the binary then ignores it too.
fn is_ignored(signal: &str) -> bool {
    let bit = match signal {
        "HUP" => 0,
        "INT" => 1,
        _ => return false,
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() >> bit & 1 == 1
}

/// Starts `run` without an end, and waits until it runs.
fn started(mut command: Command) -> (Child, BufReader<impl Read + use<>>) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"metrics\":"), "{line}");
    (child, stdout)
}

const RUN: &str = "run --json --top --every 5ms --metrics run.prom";

/// Returns the rest of the output, and the exit code.
fn ended(mut child: Child, mut stdout: BufReader<impl Read>) -> (String, String, Option<i32>) {
    let (mut rest, mut stderr) = (String::new(), String::new());
    stdout.read_to_string(&mut rest).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    (rest, stderr, status.code())
}

#[test]
fn run_ends_in_order_when_it_is_asked_to() {
    let terminal = Terminal::with_visits();
    for signal in ["TERM", "INT", "HUP"].into_iter().filter(|signal| !is_ignored(signal)) {
        terminal.run("call visits ring").done();
        let (child, stdout) = started(terminal.command(RUN));
        send(signal, &child);
        let (rest, stderr, code) = ended(child, stdout);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{signal}");
        let last: Json = serde_json::from_str(rest.lines().last().unwrap()).unwrap();
        assert_eq!((&last["name"], &last["versions"]), (&"visits".into(), &1.into()), "{signal}");
        let text = std::fs::read_to_string(terminal.path("run.prom")).unwrap();
        let metrics = Metrics::from_open_metrics(&text).unwrap();
        assert_eq!(metrics.wakes_run, 1, "the last metrics are written");
    }
    terminal.run("verify visits --replay").done();
}

#[test]
fn a_signal_that_is_ignored_from_the_beginning_stays_ignored() {
    let terminal = Terminal::with_visits();
    let mut shell = Command::new("sh");
    let run = terminal.command(RUN);
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    shell.arg("-c").arg(script).arg(run.get_program()).args(run.get_args());
    shell.current_dir(terminal.path("")).env("CONTINUANT_CODE_CACHE", "");
    let (child, mut stdout) = started(shell);
    send("HUP", &child);
    for _ in 0..3 {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"metrics\":"), "it goes on: {line}");
    }
    send("TERM", &child);
    assert_eq!(ended(child, stdout).2, Some(0));
}

#[test]
fn a_command_that_waits_for_its_input_ends_at_once() {
    let terminal = Terminal::with_visits();
    let mut batch = terminal.command("batch - --sign owner.key");
    let batch = batch.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = batch.spawn().unwrap();
    // The batch prints its base before it reads.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    let _stdin = child.stdin.take().unwrap();
    send("TERM", &child);
    assert_eq!(child.wait().unwrap().signal(), Some(15), "a shell sees what ended it");
}

/// Regression: a pipe that nobody reads kept the first signal from ending the command.
#[test]
fn a_command_that_waits_for_the_reader_of_its_output_ends_when_it_is_asked_to() {
    let terminal = Terminal::with_visits();
    let made = Command::new("mkfifo").arg(terminal.path("pipe")).status();
    assert!(made.unwrap().success());
    let marker = std::fs::File::open(terminal.path("continuant.db/continuant.db")).unwrap();
    for line in ["export visits pipe", "dump visits --output pipe"] {
        let mut command = terminal.command(line);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // It has the database open, and goes on to the pipe.
        while marker.try_lock().is_ok() {
            marker.unlock().unwrap();
            std::thread::yield_now();
        }
        send("TERM", &child);
        let status = child.wait().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        // Before it waits for the pipe the signal has its own effect.
        let is_told = status.code() == Some(128 + 15);
        assert!(is_told || status.signal() == Some(15), "{line}: {status}");
        let told = "error: stopped by SIGTERM: pipe was not written\n";
        assert!(!is_told || stderr == told, "{line}: {stderr}");
    }
}

/// Regression: versions in files that were removed were reported as made.
#[test]
fn a_run_whose_database_is_removed_fails() {
    let terminal = Terminal::with_visits();
    let (child, stdout) = started(terminal.command(RUN));
    std::fs::remove_dir_all(terminal.path("continuant.db")).unwrap();
    send("TERM", &child);
    let (_, stderr, code) = ended(child, stdout);
    assert_eq!(code, Some(4), "{stderr}");
    assert!(stderr.contains("removed or replaced while it was open"), "{stderr}");
}

/// Sends a batch the signal to end while it prints its first lines; returns its stderr and its exit
/// code.
fn asked_while_it_prints(terminal: &Terminal, calls: &str, count: usize) -> (String, Option<i32>) {
    let lines = "[\"visits\", \"increment\", 1]\n".repeat(count);
    terminal.write("calls.jsonl", lines);
    let mut batch = terminal.command(&format!("batch {calls} --json --sign owner.key"));
    let file = std::fs::File::open(terminal.path("calls.jsonl")).unwrap();
    let mut cat = Command::new("cat").stdin(file).stdout(Stdio::piped()).spawn().unwrap();
    let batch = batch.stdin(cat.stdout.take().unwrap());
    let mut child = batch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    for _ in 0..2 {
        stdout.read_line(&mut first).unwrap();
    }
    // The batch goes on once its output is read: a pipe does not hold the documents of 1,000 lines.
    send("TERM", &child);
    let (rest, stderr, code) = ended(child, stdout);
    assert_eq!(1 + rest.lines().count(), count.min(1024), "{stderr}");
    drop(cat.wait());
    (stderr, code)
}

/// A batch that was asked to end when all of its lines were made said that lines were left.
#[test]
fn a_batch_that_is_asked_to_end_behind_its_last_line_is_done() {
    let terminal = Terminal::with_visits();
    for (calls, count) in [("calls.jsonl", 1024), ("-", 1000)] {
        let (stderr, code) = asked_while_it_prints(&terminal, calls, count);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{calls}");
    }
    for (calls, left) in [("calls.jsonl", "some lines are left"), ("-", "some lines may be left")] {
        let (stderr, code) = asked_while_it_prints(&terminal, calls, 1025);
        assert_eq!(code, Some(128 + 15), "{calls}: {stderr}");
        let told = format!("stopped by SIGTERM: {left}; --resume ");
        assert!(stderr.contains(&told), "{calls}: {stderr}");
    }
}

#[test]
fn the_demo_ends_in_order_and_says_how_far_it_was() {
    let terminal = Terminal::new();
    terminal.write("part.csv", month(6000, |_| true));
    let line = "demo --flights part.csv --db fleet --acknowledge acknowledged";
    let made = Command::new("mkfifo").arg(terminal.path("acknowledged")).status();
    assert!(made.unwrap().success());
    let mut demo = terminal.command(line);
    let mut child = demo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let acknowledged = std::fs::File::open(terminal.path("acknowledged")).unwrap();
    let mut lines = BufReader::new(acknowledged).lines();
    // Once a commit is acknowledged it is playing.
    lines.next().unwrap().unwrap();
    send("TERM", &child);
    let count = 1 + lines.map_while(Result::ok).count();
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15), "{stderr}");
    assert_eq!(stdout, "", "no figures of what was not done");
    assert!(stderr.starts_with("error: stopped by SIGTERM: "), "{stderr}");
    let db = continuant::Database::open(terminal.path("fleet")).unwrap();
    assert_eq!(db.metrics().unindexed_bytes, 0, "it was closed in order");
    let versions: u64 = db.objects().map(|info| info.unwrap().seq + 1).sum();
    assert!(versions >= count as u64, "{versions} versions, {count} acknowledged");
    db.close().unwrap();
}

#[test]
fn a_second_signal_ends_at_once() {
    let terminal = Terminal::new();
    terminal.write("part.csv", month(6000, |_| true));
    let line = "demo --flights part.csv --db fleet --acknowledge /dev/stderr";
    let mut demo = terminal.command(line);
    let mut child = demo.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // Nobody reads on: it cannot acknowledge all that is under way, nor end in order.
    child.stderr.as_mut().unwrap().read_exact(&mut [0; 1]).unwrap();
    let status = loop {
        send("TERM", &child);
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::yield_now();
    };
    assert_eq!(status.signal(), Some(15));
    continuant::Database::open(terminal.path("fleet")).unwrap().close().unwrap();
}

#[test]
fn fuzzing_that_is_stopped_says_what_it_found() {
    let terminal = Terminal::with_visits();
    let line = "--json fuzz object.wasm welcome --policy policy.cedar --minutes 60";
    let mut fuzz = terminal.command(line);
    let mut child = fuzz.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Until it is in the middle of it, the first signal ends it at once.
    while !threads(&child).iter().any(|name| name.starts_with("continuant-")) {
        std::thread::yield_now();
    }
    send("TERM", &child);
    let (mut stdout, mut stderr) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let code = child.wait().unwrap().code();
    assert_eq!(code, Some(128 + 15), "{stderr}");
    let report: Json = serde_json::from_str(&stdout).unwrap();
    assert!(report["steps"].is_u64() && report["broken"].is_null(), "{stdout}");
}

/// The names of a process' threads.
fn threads(child: &Child) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
    let names = tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")));
    names.map(Result::unwrap_or_default).collect()
}

/// Commands that go through all there is: each ends in order, and says what it leaves.
#[test]
fn what_walks_everything_ends_in_order_when_it_is_asked_to() {
    let terminal = Terminal::with_visits();
    let storage = storage::Options::new().segment_bytes(64 << 10);
    let db = Options::new().cycles(false).storage(storage).open(terminal.path("continuant.db"));
    let db = db.unwrap();
    let id = db.find("visits").unwrap().unwrap();
    for _ in 0..3000 {
        let call = db.call(id, "increment", args![1u64]).durability(Durability::Relaxed);
        call.wait().unwrap();
    }
    db.close().unwrap();
    const UNVERIFIED: &str =
        "only a part was verified: the rest of the lineage may or may not verify";
    for (line, told) in [
        ("verify visits --replay", UNVERIFIED),
        ("verify --all --replay", "0 of the 0 objects so far do not verify"),
        ("check", "nothing was changed"),
        ("check --repair", "the index is as it was: `check --repair` makes it anew"),
        ("compact --all", "segments were compacted, and the others are unchanged"),
    ] {
        let mut stopped = None;
        // It may be done before the signal comes, or on its way in or out.
        for _ in 0..50 {
            let mut command = terminal.command(line);
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            while !draws(&child) && child.try_wait().unwrap().is_none() {
                std::thread::yield_now();
            }
            if child.try_wait().unwrap().is_none() {
                send("TERM", &child);
            }
            let ended = child.wait_with_output().unwrap();
            if ended.status.code() == Some(128 + 15) {
                stopped = Some(String::from_utf8(ended.stderr).unwrap());
                break;
            }
        }
        let stopped = stopped.unwrap_or_else(|| panic!("{line} never ended in order"));
        assert!(stopped.starts_with("error: stopped by SIGTERM: "), "{line}: {stopped}");
        assert!(stopped.contains(told) && stopped.lines().count() == 1, "{line}: {stopped}");
        let names = std::fs::read_dir(terminal.path("continuant.db/log")).unwrap();
        let names = names.map(|name| name.unwrap().file_name().into_string().unwrap());
        assert!(names.into_iter().all(|name| !name.ends_with(".tmp")), "{line}");
    }
    terminal.run("compact --all").done();
    terminal.run("check").done();
    terminal.run("verify visits --replay").done();
}

/// Returns whether a process has a bar, which a thread without a name of its own draws.
fn draws(child: &Child) -> bool {
    let names = threads(child);
    let count = |wanted| names.iter().filter(|name| name.trim() == wanted).count();
    // Before it has its name, a thread has that of the process.
    count("signals") == 1 && count("continuant") > 1
}

/// A capsule that comes slowly: the rest of it is not waited for.
#[test]
fn the_verification_of_a_capsule_ends_in_order() {
    let terminal = Terminal::with_visits();
    terminal.run("export visits whole.continuant").done();
    let whole = std::fs::read(terminal.path("whole.continuant")).unwrap();
    let made = Command::new("mkfifo").arg(terminal.path("slow.continuant")).status();
    assert!(made.unwrap().success());
    let mut command = terminal.command("verify slow.continuant");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let path = terminal.path("slow.continuant");
    let mut capsule = std::fs::File::options().write(true).open(path).unwrap();
    while !draws(&child) && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    send("TERM", &child);
    // Byte by byte: it reads on until it was asked to end, and is long before the last.
    for byte in whole {
        if capsule.write_all(&[byte]).is_err() {
            break;
        }
    }
    drop(capsule);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15), "{stderr}");
    assert!(stderr.starts_with("error: stopped by SIGTERM: "), "{stderr}");
}
