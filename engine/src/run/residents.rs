//! The objects in memory, by their ids.
//!
//! It does not know who posts to them, nor how one is loaded.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use object::hash::ObjectId;
use object::ledger::Ledger;
use object::time::Time;
use query::Snapshot;
use storage::Store;
use storage::lock::RwLock;

use crate::error::{ErrorKind, Result};
use crate::head::live::Live;
use crate::metrics::{Count, Registry};
use crate::rank;
use crate::run::residency::Residency;
use crate::run::resident::Resident;

/// Maps of the residents, so that posting to one object seldom waits for another.
const SHARD_COUNT: usize = 64;

/// Residents by their ids.
type Shard = RwLock<HashMap<ObjectId, Arc<Resident>>, rank::Shard>;

/// The objects in memory.
pub(crate) struct Residents {
    shards: Vec<Shard>,
    residency: Residency,
    /// The milliseconds of the newest time of a version that was made, loaded or imported.
    newest_time: AtomicU64,
}

impl Residents {
    /// Returns an empty set, with room for about `bytes_max` bytes of idle objects.
    pub(crate) fn new(bytes_max: u64) -> Residents {
        Residents {
            shards: (0..SHARD_COUNT).map(|_| RwLock::default()).collect(),
            residency: Residency::new(bytes_max),
            newest_time: AtomicU64::new(0),
        }
    }

    /// Asserts, in debug builds and while nobody posts and no worker works, that the weight of all
    /// is the sum of the weights.
    pub(crate) fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let shards = self
                .shards
                .iter()
                .map(|shard| shard.read().values().map(|resident| resident.bytes()).sum::<u64>());
            assert_eq!(shards.sum::<u64>(), self.bytes(), "the residents weigh what each weighs");
        }
    }

    /// Returns the number of objects in memory.
    pub(crate) fn count(&self) -> u64 {
        self.shards.iter().map(|shard| shard.read().len() as u64).sum()
    }

    /// Returns the bytes that they take.
    pub(crate) fn bytes(&self) -> u64 {
        self.residency.bytes()
    }

    /// The newest time of a version that was noted.
    pub(crate) fn newest_time(&self) -> Time {
        Time::from_millis(self.newest_time.load(Ordering::Relaxed))
    }

    /// Takes in the time of a version.
    pub(crate) fn note_time(&self, time: Time) {
        let time = time.as_millis();
        // Written seldom: all workers come here.
        if self.newest_time.load(Ordering::Relaxed) < time {
            self.newest_time.fetch_max(time, Ordering::Relaxed);
        }
    }

    fn shard(&self, id: ObjectId) -> &Shard {
        &self.shards[shard_index(id)]
    }

    /// The object's place in memory, made when it has none; it is loaded at its first turn.
    pub(crate) fn find(&self, store: &Store, id: ObjectId) -> Result<Arc<Resident>> {
        if let Some(resident) = self.get(id) {
            if resident.is_moved() {
                return Err(ErrorKind::Moved.into());
            }
            if !resident.is_deleted() {
                return Ok(resident);
            }
        }
        let info = store.info(id)?.ok_or(ErrorKind::NoObject)?;
        match info.deleted {
            _ if info.moved => Err(ErrorKind::Moved.into()),
            Some(at) => Err(ErrorKind::Deleted { at }.into()),
            None => Ok(self.place(id)),
        }
    }

    /// The object's place in memory, if it has one.
    pub(crate) fn get(&self, id: ObjectId) -> Option<Arc<Resident>> {
        self.shard(id).read().get(&id).cloned()
    }

    /// Returns the place in memory of an existing object.
    pub(crate) fn place(&self, id: ObjectId) -> Arc<Resident> {
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

    /// The ledger of the newest version, when the object is in memory.
    pub(crate) fn ledger(&self, id: ObjectId) -> Option<Arc<Ledger>> {
        self.shard(id).read().get(&id)?.ledger()
    }

    /// Takes an object that was just created into memory, unless someone who found it in the store
    /// already has.
    pub(crate) fn insert(&self, live: Live, metrics: &Registry) {
        let id = live.head.id;
        let resident = Arc::new(Resident::new(id));
        self.publish(&resident, &live);
        *resident.live.lock() = Some(live);
        match self.shard(id).write().entry(id) {
            Entry::Vacant(vacant) => vacant.insert(Arc::clone(&resident)),
            Entry::Occupied(_) => return self.residency.weigh(resident.bytes(), 0),
        };
        self.residency.enter(resident);
        self.make_room(metrics);
    }

    /// Takes in a resident that was just loaded.
    pub(crate) fn enter(&self, resident: Arc<Resident>) {
        self.residency.enter(resident);
    }

    /// Takes an object out of memory, unless another has its place.
    pub(crate) fn forget(&self, resident: &Arc<Resident>) {
        let mut shard = self.shard(resident.id).write();
        if shard.get(&resident.id).is_some_and(|held| Arc::ptr_eq(held, resident)) {
            shard.remove(&resident.id);
        }
    }

    /// Makes the newest version visible to readers.
    pub(crate) fn publish(&self, resident: &Resident, live: &Live) {
        self.note_time(live.head.header.time);
        let (before, after) = resident.publish(live);
        self.residency.weigh(before, after);
    }

    /// Takes idle objects out of memory, the coldest first, while all take more than the option
    /// allows.
    pub(crate) fn make_room(&self, metrics: &Registry) {
        self.residency.make_room(|resident| {
            self.forget(resident);
            metrics.count(Count::ObjectsEvicted);
        });
    }
}

/// The place of the maps of an object.
fn shard_index(id: ObjectId) -> usize {
    usize::from(id.0[0]) % SHARD_COUNT
}
