//! Modules: mutated bytes of the guests, small modules of random code, in text, that are objects by
//! the ABI, and modules of `wasm-smith` made into objects.
//!
//! This module does not know what becomes of them.

use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::GUESTS;
use crate::generate::bytes::mutate;
use crate::generate::smith::smith;

/// Returns the bytes of a module, maybe damaged.
pub(crate) fn module(rng: &mut StdRng) -> Vec<u8> {
    let drawn = if rng.random_bool(0.2) { smith(rng) } else { None };
    let mut bytes = match (drawn, rng.random_range(0..5)) {
        (Some(drawn), _) => drawn.wasm,
        (None, 0..2) => GUESTS[rng.random_range(0..GUESTS.len())].0.to_vec(),
        (None, _) => assemble(&text(rng)),
    };
    if rng.random_bool(0.6) {
        mutate(rng, &mut bytes);
    }
    bytes
}

fn assemble(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const SCHEMA: &str =
    "package a:b; interface c { record state { count: u64 } go: func(by: u64) -> u64; }";
const LOCALS: &str = "(local $i32 i32) (local $i64 i64) (local $f32 f32) (local $f64 f64)";
const TYPES: [&str; 4] = ["i32", "i64", "f32", "f64"];

/// A module that is an object: a state of one number, and a method of random code.
fn text(rng: &mut StdRng) -> String {
    let globals: String = (0..rng.random_range(0..3))
        .map(|at| {
            let ty = TYPES[rng.random_range(0..4)];
            format!("(global $g{at} (mut {ty}) ({ty}.const {at}))")
        })
        .collect();
    let mut body = Body { rng, blocks: 0 };
    let depth = body.rng.random_range(0..6);
    let statements: String =
        (0..body.rng.random_range(0..6)).map(|_| body.statement(depth)).collect();
    let (result, cycle) = (body.value("i64", depth), body.statement(depth));
    let initialize = body.statement(depth);
    let drops = if body.rng.random_bool(0.03) { "(data.drop 0)" } else { "" };
    let initialize = match body.rng.random_range(0..4) {
        0 => format!(r#"(export "_initialize") {LOCALS} {initialize} {drops}"#),
        1 => format!(r#"(export "_initialize") (param i32) {LOCALS} {initialize}"#),
        _ => format!("{LOCALS} {initialize} {drops}"),
    };
    format!(
        r#"(module
            (import "continuant" "now" (func $now (result i64)))
            (import "continuant" "wake" (func $wake (param i64)))
            (@custom "continuant:schema" "{SCHEMA}")
            (memory (export "memory") 1 2)
            (global (export "state") i32 (i32.const 4096))
            {globals}
            (data "passive") (data (i32.const 100) "active") (func {initialize})
            (table 2 2 funcref) (elem (i32.const 0) $now $now)
            (type $clock (func (result i64)))
            (func $go (export "go") (param $p i64) (result i64)
              {LOCALS} {statements} {result})
            (func (export "cycle")
              {LOCALS} {cycle}))"#
    )
}

/// Code that is being drawn.
struct Body<'r> {
    rng: &'r mut StdRng,
    /// Blocks that are open.
    blocks: u32,
}

impl Body<'_> {
    fn statement(&mut self, depth: u32) -> String {
        let ty = TYPES[self.rng.random_range(0..4)];
        let choice = self.rng.random_range(0..if depth == 0 { 5 } else { 12 });
        let depth = depth.saturating_sub(1);
        match choice {
            0 => format!("(local.set ${ty} {})", self.value(ty, depth)),
            1 => format!("(drop {})", self.value(ty, depth)),
            2 => format!("({ty}.store {} {})", self.value("i32", depth), self.value(ty, depth)),
            3 => format!(
                "(i32.store8 offset={} {} {})",
                self.rng.random::<u32>() >> self.rng.random_range(0..32),
                self.value("i32", depth),
                self.value("i32", depth)
            ),
            4 => format!("(call $wake {})", self.value("i64", depth)),
            5 => {
                let condition = self.value("i32", depth);
                let (yes, no) = (self.statement(depth), self.statement(depth));
                format!("(if {condition} (then {yes}) (else {no}))")
            }
            6 | 7 => {
                let kind = if choice == 6 { "block" } else { "loop" };
                self.blocks += 1;
                let inner = format!("{} {}", self.statement(depth), self.statement(depth));
                self.blocks -= 1;
                format!("({kind} {inner})")
            }
            8 if self.blocks > 0 => {
                let to = self.rng.random_range(0..self.blocks);
                format!("(br_if {to} {})", self.value("i32", depth))
            }
            9 => {
                let names = ["memory.fill", "memory.copy", "memory.init 0", "memory.init 1"];
                let name = names[self.rng.random_range(0..4)];
                let mut value = || self.value("i32", depth);
                format!("({name} {} {} {})", value(), value(), value())
            }
            10 => format!("(drop (memory.grow {}))", self.value("i32", depth)),
            _ => ["(nop)", "(unreachable)", "(return (i64.const 1))"][self.rng.random_range(0..2)]
                .to_string(),
        }
    }

    fn value(&mut self, ty: &str, depth: u32) -> String {
        let choice = self.rng.random_range(0..if depth == 0 { 2 } else { 9 });
        let depth = depth.saturating_sub(1);
        match (ty, choice) {
            (_, 0) => format!("(local.get ${ty})"),
            ("i32" | "i64", 1) => format!("({ty}.const {})", self.rng.random::<i32>() >> 12),
            (_, 1) => {
                format!("({ty}.const {})", ["nan", "inf", "-0", "1.5"][self.rng.random_range(0..4)])
            }
            (_, 2) => format!("({ty}.load {})", self.value("i32", depth)),
            ("i32", 3) => format!("(i32.wrap_i64 {})", self.value("i64", depth)),
            ("i32", 4) => {
                format!("(f64.lt {} {})", self.value("f64", depth), self.value("f64", depth))
            }
            ("i32", 5) => "(memory.size)".to_string(),
            ("i64", 3) => "(call $now)".to_string(),
            ("i64", 4) => format!("(i64.extend_i32_u {})", self.value("i32", depth)),
            ("i64", 5) => format!("(call_indirect (type $clock) {})", self.value("i32", depth)),
            ("f32", 3) => format!("(f32.demote_f64 {})", self.value("f64", depth)),
            ("f32", 4) => format!("(f32.reinterpret_i32 {})", self.value("i32", depth)),
            ("f64", 3) => format!("(f64.promote_f32 {})", self.value("f32", depth)),
            ("f64", 4) => format!("(f64.convert_i64_s {})", self.value("i64", depth)),
            ("f32" | "f64", 5) => format!("({ty}.sqrt {})", self.value(ty, depth)),
            ("i32" | "i64", 6) => {
                let operator = ["div_s", "rem_u", "rotl", "xor"][self.rng.random_range(0..4)];
                format!("({ty}.{operator} {} {})", self.value(ty, depth), self.value(ty, depth))
            }
            (_, 7) => {
                let (yes, no) = (self.value(ty, depth), self.value(ty, depth));
                format!("(select {yes} {no} {})", self.value("i32", depth))
            }
            _ => {
                let operator = ["add", "sub", "mul"][self.rng.random_range(0..3)];
                format!("({ty}.{operator} {} {})", self.value(ty, depth), self.value(ty, depth))
            }
        }
    }
}
