//! Times as people read and write them, and spans of time.
//!
//! This module does not know what a time is for. The engine's times are milliseconds since
//! 1970-01-01 UTC; one beyond the calendar's end is shown as that number.
//!
//! Invariant: a text is read whole or not at all. No part of it is skipped.

use continuant::Clock;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

/// The time 0. Times are reckoned in the calendar, as a `Timestamp` ends before the year 9999 does.
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;
/// The first moment that a bare number may be: 2000-01-01. A lower number is in seconds, or a slip.
const NUMBER_MIN: u64 = 946_684_800_000;
/// The last millisecond of the year 9999.
const TIME_MAX: u64 = 253_402_300_799_999;

/// The part of `--help` about times.
pub(crate) const FORMS: &str = "\
Times are taken whole or refused:
  2013-01-31T12:00:00Z, 2013-01-31T13:00:00+01:00   RFC 3339
  2013-01-31T12:00:00, \"2013-01-31 12:00\"           in UTC, as no zone is given
  2013-01-31                                        midnight UTC, when that day begins
  1359633600000                                     milliseconds since 1970, from 2000 on
  now, today, yesterday; 5m, \"2h ago\", \"1d 12h\"     for a past time
  now, tomorrow; 5m, +2h, \"in 1d 12h\"               for a future time: --expires, and --until of
                                                    run";

const PAST: &str = "expected a past time, such as 2013-01-31T12:00:00Z, 2013-01-31, yesterday or \
                    5m (ago)";
const FUTURE: &str = "expected a future time, such as 2099-01-31T12:00:00Z, 2099-01-31, tomorrow \
                      or 5m (from now)";

/// Returns a time as text: `2013-01-31T12:00:00.000Z`.
pub(crate) fn show(time: u64) -> String {
    let since = i64::try_from(time).ok().map(SignedDuration::from_millis);
    let calendar = since.and_then(|since| EPOCH.checked_add(since).ok());
    let shown = calendar.map_or(time.to_string(), |moment| format!("{moment:.3}Z"));
    let is_read = |read: Result<u64, String>| time > TIME_MAX || read == Ok(time);
    debug_assert!(self::calendar(&shown).is_none_or(is_read), "a shown time is read as the same");
    shown
}

/// Reads a time as [`show`] prints it, and no other form.
pub(crate) fn read_shown(text: &str) -> Option<u64> {
    let time = match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => calendar(text).and_then(Result::ok),
    };
    time.filter(|time| show(*time) == text)
}

/// Reads a past time: a span, such as `5m`, is that long ago.
///
/// The error says which forms are taken.
pub(crate) fn parse_past(text: &str) -> Result<u64, String> {
    past(text, Clock::system().now())
}

/// Reads a future time: a span, such as `5m`, is that long from now.
///
/// The error says which forms are taken.
pub(crate) fn parse_future(text: &str) -> Result<u64, String> {
    future(text, Clock::system().now())
}

fn past(text: &str, now: u64) -> Result<u64, String> {
    let today = now - now % DAY_MS;
    match text {
        "now" => return Ok(now),
        "today" => return Ok(today),
        "yesterday" => return Ok(today.saturating_sub(DAY_MS)),
        "tomorrow" => return Err(format!("{PAST}: tomorrow is yet to come")),
        _ => {}
    }
    if text.starts_with('+') || text.starts_with("in ") {
        return Err(format!("{PAST}: {text} is yet to come"));
    }
    if let Some(ago) = span(text.strip_suffix(" ago").unwrap_or(text)) {
        let time = ago.ok().and_then(|ago| now.checked_sub(ago));
        return time.ok_or_else(|| format!("{PAST}: {text} is before 1970"));
    }
    absolute(text, PAST)
}

