//! A warm instance that objects of one code are loaded into, one after another.
//!
//! This module does not know which object is loaded: its caller writes the pages that differ from
//! the present memory, and reads those that a step wrote.
//!
//! Invariant: outside of a step, memory differs from what the caller last saw of it only in the
//! pages that `dirty_pages` names. Memory never shrinks.
//!
//! ```text
//! new -> idle --begin_step--> stepping --end_step--> idle
//!                             |      ^
//!                             +-call-+  a trap ends the calls, not the step
//! ```

use std::sync::Arc;

use object::limits::{PAGE_BYTES, WASM_PAGE_BYTES};
use object::time::Time;
use schema::CoreValue;
use wasmtime::{Func, Global, Instance, Memory, Store, Val};

use super::code::{Base, Code, Function};
use super::host::{Answers, Effects, Step, StepContext, StepLimits};
use super::trap::{HostFailure, StepError};
use crate::instrument::{
    CARDS_EXPORT, CoreType, FUEL_EXPORT, STACK_BUDGET, STACK_EXPORT, START_EXPORT, START_FUEL,
};

/// Cards that are skipped at once when none is marked.
const CARD_RUN: usize = 512;

/// A warm instance of a [`Code`].
pub(crate) struct Slot {
    code: Arc<Code>,
    store: Store<Step>,
    memory: Memory,
    cards: Memory,
    fuel: Global,
    stack: Global,
    globals: Vec<Global>,
    functions: Vec<Func>,
    /// Arguments and results of a call, kept for the next one.
    values: (Vec<Val>, Vec<Val>),
    /// Fuel that the step began with.
    budget: i64,
    /// True if the step trapped, so that it can only end.
    trapped: bool,
}

impl Slot {
    /// An instance that holds the base image.
    ///
    /// # Errors
    ///
    /// When the host has no memory for it.
    pub(crate) fn new(code: &Arc<Code>) -> Result<Slot, HostFailure> {
        let (mut slot, _) = Slot::instantiate(code).map_err(|error| match error {
            StepError::Host(failure) => failure,
            StepError::Trap(trap) => HostFailure::new(format!("a second instance: {trap}")),
        })?;
        if code.about().has_start {
            slot.memory_mut().fill(0);
            slot.grow_to(code.base().memory_bytes)?;
            for (index, page) in &code.base().pages {
                let start = *index as usize * PAGE_BYTES;
                slot.memory_mut()[start..start + PAGE_BYTES].copy_from_slice(&page[..]);
            }
            slot.set_globals(&code.base().globals);
        }
        Ok(slot)
    }

    /// Runs the start function in a new instance and takes its image.
    pub(super) fn start(code: &Arc<Code>) -> Result<Base, StepError> {
        let (mut slot, instance) = Slot::instantiate(code)?;
        if code.about().has_start {
            let start = instance.get_func(&mut slot.store, START_EXPORT);
            let start = start.expect("the pass exports the start function");
            slot.refill(START_FUEL);
            slot.invoke(start, &[], &mut [])?;
        }
        let mut globals = Vec::new();
        slot.globals(&mut globals);
        Ok(Base::of(slot.memory(), code.about().stack_top, globals))
    }

    fn instantiate(code: &Arc<Code>) -> Result<(Slot, Instance), StepError> {
        let mut store = Store::new(code.instance.module().engine(), Step::default());
        store.limiter(|step| step);
        let instance = code.instance.instantiate(&mut store);
        let instance = instance.map_err(|error| match StepError::classify(error, 0, 0) {
            StepError::Host(failure) => StepError::Host(failure.of_address_space()),
            trapped => trapped,
        })?;
        let added = "the pass exports what it adds";
        let global =
            |store: &mut Store<Step>, name: &str| instance.get_global(store, name).expect(added);
        let memory = instance.get_memory(&mut store, "memory").expect("the ABI asks for a memory");
        let cards = instance.get_memory(&mut store, CARDS_EXPORT).expect(added);
        let fuel = global(&mut store, FUEL_EXPORT);
        let stack = global(&mut store, STACK_EXPORT);
        let globals = code.globals().iter().map(|(name, _)| global(&mut store, name)).collect();
        let functions = code.functions().iter().map(|export| {
            let function = instance.get_func(&mut store, &export.name);
            function.expect("the module exports the functions that it says")
        });
        let functions = functions.collect();
        (store.data_mut().memory, store.data_mut().fuel) = (Some(memory), Some(fuel));
        let code = Arc::clone(code);
        let values = Default::default();
        let (budget, trapped) = (0, false);
        let slot = Slot {
            code,
            store,
            memory,
            cards,
            fuel,
            stack,
            globals,
            functions,
            values,
            budget,
            trapped,
        };
        Ok((slot, instance))
    }

