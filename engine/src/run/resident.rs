//! Residents: an object in memory, with its mailbox, its head, and the image for readers.
//!
//! Only one worker at a time works on an object, the one that took it off the run queue, so its
//! head needs no lock that anybody waits for. This module does not know what a step is, nor when a
//! worker comes: the mailbox does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use object::hash::ObjectId;
use object::ledger::Ledger;
use object::limits::PAGE_BYTES;
use object::time::Time;
use query::{Snapshot, Version};
use storage::lock::Mutex;

use crate::error::Result;
use crate::head::live::Live;
use crate::rank;
use crate::run::letter::Letter;
use crate::run::mailbox::{Mailbox, Posted, PostedToAll};
use crate::run::transaction::QueuedTransaction;

/// An object that has mail, or is kept in memory for when it has.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) id: ObjectId,
    mailbox: Mailbox<Letter>,
    /// The state for the worker on turn; loaded at the first turn.
    pub(crate) live: Mutex<Option<Live>, rank::Live>,
    /// The newest version, for readers.
    published: ArcSwapOption<Version>,
    /// The newest version's ledger, for callers that sign.
    ledger: ArcSwapOption<Ledger>,
    /// The memory that the object takes.
    bytes: AtomicU64,
    /// True if anybody asked for it since the last check.
    is_warm: AtomicBool,
    /// True if the object was moved away, so that nobody may ask it for anything.
    is_moved: AtomicBool,
    /// True if the newest version is a deletion, so that nothing can follow.
    is_deleted: AtomicBool,
    /// The place of the worker that had it last.
    worker: AtomicU32,
}

/// The memory of an object besides its pages, ledger and globals, and of a page besides its bytes.
const RESIDENT_BYTES: u64 = 1_536;
const PAGE_EXTRA_BYTES: u64 = 48;

/// The result of taking an object out of memory.
pub(crate) enum Cooled {
    /// The object was idle, and is gone; `bytes` is its size.
    Gone { bytes: u64 },
    /// Somebody works on it, or asked for it lately.
    Stays,
}

impl Resident {
    pub(crate) fn new(id: ObjectId) -> Resident {
        let (mailbox, live, published, ledger, bytes) = Default::default();
        let (is_warm, is_moved, is_deleted) = Default::default();
        // Any worker: ids are spread evenly.
        let [low, high, ..] = id.0;
        let worker = AtomicU32::new(u32::from_le_bytes([low, high, 0, 0]));
        Resident {
            id,
            mailbox,
            live,
            published,
            ledger,
            bytes,
            is_warm,
            is_moved,
            is_deleted,
            worker,
        }
    }

    /// Returns whether the object was moved away, as far as is known here: the store refuses later
    /// changes in any case.
    pub(crate) fn is_moved(&self) -> bool {
        self.is_moved.load(Ordering::Relaxed)
    }

    /// Notes whether the object was moved away.
    pub(crate) fn set_moved(&self, moved: bool) {
        self.is_moved.store(moved, Ordering::Relaxed);
    }

    /// Returns whether the object was deleted, as far as is known here.
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Relaxed)
    }

    /// The place of the worker that had the object last; any number when none had.
    pub(crate) fn worker(&self) -> usize {
        self.worker.load(Ordering::Relaxed) as usize
    }

    /// Notes which worker has the object. Only the place of a run queue hangs on it.
    pub(crate) fn set_worker(&self, place: usize) {
        if self.worker() != place {
            self.worker.store(place as u32, Ordering::Relaxed);
        }
    }

    /// Puts a letter into the mailbox, unless `max` wait already.
    pub(crate) fn post(&self, letter: Letter, max: usize) -> Result<Posted<Letter>> {
        self.mailbox.post(letter, max)
    }

    /// Puts a letter into the mailbox of each of several residents at once, unless `max` wait in
    /// one already. The residents are ascending by id, each with its letter's time.
    pub(crate) fn post_to_all(
        residents: &[(Arc<Resident>, Time)],
        transaction: &Arc<QueuedTransaction>,
        max: usize,
    ) -> PostedToAll {
        let mailboxes: Vec<_> = residents.iter().map(|(resident, _)| &resident.mailbox).collect();
        let letter = |place: usize| Letter::Transaction {
            time: residents[place].1,
            transaction: transaction.clone(),
        };
        Mailbox::post_to_all(&mailboxes, letter, max)
    }

    /// The next letter of the worker on turn.
    pub(crate) fn take(&self) -> Option<Letter> {
        self.warm();
        self.mailbox.take()
    }

    /// Puts a letter back, as [`Mailbox::put_back`] does. Whether it is there again.
    pub(crate) fn put_back(&self, letter: Letter) -> bool {
        self.mailbox.put_back(letter)
    }

    /// Ends a worker's turn; returns whether there is more mail, so that the object goes back on
    /// the queue. If not, it is idle now, and may leave memory.
    pub(crate) fn leave(&self) -> bool {
        self.mailbox.end_turn()
    }

    /// Marks the object as gone from memory, when it is idle and nobody asked for it since this was
    /// called last.
    pub(crate) fn cool(&self) -> Cooled {
        match self.mailbox.close(|| !self.is_warm.swap(false, Ordering::Relaxed)) {
            true => Cooled::Gone { bytes: self.bytes.swap(0, Ordering::Relaxed) },
            false => Cooled::Stays,
        }
    }

    /// Returns the memory that the object takes, as of its newest version.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Notes that somebody asks for the object.
    fn warm(&self) {
        // Written seldom: readers of a hot object share the line.
        if !self.is_warm.load(Ordering::Relaxed) {
            self.is_warm.store(true, Ordering::Relaxed);
        }
    }

    /// Makes the newest version visible to readers; returns the object's size before and now.
    pub(crate) fn publish(&self, live: &Live) -> (u64, u64) {
        let (definition, header) = (Arc::clone(&live.definition), Arc::clone(&live.head.header));
        let newest = Snapshot::new(definition, header, live.image.clone());
        self.published.store(Some(newest.into()));
        self.is_deleted.store(live.head.deleted().is_some(), Ordering::Relaxed);
        self.ledger.store(Some(Arc::clone(&live.head.ledger)));
        let pages = live.image.changed_pages().len() as u64;
        let beside = size_of_val(&live.globals[..]) + live.head.ledger.memory_bytes();
        let bytes = RESIDENT_BYTES + beside as u64 + pages * (PAGE_BYTES as u64 + PAGE_EXTRA_BYTES);
        (self.bytes.swap(bytes, Ordering::Relaxed), bytes)
    }

    /// The ledger of the newest version, or of the one before while that is published; none when
    /// the object is not loaded.
    pub(crate) fn ledger(&self) -> Option<Arc<Ledger>> {
        self.ledger.load_full()
    }

    /// The newest version, when the object is loaded. Waits for nobody.
    pub(crate) fn published(&self) -> Option<Snapshot> {
        self.warm();
        self.published.load_full().map(Snapshot::from)
    }
}
