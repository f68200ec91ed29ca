//! The programs of `engine/examples`: each is run, and its output is compared.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use expect_test::{Expect, expect};

#[path = "../../examples/audit.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod audit;
#[path = "../../examples/bank.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod bank;
#[path = "../../examples/fleet.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod fleet;
#[path = "../../examples/hello.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod hello;
#[path = "../../examples/service.rs"]
#[expect(dead_code, reason = "its `main` is for `cargo run --example`")]
mod service;

type Run = fn(&Path, &mut Vec<u8>) -> Result<(), Box<dyn std::error::Error>>;

/// Runs an example in a database of its own, `times` times, and compares its output.
#[track_caller]
fn check(run: Run, times: usize, expected: Expect) {
    let directory = tempfile::tempdir().unwrap();
    let mut printed = Vec::new();
    for _ in 0..times {
        run(&directory.path().join("db"), &mut printed).unwrap();
    }
    expected.assert_eq(&String::from_utf8(printed).unwrap());
}

#[test]
fn hello_counts_on_the_second_time() {
    check(
        hello::run,
        2,
        expect![[r#"
        version 1 is durable
        2 visits
        refused: not-permitted
        version 2 is durable
        4 visits
        refused: not-permitted
    "#]],
    );
}

#[test]
fn a_bank_moves_money_whole_and_never_below_zero() {
    check(
        bank::run,
        1,
        expect![[r#"
        ada paid ben 30
        ada did not pay ben 500: forbidden by overdraft
        ada has 70
        ben has 130
        cyn has 100
        all of them have 300
    "#]],
    );
}

#[test]
fn a_fleet_runs_by_itself() {
    check(
        fleet::run,
        1,
        expect![[r#"
            18:00: 60 lamps are on
            +15 minutes: 45 lamps are on
            +45 minutes: 15 lamps are on
            +60 minutes: 0 lamps are on
            the control room heard of 60 lamps
        "#]],
    );
}

#[test]
fn an_audit_tells_who_did_what_and_why() {
    check(
        audit::run,
        1,
        expect![[r#"
            version 1
            refused
            version 2
            version 3
            09:00 version 0: create, signed by nobody
            09:01 version 1: call, signed by ada
            09:02 refusal 1: not-permitted
            09:03 version 2: call, signed by ada
            09:04 version 3: call, signed by ada
            count is of version 3, Changed
            before, it was 5
            rule ada read input.by
            verified: 4 versions, 1 refusal
            the capsule verifies, up to the newest version: true
            with a bit changed it does not verify: true
        "#]],
    );
}

/// Sends a request and returns the status and the body of the response.
fn request(address: SocketAddr, line: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{line} HTTP/1.1\r\nHost: here\r\n\r\n").as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
    // Ids of objects are random.
    let body = body.split_once(": ").map_or(body, |(before, rest)| match before {
        before if before.starts_with("object ") => rest,
        _ => body,
    });
    format!("{line}: {status}: {body}")
}

#[test]
fn a_service_answers_and_ends_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let (db, counter) = service::open(&path).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let client = std::thread::spawn(move || {
        let lines = ["POST /increment/2", "POST /increment/40", "GET /count"];
        let faults = ["POST /increment/1001", "POST /increment/many", "GET /"];
        let lines = lines.iter().chain(&faults).map(|line| request(address, line));
        let answers = lines.collect::<String>();
        let metrics = request(address, "GET /metrics");
        stop.send(()).unwrap();
        (answers, metrics)
    });
    let serve = service::serve(db, counter, listener, async { drop(stopped.await) });
    runtime.block_on(serve).unwrap();
    let (answers, metrics) = client.join().unwrap();
    expect![[r#"
        POST /increment/2: 200 OK: version 1
        POST /increment/40: 200 OK: version 2
        GET /count: 200 OK: 42
        POST /increment/1001: 403 Forbidden: refused: not-permitted
        POST /increment/many: 400 Bad Request: value input.by: expected u64, found "many"
        GET /: 200 OK: POST /increment/NUMBER, GET /count, GET /metrics
    "#]]
    .assert_eq(&answers);
    assert!(metrics.contains("continuant_steps_total{kind=\"call\"} 2\n"), "{metrics}");
    assert!(TcpStream::connect(address).is_err(), "it listens no more");

    let db = continuant::Database::open(&path).unwrap();
    assert_eq!(db.snapshot(counter).unwrap().get::<u64>("count").unwrap(), 42);
}

#[test]
fn every_example_is_run_here() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = include_str!("examples.rs");
    for example in fs::read_dir(examples).unwrap() {
        let name = example.unwrap().file_name().into_string().unwrap();
        assert!(text.contains(&format!("examples/{name}\"]")), "{name} is not run");
    }
}

/// The copies that packages of crates have are what `guest/check.sh` proves to be built of their
/// source.
#[test]
fn the_samples_are_the_committed_objects() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut count = 0;
    for folder in ["engine/samples", "cli/data"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let copy = entry.unwrap().path();
            let name = copy.file_stem().unwrap().to_str().unwrap();
            let original = match copy.extension().unwrap().to_str().unwrap() {
                "wasm" => format!("guest/objects/{name}.wasm"),
                "cedar" if name == "lamp" => "guest/examples/wat/policy.cedar".to_string(),
                "cedar" => format!("guest/examples/{name}/policy.cedar"),
                _ => continue,
            };
            let is_same = fs::read(&copy).unwrap() == fs::read(root.join(&original)).unwrap();
            assert!(is_same, "{} is not {original}: run guest/build.sh", copy.display());
            count += 1;
        }
    }
    assert_eq!(count, 10, "the copies are found");
}