    /// The code that this is an instance of.
    pub(crate) fn code(&self) -> &Arc<Code> {
        &self.code
    }

    /// The memory, a multiple of 64 KiB long.
    pub(crate) fn memory(&self) -> &[u8] {
        self.memory.data(&self.store)
    }

    /// Returns the memory, to load an object or arguments into. Writes to it are not marked dirty.
    pub(crate) fn memory_mut(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Bytes of memory. An object that has fewer needs another slot.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory.data_size(&self.store) as u64
    }

    /// Grows memory to at least `bytes`, rounded up to a multiple of 64 KiB.
    ///
    /// # Errors
    ///
    /// When the host has no memory for it, or it is beyond the module's declared maximum.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), HostFailure> {
        let pages = bytes.div_ceil(WASM_PAGE_BYTES as u64);
        let missing = pages.saturating_sub(self.memory.size(&self.store));
        if missing > 0 {
            self.memory.grow(&mut self.store, missing)?;
        }
        Ok(())
    }

    /// Replaces the contents of `into` by the bits of the mutable globals, in index order; 32-bit
    /// globals take the low half.
    pub(crate) fn globals(&mut self, into: &mut Vec<u64>) {
        into.clear();
        into.reserve_exact(self.globals.len());
        for global in &self.globals {
            into.push(match from_val(global.get(&mut self.store)) {
                CoreValue::I32(value) => u64::from(value),
                CoreValue::I64(value) => value,
                CoreValue::F32(bits) => u64::from(bits),
                CoreValue::F64(bits) => bits,
            });
        }
    }

    /// Sets the mutable globals from their bits.
    ///
    /// # Panics
    ///
    /// When there are not as many as the module has.
    pub(crate) fn set_globals(&mut self, bits: &[u64]) {
        assert_eq!(bits.len(), self.globals.len(), "one value for each mutable global");
        for ((global, (_, ty)), &bits) in self.globals.iter().zip(self.code.globals()).zip(bits) {
            let value = match ty {
                CoreType::I32 => Val::I32((bits as u32).cast_signed()),
                CoreType::I64 => Val::I64(bits.cast_signed()),
                CoreType::F32 => Val::F32(bits as u32),
                CoreType::F64 => Val::F64(bits),
            };
            global.set(&mut self.store, value).expect("a mutable global of the type it has");
        }
    }

    /// Appends the indices of the pages written by guest code since the last time, ascending,
    /// and forgets them. A page written with the bytes it had is among them; one that memory
    /// merely grew by is not.
    pub(crate) fn dirty_pages(&mut self, into: &mut Vec<u32>) {
        let pages = self.memory.data_size(&self.store) / PAGE_BYTES;
        let cards = self.cards.data_mut(&mut self.store);
        // A store that trapped may have marked a page beyond the end of memory.
        let scanned = if self.trapped { cards.len() } else { pages };
        for (run, cards) in cards[..scanned].chunks_mut(CARD_RUN).enumerate() {
            if *cards == [0; CARD_RUN][..cards.len()] {
                continue;
            }
            for (index, card) in cards.iter_mut().enumerate() {
                let page = run * CARD_RUN + index;
                if std::mem::take(card) != 0 && page < pages {
                    into.push(u32::try_from(page).expect("a page index of a 32-bit memory"));
                }
            }
        }
    }

    /// Begins a step.
    pub(crate) fn begin_step(&mut self, context: StepContext) {
        let step = self.store.data_mut();
        debug_assert!(!step.active, "steps do not nest");
        step.active = true;
        (step.now, step.limits) = (context.now, context.limits);
        self.refill(context.limits.fuel);
    }

    /// Fuel that the step began with.
    pub(crate) fn budget(&self) -> u64 {
        self.budget.cast_unsigned()
    }

    /// Begins the step of a guard, which asks about `question`.
    pub(crate) fn begin_asking(&mut self, question: Box<dyn Answers>, fuel: u64) {
        let limits = StepLimits { fuel, ..StepLimits::default() };
        self.begin_step(StepContext { now: Time::MIN, limits });
        self.store.data_mut().question = Some(question);
    }

    /// Calls a function within the step. Its fuel, outputs and wake add to those of the step's
    /// other calls.
    ///
    /// # Errors
    ///
    /// A trap, after which the step can only end, and the caller restores the pages that
    /// `dirty_pages` names, and the globals; or a failure of the host.
    ///
    /// # Panics
    ///
    /// When no step has begun or it has trapped, or the function is of other code.
    pub(crate) fn call(
        &mut self,
        function: Function,
        args: &[CoreValue],
    ) -> Result<Vec<CoreValue>, StepError> {
        assert!(self.store.data().active && !self.trapped, "a call belongs to a step");
        let (mut given, mut results) = std::mem::take(&mut self.values);
        given.clear();
        given.extend(args.iter().copied().map(into_val));
        results.clear();
        results.resize(self.code.functions()[function.0].results.len(), Val::I32(0));
        let called = self.invoke(self.functions[function.0], &given, &mut results);
        let gave = called.map(|()| results.iter().copied().map(from_val).collect());
        self.values = (given, results);
        gave
    }

    /// Ends the step and returns its effects. After a trap, only the fuel is of use.
    pub(crate) fn end_step(&mut self) -> Effects {
        let left = self.fuel_left().max(0);
        let step = self.store.data_mut();
        step.active = false;
        step.question = None;
        step.effect_bytes = 0;
        Effects {
            outputs: std::mem::take(&mut step.outputs),
            messages: std::mem::take(&mut step.messages),
            wake: step.wake.take(),
            fuel_used: (self.budget - left).cast_unsigned(),
        }
    }

    fn invoke(
        &mut self,
        function: Func,
        args: &[Val],
        results: &mut [Val],
    ) -> Result<(), StepError> {
        match function.call(&mut self.store, args, results) {
            Ok(()) => {
                debug_assert_eq!(self.stack_left(), STACK_BUDGET.cast_signed(), "calls balance");
                Ok(())
            }
            Err(error) => {
                self.trapped = true;
                let (fuel, stack) = (self.fuel_left(), self.stack_left());
                Err(StepError::classify(error, fuel, stack))
            }
        }
    }

    fn refill(&mut self, fuel: u64) {
        self.budget = i64::try_from(fuel).unwrap_or(i64::MAX);
        self.trapped = false;
        let typed = "the pass gives its globals these types";
        self.fuel.set(&mut self.store, Val::I64(self.budget)).expect(typed);
        let stack = Val::I32(STACK_BUDGET.cast_signed());
        self.stack.set(&mut self.store, stack).expect(typed);
    }

    fn fuel_left(&mut self) -> i64 {
        self.fuel.get(&mut self.store).unwrap_i64()
    }

    fn stack_left(&mut self) -> i32 {
        self.stack.get(&mut self.store).unwrap_i32()
    }
}

fn into_val(value: CoreValue) -> Val {
    match value {
        CoreValue::I32(value) => Val::I32(value.cast_signed()),
        CoreValue::I64(value) => Val::I64(value.cast_signed()),
        CoreValue::F32(bits) => Val::F32(bits),
        CoreValue::F64(bits) => Val::F64(bits),
    }
}

fn from_val(value: Val) -> CoreValue {
    match value {
        Val::I32(value) => CoreValue::I32(value.cast_unsigned()),
        Val::I64(value) => CoreValue::I64(value.cast_unsigned()),
        Val::F32(bits) => CoreValue::F32(bits),
        Val::F64(bits) => CoreValue::F64(bits),
        _ => unreachable!("validation admits only numbers"),
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("memory_bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}
