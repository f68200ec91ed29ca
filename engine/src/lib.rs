//! Continuant: a database of durable objects that runs inside your program.
//!
//! An object is a small WebAssembly module with its memory, kept on disk, with a policy that says
//! who may do what to it, and with a history that nobody can rewrite unseen. There is no server:
//! a [`Database`] is a directory that one process opens.
//!
//! ```
//! use continuant::{Code, Database, Replay, args, samples};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("db");
//! let db = Database::open(path)?;                             // made if it is missing
//! let code = Code::wasm(samples::COUNTER)?.policy(samples::COUNTER_POLICY);
//! let visits = db.create(code.name("visits"))?;
//!
//! let receipt = db.call(visits, "increment", args![2u64]).wait()?;    // on disk from here on
//! assert_eq!(receipt.header.seq, 1);
//! assert_eq!(db.snapshot(visits)?.get::<u64>("count")?, 2);
//!
//! let error = db.call(visits, "increment", args![5_000u64]).wait().unwrap_err();
//! assert!(error.is_refused(), "its policy permits 1,000 at a time");
//!
//! assert_eq!(db.at(visits, 0)?.get::<u64>("count")?, 0);              // any version, for ever
//! let verified = db.verify(visits, Replay::Yes)?;                     // runs each step again
//! assert_eq!((verified.versions, verified.refusals), (2, 1));
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! The folder `examples` of this crate has whole programs: `hello`, `bank` (transactions), `fleet`
//! (objects that run by themselves), `audit` (history, blame, verification) and `service` (behind
//! HTTP). [`samples`] has the modules that they run.
//!
//! # Concepts
//!
//! - **Object** ([`ObjectId`], [`Code`]): code, memory, a schema of that memory, a policy and a
//!   lineage. Its id is the hash of how it began, so the id says what the object is on any machine.
//! - **Version** ([`Header`], [`VersionHash`]): an object as one step left it. Each version names
//!   the one before it by hash, so the newest hash stands for the whole history, the *lineage*.
//! - **Cycle**: a step that an object takes by itself, by its exported function `cycle`. Nobody
//!   calls it; the policy decides on it as the action `advance`.
//! - **Wake**: the time at which an object wants its next cycle. The object sets it in a step, and
//!   it is on disk with the version, so it outlives a restart. A wake that was due and made no
//!   version is [`Overdue`], and is tried again.
//! - **Policy** ([`Law`]): rules in the language Cedar that the object carries. A step becomes a
//!   version only if a rule permits it and none forbids it. Rules see the arguments, the keys that
//!   signed, the state before and after, and the past.
//! - **Refusal** ([`Verdict`]): the answer no, with its reason and its rules. Nothing changes, and
//!   the refusal is on record in the object's history, as far as the options leave room.
//! - **Snapshot** ([`Snapshot`]): one version for reading. It shares pages with other versions, and
//!   neither waits for writers nor makes them wait.
//! - **Capsule** ([`Database::export`], [`verify_capsule`]): a file with one object and its whole
//!   lineage. Anyone can verify it without a database, and another database can go on with it.
//! - **Outbox** ([`Outbox`]): a name for a place in the log, from where outputs of objects are
//!   given in order. A program that sends mail, say, acknowledges each output once it is sent.
//!   After a crash, what was not acknowledged is given again, with the same token.
//! - **Dead letter** ([`DeadLetter`]): a message from one object to another that came to nothing,
//!   because the receiver refused it or is not here. It is kept until it is tried again or dropped.
//! - **Session** ([`Session`]): a secret that stands in for signatures for a while. Its holder
//!   signs once to open it on an object, and each call in it then costs a keyed hash.
//!
//! # What blocks, and what can be awaited
//!
//! Every method of [`Database`] is an ordinary function. Those that may wait for the disk, or for a
//! worker to compile a module or run a step, have *Blocks* in their documentation: in async code,
//! call them where blocking is allowed. The others return at once.
//!
//! [`Call`], [`Transaction`], [`Pending`] and [`Ticket`] can be waited for by a thread, with
//! `wait`, or awaited on any runtime, with `.await`; no feature or runtime is needed. To build or
//! to submit a call may read the object from disk; neither waits for a step. A database without
//! workers runs the step on the thread that waits or polls. A future or [`Pending`] that is dropped
//! does not take its input back, and a [`Database`] that is dropped first finishes what was
//! submitted.
//!
//! # Threads
//!
//! A [`Database`] is `Send` and `Sync`: share it by reference or in an `Arc`. It starts one worker
//! for each core ([`Options::workers`]), a committer, which writes the log, an indexer, and a timer
//! for wakes. Steps of one object run one after another; steps of different objects run side by
//! side. Steps that wait for the disk at the same time share one write and one sync.
//!
//! One process has the database open for writing; another that tries fails with an error that
//! [`is_locked`](Error::is_locked), at once or after the time that it gave
//! ([`StorageOptions::lock_wait`]). While no process writes, several may read
//! ([`StorageOptions::read_only`]).
//!
//! # Lists
//!
//! What a database keeps on disk is listed by iterators, which read as they go. A long list takes
//! no memory, but for refusals alone, oldest first, and objects by name: there the places of all
//! that come are held, so page `backwards`. [`Database::objects`], [`Database::history`] and
//! [`Database::dead_letters`] read;
//! [`Database::upgrade_all`] upgrades each object that it lists. Each has a type of its own, whose
//! methods narrow the list down before it is iterated over:
//!
//! - `limit` bounds the number of items, and `after` continues behind an item of another list. Both
//!   hold together with all others, so a page is `after` the last item, up to a `limit`.
//! - Each item is a [`Result`](std::result::Result), and nothing is read before the first: *Blocks*
//!   holds for `next`. An error ends the list; `count` counts it, too.
//! - Lists are [`Send`], and borrow the database. What changes meanwhile is seen, or not.
//!
//! ```
//! use continuant::{Code, Database, Entry, args, samples};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let db = Database::open(directory.path().join("db"))?;
//! let code = Code::wasm(samples::COUNTER)?.policy(samples::COUNTER_POLICY);
//! let counter = db.create(code.name("visits"))?;
//! for by in [1u64, 5_000, 2] {
//!     drop(db.call(counter, "increment", args![by]).wait());              // one is refused
//! }
//! for info in db.objects().named("vis") {
//!     println!("{:?}", info?.name);
//! }
//! let mut last = None;
//! let mut pages = Vec::new();
//! loop {
//!     let page = db.history(counter).after(last).limit(2);                // of the past, by twos
//!     let page = page.collect::<Result<Vec<Entry>, _>>()?;
//!     let Some(entry) = page.last() else { break };
//!     last = Some(entry.place());
//!     pages.push(page.len());
//! }
//! assert_eq!(pages, [2, 2], "three versions and a refusal");
//! # Ok(())
//! # }
//! ```
//!
//! An [`Outbox`] is an iterator too, but its place is on disk: it continues behind what was
//! acknowledged, and may have more after none. What is in memory anyway, such as
//! [`Database::overdue`], comes whole.
//!
//! # Guarantees
//!
//! 1. A commit whose reply was given is present after any crash.
//! 2. A commit is all or nothing: memory, history, outputs, messages and wake.
//! 3. A commit whose reply was not given is wholly present or wholly absent.
//! 4. After an I/O error the database acknowledges nothing more until it is opened again.
//! 5. A byte that changed at rest is detected when it is read, and by [`Database::check`].
//! 6. The same inputs give the same memory on every machine, under the same limits.
//! 7. What was refused has no effect but its record.
//!
//! Calls and transactions are serializable. [`Durability::Relaxed`] gives up the first guarantee
//! for one call, until its [`Ticket`] is settled: a crash before that undoes the version, and all
//! that was committed after it. A chain of hashes proves order, not completeness:
//! the owner of the disk can cut off its end, which only a version's hash kept elsewhere shows.
//!
//! # Limits
//!
//! Each limit is an option with a default, and an error says which one was met: 64 MiB of memory
//! for an object, 1 MiB of arguments, 100,000,000 units of fuel for a step (a few hundred
//! milliseconds), 1,024 inputs that wait for one object, 256 objects in a transaction, 1 GiB of
//! objects in memory for the database. [`Options`] has them all.
//!
//! # Features
//!
//! - `fuzz` (off): the module `fuzz`, which looks for inputs that break an object's invariants.
//! - `internals` (off): the crates beneath, as `continuant::{object, schema, policy, storage,
//!   query}`, and the module `instrument`. They are for tools that take the database apart, and may
//!   change with every release.
//!
//! Invariant: nothing changes an object but a commit that its policy admitted.

