//! What the threads of one open database share: the objects in memory, the run queue, the timer,
//! the clock, the store.
//!
//! It does not know what a turn does. It holds every way to post a letter.
//!
//! Invariant: each letter posted is counted on the queue before it can be taken.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use object::definition::Definition;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::input::Input;
use object::memory::Tree;
use parking_lot::Mutex;
use storage::Store;

use crate::catalog::{Catalog, Runnable};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::options::Options;
use crate::pool::Queue;
use crate::reply::Reply;
use crate::resident::{Letter, Live, Posted, Resident};
use crate::slots::Slots;
use crate::timer::Timer;

/// Maps of the residents, so that posting to one object seldom waits for another.
const SHARD_COUNT: usize = 64;

pub(crate) struct Shared {
    store: Store,
    catalog: Catalog,
    queue: Arc<Queue<Slots>>,
    timer: Timer,
    options: Options,
    residents: Vec<Mutex<HashMap<ObjectId, Arc<Resident>>>>,
    /// Objects that were loaded, the longest ago first: candidates to leave memory.
    loaded: Mutex<VecDeque<ObjectId>>,
    last_nonce: AtomicU64,
    closed: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn new(store: Store, options: Options) -> Result<Shared> {
        Ok(Shared {
            store,
            catalog: Catalog::new()?,
            queue: Arc::new(Queue::new()),
            timer: Timer::default(),
            options,
            residents: (0..SHARD_COUNT).map(|_| Mutex::default()).collect(),
            loaded: Mutex::default(),
            last_nonce: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        })
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    pub(crate) fn queue(&self) -> &Arc<Queue<Slots>> {
        &self.queue
    }

    pub(crate) fn timer(&self) -> &Timer {
        &self.timer
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.options.clock
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Turns away every letter from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// A nonce above all that this process used.
    pub(crate) fn next_nonce(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.last_nonce.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
        next(last.expect("the update always has a value")).expect("as it had for the update")
    }

    /// Posts an input.
    pub(crate) fn post_input(&self, id: ObjectId, input: Input, reply: Reply) -> Result<()> {
        self.post(id, Letter::Input { input, reply })
    }

    /// Posts that someone asks for the object's own cycle, if it is due by `time`.
    pub(crate) fn post_advance(&self, id: ObjectId, time: u64, reply: Reply) -> Result<()> {
        self.post(id, Letter::Advance { time, reply })
    }

    fn post(&self, id: ObjectId, mut letter: Letter) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(ErrorKind::Closed.into());
        }
        self.queue.begin();
        loop {
            let posted = self
                .resident(id)
                .and_then(|one| Ok((one.post(letter, self.options.mailbox_max)?, one)));
            match posted {
                Ok((Posted::Waiting, _)) => return Ok(()),
                Ok((Posted::Schedule, resident)) => {
                    self.schedule(resident);
                    return Ok(());
                }
                Ok((Posted::Evicted(given_back), resident)) => {
                    self.forget(&resident);
                    letter = given_back;
                }
                Err(error) => {
                    self.queue.end();
                    return Err(error.about(id));
                }
            }
        }
    }

    /// Puts an object on the run queue.
    pub(crate) fn schedule(&self, resident: Arc<Resident>) {
        self.queue.push(resident);
    }

    fn shard(&self, id: ObjectId) -> &Mutex<HashMap<ObjectId, Arc<Resident>>> {
        &self.residents[usize::from(id.0[0]) % SHARD_COUNT]
    }

    /// The object's place in memory, made when it has none; it is loaded at its first turn.
    fn resident(&self, id: ObjectId) -> Result<Arc<Resident>> {
        if let Some(resident) = self.shard(id).lock().get(&id) {
            return Ok(Arc::clone(resident));
        }
        if self.store.info(id)?.is_none() {
            return Err(ErrorKind::NoObject.into());
        }
        let mut shard = self.shard(id).lock();
        Ok(Arc::clone(shard.entry(id).or_insert_with(|| Arc::new(Resident::new(id)))))
    }

    /// The object's place in memory, when it has one.
    pub(crate) fn find(&self, id: ObjectId) -> Option<Arc<Resident>> {
        self.shard(id).lock().get(&id).cloned()
    }

    /// Takes an object that was just created into memory.
    pub(crate) fn insert(&self, live: Live) {
        let id = live.head.id;
        self.shard(id).lock().insert(id, Arc::new(Resident::loaded(live)));
        self.loaded.lock().push_back(id);
        self.make_room();
    }

    fn forget(&self, resident: &Arc<Resident>) {
        let mut shard = self.shard(resident.id).lock();
        if shard.get(&resident.id).is_some_and(|held| Arc::ptr_eq(held, resident)) {
            shard.remove(&resident.id);
        }
    }

    /// What it takes to make the object's next version, from the store. Call it on a worker.
    pub(crate) fn load(&self, id: ObjectId) -> Result<Live> {
        let stored = self.store.head(id)?.ok_or(ErrorKind::NoObject)?;
        let definition = self.definition(&stored.head.header)?;
        let Runnable { code, .. } = self.runnable(&definition)?;
        let tree = Tree::of(&stored.image);
        self.loaded.lock().push_back(id);
        let (image, globals) = (stored.image, stored.globals);
        Ok(Live { definition, code, head: stored.head, image, tree, globals, missed_wake: None })
    }

    /// The definition that a header names. Call it on a worker.
    pub(crate) fn definition(&self, header: &object::header::Header) -> Result<Arc<Definition>> {
        self.catalog.definition((header.code, header.policy), || {
            Ok((self.code(header.code)?, self.policy(header.policy)?))
        })
    }

    fn code(&self, hash: CodeHash) -> Result<Vec<u8>> {
        self.store.code(hash)?.ok_or_else(|| missing("code", hash))
    }

    fn policy(&self, hash: PolicyHash) -> Result<Vec<u8>> {
        self.store.policy(hash)?.ok_or_else(|| missing("policy", hash))
    }

    /// The compiled code of a definition. Call it on a worker.
    pub(crate) fn runnable(&self, definition: &Definition) -> Result<Runnable> {
        let hash = definition.code.hash;
        self.catalog.runnable(definition, || self.code(hash))
    }

    /// Lets objects that are idle leave memory, those loaded the longest ago first, until no more
    /// than the option says are left.
    pub(crate) fn make_room(&self) {
        let mut loaded = self.loaded.lock();
        let excess = loaded.len().saturating_sub(self.options.resident_max);
        for _ in 0..excess {
            let Some(id) = loaded.pop_front() else { return };
            let Some(resident) = self.find(id) else { continue };
            if resident.evict() {
                self.forget(&resident);
            } else {
                loaded.push_back(id);
            }
        }
    }

    /// Posts every wake that is due at `now`; whether there was one.
    pub(crate) fn post_due(&self, now: u64) -> Result<bool, Error> {
        let mut any = false;
        while let Some((_, id)) = self.timer.take_due(now) {
            match self.post(id, Letter::Wake { time: now }) {
                Ok(()) => any = true,
                // An object whose creation never became durable has no wake either.
                Err(error) if matches!(error.kind(), ErrorKind::NoObject) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(any)
    }
}

/// A part that a header names and the store does not have.
pub(crate) fn missing(what: &'static str, hash: impl std::fmt::Display) -> Error {
    ErrorKind::Missing { what, hash: hash.to_string() }.into()
}
