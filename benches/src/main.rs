//! `continuant-benches report`: the figures, beside their floors.
//!
//! This file reads the command line and knows nothing else.

use std::io::Write;

use clap::{Parser, Subcommand};
use continuant_benches::{Request, Sizes, arguments, names, run};

/// Figures of Continuant, beside what the machine can do.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures and prints a line for each figure: name, median, range, and each floor's.
    Report {
        /// Less work in fewer rounds: a first look.
        #[arg(long)]
        quick: bool,
        /// Only the figures whose names contain this.
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
        /// Rounds of each figure: 5, or 3 when quick.
        #[arg(long, value_name = "N", value_parser = arguments::count)]
        rounds: Option<usize>,
    },
    /// The names of the figures.
    List,
}

fn main() -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match Arguments::parse().command {
        Command::Report { quick, only, json, rounds } => {
            let (sizes, usual) = if quick { (Sizes::QUICK, 3) } else { (Sizes::FULL, 5) };
            let rounds = rounds.unwrap_or(usual);
            run(&Request { only, json, rounds, sizes }, &mut out)
        }
        Command::List => Ok(names().try_for_each(|name| writeln!(out, "{name}"))?),
    }
}
