//! Figures of Continuant, each beside what the machine itself can do with the same bytes, measured
//! in the same run: the report.
//!
//! It uses what an embedder uses, the crate `continuant`, and knows nothing that is private to it
//! but where frames stand in the log's files, which it reads to give the floors the same bytes.
//!
//! Invariant: every figure is the median of several rounds, and each round measures the figure and
//! then its floors, so that all of them saw the same machine.

mod commits;
mod counter;
mod figure;
mod floor;
mod frames;
mod machine;
mod population;
mod reads;
mod report;
mod sizes;
mod steps;
mod verification;

pub use counter::{POLICY, WASM};
pub use report::{Request, names, run};
pub use sizes::Sizes;
