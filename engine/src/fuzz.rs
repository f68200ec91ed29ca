//! Fuzzing of objects: sequences of inputs, drawn from a seed, for an object of a user's code and
//! policy, and invariants that every resulting version is checked against.
//!
//! It runs the code of a database, in memory: the commit path up to the append. A sequence that
//! breaks an invariant is shrunk to a minimal one.
//!
//! Every run also checks, unstated: no step panics (`no-panic`), no signed input is admitted twice
//! (`no-replay`), and the record verifies and replays (`replays`, for one sequence in 64).
//!
//! It does not know a store, and keeps nothing. It knows one object at a time: a message that a
//! step sends is an effect, and is not delivered.
//!
//! Invariant: the same [`Fuzz`] with the same seed plays the same events in the same order.

mod draw;
mod invariant;
mod play;
mod random;
mod report;
mod shrink;

use std::fmt;
use std::time::{Duration, Instant};

use object::credential::SigningKey;
use policy::definition::Definition;
use query::Snapshot;
use schema::Value;

use self::draw::Draw;
use self::invariant::{Holds, Law};
pub use self::play::START;
use self::play::{End, Sequence, Stage};
use self::report::Break;
pub use self::report::{Broken, Event, Played, Report, Step, Tries, Verdicts, What};
use self::shrink::Shrink;
use crate::commit::code::Code;
use crate::error::{ErrorKind, Result};
use crate::options::Options;
use crate::stack::{DeepStack, on_thread};
use crate::step::catalog::Catalog;

/// Keys that sign when none is given; to those that are, one stranger's is added.
const KEYS: u8 = 4;
/// One sequence in this many is verified and replayed.
const REPLAY_EVERY: u64 = 64;
/// Arguments of creations that are remembered, and in how many of a hundred cases they are used.
const CREATIONS_KNOWN: usize = 64;
const CREATIONS_AGAIN: usize = 90;
/// Creations of drawn arguments that may be refused before the first one is not.
const CREATIONS_MAX: u64 = 10_000;

/// The subject of fuzzing, the invariants, and the limits of a run.
///
/// ```
/// use continuant::fuzz::{Fuzz, What};
/// use continuant::{Code, Snapshot};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let code = Code::wasm(continuant::samples::COUNTER)?
///     .policy(continuant::samples::COUNTER_POLICY);
/// let report = Fuzz::new(code)
///     .invariant("bounded", "context.after.count <= 1500")
///     .holds("monotone", |before, after| {
///         let count = |version: &Snapshot| version.get::<u64>("count").unwrap();
///         count(before) <= count(after)
///     })
///     .seed(7)
///     .steps(10_000)
///     .run(|_| {})?;
///
/// let broken = report.broken.expect("each increment is bounded, two are not");
/// assert_eq!(broken.invariant, "bounded");
/// let increments = broken.events.iter().map(|played| match &played.event.what {
///     What::Call { arguments, .. } => arguments[0].integer().unwrap_or(0),
///     _ => 0,
/// });
/// assert_eq!(broken.events.len(), 2, "no fewer would do");
/// assert_eq!(increments.sum::<i128>(), 1501, "and no smaller ones");
/// # Ok(())
/// # }
/// ```
pub struct Fuzz {
    code: Code,
    seed: u64,
    steps: Option<u64>,
    time: Option<Duration>,
    events_max: usize,
    keys: Vec<SigningKey>,
    /// Texts of laws.
    laws: Vec<String>,
    holds: Vec<(String, Holds)>,
    stop: Option<Stop>,
}

/// A callback that returns whether a run is to stop.
type Stop = Box<dyn Fn() -> bool + Send + Sync>;