fn future(text: &str, now: u64) -> Result<u64, String> {
    match text {
        "now" => return Ok(now),
        "tomorrow" => return Ok(now - now % DAY_MS + DAY_MS),
        "today" | "yesterday" => return Err(format!("{FUTURE}: {text} has begun")),
        _ => {}
    }
    if text.ends_with(" ago") {
        return Err(format!("{FUTURE}: {text} was"));
    }
    let ahead = text.strip_prefix("in ").or_else(|| text.strip_prefix('+'));
    if let Some(ahead) = span(ahead.unwrap_or(text)) {
        let time = ahead.ok().and_then(|ahead| now.checked_add(ahead));
        let time = time.filter(|time| *time <= TIME_MAX);
        return time.ok_or_else(|| format!("{FUTURE}: {text} is beyond the year 9999"));
    }
    absolute(text, FUTURE)
}

/// Reads a time that does not hang on the present one.
fn absolute(text: &str, expected: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return number(text).map_err(|problem| format!("{expected}: {problem}"));
    }
    if text.contains('[') {
        let example = "2013-01-31T12:00:00+01:00";
        let instead = format!("write the offset in place of a zone's name, as in {example}");
        return Err(format!("{expected}: {instead}"));
    }
    match calendar(text) {
        Some(read) => read.map_err(|problem| format!("{expected}: {problem}")),
        None => Err(expected.to_string()),
    }
}

/// Reads milliseconds since 1970.
fn number(text: &str) -> Result<u64, String> {
    let beyond = "a number means milliseconds since 1970, and this one is beyond the year 9999";
    let number: u64 = text.parse().map_err(|_| beyond.to_string())?;
    if number > TIME_MAX {
        return Err(beyond.to_string());
    }
    if number >= NUMBER_MIN {
        return Ok(number);
    }
    let seconds = number.saturating_mul(SECOND_MS);
    let problem = "a number means milliseconds since 1970, and must be from the year 2000 on";
    Err(match (NUMBER_MIN..=TIME_MAX).contains(&seconds) {
        true => format!("{problem}; did you mean {}, {seconds}?", show(seconds)),
        false => problem.to_string(),
    })
}

/// Reads a date, or a date and a time, with a zone or in UTC. Returns `None` when the text has
/// another form, and an error when it has this form and is no moment.
fn calendar(text: &str) -> Option<Result<u64, String>> {
    let mut rest = Rest(text);
    let year = rest.digits(4)?;
    rest.take("-")?;
    let month = rest.digits(2)?;
    rest.take("-")?;
    let day = rest.digits(2)?;
    let (mut time, mut offset) = ((0, 0, 0, 0), 0);
    if !rest.0.is_empty() {
        rest.take("T").or_else(|| rest.take("t")).or_else(|| rest.take(" "))?;
        time = rest.time()?;
        offset = rest.zone()?;
    }
    let none = || format!("there is no {text}");
    if !rest.0.is_empty() {
        return None;
    }
    let date = Date::new(year as i16, month as i8, day as i8).ok();
    let (hour, minute, second, nanosecond) = time;
    let time = Time::new(hour as i8, minute as i8, second as i8, nanosecond as i32).ok();
    let (Some(date), Some(time)) = (date, time) else { return Some(Err(none())) };
    let since = DateTime::from_parts(date, time).duration_since(EPOCH);
    let since = since.as_millis() - i128::from(offset) * i128::from(SECOND_MS);
    Some(match u64::try_from(since) {
        Ok(time) if time <= TIME_MAX => Ok(time),
        Ok(_) => Err(format!("{text} is beyond the year 9999")),
        Err(_) => Err(format!("{text} is before 1970")),
    })
}

/// The unread rest of a text.
struct Rest<'a>(&'a str);

