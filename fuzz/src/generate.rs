//! Generators: inputs for the code under test, drawn from a seeded source.
//!
//! They do not know what must hold.

pub(crate) mod bytes;
pub(crate) mod decision;
pub(crate) mod header;
pub(crate) mod lineage;
pub(crate) mod module;
pub(crate) mod placed;
pub(crate) mod policy;
pub(crate) mod schema;
pub(crate) mod smith;

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
    (
        include_bytes!("../../guest/objects/price.wasm"),
        include_str!("../../guest/examples/price/policy.cedar"),
    ),
    (PURSE, PURSE_POLICY),
    (
        include_bytes!("../../guest/objects/vault.wasm"),
        include_str!("../../guest/examples/vault/policy.cedar"),
    ),
];
/// The counter of the examples.
pub(crate) const COUNTER: &[u8] = include_bytes!("../../guest/objects/counter.wasm");
/// The counter's policy.
pub(crate) const COUNTER_POLICY: &str = include_str!("../../guest/examples/counter/policy.cedar");
/// The counter's second version.
pub(crate) const TALLY: &[u8] = include_bytes!("../../guest/objects/tally.wasm");
/// The tally's policy.
pub(crate) const TALLY_POLICY: &str = include_str!("../../guest/examples/tally/policy.cedar");
/// The lamp of the examples.
pub(crate) const LAMP: &[u8] = include_bytes!("../../guest/objects/lamp.wasm");
/// The lamp's policy.
pub(crate) const LAMP_POLICY: &str = include_str!("../../guest/examples/wat/policy.cedar");

/// The purse of the examples.
pub(crate) const PURSE: &[u8] = include_bytes!("../../guest/objects/purse.wasm");
/// The purse's policy.
pub(crate) const PURSE_POLICY: &str = include_str!("../../guest/examples/purse/policy.cedar");

/// The source of everything in one run.
pub(crate) fn source(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::policy::Policy;
    use ::schema::Schema;
    use continuant::instrument::{Limits, instrument};

    /// Checks that of 400 draws some pass and some do not: a target that sees one side only finds
    /// little.
    #[track_caller]
    fn check(what: &str, passes: impl Fn(&mut StdRng) -> bool) {
        let passed = (0..400).filter(|&seed| passes(&mut source(seed))).count();
        assert!((20..380).contains(&passed), "{passed} of 400 {what} pass");
    }

    #[test]
    fn texts_and_modules_of_both_kinds_are_drawn() {
        let facts = ::schema::code::read(COUNTER).expect("the counter is an object");
        let schema = Schema::parse(&facts.schema_text).expect("the counter has a schema");
        check("schemas", |rng| Schema::parse(&schema::text(rng)).is_ok());
        check("modules", |rng| instrument(&module::module(rng), &Limits::default()).is_ok());
        let taken = |it: smith::Smith| instrument(&it.wasm, &Limits::default()).is_ok();
        check("modules of wasm-smith", |rng| smith::smith(rng).is_some_and(taken));
        let run =
            move || check("policies", |rng| Policy::parse(&policy::text(rng), &schema).is_ok());
        let thread = std::thread::Builder::new().stack_size(::policy::STACK_BYTES).spawn(run);
        thread.expect("a thread starts").join().expect("policies of both kinds are drawn");
    }
}
