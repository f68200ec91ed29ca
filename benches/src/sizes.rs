//! The amount of work of each figure: enough to be steady, quick, or tiny for a test that runs
//! every figure.
//!
//! This module does not know the use of a size.

/// The sizes of one report.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Objects that `commit.durable.group` commits to, once each in a round, accounts of
    /// `transfer.durable`, and objects of `upgrade.fleet`.
    pub objects: usize,
    /// Commits that `commit.durable.single` waits for in a round.
    pub singles: usize,
    /// Steps of `step.relaxed` in a round.
    pub steps: usize,
    /// Times 8192 stores of a step of `write_barrier`.
    pub passes: u64,
    /// Transfers of `transfer.durable` in a round.
    pub transfers: usize,
    /// Field reads of `snapshot.field_read` in a round.
    pub reads: usize,
    /// Versions of the object that `verify` verifies and `space.per_commit` counts.
    pub versions: usize,
    /// Versions of the deep object of `asof.read` and `commit.at_depth`.
    pub depth: u64,
    /// Objects of 100 versions beside it.
    pub shallow_objects: usize,
    /// Reads of `asof.read` in a round.
    pub asof_reads: usize,
    /// Commits of `commit.at_depth` in a round.
    pub depth_commits: u64,
    /// The objects whose versions `recover.tail` reads.
    pub tail_objects: usize,
    /// Objects of the database that `open.clean` opens.
    pub open_objects: usize,
    /// Objects of `space.index`.
    pub space_objects: usize,
    /// Commits to each of them.
    pub space_versions: usize,
    /// Objects of `resident.million`.
    pub residents: usize,
    /// Objects that `wake.hibernated` wakes in a round.
    pub wakes: usize,
    /// Wakes in a second of `timer.lateness`.
    pub wakes_each_second: usize,
    /// Runs of the workloads that tell how noisy the machine is.
    pub noise_runs: usize,
}

impl Sizes {
    /// The sizes that the project's figures are quoted at.
    pub const FULL: Sizes = Sizes {
        objects: 100_000,
        singles: 300,
        steps: 50_000,
        passes: 300,
        transfers: 100_000,
        reads: 1_000_000,
        versions: 20_000,
        depth: 1_000_000,
        shallow_objects: 1_000,
        asof_reads: 20_000,
        depth_commits: 20_000,
        tail_objects: 32_768,
        open_objects: 1_000_000,
        space_objects: 10_000,
        space_versions: 100,
        residents: 1_000_000,
        wakes: 5_000,
        wakes_each_second: 10_000,
        noise_runs: 25,
    };
    /// Sizes for a first look.
    pub const QUICK: Sizes = Sizes {
        objects: 10_000,
        singles: 60,
        steps: 5_000,
        passes: 100,
        transfers: 10_000,
        reads: 100_000,
        versions: 2_000,
        depth: 20_000,
        shallow_objects: 100,
        asof_reads: 2_000,
        depth_commits: 2_000,
        tail_objects: 3_000,
        open_objects: 100_000,
        space_objects: 1_000,
        space_versions: 50,
        residents: 100_000,
        wakes: 1_000,
        wakes_each_second: 2_000,
        noise_runs: 9,
    };
    /// Sizes that say nothing about time: they show that every figure runs.
    pub const TINY: Sizes = Sizes {
        objects: 16,
        singles: 2,
        steps: 8,
        passes: 2,
        transfers: 8,
        reads: 32,
        versions: 6,
        depth: 150,
        shallow_objects: 2,
        asof_reads: 8,
        depth_commits: 8,
        tail_objects: 4,
        open_objects: 16,
        space_objects: 4,
        space_versions: 3,
        residents: 20,
        wakes: 4,
        wakes_each_second: 20,
        noise_runs: 2,
    };
}
