//! Points in time, and their text.
//!
//! This module reads no clock. It is the one place that names the calendar's library: times are
//! reckoned with dates, since the library's own timestamps end before the year 9999 does.
//!
//! Invariant: a text is read whole or not at all.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::SignedDuration;
use jiff::civil;

/// The date that times are counted from.
const EPOCH: civil::DateTime = civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A point in time, in milliseconds since 1970-01-01 UTC.
///
/// A span of time is a [`Duration`]: what is below a millisecond in it counts for nothing.
///
/// As text, a time is an RFC 3339 timestamp in UTC with milliseconds; a time beyond the year 9999,
/// which has no such timestamp, is the number of its milliseconds. Both are read again, and so are
/// timestamps with an offset, with any fraction of up to nine digits, which is cut to milliseconds,
/// or without one.
///
/// ```
/// # use continuant_object::time::Time;
/// use std::time::Duration;
///
/// let noon: Time = "2013-01-31T13:00:00+01:00".parse()?;
/// assert_eq!(noon, Time::from_millis(1_359_633_600_000));
/// assert_eq!(noon.to_string(), "2013-01-31T12:00:00.000Z");
///
/// let later = noon.saturating_add(Duration::from_secs(90));
/// assert_eq!(later.checked_duration_since(noon), Some(Duration::from_secs(90)));
/// assert_eq!(noon.checked_duration_since(later), None);
/// # Ok::<(), continuant_object::time::ParseTimeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Time(u64);

const _: () = assert!(size_of::<Time>() == size_of::<u64>(), "a time costs what its number does");

impl Time {
    /// The first point in time: the beginning of 1970, UTC.
    pub const MIN: Time = Time(0);
    /// The last point in time.
    pub const MAX: Time = Time(u64::MAX);
    /// The last millisecond of the year 9999: later times have no date.
    pub const DATE_MAX: Time = Time(253_402_300_799_999);

    /// Returns the point in time this number of milliseconds after the beginning of 1970, UTC.
    #[inline]
    pub const fn from_millis(milliseconds: u64) -> Time {
        Time(milliseconds)
    }

    /// Returns the number of milliseconds since the beginning of 1970, UTC.
    #[inline]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// Returns the time `span` later; none when there is none.
    #[inline]
    pub fn checked_add(self, span: Duration) -> Option<Time> {
        self.0.checked_add(u64::try_from(span.as_millis()).ok()?).map(Time)
    }

    /// Returns the time `span` earlier; none when that is before 1970.
    #[inline]
    pub fn checked_sub(self, span: Duration) -> Option<Time> {
        self.0.checked_sub(u64::try_from(span.as_millis()).ok()?).map(Time)
    }

    /// Returns the time `span` later, or the last one there is.
    #[inline]
    pub fn saturating_add(self, span: Duration) -> Time {
        self.checked_add(span).unwrap_or(Time::MAX)
    }

    /// Returns the time `span` earlier, or the beginning of 1970.
    #[inline]
    pub fn saturating_sub(self, span: Duration) -> Time {
        self.checked_sub(span).unwrap_or(Time::MIN)
    }

    /// Returns the span from `earlier` to this time; none when this time is the earlier one.
    #[inline]
    pub fn checked_duration_since(self, earlier: Time) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }

    /// Returns the span from `earlier` to this time; zero when this time is the earlier one.
    #[inline]
    pub fn saturating_duration_since(self, earlier: Time) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Returns the same time as the system counts it; none when that cannot count so far.
    pub fn to_system(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.0))
    }
}

/// A time before 1970 becomes the beginning of 1970.
impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Time {
        Time::MIN.saturating_add(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

/// Records state times by their milliseconds, never by this text.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = i64::try_from(self.0).ok().map(SignedDuration::from_millis);
        match since.and_then(|since| EPOCH.checked_add(since).ok()) {
            Some(date) => {
                let shown = format!("{date:.3}Z");
                debug_assert_eq!(shown.parse(), Ok(*self), "a shown time is read as the same");
                f.pad(&shown)
            }
            None => f.pad(&self.0.to_string()),
        }
    }
}

/// The reasons for which a text is not a [`Time`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseTimeError {
    /// The text has another form.
    Form,
    /// There is no such date, or no such time of a day.
    Missing,
    /// The time is before 1970.
    Early,
    /// The time is beyond the year 9999.
    Late,
}

