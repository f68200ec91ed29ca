//! The state that the threads of one open database share: the library, the residents, the post,
//! and the credentials of callers.
//!
//! This module does not know what a turn does. A function that needs one part takes that part.

use std::sync::{Arc, Weak};
use std::time::Duration;

use object::hash::ObjectId;
use object::ledger::Ledger;
use object::time::Time;
use storage::Store;

use crate::answer::inline::InlineWork;
use crate::answer::reply::{Pending, Reply, channel};
use crate::answer::ticket::Durability;
use crate::commit::library::Library;
use crate::commit::post::Post;
use crate::credentials::Credentials;
use crate::credentials::nonces::Whose;
use crate::error::{Error, ErrorKind, Result};
use crate::head::live::Live;
use crate::metrics::{Count, Metrics, Registry};
use crate::options::Options;
use crate::run::resident::Resident;
use crate::run::residents::Residents;
use crate::stack::DeepStack;
use crate::step::catalog::Catalog;
use crate::substrate::Cache;

pub(crate) struct Shared {
    pub(crate) library: Arc<Library>,
    pub(crate) residents: Arc<Residents>,
    pub(crate) post: Post,
    pub(crate) options: Arc<Options>,
    pub(crate) metrics: Arc<Registry>,
    pub(crate) credentials: Credentials,
    inline: InlineWork,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns the shared state of an opened store.
    pub(crate) fn new(store: Store, cache: Option<Cache>, options: Options) -> Result<Arc<Shared>> {
        let worker_count = options.worker_count;
        let options = Arc::new(options);
        let library = Arc::new(Library::new(store, Catalog::new(cache)?, Arc::clone(&options)));
        let residents = Arc::new(Residents::new(options.resident_bytes_max));
        let metrics = Arc::new(Registry::new(worker_count));
        let post = Post::new(
            Arc::clone(&library),
            Arc::clone(&residents),
            Arc::clone(&metrics),
            Arc::clone(&options),
        )?;
        Ok(Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            library,
            residents,
            post,
            options,
            metrics,
            credentials: Credentials::default(),
            inline: match worker_count {
                0 => InlineWork::of(shared.clone()),
                _ => InlineWork::default(),
            },
        }))
    }

    /// Returns by how much a version's time is ahead of the clock, when that is beyond the
    /// tolerance.
    pub(crate) fn ahead(&self, time: Time) -> Option<Duration> {
        let by = time.saturating_duration_since(self.options.clock.now());
        (by > self.options.clock_ahead_max).then_some(by)
    }

    /// Returns the error of an input to an object whose time is this far ahead of the clock.
    pub(crate) fn is_ahead(&self, by: Duration) -> Error {
        ErrorKind::Ahead { by, max: self.options.clock_ahead_max }.into()
    }

    /// Returns the time from which a version's time is within the clock's tolerance.
    pub(crate) fn tolerated_from(&self, time: Time) -> Time {
        time.saturating_sub(self.options.clock_ahead_max)
    }

    /// A reply and the receipt that it will be.
    pub(crate) fn channel<T>(&self, durability: Durability) -> (Reply<T>, Pending<T>) {
        channel(durability, self.inline.clone())
    }

    /// Posts the wakes that are due by the system's clock, as the timer's thread does.
    pub(crate) fn run_due(&self) {
        if !self.options.cycles || self.options.clock.is_manual() {
            return;
        }
        match self.post.post_due(self.options.clock.now()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Closed) => {}
            Err(error) => {
                let message = "due cycles could not be started: they are tried again";
                tracing::error!(%error, "{message}");
            }
        }
    }

    /// Returns the counts so far, and the present state of the database.
    pub(crate) fn figures(&self) -> Metrics {
        let log = self.library.store.figures();
        let (codes_compiled, codes_cached) = self.library.catalog.counts();
        let counted = self.metrics.read();
        Metrics {
            log_groups: log.group_count,
            log_frames: log.frame_count,
            log_bytes: log.bytes_count,
            log_syncs: log.sync_count,
            log_sync: log.sync_time,
            codes_compiled,
            codes_cached,
            objects_resident: self.residents.count(),
            resident_bytes: self.residents.bytes(),
            objects_queued: self.post.queue.len() as u64,
            // Each turn is counted like a letter.
            letters_waiting: self.post.queue.under_way().saturating_sub(counted.workers_busy),
            messages_waiting: self.library.store.message_count() as u64,
            wakes_armed: self.post.timer.len() as u64,
            wakes_overdue: self.library.overdue.len() as u64,
            ahead: self.residents.newest_time().saturating_duration_since(self.options.clock.now()),
            unindexed_bytes: self.library.store.unindexed_bytes(),
            evidence_leaves: self.library.store.leaf_count(),
            ..counted
        }
    }

    /// The last nonce that the object remembers of these; 0 when it remembers none.
    pub(crate) fn used_nonce(&self, id: ObjectId, whose: &[Whose]) -> Result<u64> {
        let ledger = self.ledger(id)?;
        let last = |whose: &Whose| match whose {
            Whose::Key(key) => ledger.nonces.last(key),
            Whose::Session(id) => ledger.sessions.get(*id).map(|session| session.last_nonce()),
        };
        Ok(whose.iter().filter_map(last).max().unwrap_or(0))
    }

    /// Ends an object here, as it continues elsewhere, or takes it back; durable when this returns.
    /// Returns whether that was a change.
    pub(crate) fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let resident = self.residents.place(id);
        // A thread that loads the object meanwhile finds its new state.
        let mut live = resident.live.lock();
        let is_new = self.library.store.set_moved(id, moved)?;
        let Some(info) = self.library.store.info(id)? else { return Ok(is_new) };
        resident.set_moved(info.moved);
        // When its wake is tried again is known from the record.
        *live = None;
        let missed = info.wake.and_then(|wake| self.library.overdue.find(id, wake));
        if let Some(missed) = missed {
            self.library.overdue.remove(id);
            self.post.timer.change(id, Some(missed.retry), None);
        }
        match info.moved {
            true => self.post.timer.change(id, info.wake, None),
            false => self.post.timer.change(id, None, info.wake),
        }
        Ok(is_new)
    }

    /// Notes that an object, whose wake was at `old`, has other versions than before, or exists
    /// only now.
    pub(crate) fn renew(&self, stack: DeepStack, id: ObjectId, old: Option<Time>) -> Result<()> {
        let known = self.residents.get(id);
        if let Some(resident) = known {
            // The worker on the object notices, now or soon, that its head has changed.
            let mut live = resident.live.lock();
            resident.set_moved(false);
            let missed = live.as_ref().and_then(Live::armed);
            self.post.timer.change(id, missed, None);
            *live = Some(self.load(stack, &resident)?);
        }
        self.library.overdue.remove(id);
        let wake = self.library.store.info(id)?.and_then(|info| info.wake);
        self.post.timer.change(id, old, wake);
        // Messages to it that were sent here stayed.
        self.post.post_mail((!self.library.store.messages_to(id).is_empty()).then_some(id));
        Ok(())
    }

    /// The time of the object's newest version.
    pub(crate) fn head_time(&self, id: ObjectId) -> Result<Time> {
        if let Some(newest) = self.residents.newest(id) {
            return Ok(newest.header().time);
        }
        Ok(self.library.store.info(id)?.ok_or(ErrorKind::NoObject)?.time)
    }

    /// The ledger of the object's newest version.
    pub(crate) fn ledger(&self, id: ObjectId) -> Result<Arc<Ledger>> {
        if let Some(ledger) = self.residents.ledger(id) {
            return Ok(ledger);
        }
        Ok(self.library.store.newest_ledger(id)?.ok_or(ErrorKind::NoObject)?)
    }

    /// Loads an object as its next step needs it, and publishes its newest version. The worker on
    /// turn calls it.
    pub(crate) fn load(&self, stack: DeepStack, resident: &Arc<Resident>) -> Result<Live> {
        let info = self.library.store.info(resident.id)?.ok_or(ErrorKind::NoObject)?;
        if info.moved {
            resident.set_moved(true);
            return Err(ErrorKind::Moved.into());
        }
        let stored = self.library.store.head(resident.id)?.ok_or(ErrorKind::NoObject)?;
        let live = self.library.live(stack, stored)?;
        self.metrics.count(Count::ObjectsLoaded);
        let is_new = resident.published().is_none();
        if let Some(missed) = live.missed.as_deref() {
            self.library.overdue.put(live.head.id, missed.clone());
        }
        self.residents.publish(resident, &live);
        if is_new {
            self.residents.enter(Arc::clone(resident));
        }
        Ok(live)
    }

    /// The object as its next step needs it: one that was deleted takes none.
    pub(crate) fn loaded<'a>(
        &self,
        stack: DeepStack,
        resident: &Arc<Resident>,
        live: &'a mut Option<Live>,
    ) -> Result<&'a mut Live> {
        if live.as_ref().is_none_or(|live| live.stale) {
            *live = Some(self.load(stack, resident)?);
        }
        match live.as_mut().expect("it was just made sure of") {
            Live { head, .. } if head.deleted().is_some() => {
                Err(ErrorKind::Deleted { at: head.header.time }.into())
            }
            live => Ok(live),
        }
    }
}
