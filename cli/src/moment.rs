//! Times as people read and write them, and spans of time.
//!
//! This module does not know what a time is for. It reads more forms than a [`Time`] does: those
//! that people write, and spans before or after the present.
//!
//! Invariant: a text is read whole or not at all. No part of it is skipped.

use std::time::Duration;

use continuant::{Clock, ParseTimeError, Time};

const SECOND_MS: u64 = 1000;
const DAY_MS: u64 = 24 * 60 * 60 * SECOND_MS;
const DAY: Duration = Duration::from_millis(DAY_MS);
/// The first moment that a bare number may be: 2000-01-01. A lower number is in seconds, or a slip.
const NUMBER_MIN: Time = Time::from_millis(946_684_800_000);

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

/// Reads a time as it is shown, and no other form.
pub(crate) fn read_shown(text: &str) -> Option<Time> {
    text.parse().ok().filter(|time: &Time| time.to_string() == text)
}

/// Reads a past time: a span, such as `5m`, is that long ago.
///
/// The error says which forms are taken.
pub(crate) fn parse_past(text: &str) -> Result<Time, String> {
    past(text, Clock::system().now())
}

/// Reads a future time: a span, such as `5m`, is that long from now.
///
/// The error says which forms are taken.
pub(crate) fn parse_future(text: &str) -> Result<Time, String> {
    future(text, Clock::system().now())
}

fn past(text: &str, now: Time) -> Result<Time, String> {
    let today = day_of(now);
    match text {
        "now" => return Ok(now),
        "today" => return Ok(today),
        "yesterday" => return Ok(today.saturating_sub(DAY)),
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

fn future(text: &str, now: Time) -> Result<Time, String> {
    match text {
        "now" => return Ok(now),
        "tomorrow" => return Ok(day_of(now).saturating_add(DAY)),
        "today" | "yesterday" => return Err(format!("{FUTURE}: {text} has begun")),
        _ => {}
    }
    if text.ends_with(" ago") {
        return Err(format!("{FUTURE}: {text} was"));
    }
    let ahead = text.strip_prefix("in ").or_else(|| text.strip_prefix('+'));
    if let Some(ahead) = span(ahead.unwrap_or(text)) {
        let time = ahead.ok().and_then(|ahead| now.checked_add(ahead));
        let time = time.filter(|time| *time <= Time::DATE_MAX);
        return time.ok_or_else(|| format!("{FUTURE}: {text} is beyond the year 9999"));
    }
    absolute(text, FUTURE)
}

/// Returns the beginning of the day that a time is on, in UTC.
fn day_of(time: Time) -> Time {
    Time::from_millis(time.as_millis() / DAY_MS * DAY_MS)
}

/// Reads a time that does not hang on the present one.
fn absolute(text: &str, expected: &str) -> Result<Time, String> {
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
fn number(text: &str) -> Result<Time, String> {
    let beyond = "a number means milliseconds since 1970, and this one is beyond the year 9999";
    let number: u64 = text.parse().map_err(|_| beyond.to_string())?;
    let (time, seconds) =
        (Time::from_millis(number), Time::from_millis(number.saturating_mul(SECOND_MS)));
    if time > Time::DATE_MAX {
        return Err(beyond.to_string());
    }
    if time >= NUMBER_MIN {
        return Ok(time);
    }
    let problem = "a number means milliseconds since 1970, and must be from the year 2000 on";
    Err(match (NUMBER_MIN..=Time::DATE_MAX).contains(&seconds) {
        true => format!("{problem}; did you mean {seconds}, {}?", seconds.as_millis()),
        false => problem.to_string(),
    })
}

/// Reads a date, or a date and a time, with a zone or in UTC. Returns `None` when the text has
/// another form, and an error when it has this form and is no moment.
fn calendar(text: &str) -> Option<Result<Time, String>> {
    let (date, rest) = text.split_at_checked("2013-01-31".len())?;
    let rest = match rest {
        "" => "00:00",
        rest => rest.strip_prefix(['T', 't', ' '])?,
    };
    let (time, zone) = rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len()));
    let seconds = if time.len() == 5 { ":00" } else { "" };
    let zone = if zone.is_empty() { "Z" } else { zone };
    match format!("{date}T{time}{seconds}{zone}").parse() {
        Ok(time) => Some(Ok(time)),
        Err(ParseTimeError::Missing) => Some(Err(format!("there is no {text}"))),
        Err(ParseTimeError::Early) => Some(Err(format!("{text} is before 1970"))),
        Err(ParseTimeError::Late) => Some(Err(format!("{text} is beyond the year 9999"))),
        Err(_) => None,
    }
}

/// Reads a span of time such as `10m`, `1h 30m` or `30d`: a day is 24 hours, and months are not all
/// as long.
pub(crate) fn parse_span(text: &str) -> Result<Duration, String> {
    let expected = "expected a span of time such as 10m, 1h 30m or 30d";
    match span(text) {
        Some(span) => span.map_err(|problem| format!("{expected}: {problem}")),
        None => Err(expected.to_string()),
    }
}

/// Reads a span; `None` when the text has another form.
fn span(text: &str) -> Option<Result<Duration, String>> {
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
            let span = sum.map(Duration::from_millis);
            return Some(span.ok_or_else(|| format!("{text} is too long")));
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
pub(crate) fn show_by(time: Time, now: Time) -> String {
    match time.saturating_duration_since(now) {
        Duration::ZERO => time.to_string(),
        by => format!("{time} ({} ahead of this host's clock)", show_span(by)),
    }
}

/// A span of time, rounded down to seconds: `3287d 4h`, `5m`, `0s`.
pub(crate) fn show_span(length: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3600, "h"), (60, "m"), (1, "s")];
    let seconds = length.as_secs();
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(3);
    let (unit, name) = UNITS[first];
    let (count, rest) = (seconds / unit, seconds % unit);
    let shown = match UNITS.get(first + 1).filter(|(next, _)| rest >= *next) {
        Some((next, smaller)) => format!("{count}{name} {}{smaller}", rest / next),
        None => format!("{count}{name}"),
    };
    let is_within = |read: Result<Duration, String>| read.is_ok_and(|read| read <= length);
    debug_assert!(span(&shown).is_some_and(is_within), "a shown span is read as no longer one");
    shown
}

