//! Batches that were stopped: each line is made once, whatever the reader saw of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::terminal::Terminal;

/// The lines of a batch, some of which are refused: more than one group.
const LINES: u64 = 2400;

/// The calls that are made together.
const GROUP: u64 = 1000;

/// Calls of two objects.
fn with_two(lines: u64) -> Terminal {
    let terminal = Terminal::with_visits();
    terminal.run("create object.wasm two --policy policy.cedar --name other").done();
    let calls = (1..=lines).map(|number| {
        let object = if number % 3 == 0 { "other" } else { "visits" };
        let by = if number % 400 == 0 { 1001 } else { 1 };
        format!("[\"{object}\", \"increment\", {by}]\n")
    });
    terminal.write("calls.jsonl", calls.collect::<String>());
    terminal
}

fn count(terminal: &Terminal, object: &str) -> u64 {
    terminal.run(&format!("get {object} count")).done().trim().parse().unwrap()
}

/// Returns the number in a line of output, and the version.
fn told(line: &str) -> Option<(u64, String)> {
    let (number, what) = line.strip_prefix("line ")?.split_once(": ")?;
    let what = what.trim_end().trim_end_matches(", on record").to_string();
    Some((number.parse().unwrap(), what))
}

#[test]
fn a_batch_that_is_killed_makes_each_line_once_when_it_is_resumed() {
    let rounds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 25 } else { 1 };
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..rounds {
        let about = format!("seed {seed}, round {round}");
        let terminal = with_two(LINES);
        let mut seen = BTreeMap::new();
        let mut options = "--sign owner.key --base 1000";
        for _ in 0..2 {
            let after = rng.random_range(1..=LINES / GROUP * GROUP);
            kill(&terminal, options, after, &mut seen, &about);
            options = "--sign owner.key --resume 1000";
        }
        let line = format!("batch calls.jsonl {options}");
        let last = terminal.run(&line);
        assert_eq!(last.code, Some(3), "{about}: {}", last.stderr);
        let outcomes = last.stdout.lines().filter_map(told).collect::<BTreeMap<_, _>>();
        assert_eq!(outcomes.len() as u64, LINES, "{about}");
        for (number, what) in seen {
            assert_eq!(outcomes[&number], what, "{about}: line {number}");
        }
        let refused = LINES / 400;
        let made = outcomes.values().filter(|what| what.starts_with("version ")).count() as u64;
        assert_eq!(made, LINES - refused, "{about}");
        let counts = count(&terminal, "visits") + count(&terminal, "other");
        assert_eq!(counts, LINES - refused, "{about}");
        // Once more: all of it is on record.
        let again = terminal.run(&line);
        assert!(again.stderr.contains("2400 lines were on record already, 0"), "{}", again.stderr);
        assert_eq!(count(&terminal, "visits") + count(&terminal, "other"), counts, "{about}");
        terminal.run("verify --all").done();
    }
}

/// Kills a batch once `after` lines were seen.
///
/// Its calls come from a pipe that stays open, so the batch cannot be over before.
fn kill(
    terminal: &Terminal,
    options: &str,
    after: u64,
    seen: &mut BTreeMap<u64, String>,
    about: &str,
) {
    let mut command = terminal.command(&format!("batch - {options}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let calls = std::fs::read(terminal.path("calls.jsonl")).unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        // Fails when the batch is killed before it has read all.
        pipe.write_all(&calls).ok();
        pipe
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (mut text, mut count) = (String::new(), 0);
    while lines.read_line(&mut text).unwrap() > 0 {
        // The last line may be half of one. A refusal may have other words later.
        let whole = text.ends_with('\n');
        if let Some((number, what)) = told(&text).filter(|told| whole && told.1.contains("version"))
        {
            let before = seen.insert(number, what.clone());
            assert!(before.is_none_or(|before| before == what), "{about}: line {number}");
        }
        text.clear();
        count += 1;
        if count == after {
            child.kill().unwrap();
        }
    }
    assert_eq!(child.wait().unwrap().code(), None, "{about}: it was over before");
    drop(feeder.join().unwrap());
}

#[test]
fn a_batch_whose_output_nobody_reads_any_more_says_how_to_go_on() {
    let terminal = with_two(1500);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let line = "batch calls.jsonl --sign owner.key --base 77";
    let output = terminal.command(line).stdout(writer).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.ends_with("--resume 77 continues the batch\n"), "{stderr}");
    assert!(count(&terminal, "visits") < 1000, "it is not all made");
    let resumed = terminal.run("batch calls.jsonl --sign owner.key --resume 77");
    assert_eq!(resumed.code, Some(3), "{}", resumed.stderr);
    assert_eq!(count(&terminal, "visits") + count(&terminal, "other"), 1500 - 3);
}

#[test]
fn what_is_resumed_is_the_same_batch_and_nothing_came_between() {
    let terminal = with_two(2);
    terminal.run("batch calls.jsonl --sign owner.key --base 1000");
    let line = |count: usize, by: u64| format!("[\"visits\", \"increment\", {by}]\n").repeat(count);
    terminal.write("longer.jsonl", line(3, 1));
    terminal.write("others.jsonl", line(2, 7));
    let other = terminal.run("batch others.jsonl --sign owner.key --resume 1000");
    let told = "error: line 1: another input of the object, increment, has the line's nonce";
    assert!(other.stderr.contains(told), "{}", other.stderr);
    assert!(other.stderr.ends_with("; --resume 1000 continues the batch\n"), "{}", other.stderr);
    assert_eq!((other.code, other.stdout.as_str()), (Some(2), ""));
    terminal.run("call visits increment 1 --sign owner.key --nonce 5000").done();
    let passed = terminal.run("batch longer.jsonl --sign owner.key --resume 1000");
    let [first, second, third] = passed.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("{passed:?}")
    };
    assert_eq!(first, "line 1: version 1, result 1, on record");
    assert_eq!(second, "line 2: version 2, result 2, on record");
    assert!(
        third.starts_with("line 3: the call is not on record, and cannot be made in this batch"),
        "{third}"
    );
    assert_eq!(passed.code, Some(1), "{}", passed.stderr);
    let used = terminal.run("batch calls.jsonl --sign owner.key --base 1000");
    assert_eq!(used.code, Some(2));
    assert!(used.stderr.contains("the keys used the nonce 5000"), "{}", used.stderr);
    let next = terminal.run("batch calls.jsonl --sign owner.key --base 5000");
    assert_eq!((next.code, count(&terminal, "visits")), (Some(0), 5));
    let history = terminal.run("history visits --refused");
    assert_eq!((history.code, history.stdout.as_str()), (Some(0), ""), "nothing was refused");
    assert_eq!(history.stderr, "note: no refusal matches\n");
}

