//! Events of a database: an object gets a name or loses it, messages are sent or taken, an outbox
//! moves, the log lost something. They are about objects, but no part of one, so no capsule has
//! them.
//!
//! This module does not know what an event changes.
//!
//! Invariant: `read` reads back the bytes that `put` writes.

use object::codec::{Reader, Write};
use object::hash::ObjectId;

use crate::error::Result;
use crate::record::loss::RecordedLoss;
use crate::record::mark::OutboxMark;
use crate::record::message::{Sending, Taking};
use crate::record::name::Naming;
use crate::record::retention::Retention;

// The other numbers are those of the records of objects.
const NAME: u8 = 9;
const RETENTION: u8 = 10;
const SENT: u8 = 11;
const TAKEN: u8 = 12;
const OUTBOX: u8 = 13;
const LOSS: u8 = 14;
const MOVED: u8 = 15;

/// An event of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// An object gets a name, or loses it.
    Name(Naming<'a>),
    /// The amount of history that is kept of an object, or of those without a rule of their own.
    Retention(Option<ObjectId>, Retention),
    /// Messages of a version in the same frame are on their way.
    Sent(Sending),
    /// The outcome of a message, whose other record stands before it in the same frame; or that of
    /// a dead letter.
    Taken(Taking),
    /// The place of an outbox.
    Outbox(OutboxMark),
    /// The log had more before this.
    Loss(RecordedLoss),
    /// The end of an object here, as it continues elsewhere, or its return.
    Moved(ObjectId, bool),
}

impl<'a> Event<'a> {
    /// Returns the kind in the head of the event's record.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            Event::Name(..) => NAME,
            Event::Retention(..) => RETENTION,
            Event::Sent(_) => SENT,
            Event::Taken(_) => TAKEN,
            Event::Outbox(_) => OUTBOX,
            Event::Loss(_) => LOSS,
            Event::Moved(..) => MOVED,
        }
    }

    /// Appends the content of the event's record.
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        match self {
            Event::Name(naming) => naming.put(to),
            Event::Retention(object, rule) => {
                rule.put(to);
                to.put_option(object.map(|id| id.0));
            }
            Event::Sent(sending) => sending.put(to),
            Event::Taken(taking) => taking.put(to),
            Event::Outbox(mark) => mark.put(to),
            Event::Loss(loss) => loss.put(to),
            Event::Moved(object, moved) => {
                to.put(&object.0).put_u8(u8::from(*moved));
            }
        }
    }

    /// Reads the content of a record of this kind; none when the kind is not an event's.
    pub(crate) fn read(tag: u8, mut fields: Reader<'a>) -> Result<Option<Event<'a>>> {
        Ok(Some(match tag {
            NAME => Event::Name(Naming::read(fields)?),
            RETENTION => {
                let rule = Retention::read(&mut fields)?;
                let object = fields.option()?.map(ObjectId);
                fields.end()?;
                Event::Retention(object, rule)
            }
            SENT => Event::Sent(Sending::read(fields)?),
            TAKEN => Event::Taken(Taking::read(fields)?),
            OUTBOX => Event::Outbox(OutboxMark::read(fields)?),
            LOSS => Event::Loss(RecordedLoss::read(fields)?),
            MOVED => {
                let object = ObjectId(fields.array()?);
                let moved = fields.flag()?;
                fields.end()?;
                Event::Moved(object, moved)
            }
            _ => return Ok(None),
        }))
    }
}
