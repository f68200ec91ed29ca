//! Plays a sequence of events on an object of its own: each input by the functions of the commit
//! path, up to the append, in memory. The record is the one that a database would have, except that
//! a database limits the number of refusals.
//!
//! Time is a clock that only events move. Invariants are checked on each version as it is made.
//! This module does not know how events are drawn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use object::commit::Commit;
use object::credential::{Credential, Host, Memo, SigningKey};
use object::effects::{Admission, encode_globals};
use object::hash::{CodeHash, PolicyHash};
use object::header::Header;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::Past;
use object::memory::Page;
use object::refusal::{Refusal, Verdict};
use object::secret::{SECRET_BYTES, Secret};
use object::time::Time;
use policy::definition::Definition;
use query::Snapshot;
use schema::{Value, encode_args, encode_value};

use super::invariant::{Holds, Law};
use super::report::{Break, Event, Step, What};
use crate::ask::call::EXPIRY;
use crate::audit::part_source::PartSource;
use crate::audit::replay::Auditor;
use crate::commit::admitted::{AdmittedStep, result};
use crate::commit::commit::decide;
use crate::commit::create::genesis;
use crate::error::{Error, ErrorKind, Result, missing};
use crate::head::live::{Due, Live};
use crate::head::missed::{Cause, Missed};
use crate::stack::DeepStack;
use crate::step::catalog::{Catalog, Runnable};
use crate::step::runner::Runner;
use crate::step::slots::Slots;
use crate::step::step::StepResult;
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// The number of wakes that run during one wait: then the wait ends.
const WAKES_MAX: usize = 64;
/// Results that are remembered of an object.
const RESULTS_MAX: usize = 16;
/// The secret of each object that is played: a play must be the same each time.
const DRAWN: [u8; SECRET_BYTES] = [0; SECRET_BYTES];

/// The time at which fuzzed objects are created.
pub const START: Time = Time::from_millis(1_700_000_000_000);
/// The invariant that a step does not panic.
pub(super) const NO_PANIC: &str = "no-panic";
/// The invariant that a signed input is admitted once.
pub(super) const NO_REPLAY: &str = "no-replay";
/// The invariant that the record verifies, and every step run again has the same outcome.
pub(super) const REPLAYS: &str = "replays";

/// A sequence: the arguments of a creation, and the events after it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sequence {
    pub(super) arguments: Vec<Value>,
    pub(super) events: Vec<Event>,
}

/// The stage on which sequences are played, one after the other.
pub(super) struct Stage<'f> {
    pub(super) definition: Arc<Definition>,
    pub(super) runnable: Arc<Runnable>,
    catalog: &'f Catalog,
    stack: DeepStack,
    pub(super) keys: &'f [SigningKey],
    pub(super) laws: Vec<Law>,
    pub(super) holds: &'f [(String, Holds)],
    slots: Slots,
    memo: Memo,
}

/// A cause that ends a play early.
pub(super) enum End {
    /// An invariant does not hold.
    Broken(Box<Break>),
    /// The engine failed.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> End {
        End::Failed(error)
    }
}

impl From<object::Error> for End {
    fn from(error: object::Error) -> End {
        End::Failed(error.into())
    }
}

/// An object and its events so far.
pub(super) struct Play<'s, 'f> {
    stage: &'s mut Stage<'f>,
    pub(super) live: Live,
    pub(super) now: Time,
    nonce: u64,
    /// The last input that was signed, and whether it was admitted.
    signed: Option<(Input, bool)>,
    /// The past of each law.
    pasts: Vec<Past>,
    /// Results of calls, the last ones.
    pub(super) results: Vec<Value>,
    /// The steps of the event that was played last.
    pub(super) steps: Vec<Step>,
    /// The record, when it is to be replayed.
    records: Option<Vec<Record>>,
}

/// A record that a store would hold.
enum Record {
    Version(Box<Version>),
    Refusal(Box<Refusal>),
}

struct Version {
    header: Header,
    input: Vec<u8>,
    effects: Vec<u8>,
    admission: Vec<u8>,
    globals: Option<Vec<u8>>,
    changed: Vec<u32>,
    image: Image,
}

