//! The worker pool: threads that take objects off one run queue and work through their mail, and
//! do what needs a worker's stack and instances. What takes longer has a thread of its own.
//!
//! Without workers there is a hand: their state, which whoever waits for work to be done uses on
//! its own thread, one thread at a time. An object is on the queue at most once, so it has one
//! worker at a time. It does not know what a turn of an object is, nor what a step is.
//!
//! Invariant: a letter that was posted is counted until it is worked through, whatever panics.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crossbeam::channel::{Receiver, Sender, unbounded};
use object::hash::ObjectId;
use parking_lot::{Mutex, MutexGuard};

use crate::error::{Error, ErrorKind, Result};
use crate::quiet::Quiet;
use crate::resident::Resident;
use crate::substrate::THREAD_STACK_BYTES;

/// Bytes of stack of a thread that runs steps and policies.
pub const STACK_BYTES: usize = if THREAD_STACK_BYTES > object::policy::STACK_BYTES {
    THREAD_STACK_BYTES
} else {
    object::policy::STACK_BYTES
};

/// Something that a thread waits for a worker to do with its state `S`.
type Errand<S> = Box<dyn FnOnce(&mut S) + Send>;

/// The run queue, and how much mail is under way.
///
/// Errands come first: whoever has one waits for it, so there are never more than callers, while
/// any number of objects may wait for their turn.
pub(crate) struct Queue<S> {
    turns: (Sender<Arc<Resident>>, Receiver<Arc<Resident>>),
    errands: (Sender<Errand<S>>, Receiver<Errand<S>>),
    /// In place of workers.
    hand: Option<Hand<S>>,
    /// Of letters posted and not worked through, and of turns.
    quiet: Quiet,
}

/// A worker's state, for the thread that holds it, and a run queue of its own.
#[derive(Default)]
struct Hand<S> {
    state: Mutex<S>,
    turns: Mutex<VecDeque<Arc<Resident>>>,
}

impl<S: Default> Queue<S> {
    /// Of a database that has workers, or none.
    pub(crate) fn new(has_workers: bool) -> Queue<S> {
        let (turns, errands) = (unbounded(), unbounded());
        let hand = (!has_workers).then(Hand::default);
        Queue { turns, errands, hand, quiet: Quiet::default() }
    }

    /// Puts an object on the run queue.
    pub(crate) fn push(&self, resident: Arc<Resident>) {
        if let Some(hand) = &self.hand {
            hand.turns.lock().push_back(resident);
            // Whoever waits for quiet has something to do.
            return self.quiet.tell();
        }
        let sent = self.turns.0.send(resident);
        assert!(sent.is_ok(), "the queue holds a receiver itself");
    }

    /// Without workers: gives the object at `place` of the run queue, counted round, its `turn`,
    /// which does not panic, on this thread. None when none is on the queue.
    ///
    /// Never called in a turn or an errand, which would wait for itself.
    pub(crate) fn work(
        &self,
        place: usize,
        turn: impl FnOnce(&mut S, Arc<Resident>),
    ) -> Option<ObjectId> {
        let hand = self.hand.as_ref()?;
        let mut state = hand.state.lock();
        let resident = {
            let mut turns = hand.turns.lock();
            let place = place.checked_rem(turns.len())?;
            turns.remove(place)?
        };
        let id = resident.id;
        turn(&mut state, resident);
        Some(id)
    }

    /// Without workers: keeps others from working until it is dropped, so that whoever finds the
    /// run queue empty finds no letters to several half posted.
    pub(crate) fn hold(&self) -> Option<MutexGuard<'_, S>> {
        self.hand.as_ref().map(|hand| hand.state.lock())
    }

    /// Runs `work` on a worker and waits for what it gives.
    ///
    /// Never called on a worker, which would wait for itself.
    pub(crate) fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T> {
        if let Some(hand) = &self.hand {
            let mut state = hand.state.lock();
            return run(&mut *state, work).map_err(|_| ErrorKind::Panicked.into());
        }
        let (sender, receiver) = oneshot::channel();
        let sent = self.errands.0.send(Box::new(move |state| drop(sender.send(work(state)))));
        assert!(sent.is_ok(), "the queue holds a receiver itself");
        // A worker that panicked over it, or the queue that went away with it, dropped the sender.
        receiver.recv().map_err(|_| ErrorKind::Panicked.into())
    }
}

impl<S> Queue<S> {
    /// Counts a letter that is about to be posted.
    pub(crate) fn begin(&self) {
        self.quiet.begin();
    }