mod answer;
mod ask;
mod audit;
mod clock;
mod commit;
mod credentials;
mod database;
mod error;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod head;
#[cfg(not(feature = "internals"))]
#[expect(unreachable_pub, reason = "it is public where tools outside use it")]
mod instrument;
#[cfg(feature = "internals")]
pub mod instrument;
pub mod metrics;
mod options;
mod rank;
mod run;
pub mod samples;
mod stack;
mod step;
mod substrate;

// The names that an embedder needs. `engine/public.txt` has the list, and a test compares the two.
pub use answer::receipt::Receipt;
pub use answer::reply::{Answer, Pending};
pub use answer::ticket::{Durability, Ticket};
pub use ask::batch::Batch;
pub use ask::call::Call;
pub use ask::fleet::Fleet;
pub use ask::transaction::Transaction;
pub use audit::capsule::verify_capsule;
pub use audit::explain::{Done, Explanation, Migration};
pub use audit::outlook::Outlook;
pub use audit::rehearsal::Rehearsal;
pub use audit::replay::{Replay, Verified};
pub use clock::Clock;
pub use commit::code::Code;
pub use commit::upgrade::Upgrade;
pub use credentials::session::Session;
pub use database::reader::{ReadableSnapshot, Reader};
pub use database::{Ahead, Database};
pub use error::{Error, ErrorKind, Result};
pub use head::missed::Cause;
pub use instrument::{ModuleError, ModuleErrorKind};
pub use metrics::Metrics;
pub use options::Options;
pub use run::overdue::Overdue;
pub use stack::STACK_BYTES;

