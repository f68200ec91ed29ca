//! Instrumentation of any bytes: `instrument` refuses them, or makes the same module twice. The
//! pass does not accept its own output again, and a database accepts the module or refuses it for a
//! reason of the module's.
//!
//! The computations of those modules are not judged, except that a replay must repeat them. Of some
//! others every byte of memory is known (`machine`), and some are also run without the pass
//! (`smith`).

mod bare;
mod machine;
mod smith;

use std::time::Duration;

use continuant::instrument::{Limits, instrument};
use continuant::{Clock, Code, ErrorKind, Options, Replay, Time, args};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::lineage::START;
use crate::generate::{module, source};
use crate::outcome::{Outcome, hold, must};
use crate::tally::Tally;
use crate::threads::watch_threads;

/// Every how many modules that pass are run: they are compiled for it.
const RUN_IN: u32 = 16;
/// One in this many runs is of a module with known results, and one of a module that is also run
/// without the pass.
const KNOWN_IN: u32 = 8;
const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let mut rng = source(seed);
    if rng.random_ratio(1, KNOWN_IN) {
        return machine::run(&mut rng);
    }
    if rng.random_ratio(1, KNOWN_IN) {
        return smith::run(&mut rng, tally);
    }
    let bytes = module::module(&mut rng);
    drop(schema::code::read(&bytes));
    let made = match instrument(&bytes, &Limits::default()) {
        Ok(made) => made,
        Err(error) => return hold("an error says something", !error.to_string().is_empty()),
    };
    let again = instrument(&bytes, &Limits::default());
    hold("the same bytes make the same module", again.as_ref() == Ok(&made))?;
    let twice = instrument(&made.wasm, &Limits::default());
    hold("an instrumented module is not instrumented again", twice.is_err())?;
    if rng.random_ratio(1, RUN_IN) { execute(&mut rng, bytes) } else { Ok(()) }
}

/// Runs the module as an object, when it is one, and replays it.
fn execute(rng: &mut StdRng, bytes: Vec<u8>) -> Outcome {
    watch_threads();
    let Ok(code) = Code::wasm(bytes) else { return Ok(()) };
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let options =
        Options::new().workers(1).cycles(false).clock(Clock::manual(Time::from_millis(START)));
    let db = must("opening", options.open(directory.path().join("db")))?;
    let id = match db.create(code.policy(OPEN).secret([1; 32])) {
        Ok(id) => id,
        Err(error) => return is_verdict(&error),
    };
    for _ in 0..rng.random_range(0..4) {
        let time = db.now().saturating_add(Duration::from_millis(rng.random_range(0..5000)));
        let done = match rng.random_range(0..3) {
            0 => db.run_until(time),
            _ => db.call(id, "go", args![rng.random::<u64>()]).wait().map(drop),
        };
        match done {
            Ok(()) => {}
            Err(error) => is_verdict(&error)?,
        }
    }
    must("a replay", db.verify(id, Replay::Yes)).map(drop)
}

/// Requires that an error is about the module or the request, not about the machine.
fn is_verdict(error: &continuant::Error) -> Outcome {
    let machine = matches!(
        error.kind(),
        ErrorKind::Substrate(_) | ErrorKind::Storage(_) | ErrorKind::Missing { .. }
    );
    hold(format!("the machine does not fail: {error}"), !machine)
}
