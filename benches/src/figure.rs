//! A figure: the samples of each round, with its floors and peers, as a line for people or for
//! programs.
//!
//! This module does not know how anything is measured.
//!
//! Invariant: a ratio above 1 says that we are better, in any unit.

use std::fmt;
use std::io::{self, Write};

use serde_json::{Value, json};

/// The unit of a figure, and which direction is better.
#[derive(Clone, Copy, Debug)]
pub struct Unit {
    name: &'static str,
    more_is_better: bool,
}

impl Unit {
    /// Commits in a second.
    pub const COMMITS_PER_SECOND: Unit = Unit::more("commits/s");
    /// The time that one takes.
    pub const MICROSECONDS: Unit = Unit::less("µs");
    /// Transfers in a second.
    pub const TRANSFERS_PER_SECOND: Unit = Unit::more("transfers/s");
    pub(crate) const OBJECTS_PER_SECOND: Unit = Unit::more("objects/s");
    pub(crate) const STEPS_PER_SECOND: Unit = Unit::more("steps/s");
    pub(crate) const VERSIONS_PER_SECOND: Unit = Unit::more("versions/s");
    pub(crate) const MEGABYTES_PER_SECOND: Unit = Unit::more("MB/s");
    pub(crate) const MILLISECONDS: Unit = Unit::less("ms");
    pub(crate) const NANOSECONDS: Unit = Unit::less("ns");
    pub(crate) const BYTES: Unit = Unit::less("bytes");
    pub(crate) const MEBIBYTES: Unit = Unit::less("MiB");
    pub(crate) const PERCENT: Unit = Unit::less("%");

    const fn more(name: &'static str) -> Unit {
        Unit { name, more_is_better: true }
    }

    const fn less(name: &'static str) -> Unit {
        Unit { name, more_is_better: false }
    }
}

/// The samples of one thing, one a round.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Adds a round's sample.
    ///
    /// # Panics
    ///
    /// When it is no number, or negative.
    pub fn push(&mut self, value: f64) {
        assert!(value.is_finite() && value >= 0.0, "a sample is a number: {value}");
        self.0.push(value);
    }

    /// Returns the middle sample; of an even number, the mean of the two in the middle.
    ///
    /// # Panics
    ///
    /// When there is no sample.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        assert!(!sorted.is_empty(), "a figure has a sample");
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        }
    }

    pub(crate) fn min(&self) -> f64 {
        self.sorted()[0]
    }

    pub(crate) fn max(&self) -> f64 {
        *self.sorted().last().expect("a figure has a sample")
    }

    /// Returns the spread of the samples, in percent of their median.
    pub(crate) fn spread_percent(&self) -> f64 {
        (self.max() - self.min()) / self.median() * 100.0
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        let mut samples = Samples::default();
        values.into_iter().for_each(|value| samples.push(value));
        samples
    }
}

/// A comparison for a figure: a floor that the machine sets, a limit, or another system.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The peer's name.
    pub name: &'static str,
    /// The peer's composition.
    pub about: &'static str,
    /// The peer's samples.
    pub samples: Samples,
}

/// A measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The figure's name.
    pub name: String,
    /// The subject of the figure.
    pub about: &'static str,
    /// The unit of the samples.
    pub unit: Unit,
    /// The samples, round by round.
    pub samples: Samples,
    /// The comparisons.
    pub vs: Vec<Peer>,
}

impl Peer {
    /// Returns a peer with one number that does not change from round to round.
    pub(crate) fn fixed(name: &'static str, about: &'static str, value: f64) -> Peer {
        Peer { name, about, samples: [value].into_iter().collect() }
    }
}

impl Figure {
    /// A figure that was measured once and has no peers.
    pub(crate) fn single(name: &str, about: &'static str, unit: Unit, value: f64) -> Figure {
        Figure::new(name, about, unit, [value].into_iter().collect(), Vec::new())
    }

    /// Returns a figure with its comparisons.
    pub fn new(
        name: &str,
        about: &'static str,
        unit: Unit,
        samples: Samples,
        vs: Vec<Peer>,
    ) -> Figure {
        Figure { name: name.to_string(), about, unit, samples, vs }
    }

    fn ratio(&self, peer: &Peer) -> f64 {
        let (ours, theirs) = (self.samples.median(), peer.samples.median());
        if self.unit.more_is_better { ours / theirs } else { theirs / ours }
    }

    /// Writes the figure as lines for people, or as one JSON object.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn print(&self, json: bool, out: &mut impl Write) -> io::Result<()> {
        match json {
            true => writeln!(out, "{}", self.json())?,
            false => writeln!(out, "{self}")?,
        }
        out.flush()
    }

    /// Returns the figure as one JSON object.
    fn json(&self) -> Value {
        let peer = |peer: &Peer| {
            json!({
                "name": peer.name,
                "value": peer.samples.median(),
                "ratio": self.ratio(peer),
            })
        };
        let vs: Vec<Value> = self.vs.iter().map(peer).collect();
        json!({
            "name": self.name,
            "value": self.samples.median(),
            "unit": self.unit.name,
            "vs": vs,
        })
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:32} {}  {}", self.name, Shown(&self.samples, self.unit), self.about)?;
        for peer in &self.vs {
            let shown = Shown(&peer.samples, self.unit);
            let (name, ratio) = (format!("  vs {}", peer.name), self.ratio(peer));
            write!(f, "\n{name:32} {shown}  ratio {ratio:.3}: {}", peer.about)?;
        }
        Ok(())
    }
}

/// Samples as people read them.
struct Shown<'a>(&'a Samples, Unit);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let median = format!("{} {}", digits(self.0.median()), self.1.name);
        let range = format!("({}..{})", digits(self.0.min()), digits(self.0.max()));
        write!(f, "{median:>20} {range:<22}")
    }
}

/// About three digits that mean something.
fn digits(value: f64) -> String {
    match value {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
