//! The report: figures of Continuant, each beside the machine's own best with the same bytes,
//! measured in the same run.
//!
//! This crate uses the crate `continuant` as an embedder does, and knows nothing private of it
//! except the places of frames in the log's files, which it reads to give the floors the same
//! bytes.
//!
//! Invariant: every figure is the median of several rounds, and each round measures the figure and
//! then its floors, so that all of them saw the same machine.

pub mod arguments;
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
