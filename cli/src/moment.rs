//! Times as people read and write them: RFC 3339 in UTC, to the millisecond.
//!
//! It does not know what a time is of. The engine's times are milliseconds since 1970-01-01 UTC;
//! one that the calendar ends before is shown as that number.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};

/// `2013-01-31T12:00:00.000Z`.
pub(crate) fn show(time: u64) -> String {
    let calendar = i64::try_from(time).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    calendar.map_or(time.to_string(), |timestamp| format!("{timestamp:.3}"))
}

/// Reads an RFC 3339 time, a date, or milliseconds since 1970.
///
/// The error is what a person is told.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    if let Ok(milliseconds) = text.parse() {
        return Ok(milliseconds);
    }
    let timestamp = text.parse::<Timestamp>().ok().or_else(|| {
        let midnight = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        Some(midnight.timestamp())
    });
    let milliseconds = timestamp.and_then(|time| u64::try_from(time.as_millisecond()).ok());
    milliseconds.ok_or_else(|| {
        format!("expected a time such as 2013-01-31T12:00:00Z, since 1970, found {text:?}")
    })
}

/// Reads a span of time such as `10m`, `1h 30m` or `30d`, in milliseconds: a day is 24 hours, and
/// months are not all as long.
pub(crate) fn parse_span(text: &str) -> Result<u64, String> {
    let span = text.parse::<Span>().ok();
    let span = span.and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let milliseconds = span.and_then(|span| u64::try_from(span.as_millis()).ok());
    milliseconds
        .ok_or_else(|| format!("expected a span of time such as 10m or 30d, found {text:?}"))
}

/// A time as JSON: a string, or nothing for one that is not set.
pub(crate) fn json(time: impl Into<Option<u64>>) -> serde_json::Value {
    time.into().map_or(serde_json::Value::Null, |time| show(time).into())
}
