//! An object in memory: its mailbox, its head, and the image that readers are given.
//!
//! Only one worker at a time works on an object, the one that took it off the run queue, so its
//! head needs no lock that anybody waits for. It does not know what a step is, nor when a worker
//! comes: that is the mailbox's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use object::definition::Definition;
use object::hash::{MemoryRoot, ObjectId, VersionHash};
use object::head::{Head, Outcome};
use object::header::Header;
use object::image::Image;
use object::ledger::Ledger;
use object::limits::PAGE_BYTES;
use parking_lot::Mutex;
use query::{Snapshot, Version};

use crate::catalog::Runnable;
use crate::error::{Error, Result};
use crate::joint::Joint;
use crate::mailbox::{Mailbox, Posted, PostedToAll};
use crate::overdue::{Cause, Missed};
use crate::refusers::Refusers;
use crate::reply::Reply;
use crate::shared::Shared;
use crate::step::{Begun, Ran, Subject};
use crate::substrate::StepLimits;
use object::input::Input;

/// An input that waits for its object.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most letters are inputs")]
pub(crate) enum Letter {
    /// Someone asks for a version.
    Input {
        /// Its time is when it was posted.
        input: Input,
        reply: Reply,
        /// Whether it is let in though the object is ahead of the clock.
        even_if_ahead: bool,
    },
    /// Wakes that are due by this time are to run.
    Wake { time: u64 },
    /// Someone asks for the object's own cycle, if it is due by this time.
    Advance { time: u64, reply: Reply },
    /// A transaction has an input of this time for the object, which waits there for the others.
    Join { time: u64, joint: Arc<Joint> },
    /// Messages of other objects are on their way to the object.
    Mail { time: u64 },
}

impl Letter {
    /// The time by which wakes that are due run before it.
    pub(crate) fn wakes_by(&self) -> Option<u64> {
        match self {
            Letter::Input { input, .. } => Some(input.time),
            Letter::Wake { time } | Letter::Join { time, .. } | Letter::Mail { time } => {
                Some(*time)
            }
            Letter::Advance { .. } => None,
        }
    }

    /// Whether an object that is ahead of the clock takes it.
    pub(crate) fn is_let_in(&self, object: ObjectId) -> bool {
        match self {
            Letter::Input { even_if_ahead, .. } => *even_if_ahead,
            Letter::Join { joint, .. } => joint.lets_in(object),
            Letter::Wake { .. } | Letter::Advance { .. } | Letter::Mail { .. } => false,
        }
    }

    /// Whether it is about what the store has anyway: it is never turned away, and nobody waits for
    /// an answer.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Letter::Wake { .. } | Letter::Mail { .. })
    }

    /// Answers it with an error.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Letter::Input { reply, .. } | Letter::Advance { reply, .. } => reply.send(Err(error)),
            Letter::Wake { .. } | Letter::Mail { .. } => Reply::none().send(Err(error)),
            Letter::Join { joint, .. } => joint.fail(error),
        }
    }
}

/// An object that has mail, or is kept in memory for when it has.
#[derive(Debug)]
pub(crate) struct Resident {
    pub(crate) id: ObjectId,
    mailbox: Mailbox,
    /// What the worker on turn works on; loaded at the first turn.
    pub(crate) live: Mutex<Option<Live>>,
    /// The newest version, for readers.
    published: ArcSwapOption<Version>,
    /// Its ledger, for whoever signs.
    ledger: ArcSwapOption<Ledger>,
    /// What the object takes in memory.
    bytes: AtomicU64,
    /// Whether anybody asked for it since that was looked at last.
    is_warm: AtomicBool,
    /// Whether the object was moved away, so that nobody may ask it for anything.
    is_moved: AtomicBool,
    /// The place of the worker that had it last.
    worker: AtomicU32,
}

/// What an object takes in memory besides its pages, ledger and globals, and what a page takes
/// besides its bytes.
const RESIDENT_BYTES: u64 = 1_536;
const PAGE_EXTRA_BYTES: u64 = 48;

/// What it takes to make an object's next version.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) definition: Arc<Definition>,
    pub(crate) runnable: Arc<Runnable>,
    pub(crate) head: Head,
    pub(crate) image: Image,
    pub(crate) globals: Vec<u64>,
    /// The head's wake, if it was due and made no version.
    pub(crate) missed: Option<Box<Missed>>,
    /// Whose refusals are on record; not read before there is one more, which most objects never
    /// have.
    pub(crate) refusers: Option<Box<Refusers>>,
    /// Whether an append failed, so that the head may not be the newest version any more: the next
    /// letter loads the object again.
    pub(crate) stale: bool,
}

/// A wake that is to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// When it was due.
    pub(crate) wake: u64,
    /// When it would have run at the earliest: when it was due or, if it was missed then, when it
    /// is tried again.
    pub(crate) at: u64,
}

impl Live {
    /// What a genesis left.
    pub(crate) fn new(ran: Ran, head: Head, runnable: Arc<Runnable>) -> Live {
        let Ran { image, globals, definition, .. } = ran;
        let (missed, refusers, stale) = (None, None, false);
        Live { definition, runnable, head, image, globals, missed, refusers, stale }
    }

