//! The substrate, which runs instrumented modules: the one folder that names wasmtime.
//!
//! It does not know objects, policies or storage: it lends memories that a caller fills, runs
//! exported functions in them, and reports their effects.
//!
//! Invariant: a step's results, memory, globals, effects, fuel or trap do not show which substrate
//! ran it; everything that could differ is a [`HostFailure`], which is never a verdict.

mod cache;
mod code;
mod host;
mod slot;
#[cfg(test)]
mod tests;
mod trap;

pub(crate) use cache::Cache;
pub(crate) use code::{Code, CodeError};
pub(crate) use host::{Answers, Effects, StepContext, StepLimits, WakeChange};
pub(crate) use slot::Slot;
pub(crate) use trap::{HostFailure, HostLimit, StepError, Trap};

use crate::instrument::{Instrumented, STACK_BUDGET};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use wasmtime::{Config, Engine, Module, OptLevel, RegallocAlgorithm, Strategy, WasmFeatures};

/// Bytes of native stack that guest code may use. The budget that guests are metered by ends
/// well before: a unit is a byte of an unoptimised frame, and compilers need a few more.
const NATIVE_STACK_BYTES: usize = 10 * STACK_BUDGET as usize;
/// Bytes of stack that a thread running guests must have.
pub(crate) const THREAD_STACK_BYTES: usize = NATIVE_STACK_BYTES + (6 << 20);
/// Address space of a memory: all that 32-bit addresses reach, so that no access needs a bounds
/// check. A slot takes two, so a thousand slots take 8 of the 128 TiB that a process has.
const MEMORY_RESERVATION_BYTES: u64 = 4 << 30;
const MEMORY_GUARD_BYTES: u64 = 32 << 20;

/// A compiler and runtime of WebAssembly, shared by all code of a process.
pub(crate) struct Substrate {
    engine: Engine,
    cache: Option<Cache>,
    compiled: AtomicU64,
    cached: AtomicU64,
}

impl Substrate {
    /// Starts the substrate, which keeps machine code in `cache`, if there is one.
    ///
    /// # Errors
    ///
    /// When this machine or operating system cannot run it.
    pub(crate) fn new(cache: Option<Cache>) -> Result<Substrate, HostFailure> {
        let (compiled, cached) = Default::default();
        Ok(Substrate { engine: Engine::new(&config())?, cache, compiled, cached })
    }

    /// Modules that were compiled, and those that were not because their machine code was kept.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.compiled.load(Ordering::Relaxed), self.cached.load(Ordering::Relaxed))
    }

    /// Compiles an instrumented module and makes its base image.
    ///
    /// # Errors
    ///
    /// When the module cannot be instantiated, or the substrate fails.
    pub(crate) fn compile(&self, mut about: Instrumented) -> Result<Arc<Code>, CodeError> {
        let failed = |error: wasmtime::Error| CodeError::Host(error.into());
        let wasm = std::mem::take(&mut about.wasm);
        let module = self.module(&wasm).map_err(failed)?;
        let linker = host::linker(&self.engine).map_err(failed)?;
        let instance = linker.instantiate_pre(&module).map_err(failed)?;
        let code = Arc::new(Code::new(about, instance));
        let base = Slot::start(&code).map_err(|error| match error {
            StepError::Trap(trap) => CodeError::Start(trap),
            StepError::Host(failure) => CodeError::Host(failure),
        })?;
        let code = Arc::into_inner(code).expect("the slot that made the base image is gone");
        Ok(Arc::new(code.with_base(base)))
    }

    /// An instrumented module, from the cache or compiled.
    fn module(&self, wasm: &[u8]) -> Result<Module, wasmtime::Error> {
        let cached = self.cache.as_ref().and_then(|cache| cache.load(&self.engine, wasm));
        if let Some(module) = cached {
            self.cached.fetch_add(1, Ordering::Relaxed);
            return Ok(module);
        }
        let module = Module::new(&self.engine, wasm)?;
        self.compiled.fetch_add(1, Ordering::Relaxed);
        self.cache.iter().for_each(|cache| cache.keep(wasm, &module));
        Ok(module)
    }
}

/// Returns every setting that decides what guests can do or how they are run. Limits and verdicts
/// come from the instrumentation, so the substrate's own fuel, epochs and canonical NaNs stay off.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_features(WasmFeatures::all(), false)
        .wasm_features(features(), true)
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking)
        .cranelift_nan_canonicalization(false)
        .consume_fuel(false)
        .epoch_interruption(false)
        .max_wasm_stack(NATIVE_STACK_BYTES)
        .async_stack_size(THREAD_STACK_BYTES)
        .debug_info(false)
        .generate_address_map(false)
        .wasm_backtrace_max_frames(None)
        .signals_based_traps(true)
        .memory_reservation(MEMORY_RESERVATION_BYTES)
        .memory_guard_size(MEMORY_GUARD_BYTES)
        .memory_may_move(false)
        .guard_before_linear_memory(true)
        .memory_init_cow(true)
        .table_lazy_init(true);
    config
}

/// The Lime1 feature set of objects with their passive segments, and a second memory for the cards
/// that the pass adds.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::FLOATS
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::CALL_INDIRECT_OVERLONG
        | WasmFeatures::MULTI_MEMORY
}
