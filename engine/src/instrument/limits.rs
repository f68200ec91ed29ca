//! The limits of a module.

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