    /// The newest version, as the next step finds it, under these limits.
    pub(crate) fn subject(&self, limits: StepLimits) -> Subject<'_> {
        let Live { definition, runnable, image, globals, .. } = self;
        Subject { definition, runnable, image, globals, limits, initializes: true }
    }

    /// What the header of the version that a step makes records of it; `root` is its memory's.
    pub(crate) fn outcome<'a>(&self, ran: &'a Ran, root: MemoryRoot) -> Outcome<'a> {
        let globals = match ran.globals == self.globals {
            true => self.head.header.globals,
            false => ran.globals_hash(),
        };
        ran.outcome(root, globals)
    }

    /// Takes what a step left as the newest version, which has this header and this ledger.
    pub(crate) fn advance(&mut self, header: Header, ledger: Arc<Ledger>, ran: Ran) {
        let hash = header.hash();
        self.advance_to(hash, header.into(), ledger, ran);
    }

    /// Takes what a step left as the newest version, as [`advance`](Live::advance) does; `hash` is
    /// the header's.
    pub(crate) fn advance_to(
        &mut self,
        hash: VersionHash,
        header: Arc<Header>,
        ledger: Arc<Ledger>,
        ran: Ran,
    ) {
        self.head.advance_to(hash, header, ledger);
        (self.image, self.globals, self.definition) = (ran.image, ran.globals, ran.definition);
        if let Some(Begun { runnable, .. }) = ran.begun {
            self.runnable = runnable;
        }
        self.missed = None;
    }

    /// What is known of this wake, if it was missed.
    pub(crate) fn missed(&self, wake: u64) -> Option<&Missed> {
        self.missed.as_deref().filter(|missed| missed.wake == wake)
    }

    /// Takes in that the head's wake was missed.
    pub(crate) fn miss(&mut self, missed: Missed) {
        self.missed = Some(Box::new(missed));
    }

    /// Has a wake run that was held because the object is ahead of the clock; whether one was.
    pub(crate) fn let_in(&mut self) -> bool {
        self.missed.take_if(|missed| matches!(missed.cause, Cause::Ahead(_))).is_some()
    }

    /// The head's wake, when it is due at `time` and was not missed, or is to be tried again.
    pub(crate) fn due(&self, time: u64) -> Option<Due> {
        let wake = self.head.header.wake.filter(|&wake| wake <= time)?;
        let at = self.missed(wake).map_or(wake, |missed| missed.at);
        self.armed().filter(|&armed| armed <= time).map(|_| Due { wake, at })
    }

    /// When the timer has the object run, unless it has taken that entry already.
    pub(crate) fn armed(&self) -> Option<u64> {
        let wake = self.head.header.wake?;
        // The last moment that there is never comes.
        self.missed(wake)
            .map_or(Some(wake), |missed| (missed.retry < u64::MAX).then_some(missed.retry))
    }
}

/// What became of an object that was to leave memory.
pub(crate) enum Cooled {
    /// It was idle, and is gone: what it weighed.
    Gone { bytes: u64 },
    /// Somebody works on it, or asked for it lately.
    Stays,
}

impl Resident {
    pub(crate) fn new(id: ObjectId) -> Resident {
        let (mailbox, live, published, ledger, bytes, is_warm, is_moved) = Default::default();
        // Any worker: ids are spread evenly.
        let [low, high, ..] = id.0;
        let worker = AtomicU32::new(u32::from_le_bytes([low, high, 0, 0]));
        Resident { id, mailbox, live, published, ledger, bytes, is_warm, is_moved, worker }
    }

    /// Whether the object was moved away, as far as is known here: the store turns away what comes
    /// after in any case.
    pub(crate) fn is_moved(&self) -> bool {
        self.is_moved.load(Ordering::Relaxed)
    }

    /// Notes whether the object was moved away.
    pub(crate) fn set_moved(&self, moved: bool) {
        self.is_moved.store(moved, Ordering::Relaxed);
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
    pub(crate) fn post(&self, letter: Letter, max: usize) -> Result<Posted> {
        self.mailbox.post(letter, max)
    }

    /// Puts a letter into the mailbox of each of several residents at once, unless `max` wait in
    /// one already. The residents are ascending by id, each with its letter's time.
    pub(crate) fn post_to_all(
        residents: &[(Arc<Resident>, u64)],
        joint: &Arc<Joint>,
        max: usize,
    ) -> PostedToAll {
        let mailboxes: Vec<_> = residents.iter().map(|(resident, _)| &resident.mailbox).collect();
        let letter = |place: usize| Letter::Join { time: residents[place].1, joint: joint.clone() };
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

    /// Ends a worker's turn; whether there is more mail, so that the object goes back on the queue.
    pub(crate) fn leave(&self, shared: &Shared) -> bool {
        let has_mail = self.mailbox.end_turn();
        if !has_mail {
            shared.make_room();
        }
        has_mail
    }

    /// Marks the object as gone from memory, when it is idle and nobody asked for it since this was
    /// called last.
    pub(crate) fn cool(&self) -> Cooled {
        match self.mailbox.close(|| !self.is_warm.swap(false, Ordering::Relaxed)) {
            true => Cooled::Gone { bytes: self.bytes.swap(0, Ordering::Relaxed) },
            false => Cooled::Stays,
        }
    }

    /// What the object takes in memory, as far as the newest version tells.
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

    /// Makes the newest version visible to readers; what the object weighed before and weighs now.
    pub(crate) fn publish(&self, live: &Live) -> (u64, u64) {
        let (definition, header) = (Arc::clone(&live.definition), Arc::clone(&live.head.header));
        let newest = Snapshot::new(definition, header, live.image.clone());
        self.published.store(Some(newest.into()));
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
