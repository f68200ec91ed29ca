//! How much work each figure does: enough to be steady, quick, or tiny for a test that every
//! figure runs.
//!
//! It does not know what a figure does with its size.

/// The sizes of one report.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Objects that `commit.durable.group` commits to, once each in a round.
    pub objects: usize,
    /// Commits that `commit.durable.single` waits for in a round.
    pub singles: usize,
    /// Steps of `step.relaxed` in a round.
    pub steps: usize,
    /// Field reads of `snapshot.field_read` in a round.
    pub reads: usize,
    /// Versions of the object that `verify` verifies.
    pub versions: usize,
    /// Runs of the workloads that tell how noisy the machine is.
    pub noise_runs: usize,
}

impl Sizes {
    /// The sizes that the project's figures are quoted at.
    pub const FULL: Sizes = Sizes {
        objects: 100_000,
        singles: 300,
        steps: 50_000,
        reads: 1_000_000,
        versions: 20_000,
        noise_runs: 25,
    };
    /// Sizes for a first look.
    pub const QUICK: Sizes = Sizes {
        objects: 10_000,
        singles: 60,
        steps: 5_000,
        reads: 100_000,
        versions: 2_000,
        noise_runs: 9,
    };
    /// Sizes that say nothing about time: they show that every figure runs.
    pub const TINY: Sizes =
        Sizes { objects: 16, singles: 2, steps: 8, reads: 32, versions: 6, noise_runs: 2 };
}
