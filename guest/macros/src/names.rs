//! Names of identifiers in WIT.
//!
//! This module does not know what is named.
//!
//! Invariant: a converted name is a name in WIT, escaped where it is a keyword.

use syn::ext::IdentExt;
use syn::{Error, Ident, Result};

/// Names that no method of an object can have: the ABI reserves them.
const RESERVED: [&str; 12] = [
    "advance",
    "write",
    "read",
    "amend",
    "upgrade",
    "delete",
    "migrate",
    "memory",
    "state",
    "salt",
    "cabi-realloc",
    "cycle",
];

/// The words of WIT that cannot name anything without an escape.
const KEYWORDS: [&str; 45] = [
    "as",
    "async",
    "bool",
    "borrow",
    "char",
    "constructor",
    "enum",
    "error-context",
    "export",
    "f32",
    "f64",
    "flags",
    "from",
    "func",
    "future",
    "import",
    "include",
    "interface",
    "list",
    "map",
    "option",
    "own",
    "package",
    "record",
    "resource",
    "result",
    "s16",
    "s32",
    "s64",
    "s8",
    "static",
    "stream",
    "string",
    "tuple",
    "type",
    "u16",
    "u32",
    "u64",
    "u8",
    "use",
    "variant",
    "with",
    "world",
    "float32",
    "float64",
];

/// Converts a `snake_case` name into WIT's.
pub(crate) fn kebab(ident: &Ident) -> Result<String> {
    convert(ident, names::kebab)
}

/// Converts a `PascalCase` name into WIT's.
pub(crate) fn kebab_of_pascal(ident: &Ident) -> Result<String> {
    convert(ident, names::kebab_of_pascal)
}

fn convert(
    ident: &Ident,
    by: fn(&str) -> core::result::Result<String, &'static str>,
) -> Result<String> {
    by(&ident.unraw().to_string()).map_err(|message| Error::new(ident.span(), message))
}

/// Checks that a method may have that name.
pub(crate) fn validate_method(ident: &Ident) -> Result<String> {
    let name = kebab(ident)?;
    if RESERVED.contains(&name.as_str()) {
        let message = format!("the name {name} is reserved");
        return Err(Error::new(ident.span(), message));
    }
    Ok(name)
}

/// Escapes a name as WIT writes it.
pub(crate) fn escaped(name: &str) -> String {
    if KEYWORDS.contains(&name) { format!("%{name}") } else { name.to_string() }
}
