//! The names of a module's exports, its own and those that the pass adds.

use schema::CoreType;

/// The custom section that holds the schema's WIT text.
pub(super) const SCHEMA_SECTION: &str = "continuant:schema";
/// The custom section that says how far behind the state the memory's salt is.
pub(super) const SALT_SECTION: &str = "continuant:salt";
/// The prefix of the names of exports that the pass adds.
pub(super) const RESERVED_PREFIX: &str = "continuant:";
/// The card memory's export name.
pub const CARDS_EXPORT: &str = "continuant:cards";
/// The fuel global's export name.
pub const FUEL_EXPORT: &str = "continuant:fuel";
/// The stack global's export name.
pub const STACK_EXPORT: &str = "continuant:stack";
/// The name of the export that toolchains rely on being called once, before anything else.
pub const INITIALIZE_EXPORT: &str = "_initialize";
/// The name of the export that says where in memory its salt is.
pub(super) const SALT_EXPORT: &str = "salt";
/// The start function's export name.
pub const START_EXPORT: &str = "continuant:start";
/// The prefix of the export names of the guest's mutable globals; their ordinal follows.
pub const GLOBAL_EXPORT_PREFIX: &str = "continuant:global:";

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
