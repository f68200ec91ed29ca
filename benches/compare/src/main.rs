//! Continuant beside other stores that run in a process: the same versions of the same objects, in
//! groups of the same size, in the same run.
//!
//! It reads the command line and prints; `rounds.rs` measures.

#[cfg(feature = "fjall")]
mod fjall;
#[cfg(feature = "lmdb")]
mod lmdb;
mod peer;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod rounds;
mod sqlite;
mod transfers;

use std::io::Write;

use anyhow::Result;
use clap::Parser;
use continuant_benches::{arguments, machine};

/// Figures of Continuant's store beside its peers'.
#[derive(Debug, Parser)]
struct Arguments {
    /// A tenth of the objects: a first look.
    #[arg(long)]
    quick: bool,
    /// Only the peers whose names contain this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Rounds of each figure.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = arguments::count)]
    rounds: usize,
    /// Objects that are committed to, once each in a round, and accounts; 100,000, or 10,000 when
    /// quick.
    #[arg(long, value_name = "N", value_parser = arguments::count)]
    objects: Option<usize>,
}

fn main() -> Result<()> {
    let Arguments { quick, only, json, rounds, objects } = Arguments::parse();
    let objects = objects.unwrap_or(if quick { 10_000 } else { 100_000 });
    let mut out = std::io::stdout().lock();
    if !json {
        writeln!(out, "{}; {objects} objects, {rounds} rounds", machine::describe())?;
    }
    let noise = machine::noise(if quick { 9 } else { 25 })?;
    for figure in noise.iter().chain(&rounds::compare(objects, rounds, only.as_deref())?) {
        figure.print(json, &mut out)?;
    }
    if only.is_none_or(|only| "sqlite".contains(&only)) {
        for figure in transfers::compare(objects, rounds)? {
            figure.print(json, &mut out)?;
        }
    }
    Ok(())
}
