//! A worker's turn with one object: its letters in order, each behind the wakes that were due
//! before it.
//!
//! A wake that is due at or before an input's time runs before the input, whether or not anybody
//! called it, so an object's history does not depend on how soon a timer fired. A wake that is
//! refused is on record once; it is tried again when the object has changed or someone asks. One
//! that fails is tried again a little later, and does not hold up what comes after it.
//!
//! It does not know how a version is made.
//!
//! Invariant: a turn does not panic. A letter over which one does is answered so, and the object is
//! loaded again for the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use object::input::{Input, Request};
use object::message::Message;
use storage::SentMessage;

use crate::commit::{Asked, commit};
use crate::error::{Error, ErrorKind, Result};
use crate::joint::{Joint, meet};
use crate::metrics::Count;
use crate::reply::Reply;
use crate::resident::{Letter, Live, Missed, Resident};
use crate::shared::{RETRY_MS, Shared};
use crate::slots::Slots;

/// Letters, and wakes before them, that one turn takes before other objects have theirs.
const TURN_STEPS_MAX: usize = 64;

/// Works through an object's mail, and schedules it again when there is more.
pub(crate) fn turn(shared: &Shared, slots: &mut Slots, resident: Arc<Resident>) {
    // The turn counts like a letter: nobody finds all quiet before what panicked is seen to.
    shared.queue().begin();
    let in_hand = shared.queue().in_hand();
    shared.metrics().count(Count::TurnsBegun);
    let mut joining = None;
    let work = AssertUnwindSafe(|| letters(shared, slots, &resident, &mut joining));
    if catch_unwind(work).is_err() {
        tracing::error!(object = %resident.id, "a turn panicked");
        shared.metrics().count(Count::Failures);
        *slots = Slots::default();
        *resident.live.lock() = None;
        let has_wake = resident.published().is_some_and(|newest| newest.header().wake.is_some());
        if has_wake || !shared.store().messages_to(resident.id).is_empty() {
            retry(shared, &resident);
        }
        joining.iter().for_each(|joint: &Arc<Joint>| joint.fail(ErrorKind::Panicked.into()));
    }
    match joining {
        Some(joint) => meet(shared, slots, &joint, resident),
        None if resident.leave(shared) => shared.queue().put_back(resident),
        None => {}
    }
    shared.metrics().count(Count::TurnsEnded);
    drop(in_hand);
}

/// Works through the mail, up to a transaction that the object has come to: `joining` then.
fn letters(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Arc<Resident>,
    joining: &mut Option<Arc<Joint>>,
) {
    let mut live = resident.live.lock();
    let mut steps = 0;
    while steps < TURN_STEPS_MAX {
        let Some(letter) = resident.take() else { break };
        let in_hand = shared.queue().in_hand();
        if let Letter::Join { joint, .. } = &letter {
            *joining = Some(Arc::clone(joint));
        }
        match loaded(shared, resident, &mut live) {
            Ok(live) => {
                let put_back = work(shared, slots, resident, live, letter, &mut steps);
                if let Some(letter) = put_back {
                    *joining = None;
                    if resident.put_back(letter) {
                        in_hand.put_back();
                    }
                }
            }
            Err(error) => {
                if letter.is_own() {
                    retry(shared, resident);
                }
                if !matches!(letter, Letter::Join { .. }) {
                    shared.metrics().count(Count::Failures);
                }
                letter.fail(error.about(resident.id));
                steps += 1;
            }
        }
        if joining.is_some() {
            return;
        }
    }
}

/// The object as its next step needs it.
pub(crate) fn loaded<'a>(
    shared: &Shared,
    resident: &Arc<Resident>,
    live: &'a mut Option<Live>,
) -> Result<&'a mut Live> {
    if live.as_ref().is_none_or(|live| live.stale) {
        *live = Some(shared.load(resident)?);
    }
    Ok(live.as_mut().expect("it was just made sure of"))
}

/// Has the timer try a wake again that was taken from it and came to nothing.
fn retry(shared: &Shared, resident: &Resident) {
    let retry = shared.clock().now().saturating_add(RETRY_MS);
    shared.timer().change(resident.id, None, Some(retry));
}

