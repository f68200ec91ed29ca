//! Generators: what targets feed to the code under test, drawn from a seeded source.
//!
//! They do not know what must hold.

pub(crate) mod bytes;
pub(crate) mod header;
pub(crate) mod lineage;
pub(crate) mod module;
pub(crate) mod policy;
pub(crate) mod schema;

use rand::SeedableRng;
use rand::rngs::StdRng;

/// The committed guest modules, with the policy of each.
pub(crate) const GUESTS: &[(&[u8], &str)] = &[
    (COUNTER, COUNTER_POLICY),
    (LAMP, LAMP_POLICY),
    (
        include_bytes!("../../guest/objects/aircraft.wasm"),
        include_str!("../../guest/examples/aircraft/policy.cedar"),
    ),
    (
        include_bytes!("../../guest/objects/meter.wasm"),
        include_str!("../../guest/examples/c/policy.cedar"),
    ),
    (
        include_bytes!("../../guest/objects/parcel.wasm"),
        include_str!("../../guest/examples/parcel/policy.cedar"),
    ),
];
/// The counter of the examples.
pub(crate) const COUNTER: &[u8] = include_bytes!("../../guest/objects/counter.wasm");
/// Its policy.
pub(crate) const COUNTER_POLICY: &str = include_str!("../../guest/examples/counter/policy.cedar");
/// The lamp of the examples.
pub(crate) const LAMP: &[u8] = include_bytes!("../../guest/objects/lamp.wasm");
/// Its policy.
pub(crate) const LAMP_POLICY: &str = include_str!("../../guest/examples/wat/policy.cedar");

/// The source of everything in one run.
pub(crate) fn source(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}
