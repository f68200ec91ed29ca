//! Small objects as bytes, so that a first program needs no compiler for WebAssembly.
//!
//! Their source is in `guest/examples`. Invariant: each is compiled from that source, which
//! `guest/check.sh` verifies, and equals the module in `guest/objects`, which a test compares.

/// A counter: its state is `count: u64`, its method is `increment(by: u64)`.
///
/// ```
/// use continuant::{Code, Database, args, samples};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let db = Database::open(directory.path().join("db"))?;
/// let counter = db.create(Code::wasm(samples::COUNTER)?.policy(samples::COUNTER_POLICY))?;
/// db.call(counter, "increment", args![2u64]).wait()?;
/// assert_eq!(db.snapshot(counter)?.get::<u64>("count")?, 2);
/// # Ok(())
/// # }
/// ```
pub const COUNTER: &[u8] = include_bytes!("../samples/counter.wasm");

/// The counter's policy: anyone may count, by at most 1,000 at a time.
pub const COUNTER_POLICY: &str = include_str!("../samples/counter.cedar");

/// The counter's second version, for [upgrades](crate::Database::upgrade): its state is `balance:
/// i64, changes: u32`, and its methods are `increment(by: u64)` and `decrement(by: u64)`.
pub const TALLY: &[u8] = include_bytes!("../samples/tally.wasm");

/// A lamp that goes out by itself: `switch-on(seconds: u32)` sets the wake of the cycle that
/// switches it off and makes the output `lamp-out`. Its state is `on: bool, until: u64, switched:
/// u32`.
pub const LAMP: &[u8] = include_bytes!("../samples/lamp.wasm");

/// The lamp's policy: anyone may switch it on, for at most an hour, and it goes out in time.
pub const LAMP_POLICY: &str = include_str!("../samples/lamp.cedar");
