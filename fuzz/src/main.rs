//! `continuant-fuzz TARGET`: runs a target seed after seed and reports the seed that fails.
//! `continuant-fuzz torture`: kills a writing process again and again and checks that nothing is
//! lost. `continuant-fuzz canaries`: removes checks and verifies that the targets notice.
//!
//! This file reads the command line and knows nothing else.

mod number;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use continuant_fuzz::{Plan, Summary, TARGETS, Torture, canary, find, run, text, torture};

/// Seeded fuzzing of Continuant. `list` names the targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// A target, `torture`, `canaries`, or `list`.
    target: String,
    /// The canaries to wake. Default: all.
    canaries: Vec<String>,
    /// The seed of the first run. Default: random.
    #[arg(long, value_parser = number::whole)]
    seed: Option<u64>,
    /// Minutes to run, such as 10 or 0.5. Default: 1, unless runs are given.
    #[arg(long, value_parser = number::minutes)]
    minutes: Option<Duration>,
    /// Runs at most, or rounds. To reproduce a failure: its seed, and 1.
    #[arg(long, value_parser = number::whole)]
    runs: Option<u64>,
    /// Prints each seed before its run: for a run that ends the process.
    #[arg(long)]
    trace: bool,
    /// The directory of the torture, empty or not there yet. Default: one of its own, which is kept
    /// when something is lost.
    #[arg(long)]
    db: Option<PathBuf>,
}

impl Arguments {
    fn time_max(&self) -> Option<Duration> {
        self.minutes.or(self.runs.is_none().then_some(Duration::from_secs(60)))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.unwrap_or_else(rand::random);
    match arguments.target.as_str() {
        "list" => {
            for target in TARGETS {
                println!("{:22} {}", target.name, target.about);
            }
            Ok(())
        }
        "canaries" => {
            let tree = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
            canary::run(tree, &arguments.canaries, |line| println!("{line}"))
        }
        "torture" => torment(&arguments, seed),
        torture::WRITER => {
            let path = arguments.db.context("a writer has a database")?;
            torture::write(&path, seed, arguments.runs.unwrap_or(u64::MAX))
        }
        target => fuzz(target, &arguments, seed),
    }
}

fn fuzz(target: &str, arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let target = find(target).with_context(|| format!("no target {target:?}: see list"))?;
    println!("{} --seed {seed}", target.name);
    let (runs_max, trace, time_max) = (arguments.runs, arguments.trace, arguments.time_max());
    let progress = !trace && std::io::stderr().is_terminal();
    let Summary { runs, took, mut counts, failure } =
        run(target, Plan { seed, runs_max, time_max, trace, progress });
    counts.insert("runs", runs);
    println!("{}", text(&counts, took));
    match failure {
        Some((seed, problem)) => bail!("{} --seed {seed} --runs 1: {problem}", target.name),
        None => Ok(()),
    }
}

fn torment(arguments: &Arguments, seed: u64) -> anyhow::Result<()> {
    let own = match &arguments.db {
        Some(_) => None,
        None => Some(tempfile::Builder::new().prefix("torture-").tempdir()?),
    };
    let kept = || own.as_ref().map(|own| own.path().to_path_buf());
    let directory = arguments.db.clone().or_else(kept).context("there is a directory")?;
    println!("torture --seed {seed} --db {}", directory.display());
    let (rounds_max, time_max) = (arguments.runs, arguments.time_max());
    let progress = std::io::stderr().is_terminal();
    match (Torture { directory, seed, rounds_max, time_max, progress }).run() {
        Ok((counts, took)) => {
            println!("{}", text(&counts, took));
            println!("losses: 0");
            Ok(())
        }
        Err(problem) => {
            // The files stay, to look in them for the lost data.
            own.map(tempfile::TempDir::keep);
            Err(problem)
        }
    }
}
