//! Names: from Rust's cases to the kebab-case of a schema.
//!
//! It does not know what is named.

use syn::ext::IdentExt;
use syn::{Error, Ident, Result};

/// Converts a `snake_case` name into the schema's.
pub(crate) fn kebab(ident: &Ident) -> Result<String> {
    let name = ident.unraw().to_string();
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    if name.split('_').all(word) {
        return Ok(name.replace('_', "-"));
    }
    let message = "a name in a schema is in snake_case, of ASCII letters and digits, \
                   and every word of it starts with a letter";
    Err(Error::new(ident.span(), message))
}

/// Converts a `PascalCase` name into the schema's.
pub(crate) fn kebab_of_pascal(ident: &Ident) -> Result<String> {
    let name = ident.unraw().to_string();
    let valid = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !valid {
        let message = "a case in a schema is in PascalCase, of ASCII letters and digits";
        return Err(Error::new(ident.span(), message));
    }
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    Ok(kebab)
}
