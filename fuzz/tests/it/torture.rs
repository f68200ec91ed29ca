//! A few rounds of the torture: nothing is lost, and processes are killed.
//!
//! The supervisor is the binary itself, which starts its writers.

use std::process::Command;

#[test]
fn what_a_killed_writer_acknowledged_is_there() {
    let rounds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { "100" } else { "4" };
    let directory = tempfile::tempdir().unwrap();
    let db = directory.path().join("db");
    let mut torture = Command::new(env!("CARGO_BIN_EXE_continuant-fuzz"));
    torture.args(["torture", "--runs", rounds, "--db"]).arg(&db);
    let output = torture.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let problem = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{problem}");
    assert!(text.starts_with("torture --seed "), "it tells its seed: {text}");
    assert!(text.ends_with("losses: 0\n"), "{text}");
    let count = |what: &str| -> u64 {
        let before = text.split(&format!(" {what} (")).next().unwrap();
        before.split_whitespace().last().unwrap().parse().unwrap()
    };
    assert!(count("kills") > 0, "somebody was killed: {text}");
    assert_eq!(count("commits"), count("commits checked"), "all is looked for: {text}");
}

#[test]
fn a_directory_that_is_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("letter.txt"), "dear").unwrap();
    let mut torture = Command::new(env!("CARGO_BIN_EXE_continuant-fuzz"));
    let output = torture.args(["torture", "--runs", "1", "--db"]).arg(directory.path()).output();
    assert!(!output.unwrap().status.success());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
