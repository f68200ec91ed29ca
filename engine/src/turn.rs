//! A worker's turn with one object: its letters in order, each behind the wakes that were due
//! before it.
//!
//! A wake that is due at or before an input's time runs before the input, whether or not anybody
//! called it, so an object's history does not depend on how soon a timer fired. A wake that is
//! refused is on record once; it is tried again when the object has changed or someone asks.
//!
//! It does not know how a version is made.

use std::sync::Arc;

use object::input::{Input, Request};

use crate::commit::commit;
use crate::error::ErrorKind;
use crate::reply::Reply;
use crate::resident::{Letter, Live, Resident};
use crate::shared::Shared;
use crate::slots::Slots;

/// Letters, and wakes before them, that one turn takes before other objects have theirs.
const TURN_STEPS_MAX: usize = 64;

/// Works through an object's mail, and schedules it again when there is more.
pub(crate) fn turn(shared: &Shared, slots: &mut Slots, resident: Arc<Resident>) {
    let mut live = resident.live.lock();
    let mut steps = 0;
    while steps < TURN_STEPS_MAX {
        let Some(letter) = resident.take() else { break };
        let loaded = match &mut *live {
            Some(loaded) => Ok(loaded),
            None => shared.load(resident.id).map(|loaded| {
                resident.publish(&loaded);
                live.insert(loaded)
            }),
        };
        match loaded {
            Ok(live) => work(shared, slots, &resident, live, letter, &mut steps),
            Err(error) => {
                letter.into_reply().send(Err(error.about(resident.id)));
                shared.queue().end();
                steps += 1;
            }
        }
    }
    drop(live);
    if resident.end_turn() {
        shared.schedule(resident);
    } else {
        shared.make_room();
    }
}

/// Works through one letter, or puts it back when the wakes before it use up the turn.
fn work(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    letter: Letter,
    steps: &mut usize,
) {
    *steps += 1;
    while let Some((due, time)) = letter.wakes_by().and_then(|time| Some((due(live, time)?, time)))
    {
        if *steps > TURN_STEPS_MAX {
            return resident.put_back(letter);
        }
        *steps += 1;
        wake(shared, slots, resident, live, (due, time), Reply::none());
    }
    match letter {
        Letter::Input { mut input, reply } => {
            input.time = input.time.max(live.head.header.time);
            commit(shared, slots, resident, live, input, reply);
        }
        Letter::Wake { .. } => {}
        Letter::Advance { time, reply } => {
            live.missed_wake = None;
            match due(live, time) {
                Some(due) => wake(shared, slots, resident, live, (due, time), reply),
                None => {
                    let wake = live.head.header.wake;
                    reply.send(Err(ErrorKind::NotDue { wake }.into()));
                }
            }
        }
    }
    shared.queue().end();
}

/// The object's next wake, when it is due at `time` and was not missed already.
fn due(live: &Live, time: u64) -> Option<u64> {
    let wake = live.head.header.wake.filter(|&wake| wake <= time);
    wake.filter(|_| live.missed_wake != live.head.header.wake)
}

/// Runs the object's own cycle for the wake due at `due`, at the latest at `now`.
fn wake(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    (due, now): (u64, u64),
    reply: Reply,
) {
    let seq = live.head.header.seq;
    let time = shared.clock().wake_time(due, now).max(live.head.header.time);
    let input = Input { request: Request::Cycle, time, credential: None };
    commit(shared, slots, resident, live, input, reply);
    live.missed_wake = (live.head.header.seq == seq).then_some(due);
}