/// The milliseconds of a span.
pub(crate) fn milliseconds(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A time as JSON: a string, or nothing for one that is not set.
pub(crate) fn json(time: impl Into<Option<Time>>) -> serde_json::Value {
    time.into().map_or(serde_json::Value::Null, |time| time.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T21:30:22.500Z.
    const NOW: Time = Time::from_millis(1_795_987_822_500);
    const MINUTE: Duration = Duration::from_secs(60);

    /// Regression: the last day was "beyond the year 9999".
    #[test]
    fn the_calendar_goes_to_the_end_of_the_year_9999() {
        let read = |text| absolute(text, FUTURE).map(|time| time.to_string());
        for (text, shown) in [
            ("9999-12-31", "9999-12-31T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999+23:59", "9999-12-31T00:00:59.999Z"),
            ("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(shown), "{text}");
        }
        assert_eq!(read_shown("9999-12-31T23:59:59.999Z"), Some(Time::DATE_MAX));
        let problem = |text| absolute(text, FUTURE).expect_err("it is no time");
        assert!(problem("9999-12-31T23:59:59-00:01").ends_with("is beyond the year 9999"));
        assert!(problem("1969-12-31").ends_with("is before 1970"));
    }

    #[test]
    fn the_time_of_the_tests_is_what_it_says() {
        assert_eq!(NOW.to_string(), "2026-11-29T21:30:22.500Z");
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
            for read in [past(text, NOW), future(text, NOW)] {
                assert_eq!(read.map(|time| time.to_string()).as_deref(), Ok(shown), "{text}");
            }
        }
    }

    #[test]
    fn words_and_spans_are_of_the_side_that_is_meant() {
        let (today, ago) = (day_of(NOW), |span| NOW.saturating_sub(span));
        let past_table = [
            ("today", today),
            ("yesterday", today.saturating_sub(DAY)),
            ("5m", ago(5 * MINUTE)),
            ("5m ago", ago(5 * MINUTE)),
            ("5 minutes ago", ago(5 * MINUTE)),
            ("1h 30m", ago(90 * MINUTE)),
            ("1h30m ago", ago(90 * MINUTE)),
            ("0s", NOW),
        ];
        for (text, time) in past_table {
            assert_eq!(past(text, NOW), Ok(time), "{text}");
        }
        let future_table = [
            ("tomorrow", today.saturating_add(DAY)),
            ("5m", NOW.saturating_add(5 * MINUTE)),
            ("+5m", NOW.saturating_add(5 * MINUTE)),
            ("in 5m", NOW.saturating_add(5 * MINUTE)),
            ("2d", NOW.saturating_add(2 * DAY)),
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
            "2026-11-2921:30",
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
            assert!(past(text, NOW).is_err(), "{text}: {:?}", past(text, NOW));
            assert!(future(text, NOW).is_err(), "{text}: {:?}", future(text, NOW));
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
            assert_eq!(parse_span(text), Ok(Duration::from_millis(span)), "{text}");
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
        let beyond = Time::DATE_MAX.saturating_add(Duration::from_millis(1));
        for time in [Time::MIN, NOW, Time::DATE_MAX, beyond, Time::MAX] {
            assert_eq!(read_shown(&time.to_string()), Some(time));
        }
        for text in ["", "5m", "now", "2026-11-29", "1795987822500", "2026-11-29T21:30:22Z"] {
            assert_eq!(read_shown(text), None, "{text}");
        }
    }
}