impl Version {
    fn new(
        header: &Header,
        input: &Input,
        step_result: &StepResult,
        admission: &Admission,
        before: &[u64],
    ) -> Version {
        Version {
            header: header.clone(),
            input: input.encode(),
            effects: step_result.effects.encode(),
            admission: admission.encode(),
            globals: (step_result.globals != before).then(|| encode_globals(&step_result.globals)),
            changed: step_result.changed.clone(),
            image: step_result.image.clone(),
        }
    }

    fn commit(&self) -> Commit<'_> {
        let page = |&index: &u32| -> (u32, &Page) {
            (index, object::memory::Memory::page(&self.image, index))
        };
        Commit {
            header: self.header.clone(),
            input: &self.input,
            effects: &self.effects,
            admission: &self.admission,
            globals: self.globals.as_deref(),
            pages: self.changed.iter().map(page).collect(),
        }
    }
}

impl<'f> Stage<'f> {
    pub(super) fn new(
        stack: DeepStack,
        definition: Arc<Definition>,
        runnable: Arc<Runnable>,
        catalog: &'f Catalog,
        keys: &'f [SigningKey],
        laws: Vec<Law>,
        holds: &'f [(String, Holds)],
    ) -> Stage<'f> {
        let (slots, memo) = Default::default();
        Stage { definition, runnable, catalog, stack, keys, laws, holds, slots, memo }
    }

    /// Creates an object, or returns the verdict against it.
    pub(super) fn begin(
        &mut self,
        arguments: &[Value],
        is_recorded: bool,
    ) -> Result<Result<Play<'_, 'f>, Verdict>> {
        let create = self.definition.schema.create();
        let params = create.map_or(&[][..], |create| &create.params);
        let arguments = encode_args(arguments, params)?;
        let request = Request::Create { salt: Secret::image_salt(&DRAWN), arguments };
        let input = Input { request, time: START, credential: None };
        input.validate()?;
        let (definition, limits) = (Arc::clone(&self.definition), StepLimits::default());
        let (catalog, slots, stack) = (self.catalog, &mut self.slots, self.stack);
        let runner = &mut Runner { catalog, slots, stack };
        let secret = Secret::new(DRAWN);
        let made = genesis(runner, definition, &self.runnable, (&input, &secret), limits);
        let (live, step_result) = match made {
            Ok(made) => made,
            Err(Stop::Refused(verdict)) => return Ok(Err(verdict)),
            Err(Stop::Failed(error)) => return Err(error),
        };
        let records = is_recorded.then(|| {
            let before = self.runnable.base.globals();
            let header = &live.head.header;
            let version = Version::new(header, &input, &step_result, &Admission::default(), before);
            vec![Record::Version(Box::new(version))]
        });
        let pasts = self.laws.iter().map(|_| Past::default()).collect();
        let (signed, results, steps) = Default::default();
        Ok(Ok(Play {
            stage: self,
            live,
            now: START,
            nonce: 0,
            signed,
            pasts,
            results,
            steps,
            records,
        }))
    }

    /// Plays a sequence, recorded or not, and shows each event with its steps: how it breaks an
    /// invariant, if it does, and behind how many events.
    pub(super) fn play(
        &mut self,
        sequence: &Sequence,
        is_recorded: bool,
        mut see: impl FnMut(&Event, &[Step]),
    ) -> Result<Option<(Break, usize)>> {
        let Ok(mut play) = self.begin(&sequence.arguments, is_recorded)? else { return Ok(None) };
        for (index, event) in sequence.events.iter().enumerate() {
            let played = play.event(event);
            see(event, &play.steps);
            match played {
                Ok(()) => {}
                Err(End::Broken(broken)) => return Ok(Some((*broken, index + 1))),
                Err(End::Failed(error)) => return Err(error),
            }
        }
        match play.finish() {
            Ok(()) => Ok(None),
            Err(End::Broken(broken)) => Ok(Some((*broken, sequence.events.len()))),
            Err(End::Failed(error)) => Err(error),
        }
    }
}