    /// Counts a letter that was worked through, or was not posted after all.
    pub(crate) fn end(&self) {
        self.quiet.end();
    }

    /// The count of a letter that was taken: dropping it ends the letter.
    pub(crate) fn in_hand(&self) -> InHand<'_, S> {
        InHand(self)
    }

    /// Letters posted and not worked through, and turns.
    pub(crate) fn under_way(&self) -> u64 {
        self.quiet.count()
    }

    /// Objects on the run queue.
    pub(crate) fn len(&self) -> usize {
        match &self.hand {
            Some(hand) => hand.turns.lock().len(),
            None => self.turns.1.len(),
        }
    }

    /// Waits until no letter is under way. Without workers also until an object is on the run
    /// queue, whose turn it is to wait for then; whether all is quiet.
    pub(crate) fn wait_quiet(&self) -> bool {
        let has_turns = |hand: &Hand<S>| !hand.turns.lock().is_empty();
        self.quiet.wait(|| self.hand.as_ref().is_some_and(has_turns))
    }
}

/// Runs an errand; one that panics costs the state.
fn run<S: Default, T>(state: &mut S, work: impl FnOnce(&mut S) -> T) -> std::thread::Result<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(state)));
    done.inspect_err(|_| *state = S::default())
}

/// A letter that a worker took.
pub(crate) struct InHand<'a, S>(&'a Queue<S>);

impl<S> InHand<'_, S> {
    /// Takes back that the letter was taken.
    pub(crate) fn put_back(self) {
        std::mem::forget(self);
    }
}

impl<S> Drop for InHand<'_, S> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Runs `work` on a thread of its own that has a worker's stack, and waits for what it gives.
///
/// # Panics
///
/// When `work` does.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = builder("continuant-audit").spawn_scoped(scope, work).map_err(not_started)?;
        Ok(thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })
}

fn builder(name: impl Into<String>) -> Builder {
    Builder::new().name(name.into()).stack_size(STACK_BYTES)
}

fn not_started(error: std::io::Error) -> Error {
    ErrorKind::Substrate(format!("a thread: {error}")).into()
}

/// The workers' threads.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    threads: Vec<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Pool {
    /// Starts `count` workers, each with a state of its own, that give objects on `queue` their
    /// `turn`, which does not panic. An errand that panics costs the worker its state.
    pub(crate) fn start<S: Default + 'static>(
        count: usize,
        queue: &Arc<Queue<S>>,
        turn: impl Fn(&mut S, Arc<Resident>) + Send + Clone + 'static,
    ) -> Result<Pool> {
        let (stop, stopped) = crossbeam::channel::bounded::<()>(0);
        let mut pool = Pool { threads: Vec::new(), stop: Some(stop) };
        for index in 0..count {
            let (turns, errands) = (queue.turns.1.clone(), queue.errands.1.clone());
            let (turn, stopped) = (turn.clone(), stopped.clone());
            let work = move || {
                let mut state = S::default();
                loop {
                    crossbeam::channel::select_biased! {
                        recv(stopped) -> _ => return,
                        recv(errands) -> errand => match errand {
                            // Whoever waits finds the sender dropped, if it panics.
                            Ok(errand) => drop(run(&mut state, errand)),
                            Err(_) => return,
                        },
                        recv(turns) -> resident => match resident {
                            Ok(resident) => turn(&mut state, resident),
                            Err(_) => return,
                        },
                    }
                }
            };
            let thread = builder(format!("continuant-{index}")).spawn(work);
            pool.threads.push(thread.map_err(not_started)?);
        }
        Ok(pool)
    }

    /// Whether the workers were not stopped yet.
    pub(crate) fn is_running(&self) -> bool {
        self.stop.is_some()
    }

    /// Stops the workers after the turns that they are in, and waits for them.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so; the others still end in order.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_that_panics_costs_a_worker_its_state_and_nothing_else() {
        let queue = Arc::new(Queue::<Vec<u8>>::new(true));
        let mut pool = Pool::start(1, &queue, |_, _| {}).expect("a thread starts");
        queue.on_worker(|state| state.push(1)).expect("the worker runs");
        let panicked = queue.on_worker(|_| panic!("this panic is part of a test"));
        assert!(matches!(panicked, Err(error) if matches!(error.kind(), ErrorKind::Panicked)));
        let state = queue.on_worker(|state| state.clone()).expect("the worker still runs");
        assert!(state.is_empty());
        pool.stop();
    }
}
