//! Continuant: a database of durable objects.
//!
//! An object is code + memory + schema + policy + lineage. Its WebAssembly memory persists as
//! versioned, Merkle-linked pages; it runs on its own cycle; every change to it is admitted by the
//! policy that it carries and recorded in its lineage; and anyone who holds it can verify it,
//! replay it, and continue it elsewhere.
//!
//! This crate runs objects and is the one that an embedder adds. Start with [`Database`].
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
pub mod fuzz;
mod head;
pub mod instrument;
pub mod metrics;
mod options;
mod run;
pub mod samples;
mod stack;
mod step;
mod substrate;

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
pub use metrics::Metrics;
pub use options::Options;
pub use run::overdue::Overdue;
pub use stack::STACK_BYTES;

pub use object::credential::{PublicKey, SigningKey};
pub use object::effects::Output;
pub use object::hash::{CodeHash, ObjectId, SessionId, VersionHash};
pub use object::header::{Header, Kind};
pub use object::message::{Message, Origin};
pub use object::refusal::{Reason, Verdict};
pub use policy::{Law, Principal};
pub use query::state::{self, Bound, State};
pub use query::{
    Blame, Diff, Entry, FieldChange, History, Kept, Objects, Payloads, RefusalEntry, Snapshot,
    TrailEnd, VersionEntry,
};
pub use schema::Value;
pub use storage::{DeadLetter, MessageId, ObjectInfo, Outbox, OutboxStatus, Outgoing, Stats};
pub use {object, policy, query, schema, storage};

/// Makes a struct one as which states are read, and a fieldless enum a type of its fields.
///
/// The struct names the fields that the program wants, in any order, and need not name all; a
/// struct that stands for a record in it names all of that one's. Names are compared in the
/// kebab-case of the schema, so that `free_at` reads `free-at`; which types there are,
/// [`state::Field`] says. For a struct `Plane` there is then a `PlaneView`, with a method for each
/// field, which reads it in place, and `Plane::from(view)`, which reads all.
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
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// # let wasm = std::fs::read("guest/objects/parcel.wasm")?;
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

/// The example of the README, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
