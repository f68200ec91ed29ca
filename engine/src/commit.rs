//! The commit path: one input, from the mailbox to a version that is on its way to the disk.
//!
//! Anything that fails before the append leaves no trace but a refusal. Nothing here waits for the
//! disk: the reply is released by the log when the version is durable.
//!
//! It does not know threads or queues. It holds the only code that appends versions.

use std::sync::Arc;

use object::admission::{Step, admit, authenticate};
use object::credential::PublicKey;
use object::effects::{Admission, encode_globals};
use object::hash::VersionHash;
use object::header::{Header, Kind};
use object::input::Input;
use object::refusal::Verdict;
use object::schema::decode_value;
use storage::Append;

use crate::error::{Error, ErrorKind, Result};
use crate::reply::{Receipt, Reply};
use crate::resident::{Live, Resident};
use crate::shared::Shared;
use crate::slots::Slots;
use crate::step::{Ran, Stop, run};

/// Makes the next version of an object of `input`, or puts its refusal on record.
pub(crate) fn commit(
    shared: &Shared,
    slots: &mut Slots,
    resident: &Resident,
    live: &mut Live,
    input: Input,
    reply: Reply,
) {
    match step(slots, live, &input) {
        Ok((ran, admission)) => append(shared, resident, live, &input, ran, admission, reply),
        Err(Stop::Refused(verdict)) => refuse(shared, live, &input, verdict, reply),
        Err(Stop::Failed(error)) => reply.send(Err(error.about(live.head.id))),
    }
}

/// Verifies who asks, runs the step, and has it admitted. Changes nothing but the slot, which
/// holds the memory of the version to be or, after an error, that of the head.
fn step(slots: &mut Slots, live: &Live, input: &Input) -> Result<(Ran, Admission), Stop> {
    let signers: Vec<PublicKey> = authenticate(&live.head, input).map_err(Stop::Refused)?;
    let hash = live.definition.code.hash;
    let loaded = slots.load(hash, &live.code, &live.image)?;
    let ran = run(loaded, &live.definition, &live.image, &live.globals, input)?;
    let step = Step {
        input,
        before: &live.image,
        after: &ran.image,
        effects: &ran.effects,
        fuel: ran.fuel,
        page_count: ran.changed.len() as u32,
    };
    match admit(&live.definition, &live.head, signers, step) {
        Ok(admission) => {
            // A direct write leaves the slot alone: it still holds the image from before.
            if input.request.kind() != Kind::Write {
                loaded.accept(&ran.image);
            }
            Ok((ran, admission))
        }
        Err(verdict) => {
            loaded.reject()?;
            Err(Stop::Refused(verdict))
        }
    }
}

/// Appends the version to the log, publishes it to readers, and leaves the reply to the log.
fn append(
    shared: &Shared,
    resident: &Resident,
    live: &mut Live,
    input: &Input,
    ran: Ran,
    admission: Admission,
    reply: Reply,
) {
    let dirty: Vec<u32> = ran.changed.clone();
    live.tree.update(&ran.image, &dirty);
    let (header, nonces) = live.head.successor(input, &ran.outcome(&live.tree), &admission);
    let receipt = receipt(live, &header, &ran, &admission);
    let frame = frame(live, &header, input, &ran, &admission, &nonces);
    let appended = shared.store().append(frame, move |durable| {
        reply.send(durable.map(|()| receipt).map_err(Error::from));
    });
    if appended.is_err() {
        // The log is poisoned: it answered the reply, and nothing more is made until reopening.
        return;
    }
    live.head.advance(header, nonces);
    live.image = ran.image;
    live.globals = ran.globals;
    resident.publish(live);
    if let Some(wake) = live.head.header.wake {
        shared.timer().insert(wake, live.head.id);
    }
}
