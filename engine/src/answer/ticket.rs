//! Durability: when a reply is sent, and the ticket that says when a version is durable.
//!
//! ```text
//!            new                   settle(Ok)
//!   Promise -----> ticket is open ------------> durable
//!                         |        settle(Err), dropped
//!                         +----------------------------> never durable
//! ```
//!
//! It does not know versions or logs.
//!
//! Invariant: a ticket is settled once, and never changes after that.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use storage::lock::{Condvar, Mutex};

use crate::answer::inline::InlineWork;
use crate::error::{ErrorKind, Result};
use crate::rank;

/// The time at which the reply to an input is sent.
///
/// Later steps of an object run on its newest version in either case, durable or not, and all
/// versions of a database become durable in the order in which they were made. So when a `Durable`
/// reply is there, the versions of all earlier replies are durable too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Once its version, or its refusal on record, is durable: it survives any crash from then on.
    #[default]
    Durable,
    /// Once its version is in memory and has its place in the log. A crash may undo it, and with it
    /// all later versions; the receipt's [`Ticket`] says when that danger is past. A refusal is
    /// reported as early, before its record is durable.
    Relaxed,
}

/// Says when a version is durable: to be looked at, waited for by a thread, or awaited on any
/// runtime. Cloning shares it.
#[derive(Clone, Debug)]
#[must_use = "a version whose ticket nobody waits for may never be durable"]
pub struct Ticket(Option<Arc<State>>);

#[derive(Debug, Default)]
struct State {
    outcome: OnceLock<Result<()>>,
    waiting: Mutex<Vec<Waker>, rank::Waiting>,
    settled: Condvar,
    inline: InlineWork,
}

impl Ticket {
    /// The ticket of a version that is durable already.
    pub(crate) const DURABLE: Ticket = Ticket(None);

    /// Returns whether the version is durable; `false` for ever when it never will be.
    pub fn is_durable(&self) -> bool {
        matches!(self.outcome(), Some(Ok(())))
    }

    /// Blocks the thread until the version is durable, or never will be. The thread works
    /// meanwhile, when the database has no [workers](crate::Options::workers).
    ///
    /// # Errors
    ///
    /// [`Poisoned`](storage::ErrorKind::Poisoned), in [`Storage`](ErrorKind::Storage), when the log
    /// failed: reopen the database, and ask it for the object's newest version.
    pub fn wait(&self) -> Result<()> {
        let Some(state) = &self.0 else { return Ok(()) };
        state.inline.work_until(|| state.outcome.get().is_some());
        let mut waiting = state.waiting.lock();
        loop {
            if let Some(outcome) = state.outcome.get() {
                return outcome.clone();
            }
            state.settled.wait(&mut waiting);
        }
    }

    /// Returns the outcome of the version's append, once it is known.
    pub(crate) fn outcome(&self) -> Option<Result<()>> {
        match &self.0 {
            Some(state) => state.outcome.get().cloned(),
            None => Some(Ok(())),
        }
    }
}

impl Future for Ticket {
    type Output = Result<()>;

    /// Ready as [`Ticket::wait`] returns.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let Some(state) = &self.0 else { return Poll::Ready(Ok(())) };
        state.inline.work_until(|| state.outcome.get().is_some());
        let mut waiting = state.waiting.lock();
        if let Some(outcome) = state.outcome.get() {
            return Poll::Ready(outcome.clone());
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// The other end of a ticket, which settles it.
#[derive(Debug)]
pub(crate) struct Promise(Arc<State>);

impl Promise {
    /// A promise and its ticket.
    pub(crate) fn new(inline: InlineWork) -> (Promise, Ticket) {
        let state = Arc::new(State { inline, ..State::default() });
        (Promise(Arc::clone(&state)), Ticket(Some(state)))
    }

    /// Settles the ticket and wakes its waiters.
    pub(crate) fn settle(self, outcome: Result<()>) {
        self.tell(outcome);
    }

    fn tell(&self, outcome: Result<()>) {
        // Under the lock, so that nobody begins to wait between the outcome and the call.
        let mut waiting = self.0.waiting.lock();
        if self.0.outcome.set(outcome).is_err() {
            return;
        }
        let wakers = std::mem::take(&mut *waiting);
        drop(waiting);
        self.0.settled.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Promise {
    /// A promise that nobody keeps.
    fn drop(&mut self) {
        self.tell(Err(ErrorKind::Closed.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_ticket_wakes_whoever_polled_it_once_and_stays_as_it_was_settled() {
        let (promise, mut ticket) = Promise::new(InlineWork::default());
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        assert!(Pin::new(&mut ticket).poll(&mut context).is_pending());
        promise.settle(Ok(()));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(Pin::new(&mut ticket).poll(&mut context).is_ready());
        assert!(ticket.is_durable() && ticket.wait().is_ok());
    }

    #[test]
    fn a_thread_waits_until_a_ticket_is_settled() {
        let (promise, ticket) = Promise::new(InlineWork::default());
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| ticket.wait());
            promise.settle(Ok(()));
            assert!(waiting.join().expect("the thread does not panic").is_ok());
        });
    }

    #[test]
    fn a_promise_that_nobody_keeps_is_an_error() {
        let (promise, ticket) = Promise::new(InlineWork::default());
        drop(promise);
        assert!(!ticket.is_durable());
        let error = ticket.wait().expect_err("it was dropped");
        assert!(matches!(error.kind(), ErrorKind::Closed));
    }
}