impl fmt::Debug for Fuzz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fuzz").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Fuzz {
    /// Fuzzes objects of this code and policy. Its arguments are those of every creation; when
    /// `create` takes some and none are given, they are drawn. Its secret and name do not matter.
    pub fn new(code: Code) -> Fuzz {
        let (seed, events_max) = (0, 64);
        let (steps, time, keys, laws, holds) = Default::default();
        let stop = None;
        Fuzz { code, seed, steps, time, events_max, keys, laws, holds, stop }
    }

    /// Sets the seed of all draws. Default: 0.
    pub fn seed(mut self, seed: u64) -> Fuzz {
        self.seed = seed;
        self
    }

    /// Stops after this many steps; a wait without a step counts as one. Default, when there is no
    /// time limit either: a million.
    pub fn steps(mut self, count: u64) -> Fuzz {
        self.steps = Some(count);
        self
    }

    /// Stops after this time; a broken invariant is shrunk first.
    pub fn time(mut self, limit: Duration) -> Fuzz {
        self.time = Some(limit);
        self
    }

    /// Events of one sequence, at most; at least one. Default: 64.
    pub fn events_max(mut self, count: usize) -> Fuzz {
        self.events_max = count.max(1);
        self
    }

    /// A key that signs, beside those given before and one stranger's. Default: four of the
    /// fuzzer's own. Give those that the policy or the arguments of `create` name.
    pub fn key(mut self, key: SigningKey) -> Fuzz {
        self.keys.push(key);
        self
    }

    /// Adds the invariant that a Cedar expression holds for every version. It sees the `context`
    /// that a rule of the policy sees, the arguments of a method only behind `if action ==
    /// Action::"method" then`.
    ///
    /// A step breaks it that is admitted although the expression is false, or cannot be evaluated.
    /// The name is one that a rule can have.
    pub fn invariant(mut self, name: &str, expression: &str) -> Fuzz {
        self.laws.push(Law::text(name, expression));
        self
    }

    /// Adds the invariant that no rule of a Cedar text forbids any version. Each rule is a
    /// `forbid`, as it could stand in the policy, and is an invariant by the name of its `@id`.
    pub fn invariants(mut self, cedar: &str) -> Fuzz {
        self.laws.push(cedar.to_string());
        self
    }

    /// Adds the invariant that a closure holds for every version, given the version before it and
    /// itself.
    pub fn holds(
        mut self,
        name: &str,
        closure: impl Fn(&Snapshot, &Snapshot) -> bool + Send + Sync + 'static,
    ) -> Fuzz {
        self.holds.push((name.to_string(), Box::new(closure)));
        self
    }

    /// Stops also when a closure says so, which is called after each sequence.
    pub fn stop_when(mut self, stop: impl Fn() -> bool + Send + Sync + 'static) -> Fuzz {
        self.stop = Some(Box::new(stop));
        self
    }

    /// Plays sequences of events, each on an object of its own, until an invariant is broken, or
    /// the limits are reached; calls `progress` with the steps so far.
    ///
    /// # Errors
    ///
    /// [`Module`](ErrorKind::Module) and [`Object`](ErrorKind::Object) when the module, its schema,
    /// the policy, an invariant or the arguments are invalid; [`Refused`](ErrorKind::Refused) when
    /// `create` refuses the arguments, or all that were drawn; [`Substrate`](ErrorKind::Substrate)
    /// when the host fails.
    pub fn run(&self, progress: impl FnMut(u64) + Send) -> Result<Report> {
        on_thread(|stack| self.run_here(stack, progress))?
    }

    fn run_here(&self, stack: DeepStack, progress: impl FnMut(u64)) -> Result<Report> {
        let catalog = Catalog::new(None)?;
        let definition = catalog.define(stack, &self.code.wasm, self.code.law())?;
        let memory_bytes_max = Options::default().memory_bytes_max;
        let read = || Ok(self.code.wasm.to_vec());
        let runnable = catalog.runnable(stack, &definition, memory_bytes_max, read)?;
        let laws = self.laws(stack, &definition)?;
        let keys = self.keys();
        let report = Report::new(self.seed, keys.clone(), &definition.schema, &definition.policy);
        let draw = self.draw(&definition, &keys);
        let stage = Stage::new(stack, definition, runnable, &catalog, &keys, laws, &self.holds);
        let deadline = self.time.map(|limit| Instant::now() + limit);
        let is_endless = self.time.is_none() && self.steps.is_none();
        let steps_max = self.steps.unwrap_or(if is_endless { 1_000_000 } else { u64::MAX });
        Run {
            fuzz: self,
            stage,
            draw,
            report,
            progress,
            deadline,
            steps_max,
            spent: 0,
            created: Vec::new(),
        }
        .run()
    }

    /// Returns the laws, no two of which have a rule of the same name.
    fn laws(&self, stack: DeepStack, definition: &Definition) -> Result<Vec<Law>> {
        let laws = self.laws.iter().map(|text| Law::parse(stack, text, definition));
        let laws = laws.collect::<object::Result<Vec<Law>>>()?;
        let names = laws.iter().flat_map(Law::names);
        let mut names: Vec<&str> =
            names.chain(self.holds.iter().map(|(name, _)| &name[..])).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let finding = format!("two invariants with the name {:?}", twice[0]);
            let finding = object::Diagnostic::whole(finding);
            return Err(object::Error::from(object::ErrorKind::Policy(vec![finding])).into());
        }
        Ok(laws)
    }

    fn keys(&self) -> Vec<SigningKey> {
        let own = if self.keys.is_empty() { KEYS } else { 1 };
        let own = (1..=own).map(|secret| SigningKey::from_secret(&[secret; 32]));
        self.keys.iter().cloned().chain(own).collect()
    }

    fn draw(&self, definition: &Definition, keys: &[SigningKey]) -> Draw {
        let policy = &definition.policy;
        let mut draw = Draw::new(self.seed, &definition.schema, policy.is_amendable());
        for key in keys {
            draw.add_key(key.public().0, key.public().to_string());
        }
        draw.add_text(policy.text());
        draw.add_text(&format!("\"{}\"", policy.hash()));
        self.laws.iter().for_each(|text| draw.add_text(text));
        draw
    }
}

