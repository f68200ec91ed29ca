//! The answer to an input: a receipt once its version is durable, to be waited for by a thread or
//! awaited by a future, on any runtime.
//!
//! It does not know what it answers. An input whose database goes away is answered with `Closed`,
//! one that a worker panicked over with `Panicked`. What nobody waits for is logged if it failed.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use object::effects::Output;
use object::hash::{ObjectId, VersionHash};
use object::header::Header;
use object::schema::Value;

use crate::error::{ErrorKind, Result};

/// Proof that an input was admitted and that its version is durable.
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
    /// The outputs, in the order of their emission.
    pub outputs: Vec<Output>,
    /// The ids of the rules that permitted it.
    pub rules: Vec<String>,
}

/// A receipt to come. Dropping it does not take the input back.
#[derive(Debug)]
#[must_use = "an input that is not waited for may still be refused"]
pub struct Pending(oneshot::Receiver<Result<Receipt>>);

/// The future of a [`Pending`].
#[derive(Debug)]
pub struct Answer(oneshot::AsyncReceiver<Result<Receipt>>);

/// Where the answer goes.
#[derive(Debug)]
pub(crate) struct Reply(Option<oneshot::Sender<Result<Receipt>>>);

/// A reply and the receipt that it will be.
pub(crate) fn channel() -> (Reply, Pending) {
    let (sender, receiver) = oneshot::channel();
    (Reply(Some(sender)), Pending(receiver))
}

impl Reply {
    /// An answer that nobody waits for.
    pub(crate) fn none() -> Reply {
        Reply(None)
    }

    pub(crate) fn send(mut self, answer: Result<Receipt>) {
        match (self.0.take(), answer) {
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
        if let Some(sender) = self.0.take().filter(|_| std::thread::panicking()) {
            drop(sender.send(Err(ErrorKind::Panicked.into())));
        }
    }
}

impl Pending {
    /// Blocks the thread until the version is durable or the input refused.
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
