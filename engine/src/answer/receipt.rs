//! Receipts: the answers to an input, or a transaction, that is admitted.
//!
//! This module does not know how a receipt reaches the caller.
//!
//! Invariant: nobody gets the outputs of a version before it is durable.

use object::effects::Output;
use object::hash::{ObjectId, VersionHash};
use object::header::Header;
use object::message::Message;
use schema::Value;

use crate::answer::ticket::Ticket;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Count;

/// Proof that an input was admitted and, unless it was to be
/// [`Relaxed`](crate::Durability::Relaxed), that its version is durable.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The object.
    pub object: ObjectId,
    /// The version that the input made.
    pub version: VersionHash,
    /// The version's header.
    pub header: Header,
    /// The method's result, when it has one.
    pub result: Option<Value>,
    /// The ids of the rules that permitted it.
    pub rules: Vec<String>,
    /// Says when the version is durable: at once, unless the input was to be relaxed.
    pub ticket: Ticket,
    /// The messages that it sent, which are delivered in steps of their own.
    pub messages: Vec<Message>,
    pub(crate) outputs: Vec<Output>,
}

impl Receipt {
    /// The outputs, in the order of their emission. They are for the world, which does not forget,
    /// so there are none before the version is durable.
    ///
    /// # Errors
    ///
    /// [`NotDurable`](ErrorKind::NotDurable) as long as the ticket is open, and the ticket's own
    /// error: both only when the input was to be relaxed.
    pub fn outputs(&self) -> Result<&[Output]> {
        match self.ticket.outcome() {
            Some(outcome) => outcome.map(|()| &self.outputs[..]),
            None => Err(Error::from(ErrorKind::NotDurable).about(self.object)),
        }
    }
}

/// An answer to an input, or to several together.
pub(crate) trait Answered: Send + Sync + 'static {
    /// Counts it when it is refused, besides the refusal itself.
    const REFUSED: Option<Count>;
    /// Counts it when there is no verdict.
    const FAILED: Count;

    /// Sets the ticket of its version, which is not durable yet.
    fn hold(&mut self, ticket: Ticket);
}

impl Answered for Receipt {
    const REFUSED: Option<Count> = None;
    const FAILED: Count = Count::Failures;

    fn hold(&mut self, ticket: Ticket) {
        self.ticket = ticket;
    }
}

impl Answered for Vec<Receipt> {
    const REFUSED: Option<Count> = Some(Count::TransactionsRefused);
    const FAILED: Count = Count::TransactionsFailed;

    fn hold(&mut self, ticket: Ticket) {
        self.iter_mut().for_each(|receipt| receipt.ticket = ticket.clone());
    }
}
