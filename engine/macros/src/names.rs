//! Names of identifiers in a schema.
//!
//! It does not know what is named.

use syn::ext::IdentExt;
use syn::{Error, Ident, Result};

/// Converts a `snake_case` name into the schema's.
pub(crate) fn kebab(ident: &Ident) -> Result<String> {
    convert(ident, names::kebab)
}

/// Converts a `PascalCase` name into the schema's.
pub(crate) fn kebab_of_pascal(ident: &Ident) -> Result<String> {
    convert(ident, names::kebab_of_pascal)
}

fn convert(
    ident: &Ident,
    by: fn(&str) -> core::result::Result<String, &'static str>,
) -> Result<String> {
    by(&ident.unraw().to_string()).map_err(|message| Error::new(ident.span(), message))
}
