//! The options with which a database is opened: its limits, threads and clock.
//!
//! This module does not know the resources that the limits guard; each is enforced, with an error
//! of its own, where its resource is used.

use std::path::PathBuf;
use std::time::Duration;

use object::input::Input;
use object::limits::{EFFECTS_BYTES_MAX, FUEL_MAX, OUTPUTS_MAX, PAYLOAD_BYTES_MAX};

#[cfg(doc)]
use crate::Database;
use crate::clock::Clock;
use crate::error::{ErrorKind, Result};
use crate::substrate::{Cache, StepLimits};

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
    pub(crate) payload_bytes_max: usize,
    pub(crate) step_limits: StepLimits,
    pub(crate) cycles: bool,
    pub(crate) clock: Clock,
    pub(crate) clock_ahead_max: Duration,
    pub(crate) code_cache: Option<PathBuf>,
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
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            step_limits: StepLimits::default(),
            cycles: true,
            clock: Clock::system(),
            clock_ahead_max: Duration::from_secs(5 * 60),
            code_cache: None,
            storage: storage::Options::default(),
        }
    }
}

impl Options {
    /// The defaults.
    pub fn new() -> Options {
        Options::default()
    }

    /// Sets the number of threads that run steps. Default: one for each core of the machine.
    ///
    /// With none, the database starts no threads that outlast a call, for the log and the wakes
    /// neither. Its work is done by waiting callers, in [`Pending::wait`](crate::Pending::wait) and
    /// [`Ticket::wait`](crate::Ticket::wait), when their futures are polled, and in
    /// [`Database::create`], [`Database::run_until`], [`Database::work`] and [`Database::close`].
    /// Inputs that nobody waits for are not run, and not durable, before the next of these or
    /// [`Database::sync`]. Such a thread must have [`STACK_BYTES`](crate::STACK_BYTES) of stack:
    /// guest code may overflow a smaller one, which ends the process.
    ///
    /// ```
    /// use continuant::{Code, Database, Options, STACK_BYTES, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db");
    /// let run = move || -> continuant::Result<u64> {
    ///     let db = Options::new().workers(0).open(path)?;
    ///     # let wasm = continuant::samples::COUNTER;
    ///     # let policy = continuant::samples::COUNTER_POLICY;
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

    /// Sets the bytes of memory above which idle objects leave it, the coldest first. An object
    /// takes its pages, those in which it differs from its code's base image, its ledger's memory
    /// of signers and sessions, and about 1.5 KiB. Room is made when objects come into memory and
    /// when they have done their work, a few objects at a time. Default: 1 GiB.
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

    /// Sets the bytes of an input's arguments, or of all values of a direct write, above which the
    /// input is rejected. Default, and at most: 1 MiB, the limit of inputs on record.
    pub fn payload_bytes_max(mut self, bytes: usize) -> Options {
        self.payload_bytes_max = bytes.min(PAYLOAD_BYTES_MAX);
        self
    }

    /// Sets the fuel that a step may use before it is stopped and refused: an endless loop keeps a
    /// worker for that long. A refused input stays refused when the limit is raised, but a wake is
    /// tried again. The limit is for each step: only the formats bound the messages that a call
    /// sets off. Default, and at most: 100,000,000 units, a few hundred milliseconds.
    pub fn fuel_max(mut self, units: u64) -> Options {
        self.step_limits.fuel = units.min(FUEL_MAX);
        self
    }

    /// Outputs of a step; one that makes more is refused. Default, and at most: 1024.
    pub fn outputs_max(mut self, count: usize) -> Options {
        self.step_limits.outputs = count.min(OUTPUTS_MAX);
        self
    }

    /// Bytes of a step's result, and again of its outputs and messages together; one that makes
    /// more is refused. Default, and at most: 1 MiB.
    pub fn effects_bytes_max(mut self, bytes: usize) -> Options {
        self.step_limits.effects_bytes = bytes.min(EFFECTS_BYTES_MAX);
        self
    }

    /// Checks that a caller may hand in such an input.
    pub(crate) fn validate(&self, input: &Input) -> Result<()> {
        let (max, found) = (self.payload_bytes_max as u64, input.request.payload_bytes() as u64);
        let what = "payload_bytes_max";
        if found > max { Err(ErrorKind::Limit { what, max, found }.into()) } else { Ok(()) }
    }

    /// Sets whether objects' own cycles run by themselves while the database is open. Default: yes.
    /// Without it, [`Database::advance`] and [`Database::run_until`] run them, and any input still
    /// runs a wake that was due before it; messages that an earlier process left on their way wait
    /// for [`Database::run_until`], or for the next message to the same object.
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

    /// Sets how far the time of an object may be ahead of the clock: because a clock went back, or
    /// the object was on a host whose clock was ahead. Up to that it continues, stamped with its
    /// own time until the clock has caught up. Beyond it every request to it ends in
    /// [`Ahead`](crate::ErrorKind::Ahead), unless it is let [in](crate::Call::even_if_ahead), its
    /// wakes are overdue, and messages to it are held, until the clock is near enough. Default:
    /// five minutes; [`Duration::MAX`] lets everything in.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use continuant::{Clock, Code, Database, ErrorKind, Options, Time, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db");
    /// # let wasm = continuant::samples::COUNTER;
    /// # let policy = continuant::samples::COUNTER_POLICY;
    /// const HOUR: Duration = Duration::from_secs(60 * 60);
    /// let now: Time = "2026-11-30T12:00:00Z".parse()?;
    /// let later = now.saturating_add(HOUR);
    /// let fast = Options::new().clock(Clock::manual(later)).open(&path)?;
    /// let counter = fast.create(Code::wasm(wasm)?.policy(policy))?;
    /// fast.close()?;
    ///
    /// let db = Options::new().clock(Clock::manual(now)).open(&path)?;
    /// let error = db.call(counter, "increment", args![1u64]).wait().unwrap_err();
    /// assert!(matches!(error.kind(), ErrorKind::Ahead { by: HOUR, .. }));
    /// let receipt = db.call(counter, "increment", args![1u64]).even_if_ahead().wait()?;
    /// assert_eq!(receipt.header.time, later, "never before its parent's");
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock_ahead_max(mut self, span: Duration) -> Options {
        self.clock_ahead_max = span;
        self
    }

    /// Sets a directory for the machine code of compiled modules, so that the next process that
    /// opens the database compiles nothing; many databases may share it. At most 256 MiB are kept
    /// there. Default: none, every process compiles the modules that it runs.
    ///
    /// The directory is made, for this user alone, if it is missing. Anyone who can write to it can
    /// make this process run any code, so it is rejected when it is another user's, or others may
    /// write to it; and a database that is passed on is no good place for it.
    pub fn code_cache(mut self, directory: impl Into<PathBuf>) -> Options {
        self.code_cache = Some(directory.into());
        self
    }

    /// The code cache, if there is one.
    pub(crate) fn open_code_cache(&self) -> Result<Option<Cache>> {
        let Some(directory) = &self.code_cache else { return Ok(None) };
        let opened = Cache::open(directory);
        Ok(Some(opened.map_err(|error| ErrorKind::CodeCache {
            directory: directory.clone(),
            problem: error.to_string(),
        })?))
    }

    /// Options of the log and the index.
    pub fn storage(mut self, options: storage::Options) -> Options {
        self.storage = options;
        self
    }
}
