//! The terms of a module: the names that it exports, or gets from the pass, and the most of
//! everything that it may have.

use schema::CoreType;

/// The custom section that holds the schema's WIT text.
pub const SCHEMA_SECTION: &str = "continuant:schema";
/// The prefix of the names of exports that the pass adds.
pub const RESERVED_PREFIX: &str = "continuant:";
/// The card memory's export name.
pub const CARDS_EXPORT: &str = "continuant:cards";
/// The fuel global's export name.
pub const FUEL_EXPORT: &str = "continuant:fuel";
/// The stack global's export name.
pub const STACK_EXPORT: &str = "continuant:stack";
/// The name of the export that toolchains rely on being called once, before anything else.
pub const INITIALIZE_EXPORT: &str = "_initialize";
/// The start function's export name.
pub const START_EXPORT: &str = "continuant:start";
/// The prefix of the export names of the guest's mutable globals; their ordinal follows.
pub const GLOBAL_EXPORT_PREFIX: &str = "continuant:global:";

/// The most of everything that a module may have.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the module.
    pub module_bytes_max: u64,
    /// Bytes of the schema's text.
    pub schema_bytes_max: u32,
    /// Functions that the module defines.
    pub functions_max: u32,
    /// Bytes of one function's body.
    pub function_bytes_max: u32,
    /// Parameters and locals of one function.
    pub locals_max: u32,
    /// Blocks, loops and ifs of one function. This and the next two limits bound the time to
    /// compile a module that is built to compile slowly.
    pub blocks_max: u32,
    /// Loops of one function within one another.
    pub loop_nesting_max: u32,
    /// Blocks of one function times its parameters and locals: the values that may have to be
    /// merged where control meets.
    pub merges_max: u32,
    /// Globals that the module defines.
    pub globals_max: u32,
    /// Elements of a table.
    pub table_elements_max: u32,
    /// The declared maximum of the memory, in pages of 64 KiB.
    pub memory_pages_max: u32,
}

impl Limits {
    /// Returns the limits of a policy's guard. They are part of the format: every host has the
    /// same.
    pub(super) fn of_guards() -> Limits {
        use object::limits;
        let pages = limits::GUARD_MEMORY_BYTES_MAX / limits::WASM_PAGE_BYTES as u64;
        Limits {
            module_bytes_max: limits::GUARD_BYTES_MAX as u64,
            memory_pages_max: pages as u32,
            ..Limits::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        use object::limits;
        Limits {
            module_bytes_max: limits::CODE_BYTES_MAX as u64,
            schema_bytes_max: limits::SCHEMA_BYTES_MAX as u32,
            functions_max: 16_384,
            function_bytes_max: 256 << 10,
            locals_max: 8_192,
            blocks_max: 16_384,
            loop_nesting_max: 32,
            merges_max: 2 << 20,
            globals_max: limits::GLOBALS_MAX as u32,
            table_elements_max: 65_536,
            memory_pages_max: (limits::MEMORY_BYTES_MAX / limits::WASM_PAGE_BYTES as u64) as u32,
        }
    }
}

/// An exported function's name, parameters and results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionExport {
    /// The export's name.
    pub name: String,
    /// Types of the parameters.
    pub params: Vec<CoreType>,
    /// Types of the results.
    pub results: Vec<CoreType>,
}
