//! Numbers on the command line: digits, and of minutes a point among them, and nothing else.
//!
//! It does not know what a number counts.

use std::time::Duration;

/// The most minutes that are run: a year.
const MINUTES_MAX: u64 = 366 * 24 * 60;
/// Digits behind the point.
const FRACTION_MAX: usize = 3;

/// Reads a whole number.
pub(crate) fn whole(text: &str) -> Result<u64, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("expected a whole number, in digits alone".to_string());
    }
    text.parse().map_err(|_| format!("expected a number up to {}", u64::MAX))
}

/// Reads minutes, which may be less than one.
pub(crate) fn minutes(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected minutes up to {MINUTES_MAX}, such as 10 or 0.5");
    let (whole_part, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let minutes = whole(whole_part).ok().filter(|minutes| *minutes <= MINUTES_MAX);
    let digits = (1..=FRACTION_MAX).contains(&fraction.len());
    let thousandths = whole(&format!("{fraction:0<FRACTION_MAX$}")).ok().filter(|_| digits);
    match (minutes, thousandths) {
        (Some(minutes), Some(thousandths)) => {
            Ok(Duration::from_millis((minutes * 1000 + thousandths) * 60))
        }
        _ => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_and_nothing_else() {
        for (text, number) in [("0", 0), ("007", 7), ("18446744073709551615", u64::MAX)] {
            assert_eq!(whole(text), Ok(number), "{text}");
        }
        let wrong = ["", " 5", "5 ", "+5", "-5", "1e3", "1_000", "0x10", "1.0", "\u{663}", "٣"];
        for text in wrong.into_iter().chain(["18446744073709551616", "nan", "inf"]) {
            assert!(whole(text).is_err(), "{text}");
        }
    }

    #[test]
    fn minutes_may_have_a_point_and_end() {
        let right = [("0", 0), ("1", 60_000), ("0.5", 30_000), ("10.125", 607_500), ("0.001", 60)];
        for (text, milliseconds) in right {
            assert_eq!(minutes(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert!(minutes("527040").is_ok() && minutes("527041").is_err());
        let wrong = ["", ".", "1.", ".5", "-1", "+1", "nan", "NaN", "inf", "-inf", "1e3", " 5"];
        for text in
            wrong.into_iter().chain(["٣", "1.2.3", "0.0001", "1.+5", "99999999999999999999"])
        {
            let problem = minutes(text).expect_err(text);
            assert_eq!(problem, "expected minutes up to 527040, such as 10 or 0.5", "{text}");
        }
    }
}
