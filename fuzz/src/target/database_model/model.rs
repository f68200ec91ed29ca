//! What counters and lamps do, by their source and their policies, in a few lines of Rust.
//!
//! It knows no database.

use std::collections::BTreeMap;

use continuant::Value;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::generate::bytes::number;

/// What an object is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A counter with the policy of the examples.
    Counter,
    /// A counter that lets everybody do everything.
    OpenCounter,
    /// A lamp with the policy of the examples.
    Lamp,
}

/// A version's state: of a counter its count; of a lamp whether it is on, until when, and how often
/// it was switched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Version {
    pub(super) time: u64,
    number: u64,
    on: bool,
    switched: u32,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) versions: Vec<Version>,
    pub(super) refusals: u64,
    pub(super) wake: Option<u64>,
    /// The last nonce of each key.
    nonces: BTreeMap<usize, u64>,
}

impl Object {
    pub(super) fn new(kind: Kind, now: u64) -> Object {
        let versions = vec![Version { time: now, ..Version::default() }];
        Object { kind, versions, refusals: 0, wake: None, nonces: BTreeMap::new() }
    }

    fn newest(&self) -> Version {
        *self.versions.last().expect("an object has a version")
    }

    /// A method and its argument.
    pub(super) fn draw(&self, rng: &mut StdRng) -> (&'static str, u64) {
        match self.kind {
            Kind::Lamp if rng.random_bool(0.3) => ("switch-off", 0),
            Kind::Lamp => ("switch-on", rng.random_range(0..4000)),
            _ => match rng.random_range(0..4) {
                0 => ("increment", number(rng)),
                _ => ("increment", rng.random_range(0..1200)),
            },
        }
    }

    /// The state of a version, as its schema has it.
    pub(super) fn state(&self, seq: usize) -> Value {
        let Version { number, on, switched, .. } = self.versions[seq];
        let fields = match self.kind {
            Kind::Lamp => vec![
                ("on", Value::from(on)),
                ("until", number.into()),
                ("switched", switched.into()),
            ],
            _ => vec![("count", number.into())],
        };
        Value::Record(fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
    }

    /// Runs the wake that is due.
    pub(super) fn wait(&mut self, now: u64) {
        let Some(due) = self.wake.filter(|&wake| wake <= now) else { return };
        let Version { switched, .. } = self.newest();
        let switched = switched.wrapping_add(1);
        self.versions.push(Version { time: due, number: 0, on: false, switched });
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
        let Version { number, on, switched, .. } = self.newest();
        let (version, result) = match (self.kind, method) {
            (Kind::Lamp, "switch-on") => {
                // The policy's limit, in seconds.
                if argument > 3600 {
                    return None;
                }
                let until = now + argument * 1000;
                // A wake is never at the time of its own step.
                self.wake = Some(until.max(now + 1));
                (Version { time: now, number: until, on: true, switched: switched + 1 }, None)
            }
            (Kind::Lamp, _) => {
                self.wake = None;
                let off = Version { time: now, number: 0, on: false, switched: switched + 1 };
                (off, Some(Value::from(on)))
            }
            (Kind::Counter, _) => {
                // What the policy reads are numbers of 63 bits.
                let sum = number.checked_add(argument).filter(|&sum| sum <= i64::MAX as u64);
                let sum = sum.filter(|_| argument <= 1000)?;
                (Version { time: now, number: sum, on, switched }, Some(sum.into()))
            }
            (Kind::OpenCounter, _) => {
                let sum = number.wrapping_add(argument);
                (Version { time: now, number: sum, on, switched }, Some(sum.into()))
            }
        };
        self.versions.push(version);
        Some(result)
    }

    /// Writes the number directly; whether that is admitted.
    pub(super) fn write(&mut self, value: u64, now: u64) -> bool {
        self.wait(now);
        if self.kind != Kind::OpenCounter {
            self.refusals += 1;
            return false;
        }
        self.versions.push(Version { time: now, number: value, ..self.newest() });
        true
    }
}