pub use object::credential::{Credential, PublicKey, SigningKey};
pub use object::effects::{Admission, Effects, Output};
pub use object::evidence::{TreeHash, TreeHead};
pub use object::hash::{CodeHash, ObjectId, PolicyHash, SessionId, VersionHash};
pub use object::header::{Header, Kind};
pub use object::input::{Input, Request};
pub use object::message::{Message, Origin};
pub use object::refusal::{Reason, Refusal, Verdict};
pub use object::time::{ParseTimeError, Time};
pub use object::{Diagnostic, Error as ObjectError, ErrorKind as ObjectErrorKind};
pub use policy::definition::Definition;
pub use policy::{Explanation as PolicyExplanation, Law, Principal, Reading, Rule};
pub use query::state::{self, Bound, State};
pub use query::{
    Blame, DeadLetters, Diff, Entry, EntryPlace, FieldChange, History, Kept, Objects, Payloads,
    RefusalEntry, Snapshot, TrailEnd, VersionEntry,
};
pub use schema::{Scalar, Schema, Type, Value};
pub use storage::disk::LockHolder;
pub use storage::{
    AcceptedLoss, Backup, BackupReport, ClockJump, Compacted, Damage, DeadLetter, DoubtfulName,
    Error as StorageError, ErrorKind as StorageErrorKind, GoesOn, Loss, LossToken, Lost, Mended,
    MessageId, NameHistory, NameHolding, NameMoment, ObjectInfo, Options as StorageOptions, Outbox,
    OutboxPlace, OutboxStatus, Outgoing, Position, RecordedLoss, Repaired, Report, Resolved,
    RestoreReport, Restoring, Retention, Stats, Until,
};
#[cfg(feature = "internals")]
pub use {object, policy, query, schema, storage};

/// Derives a typed view of an object's state: fields are checked against the schema once, then read
/// in place. On a fieldless enum, derives a type that fields can have.
///
/// The struct names the fields that the program reads, in any order, and need not name all; a
/// struct for a record within it names all fields of that. Names are compared in the kebab-case of
/// the schema, so that `free_at` reads `free-at`; [`state::Field`] lists the types. For a struct
/// `Plane` this makes a `PlaneView`, with a method for each field, which reads it in place, and
/// `Plane::from(view)`, which reads all.
///
/// ```
/// use continuant::{Bound, Code, Database, State, args};
///
/// #[derive(State)]
/// struct Parcel {
///     label: String,
///     stage: Stage,
///     place: Place,
///     weights: [u32; 3],
///     delivered_at: Option<u64>,
/// }
///
/// #[derive(State)]
/// struct Place {
///     latitude: f64,
///     longitude: f64,
///     floor: i8,
/// }
///
/// #[derive(Debug, PartialEq, State)]
/// enum Stage {
///     Packed,
///     UnderWay,
///     Delivered,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = tempfile::tempdir()?;
/// # let db = Database::open(directory.path().join("db"))?;
/// # let wasm = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/parcel.wasm"));
/// # let id = db.create(Code::wasm(wasm)?.args(args!["to Lisbon", 'A', false]))?;
/// let snapshot = db.snapshot(id)?;
/// let parcel = snapshot.view::<Parcel>()?;        // names and types are checked here
/// assert_eq!(parcel.label(), "to Lisbon");        // borrowed from the version's page
/// assert_eq!(parcel.place().latitude(), 0.0);     // a load
/// assert_eq!(parcel.stage(), Stage::Packed);
/// let copy = Parcel::from(parcel);                // all of it, as a value of its own
/// assert_eq!(copy.weights, [0; 3]);
///
/// let parcels: Bound<Parcel> = Parcel::bind(snapshot.definition())?;   // checked once
/// assert_eq!(parcels.view(&snapshot)?.delivered_at(), None);           // for many versions
/// # Ok(())
/// # }
/// ```
///
/// A field of a type that no state has does not compile:
///
/// ```compile_fail
/// #[derive(continuant::State)]
/// struct Fleet {
///     tails: std::collections::HashMap<u32, u32>,
/// }
/// ```
pub use macros::State;

// A database is shared by reference, and what it gives goes where the caller's threads are.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<Database>();
    is_shared::<Ticket>();
    is_shared::<Snapshot>();
    is_shared::<Error>();
    const fn is_sent<T: Send>() {}
    is_sent::<Objects<'_>>();
    is_sent::<History<'_>>();
    is_sent::<DeadLetters<'_>>();
    is_sent::<NameHistory<'_>>();
    is_sent::<Fleet<'_>>();
    is_sent::<Outbox<'_>>();
};
