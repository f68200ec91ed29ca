//! A handful of seeds of every target, in seconds; hours of them are the binary's.
//!
//! - `lost_sync`: a sync that fails on a real file system, and then a power cut.
//! - `torture`: a writing process that is killed again and again.
//!
//! A failure names the seed that reproduces it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops where it is")]

mod lost_sync;
mod torture;

use std::time::Duration;

use continuant_fuzz::canary::{self, CANARIES};
use continuant_fuzz::{Counts, Plan, TARGETS, find, run, run_one};

/// Runs the first seeds of a target.
#[track_caller]
fn check(target: &str, runs: u64) {
    let target = find(target).expect("the target is there");
    for seed in 0..runs {
        if let Err(problem) = run_one(target, seed) {
            panic!("{} --seed {seed} --runs 1: {problem}", target.name);
        }
    }
}

/// Does as `check`, and returns the target's counts.
#[track_caller]
fn counted(target: &str, runs: u64) -> Counts {
    let target = find(target).expect("the target is there");
    let runs_max = Some(runs);
    let plan = Plan { seed: 0, runs_max, time_max: None, trace: false, progress: false };
    let summary = run(target, plan);
    if let Some((seed, problem)) = summary.failure {
        panic!("{} --seed {seed} --runs 1: {problem}", target.name);
    }
    summary.counts
}

#[test]
fn header_decode() {
    check("header_decode", 500);
}

#[test]
fn commit_decode() {
    check("commit_decode", 300);
}

#[test]
fn capsule() {
    check("capsule", 60);
}

#[test]
fn log_decode() {
    check("log_decode", 12);
}

#[test]
fn admission_differential() {
    let counts = counted("admission_differential", 16);
    for what in ["permits compared", "refusals compared", "left to Cedar"] {
        assert!(counts.get(what).is_some_and(|&count| count > 500), "{what}: {counts:?}");
    }
}

#[test]
fn admission_soundness() {
    // One of these runs goes through a database.
    let counts = counted("admission_soundness", 24);
    for what in ["pure sequences", "whole sequences", "permits", "refusals", "forgeries refuted"] {
        assert!(counts.get(what).is_some_and(|&count| count > 0), "{what}: {counts:?}");
    }
}

#[test]
fn replay() {
    let counts = counted("replay", 40);
    for what in ["lineages", "lineages replayed"] {
        assert!(counts.get(what).is_some_and(|&count| count > 0), "{what}: {counts:?}");
    }
}

#[test]
fn schema_layout() {
    let counts = counted("schema_layout", 300);
    assert!(counts["schemas"] > 60, "{counts:?}");
}

#[test]
fn proof_malleability() {
    let counts = counted("proof_malleability", 200);
    for what in ["signatures", "proofs of ancestry", "signed bytes", "encodings"] {
        assert!(counts.get(what).is_some_and(|&count| count > 0), "{what}: {counts:?}");
    }
}

#[test]
fn canaries_are_where_they_are_said_to_be() {
    let tree = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    canary::check(tree).unwrap();
    for (index, one) in CANARIES.iter().enumerate() {
        assert!(find(one.target).is_some(), "{one:?} is of a target");
        assert!(!CANARIES[..index].iter().any(|other| other.name == one.name), "{}", one.name);
    }
}

#[test]
fn policy_parse() {
    check("policy_parse", 80);
}

#[test]
fn schema_parse() {
    check("schema_parse", 150);
}

#[test]
fn instrument() {
    check("instrument", 120);
}

#[test]
fn storage_model() {
    check("storage_model", 12);
}

#[test]
fn crash() {
    // The last of these seeds has threads that race.
    let counts = counted("crash", 4);
    assert!(counts["crash points"] > 2000, "{counts:?}");
}

#[test]
fn faults() {
    // Each way to fail, over one workload that starts with an empty disk and one that does not.
    let counts = counted("faults", 16);
    assert!(counts["operations that failed"] > 500, "{counts:?}");
}

#[test]
fn backup() {
    let counts = counted("backup", 6);
    assert!(counts["crash points"] > 300, "{counts:?}");
    assert!(counts["states that are gone"] > 0, "{counts:?}");
    assert!(counts["versions taken from backups"] > 0, "{counts:?}");
}

#[test]
fn rot() {
    let counts = counted("rot", 1);
    // Each byte of a log, an index and a capsule, which is compressed.
    assert!(counts["changed bytes"] > 800, "{counts:?}");
}

#[test]
fn messages() {
    check("messages", 8);
}

#[test]
fn database_model() {
    check("database_model", 8);
}

#[test]
fn a_failure_has_the_seed_that_reproduces_it() {
    static FAILING: continuant_fuzz::Target = continuant_fuzz::Target {
        name: "failing",
        about: "no seed above 7 is drawn",
        run: |seed, _| if seed > 7 { Err(format!("{seed} was drawn")) } else { Ok(()) },
    };
    let plan = Plan { seed: 3, runs_max: Some(100), time_max: None, trace: false, progress: false };
    let summary = run(&FAILING, plan);
    assert_eq!(summary.runs, 6);
    assert_eq!(summary.failure, Some((8, "8 was drawn".to_string())));
    assert_eq!(run_one(&FAILING, 8), Err("8 was drawn".to_string()));
    let plan = Plan {
        seed: 0,
        runs_max: None,
        time_max: Some(Duration::ZERO),
        trace: false,
        progress: false,
    };
    assert_eq!(run(&FAILING, plan).runs, 0);
}

#[test]
fn a_panic_is_a_failure() {
    static PANICKING: continuant_fuzz::Target = continuant_fuzz::Target {
        name: "panicking",
        about: "it does not panic",
        run: |seed, _| panic!("seed {seed}"),
    };
    assert_eq!(run_one(&PANICKING, 5), Err("panic: seed 5".to_string()));
}

#[test]
fn targets_have_names_of_their_own() {
    for target in TARGETS {
        assert_eq!(find(target.name).map(|found| found.about), Some(target.about));
    }
}
