//! The change of one function of the guest.
//!
//! This module does not know the module around it, beyond the given indices.
//!
//! Invariant: on a run that does not trap, the function leaves the guest's memory, globals and
//! operands as the original does, except for the bits of NaNs.

use super::added::Added;
use super::cost;
use super::emit::{self, Meters};
use super::survey::Body;
use schema::CoreType;
use std::collections::BTreeSet;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{Function, Instruction as I, ValType};
use wasmparser::{MemArg, Operator};

/// Everything that a function's code refers to outside itself.
pub(super) struct Target<'a> {
    pub(super) wasm: &'a [u8],
    pub(super) added: Added,
    /// The segments that `memory.init` reads, ascending: as many functions were added.
    pub(super) initialized: &'a BTreeSet<u32>,
    pub(super) meters: Meters,
}

impl Reencode for Target<'_> {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error> {
        Ok(self.added.remap(function))
    }
}

/// The locals that the pass appends to a function's own.
#[derive(Clone, Copy)]
struct Scratch {
    address: u32,
    i32: u32,
    i64: u32,
    f32: u32,
    f64: u32,
}

const SCRATCH_LOCALS: [(u32, ValType); 4] =
    [(2, ValType::I32), (1, ValType::I64), (1, ValType::F32), (1, ValType::F64)];

impl Scratch {
    fn after(locals: u32) -> Scratch {
        let [address, i32, i64, f32, f64] = [0, 1, 2, 3, 4].map(|index| locals + index);
        Scratch { address, i32, i64, f32, f64 }
    }

    fn of(self, ty: CoreType) -> u32 {
        match ty {
            CoreType::I32 => self.i32,
            CoreType::I64 => self.i64,
            CoreType::F32 => self.f32,
            CoreType::F64 => self.f64,
        }
    }
}

/// Instruments one function.
pub(super) fn instrument(target: &mut Target<'_>, body: &Body<'_>) -> Result<Function, Error> {
    let operators = body
        .code
        .get_operators_reader()?
        .into_iter_with_offsets()
        .collect::<Result<Vec<_>, _>>()?;
    let mut locals = Vec::new();
    for local in body.code.get_locals_reader()? {
        let (count, ty) = local?;
        locals.push((count, target.val_type(ty)?));
    }
    locals.extend(SCRATCH_LOCALS);
    let mut function = Function::new(locals);
    let scratch = Scratch::after(body.locals);
    let meters = target.meters;
    let frame = body.frame_cost.cast_signed();
    meters.check_frame(&mut function, frame);
    let mut charges = charges(target.wasm, &operators).into_iter().peekable();
    for (index, (operator, _)) in operators.into_iter().enumerate() {
        if let Some((_, fuel)) = charges.next_if(|(at, _)| *at == index) {
            meters.charge(&mut function, fuel, scratch.i64);
        }
        let original = target.instruction(operator.clone())?;
        match operator {
            Operator::Call { .. } | Operator::CallIndirect { .. } => {
                meters.move_stack(&mut function, -frame);
                function.instruction(&original);
                meters.move_stack(&mut function, frame);
            }
            Operator::MemoryCopy { .. } => {
                function.instruction(&I::Call(target.added.copy));
            }
            Operator::MemoryFill { .. } => {
                function.instruction(&I::Call(target.added.fill));
            }
            Operator::MemoryInit { data_index, .. } => {
                let place = target.initialized.range(..data_index).count();
                let place = u32::try_from(place).expect("a module has fewer than 2^32 segments");
                function.instruction(&I::Call(target.added.init + place));
            }
            Operator::MemoryGrow { .. } => {
                function.instruction(&I::Call(target.added.grow));
            }
            _ => {
                if let Some((place, bytes, ty)) = stored(&operator) {
                    barrier(&mut function, place, bytes, scratch.of(ty), scratch.address);
                }
                function.instruction(&original);
                if let Some(ty) = may_be_nan(&operator) {
                    emit::canonical_nan(&mut function, ty, scratch.of(ty));
                }
            }
        }
    }
    Ok(function)
}

