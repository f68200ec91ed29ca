//! Numbers on the command line: digits and nothing else.
//!
//! This module does not know what a number counts. A sign, a base, a separator or a blank is an
//! error, which says what was expected.

use std::any::type_name;

/// Reads a whole number: the value parser of every argument that is one.
pub(crate) fn parse<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err("expected a whole number, in digits alone".to_string());
    }
    let number = text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("expected a number that fits {}", bounds::<T>()))
}

/// Reads a number of at least one.
pub(crate) fn parse_some(text: &str) -> Result<u64, String> {
    parse(text).and_then(|number: u64| match number {
        0 => Err("expected a number of at least 1".to_string()),
        number => Ok(number),
    })
}

fn bounds<T>() -> &'static str {
    match type_name::<T>() {
        "u16" => "16 bits, 65535 at most",
        _ => "64 bits, 18446744073709551615 at most",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        for (text, number) in [("0", 0), ("7", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
        let wrong = [
            "",
            " 1",
            "1 ",
            "+1",
            "-1",
            "1_000",
            "1,000",
            "0x10",
            "1e3",
            "1.0",
            "ten",
            "²",
            "１",
            "18446744073709551616",
            "99999999999999999999999",
        ];
        for text in wrong {
            assert!(parse::<u64>(text).is_err(), "{text}");
        }
        assert_eq!(parse::<u16>("65535"), Ok(65535));
        assert!(parse::<u16>("65536").is_err_and(|error| error.contains("65535")));
        assert!(parse_some("0").is_err() && parse_some("1") == Ok(1));
    }
}