impl Rest<'_> {
    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }

    /// Reads a number of this many digits.
    fn digits(&mut self, count: usize) -> Option<u32> {
        let digits = self.0.get(..count)?;
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse());
        self.0 = &self.0[count..];
        number?.ok()
    }

    /// Reads `12:00`, `12:00:00` or `12:00:00.123`.
    fn time(&mut self) -> Option<(u32, u32, u32, u32)> {
        let hour = self.digits(2)?;
        self.take(":")?;
        let minute = self.digits(2)?;
        if self.take(":").is_none() {
            return Some((hour, minute, 0, 0));
        }
        let second = self.digits(2)?;
        if self.take(".").is_none() {
            return Some((hour, minute, second, 0));
        }
        let count = self.0.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        let fits = (1..=9).contains(&count);
        let nanosecond = fits.then(|| format!("{digits:0<9}").parse().ok()).flatten()?;
        Some((hour, minute, second, nanosecond))
    }

    /// Reads `Z`, `+01:00` or nothing, which is UTC, in seconds.
    fn zone(&mut self) -> Option<i32> {
        if self.0.is_empty() || self.take("Z").is_some() || self.take("z").is_some() {
            return Some(0);
        }
        let sign = match self.take("+") {
            Some(()) => 1,
            None => self.take("-").map(|()| -1)?,
        };
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        self.take(":")?;
        let minutes = self.digits(2).filter(|minutes| *minutes < 60)?;
        Some(sign * (hours * 3600 + minutes * 60) as i32)
    }
}

/// Reads a span of time such as `10m`, `1h 30m` or `30d`, in milliseconds: a day is 24 hours, and
/// months are not all as long.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let expected = "expected a span of time such as 10m, 1h 30m or 30d";
    match span(text) {
        Some(span) => span.map_err(|problem| format!("{expected}: {problem}")),
        None => Err(expected.to_string()),
    }
}

/// Reads a span; `None` when the text has another form.
fn span(text: &str) -> Option<Result<u64, String>> {
    let (mut rest, mut sum, mut before) = (text, Some(0_u64), u64::MAX);
    loop {
        let count = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = rest.split_at(count);
        let after = after.strip_prefix(' ').unwrap_or(after);
        let letters = after.bytes().take_while(u8::is_ascii_lowercase).count();
        let (word, after) = after.split_at(letters);
        let unit = unit(word).filter(|unit| count > 0 && *unit < before)?;
        let number = digits.parse::<u64>().ok();
        let part = number.and_then(|number| number.checked_mul(unit));
        sum = sum.and_then(|sum| sum.checked_add(part?));
        before = unit;
        if after.is_empty() {
            return Some(sum.ok_or_else(|| format!("{text} is too long")));
        }
        rest = after.strip_prefix(' ').unwrap_or(after);
    }
}

/// The milliseconds of a unit.
fn unit(word: &str) -> Option<u64> {
    Some(match word {
        "ms" => 1,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND_MS,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND_MS,
        "h" | "hr" | "hrs" | "hour" | "hours" => 60 * 60 * SECOND_MS,
        "d" | "day" | "days" => DAY_MS,
        "w" | "week" | "weeks" => 7 * DAY_MS,
        _ => return None,
    })
}

/// A time, and how far it is ahead of the clock's time `now`, if it is.
pub(crate) fn show_by(time: u64, now: u64) -> String {
    match time.saturating_sub(now) {
        0 => show(time),
        by => format!("{} ({} ahead of this host's clock)", show(time), show_span(by)),
    }
}

/// A span of time, rounded down to seconds: `3287d 4h`, `5m`, `0s`.
pub(crate) fn show_span(milliseconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let seconds = milliseconds / 1000;
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, name) = UNITS[first];
    let (count, rest) = (seconds / unit, seconds % unit);
    let shown = match UNITS.get(first + 1).filter(|(next, _)| rest >= *next) {
        Some((next, smaller)) => format!("{count}{name} {}{smaller}", rest / next),
        None => format!("{count}{name}"),
    };
    let is_within = |read: Result<u64, String>| read.is_ok_and(|read| read <= milliseconds);
    debug_assert!(span(&shown).is_some_and(is_within), "a shown span is read as no longer one");
    shown
}

