//! Figures of Continuant, each beside what the machine itself can do with the same bytes, measured
//! in the same run: the report.
//!
//! It uses what an embedder uses, the crate `continuant`, and knows nothing that is private to it
//! but where frames stand in the log's files, which it reads to give the floors the same bytes.
//!
//! Invariant: every figure is the median of several rounds, and each round measures the figure and
//! then its floors, so that all of them saw the same machine.

mod barrier;
pub mod commits;
mod counter;
mod credentials;
mod decisions;
pub mod figure;
mod fleets;
pub mod floor;
pub mod frames;
mod history;
mod lineage;
pub mod machine;
mod numbers;
mod opening;
pub mod pages;
pub mod payloads;
pub mod population;
mod reads;
mod recovery;
mod report;
mod residents;
mod sizes;
mod space;
mod steps;
mod timing;
pub mod transfers;
mod verification;
mod wakes;

pub use counter::{POLICY, WASM};
pub use report::{Request, names, run};
pub use sizes::Sizes;
