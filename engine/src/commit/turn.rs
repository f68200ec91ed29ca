//! A worker's turn with one object: its letters in order, each behind the wakes that were due
//! before it.
//!
//! A wake that is due at or before an input's time runs before the input, whether or not anybody
//! called it, so an object's history does not depend on how soon a timer fired. A wake that is
//! refused, or fails, is tried again, at once when the object has changed or someone asks,
//! otherwise with growing pauses (`missed`); the same refusal is on record once. It does not hold
//! up later letters.
//!
//! The host's clock determines due wakes and the stamps of inputs, and a version's time is never
//! before its parent's: so an object may be ahead of the clock. One that is ahead beyond the
//! tolerance accepts only inputs that ask for it: its wakes and the messages to it wait until the
//! clock has come near.
//!
//! This module does not know how a version is made.
//!
//! Invariant: a turn does not panic. A letter over which a step panics is answered with that error,
//! and the object is loaded again for the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use object::hash::ObjectId;
use object::input::{Input, Request};
use object::message::Message;
use object::time::Time;
use storage::SentMessage;

use crate::answer::inline::Inline;
use crate::answer::reply::Reply;
use crate::commit::commit::{Turn, commit};
use crate::commit::post::{UNDELIVERED, is_gone};
use crate::commit::record::{Asked, fail};
use crate::commit::shared::Shared;
use crate::commit::transaction::arrive;
use crate::error::{Error, ErrorKind, Result};
use crate::head::live::Due;
use crate::head::missed::{Cause, Missed};
use crate::metrics::Count;
use crate::run::letter::Letter;
use crate::run::mailbox::Mail;
use crate::run::resident::Resident;
use crate::run::transaction::QueuedTransaction;
use crate::stack::DeepStack;
use crate::step::runner::Runner;
use crate::step::slots::Slots;

/// The letters, and wakes before them, that one turn takes before other objects get theirs.
const TURN_STEPS_MAX: usize = 64;

/// Works through an object's mail, and schedules it again when there is more.
pub(crate) fn turn(shared: &Shared, slots: &mut Slots, resident: Arc<Resident>, stack: DeepStack) {
    let mut runner = shared.library.runner(slots, stack);
    // The turn counts like a letter: nobody sees none in flight before a panic is handled.
    shared.post.queue.begin();
    let taken = shared.post.queue.taken();
    shared.metrics.count(Count::TurnsBegun);
    let mut reached = None;
    let work = AssertUnwindSafe(|| letters(shared, &mut runner, &resident, &mut reached));
    if catch_unwind(work).is_err() {
        tracing::error!(object = %resident.id, "a turn panicked");
        shared.metrics.count(Count::Failures);
        *runner.slots = Slots::default();
        *resident.live.lock() = None;
        let has_wake = resident.published().is_some_and(|newest| newest.header().wake.is_some());
        if has_wake || !shared.library.store.messages_to(resident.id).is_empty() {
            shared.post.retry(resident.id);
        }
        reached.iter().for_each(|transaction: &Arc<QueuedTransaction>| {
            transaction.fail(ErrorKind::Panicked.into())
        });
    }
    match reached {
        // It stays scheduled, and in memory, until the last one has come.
        Some(transaction) => {
            drop(resident);
            arrive(shared, &mut runner, &transaction);
        }
        None if resident.leave() => shared.post.queue.put_back(resident),
        None => shared.residents.make_room(&shared.metrics),
    }
    shared.metrics.count(Count::TurnsEnded);
    drop(taken);
}

/// Without workers: gives the object at `place` of the run queue its turn; does nothing otherwise.
/// Never called in a turn.
pub(crate) fn work_at(shared: &Shared, place: usize) -> Option<ObjectId> {
    shared.post.queue.work(place, |slots, resident, stack| turn(shared, slots, resident, stack))
}

/// Waits until no letter is under way; without workers it is this thread that works.
pub(crate) fn drain(shared: &Shared) {
    loop {
        while work_at(shared, 0).is_some() {}
        if shared.post.queue.drain() {
            return;
        }
    }
}

impl Inline for Shared {
    fn run_due(&self) {
        Shared::run_due(self);
    }

    fn work(&self) -> bool {
        work_at(self, 0).is_some()
    }

    fn sync(&self) -> Result<()> {
        Ok(self.library.store.sync()?)
    }
}

