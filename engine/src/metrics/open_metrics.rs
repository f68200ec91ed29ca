//! Metrics as OpenMetrics text, and in Prometheus' own text format: printed for scrapers, and
//! parsed again.
//!
//! The two differ in the name of a family of counters, with `_total` at its end or without, and no
//! text is right in both: a parser of the one has no type and no help for the counters of the
//! other, or rejects the text.
//!
//! The parser reads texts printed here. It skips unknown samples, and sets missing ones to zero, so
//! that another version's text can be read as far as possible.
//!
//! Invariant: printed metrics are parsed to the same metrics.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use crate::metrics::{BUCKETS, Figure, Histogram, Metrics, Name};

/// The prefix of all names.
const PREFIX: &str = "continuant";
const END: &str = "# EOF";

/// The format of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    OpenMetrics,
    Prometheus,
}

/// Text that is not of a database's metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    problem: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for ParseError {}

fn wrong(expected: &str, found: impl fmt::Display) -> ParseError {
    ParseError { problem: format!("metrics: expected {expected}, found {found}") }
}

impl Metrics {
    /// Prints [OpenMetrics](https://prometheus.io/docs/specs/om/open_metrics_spec/) text, for
    /// Prometheus and other readers of its formats. Times are in seconds. Names and labels never
    /// change from version to version, and others are added.
    pub fn open_metrics(&self) -> String {
        self.print(Form::OpenMetrics)
    }

    /// Returns text of [Prometheus](https://prometheus.io/docs/instrumenting/exposition_formats/)'
    /// own format, which a node exporter's textfile collector accepts. It has the samples of
    /// [`open_metrics`](Metrics::open_metrics), and the same last line, which is a comment here.
    pub fn prometheus(&self) -> String {
        self.print(Form::Prometheus)
    }

    fn print(&self, form: Form) -> String {
        let mut text = String::new();
        self.clone().visit(|name, figure| print(&mut text, form, &name, figure));
        text + END + "\n"
    }

    /// Parses metrics that [`open_metrics`](Metrics::open_metrics) or
    /// [`prometheus`](Metrics::prometheus) printed.
    ///
    /// # Errors
    ///
    /// When the text does not end as such text does, is not a database's, or has an invalid value.
    pub fn from_open_metrics(text: &str) -> Result<Metrics, ParseError> {
        let whole = text.trim_end().strip_suffix(END);
        let whole = whole.ok_or_else(|| wrong("`# EOF` at the end", "other text"))?;
        let lines = whole.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut samples = HashMap::new();
        for line in lines {
            let (sample, value) =
                line.rsplit_once(' ').ok_or_else(|| wrong("a sample and its value", line))?;
            samples.insert(sample, value);
        }
        let mut metrics = Metrics::default();
        let mut parsed = Ok(());
        metrics.visit(|name, figure| {
            if parsed.is_ok() {
                parsed = parse(&samples, &name, figure);
            }
        });
        let any = |name: &&str| name.starts_with(PREFIX);
        match samples.keys().any(any) {
            true => parsed.map(|()| metrics),
            false => Err(wrong("metrics of a database", "none")),
        }
    }
}

/// Formats a sample.
fn sample(name: &Name, suffix: &str, label: Option<(&str, &str)>) -> String {
    let name = name.name;
    match label {
        Some((label, value)) => format!("{PREFIX}_{name}{suffix}{{{label}=\"{}\"}}", escape(value)),
        None => format!("{PREFIX}_{name}{suffix}"),
    }
}

/// Text as it stands in a label or a help.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A time in seconds, exactly.
fn seconds(time: Duration) -> String {
    let text = format!("{}.{:09}", time.as_secs(), time.subsec_nanos());
    let digits = text.trim_end_matches('0');
    // A whole number of seconds is written `1.0`.
    if digits.ends_with('.') { format!("{digits}0") } else { digits.to_string() }
}

/// Formats the bucket's bound, as in its label.
fn bound(index: usize) -> String {
    Histogram::bound(index).map_or("+Inf".to_string(), seconds)
}

