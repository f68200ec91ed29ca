//! The worker pool: threads that take objects off run queues and work through their mail, and run
//! errands that need a deep stack and instances. Longer work has a thread of its own.
//!
//! Each worker has a run queue, first in, first out. An object waits in that of the worker that had
//! it last, whose instance may still hold its memory; a worker with an empty queue takes from the
//! others'. With `workers(0)` there are no threads: the caller that waits runs turns itself, one
//! caller at a time, with the state in `InlineWorker`. An object is on a queue at most once, so it
//! has one worker at a time. This module does not know what a turn of an object is, nor what a step
//! is.
//!
//! Invariant: a posted letter is counted until it is processed, whatever panics.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam::deque::{Injector, Steal};
use crossbeam::queue::SegQueue;
use crossbeam::utils::Backoff;
use object::hash::ObjectId;
use storage::lock::{Mutex, MutexGuard};

use crate::error::{ErrorKind, Result};
use crate::rank;
use crate::run::idle::Idle;
use crate::run::in_flight::InFlight;
use crate::run::resident::Resident;
use crate::stack::{self, DeepStack};

/// The rounds of a worker after which it looks into others' queues first, once.
const ROUNDS_OF_OWN: usize = 64;

/// Something that a thread waits for a worker to do with its state `S`.
type Errand<S> = Box<dyn FnOnce(&mut S, DeepStack) + Send>;

/// The run queues, and the count of letters in flight.
///
/// Errands come first: a caller waits for each, so there are never more errands than callers, while
/// any number of objects may wait for their turn.
pub(crate) struct Queue<S> {
    /// The queue of each worker.
    turns: Vec<Injector<Arc<Resident>>>,
    errands: SegQueue<Errand<S>>,
    idle: Idle,
    /// The workers are to end.
    stopped: AtomicBool,
    /// The state that takes the place of workers.
    inline: Option<InlineWorker<S>>,
    /// The count of letters posted and not processed, and of turns.
    in_flight: InFlight,
}

/// A worker's state, for the thread that holds it, and a run queue of its own.
#[derive(Default)]
struct InlineWorker<S> {
    state: Mutex<S, rank::InlineWorker>,
    turns: Mutex<VecDeque<Arc<Resident>>, rank::Turns>,
}

/// The next work of a worker.
enum Work<S> {
    Errand(Errand<S>),
    Turn(Arc<Resident>),
}

impl<S: Default> Queue<S> {
    /// Returns the queue of a database with this many workers.
    pub(crate) fn new(workers: usize) -> Queue<S> {
        Queue {
            turns: (0..workers).map(|_| Injector::new()).collect(),
            errands: SegQueue::new(),
            idle: Idle::new(workers),
            stopped: AtomicBool::new(false),
            inline: (workers == 0).then(InlineWorker::default),
            in_flight: InFlight::default(),
        }
    }

    /// Puts an object on a run queue.
    pub(crate) fn push(&self, resident: Arc<Resident>) {
        if let Some(inline) = &self.inline {
            inline.turns.lock().push_back(resident);
            // A thread that drains the mail has work now.
            return self.in_flight.tell();
        }
        let place = resident.worker() % self.turns.len();
        self.turns[place].push(resident);
        self.idle.tell(place);
    }

    /// Puts an object back on the run queue of the worker that ends its turn, behind all others.
    /// Called by that worker only.
    pub(crate) fn put_back(&self, resident: Arc<Resident>) {
        let place = resident.worker();
        if self.inline.is_some() || !self.turns[place].is_empty() {
            return self.push(resident);
        }
        // The worker takes it next, so no other need be woken; or it takes an errand before it,
        // for which others were woken.
        self.turns[place].push(resident);
    }