/// A wrong base, and a wrong key, had every line made again.
#[test]
fn what_is_resumed_is_on_record_or_nothing_is_made() {
    let terminal = with_two(3);
    terminal.run("key new other.key").done();
    terminal.run("batch calls.jsonl --sign owner.key --base 1000").done();
    let counts = || (count(&terminal, "visits"), count(&terminal, "other"));
    let made = counts();
    let wrong = [
        "--sign owner.key --resume 2000",
        "--sign owner.key --resume 900",
        "--sign other.key --resume 1000",
        "--sign owner.key --sign other.key --resume 1000",
    ];
    for options in wrong {
        let base = options.split_whitespace().last().unwrap();
        for calls in ["calls.jsonl", "/dev/stdin"] {
            let mut command = terminal.command(&format!("batch {calls} {options}"));
            let file = std::fs::File::open(terminal.path("calls.jsonl")).unwrap();
            // A pipe is read once.
            let mut cat = std::process::Command::new("cat");
            let mut cat = cat.stdin(file).stdout(Stdio::piped()).spawn().unwrap();
            let output = command.stdin(cat.stdout.take().unwrap()).output().unwrap();
            cat.wait().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(5), "{calls} {options}: {stderr}");
            assert!(output.stdout.is_empty(), "{calls} {options}");
            let told = stderr.lines().last().unwrap();
            let start = format!("error: no call of a batch with the base {base}, signed by ");
            assert!(told.starts_with(&start), "{calls} {options}: {told}");
            assert!(told.contains("is on record of the 2 objects that the lines name"), "{told}");
            let end = format!("--resume {base} --anew makes all of its calls");
            assert!(told.ends_with(&end), "{calls} {options}: {told}");
            assert_eq!(counts(), made, "{calls} {options}");
        }
    }
    let anew = terminal.run("batch calls.jsonl --sign owner.key --resume 2000 --anew");
    assert!(
        anew.stderr.ends_with("0 lines were on record already, 3 were called now\n"),
        "{anew:?}"
    );
    assert_eq!((anew.code, counts()), (Some(0), (made.0 * 2, made.1 * 2)));
    let again = terminal.run("batch calls.jsonl --sign owner.key --resume 2000").done();
    assert!(again.lines().all(|line| line.ends_with(", on record")), "{again}");
    // Lines that were refused are on record too.
    terminal.write("refused.jsonl", "[\"visits\", \"increment\", 1001]\n");
    let first = terminal.run("batch refused.jsonl --sign owner.key --base 3000");
    let again = terminal.run("batch refused.jsonl --sign owner.key --resume 3000");
    assert_eq!((first.code, again.code), (Some(3), Some(3)), "{again:?}");
    assert_eq!(terminal.run("batch calls.jsonl --sign owner.key --anew").code, Some(2));
}

#[test]
fn calls_come_from_a_pipe_too_and_from_none_nothing_is_made() {
    let terminal = with_two(1);
    let run = |text: &str| {
        let mut command = terminal.command("batch - --sign owner.key --base 1000");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let call = "[\"visits\", \"increment\", 1]\n";
    let (code, stdout, stderr) = run(&format!("{call}\n{call}nonsense\n{call}"));
    assert_eq!((code, stdout.lines().count()), (Some(2), 2), "{stdout}{stderr}");
    assert!(stderr.contains("line 4: expected a JSON array"), "{stderr}");
    assert!(stderr.ends_with("; --resume 1000 continues the batch\n"), "{stderr}");
    assert_eq!(count(&terminal, "visits"), 2);
    let (code, _, stderr) = run("\n \n");
    assert_eq!(code, Some(2));
    assert!(stderr.ends_with("error: - has no calls: nothing was done\n"), "{stderr}");
    terminal.write("empty.jsonl", "");
    let empty = terminal.run("batch empty.jsonl --sign owner.key");
    assert_eq!(empty.stderr, "error: empty.jsonl has no calls: nothing was done\n");
}
