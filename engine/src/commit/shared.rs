//! The state that the threads of one open database share: the objects in memory, the run queue, the
//! timer, the clock, the store.
//!
//! This module does not know what a turn does. It holds every way to post a letter.
//!
//! Invariant: each letter posted is counted on the queue before it can be taken.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use object::credential::Memo;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::head::Head;
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::limits::MEMORY_BYTES_MAX;
use parking_lot::{Mutex, RwLock};
use policy::definition::Definition;
use query::Snapshot;
use storage::{Append, Fate, Store, Taking};

use crate::answer::inline::Helper;
use crate::answer::reply::{Pending, Reply, channel};
use crate::answer::ticket::Durability;
use crate::clock::Clock;
use crate::commit::offered::Offered;
use crate::credentials::nonces::{Drawn, Whose};
use crate::credentials::session::Held;
use crate::error::{Error, ErrorKind, Result, missing};
use crate::head::live::Live;
use crate::head::missed::{Missed, RETRY_MS};
use crate::metrics::{Count, Metrics, Registry};
use crate::options::Options;
use crate::run::joint::Joint;
use crate::run::letter::Letter;
use crate::run::mailbox::{Posted, PostedToAll};
use crate::run::overdue::Table;
use crate::run::pool::Queue;
use crate::run::residency::Residency;
use crate::run::resident::Resident;
use crate::run::timer::Timer;
use crate::stack::DeepStack;
use crate::step::catalog::{Catalog, Runnable};
use crate::step::runner::Runner;
use crate::step::slots::Slots;
use crate::substrate::Cache;

/// Maps of the residents, so that posting to one object seldom waits for another.
const SHARD_COUNT: usize = 64;

pub(crate) struct Shared {
    store: Store,
    catalog: Catalog,
    queue: Arc<Queue<Slots>>,
    timer: Timer,
    overdue: Table,
    options: Options,
    residents: Vec<RwLock<HashMap<ObjectId, Arc<Resident>>>>,
    residency: Residency,
    /// The last nonces drawn for objects of each shard.
    nonces: Vec<Mutex<Drawn>>,
    /// The newest time of a version that was made, loaded or imported.
    newest_time: AtomicU64,
    memo: Memo,
    sessions: Held,
    offered: Offered,
    metrics: Registry,
    helper: Helper,
    closed: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    /// Returns the shared state of an opened store.
    pub(crate) fn new(store: Store, cache: Option<Cache>, options: Options) -> Result<Arc<Shared>> {
        let timer = Timer::new(store.wakes_until(u64::MAX)?);
        let (catalog, worker_count) = (Catalog::new(cache)?, options.worker_count);
        let metrics = Registry::new(worker_count);
        let residency = Residency::new(options.resident_bytes_max);
        Ok(Arc::new_cyclic(|shared: &Weak<Shared>| Shared {
            store,
            catalog,
            queue: Arc::new(Queue::new(worker_count)),
            timer,
            overdue: Table::default(),
            options,
            residents: (0..SHARD_COUNT).map(|_| RwLock::default()).collect(),
            residency,
            nonces: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            newest_time: AtomicU64::new(0),
            memo: Memo::default(),
            sessions: Held::default(),
            offered: Offered::default(),
            metrics,
            helper: match worker_count {
                0 => Helper::of(shared.clone()),
                _ => Helper::default(),
            },
            closed: AtomicBool::new(false),
        }))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Returns the runner of a thread with these instances.
    pub(crate) fn runner<'a>(&'a self, slots: &'a mut Slots, stack: DeepStack) -> Runner<'a> {
        Runner { catalog: &self.catalog, slots, stack }
    }

    pub(crate) fn queue(&self) -> &Arc<Queue<Slots>> {
        &self.queue
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.timer
    }

    /// Wakes that were due and made no version.
    pub(crate) fn overdue(&self) -> &Table {
        &self.overdue
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.options.clock
    }

    /// Returns by how much a version's time is ahead of the clock, when that is beyond the
    /// tolerance.
    pub(crate) fn ahead(&self, time: u64) -> Option<u64> {
        let by = time.saturating_sub(self.clock().now());
        (by > self.options.clock_ahead_max).then_some(by)
    }

    /// Returns the error of an input to an object whose time is this far ahead of the clock.
    pub(crate) fn is_ahead(&self, by: u64) -> Error {
        ErrorKind::Ahead { by, max: self.options.clock_ahead_max }.into()
    }

    /// Returns the time from which a version's time is within the clock's tolerance.
    pub(crate) fn tolerated_from(&self, time: u64) -> u64 {
        time.saturating_sub(self.options.clock_ahead_max)
    }

    /// Takes in the time of a version.
    pub(crate) fn note_time(&self, time: u64) {
        // Written seldom: all workers come here.
        if self.newest_time.load(Ordering::Relaxed) < time {
            self.newest_time.fetch_max(time, Ordering::Relaxed);
        }
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// A reply and the receipt that it will be.
    pub(crate) fn channel<T>(&self, durability: Durability) -> (Reply<T>, Pending<T>) {
        channel(durability, self.helper.clone())
    }

    /// Posts the wakes that are due by the system's clock, as the timer's thread does.
    pub(crate) fn run_due(&self) {
        if !self.options.cycles || self.clock().is_manual() {
            return;
        }
        match self.post_due(self.clock().now()) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Closed) => {}
            Err(error) => tracing::error!(%error, "own cycles are late"),
        }
    }

