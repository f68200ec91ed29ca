//! The projector: what an event does to the rows, and to the tables beside them, is written here
//! alone.
//!
//! ```text
//!   recovery:  events of the log ------------+
//!   the check: events of the log ------------+--> Projector::apply --> Rows, Tables
//!   an append: events of the frame it pushes +
//! ```
//!
//! The records of objects do not pass through here. What a version, a refusal or an adoption does
//! to a row is written once, too, in `row.rs`: `of_genesis`, `follow`, `refuse`, `adopted`. But an
//! append has to change the row before there is a record, since the record's notes follow from the
//! row; recovery takes the notes of a record as they are, so that it needs no tables of pages; and
//! the check derives the row and the notes from the records before, to compare them.
//!
//! This module does not know where rows are kept.

use object::hash::ObjectId;

use crate::error::Result;
use crate::error::position::Position;
use crate::record::event::Event;
use crate::record::loss::RecordedLoss;
use crate::record::mark::OutboxMark;
use crate::record::message::{Dead, Fate, MessageId, Sent, Taking};
use crate::record::name::NameRow;
use crate::record::retention::Retention;
use crate::rows::row::Row;

/// The rows of objects and the dead letters, which are looked up before they are changed.
pub(crate) trait Rows {
    /// The entries that belong to no row.
    type Tables: Tables;

    fn tables(&mut self) -> &mut Self::Tables;

    /// Changes the row of an object.
    fn change(&mut self, id: ObjectId, change: impl FnOnce(&mut Row)) -> Result<()>;

    /// Removes a dead letter and returns it; none when it is unknown, and that is no error.
    fn take_dead(&mut self, id: MessageId) -> Result<Option<Dead>>;
}

/// The entries that belong to no row.
pub(crate) trait Tables {
    /// Puts the row of a name.
    fn put_name(&mut self, name: &str, row: NameRow);

    /// Puts the rule of objects without one of their own.
    fn put_retention(&mut self, rule: Retention);

    /// Puts a message on its way.
    fn send(&mut self, id: MessageId, sent: Sent);

    /// Takes a message off its way, if it is there.
    fn take(&mut self, id: MessageId) -> Option<Sent>;

    fn put_dead(&mut self, id: MessageId, dead: Dead);

    /// Moves an outbox, or removes it.
    fn mark(&mut self, mark: OutboxMark);

    fn put_loss(&mut self, loss: RecordedLoss);
}

/// Applies the events of one frame, in order.
#[derive(Debug)]
pub(crate) struct Projector {
    frame: Position,
    /// Messages of the frame so far.
    message_count: u32,
}

impl Projector {
    /// Starts with the first event of the frame at this position.
    pub(crate) fn new(frame: Position) -> Projector {
        Projector { frame, message_count: 0 }
    }

    /// Changes the rows and tables as the next event says.
    pub(crate) fn apply(&mut self, event: Event<'_>, rows: &mut impl Rows) -> Result<()> {
        match event {
            Event::Name(naming) => {
                let name = naming.is_bound.then(|| naming.name.to_string());
                rows.change(naming.object, |row| row.name = name)?;
                rows.tables().put_name(&naming.name, naming.row(self.frame));
            }
            Event::Retention(None, rule) => rows.tables().put_retention(rule),
            Event::Retention(Some(id), rule) => {
                rows.change(id, |row| row.retention = Some(rule))?
            }
            Event::Sent(sending) => {
                let messages = sending.messages(self.frame, &mut self.message_count);
                messages.for_each(|(id, sent)| rows.tables().send(id, sent));
            }
            Event::Taken(taking) => taken(taking, rows)?,
            Event::Outbox(mark) => rows.tables().mark(mark),
            Event::Loss(loss) => {
                rows.tables().put_loss(RecordedLoss { position: self.frame, ..loss });
            }
            Event::Moved(id, moved) => rows.change(id, |row| row.moved = moved)?,
        }
        Ok(())
    }
}

fn taken(Taking { id, fate }: Taking, rows: &mut impl Rows) -> Result<()> {
    match fate {
        Fate::Delivered => {
            rows.tables().take(id);
        }
        Fate::Dead(why) => {
            if let Some(sent) = rows.tables().take(id) {
                rows.tables().put_dead(id, Dead { sent, why });
            }
        }
        Fate::Again => {
            if let Some(dead) = rows.take_dead(id)? {
                rows.tables().send(id, dead.sent);
            }
        }
        Fate::Dropped => {
            rows.take_dead(id)?;
        }
    }
    Ok(())
}
