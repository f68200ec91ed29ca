//! Every way to post a letter.
//!
//! It does not know what a turn does.
//!
//! Invariant: each letter posted is counted on the queue before it can be taken.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object::hash::ObjectId;
use object::input::Input;
use object::time::Time;
use storage::{Append, Fate, Taking};

use crate::answer::reply::Reply;
use crate::commit::library::Library;
use crate::error::{Error, ErrorKind, Result};
use crate::head::missed::RETRY;
use crate::metrics::{Count, Registry};
use crate::options::Options;
use crate::run::letter::Letter;
use crate::run::mailbox::{Posted, PostedToAll};
use crate::run::pool::Queue;
use crate::run::resident::Resident;
use crate::run::residents::Residents;
use crate::run::timer::Timer;
use crate::run::transaction::QueuedTransaction;
use crate::step::slots::Slots;

/// The event of messages that wait for the timer.
pub(super) const UNDELIVERED: &str = "messages could not be delivered: they are tried again";

/// The reason why a message to an object that was deleted is a dead letter.
pub(super) const DELETED: &str = "the object was deleted";

/// The mail of all objects, the run queue, and the wakes that are to come.
pub(crate) struct Post {
    pub(crate) queue: Arc<Queue<Slots>>,
    pub(crate) timer: Timer,
    library: Arc<Library>,
    residents: Arc<Residents>,
    metrics: Arc<Registry>,
    options: Arc<Options>,
    closed: AtomicBool,
}

impl Post {
    /// Nothing is posted yet; every wake in the store is to come.
    pub(crate) fn new(
        library: Arc<Library>,
        residents: Arc<Residents>,
        metrics: Arc<Registry>,
        options: Arc<Options>,
    ) -> Result<Post> {
        let timer = Timer::new(library.store.wakes_until(Time::MAX)?);
        Ok(Post {
            queue: Arc::new(Queue::new(options.worker_count)),
            timer,
            library,
            residents,
            metrics,
            options,
            closed: AtomicBool::new(false),
        })
    }

    /// Turns away every letter from now on; whether that was not so before.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Posts an input; `even_if_ahead` lets it in though the object is ahead of the clock.
    pub(crate) fn post_input(
        &self,
        id: ObjectId,
        input: Input,
        reply: Reply,
        even_if_ahead: bool,
    ) -> Result<()> {
        self.post(id, Letter::Input { input, reply, even_if_ahead })
    }

    /// Posts that someone asks for the object's own cycle, if it is due by `time`.
    pub(crate) fn post_cycle(&self, id: ObjectId, time: Time, reply: Reply) -> Result<()> {
        self.post(id, Letter::Cycle { time, reply })
    }

