//! The answer to an input, to be waited for by a thread or awaited by a future, on any runtime: a
//! receipt, once its version is durable or, if that was asked for, before.
//!
//! It does not know what it answers. An input whose database goes away is answered with `Closed`,
//! one that a worker panicked over with `Panicked`. What nobody waits for is logged if it failed.
//!
//! Invariant: an answer to an input that asked for durability is sent when what it tells of is
//! durable and in memory, whichever comes last, and nobody gets the outputs of a version before it
//! is durable.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use object::effects::Output;
use object::hash::{ObjectId, VersionHash};
use object::header::Header;
use object::schema::Value;

use crate::error::{Error, ErrorKind, Result};
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
            None => Err(Error::from(ErrorKind::NotDurable).about(self.object)),
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

/// An answer to what an append puts on record, sent when all who hold it have let it go.
#[derive(Debug)]
struct Held {
    reply: Reply,
    answer: Result<Receipt>,
    /// What became of the append, as far as the caller waits for that.
    outcome: OnceLock<Result<()>>,
}

/// What happens to a reply when the append is in memory, where the object's readers see it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Early(Arc<Held>);

/// What happens to a reply when the append is durable, or never will be.
#[derive(Debug)]
#[must_use]
pub(crate) struct Late {
    held: Option<Arc<Held>>,
    promise: Option<Promise>,
}

impl Held {
    fn let_go(self: Arc<Held>) {
        if let Some(Held { reply, answer, outcome }) = Arc::into_inner(self)
            && let Some(outcome) = outcome.into_inner()
        {
            reply.send(outcome.and(answer));
        }
    }
}

impl Early {
    /// The append is in memory, or failed.
    pub(crate) fn send(self, appended: Result<()>) {
        if self.0.reply.durability == Durability::Relaxed {
            self.0.outcome.get_or_init(|| appended);
        }
        self.0.let_go();
    }
}

impl Late {
    /// The append is durable, or never will be.
    pub(crate) fn send(self, durable: Result<()>) {
        if let Some(held) = self.held {
            held.outcome.get_or_init(|| durable);
            held.let_go();
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
        let is_durable = self.durability == Durability::Durable;
        let promise = answer.as_mut().ok().filter(|_| !is_durable).map(|receipt| {
            let (promise, ticket) = Promise::new();
            receipt.ticket = ticket;
            promise
        });
        let held = Arc::new(Held { reply: self, answer, outcome: OnceLock::new() });
        let late = Late { held: is_durable.then(|| Arc::clone(&held)), promise };
        (Early(held), late)
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
    /// What has failed already.
    pub(crate) fn failed(error: Error) -> Pending {
        let (reply, pending) = channel(Durability::Durable);
        reply.send(Err(error));
        pending
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<Receipt> {
        Err(ErrorKind::NoObject.into())
    }

    fn is_there(pending: &Pending) -> bool {
        match pending.0.try_recv() {
            Ok(answer) => {
                assert!(matches!(answer.unwrap_err().kind(), ErrorKind::NoObject));
                true
            }
            Err(error) => {
                assert_eq!(error, oneshot::TryRecvError::Empty);
                false
            }
        }
    }

    /// The log was faster than the publication once, and the caller saw the version before.
    #[test]
    fn a_durable_answer_comes_when_it_is_both_durable_and_in_memory() {
        let (reply, pending) = channel(Durability::Durable);
        let (early, late) = reply.on_record(refused());
        late.send(Ok(()));
        assert!(!is_there(&pending));
        early.send(Ok(()));
        assert!(is_there(&pending));

        let (reply, pending) = channel(Durability::Durable);
        let (early, late) = reply.on_record(refused());
        early.send(Ok(()));
        assert!(!is_there(&pending));
        late.send(Ok(()));
        assert!(is_there(&pending));
    }

    #[test]
    fn an_answer_whose_log_is_gone_is_closed() {
        let (reply, pending) = channel(Durability::Durable);
        let (early, late) = reply.on_record(refused());
        drop(late);
        early.send(Ok(()));
        assert!(matches!(pending.wait().unwrap_err().kind(), ErrorKind::Closed));
    }
}
