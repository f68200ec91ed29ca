//! The functions that the pass adds: one around each import, one each around `memory.copy`,
//! `memory.fill` and `memory.grow`, and one around `memory.init` of each segment that it reads.
//!
//! This module does not know how the guest's own functions are changed; they call these by index.
//!
//! Invariant: every way for a guest to reach the host, to write memory in bulk or to grow it goes
//! through one of these.

use super::abi::HostFunction;
use super::cost;
use super::emit::{self, GUEST_MEMORY, Meters, push};
use object::limits::MESSAGE_FUEL;
use wasm_encoder::{BlockType, Function, Instruction as I, ValType};

/// The indices of the added functions.
#[derive(Clone, Copy)]
pub(super) struct Added {
    /// Functions that the module imports; their indices come first.
    pub(super) imports: u32,
    /// The function around import 0; those around the other imports follow it.
    pub(super) host: u32,
    pub(super) copy: u32,
    pub(super) fill: u32,
    pub(super) grow: u32,
    /// The function around `memory.init` of the first segment that it reads; those around the
    /// others follow it.
    pub(super) init: u32,
}

impl Added {
    pub(super) fn after(imports: u32, defined: u32) -> Added {
        let host = imports + defined;
        let copy = host + imports;
        Added { imports, host, copy, fill: copy + 1, grow: copy + 2, init: copy + 3 }
    }

    /// Returns the index of a function of the original module, as guest code, tables and exports
    /// see it.
    pub(super) fn remap(self, function: u32) -> u32 {
        if function < self.imports { self.host + function } else { function }
    }
}

/// Emits the function around an import with `params` parameters.
pub(super) fn host(host: HostFunction, import: u32, params: u32, meters: Meters) -> Function {
    let mut function = Function::new([(1, ValType::I64)]);
    let own = if host == HostFunction::Send { MESSAGE_FUEL } else { 0 };
    meters.charge(&mut function, u64::from(cost::HOST_CALL_COST) + own, params);
    // Names and data, or the path of a value and the room for it, or, behind whom it is to, a
    // message's method and arguments.
    const FIRST_LENGTH: u32 = 1;
    const SECOND: u32 = 2;
    const SECOND_LENGTH: u32 = 3;
    const METHOD_LENGTH: u32 = 2;
    const ARGUMENTS_LENGTH: u32 = 4;
    match host {
        HostFunction::Emit => {
            function.instruction(&I::GlobalGet(meters.fuel));
            emit::bulk_units(&mut function, &[FIRST_LENGTH, SECOND_LENGTH]);
            meters.finish_charge(&mut function, params);
        }
        HostFunction::Send => {
            function.instruction(&I::GlobalGet(meters.fuel));
            emit::bulk_units(&mut function, &[METHOD_LENGTH, ARGUMENTS_LENGTH]);
            meters.finish_charge(&mut function, params);
        }
        HostFunction::Value => {
            // The host charges for reads, once it knows their size.
            function.instruction(&I::GlobalGet(meters.fuel));
            emit::bulk_units(&mut function, &[FIRST_LENGTH]);
            meters.finish_charge(&mut function, params);
            emit::mark_range(&mut function, SECOND, SECOND_LENGTH);
        }
        HostFunction::Now | HostFunction::Wake | HostFunction::Sleep => {}
    }
    for param in 0..params {
        function.instruction(&I::LocalGet(param));
    }
    push(&mut function, &[I::Call(import), I::End]);
    function
}

/// `memory.copy` as a function.
pub(super) fn copy(meters: Meters) -> Function {
    bulk(meters, &I::MemoryCopy { src_mem: GUEST_MEMORY, dst_mem: GUEST_MEMORY })
}

/// `memory.fill` as a function.
pub(super) fn fill(meters: Meters) -> Function {
    bulk(meters, &I::MemoryFill(GUEST_MEMORY))
}

/// `memory.init` of a segment as a function.
pub(super) fn init(meters: Meters, segment: u32) -> Function {
    bulk(meters, &I::MemoryInit { mem: GUEST_MEMORY, data_index: segment })
}

fn bulk(meters: Meters, operation: &I<'_>) -> Function {
    const ADDRESS: u32 = 0;
    const OPERAND: u32 = 1;
    const LENGTH: u32 = 2;
    const SCRATCH: u32 = 3;
    let mut function = Function::new([(1, ValType::I64)]);
    function.instruction(&I::GlobalGet(meters.fuel));
    emit::bulk_units(&mut function, &[LENGTH]);
    meters.finish_charge(&mut function, SCRATCH);
    emit::mark_range(&mut function, ADDRESS, LENGTH);
    push(&mut function, &[I::LocalGet(ADDRESS), I::LocalGet(OPERAND), I::LocalGet(LENGTH)]);
    push(&mut function, &[operation.clone(), I::End]);
    function
}

/// `memory.grow` as a function: beyond the declared maximum it fails without asking the host.
pub(super) fn grow(meters: Meters, pages_max: u32) -> Function {
    const DELTA: u32 = 0;
    const SCRATCH: u32 = 1;
    let mut function = Function::new([(1, ValType::I64)]);
    push(&mut function, &[I::LocalGet(DELTA), I::I32Const(pages_max.cast_signed())]);
    push(&mut function, &[I::MemorySize(GUEST_MEMORY), I::I32Sub, I::I32GtU]);
    push(&mut function, &[I::If(BlockType::Empty), I::I32Const(-1), I::Return, I::End]);
    push(&mut function, &[I::GlobalGet(meters.fuel), I::LocalGet(DELTA), I::I64ExtendI32U]);
    push(&mut function, &[I::I64Const(cost::GROW_PAGE_COST.into()), I::I64Mul]);
    meters.finish_charge(&mut function, SCRATCH);
    push(&mut function, &[I::LocalGet(DELTA), I::MemoryGrow(GUEST_MEMORY), I::End]);
    function
}
