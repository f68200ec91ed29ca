//! The answer to an input, to be waited for by a thread or awaited by a future, on any runtime: a
//! receipt, once its version is durable or, if that was asked for, before.
//!
//! It does not know what it answers. An input whose database goes away is answered with `Closed`,
//! one that a worker panicked over with `Panicked`. What nobody waits for is logged if it failed.
//!
//! Invariant: an answer to an input that asked for durability is sent by [`Late`] only, and nobody
//! gets the outputs of a version before it is durable.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use object::effects::Output;
use object::hash::{ObjectId, VersionHash};
use object::header::Header;
use object::schema::Value;

use crate::error::{ErrorKind, Result};
use crate::ticket::{Durability, Promise, Ticket};

/// Proof that an input was admitted and, unless it was to be [`Relaxed`](Durability::Relaxed), that
/// its version is durable.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The object.
    pub object: ObjectId,
    /// The version that the input made.
    pub version: VersionHash,
    /// Its header.
    pub header: Header,
    /// The method's result, when it has one.
    pub result: Option<Value>,
    /// The ids of the rules that permitted it.
    pub rules: Vec<String>,
    /// Says when the version is durable: at once, unless the input was to be relaxed.
    pub ticket: Ticket,
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
            None => Err(crate::Error::from(ErrorKind::NotDurable).about(self.object)),
        }
    }
}

/// A receipt to come. Dropping it does not take the input back.
#[derive(Debug)]
#[must_use = "an input that is not waited for may still be refused"]
pub struct Pending(oneshot::Receiver<Result<Receipt>>);

/// The future of a [`Pending`].
#[derive(Debug)]
pub struct Answer(oneshot::AsyncReceiver<Result<Receipt>>);

/// Where the answer goes, and when.
#[derive(Debug)]
pub(crate) struct Reply {
    sender: Option<oneshot::Sender<Result<Receipt>>>,
    durability: Durability,
}

/// A reply and the receipt that it will be.
pub(crate) fn channel(durability: Durability) -> (Reply, Pending) {
    let (sender, receiver) = oneshot::channel();
    (Reply { sender: Some(sender), durability }, Pending(receiver))
}

/// What happens to a reply when the append has its place in the log.
#[derive(Debug)]
#[must_use]
pub(crate) struct Early(Option<(Reply, Result<Receipt>)>);

/// What happens to a reply when the append is durable, or never will be.
#[derive(Debug)]
#[must_use]
pub(crate) struct Late {
    reply: Option<(Reply, Result<Receipt>)>,
    promise: Option<Promise>,
}

impl Early {
    /// The append has its place, or failed.
    pub(crate) fn send(self, appended: Result<()>) {
        if let Some((reply, answer)) = self.0 {
            reply.send(appended.and(answer));
        }
    }
}

impl Late {
    /// The append is durable, or never will be.
    pub(crate) fn send(self, durable: Result<()>) {
        if let Some((reply, answer)) = self.reply {
            reply.send(durable.and(answer));
        } else if let Some(promise) = self.promise {
            promise.settle(durable);
        }
    }
}

impl Reply {
    /// An answer that nobody waits for.
    pub(crate) fn none() -> Reply {
        Reply { sender: None, durability: Durability::Durable }
    }

    /// Splits `answer`, which an append puts on record, into what is sent when.
    pub(crate) fn on_record(self, mut answer: Result<Receipt>) -> (Early, Late) {
        match self.durability {
            Durability::Durable => {
                (Early(None), Late { reply: Some((self, answer)), promise: None })
            }
            Durability::Relaxed => {
                let promise = answer.as_mut().ok().map(|receipt| {
                    let (promise, ticket) = Promise::new();
                    receipt.ticket = ticket;
                    promise
                });
                (Early(Some((self, answer))), Late { reply: None, promise })
            }
        }
    }

    pub(crate) fn send(mut self, answer: Result<Receipt>) {
        match (self.sender.take(), answer) {
            // Whoever asked may have stopped waiting.
            (Some(sender), answer) => drop(sender.send(answer)),
            // A refusal is a verdict, and on record.
            (None, Err(error)) if error.refusal().is_none() => {
                tracing::error!(%error, "own cycle");
            }
            (None, _) => {}
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|_| std::thread::panicking()) {
            drop(sender.send(Err(ErrorKind::Panicked.into())));
        }
    }
}

impl Pending {
    /// Blocks the thread until the version is durable, or relaxed, or the input refused.
    ///
    /// # Errors
    ///
    /// [`Refused`](ErrorKind::Refused) with the verdict; [`Closed`](ErrorKind::Closed) when the
    /// database went away first; and what kept the engine from giving a verdict.
    pub fn wait(self) -> Result<Receipt> {
        self.0.recv().unwrap_or_else(|_| Err(ErrorKind::Closed.into()))
    }
}

impl IntoFuture for Pending {
    type Output = Result<Receipt>;
    type IntoFuture = Answer;

    fn into_future(self) -> Answer {
        Answer(self.0.into_future())
    }
}

impl Future for Answer {
    type Output = Result<Receipt>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = Pin::new(&mut self.0).poll(context);
        answer.map(|answer| answer.unwrap_or_else(|_| Err(ErrorKind::Closed.into())))
    }
}
