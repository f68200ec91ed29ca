//! The targets: each a function of a seed, with the statement that it checks.
//!
//! This module does not know how often they are run.

mod admission_differential;
mod admission_soundness;
mod backup;
mod capsule;
mod commit_decode;
mod crash;
mod database_model;
mod faults;
mod header_decode;
mod instrument;
mod log_decode;
mod messages;
mod policy_parse;
mod proof_malleability;
mod replay;
mod rot;
mod schema_layout;
mod schema_parse;
mod simulation;
pub(crate) mod storage_model;

use crate::outcome::Outcome;
use crate::tally::Tally;

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The target's name on the command line.
    pub name: &'static str,
    /// The statement that must hold.
    pub about: &'static str,
    /// Does one run, which may count its work.
    pub run: fn(u64, &Tally) -> Outcome,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "header_decode",
        about: "a version header decodes from its own bytes and no others",
        run: |seed, _| header_decode::run(seed),
    },
    Target {
        name: "commit_decode",
        about: "commits and their payloads decode from their own bytes and no others",
        run: |seed, _| commit_decode::run(seed),
    },
    Target {
        name: "capsule",
        about: "a capsule that was cut, changed or sealed anew is refused",
        run: |seed, _| capsule::run(seed),
    },
    Target {
        name: "log_decode",
        about: "damage of the log is reported, or was the torn end of it",
        run: |seed, _| log_decode::run(seed),
    },
    Target {
        name: "admission_differential",
        about: "compiled rules decide as Cedar does, by the same rules",
        run: admission_differential::run,
    },
    Target {
        name: "admission_soundness",
        about: "nothing changes an object unless its policy said so",
        run: admission_soundness::run,
    },
    Target {
        name: "replay",
        about: "what was committed verifies, and nothing of which anything was changed",
        run: replay::run,
    },
    Target {
        name: "policy_parse",
        about: "any text is a policy that decides, or is refused",
        run: |seed, _| policy_parse::run(seed),
    },
    Target {
        name: "schema_parse",
        about: "any text is a schema that reads any memory, or is refused",
        run: |seed, _| schema_parse::run(seed),
    },
    Target {
        name: "schema_layout",
        about: "values are where, and as, the Canonical ABI has them",
        run: schema_layout::run,
    },
    Target {
        name: "proof_malleability",
        about: "what verifies verifies by its own bytes and no others",
        run: proof_malleability::run,
    },
    Target {
        name: "instrument",
        about: "modules run as they would without the pass, or are refused",
        run: instrument::run,
    },
    Target {
        name: "storage_model",
        about: "a store has what a map of versions has, through crashes",
        run: |seed, _| storage_model::run(seed),
    },
    Target {
        name: "crash",
        about: "what was acknowledged is there after a power cut at any write or sync",
        run: crash::run,
    },
    Target {
        name: "faults",
        about: "an operation of the disk that fails is told, and nothing acknowledged is lost",
        run: faults::run,
    },
    Target {
        name: "backup",
        about: "a backup is whole, or as it was, after a power cut at any write or sync of it",
        run: backup::run,
    },
    Target {
        name: "rot",
        about: "a byte that changed at rest is told, and never served",
        run: rot::run,
    },
    Target {
        name: "database_model",
        about: "counters and lamps do what a few lines of Rust do, and replay",
        run: |seed, _| database_model::run(seed),
    },
    Target {
        name: "simulation",
        about: "a database of thousands is what a model says, whatever fails; on one thread",
        run: simulation::run,
    },
    Target {
        name: "messages",
        about: "what one object sends another comes once, in order, or is a dead letter",
        run: messages::run,
    },
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