    /// Without workers: gives the object at `place` of the run queue, counted round, its `turn`,
    /// which does not panic, on this thread. Returns none when none is on the queue.
    ///
    /// Never called in a turn or an errand, which would wait for itself.
    pub(crate) fn work(
        &self,
        place: usize,
        turn: impl FnOnce(&mut S, Arc<Resident>, DeepStack),
    ) -> Option<ObjectId> {
        let inline = self.inline.as_ref()?;
        let mut state = inline.state.lock();
        let resident = {
            let mut turns = inline.turns.lock();
            let place = place.checked_rem(turns.len())?;
            turns.remove(place)?
        };
        let id = resident.id;
        turn(&mut state, resident, DeepStack::promised());
        Some(id)
    }

    /// Without workers: keeps others from working until the guard is dropped, so that a thread that
    /// finds the run queue empty finds no letter posted to only some of its objects.
    pub(crate) fn hold(&self) -> Option<MutexGuard<'_, S, rank::InlineWorker>> {
        self.inline.as_ref().map(|inline| inline.state.lock())
    }

    /// Runs `work` on a worker, waits, and returns its result.
    ///
    /// Never called on a worker, which would wait for itself.
    pub(crate) fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S, DeepStack) -> T + Send + 'static,
    ) -> Result<T> {
        if let Some(inline) = &self.inline {
            let mut state = inline.state.lock();
            let stack = DeepStack::promised();
            return run(&mut *state, stack, work).map_err(|_| ErrorKind::Panicked.into());
        }
        let (sender, receiver) = oneshot::channel();
        self.errands.push(Box::new(move |state, stack| drop(sender.send(work(state, stack)))));
        self.idle.tell_any();
        // A worker that panicked over it, or the end of the queue, dropped the sender.
        receiver.recv().map_err(|_| ErrorKind::Panicked.into())
    }
}

impl<S> Queue<S> {
    /// Counts a letter that is about to be posted.
    pub(crate) fn begin(&self) {
        self.in_flight.begin();
    }

    /// Counts a letter that was worked through, or was not posted after all.
    pub(crate) fn end(&self) {
        self.in_flight.end();
    }

    /// The count of a letter that was taken: dropping it ends the letter.
    pub(crate) fn taken(&self) -> TakenLetter<'_, S> {
        TakenLetter(self)
    }

    /// Letters posted and not worked through, and turns.
    pub(crate) fn under_way(&self) -> u64 {
        self.in_flight.count()
    }

    /// Objects on the run queues.
    pub(crate) fn len(&self) -> usize {
        match &self.inline {
            Some(inline) => inline.turns.lock().len(),
            None => self.turns.iter().map(Injector::len).sum(),
        }
    }

    /// Returns the work of the worker at `place` in its next round, once there is some; none when
    /// it is to end.
    fn next(&self, place: usize, round: usize) -> Option<Work<S>> {
        if self.stopped.load(Ordering::Acquire) {
            return None;
        }
        // Once in a while others' queues come first, which may be longer.
        let first = place + usize::from(round % ROUNDS_OF_OWN == ROUNDS_OF_OWN - 1);
        if let Some(work) = self.find(first) {
            return Some(work);
        }
        self.idle.search(place);
        loop {
            let backoff = Backoff::new();
            while !backoff.is_completed() {
                if self.stopped.load(Ordering::Acquire) {
                    return None;
                }
                if let Some(work) = self.find(place) {
                    self.idle.begin(place, || self.has_work());
                    return Some(work);
                }
                backoff.snooze();
            }
            self.idle.sleep(place, || self.has_work() || self.stopped.load(Ordering::Acquire));
        }
    }

    /// An errand, or the first object of a queue: of the one at `place`, or of those behind it,
    /// counted round.
    fn find(&self, place: usize) -> Option<Work<S>> {
        if let Some(errand) = self.errands.pop() {
            return Some(Work::Errand(errand));
        }
        let count = self.turns.len();
        (place..place + count).find_map(|at| take(&self.turns[at % count])).map(Work::Turn)
    }

    fn has_work(&self) -> bool {
        !self.errands.is_empty() || self.turns.iter().any(|turns| !turns.is_empty())
    }

    /// Waits until no letter is in flight. Without workers it also ends when an object is on the
    /// run queue, as the caller must then run its turn. Returns whether none is in flight.
    pub(crate) fn drain(&self) -> bool {
        let has_turns = |inline: &InlineWorker<S>| !inline.turns.lock().is_empty();
        self.in_flight.wait(|| self.inline.as_ref().is_some_and(has_turns))
    }
}