impl fmt::Display for ParseTimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ParseTimeError::Form => "expected a time such as 2013-01-31T12:00:00Z",
            ParseTimeError::Missing => "there is no such date or time",
            ParseTimeError::Early => "the time is before 1970",
            ParseTimeError::Late => "the time is beyond the year 9999",
        })
    }
}

impl std::error::Error for ParseTimeError {}

impl FromStr for Time {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Time, ParseTimeError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let time = text.parse().map(Time).map_err(|_| ParseTimeError::Form)?;
            let is_shown = time > Time::DATE_MAX && !text.starts_with('0');
            return if is_shown { Ok(time) } else { Err(ParseTimeError::Form) };
        }
        let (date, time, offset) = Rest(text).timestamp().ok_or(ParseTimeError::Form)?;
        let (hour, minute, second, nanosecond) = time;
        let date = civil::Date::new(date.0 as i16, date.1 as i8, date.2 as i8);
        let time = civil::Time::new(hour as i8, minute as i8, second as i8, nanosecond as i32);
        let (Ok(date), Ok(time)) = (date, time) else { return Err(ParseTimeError::Missing) };
        let since = civil::DateTime::from_parts(date, time).duration_since(EPOCH);
        let offset = SignedDuration::from_secs(i64::from(offset));
        let since = since.as_nanos() - offset.as_nanos();
        // A fraction before 1970 is not cut to the beginning of 1970.
        let since = since.div_euclid(1_000_000);
        match u64::try_from(since).map(Time) {
            Ok(time) if time <= Time::DATE_MAX => Ok(time),
            Ok(_) => Err(ParseTimeError::Late),
            Err(_) => Err(ParseTimeError::Early),
        }
    }
}

/// The unread rest of a text.
struct Rest<'a>(&'a str);

/// A year, a month and a day.
type Date = (u32, u32, u32);
/// An hour, a minute, a second and a nanosecond.
type TimeOfDay = (u32, u32, u32, u32);

