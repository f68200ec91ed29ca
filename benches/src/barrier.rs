//! The cost of the engine's instrumentation for a guest that does little else than store: fuel for
//! every block, and a card for every page that is written.
//!
//! This bench does not know how a module is instrumented.

use std::time::Instant;

use anyhow::{Result, ensure};
use continuant::{Code, Database, args};

use crate::figure::{Figure, Peer, Samples, Unit};
use crate::floor::Guest;
use crate::sizes::Sizes;

pub(crate) const BARRIER: &str = "write_barrier";

const SCHEMA: &str = "package bench:scribe; interface scribe { record state { sum: u64 } \
                      fill: func(passes: u64) -> u64; }";
/// Each pass stores the next numbers of a xorshift generator, 8 bytes each, over 64 KiB; the sum of
/// what is stored last in each pass is the answer, and the state.
const BODY: &str = r#"
    (memory (export "memory") 2 2)
    (global (export "state") i32 (i32.const 4096))
    (func (export "fill") (param $passes i64) (result i64)
        (local $at i32) (local $x i64)
        (local.set $x (i64.const 88172645463325252))
        (loop $pass
            (local.set $at (i32.const 65536))
            (loop $next
                (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 13))))
                (local.set $x (i64.xor (local.get $x) (i64.shr_u (local.get $x) (i64.const 7))))
                (local.set $x (i64.xor (local.get $x) (i64.shl (local.get $x) (i64.const 17))))
                (i64.store (local.get $at) (local.get $x))
                (local.set $at (i32.add (local.get $at) (i32.const 8)))
                (br_if $next (i32.lt_u (local.get $at) (i32.const 131072))))
            (i64.store (i32.const 4096) (i64.add (i64.load (i32.const 4096)) (local.get $x)))
            (local.set $passes (i64.sub (local.get $passes) (i64.const 1)))
            (br_if $pass (i64.ne (local.get $passes) (i64.const 0))))
        (i64.load (i32.const 4096)))"#;
const POLICY: &str = r#"@id("open") permit(principal, action, resource);"#;
/// Stores of a pass.
const PASS: u64 = 8192;

/// A step that stores millions of times, and the same function without the engine.
pub(crate) fn write_barrier(sizes: &Sizes, rounds: usize) -> Result<Vec<Figure>> {
    let module = format!(r#"(module (@custom "continuant:schema" "{SCHEMA}") {BODY})"#);
    let wasm = wat::parse_str(module)?;
    let directory = tempfile::tempdir()?;
    let db = Database::open(directory.path().join("db"))?;
    let scribe = db.create(Code::wasm(wasm.clone())?.policy(POLICY))?;
    let mut bare = Guest::new(&wasm)?;
    let passes = sizes.passes;
    let each = |took: std::time::Duration| took.as_secs_f64() * 1e9 / (passes * PASS) as f64;
    let (mut ours, mut floor) = <(Samples, Samples)>::default();
    // The first round warms up.
    for round in 0..=rounds {
        let start = Instant::now();
        db.call(scribe, "fill", args![passes]).wait()?;
        let took = start.elapsed();
        let (sum, alone) = bare.time("fill", passes)?;
        let found = db.snapshot(scribe)?.get::<u64>("sum")?;
        ensure!(found == sum, "what was stored comes to {found}, without the engine to {sum}");
        if round > 0 {
            ours.push(each(took));
            floor.push(each(alone));
        }
    }
    let about = "each store of a step that stores 8 bytes again and again over 64 KiB, the commit \
                 of its 17 pages included";
    let about_floor = "the same module as it is, called by the host: no fuel, no cards, no commit";
    let vs = vec![Peer { name: "floor.uninstrumented", about: about_floor, samples: floor }];
    Ok(vec![Figure::new(BARRIER, about, Unit::NANOSECONDS, ours, vs)])
}