/// The first of a queue.
fn take<T>(queue: &Injector<T>) -> Option<T> {
    loop {
        match queue.steal() {
            Steal::Success(first) => return Some(first),
            Steal::Empty => return None,
            Steal::Retry => {}
        }
    }
}

/// Runs an errand; one that panics costs the state.
fn run<S: Default, T>(
    state: &mut S,
    stack: DeepStack,
    work: impl FnOnce(&mut S, DeepStack) -> T,
) -> std::thread::Result<T> {
    let done = catch_unwind(AssertUnwindSafe(|| work(state, stack)));
    done.inspect_err(|_| *state = S::default())
}

/// A letter that a worker took.
pub(crate) struct TakenLetter<'a, S>(&'a Queue<S>);

impl<S> TakenLetter<'_, S> {
    /// Takes back that the letter was taken.
    pub(crate) fn put_back(self) {
        std::mem::forget(self);
    }
}

impl<S> Drop for TakenLetter<'_, S> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The workers' threads.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// Starts the workers of `queue`, each with a state of its own, that give objects their `turn`,
    /// which does not panic. An errand that panics costs the worker its state.
    pub(crate) fn start<S: Default + Send + 'static>(
        queue: &Arc<Queue<S>>,
        turn: impl Fn(&mut S, Arc<Resident>, DeepStack) + Send + Clone + 'static,
    ) -> Result<Pool> {
        let mut pool = Pool::default();
        for place in 0..queue.turns.len() {
            let (of_worker, turn) = (Arc::clone(queue), turn.clone());
            let work = move |stack| {
                let mut state = S::default();
                for round in 0.. {
                    let Some(work) = of_worker.next(place, round) else { return };
                    match work {
                        // If it panics, the waiting caller finds the sender dropped.
                        Work::Errand(errand) => drop(run(&mut state, stack, errand)),
                        Work::Turn(resident) => {
                            resident.set_worker(place);
                            turn(&mut state, resident, stack);
                        }
                    }
                }
            };
            match stack::start(format!("continuant-{place}"), work) {
                Ok(thread) => pool.threads.push(thread),
                Err(error) => {
                    pool.stop(queue);
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// Stops the workers after the turns that they are in, and waits for them.
    pub(crate) fn stop<S>(&mut self, queue: &Queue<S>) {
        queue.stopped.store(true, Ordering::Release);
        queue.idle.tell_all();
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
        let queue = Arc::new(Queue::<Vec<u8>>::new(1));
        let mut pool = Pool::start(&queue, |_, _, _| {}).expect("a thread starts");
        queue.on_worker(|state, _| state.push(1)).expect("the worker runs");
        let panicked = queue.on_worker(|_, _| panic!("this panic is part of a test"));
        assert!(matches!(panicked, Err(error) if matches!(error.kind(), ErrorKind::Panicked)));
        let state = queue.on_worker(|state, _| state.clone()).expect("the worker still runs");
        assert!(state.is_empty());
        pool.stop(&queue);
    }

    #[test]
    fn a_worker_that_always_has_something_to_do_comes_to_what_waits_for_another() {
        let queue = Queue::<()>::new(2);
        let [hot, waits] = [0, 1].map(|place| {
            let resident = Arc::new(Resident::new(ObjectId([7; 32])));
            resident.set_worker(place);
            queue.push(Arc::clone(&resident));
            resident
        });
        let taken = (0..ROUNDS_OF_OWN).map(|round| {
            let Some(Work::Turn(taken)) = queue.next(0, round) else { panic!("it waits") };
            if Arc::ptr_eq(&taken, &hot) {
                queue.put_back(Arc::clone(&taken));
            }
            taken
        });
        let taken: Vec<_> = taken.collect();
        assert!(Arc::ptr_eq(&taken[0], &hot), "its own comes first");
        assert!(taken.iter().any(|resident| Arc::ptr_eq(resident, &waits)));
    }
}