/// Works through the mail, up to a transaction that the object reaches; then `reached` is that
/// transaction.
fn letters(
    shared: &Shared,
    runner: &mut Runner<'_>,
    resident: &Arc<Resident>,
    reached: &mut Option<Arc<QueuedTransaction>>,
) {
    let mut live = resident.live.lock();
    let mut steps = 0;
    while steps < TURN_STEPS_MAX {
        // 1: take the next letter; the wakes that were due before it run before it.
        let Some(letter) = resident.take() else { break };
        let taken = shared.post.queue.taken();
        if let Letter::Transaction { transaction, .. } = &letter {
            *reached = Some(Arc::clone(transaction));
        }
        match shared.loaded(runner.stack, resident, &mut live) {
            Ok(live) => {
                let (runner, steps) = (runner.reborrow(), &mut steps);
                let put_back = Turn { shared, runner, resident, live, steps }.work(letter);
                if let Some(letter) = put_back {
                    *reached = None;
                    if resident.put_back(letter) {
                        taken.put_back();
                    }
                }
            }
            Err(error) => {
                if letter.is_own() {
                    match is_gone(&error) {
                        true => shared.post.mark_dead(resident.id, &error),
                        false => shared.post.retry(resident.id),
                    }
                }
                if !matches!(letter, Letter::Transaction { .. }) {
                    shared.metrics.count(Count::Failures);
                }
                letter.fail(error.about(resident.id));
                steps += 1;
            }
        }
        if reached.is_some() {
            return;
        }
    }
}

