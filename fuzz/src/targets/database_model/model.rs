//! Counters, tallies, lamps and sums, modelled by their source and their policies in a few lines of
//! Rust.
//!
//! The model knows no database.

use std::collections::BTreeMap;

use continuant::{Reason, TrailEnd, Value};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::bytes::number;

/// The kind of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A counter with the policy of the examples.
    Counter,
    /// A counter that lets everybody do everything.
    OpenCounter,
    /// A lamp with the policy of the examples.
    Lamp,
    /// A counter's upgrade, with the policy of the examples.
    Tally,
    /// A sum, which an upgrade multiplies, with a policy that lets everybody do everything.
    Sum,
}

/// A version's state: of a counter its count; of a sum the sum; of a tally the bits of its balance
/// and how often it changed; of a lamp whether it is on, until when, and how often it was switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub(super) time: u64,
    kind: Kind,
    number: u64,
    on: bool,
    switched: u32,
    /// True if it is an upgrade.
    upgrade: bool,
}

/// The version that gave a field its value, why the trail ends there, and the upgrades on the way
/// that kept the value, newest first.
#[derive(Debug, PartialEq)]
pub(super) struct Blamed {
    pub(super) seq: usize,
    pub(super) end: TrailEnd,
    pub(super) kept: Vec<usize>,
}

/// The model of an object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) versions: Vec<Version>,
    pub(super) refusals: u64,
    pub(super) wake: Option<u64>,
    /// True if its policy permits upgrades, and to delete it.
    upgradable: bool,
    /// The last nonce of each key.
    nonces: BTreeMap<usize, u64>,
}

impl Object {
    pub(super) fn new(kind: Kind, upgradable: bool, now: u64) -> Object {
        let number = u64::from(kind == Kind::Sum);
        let first = Version { time: now, kind, number, on: false, switched: 0, upgrade: false };
        let versions = vec![first];
        Object { kind, versions, refusals: 0, wake: None, upgradable, nonces: BTreeMap::new() }
    }

    fn newest(&self) -> Version {
        *self.versions.last().expect("an object has a version")
    }

    /// A method and its argument.
    pub(super) fn draw(&self, rng: &mut StdRng) -> (&'static str, u64) {
        match self.kind {
            Kind::Lamp if rng.random_bool(0.3) => ("switch-off", 0),
            Kind::Lamp => ("switch-on", rng.random_range(0..4000)),
            Kind::Tally if rng.random_bool(0.6) => ("decrement", rng.random_range(0..1200)),
            _ => match rng.random_range(0..4) {
                0 => ("increment", number(rng)),
                _ => ("increment", rng.random_range(0..1200)),
            },
        }
    }