    fn post(&self, id: ObjectId, letter: Letter) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(ErrorKind::Closed.into()),
            false => self.put(id, letter),
        }
    }

    /// Has the timer try a wake again that was taken from it and came to nothing, or look for
    /// messages that could not be delivered.
    pub(crate) fn retry(&self, id: ObjectId) {
        let retry = self.options.clock.now().saturating_add(RETRY);
        self.timer.change(id, None, Some(retry));
    }

    /// Notifies objects, once each, that messages are on their way to them: also while the database
    /// closes, since submitted work is finished.
    pub(crate) fn post_mail(&self, receivers: impl IntoIterator<Item = ObjectId>) {
        for to in receivers {
            let now = self.options.clock.now();
            match self.put(to, Letter::Mail { time: now }) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => self.mark_dead(to, &error),
                Err(error) => {
                    tracing::error!(%error, "{UNDELIVERED}");
                    self.timer.change(to, None, Some(now.saturating_add(RETRY)));
                }
            }
        }
    }

    /// Marks all messages to a missing, moved or deleted object as dead letters.
    pub(super) fn mark_dead(&self, to: ObjectId, error: &Error) {
        let why = match error.kind() {
            ErrorKind::Moved => "the object was moved away",
            ErrorKind::Deleted { .. } => DELETED,
            _ => "there is no such object",
        };
        for id in self.library.store.messages_to(to) {
            let fate = Fate::Dead(why.to_string());
            let append = Append { taken: vec![Taking { id, fate }], ..Append::default() };
            match self.library.store.append(&append, drop) {
                Ok(_) => self.metrics.count(Count::MessagesDead),
                // Another worker may have done so first.
                Err(error) => tracing::debug!(%error, "a message to no object"),
            }
        }
    }

    fn put(&self, id: ObjectId, mut letter: Letter) -> Result<()> {
        self.queue.begin();
        loop {
            let posted = self
                .residents
                .find(&self.library.store, id)
                .and_then(|one| Ok((one.post(letter, self.options.mailbox_max)?, one)));
            match posted {
                Ok((Posted::Waiting, _)) => return Ok(()),
                Ok((Posted::Known, _)) => {
                    self.queue.end();
                    return Ok(());
                }
                Ok((Posted::Schedule, resident)) => {
                    self.queue.push(resident);
                    return Ok(());
                }
                Ok((Posted::Closed(given_back), resident)) => {
                    self.residents.forget(&resident);
                    letter = given_back;
                }
                Err(error) => {
                    self.queue.end();
                    return Err(self.turned_away(error).about(id));
                }
            }
        }
    }

    /// Posts a transaction to all of its objects.
    pub(crate) fn post_transaction(&self, transaction: QueuedTransaction) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ErrorKind::Closed.into());
        }
        let (objects, transaction) = (transaction.objects(), Arc::new(transaction));
        let _held = self.queue.hold();
        loop {
            let find = |&(id, time): &(ObjectId, Time)| {
                let found = self.residents.find(&self.library.store, id);
                Ok((found.map_err(|error| error.about(id))?, time))
            };
            let residents: Vec<_> = objects.iter().map(find).collect::<Result<_>>()?;
            objects.iter().for_each(|_| self.queue.begin());
            let max = self.options.mailbox_max;
            let take_back = || objects.iter().for_each(|_| self.queue.end());
            match Resident::post_to_all(&residents, &transaction, max) {
                PostedToAll::Schedule(idle) => {
                    idle.iter().for_each(|&index| self.queue.push(Arc::clone(&residents[index].0)));
                    return Ok(());
                }
                PostedToAll::Closed(index) => {
                    take_back();
                    self.residents.forget(&residents[index].0);
                }
                PostedToAll::Full(index) => {
                    take_back();
                    let full = self.turned_away(ErrorKind::MailboxFull { max }.into());
                    return Err(full.about(residents[index].0.id));
                }
            }
        }
    }

    /// Passes an error on; one of a full mailbox is counted.
    fn turned_away(&self, error: Error) -> Error {
        if matches!(error.kind(), ErrorKind::MailboxFull { .. }) {
            self.metrics.count(Count::LettersTurnedAway);
        }
        error
    }

    /// Posts every wake that is due at `now`. One that cannot be posted is tried again a little
    /// later; the first error is given when all others are posted.
    pub(crate) fn post_due(&self, now: Time) -> Result<()> {
        let mut posted = Ok(());
        while let Some((_, id)) = self.timer.take_due(now) {
            match self.post(id, Letter::Wake { time: now }) {
                Ok(()) => {}
                // An object whose creation never became durable has no wake either, and one that
                // was moved away has none here. Messages to it may have been late.
                Err(error) if is_gone(&error) => self.mark_dead(id, &error),
                Err(error) if matches!(error.kind(), ErrorKind::Closed) => return Err(error),
                Err(error) => {
                    self.timer.change(id, None, Some(now.saturating_add(RETRY)));
                    posted = posted.and(Err(error));
                }
            }
        }
        posted
    }
}

/// Returns whether an error says that the object is not here, or no longer.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoObject | ErrorKind::Moved | ErrorKind::Deleted { .. })
}
