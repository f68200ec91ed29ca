//! The worker pool: threads that take objects off one run queue and work through their mail.
//!
//! An object is on the queue at most once, so it has one worker at a time. A worker gives a turn of
//! a bounded number of letters to an object and then lets the next one have its turn. It does not
//! know what a step is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam::channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::error::{ErrorKind, Result};
use crate::resident::Resident;

/// Letters that one turn takes.
pub(crate) const TURN_LETTERS_MAX: usize = 64;

/// The run queue, and how much mail is under way.
#[derive(Debug)]
pub(crate) struct Queue {
    sender: Sender<Arc<Resident>>,
    receiver: Receiver<Arc<Resident>>,
    /// Letters posted and not worked through.
    under_way: AtomicU64,
    quiet: Mutex<()>,
    changed: Condvar,
}

impl Queue {
    pub(crate) fn new() -> Queue {
        let (sender, receiver) = unbounded();
        let under_way = AtomicU64::new(0);
        Queue { sender, receiver, under_way, quiet: Mutex::new(()), changed: Condvar::new() }
    }

    /// Puts an object on the run queue.
    pub(crate) fn push(&self, resident: Arc<Resident>) {
        self.sender.send(resident).expect("the queue holds a receiver itself");
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
    /// Starts `count` workers, each with state of its own made by `state`, that give each object
    /// on `queue` to `turn`.
    pub(crate) fn start<S: 'static>(
        count: usize,
        queue: &Arc<Queue>,
        state: impl Fn() -> S + Send + Clone + 'static,
        turn: impl Fn(&mut S, Arc<Resident>) + Send + Clone + 'static,
    ) -> Result<Pool> {
        let (stop, stopped) = crossbeam::channel::bounded::<()>(0);
        let mut pool = Pool { threads: Vec::new(), stop: Some(stop) };
        for index in 0..count {
            let (queue, stopped) = (Arc::clone(queue), stopped.clone());
            let (state, turn) = (state.clone(), turn.clone());
            let work = move || {
                let mut state = state();
                loop {
                    crossbeam::select! {
                        recv(queue.receiver) -> resident => match resident {
                            Ok(resident) => turn(&mut state, resident),
                            Err(_) => return,
                        },
                        recv(stopped) -> _ => return,
                    }
                }
            };
            let thread = std::thread::Builder::new()
                .name(format!("continuant-{index}"))
                .stack_size(object::policy::STACK_BYTES)
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

/// Runs `work` on a thread with the stack that policies are parsed and decided on.
///
/// # Panics
///
/// When `work` does.
pub(crate) fn on_policy_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(object::policy::STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|error| ErrorKind::Substrate(format!("a thread: {error}")))?;
        Ok(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}
