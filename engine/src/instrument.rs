//! Instrumentation: converts a user's module into the one that every substrate runs. It is
//! validated against the ABI of objects, or that of guards, and instrumented so that its steps are
//! metered, deterministic and observable.
//!
//! This module does not know who runs the result, and does no I/O: bytes in, bytes out.
//!
//! Invariant: the same bytes and limits give the same module, for one `INSTRUMENTATION_VERSION`.
//!
//! The pass adds these exports to a module, all of them under names that start with `continuant:`
//!
//! | export | what it is |
//! |---|---|
//! | `continuant:cards` | a memory with a byte for each 4096-byte page, non-zero once written |
//! | `continuant:fuel` | a mutable `i64`: fuel left, charged by basic block, negative when out |
//! | `continuant:stack` | a mutable `i32`: stack units left, negative when exhausted |
//! | `continuant:global:N` | the guest's N-th mutable global |
//! | `continuant:start` | the start function, which no longer runs by itself |

mod abi;
mod added;
mod body;
mod cost;
mod emit;
mod error;
mod feature;
mod limits;
mod names;
mod rewrite;
mod survey;
#[cfg(test)]
mod tests;

pub use cost::{STACK_BUDGET, START_FUEL};
pub use error::{ModuleError, ModuleErrorKind};
pub use limits::Limits;
pub use names::{
    CARDS_EXPORT, FUEL_EXPORT, FunctionExport, GLOBAL_EXPORT_PREFIX, INITIALIZE_EXPORT,
    STACK_EXPORT, START_EXPORT,
};
pub use schema::CoreType;

/// The version of everything that determines the results and costs of a step. It is part of every
/// version header.
pub const INSTRUMENTATION_VERSION: u32 = 2;
/// A module ready for a substrate, and the facts about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrumented {
    /// The instrumented module.
    pub wasm: Vec<u8>,
    /// WIT text of the schema, not yet parsed.
    pub schema_text: String,
    /// Address of the state record in memory, a multiple of 4096.
    pub state_address: u32,
    /// Address of the memory's salt, if the module has a place for it.
    pub salt_address: Option<u32>,
    /// The address below which memory is dead at rest; 0 when the module promises none.
    pub stack_top: u32,
    /// The memory's declared maximum, in pages of 64 KiB.
    pub memory_pages_max: u32,
    /// Export names and types of the guest's mutable globals, in index order.
    pub globals: Vec<(String, CoreType)>,
    /// True if the module has a start function.
    pub has_start: bool,
    /// True if the module exports an `_initialize` that is called once, with the creation.
    pub has_initialize: bool,
    /// True if the object has a cycle of its own.
    pub has_cycle: bool,
    /// True if the module exports `cabi_realloc`.
    pub has_realloc: bool,
    /// The functions that the module exports, in the order of its export section.
    pub functions: Vec<FunctionExport>,
}

/// Validates a module against the ABI and instruments it.
///
/// # Errors
///
/// A [`ModuleError`] that names the first thing found wrong: bytes that are not valid
/// WebAssembly, a feature that objects may not use, a breach of the ABI, or of `limits`.
pub fn instrument(wasm: &[u8], limits: &Limits) -> Result<Instrumented, ModuleError> {
    pass(wasm, limits, abi::check)
}

/// Validates the module of a policy's guard and instruments it. The result can be instantiated.
///
/// # Errors
///
/// As of [`instrument`].
pub fn instrument_guard(wasm: &[u8]) -> Result<Instrumented, ModuleError> {
    pass(wasm, &Limits::of_guards(), abi::check_guard)
}

fn pass(
    wasm: &[u8],
    limits: &Limits,
    check: fn(&survey::Survey<'_>, &Limits) -> Result<abi::Abi, ModuleError>,
) -> Result<Instrumented, ModuleError> {
    let survey = survey::Survey::read(wasm, limits)?;
    let abi = check(&survey, limits)?;
    let functions = abi::exported_functions(&survey);
    let globals = rewrite::mutable_globals(&survey).enumerate();
    let globals = globals.map(|(ordinal, index)| {
        let ty = survey.globals[index as usize].ty.content_type;
        (format!("{GLOBAL_EXPORT_PREFIX}{ordinal}"), survey::core_type(ty))
    });
    let globals = globals.collect();
    let wasm = rewrite::rewrite(wasm, &survey, &abi)?;
    Ok(Instrumented {
        wasm,
        schema_text: abi.schema_text,
        state_address: abi.state_address,
        salt_address: abi.salt_address,
        stack_top: abi.stack_top,
        memory_pages_max: abi.memory_pages_max,
        globals,
        has_start: survey.start.is_some(),
        has_initialize: abi.has_initialize,
        has_cycle: abi.has_cycle,
        has_realloc: abi.has_realloc,
        functions,
    })
}