impl Rest<'_> {
    /// Reads a timestamp to its end, with its offset in seconds.
    fn timestamp(mut self) -> Option<(Date, TimeOfDay, i32)> {
        let year = self.digits(4)?;
        self.take("-")?;
        let month = self.digits(2)?;
        self.take("-")?;
        let day = self.digits(2)?;
        self.take("T").or_else(|| self.take("t"))?;
        let time = self.time()?;
        let offset = self.offset()?;
        self.0.is_empty().then_some(((year, month, day), time, offset))
    }

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

    /// Reads `12:00:00` or `12:00:00.123`.
    fn time(&mut self) -> Option<TimeOfDay> {
        let hour = self.digits(2)?;
        self.take(":")?;
        let minute = self.digits(2)?;
        self.take(":")?;
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

    /// Reads `Z` or `+01:00`.
    fn offset(&mut self) -> Option<i32> {
        if self.take("Z").or_else(|| self.take("z")).is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-29T21:30:22.500Z.
    const NOW: Time = Time(1_795_987_822_500);

    #[test]
    fn a_time_is_read_as_it_is_shown() {
        for (time, shown) in [
            (Time::MIN, "1970-01-01T00:00:00.000Z"),
            (Time(1), "1970-01-01T00:00:00.001Z"),
            (NOW, "2026-11-29T21:30:22.500Z"),
            (Time(951_782_400_000), "2000-02-29T00:00:00.000Z"),
            (Time::DATE_MAX, "9999-12-31T23:59:59.999Z"),
            (Time(Time::DATE_MAX.0 + 1), "253402300800000"),
            (Time::MAX, "18446744073709551615"),
        ] {
            assert_eq!(time.to_string(), shown);
            assert_eq!(shown.parse(), Ok(time));
        }
        assert_eq!(format!("{NOW:>26}|"), "  2026-11-29T21:30:22.500Z|", "a width is kept");
    }

    #[test]
    fn every_timestamp_of_the_standard_is_read() {
        for (text, shown) in [
            ("2013-01-31T12:00:00Z", "2013-01-31T12:00:00.000Z"),
            ("2013-01-31t12:00:00z", "2013-01-31T12:00:00.000Z"),
            ("2013-01-31T12:00:00.5Z", "2013-01-31T12:00:00.500Z"),
            ("2013-01-31T12:00:00.123456789Z", "2013-01-31T12:00:00.123Z"),
            ("2013-01-31T12:00:00.5+01:00", "2013-01-31T11:00:00.500Z"),
            ("2013-01-31T23:59:59-05:30", "2013-02-01T05:29:59.000Z"),
            ("1969-12-31T23:00:00-01:00", "1970-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999+23:59", "9999-12-31T00:00:59.999Z"),
        ] {
            let read = text.parse().map(|time: Time| time.to_string());
            assert_eq!(read.as_deref(), Ok(shown), "{text}");
        }
    }

    #[test]
    fn nothing_else_is_read() {
        use ParseTimeError::{Early, Form, Late, Missing};
        let forms = [
            "",
            " ",
            "now",
            "2013-01-31",
            "2013-01-31T12:00Z",
            "2013-01-31T12:00:00",
            "2013-01-31 12:00:00Z",
            "2013-1-31T12:00:00Z",
            "2013-01-31T12:00:00Z ",
            "2013-01-31T12:00:00.Z",
            "2013-01-31T12:00:00.1234567890Z",
            "2013-01-31T12:00:00+1:00",
            "2013-01-31T12:00:00+0100",
            "2013-01-31T12:00:00+24:00",
            "2013-01-31T12:00:00+01:60",
            "2013-01-31T12:00:00+01:00[Europe/Berlin]",
            "+2013-01-31T12:00:00Z",
            "-2013-01-31T12:00:00Z",
            "٢٠١٣-01-31T12:00:00Z",
            "20130131T120000Z",
            "1359633600000",
            "253402300799999",
            "0253402300800000",
            "+253402300800000",
            "18446744073709551616",
        ];
        let others = [
            ("2013-02-30T12:00:00Z", Missing),
            ("2013-00-01T12:00:00Z", Missing),
            ("2013-01-31T24:00:00Z", Missing),
            ("2013-01-31T23:60:00Z", Missing),
            ("2013-01-31T23:59:60Z", Missing),
            ("1969-12-31T23:59:59.999Z", Early),
            ("1969-12-31T23:59:59.9999Z", Early),
            ("1970-01-01T00:00:00+00:01", Early),
            ("0000-01-01T00:00:00Z", Early),
            ("9999-12-31T23:59:59-00:01", Late),
        ];
        for (text, problem) in forms.map(|text| (text, Form)).into_iter().chain(others) {
            assert_eq!(text.parse::<Time>(), Err(problem), "{text}");
        }
    }

    #[test]
    fn arithmetic_stays_within_time() {
        let (second, long) = (Duration::from_secs(1), Duration::from_millis(u64::MAX));
        assert_eq!(NOW.checked_add(second), Some(Time(NOW.0 + 1000)));
        assert_eq!(NOW.checked_sub(second), Some(Time(NOW.0 - 1000)));
        assert_eq!(Time::MIN.checked_add(long), Some(Time::MAX));
        for span in [long, Duration::MAX] {
            assert_eq!((NOW.checked_add(span), NOW.saturating_add(span)), (None, Time::MAX));
            assert_eq!((NOW.checked_sub(span), NOW.saturating_sub(span)), (None, Time::MIN));
        }
        assert_eq!(
            NOW.saturating_add(Duration::from_micros(999)),
            NOW,
            "it is cut to milliseconds"
        );
        let next = NOW.saturating_add(second);
        assert_eq!(next.checked_duration_since(NOW), Some(second));
        assert_eq!(NOW.checked_duration_since(next), None);
        assert_eq!(next.saturating_duration_since(NOW), second);
        assert_eq!(NOW.saturating_duration_since(next), Duration::ZERO);
    }

    #[test]
    fn the_systems_time_is_the_same_time() {
        let system = UNIX_EPOCH + Duration::from_micros(NOW.0 * 1000 + 999);
        assert_eq!(Time::from(system), NOW);
        assert_eq!(NOW.to_system(), Some(UNIX_EPOCH + Duration::from_millis(NOW.0)));
        assert_eq!(Time::from(UNIX_EPOCH - Duration::from_millis(1)), Time::MIN);
    }
}