/// A run on its way.
struct Run<'f, P> {
    fuzz: &'f Fuzz,
    stage: Stage<'f>,
    draw: Draw,
    report: Report,
    progress: P,
    deadline: Option<Instant>,
    steps_max: u64,
    /// Steps, and events that led to none.
    spent: u64,
    /// IssuedNonces arguments with which an object was created.
    created: Vec<Vec<Value>>,
}

impl<P: FnMut(u64)> Run<'_, P> {
    fn run(mut self) -> Result<Report> {
        while !self.is_over() {
            let arguments = self.arguments();
            if let Some((sequence, broken)) = self.sequence(arguments)? {
                let (number, found_after) = (self.report.sequences, sequence.events.len());
                let is_drawn = self.is_drawn();
                let stage = &mut self.stage;
                let least = shrunk(stage, sequence, broken, is_drawn, number, found_after)?;
                self.report.broken = Some(least);
            }
            (self.progress)(self.report.steps);
        }
        Ok(self.report)
    }

    fn is_over(&self) -> bool {
        self.report.broken.is_some()
            || self.spent >= self.steps_max
            || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
            || self.fuzz.stop.as_ref().is_some_and(|stop| stop())
    }

    /// Returns the arguments of the next creation.
    fn arguments(&mut self) -> Vec<Value> {
        match self.stage.definition.schema.create() {
            Some(create) if self.is_drawn() => {
                if !self.created.is_empty() && self.draw.random.chance(CREATIONS_AGAIN) {
                    return self.draw.random.pick(&self.created).clone();
                }
                self.draw.arguments(&create.params)
            }
            _ => self.fuzz.code.arguments.clone(),
        }
    }

    /// Returns whether arguments are drawn: the creation takes some and none are given.
    fn is_drawn(&self) -> bool {
        let create = self.stage.definition.schema.create();
        let takes_some = create.is_some_and(|create| !create.params.is_empty());
        takes_some && self.fuzz.code.arguments.is_empty()
    }

    /// Has events happen to a new object: those that break an invariant, if they do.
    fn sequence(&mut self, arguments: Vec<Value>) -> Result<Option<(Sequence, Break)>> {
        let is_recorded = self.report.sequences.is_multiple_of(REPLAY_EVERY);
        let is_drawn = self.is_drawn();
        let report = &mut self.report;
        let mut play = match self.stage.begin(&arguments, is_recorded)? {
            Ok(play) => play,
            Err(verdict) => {
                report.refused_creations += 1;
                let tries_left = CREATIONS_MAX.saturating_sub(report.refused_creations);
                if is_drawn && (report.sequences > 0 || tries_left > 0) {
                    return Ok(None);
                }
                return Err(ErrorKind::Refused { verdict, recorded: false }.into());
            }
        };
        report.sequences += 1;
        if is_drawn && self.created.len() < CREATIONS_KNOWN && !self.created.contains(&arguments) {
            self.created.push(arguments.clone());
        }
        let mut events = Vec::new();
        let count = 1 + self.draw.random.below(self.fuzz.events_max);
        let ended = loop {
            let is_late = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if events.len() == count || self.spent >= self.steps_max || is_late {
                break play.finish();
            }
            let event = self.draw.event(&play);
            events.push(event.clone());
            let played = play.event(&event);
            play.steps.iter().for_each(|step| report.count(step));
            self.spent += play.steps.len().max(1) as u64;
            if play.steps.iter().any(|step| step.verdict.is_ok()) {
                self.draw.learn(&event);
            }
            if played.is_err() {
                break played;
            }
        };
        match ended {
            Ok(()) => {
                report.replays += u64::from(is_recorded);
                Ok(None)
            }
            Err(End::Broken(broken)) => Ok(Some((Sequence { arguments, events }, *broken))),
            Err(End::Failed(error)) => Err(error),
        }
    }
}

/// The least that breaks an invariant in the way that a sequence was `found` to break it.
fn shrunk(
    stage: &mut Stage<'_>,
    sequence: Sequence,
    broken: Break,
    is_drawn: bool,
    number: u64,
    found_after: usize,
) -> Result<Broken> {
    let is_recorded = broken.invariant == play::REPLAYS;
    let sequence = Shrink::new(stage, sequence, broken.clone(), is_drawn).run()?;
    let mut events = Vec::new();
    let see = |event: &Event, steps: &[Step]| {
        events.push(Played { event: event.clone(), steps: steps.to_vec() });
    };
    // A sequence that broke it once breaks it again, except for effects outside of the run's
    // control.
    let played = stage.play(&sequence, is_recorded, see)?;
    let broken = played.map_or(broken, |(broken, _)| broken);
    Ok(Broken {
        invariant: broken.invariant,
        detail: broken.detail,
        rule: broken.rule,
        arguments: sequence.arguments,
        events,
        version: broken.version,
        sequence: number,
        found_after,
        is_unevaluable: broken.is_unevaluable,
    })
}
