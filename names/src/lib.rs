//! Names: from Rust's cases to the kebab-case of a schema.
//!
//! The guest's macro writes a schema's names, and the engine's reads them: both convert by this
//! crate, so that they agree. This crate does not know what is named.
//!
//! Invariant: a converted name is a name in WIT, but for a keyword, which WIT escapes.

const NOT_SNAKE_CASE: &str = "a name in a schema is in snake_case, of ASCII letters and digits, \
                              and every word of it starts with a letter";

/// Converts a `snake_case` name into the schema's.
///
/// ```
/// assert_eq!(continuant_names::kebab("free_at").unwrap(), "free-at");
/// ```
///
/// # Errors
///
/// The rule that the name breaks.
pub fn kebab(name: &str) -> Result<String, &'static str> {
    let word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_lowercase())
            && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
    };
    match name.split('_').all(word) {
        true => Ok(checked(name.replace('_', "-"))),
        false => Err(NOT_SNAKE_CASE),
    }
}

/// Converts a `PascalCase` name into the schema's.
///
/// ```
/// assert_eq!(continuant_names::kebab_of_pascal("UnderWay").unwrap(), "under-way");
/// ```
///
/// # Errors
///
/// The rule that the name breaks.
pub fn kebab_of_pascal(name: &str) -> Result<String, &'static str> {
    let valid = name.starts_with(|first: char| first.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric());
    if !valid {
        return Err("a type or case in a schema is in PascalCase, of ASCII letters and digits");
    }
    let mut kebab = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !kebab.is_empty() {
            kebab.push('-');
        }
        kebab.push(c.to_ascii_lowercase());
    }
    Ok(checked(kebab))
}

/// Returns the name, after an assert that it is one in WIT.
fn checked(name: String) -> String {
    let mut words = name.split('-');
    let is_kebab = words.all(|word| word.starts_with(|first: char| first.is_ascii_lowercase()));
    assert!(is_kebab, "each word of a name in WIT starts with a letter: {name}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_joined_by_dashes() {
        for (name, expected) in [
            ("a", "a"),
            ("free_at", "free-at"),
            ("u8s", "u8s"),
            ("a1_b2_c", "a1-b2-c"),
            ("minutes_since_inspection", "minutes-since-inspection"),
        ] {
            assert_eq!(kebab(name).as_deref(), Ok(expected), "{name}");
        }
        for (name, expected) in [
            ("A", "a"),
            ("UnderWay", "under-way"),
            ("U8", "u8"),
            ("ABC", "a-b-c"),
            ("A1b2C3", "a1b2-c3"),
        ] {
            assert_eq!(kebab_of_pascal(name).as_deref(), Ok(expected), "{name}");
        }
    }

    #[test]
    fn a_name_that_a_schema_cannot_have_is_refused() {
        for name in ["", "_", "_a", "a_", "a__b", "a_1", "1", "aB", "A", "a-b", "é", "aé", "a b"]
        {
            assert!(kebab(name).is_err(), "{name:?}");
        }
        for name in ["", "a", "aB", "1A", "_A", "A_B", "A-B", "Aé", "É", "A B"] {
            assert!(kebab_of_pascal(name).is_err(), "{name:?}");
        }
    }
}
