//! `continuant-fuzz TARGET`: runs a target seed after seed and says which seed fails.
//!
//! It reads the command line and knows nothing else.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use continuant_fuzz::{Plan, Summary, TARGETS, find, run, text};

/// Seeded fuzzing of Continuant. `list` names the targets.
#[derive(Debug, Parser)]
struct Arguments {
    /// A target, or `list`.
    target: String,
    /// The seed of the first run. Default: random.
    #[arg(long)]
    seed: Option<u64>,
    /// Minutes to run. Default: 1, unless runs are given.
    #[arg(long)]
    minutes: Option<f64>,
    /// Runs at most. To reproduce a failure: its seed, and 1.
    #[arg(long)]
    runs: Option<u64>,
    /// Tells each seed before its run: for a run that ends the process.
    #[arg(long)]
    trace: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.target == "list" {
        for target in TARGETS {
            println!("{:16} {}", target.name, target.about);
        }
        return Ok(());
    }
    let target = find(&arguments.target);
    let target = target.with_context(|| format!("no target {:?}: see list", arguments.target))?;
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("{} --seed {seed}", target.name);
    let minutes = arguments.minutes.or(arguments.runs.is_none().then_some(1.0));
    let time_max = minutes.map(|minutes| Duration::from_secs_f64(minutes.max(0.0) * 60.0));
    let (runs_max, trace) = (arguments.runs, arguments.trace);
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