fn print(text: &mut String, form: Form, name: &Name, figure: Figure<'_>) {
    let kind = match figure {
        Figure::Counter(_) | Figure::Counters(..) | Figure::Time(_) => "counter",
        Figure::Gauge(_) | Figure::Age(_) => "gauge",
        Figure::Histogram(_) => "histogram",
    };
    let is_plain = name.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    debug_assert!(is_plain, "a name is one that every scraper takes: {}", name.name);
    let family = match (form, kind) {
        (Form::Prometheus, "counter") => format!("{PREFIX}_{}_total", name.name),
        _ => format!("{PREFIX}_{}", name.name),
    };
    *text += &format!("# TYPE {family} {kind}\n");
    if !name.unit.is_empty() && form == Form::OpenMetrics {
        *text += &format!("# UNIT {family} {}\n", name.unit);
    }
    *text += &format!("# HELP {family} {}\n", escape(name.help));
    let mut put = |suffix: &str, label: Option<(&str, &str)>, value: &dyn fmt::Display| {
        *text += &format!("{} {value}\n", sample(name, suffix, label));
    };
    match figure {
        Figure::Counter(count) => put("_total", None, count),
        Figure::Counters(label, counts) => {
            counts.iter().for_each(|(value, count)| put("_total", Some((label, value)), count));
        }
        Figure::Time(time) => put("_total", None, &seconds(*time)),
        Figure::Gauge(count) => put("", None, count),
        Figure::Age(time) => put("", None, &seconds(*time)),
        Figure::Histogram(histogram) => {
            let mut sum = 0;
            for (index, count) in histogram.counts.iter().enumerate() {
                sum += count;
                put("_bucket", Some(("le", &bound(index))), &sum);
            }
            debug_assert_eq!(sum, histogram.count(), "the last bucket has them all");
            put("_count", None, &sum);
            put("_sum", None, &seconds(histogram.sum));
        }
    }
}

fn parse(samples: &HashMap<&str, &str>, name: &Name, figure: Figure<'_>) -> Result<(), ParseError> {
    let find = |suffix: &str, label: Option<(&str, &str)>| {
        samples.get(&*sample(name, suffix, label)).copied()
    };
    let count =
        |suffix: &str, label: Option<(&str, &str)>, into: &mut u64| match find(suffix, label) {
            Some(text) => {
                let count = text.parse().ok().filter(|_| is_number(text));
                count.map(|count| *into = count).ok_or_else(|| wrong("a count", text))
            }
            None => Ok(()),
        };
    let time = |suffix, into: &mut Duration| match find(suffix, None) {
        Some(text) => {
            *into = parse_seconds(text).ok_or_else(|| wrong("seconds", text))?;
            Ok(())
        }
        None => Ok(()),
    };
    match figure {
        Figure::Counter(into) => count("_total", None, into),
        Figure::Counters(label, all) => all
            .into_iter()
            .try_for_each(|(value, into)| count("_total", Some((label, value)), into)),
        Figure::Time(into) => time("_total", into),
        Figure::Gauge(into) => count("", None, into),
        Figure::Age(into) => time("", into),
        Figure::Histogram(into) => {
            let mut before = 0;
            for index in 0..BUCKETS {
                let mut sum = before;
                count("_bucket", Some(("le", &bound(index))), &mut sum)?;
                into.counts[index] =
                    sum.checked_sub(before).ok_or_else(|| wrong("buckets that add up", sum))?;
                before = sum;
            }
            time("_sum", &mut into.sum)
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A time of seconds, with nine decimals at most.
fn parse_seconds(text: &str) -> Option<Duration> {
    let (whole, part) = text.split_once('.')?;
    let is_one = is_number(whole) && is_number(part) && part.len() <= 9;
    is_one.then(|| Some(Duration::new(whole.parse().ok()?, format!("{part:0<9}").parse().ok()?)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_exact_and_labels_escaped() {
        let times = [(0, 0, "0.0"), (1, 0, "1.0"), (0, 1024, "0.000001024"), (7, 10, "7.00000001")];
        for (whole, nanoseconds, text) in times {
            let time = Duration::new(whole, nanoseconds);
            assert_eq!((&*seconds(time), parse_seconds(text)), (text, Some(time)));
        }
        for text in ["", ".", "1", "1.", ".5", "-1.0", "1.0e3", "0.1234567890", "9e9.0"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
        let name = Name { name: "odd", unit: "", help: "" };
        let odd = sample(&name, "_total", Some(("of", "a\\b\"c\nd")));
        assert_eq!(odd, r#"continuant_odd_total{of="a\\b\"c\nd"}"#);
    }
}