/// Marks the cards of a store's first and last byte. Stack: the address and the value stay.
fn barrier(function: &mut Function, place: MemArg, bytes: u32, value: u32, address: u32) {
    let offset = u32::try_from(place.offset).expect("an offset into a 32-bit memory is a u32");
    emit::push(function, &[I::LocalSet(value), I::LocalTee(address)]);
    emit::mark_byte(function, address, offset);
    if bytes > 1 {
        emit::mark_byte(function, address, offset.wrapping_add(bytes - 1));
    }
    function.instruction(&I::LocalGet(value));
}

/// Returns the charges of fuel: the index of the first instruction of each basic block that costs
/// any, with the block's cost.
fn charges(wasm: &[u8], operators: &[(Operator<'_>, u64)]) -> Vec<(usize, u64)> {
    let mut charges = Vec::new();
    let (mut start, mut fuel) = (0, 0u64);
    for (index, (operator, offset)) in operators.iter().enumerate() {
        let encoded = usize::try_from(*offset).ok().and_then(|at| wasm.get(at..));
        fuel += cost::operator(encoded.expect("the instruction was read from there"));
        if ends_block(operator) || index + 1 == operators.len() {
            if fuel > 0 {
                charges.push((start, fuel));
            }
            (start, fuel) = (index + 1, 0);
        }
    }
    charges
}

/// Returns whether control may jump after an instruction, or arrive at the next one by a jump.
fn ends_block(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::Loop { .. }
            | Operator::If { .. }
            | Operator::Else
            | Operator::End
            | Operator::Br { .. }
            | Operator::BrIf { .. }
            | Operator::BrTable { .. }
            | Operator::Return
            | Operator::Unreachable
    )
}

/// Returns a store's target, its width in bytes, and the type of the value on the stack.
fn stored(operator: &Operator<'_>) -> Option<(MemArg, u32, CoreType)> {
    match *operator {
        Operator::I32Store { memarg } => Some((memarg, 4, CoreType::I32)),
        Operator::I64Store { memarg } => Some((memarg, 8, CoreType::I64)),
        Operator::F32Store { memarg } => Some((memarg, 4, CoreType::F32)),
        Operator::F64Store { memarg } => Some((memarg, 8, CoreType::F64)),
        Operator::I32Store8 { memarg } => Some((memarg, 1, CoreType::I32)),
        Operator::I32Store16 { memarg } => Some((memarg, 2, CoreType::I32)),
        Operator::I64Store8 { memarg } => Some((memarg, 1, CoreType::I64)),
        Operator::I64Store16 { memarg } => Some((memarg, 2, CoreType::I64)),
        Operator::I64Store32 { memarg } => Some((memarg, 4, CoreType::I64)),
        _ => None,
    }
}

/// Returns the result type of an instruction whose NaN results have bits that the standard leaves
/// open.
fn may_be_nan(operator: &Operator<'_>) -> Option<CoreType> {
    match operator {
        Operator::F32Ceil
        | Operator::F32Floor
        | Operator::F32Trunc
        | Operator::F32Nearest
        | Operator::F32Sqrt
        | Operator::F32Add
        | Operator::F32Sub
        | Operator::F32Mul
        | Operator::F32Div
        | Operator::F32Min
        | Operator::F32Max
        | Operator::F32DemoteF64 => Some(CoreType::F32),
        Operator::F64Ceil
        | Operator::F64Floor
        | Operator::F64Trunc
        | Operator::F64Nearest
        | Operator::F64Sqrt
        | Operator::F64Add
        | Operator::F64Sub
        | Operator::F64Mul
        | Operator::F64Div
        | Operator::F64Min
        | Operator::F64Max
        | Operator::F64PromoteF32 => Some(CoreType::F64),
        _ => None,
    }
}
