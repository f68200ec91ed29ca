//! The first program: an object that counts, and is still there the next time.
//!
//! `cargo run --example hello` twice, and it has counted twice.

use std::io::{self, Write};
use std::path::Path;

use continuant::{Code, Database, args, samples};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(&std::env::temp_dir().join("continuant-hello"), &mut io::stdout())
}

pub(crate) fn run(path: &Path, out: &mut impl Write) -> Result<(), Box<dyn std::error::Error>> {
    // A database is a directory. It is made if it is missing; there is no server to start.
    let db = Database::open(path)?;

    // An object is a WebAssembly module with a policy: who may do what to it.
    let visits = match db.find("visits")? {
        Some(id) => id,
        None => {
            let code = Code::wasm(samples::COUNTER)?.policy(samples::COUNTER_POLICY);
            db.create(code.name("visits"))?
        }
    };

    // A call runs one method, and returns when its changes are on the disk.
    let receipt = db.call(visits, "increment", args![2u64]).wait()?;
    writeln!(out, "version {} is durable", receipt.header.seq)?;

    // A snapshot reads one version; the newest here, any other with `at` and `as_of`.
    writeln!(out, "{} visits", db.snapshot(visits)?.get::<u64>("count")?)?;

    // The policy permits no more than 1,000 at a time. A refusal changes nothing.
    match db.call(visits, "increment", args![1_000_000u64]).wait() {
        Ok(_) => writeln!(out, "a million more")?,
        Err(error) => match error.refusal() {
            Some(verdict) => writeln!(out, "refused: {verdict}")?,
            None => return Err(error.into()),
        },
    }

    // Closing waits for all that was asked for. Dropping the database does the same.
    db.close()?;
    Ok(())
}
