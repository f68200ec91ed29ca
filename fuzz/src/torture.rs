//! The torture: a supervisor that kills a writing process at random moments, again and again, and
//! checks that everything which the process acknowledged is there.
//!
//! ```text
//!   supervisor --starts--> writer: opens, commits on several threads
//!       ^                     |  a line for each acknowledged commit
//!       +------- pipe --------+
//!       kills it; opens the database itself now and then and compares it with its record
//! ```
//!
//! The record of acknowledged commits is in another process than the killed one. This module does
//! not know how a database is stored.
//!
//! Invariant: a line in the pipe was acknowledged before it was written there.

mod record;
mod writer;

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rand::RngExt;
use rand::rngs::StdRng;

use self::record::Record;
pub use self::writer::{WRITER, write};
use crate::generate::source;
use crate::tally::{Counts, Tally};

/// Bytes of a log above which the next round starts with an empty directory.
const LOG_BYTES_MAX: u64 = 96 << 20;

/// The parameters of a torture.
#[derive(Clone, Debug)]
pub struct Torture {
    /// An empty directory, or one that is not there yet.
    pub directory: PathBuf,
    /// The seed of everything except the moments: those are the machine's.
    pub seed: u64,
    /// Rounds at most.
    pub rounds_max: Option<u64>,
    /// Time at most.
    pub time_max: Option<Duration>,
    /// True to show progress on the terminal.
    pub progress: bool,
}

/// The moment at which a writer is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// A while after it was started: while it opens the database, or soon after.
    After(Duration),
    /// After this many acknowledgements.
    Behind(u64),
    /// Never: it closes the database by itself, or fails to.
    Never,
}

/// A line of a writer.
enum Line {
    Opened,
    Commit(record::Commit),
    Closing,
}

impl Torture {
    /// Tortures until the time or the rounds are over.
    ///
    /// # Errors
    ///
    /// The first loss, and any error that stops the torture; the directory is left unchanged.
    pub fn run(&self) -> anyhow::Result<(Counts, Duration)> {
        let (start, tally) = (Instant::now(), Tally::new(self.progress));
        let mut rng = source(self.seed);
        let mut record = Record::new(self.directory.join("0"));
        std::fs::create_dir_all(&self.directory)?;
        if std::fs::read_dir(&self.directory)?.next().is_some() {
            bail!("{} is not empty", self.directory.display());
        }
        let mut round = 0;
        while self.rounds_max.is_none_or(|max| round < max)
            && self.time_max.is_none_or(|max| start.elapsed() < max)
        {
            let done = self.round(&mut record, &mut rng, &tally);
            let place = record.path().display();
            done.with_context(|| format!("round {round} --seed {}, in {place}", self.seed))?;
            round += 1;
            tally.add("rounds", 1);
            if record.bytes() > LOG_BYTES_MAX {
                record.check_all(&mut rng, &tally)?;
                std::fs::remove_dir_all(record.path())?;
                record = Record::new(self.directory.join(round.to_string()));
            }
        }
        record.check_all(&mut rng, &tally)?;
        for what in ["kills", "kills while opening", "kills while closing", "commits checked"] {
            tally.add(what, 0);
        }
        Ok((tally.end(), start.elapsed()))
    }

    /// Kills a few writers one after another, and then looks.
    fn round(&self, record: &mut Record, rng: &mut StdRng, tally: &Tally) -> anyhow::Result<()> {
        for _ in 0..rng.random_range(1..4) {
            let moment = match rng.random_range(0..10) {
                0..3 => Moment::After(Duration::from_micros(rng.random_range(0..60_000))),
                3..5 => Moment::After(Duration::from_millis(rng.random_range(0..1000))),
                5..9 => Moment::Behind(rng.random_range(1..3000)),
                _ => Moment::Never,
            };
            let commits = rng.random_range(1..4000);
            let writer = Writer::start(record.path(), rng.random(), commits)?;
            let end = writer.follow(moment, record)?;
            match (moment, end.killed) {
                (Moment::Never, _) | (_, false) => tally.add("writers that ended", 1),
                _ => tally.add("kills", 1),
            }
            if end.killed && !end.opened {
                tally.add("kills while opening", 1);
            }
            if end.killed && end.closing {
                tally.add("kills while closing", 1);
            }
            tally.add("commits", end.commits);
        }
        record.check(rng, tally)
    }
}

/// A writing process, and its output.
struct Writer {
    child: Child,
    lines: Receiver<String>,
    started: Instant,
}

/// The end of a writer.
#[derive(Clone, Copy, Debug, Default)]
struct End {
    killed: bool,
    opened: bool,
    closing: bool,
    commits: u64,
}

impl Writer {
    fn start(path: &std::path::Path, seed: u64, commits: u64) -> anyhow::Result<Writer> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WRITER).arg("--db").arg(path);
        command.arg("--seed").arg(seed.to_string()).arg("--runs").arg(commits.to_string());
        let started = Instant::now();
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut from = BufReader::new(child.stdout.take().context("the writer has an output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            // The last line may be half of one; nothing was claimed by it.
            while from.read_line(&mut line).is_ok_and(|count| count > 0) && line.ends_with('\n') {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        Ok(Writer { child, lines, started })
    }

    /// Records the writer's lines until it ends, and kills it at the given moment.
    fn follow(mut self, moment: Moment, record: &mut Record) -> anyhow::Result<End> {
        let mut end = End::default();
        let mut deadline = match moment {
            Moment::After(time) => Some(self.started + time),
            _ => None,
        };
        loop {
            let line = match deadline {
                Some(time) => {
                    self.lines.recv_timeout(time.saturating_duration_since(Instant::now()))
                }
                None => self.lines.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match line {
                Ok(line) => match line.parse::<Line>()? {
                    Line::Opened => end.opened = true,
                    Line::Closing => end.closing = true,
                    Line::Commit(commit) => {
                        record.enter(commit)?;
                        end.commits += 1;
                    }
                },
                Err(RecvTimeoutError::Timeout) => {
                    self.child.kill()?;
                    deadline = None;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if matches!(moment, Moment::Behind(count) if count == end.commits) {
                self.child.kill()?;
            }
        }
        let status = self.child.wait()?;
        end.killed = status.code().is_none();
        if status.code().is_some_and(|code| code != 0) {
            bail!("a writer failed by itself: {status}");
        }
        Ok(end)
    }
}

impl std::str::FromStr for Line {
    type Err = anyhow::Error;

    fn from_str(line: &str) -> anyhow::Result<Line> {
        let words: Vec<&str> = line.split_whitespace().collect();
        Ok(match words[..] {
            ["opened"] => Line::Opened,
            ["closing"] => Line::Closing,
            [object, seq, version] => {
                let parsed = (object.parse(), seq.parse(), version.parse());
                let (Ok(object), Ok(seq), Ok(version)) = parsed else { bail!("{line:?}") };
                Line::Commit(record::Commit { object, seq, version })
            }
            _ => bail!("the writer said {line:?}"),
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Line::Opened => f.write_str("opened"),
            Line::Closing => f.write_str("closing"),
            Line::Commit(record::Commit { object, seq, version }) => {
                write!(f, "{object} {seq} {version}")
            }
        }
    }
}
