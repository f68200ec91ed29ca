//! Arguments of the command line that are numbers: digits and nothing else.
//!
//! It does not know what a number counts.

/// Reads a number of at least one.
///
/// # Errors
///
/// What was expected, for anything else: a sign, a blank or a separator too.
pub fn count(text: &str) -> Result<usize, String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let count = text.parse().ok().filter(|count| is_digits && *count > 0);
    count.ok_or_else(|| "expected a number of at least 1, in digits alone".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        assert_eq!((count("1"), count("0100000")), (Ok(1), Ok(100_000)));
        for text in ["", "0", "+5", "-5", " 5", "5 ", "1_000", "1e3", "٣", "99999999999999999999"]
        {
            assert!(count(text).is_err(), "{text}");
        }
    }
}
