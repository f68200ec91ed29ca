//! Replies: the answer to an input, which a thread waits for or a future awaits, on any runtime. It
//! is a receipt, once its version is durable or, for a relaxed call, before.
//!
//! The waiting thread may have to do the work. This module does not know the content of answers. An
//! input whose database goes away is answered with `Closed`, one over which a worker panicked with
//! `Panicked`. A failure that nobody waits for is logged.
//!
//! Invariant: the answer to a durable input is sent when its version is both durable and in memory.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use crate::answer::inline::InlineWork;
use crate::answer::receipt::{Answered, Receipt};
use crate::answer::ticket::{Durability, Promise};
use crate::error::{Error, ErrorKind, Result};

/// A receipt to come, or those of a transaction. Dropping it does not take the input back.
#[derive(Debug)]
#[must_use = "an input that is not waited for may still be refused"]
pub struct Pending<T = Receipt> {
    answer: oneshot::Receiver<Result<T>>,
    inline: InlineWork,
}

/// The future of a [`Pending`].
#[derive(Debug)]
pub struct Answer<T = Receipt> {
    answer: oneshot::AsyncReceiver<Result<T>>,
    inline: InlineWork,
}

/// The sender of an answer, with its durability.
#[derive(Debug)]
pub(crate) struct Reply<T = Receipt> {
    sender: Option<oneshot::Sender<Result<T>>>,
    durability: Durability,
    posted: Instant,
    inline: InlineWork,
}

/// A reply and the receipt that it will be.
pub(crate) fn channel<T>(durability: Durability, inline: InlineWork) -> (Reply<T>, Pending<T>) {
    let (sender, answer) = oneshot::channel();
    let (sender, posted, of_reply) = (Some(sender), Instant::now(), inline.clone());
    (Reply { sender, durability, posted, inline: of_reply }, Pending { answer, inline })
}

/// An answer that an append puts on record, sent when both halves have been dropped.
#[derive(Debug)]
struct RecordedAnswer<T> {
    reply: Reply<T>,
    answer: Result<T>,
    /// The outcome of the append, as far as the caller waits for it.
    outcome: OnceLock<Result<()>>,
}

/// The half of a reply that runs when the append is in memory, where the object's readers see it.
#[derive(Debug)]
#[must_use]
pub(crate) struct Early<T = Receipt>(Arc<RecordedAnswer<T>>);

/// The half of a reply that runs when the append is durable, or never will be.
#[derive(Debug)]
#[must_use]
pub(crate) struct Late<T = Receipt> {
    held: Option<Arc<RecordedAnswer<T>>>,
    promise: Option<Promise>,
}

impl<T> RecordedAnswer<T> {
    fn let_go(self: Arc<RecordedAnswer<T>>) {
        if let Some(RecordedAnswer { reply, answer, outcome }) = Arc::into_inner(self)
            && let Some(outcome) = outcome.into_inner()
        {
            reply.send(outcome.and(answer));
        }
    }
}

impl<T> Early<T> {
    /// The append is in memory, or failed.
    pub(crate) fn send(self, appended: Result<()>) {
        if self.0.reply.durability == Durability::Relaxed {
            self.0.outcome.get_or_init(|| appended);
        }
        self.0.let_go();
    }
}

impl<T> Late<T> {
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
        let (durability, inline) = Default::default();
        Reply { sender: None, durability, posted: Instant::now(), inline }
    }
}

impl<T> Reply<T> {
    /// Returns when the input was posted; for an own cycle or a message, when it began.
    pub(crate) fn posted(&self) -> Instant {
        self.posted
    }

    /// Splits `answer`, which an append puts on record, into its early and its late half.
    pub(crate) fn on_record(self, mut answer: Result<T>) -> (Early<T>, Late<T>)
    where
        T: Answered,
    {
        let is_durable = self.durability == Durability::Durable;
        let promise = answer.as_mut().ok().filter(|_| !is_durable).map(|answer| {
            let (promise, ticket) = Promise::new(self.inline.clone());
            answer.hold(ticket);
            promise
        });
        let held = Arc::new(RecordedAnswer { reply: self, answer, outcome: OnceLock::new() });
        let late = Late { held: is_durable.then(|| Arc::clone(&held)), promise };
        (Early(held), late)
    }

    pub(crate) fn send(mut self, answer: Result<T>) {
        match (self.sender.take(), answer) {
            // The caller may have stopped waiting.
            (Some(sender), answer) => drop(sender.send(answer)),
            // A refusal is a verdict, and on record.
            (None, Err(error)) if error.refusal().is_none() => {
                tracing::error!(%error, "own cycle");
            }
            (None, _) => {}
        }
    }
}

impl<T> Drop for Reply<T> {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take().filter(|_| std::thread::panicking()) {
            drop(sender.send(Err(ErrorKind::Panicked.into())));
        }
    }
}

impl<T> Pending<T> {
    /// Returns a reply that has failed already.
    pub(crate) fn failed(error: Error) -> Pending<T> {
        let (reply, pending) = channel(Durability::Durable, InlineWork::default());
        reply.send(Err(error));
        pending
    }

    /// Returns whether the answer is there, so that [`wait`](Pending::wait) returns at once. It
    /// does no work.
    pub fn is_answered(&self) -> bool {
        self.answer.has_message() || self.answer.is_closed()
    }

    /// Blocks the thread until the version is durable, or in memory if relaxed, or the input
    /// refused. The thread does the work meanwhile, when the database has no
    /// [workers](crate::Options::workers).
    ///
    /// # Errors
    ///
    /// [`Refused`](ErrorKind::Refused) with the verdict; [`Closed`](ErrorKind::Closed) when the
    /// database went away first; and failures that kept the engine from a verdict.
    pub fn wait(self) -> Result<T> {
        self.inline.work_until(|| self.answer.has_message());
        self.answer.recv().unwrap_or_else(|_| Err(ErrorKind::Closed.into()))
    }
}

impl<T> IntoFuture for Pending<T> {
    type Output = Result<T>;
    type IntoFuture = Answer<T>;

    fn into_future(self) -> Answer<T> {
        Answer { answer: self.answer.into_future(), inline: self.inline }
    }
}

impl<T> Future for Answer<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inline.work_until(|| self.answer.has_message());
        let answer = Pin::new(&mut self.answer).poll(context);
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
        match pending.answer.try_recv() {
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
        let (reply, pending) = channel(Durability::Durable, InlineWork::default());
        let (early, late) = reply.on_record(refused());
        late.send(Ok(()));
        assert!(!is_there(&pending));
        early.send(Ok(()));
        assert!(is_there(&pending));

        let (reply, pending) = channel(Durability::Durable, InlineWork::default());
        let (early, late) = reply.on_record(refused());
        early.send(Ok(()));
        assert!(!is_there(&pending));
        late.send(Ok(()));
        assert!(is_there(&pending));
    }

    #[test]
    fn an_answer_whose_log_is_gone_is_closed() {
        let (reply, pending) = channel(Durability::Durable, InlineWork::default());
        let (early, late) = reply.on_record(refused());
        drop(late);
        early.send(Ok(()));
        assert!(matches!(pending.wait().unwrap_err().kind(), ErrorKind::Closed));
    }
}
