//! The cost of each instruction in fuel, and of each frame in stack: frozen numbers.
//!
//! This module does not know where charges are placed. The numbers are part of every version that
//! was ever committed, so changing any of them is a change of `INSTRUMENTATION_VERSION`.
//!
//! Invariant: a test holds the hash of everything in this file.

/// Fuel of the instructions with a one-byte opcode, sixteen to a row, by opcode. Instructions
/// that no object may use have a cost too, so that the table has no holes to fill in later.
#[rustfmt::skip]
pub(super) const OPCODE_COSTS: [u8; 256] = [
    // Control: unreachable nop block loop if else, end br br_if br_table return call ...
    0, 0, 0, 0, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 2, 1,
    4, 6, 4, 6, 4, 6, 1, 1, 1, 1, 1, 2, 2, 1, 1, 1,
    // Locals and globals; tables; loads from 0x28, stores from 0x36, memory.size, memory.grow.
    1, 1, 1, 1, 1, 2, 2, 1, 2, 2, 2, 2, 2, 2, 2, 2,
    2, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4, 4, 4, 1,
    // memory.grow, constants, then comparisons of i32, i64, f32 and f64.
    16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    // From 0x67: clz ctz popcnt add sub mul, div and rem from 0x6d; the same for i64 from 0x79.
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 8, 8, 8,
    8, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 16,
    16, 16, 16, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 3,
    // f32 from 0x8b: abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign.
    3, 8, 3, 3, 3, 8, 4, 4, 1, 1, 1, 3, 3, 3, 3, 12,
    3, 3, 3, 12, 4, 4, 1, 1, 4, 4, 4, 4, 1, 1, 4, 4,
    // Conversions to 0xbf, then sign extensions.
    4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
];
/// Fuel of an instruction with prefix 0xFC: the saturating conversions, and the fixed part of
/// `memory.copy` and `memory.fill`.
pub(super) const PREFIXED_COST: u8 = 6;
/// The fuel of bulk memory operations and outputs is their bytes shifted right by this: one unit
/// for eight bytes.
pub(super) const BULK_SHIFT: u32 = 3;
/// Fuel of each 64 KiB page that memory grows by, which covers zeroing and hashing it.
pub(super) const GROW_PAGE_COST: u32 = 8192;
/// Fuel of a call into the host, beside the fuel for its bytes.
pub(super) const HOST_CALL_COST: u32 = 64;

/// Fuel of a start function, which runs once, when the base image is made.
pub const START_FUEL: u64 = 1 << 28;
/// The stack budget of a step, in the units that a frame is metered in. A substrate's native stack
/// is a multiple of it, so that a guest meets this bound and never that one.
pub const STACK_BUDGET: u32 = 1 << 20;
/// Units of any frame.
pub(super) const FRAME_COST: u32 = 64;
/// Units of each parameter, local and operand of a frame.
pub(super) const FRAME_SLOT_COST: u32 = 8;
/// Units of each instruction in a function's body: a compiler may keep as many values alive in
/// a frame as the body computes, however few locals it has.
pub(super) const FRAME_OPERATOR_COST: u32 = 2;

/// The fuel of one instruction, given its encoding from the opcode on.
pub(super) fn operator(encoded: &[u8]) -> u64 {
    match encoded.first() {
        Some(0xFC) => PREFIXED_COST.into(),
        Some(&opcode) => OPCODE_COSTS[usize::from(opcode)].into(),
        None => 0,
    }
}

/// Returns the stack units of a frame by its locals with parameters, its most operands, and its
/// instructions.
pub(super) fn frame(locals: u32, operands: u32, operators: u32) -> u64 {
    u64::from(FRAME_COST)
        + u64::from(FRAME_SLOT_COST) * (u64::from(locals) + u64::from(operands))
        + u64::from(FRAME_OPERATOR_COST) * u64::from(operators)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_costs_are_those_of_version_2() {
        let mut frozen = OPCODE_COSTS.to_vec();
        frozen.push(PREFIXED_COST);
        for number in [
            super::super::INSTRUMENTATION_VERSION,
            BULK_SHIFT,
            GROW_PAGE_COST,
            HOST_CALL_COST,
            STACK_BUDGET,
            FRAME_COST,
            FRAME_SLOT_COST,
            FRAME_OPERATOR_COST,
        ] {
            frozen.extend_from_slice(&number.to_le_bytes());
        }
        frozen.extend_from_slice(&START_FUEL.to_le_bytes());
        expect!["ecaaabb43eb11cef0d492223d6343bdfda3641e31f2e7f844e09354cccf984d2"]
            .assert_eq(&blake3::hash(&frozen).to_string());
    }

    #[test]
    fn divisions_calls_and_stores_cost_more_than_additions() {
        // i32.add, i32.div_s, i64.rem_u, call, call_indirect, i64.store, f64.sqrt, memory.grow
        let costs = [0x6A, 0x6D, 0x82, 0x10, 0x11, 0x37, 0x9F, 0x40].map(|op| operator(&[op]));
        assert_eq!(costs, [1, 8, 16, 4, 6, 4, 12, 16]);
    }
}