impl Play<'_, '_> {
    /// Plays an event; the steps that ran are in `steps`.
    pub(super) fn event(&mut self, event: &Event) -> Result<(), End> {
        self.steps.clear();
        let request = match &event.what {
            What::Wait(span) => return self.wait(*span),
            What::Replay => {
                let Some((signed, _)) = &self.signed else { return Ok(()) };
                let input = Input { time: self.now, ..signed.clone() };
                return self.step(input, true);
            }
            What::Call { method, arguments } => {
                let method = self.live.definition.schema.require_method(method)?;
                let arguments = encode_args(arguments, &method.params)?;
                Request::Call { method: method.name.clone(), arguments }
            }
            What::Write { field, value } => {
                let place = self.live.definition.schema.resolve(field)?;
                let value = encode_value(value, place.ty())?;
                Request::Write { fields: vec![(place.path().to_string(), value)] }
            }
            What::Amend => Request::Amend { policy: self.live.definition.policy.encode() },
        };
        let credential = (!event.signers.is_empty()).then(|| {
            self.nonce += 1;
            let mut credential = Credential::new(self.nonce, self.now.saturating_add(EXPIRY));
            for &signer in &event.signers {
                credential.sign(&self.stage.keys[signer], self.live.head.id, &request);
            }
            credential
        });
        let input = Input { request, time: self.now, credential };
        input.validate()?;
        // Due cycles run first, so that an object that has changed has its wake tried again.
        self.wait(Duration::ZERO)?;
        if input.credential.is_some() {
            self.signed = Some((input.clone(), false));
        }
        self.step(input, false)
    }

    /// Has time go by. A wake that was refused is tried again as a database does.
    fn wait(&mut self, span: Duration) -> Result<(), End> {
        let until = self.now.saturating_add(span);
        for _ in 0..WAKES_MAX {
            let Some(Due { at, .. }) = self.live.due(until) else {
                self.now = until;
                return Ok(());
            };
            self.now = self.now.max(at);
            let input = Input { request: Request::Cycle, time: self.now, credential: None };
            self.step(input, false)?;
        }
        Ok(())
    }

    /// Runs an input, and holds the invariants against the version that it makes.
    fn step(&mut self, input: Input, is_replay: bool) -> Result<(), End> {
        let Stage { catalog, slots, memo, stack, .. } = &mut *self.stage;
        let runner = &mut Runner { catalog, slots, stack: *stack };
        let limits = StepLimits::default();
        // Nobody opens sessions here.
        let host = Host::holding(memo, None);
        let run = AssertUnwindSafe(|| decide(runner, &self.live, &input, limits, host));
        let tried = match catch_unwind(run) {
            Ok(tried) => tried,
            Err(panic) => {
                self.stage.slots = Slots::default();
                return Err(panicked(&*panic));
            }
        };
        let (action, seq) = (input.request.action().to_string(), self.live.head.header.seq + 1);
        match tried {
            Ok(step) => {
                let verdict = Ok(step.admission.clone());
                self.steps.push(Step { action, seq, verdict });
                let broken = self.judge(&input, &step.result, &step.admission);
                let before = (!self.stage.holds.is_empty()).then(|| self.snapshot());
                self.advance(&input, step)?;
                assert_eq!(self.live.head.header.seq, seq, "an admitted step is the next version");
                let broken = match broken {
                    Some(broken) => Some(broken),
                    None => self.admitted_twice(&input, is_replay),
                };
                let broken = match (broken, before) {
                    (None, Some(before)) => self.ask(&before)?,
                    (broken, _) => broken,
                };
                let version = Some(self.live.head.hash);
                broken.map_or(Ok(()), |it| Err(End::Broken(Box::new(Break { version, ..it }))))
            }
            Err(Stop::Refused(verdict)) => {
                if self.refuse(&input, verdict.clone()) {
                    self.steps.push(Step { action, seq, verdict: Err(verdict) });
                }
                Ok(())
            }
            Err(Stop::Failed(error)) => Err(End::Failed(error)),
        }
    }

