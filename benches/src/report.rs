//! The report: the list of figures, and a line for each as soon as it is measured.
//!
//! This module does not know how a figure is measured.

use std::io::Write;

use anyhow::{Result, ensure};

use crate::figure::{Figure, Peer, Unit};
use crate::sizes::Sizes;
use crate::{
    barrier, commits, credentials, decisions, fleets, history, machine, opening, reads, recovery,
    residents, space, steps, transfers, verification, wakes,
};

/// The selection and size of a report.
#[derive(Clone, Debug)]
pub struct Request {
    /// Report only figures whose names contain this.
    pub only: Option<String>,
    /// True for one JSON object a line rather than text.
    pub json: bool,
    /// Rounds of each figure.
    pub rounds: usize,
    /// The amount of work in each round.
    pub sizes: Sizes,
}

/// Figures that are measured together.
struct Bench {
    names: &'static [&'static str],
    run: fn(&Sizes, usize) -> Result<Vec<Figure>>,
}

/// The memory that the default options of a store allow, in MiB: 64 of cache of the index; 32 for
/// each of the groups that is open, that is written, and whose two buffers are kept; and 1 KiB for
/// each row in memory, of which twice 131,072 may wait for the index, as many may be being written,
/// and half of that may be older ones.
const LIMITS_MEBIBYTES: f64 = 64.0 + 4.0 * 32.0 + 5.0 * 128.0;

const BENCHES: &[Bench] = &[
    Bench { names: &[commits::GROUP], run: commits::group },
    Bench { names: &[commits::GROUP_1024], run: commits::group_1024 },
    Bench { names: &[commits::FIELDS_1024], run: commits::fields_1024 },
    Bench { names: &[commits::SINGLE], run: commits::single },
    Bench { names: &[steps::RELAXED, steps::RELAXED_2], run: steps::relaxed },
    Bench { names: &[barrier::BARRIER], run: barrier::write_barrier },
    Bench {
        names: &[transfers::UNIFORM, transfers::UNIFORM_P99, transfers::ZIPF, transfers::ZIPF_P99],
        run: transfers::durable,
    },
    Bench { names: &[decisions::ACCOUNT], run: decisions::account },
    Bench { names: &[decisions::FLIGHT], run: decisions::flight },
    Bench { names: &[decisions::COMPILE], run: decisions::compile },
    Bench { names: &[credentials::VERIFY], run: credentials::verify },
    Bench { names: &[credentials::BATCH], run: credentials::batch },
    Bench { names: &[credentials::SESSION], run: credentials::session },
    Bench {
        names: &[reads::HELD_IDLE, reads::NEWEST_IDLE, reads::HELD_BUSY, reads::NEWEST_BUSY],
        run: reads::field_read,
    },
    Bench { names: &[history::BY_SEQ, history::BY_TIME, history::COMMIT], run: history::history },
    Bench { names: &[recovery::PAGES], run: recovery::pages },
    Bench { names: &[recovery::FIELDS], run: recovery::fields },
    Bench { names: &[opening::CLEAN, opening::CLEAN_WAKES], run: opening::clean },
    Bench {
        names: &[residents::RESIDENT, residents::IDLE, residents::HIBERNATED, residents::WAKE],
        run: residents::million,
    },
    Bench { names: &[fleets::UPGRADE], run: fleets::upgrade },
    Bench { names: &[wakes::LATENESS], run: wakes::lateness },
    Bench { names: &[space::PER_COMMIT], run: space::per_commit },
    Bench { names: &[space::INDEX], run: space::index },
    Bench { names: &[verification::REPLAY, verification::LINEAGE], run: verification::verify },
];

/// The names of all figures, besides those on the machine and the process.
pub fn names() -> impl Iterator<Item = &'static str> {
    BENCHES.iter().flat_map(|bench| bench.names).copied()
}

/// Measures the requested figures and writes a line for each, with the machine's noise before and
/// the process's memory behind.
///
/// # Errors
///
/// When no figure has such a name; those of the database, and of `out`.
pub fn run(request: &Request, out: &mut impl Write) -> Result<()> {
    let wanted = |name: &str| request.only.as_ref().is_none_or(|only| name.contains(only));
    let listed = names().collect::<Vec<_>>().join(", ");
    ensure!(names().any(wanted), "no figure has such a name; there are {listed}");
    ensure!(request.rounds > 0, "a figure needs a round");
    if !request.json {
        writeln!(out, "{}; {} rounds", machine::describe(), request.rounds)?;
    }
    let mut line = |figure: &Figure| figure.print(request.json, out);
    for figure in machine::noise(request.sizes.noise_runs)? {
        line(&figure)?;
    }
    for bench in BENCHES.iter().filter(|bench| bench.names.iter().any(|name| wanted(name))) {
        machine::settle();
        machine::forget_peak();
        for figure in (bench.run)(&request.sizes, request.rounds)? {
            if wanted(&figure.name) {
                line(&figure)?;
            }
        }
        memory(bench.names[0]).iter().try_for_each(&mut line)?;
    }
    Ok(())
}

/// Returns the largest memory that a bench took, beside the limit that the options allow a store.
fn memory(bench: &str) -> Option<Figure> {
    let about = "resident set at its largest, with what the measuring itself holds";
    let samples = [machine::peak()?].into_iter().collect();
    let about_limits = "default options: the index's cache, four groups, rows in memory";
    let vs = vec![Peer::fixed("limit.options", about_limits, LIMITS_MEBIBYTES)];
    Some(Figure::new(&format!("memory.peak.{bench}"), about, Unit::MEBIBYTES, samples, vs))
}