impl Turn<'_> {
    /// Has messages that could not be delivered wait for the timer.
    fn late(&self, error: Error) -> Option<Letter> {
        tracing::error!(object = %self.resident.id, %error, "{UNDELIVERED}");
        self.shared.post.retry(self.resident.id);
        None
    }

    /// Works through one letter, or gives it back when the wakes before it use up the turn.
    fn work(&mut self, letter: Letter) -> Option<Letter> {
        *self.steps += 1;
        if let Some(by) = self.shared.ahead(self.live.head.header.time) {
            if !letter.accepts_ahead(self.resident.id) {
                self.hold(letter, by);
                return None;
            }
            self.accept_ahead();
        }
        while let Some((due, time)) =
            letter.wakes_by().and_then(|by| Some((self.live.due(by)?, by)))
        {
            if *self.steps > TURN_STEPS_MAX {
                return Some(letter);
            }
            *self.steps += 1;
            let ran = self.run_cycle(due, time, None);
            if let Err(error) = ran
                && self.live.stale
            {
                match letter {
                    // The wake itself is tried again.
                    Letter::Wake { .. } => {}
                    Letter::Mail { .. } => self.shared.post.retry(self.resident.id),
                    letter => letter.fail(error),
                }
                return None;
            }
        }
        match letter {
            Letter::Input { mut input, reply, .. } => {
                input.time = input.time.max(self.live.head.header.time);
                drop(commit(self, Asked::new(&input, reply)));
            }
            // A transaction is run when all of its objects have reached it.
            Letter::Transaction { .. } => {}
            // A failed message is tried again at such a wake.
            Letter::Wake { time } | Letter::Mail { time } => {
                return self.mail(time);
            }
            Letter::Cycle { time, reply } => match self.live.head.header.wake {
                Some(wake) if wake <= time => {
                    let at = if self.live.missed(wake).is_some() { time } else { wake };
                    drop(self.run_cycle(Due { wake, at }, time, Some(reply)));
                }
                wake => reply.send(Err(ErrorKind::NotDue { wake }.into())),
            },
        }
        None
    }

    /// Runs a held wake before an input that is accepted although the object is ahead of the clock.
    fn accept_ahead(&mut self) {
        let Turn { shared, live, .. } = self;
        let armed = live.armed();
        if live.accept_ahead() {
            shared.library.overdue.remove(live.head.id);
            shared.post.timer.change(live.head.id, armed, live.armed());
        }
    }

    /// Refuses a letter to an object that is ahead of the clock by `by`, or makes it wait until the
    /// clock has come near.
    fn hold(&mut self, letter: Letter, by: Duration) {
        let Turn { shared, live, .. } = &mut *self;
        let id = live.head.id;
        let until = shared.tolerated_from(live.head.header.time);
        let error = || shared.is_ahead(by).about(id);
        match letter {
            Letter::Input { reply, .. } => drop(fail(&shared.metrics, reply, error())),
            Letter::Cycle { time, reply } => match live.head.header.wake {
                Some(wake) if wake <= time => drop(fail(&shared.metrics, reply, error())),
                wake => reply.send(Err(ErrorKind::NotDue { wake }.into())),
            },
            // It is answered when all of its objects have reached it.
            Letter::Transaction { transaction, .. } => transaction.fail(error()),
            Letter::Wake { time } | Letter::Mail { time } => {
                if let Some(Due { wake, .. }) = live.due(time) {
                    if live.missed(wake).is_none() {
                        shared.metrics.count(Count::WakesMissed);
                    }
                    let (armed, missed) =
                        (live.armed(), Missed::ahead(live.missed(wake), wake, by, until));
                    self.miss(missed, armed);
                }
                if !self.shared.library.store.messages_to(id).is_empty() {
                    self.shared.post.timer.change(id, None, Some(until));
                }
            }
        }
    }

    /// Delivers the messages that are on their way to the object, in their order; returns a letter
    /// back when they use up the turn.
    fn mail(&mut self, time: Time) -> Option<Letter> {
        let (shared, resident) = (self.shared, self.resident);
        loop {
            let messages = match shared.library.store.next_messages(resident.id) {
                Ok(messages) if messages.is_empty() => return None,
                Ok(messages) => messages,
                Err(error) => {
                    shared.metrics.count(Count::Failures);
                    return self.late(error.into());
                }
            };
            for message in messages {
                let now = shared.options.clock.now().max(time);
                // Wakes that were due before it was sent run before it, if it was sent by this
                // clock: no other clock determines due wakes.
                let is_later = message.time > time && message.time <= now;
                if *self.steps > TURN_STEPS_MAX || is_later {
                    return Some(Letter::Mail { time: now });
                }
                *self.steps += 1;
                if let Err(error) = self.deliver(message, time) {
                    return self.late(error);
                }
            }
        }
    }

    /// Makes a version of a message, or a refusal.
    fn deliver(&mut self, message: SentMessage, time: Time) -> Result<()> {
        let SentMessage { id, origin, message: Message { method, arguments, .. }, .. } = message;
        let request = Request::Message { origin: Box::new(origin), method, arguments };
        let input = Input { request, time: time.max(self.live.head.header.time), credential: None };
        let asked = Asked { message: Some(id), ..Asked::new(&input, Reply::none()) };
        commit(self, asked).map(drop)
    }

    /// Runs the object's own cycle for a wake that is due, at the latest at `now`. A caller
    /// may have asked for it: then a refusal is on record, and the next try stays at its time.
    fn run_cycle(&mut self, due: Due, now: Time, asked: Option<Reply>) -> Result<()> {
        let (Due { wake, at }, shared, live) = (due, self.shared, &*self.live);
        let (seq, armed, before) = (live.head.header.seq, live.armed(), live.missed.clone());
        let before = before.as_deref().filter(|missed| missed.wake == wake);
        let time = shared.options.clock.wake_time(at, now).max(live.head.header.time);
        let input = Input { request: Request::Cycle, time, credential: None };
        match before {
            Some(_) => shared.metrics.count(Count::WakesRetried),
            None => {
                let begun = shared.options.clock.now().max(now);
                shared.metrics.lateness(begun.saturating_duration_since(wake));
            }
        }
        let known = before.and_then(|missed| missed.known.as_ref()).filter(|_| asked.is_none());
        let keeps_pause = asked.is_some() && before.is_some();
        let asked = Asked { known, ..Asked::new(&input, asked.unwrap_or_else(Reply::none)) };
        let done = commit(self, asked);
        assert!(self.live.head.header.seq <= seq + 1, "a wake makes one version at most");
        if self.live.head.header.seq > seq {
            shared.metrics.count(Count::WakesRun);
            return done.map(drop);
        }
        if before.is_none() {
            shared.metrics.count(Count::WakesMissed);
        }
        let cause = match &done {
            Ok(Some(verdict)) => Cause::Refused(verdict.clone()),
            Ok(None) => unreachable!("what is admitted makes a version"),
            Err(error) => Cause::Failed(error.to_string()),
        };
        let now = shared.options.clock.now().max(time);
        let missed = match before.filter(|_| keeps_pause) {
            Some(before) => Missed::asked(before, cause),
            None => Missed::again(before, wake, time, now, cause),
        };
        self.miss(missed, armed);
        done.map(drop)
    }

    /// Takes in that the head's wake was missed, which the timer knew as `armed`.
    fn miss(&mut self, missed: Missed, armed: Option<Time>) {
        let Turn { shared, live, .. } = self;
        shared.library.overdue.put(live.head.id, missed.clone());
        live.miss(missed);
        shared.post.timer.change(live.head.id, armed, live.armed());
    }
}