    /// Returns the law that an admitted step breaks, if any.
    fn judge(
        &mut self,
        input: &Input,
        step_result: &StepResult,
        admission: &Admission,
    ) -> Option<Break> {
        let step = step_result.of(input, &self.live.image);
        let (stack, laws) = (self.stage.stack, self.stage.laws.iter().zip(&mut self.pasts));
        // All of them: each is to know the past.
        let broken: Vec<Option<Break>> = laws
            .map(|(law, past)| law.judge(stack, &self.live.head, past, &admission.signers, &step))
            .collect();
        broken.into_iter().flatten().next()
    }

    /// Returns the break of a signed input that is admitted a second time.
    fn admitted_twice(&mut self, input: &Input, is_replay: bool) -> Option<Break> {
        input.credential.as_ref()?;
        let (_, admitted) = self.signed.as_mut()?;
        let before = std::mem::replace(admitted, true);
        let twice = "a signed input was admitted a second time";
        (is_replay && before).then(|| Break::new(NO_REPLAY, twice))
    }

    /// Asks the closures.
    fn ask(&self, before: &Snapshot) -> Result<Option<Break>, End> {
        let after = self.snapshot();
        for (name, holds) in self.stage.holds {
            let asked = catch_unwind(AssertUnwindSafe(|| holds(before, &after)));
            match asked {
                Ok(true) => {}
                Ok(false) => return Ok(Some(Break::new(name, "it does not hold"))),
                Err(panic) => return Err(panicked(&*panic)),
            }
        }
        Ok(None)
    }

    fn snapshot(&self) -> Snapshot {
        let (header, image) = (Arc::clone(&self.live.head.header), self.live.image.clone());
        Snapshot::new(Arc::clone(&self.live.definition), header, image)
    }

    /// Takes the outcome of a step as the newest version.
    fn advance(&mut self, input: &Input, step: AdmittedStep) -> Result<()> {
        let (AdmittedStep { result: step_result, root, admission }, live) = (step, &mut self.live);
        let (header, ledger) =
            live.head.successor(input, &live.outcome(&step_result, root), &admission);
        if let Some(records) = &mut self.records {
            let version = Version::new(&header, input, &step_result, &admission, &live.globals);
            records.push(Record::Version(Box::new(version)));
        }
        if let Some(result) = result(&live.definition, &input.request, &step_result.effects)? {
            if self.results.len() == RESULTS_MAX {
                self.results.remove(0);
            }
            self.results.push(result);
        }
        live.advance(header, ledger, step_result);
        Ok(())
    }

    /// Puts a refusal on record, unless it is of a wake that was refused so before: whether it is
    /// new.
    fn refuse(&mut self, input: &Input, verdict: Verdict) -> bool {
        let head = &mut self.live.head;
        if let (Request::Cycle, Some(wake)) = (&input.request, head.header.wake) {
            let before = self.live.missed.take();
            let before = before.as_deref();
            let is_known = before.is_some_and(|missed| missed.known.as_ref() == Some(&verdict));
            let (at, now, cause) = (input.time, self.now, Cause::Refused(verdict.clone()));
            self.live.missed = Some(Box::new(Missed::again(before, wake, at, now, cause)));
            if is_known {
                return false;
            }
        }
        let refusal = head.refusal(input, verdict);
        head.record(&refusal);
        if let Some(records) = &mut self.records {
            records.push(Record::Refusal(Box::new(refusal)));
        }
        true
    }

    /// Ends the play. The record is verified, with every step run again.
    pub(super) fn finish(&self) -> Result<(), End> {
        let Some(records) = &self.records else { return Ok(()) };
        let (definition, runnable) = (&self.stage.definition, &self.stage.runnable);
        let base = Arc::clone(&runnable.base);
        let again = Some((Arc::clone(runnable), self.stage.catalog));
        let (stack, definition) = (self.stage.stack, Arc::clone(definition));
        let mut auditor = Auditor::new(stack, definition, base, Secret::new(DRAWN), again)?;
        let audited = records.iter().try_for_each(|record| match record {
            Record::Version(version) => auditor.commit(&version.commit(), &NoUpgrades),
            Record::Refusal(refusal) => auditor.refusal(refusal, &NoUpgrades),
        });
        match audited.and_then(|()| auditor.finish()) {
            Ok((verified, _)) if verified.head == self.live.head.hash => Ok(()),
            Ok((verified, _)) => Err(not_replayed(format!("it ends in {}", verified.head))),
            Err(error) => match error.kind() {
                ErrorKind::Replay { .. } | ErrorKind::Object(_) => {
                    Err(not_replayed(error.to_string()))
                }
                _ => Err(End::Failed(error)),
            },
        }
    }
}