/// A time as JSON: a string, or nothing for one that is not set.
pub(crate) fn json(time: impl Into<Option<u64>>) -> serde_json::Value {
    time.into().map_or(serde_json::Value::Null, |time| show(time).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T21:30:22.500Z.
    const NOW: u64 = 1_795_987_822_500;
    const MINUTE: u64 = 60 * SECOND_MS;

    /// Regression: the last day was "beyond the year 9999".
    #[test]
    fn the_calendar_goes_to_the_end_of_the_year_9999() {
        for (text, time) in [
            ("9999-12-31", TIME_MAX + 1 - DAY_MS),
            ("9999-12-31T23:59:59.999Z", TIME_MAX),
            ("9999-12-31T23:59:59.999+23:59", TIME_MAX - (24 * 60 - 1) * MINUTE),
            ("1969-12-31T23:00:00-01:00", 0),
        ] {
            assert_eq!(absolute(text, FUTURE), Ok(time), "{text}");
        }
        assert_eq!(show(TIME_MAX), "9999-12-31T23:59:59.999Z");
        assert_eq!(read_shown("9999-12-31T23:59:59.999Z"), Some(TIME_MAX));
        let problem = |text| absolute(text, FUTURE).expect_err("it is no time");
        assert!(problem("9999-12-31T23:59:59-00:01").ends_with("is beyond the year 9999"));
        assert!(problem("1969-12-31").ends_with("is before 1970"));
    }

    #[test]
    fn the_time_of_the_tests_is_what_it_says() {
        assert_eq!(show(NOW), "2026-11-29T21:30:22.500Z");
    }

    #[test]
    fn moments_are_read_whole() {
        let table = [
            ("2013-01-31T12:00:00Z", "2013-01-31T12:00:00.000Z"),
            ("2013-01-31t12:00:00z", "2013-01-31T12:00:00.000Z"),
            ("2013-01-31T12:00:00.123Z", "2013-01-31T12:00:00.123Z"),
            ("2013-01-31T12:00:00.123456789Z", "2013-01-31T12:00:00.123Z"),
            ("2013-01-31T12:00:00.5+01:00", "2013-01-31T11:00:00.500Z"),
            ("2013-01-31T23:59:59-05:30", "2013-02-01T05:29:59.000Z"),
            ("2026-11-29T21:30:22", "2026-11-29T21:30:22.000Z"),
            ("2026-11-29 21:30:22.25", "2026-11-29T21:30:22.250Z"),
            ("2026-11-29 21:30", "2026-11-29T21:30:00.000Z"),
            ("2026-11-29T21:30", "2026-11-29T21:30:00.000Z"),
            ("2026-11-29", "2026-11-29T00:00:00.000Z"),
            ("1970-01-01", "1970-01-01T00:00:00.000Z"),
            ("1999-12-31T23:59:59Z", "1999-12-31T23:59:59.000Z"),
            ("1795987822500", "2026-11-29T21:30:22.500Z"),
            ("946684800000", "2000-01-01T00:00:00.000Z"),
            ("now", "2026-11-29T21:30:22.500Z"),
        ];
        for (text, shown) in table {
            assert_eq!(past(text, NOW).map(show).as_deref(), Ok(shown), "{text}");
            assert_eq!(future(text, NOW).map(show).as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn words_and_spans_are_of_the_side_that_is_meant() {
        let past_table = [
            ("today", NOW - NOW % DAY_MS),
            ("yesterday", NOW - NOW % DAY_MS - DAY_MS),
            ("5m", NOW - 5 * MINUTE),
            ("5m ago", NOW - 5 * MINUTE),
            ("5 minutes ago", NOW - 5 * MINUTE),
            ("1h 30m", NOW - 90 * MINUTE),
            ("1h30m ago", NOW - 90 * MINUTE),
            ("0s", NOW),
        ];
        for (text, time) in past_table {
            assert_eq!(past(text, NOW), Ok(time), "{text}");
        }
        let future_table = [
            ("tomorrow", NOW - NOW % DAY_MS + DAY_MS),
            ("5m", NOW + 5 * MINUTE),
            ("+5m", NOW + 5 * MINUTE),
            ("in 5m", NOW + 5 * MINUTE),
            ("2d", NOW + 2 * DAY_MS),
        ];
        for (text, time) in future_table {
            assert_eq!(future(text, NOW), Ok(time), "{text}");
        }
        for text in ["+5m", "in 5m", "tomorrow", "99999999w"] {
            assert!(past(text, NOW).is_err(), "{text}");
        }
        for text in ["5m ago", "today", "yesterday", "99999999w"] {
            assert!(future(text, NOW).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_to_its_end_is_refused() {
        let wrong = [
            "",
            " ",
            "then",
            "2026",
            "2026-11",
            "2026-1-2",
            "2026-11-29T",
            "2026-11-29T21",
            "2026-11-29T21:30:22 ",
            " 2026-11-29",
            "2026-11-29x",
            "2026-11-29T21:30:22x",
            "2026-11-29T21:30:22.",
            "2026-11-29T21:30:22.1234567890",
            "2026-11-29T21:30:22ZZ",
            "2026-11-29T21:30:22+1",
            "2026-11-29T21:30:22+01",
            "2026-11-29T21:30:22+25:00",
            "2026-11-29T21:30:22+01:00[Europe/Berlin]",
            "2026-11-29T21:30[Europe/Berlin]",
            "2026-11-29[UTC]",
            "2026-11-29T21:30:22 Europe/Berlin",
            "2026-02-30",
            "2026-13-01T00:00:00Z",
            "2026-11-29T24:00:00Z",
            "2026-11-29T21:60:00Z",
            "2026-11-29T21:30:60Z",
            "1969-12-31T23:59:59Z",
            "-2026-11-29",
            "+2026-11-29",
            "٢٠٢٦-11-29",
            "2026-11-29T21-30-22Z",
            "20261129T213022Z",
            "1795987822",
            "17959878225000000",
            "1795987822500.5",
            "+1795987822500",
            "1_795_987_822_500",
            "946684799999",
            "5",
            "m",
            "5 m ",
            "5x",
            "-5m",
            "5m5m",
            "5m 1h",
            "1.5h",
            "5M",
            "PT5M",
            "5m  ago",
            "ago",
            "+",
            "in ",
        ];
        for text in wrong {
            assert!(past(text, NOW).is_err(), "{text}: {:?}", past(text, NOW).map(show));
            assert!(future(text, NOW).is_err(), "{text}: {:?}", future(text, NOW).map(show));
        }
    }

    #[test]
    fn an_error_says_what_to_write() {
        let told = |text: &str| past(text, NOW).expect_err("it is refused");
        assert!(told("1795987822").contains("did you mean 2026-11-29T21:30:22.000Z"));
        assert!(told("2026-11-29T21:30:22[Europe/Berlin]").contains("12:00:00+01:00"));
        assert!(told("2026-02-30").contains("there is no 2026-02-30"));
        assert!(told("then").contains("2013-01-31T12:00:00Z"));
    }

    #[test]
    fn spans_are_read_whole() {
        let table = [
            ("1ms", 1),
            ("90s", 90_000),
            ("10m", 600_000),
            ("1h 30m", 5_400_000),
            ("1h30m", 5_400_000),
            ("30d", 30 * DAY_MS),
            ("2 weeks", 14 * DAY_MS),
            ("0s", 0),
            ("1d 2h 3m 4s 5ms", 93_784_005),
        ];
        for (text, span) in table {
            assert_eq!(parse_span(text), Ok(span), "{text}");
        }
        let wrong = [
            "",
            "5",
            "+5m",
            "-5m",
            "5m ago",
            "1 month",
            "1y",
            "5 m x",
            "m5",
            "1h 1h",
            "18446744073709551615d",
            "99999999999999999999s",
            "1_0s",
            "1h,30m",
        ];
        for text in wrong {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for time in [0, 1, NOW, TIME_MAX, TIME_MAX + 1, u64::MAX] {
            assert_eq!(read_shown(&show(time)), Some(time));
        }
        for text in ["", "5m", "now", "2026-11-29", "1795987822500", "2026-11-29T21:30:22Z"] {
            assert_eq!(read_shown(text), None, "{text}");
        }
    }
}
