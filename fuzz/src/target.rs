//! The targets: each a function of a seed, with what it holds true.
//!
//! It does not know how often they are run.

mod capsule;
mod commit_decode;
mod database_model;
mod header_decode;
mod instrument;
mod log_decode;
mod policy_parse;
mod schema_parse;
mod storage_model;

use crate::outcome::Outcome;

/// Something that is fuzzed.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// What must hold.
    pub about: &'static str,
    /// One run.
    pub run: fn(u64) -> Outcome,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target {
        name: "header_decode",
        about: "a version header decodes from its own bytes and no others",
        run: header_decode::run,
    },
    Target {
        name: "commit_decode",
        about: "commits and their payloads decode from their own bytes and no others",
        run: commit_decode::run,
    },
    Target {
        name: "capsule",
        about: "a capsule that was cut, changed or sealed anew is refused",
        run: capsule::run,
    },
    Target {
        name: "log_decode",
        about: "damage of the log is reported, or was the torn end of it",
        run: log_decode::run,
    },
    Target {
        name: "policy_parse",
        about: "any text is a policy that decides, or is refused",
        run: policy_parse::run,
    },
    Target {
        name: "schema_parse",
        about: "any text is a schema that reads any memory, or is refused",
        run: schema_parse::run,
    },
    Target {
        name: "instrument",
        about: "any bytes are a module that a substrate takes, or are refused",
        run: instrument::run,
    },
    Target {
        name: "storage_model",
        about: "a store has what a map of versions has, through crashes",
        run: storage_model::run,
    },
    Target {
        name: "database_model",
        about: "counters and lamps do what a few lines of Rust do, and replay",
        run: database_model::run,
    },
];

/// The target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