    /// Turns away every letter from now on; whether that was not so before.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    /// Signatures that were verified lately.
    pub(crate) fn memo(&self) -> &Memo {
        &self.memo
    }

    /// The secrets of sessions.
    pub(crate) fn sessions(&self) -> &Held {
        &self.sessions
    }

    /// Returns the modules of future upgrades.
    pub(crate) fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Returns the registry of counts.
    pub(crate) fn metrics(&self) -> &Registry {
        &self.metrics
    }

    /// Returns the counts so far, and the present state of the database.
    pub(crate) fn figures(&self) -> Metrics {
        let log = self.store.figures();
        let resident = self.residents.iter().map(|shard| shard.read().len() as u64).sum();
        let (codes_compiled, codes_cached) = self.catalog.counts();
        let counted = self.metrics.read();
        Metrics {
            log_groups: log.group_count,
            log_frames: log.frame_count,
            log_bytes: log.bytes_count,
            log_syncs: log.sync_count,
            log_sync: log.sync_time,
            codes_compiled,
            codes_cached,
            objects_resident: resident,
            resident_bytes: self.residency.bytes(),
            objects_queued: self.queue.len() as u64,
            // Each turn is counted like a letter.
            letters_waiting: self.queue.under_way().saturating_sub(counted.workers_busy),
            messages_waiting: self.store.message_count() as u64,
            wakes_armed: self.timer.len() as u64,
            wakes_overdue: self.overdue.len() as u64,
            ahead: Duration::from_millis(
                self.newest_time.load(Ordering::Relaxed).saturating_sub(self.clock().now()),
            ),
            unindexed_bytes: self.store.unindexed_bytes(),
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

    /// The last nonces drawn for the object and some others.
    pub(crate) fn last_nonce(&self, id: ObjectId) -> &Mutex<Drawn> {
        &self.nonces[shard_index(id)]
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
    pub(crate) fn post_advance(&self, id: ObjectId, time: u64, reply: Reply) -> Result<()> {
        self.post(id, Letter::Advance { time, reply })
    }

    fn post(&self, id: ObjectId, letter: Letter) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(ErrorKind::Closed.into()),
            false => self.put(id, letter),
        }
    }

    /// Ends an object here, as it continues elsewhere, or takes it back; durable when this returns.
    /// Returns whether that was a change.
    pub(crate) fn set_moved(&self, id: ObjectId, moved: bool) -> Result<bool> {
        let resident = self.place(id);
        // A thread that loads the object meanwhile finds its new state.
        let mut live = resident.live.lock();
        let is_new = self.store.set_moved(id, moved)?;
        let Some(info) = self.store.info(id)? else { return Ok(is_new) };
        resident.set_moved(info.moved);
        // When its wake is tried again is known from the record.
        *live = None;
        let missed = info.wake.and_then(|wake| self.overdue.find(id, wake));
        if let Some(missed) = missed {
            self.overdue.remove(id);
            self.timer.change(id, Some(missed.retry), None);
        }
        match info.moved {
            true => self.timer.change(id, info.wake, None),
            false => self.timer.change(id, None, info.wake),
        }
        Ok(is_new)
    }

    /// Notes that an object, whose wake was at `old`, has other versions than before, or exists
    /// only now.
    pub(crate) fn renew(&self, stack: DeepStack, id: ObjectId, old: Option<u64>) -> Result<()> {
        let known = self.shard(id).read().get(&id).cloned();
        if let Some(resident) = known {
            // The worker on the object notices, now or soon, that its head has changed.
            let mut live = resident.live.lock();
            resident.set_moved(false);
            let missed = live.as_ref().and_then(Live::armed);
            self.timer.change(id, missed, None);
            *live = Some(self.load(stack, &resident)?);
        }
        self.overdue.remove(id);
        let wake = self.store.info(id)?.and_then(|info| info.wake);
        self.timer.change(id, old, wake);
        // Messages to it that were sent here stayed.
        self.post_mail((!self.store.messages_to(id).is_empty()).then_some(id));
        Ok(())
    }

    /// Notifies objects, once each, that messages are on their way to them: also while the database
    /// closes, since submitted work is finished.
    pub(crate) fn post_mail(&self, receivers: impl IntoIterator<Item = ObjectId>) {
        for to in receivers {
            let now = self.clock().now();
            match self.put(to, Letter::Mail { time: now }) {
                Ok(()) => {}
                Err(error) if is_gone(&error) => self.bury(to, &error),
                Err(error) => {
                    tracing::error!(%error, "messages are late");
                    self.timer.change(to, None, Some(now.saturating_add(RETRY_MS)));
                }
            }
        }
    }

    /// Marks all messages to a missing or moved object as dead letters.
    fn bury(&self, to: ObjectId, error: &Error) {
        let why = match error.kind() {
            ErrorKind::Moved => "the object was moved away",
            _ => "there is no such object",
        };
        for id in self.store.messages_to(to) {
            let fate = Fate::Dead(why.to_string());
            let append = Append { taken: vec![Taking { id, fate }], ..Append::default() };
            match self.store.append(&append, drop) {
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
                .resident(id)
                .and_then(|one| Ok((one.post(letter, self.options.mailbox_max)?, one)));
            match posted {
                Ok((Posted::Waiting, _)) => return Ok(()),
                Ok((Posted::Known, _)) => {
                    self.queue.end();
                    return Ok(());
                }
                Ok((Posted::Schedule, resident)) => {
                    self.schedule(resident);
                    return Ok(());
                }
                Ok((Posted::Closed(given_back), resident)) => {
                    self.forget(&resident);
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
    pub(crate) fn post_joint(&self, joint: Joint) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ErrorKind::Closed.into());
        }
        let (objects, joint) = (joint.objects(), Arc::new(joint));
        let _held = self.queue.hold();
        loop {
            let find = |&(id, time): &(ObjectId, u64)| {
                Ok((self.resident(id).map_err(|error| error.about(id))?, time))
            };
            let residents: Vec<_> = objects.iter().map(find).collect::<Result<_>>()?;
            objects.iter().for_each(|_| self.queue.begin());
            let max = self.options.mailbox_max;
            let take_back = || objects.iter().for_each(|_| self.queue.end());
            match Resident::post_to_all(&residents, &joint, max) {
                PostedToAll::Schedule(idle) => {
                    idle.iter().for_each(|&index| self.schedule(Arc::clone(&residents[index].0)));
                    return Ok(());
                }
                PostedToAll::Closed(index) => {
                    take_back();
                    self.forget(&residents[index].0);
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

    /// Puts an object on a run queue.
    pub(crate) fn schedule(&self, resident: Arc<Resident>) {
        self.queue.push(resident);
    }

    fn shard(&self, id: ObjectId) -> &RwLock<HashMap<ObjectId, Arc<Resident>>> {
        &self.residents[shard_index(id)]
    }

    /// The object's place in memory, made when it has none; it is loaded at its first turn.
    pub(crate) fn resident(&self, id: ObjectId) -> Result<Arc<Resident>> {
        if let Some(resident) = self.shard(id).read().get(&id) {
            return match resident.is_moved() {
                true => Err(ErrorKind::Moved.into()),
                false => Ok(Arc::clone(resident)),
            };
        }
        match self.store.info(id)? {
            None => return Err(ErrorKind::NoObject.into()),
            Some(info) if info.moved => return Err(ErrorKind::Moved.into()),
            Some(_) => {}
        }
        Ok(self.place(id))
    }

    /// Returns the place in memory of an existing object.
    fn place(&self, id: ObjectId) -> Arc<Resident> {
        let mut shard = self.shard(id).write();
        Arc::clone(shard.entry(id).or_insert_with(|| Arc::new(Resident::new(id))))
    }

    /// An object that waits in a transaction: it leaves memory when it is idle, and so it is not.
    pub(crate) fn scheduled(&self, id: ObjectId) -> Arc<Resident> {
        let shard = self.shard(id).read();
        Arc::clone(shard.get(&id).expect("an object that is scheduled stays in memory"))
    }

    /// The newest version, durable or not, when the object is in memory.
    pub(crate) fn newest(&self, id: ObjectId) -> Option<Snapshot> {
        self.shard(id).read().get(&id)?.published()
    }

    /// Takes an object that was just created into memory, unless someone who found it in the store
    /// already has.
    pub(crate) fn insert(&self, live: Live) {
        let id = live.head.id;
        let resident = Arc::new(Resident::new(id));
        self.publish(&resident, &live);
        *resident.live.lock() = Some(live);
        match self.shard(id).write().entry(id) {
            Entry::Vacant(vacant) => vacant.insert(Arc::clone(&resident)),
            Entry::Occupied(_) => return self.residency.weigh(resident.bytes(), 0),
        };
        self.residency.enter(resident);
        self.make_room();
    }

    /// The time of the object's newest version.
    pub(crate) fn head_time(&self, id: ObjectId) -> Result<u64> {
        if let Some(newest) = self.newest(id) {
            return Ok(newest.header().time);
        }
        Ok(self.store.info(id)?.ok_or(ErrorKind::NoObject)?.time)
    }

    /// The ledger of the object's newest version.
    pub(crate) fn ledger(&self, id: ObjectId) -> Result<Arc<Ledger>> {
        if let Some(ledger) = self.shard(id).read().get(&id).and_then(|it| it.ledger()) {
            return Ok(ledger);
        }
        Ok(Arc::new(self.store.newest_ledger(id)?.ok_or(ErrorKind::NoObject)?))
    }

    fn forget(&self, resident: &Arc<Resident>) {
        let mut shard = self.shard(resident.id).write();
        if shard.get(&resident.id).is_some_and(|held| Arc::ptr_eq(held, resident)) {
            shard.remove(&resident.id);
        }
    }

    /// Loads an object as its next step needs it, and publishes its newest version. The worker on
    /// turn calls it.
    pub(crate) fn load(&self, stack: DeepStack, resident: &Arc<Resident>) -> Result<Live> {
        let info = self.store.info(resident.id)?.ok_or(ErrorKind::NoObject)?;
        if info.moved {
            resident.set_moved(true);
            return Err(ErrorKind::Moved.into());
        }
        let stored = self.store.head(resident.id)?.ok_or(ErrorKind::NoObject)?;
        let live = self.live(stack, stored)?;
        self.metrics.count(Count::ObjectsLoaded);
        let is_new = resident.published().is_none();
        if let Some(missed) = live.missed.as_deref() {
            self.overdue.put(live.head.id, missed.clone());
        }
        self.publish(resident, &live);
        if is_new {
            self.residency.enter(Arc::clone(resident));
        }
        Ok(live)
    }

    /// The object as its next step needs it.
    pub(crate) fn loaded<'a>(
        &self,
        stack: DeepStack,
        resident: &Arc<Resident>,
        live: &'a mut Option<Live>,
    ) -> Result<&'a mut Live> {
        if live.as_ref().is_none_or(|live| live.stale) {
            *live = Some(self.load(stack, resident)?);
        }
        Ok(live.as_mut().expect("it was just made sure of"))
    }

    /// Makes the newest version visible to readers.
    pub(crate) fn publish(&self, resident: &Resident, live: &Live) {
        self.note_time(live.head.header.time);
        let (before, after) = resident.publish(live);
        self.residency.weigh(before, after);
    }

    /// Returns an object as the step behind `stored` needs it.
    pub(crate) fn live(&self, stack: DeepStack, stored: storage::Loaded) -> Result<Live> {
        let (head, globals) = (stored.head, stored.globals);
        let definition = self.definition(stack, (head.header.code, head.header.policy))?;
        let runnable = self.runnable(stack, &definition)?;
        if stored.base != runnable.base_hash {
            return Err(mismatch("base image", &head, runnable.base_hash, stored.base));
        }
        let image = stored.image;
        let mut tree = runnable.tree.clone();
        let changed: Vec<u32> = image.changed_pages().iter().map(|(index, _)| *index).collect();
        tree.update(&image, &changed);
        if tree.root() != head.header.memory_root {
            return Err(mismatch("memory root", &head, head.header.memory_root, tree.root()));
        }
        let missed = self.missed(&head)?.map(Box::new);
        let (refusers, stale) = (None, false);
        Ok(Live { definition, runnable, head, image, globals, missed, refusers, stale })
    }

    /// The head's wake, if it was tried in vain since the database was opened, or was refused
    /// before that.
    fn missed(&self, head: &Head) -> Result<Option<Missed>> {
        let Some(wake) = head.header.wake else { return Ok(None) };
        if let Some(missed) = self.overdue.find(head.id, wake) {
            return Ok(Some(missed));
        }
        if head.refusal_count == head.header.refusal_count {
            return Ok(None);
        }
        for refusal in self.store.refusals(head.id)? {
            let refusal = refusal?;
            if refusal.parent != head.hash {
                break;
            }
            if Input::decode(&refusal.input)?.request == Request::Cycle {
                return Ok(Some(Missed::on_record(wake, refusal.verdict)));
            }
        }
        Ok(None)
    }

    /// The definition of a code and a policy.
    pub(crate) fn definition(
        &self,
        stack: DeepStack,
        hashes: (CodeHash, PolicyHash),
    ) -> Result<Arc<Definition>> {
        let read = || Ok((self.code(hashes.0)?, self.policy(hashes.1)?));
        self.catalog.definition(stack, hashes, read)
    }

    fn code(&self, hash: CodeHash) -> Result<Vec<u8>> {
        if let Some(offered) = self.offered.get(hash) {
            return Ok(offered.to_vec());
        }
        self.store.code(hash)?.ok_or_else(|| missing("code", hash))
    }

    pub(crate) fn policy(&self, hash: PolicyHash) -> Result<Vec<u8>> {
        self.store.policy(hash)?.ok_or_else(|| missing("policy", hash))
    }

    /// The compiled code of a definition.
    pub(crate) fn runnable(
        &self,
        stack: DeepStack,
        definition: &Definition,
    ) -> Result<Arc<Runnable>> {
        let hash = definition.code.hash;
        self.catalog.runnable(stack, definition, MEMORY_BYTES_MAX, || self.code(hash))
    }

    /// Takes idle objects out of memory, the coldest first, while all take more than the option
    /// allows.
    pub(crate) fn make_room(&self) {
        self.residency.make_room(|resident| {
            self.forget(resident);
            self.metrics.count(Count::ObjectsEvicted);
        });
    }

    /// Posts every wake that is due at `now`. One that cannot be posted is tried again a little
    /// later; the first error is given when all others are posted.
    pub(crate) fn post_due(&self, now: u64) -> Result<()> {
        let mut posted = Ok(());
        while let Some((_, id)) = self.timer.take_due(now) {
            match self.post(id, Letter::Wake { time: now }) {
                Ok(()) => {}
                // An object whose creation never became durable has no wake either, and one that
                // was moved away has none here. Messages to it may have been late.
                Err(error) if is_gone(&error) => self.bury(id, &error),
                Err(error) if matches!(error.kind(), ErrorKind::Closed) => return Err(error),
                Err(error) => {
                    self.timer.change(id, None, Some(now.saturating_add(RETRY_MS)));
                    posted = posted.and(Err(error));
                }
            }
        }
        posted
    }
}

/// Returns whether an error says that the object is not here, or no longer.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NoObject | ErrorKind::Moved)
}

fn shard_index(id: ObjectId) -> usize {
    usize::from(id.0[0]) % SHARD_COUNT
}

/// Returns the error that the store's parts of an object are not those of its head.
fn mismatch(
    what: &'static str,
    head: &Head,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    let (seq, expected, found) = (head.header.seq, expected.to_string(), found.to_string());
    object::Error::from(object::ErrorKind::Mismatch { what, seq, expected, found }).into()
}
