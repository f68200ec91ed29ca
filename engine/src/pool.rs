//! The worker pool: threads that take objects off one run queue and work through their mail, and
//! do what needs a worker's stack and instances.
//!
//! An object is on the queue at most once, so it has one worker at a time. It does not know what a
//! turn of an object is, nor what a step is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, unbounded};
use object::policy::STACK_BYTES;
use parking_lot::{Condvar, Mutex};

use crate::error::{ErrorKind, Result};
use crate::resident::Resident;
use crate::substrate::THREAD_STACK_BYTES;

/// Something for a worker to do with its state `S`.
pub(crate) enum Work<S> {
    /// Give an object its turn.
    Turn(Arc<Resident>),
    /// Run this.
    Run(Box<dyn FnOnce(&mut S) + Send>),
}

/// The run queue, and how much mail is under way.
pub(crate) struct Queue<S> {
    sender: Sender<Work<S>>,
    receiver: Receiver<Work<S>>,
    /// Letters posted and not worked through.
    under_way: AtomicU64,
    quiet: Mutex<()>,
    changed: Condvar,
}

impl<S> Queue<S> {
    pub(crate) fn new() -> Queue<S> {
        let (sender, receiver) = unbounded();
        let under_way = AtomicU64::new(0);
        Queue { sender, receiver, under_way, quiet: Mutex::new(()), changed: Condvar::new() }
    }

    pub(crate) fn push(&self, work: Work<S>) {
        let sent = self.sender.send(work);
        assert!(sent.is_ok(), "the queue holds a receiver itself");
    }

    /// Runs `work` on a worker and waits for what it gives.
    ///
    /// Never called on a worker, which would wait for itself.
    pub(crate) fn on_worker<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.push(Work::Run(Box::new(move |state| drop(sender.send(work(state))))));
        receiver.recv().map_err(|_| ErrorKind::Closed.into())
    }

    /// Counts a letter that is about to be posted.
    pub(crate) fn begin(&self) {
        self.under_way.fetch_add(1, Ordering::AcqRel);
    }

    /// Counts a letter that was worked through, or was not posted after all.
    pub(crate) fn end(&self) {
        let before = self.under_way.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a letter ends once");
        if before == 1 {
            drop(self.quiet.lock());
            self.changed.notify_all();
        }
    }

    /// Waits until no letter is under way.
    pub(crate) fn wait_quiet(&self) {
        let mut quiet = self.quiet.lock();
        while self.under_way.load(Ordering::Acquire) > 0 {
            self.changed.wait(&mut quiet);
        }
    }
}

/// The workers' threads.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    threads: Vec<JoinHandle<()>>,
    stop: Option<Sender<()>>,
}

impl Pool {
    /// Starts `count` workers, each with a state of its own, that give objects on `queue` their
    /// `turn`.
    pub(crate) fn start<S: Default + 'static>(
        count: usize,
        queue: &Arc<Queue<S>>,
        turn: impl Fn(&mut S, Arc<Resident>) + Send + Clone + 'static,
    ) -> Result<Pool> {
        let (stop, stopped) = crossbeam::channel::bounded::<()>(0);
        let mut pool = Pool { threads: Vec::new(), stop: Some(stop) };
        for index in 0..count {
            let (receiver, stopped) = (queue.receiver.clone(), stopped.clone());
            let turn = turn.clone();
            let work = move || {
                let mut state = S::default();
                loop {
                    crossbeam::select! {
                        recv(receiver) -> work => match work {
                            Ok(Work::Turn(resident)) => turn(&mut state, resident),
                            Ok(Work::Run(run)) => run(&mut state),
                            Err(_) => return,
                        },
                        recv(stopped) -> _ => return,
                    }
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("continuant-{index}"))
                .stack_size(THREAD_STACK_BYTES.max(STACK_BYTES))
                .spawn(work)
                .map_err(|error| ErrorKind::Substrate(format!("a worker thread: {error}")))?;
            pool.threads.push(thread);
        }
        Ok(pool)
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