/// Works through one letter, or gives it back when the wakes before it use up the turn.
fn work(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    letter: Letter,
    steps: &mut usize,
) -> Option<Letter> {
    *steps += 1;
    while let Some((due, time)) = letter.wakes_by().and_then(|by| Some((live.due(by)?, by))) {
        if *steps > TURN_STEPS_MAX {
            return Some(letter);
        }
        *steps += 1;
        let ran = wake(shared, slots, resident, live, (due, time), Reply::none());
        if let Err(error) = ran
            && live.stale
        {
            match letter {
                // The wake itself is tried again.
                Letter::Wake { .. } => {}
                Letter::Mail { .. } => retry(shared, resident),
                letter => letter.fail(error),
            }
            return None;
        }
    }
    match letter {
        Letter::Input { mut input, reply } => {
            input.time = input.time.max(live.head.header.time);
            let asked = Asked { input: &input, message: None, reply };
            drop(commit(shared, slots, resident, live, asked));
        }
        // A transaction is run when all of its objects have come to it.
        Letter::Join { .. } => {}
        // A message that failed is tried again at such a wake.
        Letter::Wake { time } | Letter::Mail { time } => {
            return mail(shared, slots, resident, live, time, steps);
        }
        Letter::Advance { time, reply } => match live.head.header.wake {
            Some(due) if due <= time => {
                drop(wake(shared, slots, resident, live, (due, time), reply));
            }
            wake => reply.send(Err(ErrorKind::NotDue { wake }.into())),
        },
    }
    None
}

/// Delivers the messages that are on their way to the object, in their order; gives a letter back
/// when they use up the turn.
fn mail(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    time: u64,
    steps: &mut usize,
) -> Option<Letter> {
    loop {
        let messages = match shared.store().next_messages(resident.id) {
            Ok(messages) if messages.is_empty() => return None,
            Ok(messages) => messages,
            Err(error) => {
                shared.metrics().count(Count::Failures);
                return late(shared, resident, error.into());
            }
        };
        for message in messages {
            let now = shared.clock().now().max(time).max(message.time);
            // What was due before it was sent runs before it.
            if *steps > TURN_STEPS_MAX || message.time > time {
                return Some(Letter::Mail { time: now });
            }
            *steps += 1;
            if let Err(error) = deliver(shared, slots, resident, live, (message, time)) {
                return late(shared, resident, error);
            }
        }
    }
}

/// Has messages that could not be delivered wait for the timer.
fn late(shared: &Shared, resident: &Resident, error: Error) -> Option<Letter> {
    tracing::error!(object = %resident.id, %error, "messages are late");
    retry(shared, resident);
    None
}

/// Makes a version of a message, or a refusal.
fn deliver(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    (message, time): (SentMessage, u64),
) -> Result<()> {
    let SentMessage { id, origin, message: Message { method, arguments, .. }, .. } = message;
    let request = Request::Message { origin: Box::new(origin), method, arguments };
    let input = Input { request, time: time.max(live.head.header.time), credential: None };
    let asked = Asked { input: &input, message: Some(id), reply: Reply::none() };
    commit(shared, slots, resident, live, asked)
}

/// Runs the object's own cycle for the wake due at `due`, at the latest at `now`.
fn wake(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    (due, now): (u64, u64),
    reply: Reply,
) -> Result<()> {
    let (seq, armed) = (live.head.header.seq, live.armed());
    let time = shared.clock().wake_time(due, now).max(live.head.header.time);
    let input = Input { request: Request::Cycle, time, credential: None };
    let late = shared.clock().now().max(now).saturating_sub(due);
    shared.metrics().lateness(Duration::from_millis(late));
    let asked = Asked { input: &input, message: None, reply };
    let done = commit(shared, slots, resident, live, asked);
    let missed = live.head.header.seq == seq;
    let retry = done.is_err().then(|| shared.clock().now().max(now).saturating_add(RETRY_MS));
    shared.metrics().count(if missed { Count::WakesMissed } else { Count::WakesRun });
    live.missed = missed.then_some(Missed { wake: due, retry });
    if missed {
        shared.timer().change(live.head.id, armed, retry);
    }
    done
}
