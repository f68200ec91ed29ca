//! Seeded fuzzing: targets that draw everything they do from one number, and a runner of them.
//!
//! A target states what must hold and fails with a text when it does not; a panic is a failure like
//! any other. It uses the crates' public APIs only.
//!
//! Invariant: the seed determines the run, so a seed reproduces its failure.

pub mod canary;
mod disk;
mod frames;
mod generate;
mod outcome;
mod runner;
mod sections;
mod tally;
mod targets;
mod threads;
pub mod torture;
mod vault;
mod workload;

pub use outcome::Outcome;
pub use runner::{Plan, Summary, run, run_one};
pub use tally::{Counts, Tally, text};
pub use targets::{TARGETS, Target, find};
pub use torture::Torture;