fn not_replayed(detail: String) -> End {
    End::Broken(Box::new(Break::new(REPLAYS, detail)))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> End {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    End::Broken(Box::new(Break::new(NO_PANIC, text.unwrap_or_else(|| "it panics".to_string()))))
}

/// The library of lineages in which no upgrade can be.
struct NoUpgrades;

impl PartSource for NoUpgrades {
    fn definition(&self, (code, _): (CodeHash, PolicyHash)) -> Result<Arc<Definition>> {
        Err(missing("code", code))
    }

    fn base(&self, code: CodeHash) -> Result<Arc<BaseImage>> {
        Err(missing("base image of code", code))
    }

    fn runnable(&self, definition: &Definition) -> Result<Arc<Runnable>> {
        Err(missing("code", definition.code.hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::on_thread;

    /// Plays on an open counter that is recorded.
    fn play<T: Send>(see: impl FnOnce(&mut Play<'_, '_>) -> T + Send) -> T {
        let counter = crate::samples::COUNTER;
        let played = on_thread(|stack| {
            let catalog = Catalog::new(None).unwrap();
            let open = "@id(\"open\") permit(principal, action, resource);";
            let definition = catalog.define(stack, counter, open.into()).unwrap();
            let runnable =
                catalog.runnable(stack, &definition, 1 << 20, || Ok(counter.to_vec())).unwrap();
            let keys = [SigningKey::from_secret(&[1; 32])];
            let mut stage =
                Stage::new(stack, definition, runnable, &catalog, &keys, Vec::new(), &[]);
            let mut play = stage.begin(&[], true).unwrap().unwrap();
            see(&mut play)
        });
        played.unwrap()
    }

    fn increment(signers: &[usize]) -> Event {
        let (method, arguments) = ("increment".to_string(), vec![Value::U64(1)]);
        Event { what: What::Call { method, arguments }, signers: signers.to_vec() }
    }

    fn replay() -> Event {
        Event { what: What::Replay, signers: Vec::new() }
    }

    #[track_caller]
    fn check_broken(played: Result<(), End>, invariant: &str) {
        match played {
            Err(End::Broken(broken)) => assert_eq!(broken.invariant, invariant),
            Err(End::Failed(error)) => panic!("{error}"),
            Ok(()) => panic!("{invariant} is not broken"),
        }
    }

    #[test]
    fn an_input_that_was_admitted_is_refused_when_it_is_replayed() {
        play(|play| {
            assert!(play.event(&replay()).is_ok() && play.steps.is_empty(), "nothing was signed");
            assert!(play.event(&increment(&[0])).is_ok());
            assert!(play.event(&replay()).is_ok());
            assert!(play.steps[0].verdict.is_err(), "its nonce is used up");
        });
        play(|play| {
            assert!(play.event(&increment(&[0])).is_ok());
            // As if the object forgot the nonce.
            play.live.head.ledger = Arc::default();
            check_broken(play.event(&replay()), NO_REPLAY);
        });
    }

    #[test]
    fn what_is_on_record_must_be_what_the_code_does() {
        let finish = |change: fn(&mut Version)| {
            play(|play| {
                assert!(play.event(&increment(&[])).is_ok());
                let Some(Record::Version(version)) = play.records.as_mut().unwrap().last_mut()
                else {
                    panic!("a version is on record");
                };
                change(version);
                play.finish()
            })
        };
        assert!(finish(|_| {}).is_ok());
        check_broken(finish(|version| version.header.fuel += 1), REPLAYS);
        check_broken(finish(|version| version.header.seq += 1), REPLAYS);
    }
}
