//! The demo killed at random moments: everything that it acknowledged is in the database.
//!
//! The expected state is kept here, in another process, from the lines of a pipe.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use continuant::{Clock, ObjectId, Options, Replay, Time, VersionHash};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::demo::month;
use crate::terminal::Terminal;

/// The rows to play: about as many commits are acknowledged when nothing happens.
const ROWS: usize = 6000;

#[test]
fn what_was_acknowledged_survives_a_kill_at_any_moment() {
    let rounds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 50 } else { 3 };
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..rounds {
        let about = format!("seed {seed}, round {round}");
        // It is at work when the first is killed: the lines left are far more than a pipe holds.
        // Of the others some are over by then, or killed closing, verifying or replaying.
        let most = if round == 0 { ROWS / 2 } else { ROWS * 4 / 3 };
        let killed = kill_and_check(rng.random_range(1..most), &about);
        assert!(killed || round > 0, "{about}: the demo was over before");
    }
}

/// Kills a demo after `after` acknowledgements, checks the database, and returns whether it was
/// killed.
fn kill_and_check(after: usize, about: &str) -> bool {
    let terminal = Terminal::new();
    terminal.write("part.csv", month(ROWS, |_| true));
    let line = "demo --flights part.csv --db fleet --acknowledge /dev/stderr";
    let mut demo = terminal.command(line);
    let mut child = demo.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    // The last line may be half of one; nothing was claimed by it.
    while lines.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        acknowledged.push(parse(&line, about));
        line.clear();
        if acknowledged.len() == after {
            child.kill().unwrap();
        }
    }
    // The pipe ends with the process, killed or not.
    let killed = child.wait().unwrap().code().is_none();
    assert!(killed || acknowledged.len() > ROWS / 2, "{about}: it ended by itself, early");
    check(&terminal, &acknowledged, about);
    killed
}

fn parse(line: &str, about: &str) -> (ObjectId, u64, VersionHash) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [object, seq, version] = words[..] else { panic!("{about}: {line}") };
    (object.parse().unwrap(), seq.parse().unwrap(), version.parse().unwrap())
}

fn check(terminal: &Terminal, acknowledged: &[(ObjectId, u64, VersionHash)], about: &str) {
    let options = Options::new().clock(Clock::manual(Time::MIN));
    let db = options.open(terminal.path("fleet")).unwrap();
    for &(object, seq, version) in acknowledged {
        let found = db.at(object, seq).map(|snapshot| snapshot.hash());
        let found = found.unwrap_or_else(|error| panic!("{about}: {object}, {seq}: {error}"));
        assert_eq!(found, version, "{about}: {object}, {seq}");
    }
    for info in db.objects() {
        let id = info.unwrap().id;
        db.verify(id, Replay::No).unwrap_or_else(|error| panic!("{about}: {error}"));
    }
    db.close().unwrap();
}
