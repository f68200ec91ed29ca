//! The instruction sequences that the pass adds: charging fuel, checking and moving the stack
//! budget, marking cards, and making NaNs canonical.
//!
//! This module does not know where they are placed.
//!
//! Invariant: a sequence changes the operand stack only as documented, and writes no memory or
//! global of the guest.

use super::cost;
use schema::CoreType;
use wasm_encoder::{BlockType, Function, Ieee32, Ieee64, Instruction as I, MemArg, MemArgTarget};

/// Index of the guest's memory.
pub(super) const GUEST_MEMORY: u32 = 0;
/// Index of the memory that holds a byte for each page of the guest's.
pub(super) const CARD_MEMORY: u32 = 1;
/// A page of 4096 bytes has one card.
const PAGE_SHIFT: i32 = object::limits::PAGE_BYTES.trailing_zeros() as i32;

/// Indices of the globals that the pass adds.
#[derive(Clone, Copy)]
pub(super) struct Meters {
    /// An `i64`: fuel left; negative once a charge could not be met.
    pub(super) fuel: u32,
    /// An `i32`: stack units left; negative once a frame did not fit.
    pub(super) stack: u32,
}

pub(super) fn push(function: &mut Function, instructions: &[I<'_>]) {
    for instruction in instructions {
        function.instruction(instruction);
    }
}

impl Meters {
    /// Charges `fuel` units. `scratch` is an `i64` local. Stack: unchanged.
    pub(super) fn charge(self, function: &mut Function, fuel: u64, scratch: u32) {
        if fuel == 0 {
            return;
        }
        let fuel = i64::try_from(fuel).expect("a body has fewer instructions than i64::MAX");
        push(function, &[I::GlobalGet(self.fuel), I::I64Const(fuel)]);
        self.finish_charge(function, scratch);
    }

    /// Ends a charge. Stack: the fuel left, and the units to take from it, are popped.
    pub(super) fn finish_charge(self, function: &mut Function, scratch: u32) {
        push(
            function,
            &[
                I::I64Sub,
                I::LocalTee(scratch),
                I::GlobalSet(self.fuel),
                I::LocalGet(scratch),
                I::I64Const(0),
                I::I64LtS,
                I::If(BlockType::Empty),
                I::Unreachable,
                I::End,
            ],
        );
    }

    /// Traps unless a frame of `cost` fits into the remaining stack. Stack: unchanged.
    pub(super) fn check_frame(self, function: &mut Function, cost: i32) {
        push(
            function,
            &[
                I::GlobalGet(self.stack),
                I::I32Const(cost),
                I::I32LtS,
                I::If(BlockType::Empty),
                I::I32Const(-1),
                I::GlobalSet(self.stack),
                I::Unreachable,
                I::End,
            ],
        );
    }

    /// Takes the caller's frame from the remaining stack, or gives it back. Stack: unchanged.
    pub(super) fn move_stack(self, function: &mut Function, units: i32) {
        push(
            function,
            &[I::GlobalGet(self.stack), I::I32Const(units), I::I32Add, I::GlobalSet(self.stack)],
        );
    }
}

/// Marks the card of the byte at local `address` plus `offset`. The address wraps: it is then
/// beyond any memory, so that the store itself traps, as it does when the card is out of bounds.
/// Stack: unchanged.
pub(super) fn mark_byte(function: &mut Function, address: u32, offset: u32) {
    function.instruction(&I::LocalGet(address));
    if offset != 0 {
        push(function, &[I::I32Const(offset.cast_signed()), I::I32Add]);
    }
    push(function, &[I::I32Const(PAGE_SHIFT), I::I32ShrU, I::I32Const(1), I::I32Store8(card())]);
}

/// Marks the cards of the bytes from local `address` on, as many as local `length` says, unless
/// there are none or they are out of bounds. Stack: unchanged.
pub(super) fn mark_range(function: &mut Function, address: u32, length: u32) {
    push(function, &[I::LocalGet(length), I::If(BlockType::Empty)]);
    push(function, &[I::LocalGet(address), I::I64ExtendI32U]);
    push(function, &[I::LocalGet(length), I::I64ExtendI32U, I::I64Add]);
    push(function, &[I::MemorySize(GUEST_MEMORY), I::I64ExtendI32U, I::I64Const(16), I::I64Shl]);
    push(function, &[I::I64LeU, I::If(BlockType::Empty)]);
    let first = [I::LocalGet(address), I::I32Const(PAGE_SHIFT), I::I32ShrU];
    push(function, &first);
    function.instruction(&I::I32Const(1));
    push(function, &[I::LocalGet(address), I::LocalGet(length), I::I32Add]);
    push(function, &[I::I32Const(1), I::I32Sub, I::I32Const(PAGE_SHIFT), I::I32ShrU]);
    push(function, &first);
    push(function, &[I::I32Sub, I::I32Const(1), I::I32Add]);
    push(function, &[I::MemoryFill(CARD_MEMORY), I::End, I::End]);
}

/// Replaces any NaN on the stack by the canonical one. `scratch` is a local of the same type.
pub(super) fn canonical_nan(function: &mut Function, ty: CoreType, scratch: u32) {
    let (nan, equal) = match ty {
        CoreType::F32 => (I::F32Const(Ieee32::new(0x7FC0_0000)), I::F32Eq),
        CoreType::F64 => (I::F64Const(Ieee64::new(0x7FF8_0000_0000_0000)), I::F64Eq),
        CoreType::I32 | CoreType::I64 => unreachable!("integers have no NaN"),
    };
    push(
        function,
        &[I::LocalTee(scratch), nan, I::LocalGet(scratch), I::LocalGet(scratch), equal, I::Select],
    );
}

/// Pushes the units that bulk bytes cost, given locals that hold byte counts.
pub(super) fn bulk_units(function: &mut Function, lengths: &[u32]) {
    function.instruction(&I::I64Const(0));
    for length in lengths {
        push(function, &[I::LocalGet(*length), I::I64ExtendI32U, I::I64Add]);
    }
    push(function, &[I::I64Const(cost::BULK_SHIFT.into()), I::I64ShrU]);
}

fn card() -> MemArg {
    MemArg { offset: 0, align: 0, target: MemArgTarget::Memory(CARD_MEMORY), ordering: None }
}
