//! A figure: what was measured in each round, with its floors and peers, as a line for people or
//! for programs.
//!
//! It does not know how anything is measured.
//!
//! Invariant: a ratio above 1 says that we are better, whatever the unit.

use std::fmt;

use serde_json::{Value, json};

/// What a figure counts, and which way is better.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    name: &'static str,
    more_is_better: bool,
}

impl Unit {
    pub(crate) const COMMITS_PER_SECOND: Unit = Unit { name: "commits/s", more_is_better: true };
    pub(crate) const STEPS_PER_SECOND: Unit = Unit { name: "steps/s", more_is_better: true };
    pub(crate) const VERSIONS_PER_SECOND: Unit = Unit { name: "versions/s", more_is_better: true };
    pub(crate) const MICROSECONDS: Unit = Unit { name: "µs", more_is_better: false };
    pub(crate) const NANOSECONDS: Unit = Unit { name: "ns", more_is_better: false };
    pub(crate) const MEBIBYTES: Unit = Unit { name: "MiB", more_is_better: false };
    pub(crate) const PERCENT: Unit = Unit { name: "%", more_is_better: false };
}

/// What each round measured of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, value: f64) {
        assert!(value.is_finite() && value >= 0.0, "a sample is a number: {value}");
        self.0.push(value);
    }

    /// The middle one; of an even number, the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
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

    /// How far the samples lie apart, in percent of their median.
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

/// What a figure is held against: a floor that the machine sets, or another system.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What it is made of.
    pub(crate) about: &'static str,
    pub(crate) samples: Samples,
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// What is measured.
    pub(crate) about: &'static str,
    pub(crate) unit: Unit,
    pub(crate) samples: Samples,
    pub(crate) vs: Vec<Peer>,
}

impl Figure {
    /// A figure that was measured once and has no peers.
    pub(crate) fn single(
        name: &'static str,
        about: &'static str,
        unit: Unit,
        value: f64,
    ) -> Figure {
        Figure { name, about, unit, samples: [value].into_iter().collect(), vs: Vec::new() }
    }

    fn ratio(&self, peer: &Peer) -> f64 {
        let (ours, theirs) = (self.samples.median(), peer.samples.median());
        if self.unit.more_is_better { ours / theirs } else { theirs / ours }
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Value {
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
