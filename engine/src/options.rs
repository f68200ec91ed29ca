//! How a database is opened: its limits, threads and clock.
//!
//! It does not know what the limits guard; each is enforced, with an error of its own, where its
//! resource is used.

use std::path::Path;

use crate::clock::Clock;
use crate::database::Database;
use crate::error::Result;

/// Options of a database, with defaults for one small machine.
#[derive(Debug)]
pub struct Options {
    pub(crate) worker_count: usize,
    pub(crate) mailbox_max: usize,
    pub(crate) transaction_max: usize,
    pub(crate) messages_max: usize,
    pub(crate) resident_bytes_max: u64,
    pub(crate) refusals_max: u64,
    pub(crate) refusals_each_max: u64,
    pub(crate) refusal_bytes_max: u64,
    pub(crate) memory_bytes_max: u64,
    pub(crate) cycles: bool,
    pub(crate) clock: Clock,
    pub(crate) storage: storage::Options,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            worker_count: std::thread::available_parallelism().map_or(1, usize::from),
            mailbox_max: 1024,
            transaction_max: 256,
            messages_max: 1_000_000,
            resident_bytes_max: 1 << 30,
            refusals_max: 1024,
            refusals_each_max: 256,
            refusal_bytes_max: 4096,
            memory_bytes_max: 64 << 20,
            cycles: true,
            clock: Clock::system(),
            storage: storage::Options::default(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// Threads that run steps. Default: as many as the machine has cores.
    ///
    /// With none, the database starts no threads that outlast a call, for the log and the wakes
    /// neither: whoever waits for it works, by [`Pending::wait`](crate::Pending::wait) and
    /// [`Ticket::wait`](crate::Ticket::wait), when it polls their futures, and by
    /// [`Database::create`], [`Database::run_until`], [`Database::work`] and [`Database::close`].
    /// What nobody waits for is not run, and not durable, before the next of these or
    /// [`Database::sync`]. Such a thread must have [`STACK_BYTES`](crate::STACK_BYTES) of stack:
    /// guest code may overflow a smaller one, which ends the process.
    ///
    /// ```
    /// use continuant::{Code, Database, Options, STACK_BYTES, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db");
    /// let run = move || -> continuant::Result<u64> {
    ///     let db = Options::new().workers(0).open(path)?;
    ///     # let wasm = std::fs::read("guest/objects/counter.wasm").unwrap();
    ///     # let policy = std::fs::read_to_string("guest/examples/counter/policy.cedar").unwrap();
    ///     let counter = db.create(Code::wasm(wasm)?.policy(policy))?;
    ///     let one = db.call(counter, "increment", args![2u64]).submit()?;
    ///     db.call(counter, "increment", args![40u64]).wait()?;     // runs both, here
    ///     one.wait()?;                                             // is there already
    ///     Ok(db.snapshot(counter)?.get("count")?)
    /// };
    /// let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run)?;
    /// assert_eq!(thread.join().expect("it does not panic")?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn workers(mut self, count: usize) -> Options {
        self.worker_count = count;
        self
    }

    /// Inputs that may wait for one object before a caller is turned away. Default: 1024.
    pub fn mailbox_max(mut self, count: usize) -> Options {
        self.mailbox_max = count.max(1);
        self
    }

    /// Objects of one transaction. Default: 256.
    pub fn transaction_max(mut self, count: usize) -> Options {
        self.transaction_max = count.max(1);
        self
    }

    /// Messages that may be on their way before a step that sends more, and is no answer to one, is
    /// turned away. Default: 1,000,000, of about 100 bytes of memory each.
    pub fn messages_max(mut self, count: usize) -> Options {
        self.messages_max = count;
        self
    }

    /// Bytes of memory above which objects that are idle leave it, the coldest first: an object
    /// takes its pages, those in which it differs from its code's base image, and about 1.5 KiB.
    /// Objects at work stay, so for a moment there may be more. Default: 1 GiB.
    pub fn resident_bytes_max(mut self, bytes: u64) -> Options {
        self.resident_bytes_max = bytes;
        self
    }

    /// Refusals on record of one object; later ones are given to the caller but not kept, so that
    /// strangers cannot grow a log. Default: 1024.
    pub fn refusals_max(mut self, count: u64) -> Options {
        self.refusals_max = count;
        self
    }

    /// Refusals on record of one object that are counted for the same principal: a key by which
    /// something was admitted in the last days, the object itself, or everyone else together.
    /// Default: 256.
    pub fn refusals_each_max(mut self, count: u64) -> Options {
        self.refusals_each_max = count;
        self
    }

    /// Bytes of an encoded input up to which its refusal is kept; the refusal of a longer one is
    /// given to the caller only. Default: 4096.
    pub fn refusal_bytes_max(mut self, bytes: u64) -> Options {
        self.refusal_bytes_max = bytes;
        self
    }

    /// Bytes of memory that the module of an object that is created or imported may declare as its
    /// maximum. Default: 64 MiB.
    pub fn memory_bytes_max(mut self, bytes: u64) -> Options {
        self.memory_bytes_max = bytes;
        self
    }

    /// Whether objects' own cycles run by themselves while the database is open. Default: yes.
    /// Without, [`Database::advance`] and [`Database::run_until`] run them, and any input still
    /// runs a wake that was due before it; and messages that an earlier process left on their way
    /// wait for [`Database::run_until`], or for the next message to the same object.
    ///
    /// Nobody waits for a cycle that runs by itself: its outputs are in the object's history, and
    /// an [`outbox`](Database::outbox) gives them.
    pub fn cycles(mut self, run: bool) -> Options {
        self.cycles = run;
        self
    }

    /// The clock. Default: the system's.
    pub fn clock(mut self, clock: Clock) -> Options {
        self.clock = clock;
        self
    }

    /// Options of the log and the index.
    pub fn storage(mut self, options: storage::Options) -> Options {
        self.storage = options;
        self
    }

    /// Opens the database in the directory `path`, which is created if it is missing.
    ///
    /// # Errors
    ///
    /// Those of [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(path.as_ref(), self)
    }
}