    /// The state of a version, as its schema has it.
    pub(super) fn state(&self, seq: usize) -> Value {
        let Version { kind, number, on, switched, .. } = self.versions[seq];
        let fields = match kind {
            Kind::Lamp => vec![
                ("on", Value::from(on)),
                ("until", number.into()),
                ("switched", switched.into()),
            ],
            Kind::Tally => {
                vec![("balance", (number as i64).into()), ("changes", switched.into())]
            }
            Kind::Sum => vec![("sum", number.into())],
            _ => vec![("count", number.into())],
        };
        Value::Record(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// The fields that a version has.
    pub(super) fn fields(&self, seq: usize) -> Vec<(String, Value)> {
        let Value::Record(fields) = self.state(seq) else { unreachable!("a state is a record") };
        fields
    }

    /// Returns the version that gave a field its value in a version.
    pub(super) fn blame(&self, field: &str, seq: usize) -> Blamed {
        let value = |seq: usize| self.fields(seq).into_iter().find(|(name, _)| name == field);
        let (mut seq, mut kept) = (seq, Vec::new());
        let end = loop {
            let Some(before) = seq.checked_sub(1) else { break TrailEnd::Created };
            match value(before) {
                None => break TrailEnd::NewField,
                older if older != value(seq) => break TrailEnd::Changed,
                _ if self.versions[seq].upgrade => kept.push(seq),
                _ => {}
            }
            seq = before;
        };
        Blamed { seq, end, kept }
    }

    /// Runs the wake that is due.
    pub(super) fn wait(&mut self, now: u64) {
        let Some(due) = self.wake.filter(|&wake| wake <= now) else { return };
        let switched = self.newest().switched.wrapping_add(1);
        let kind = self.kind;
        let out = Version { time: due, kind, number: 0, on: false, switched, upgrade: false };
        self.versions.push(out);
        self.wake = None;
    }

    /// The result of a call that is admitted.
    pub(super) fn call(
        &mut self,
        method: &str,
        argument: u64,
        signer: Option<(usize, u64)>,
        now: u64,
    ) -> Option<Option<Value>> {
        self.wait(now);
        let fresh = signer.is_none_or(|(key, nonce)| self.nonces.get(&key) < Some(&nonce));
        let made = if fresh { self.step(method, argument, now) } else { None };
        match &made {
            Some(_) => self.nonces.extend(signer),
            None => self.refusals += 1,
        }
        made
    }

    fn step(&mut self, method: &str, argument: u64, now: u64) -> Option<Option<Value>> {
        let newest = Version { time: now, upgrade: false, ..self.newest() };
        let Version { number, on, switched, .. } = newest;
        let (version, result) = match (self.kind, method) {
            (Kind::Lamp, "switch-on") => {
                // The policy's limit, in seconds.
                if argument > 3600 {
                    return None;
                }
                let until = now + argument * 1000;
                // A wake is never at the time of its own step.
                self.wake = Some(until.max(now + 1));
                (Version { number: until, on: true, switched: switched + 1, ..newest }, None)
            }
            (Kind::Lamp, _) => {
                self.wake = None;
                let off = Version { number: 0, on: false, switched: switched + 1, ..newest };
                (off, Some(Value::from(on)))
            }
            (Kind::Counter, _) => {
                // The policy reads numbers of 63 bits.
                let sum = number.checked_add(argument).filter(|&sum| sum <= i64::MAX as u64);
                let sum = sum.filter(|_| argument <= 1000)?;
                (Version { number: sum, ..newest }, Some(sum.into()))
            }
            (Kind::Tally, _) => {
                let by = i64::try_from(argument).ok().filter(|&by| by <= 1000)?;
                let by = if method == "decrement" { -by } else { by };
                let sum = (number as i64).checked_add(by)?;
                let changed = Version { number: sum as u64, switched: switched + 1, ..newest };
                (changed, Some(sum.into()))
            }
            (Kind::OpenCounter | Kind::Sum, _) => {
                let sum = number.wrapping_add(argument);
                (Version { number: sum, ..newest }, Some(sum.into()))
            }
        };
        self.versions.push(version);
        Some(result)
    }

    /// Writes the number directly; whether that is admitted.
    pub(super) fn write(&mut self, value: u64, now: u64) -> bool {
        self.wait(now);
        if !matches!(self.kind, Kind::OpenCounter | Kind::Sum) {
            self.refusals += 1;
            return false;
        }
        let newest = self.newest();
        self.versions.push(Version { time: now, number: value, upgrade: false, ..newest });
        true
    }

    /// Makes a tally of it, by a policy that takes over small counts only or any; why not, if that
    /// is refused.
    pub(super) fn upgrade(&mut self, small: bool, now: u64) -> Result<(), Reason> {
        self.wait(now);
        let newest = self.newest();
        let refused = match self.kind {
            Kind::Lamp | Kind::Tally | Kind::Sum => Some(Reason::Migration),
            _ if newest.number > i64::MAX as u64 => Some(Reason::Trap),
            _ if !self.upgradable => Some(Reason::NotPermitted),
            _ if small && newest.number > 500 => Some(Reason::Forbidden),
            _ => None,
        };
        if let Some(reason) = refused {
            self.refusals += 1;
            return Err(reason);
        }
        self.kind = Kind::Tally;
        self.versions.push(Version { time: now, kind: Kind::Tally, upgrade: true, ..newest });
        Ok(())
    }

    /// Deletes it; whether that is admitted.
    pub(super) fn delete(&mut self, now: u64) -> bool {
        self.wait(now);
        // An object that became a tally has the policy of tallies.
        if !self.upgradable || self.kind == Kind::Tally {
            self.refusals += 1;
            return false;
        }
        let newest = self.newest();
        self.versions.push(Version { time: now, upgrade: false, ..newest });
        self.wake = None;
        true
    }

    /// Makes a sum of a sum, multiplied.
    pub(super) fn multiply(&mut self, factor: u64, now: u64) {
        self.wait(now);
        let newest = self.newest();
        let number = newest.number.wrapping_mul(factor);
        self.versions.push(Version { time: now, number, upgrade: true, ..newest });
    }
}
