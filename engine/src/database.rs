//! The database: the type that an embedder opens, with every request and query.
//!
//! Each method passes its work on: to a worker, the store or a query. It holds no rule of its own.
//!
//! Dropping a database closes it: submitted work is finished and made durable first.

mod delete;
mod messages;
mod names;
mod outbox;
mod read;
pub(crate) mod reader;
mod sessions;
mod upkeep;

use std::io::{Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use object::credential::PublicKey;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::input::Request;
use object::time::Time;
use policy::definition::Definition;
use policy::{Law, Policy, Principal};
use query::{Blame, Diff, Snapshot};
use schema::{Value, encode_args, encode_value};
use storage::{ObjectInfo, Stats};

use crate::answer::receipt::Receipt;
use crate::answer::reply::Pending;
use crate::answer::ticket::Durability;
use crate::ask::batch::Batch;
use crate::ask::call::Call;
use crate::ask::fleet::Fleet;
use crate::ask::transaction::Transaction;
use crate::audit::capsule;
use crate::audit::explain::{self, Explanation};
use crate::audit::rehearsal::{self, Rehearsal};
use crate::audit::replay::{Replay, Verified};
use crate::audit::verify;
use crate::commit::code::Code;
use crate::commit::create;
use crate::commit::fork::{self, Fork, Wakes};
use crate::commit::shared::Shared;
use crate::commit::turn::{drain, turn, work_at};
use crate::commit::upgrade::{self, Upgrade};
use crate::database::reader::Reader;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::run::overdue::Overdue;
use crate::run::pool::Pool;
use crate::stack::{DeepStack, on_thread};
use crate::step::catalog::validate_guard;
use crate::step::slots::Slots;

#[cfg(test)]
mod tests;

/// Objects whose newest versions are ahead of the clock: they were on a host whose clock was ahead,
/// or the clock went back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ahead {
    /// The number of objects.
    pub object_count: u64,
    /// The one that is furthest ahead.
    pub object: ObjectId,
    /// The largest lead.
    pub by: Duration,
}

/// An open database.
#[derive(Debug)]
pub struct Database {
    shared: Arc<Shared>,
    pool: Pool,
    timer: Option<JoinHandle<()>>,
}

impl Options {
    /// Opens the database in the directory `path`, which is created if it is missing.
    ///
    /// *Blocks* while the log beyond the end of the index is read, and while another process has
    /// the database.
    ///
    /// # Errors
    ///
    /// Those of [`Database::open`].
    pub fn open(self, path: impl AsRef<Path>) -> Result<Database> {
        Database::open_with(path.as_ref(), self)
    }
}

impl Database {
    /// Opens the database in the directory `path` with the default options; creates it if it is
    /// missing.
    ///
    /// *Blocks* while the log beyond the end of the index is read, and while another process has
    /// the database.
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage): the directory is not a database, is locked by another
    /// process, is of a newer format, or is damaged.
    pub fn open(path: impl AsRef<Path>) -> Result<Database> {
        Options::new().open(path)
    }

    pub(crate) fn open_with(path: &Path, mut options: Options) -> Result<Database> {
        let cache = options.open_code_cache()?;
        let storage = options.storage.clone();
        // A store that cannot be written runs no cycles by itself.
        options.cycles &= !storage.is_read_only();
        let (workers, cycles) = (options.worker_count, options.cycles);
        let storage = if workers > 0 { storage } else { storage.threads(false) };
        let shared = Shared::new(storage.open(path)?, cache, options)?;
        let of_workers = Arc::clone(&shared);
        let pool = Pool::start(&shared.post.queue, move |slots, resident, stack| {
            turn(&of_workers, slots, resident, stack);
        })?;
        let mut database = Database { shared, pool, timer: None };
        if cycles {
            database.shared.post.post_mail(database.shared.library.store.receivers());
        }
        if cycles && workers > 0 && !database.shared.options.clock.is_manual() {
            database.timer = Some(database.start_timer()?);
        }
        Ok(database)
    }

    fn start_timer(&self) -> Result<JoinHandle<()>> {
        let shared = Arc::clone(&self.shared);
        let run = move || {
            while shared.post.timer.wait(|| shared.options.clock.now()) {
                shared.run_due();
            }
        };
        let thread = std::thread::Builder::new().name("continuant-timer".to_string()).spawn(run);
        thread.map_err(|error| ErrorKind::Substrate(format!("the timer's thread: {error}")).into())
    }

    /// Creates an object and waits until it is durable.
    ///
    /// *Blocks* until the object is durable; the first of its code waits for the compilation too.
    ///
    /// Only its own validity governs a creation: the object's id is the hash of its parts.
    ///
    /// # Errors
    ///
    /// [`Module`](ErrorKind::Module), [`Guard`](ErrorKind::Guard) and [`Object`](ErrorKind::Object)
    /// when the module, its schema, the policy or its guard, or the arguments are invalid,
    /// [`Limit`](ErrorKind::Limit), [`Refused`](ErrorKind::Refused) when `create` traps, and those
    /// of the store.
    pub fn create(&self, code: Code) -> Result<ObjectId> {
        let (id, pending) = self.begin_create(code)?;
        pending.wait()?;
        Ok(id)
    }

    /// Creates an object; its id is known at once, and it can be called at once, but it is durable
    /// only when the pending receipt is there: the receipt is like the ticket of a relaxed call.
    ///
    /// *Blocks* while a worker makes the object and, where its code is new, compiles it; not for
    /// the disk.
    ///
    /// # Errors
    ///
    /// Those of [`Database::create`].
    pub fn begin_create(&self, code: Code) -> Result<(ObjectId, Pending)> {
        let time = self.shared.options.clock.now();
        let (reply, pending) = self.shared.channel(Durability::Durable);
        let shared = Arc::clone(&self.shared);
        let create = move |slots: &mut Slots, stack| {
            create::create(&shared, shared.library.runner(slots, stack), code, time, reply)
        };
        let id = self.shared.post.queue.on_worker(create)??;
        Ok((id, pending))
    }

    /// Makes an object from a version of another: it continues from that version's state, in a
    /// lineage of its own whose first version names the original one. The fork has its memory, code
    /// and policy, and keeps its next wake. It has no nonces, sessions or past, and signatures for
    /// the one are not valid for the other. Waits until it is durable.
    ///
    /// *Blocks* until the object is durable.
    ///
    /// Like a creation, only its own validity governs a fork: anyone who holds a version can fork
    /// it.
    ///
    /// ```
    /// # use continuant::{Code, Database, args};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let code = Code::wasm(continuant::samples::COUNTER)?
    /// #     .policy(continuant::samples::COUNTER_POLICY);
    /// # let counter = db.create(code)?;
    /// db.call(counter, "increment", args![2u64]).wait()?;
    /// db.call(counter, "increment", args![40u64]).wait()?;
    /// let other = db.fork(counter, 1, Some("what if"))?;
    /// db.call(other, "increment", args![5u64]).wait()?;
    /// assert_eq!(db.snapshot(counter)?.get::<u64>("count")?, 42);
    /// assert_eq!(db.snapshot(other)?.get::<u64>("count")?, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`], and of the name, if there is one;
    /// [`Ahead`](ErrorKind::Ahead) for a version that is ahead of the clock.
    pub fn fork(&self, id: ObjectId, seq: u64, name: Option<&str>) -> Result<ObjectId> {
        self.fork_as(Fork { of: id, seq, name, wakes: Wakes::Yes })
    }

    /// Makes an object from a version of another, as [`fork`](Database::fork) does, without its
    /// wake: it does not run by itself before a request sets one.
    ///
    /// *Blocks* until the object is durable.
    ///
    /// # Errors
    ///
    /// Those of [`Database::fork`].
    pub fn fork_without_wake(
        &self,
        id: ObjectId,
        seq: u64,
        name: Option<&str>,
    ) -> Result<ObjectId> {
        self.fork_as(Fork { of: id, seq, name, wakes: Wakes::No })
    }

    fn fork_as(&self, asked: Fork<'_>) -> Result<ObjectId> {
        let (reply, pending) = self.shared.channel(Durability::Durable);
        let forked = on_thread(|stack| fork::fork(&self.shared, stack, asked, reply))?;
        let forked = forked.map_err(|error| error.about(asked.of))?;
        pending.wait()?;
        Ok(forked)
    }

    /// A call of `method`, to be signed, submitted, waited for or awaited.
    ///
    /// *Blocks* while it reads the schema, when the object is not in memory.
    ///
    /// The method and its arguments are checked against the schema now; a mistake in them is the
    /// error of the call once it is submitted, waited for or awaited.
    pub fn call(&self, id: ObjectId, method: &str, arguments: Vec<Value>) -> Call<'_> {
        let request = read::definition_of(&self.shared, id).and_then(|definition| {
            let method = definition.schema.require_method(method)?;
            let arguments = encode_args(&arguments, &method.params)?;
            Ok(Request::Call { method: method.name.clone(), arguments })
        });
        Call::new(&self.shared, id, request)
    }

    /// Calls, of any objects, that are signed together: much cheaper to verify than each by itself.
    pub fn batch<'a>(&'a self, calls: impl IntoIterator<Item = Call<'a>>) -> Batch<'a> {
        Batch::new(calls)
    }

    /// Calls, of different objects, that are admitted together or not at all.
    pub fn transaction<'a>(&'a self, calls: impl IntoIterator<Item = Call<'a>>) -> Transaction<'a> {
        Transaction::new(&self.shared, calls)
    }

    /// Writes state fields directly, governed like any other change: the policy's action is
    /// `write`.
    ///
    /// *Blocks* while it reads the schema, when the object is not in memory.
    ///
    /// Only fields of fixed size can be written; strings and lists are written by methods only.
    pub fn write(&self, id: ObjectId, fields: Vec<(&str, Value)>) -> Call<'_> {
        let request = read::definition_of(&self.shared, id).and_then(|definition| {
            let encode = |(path, value): (&str, Value)| {
                let place = definition.schema.resolve(path)?;
                Ok((place.path().to_string(), encode_value(&value, place.ty())?))
            };
            let fields = fields.into_iter().map(encode).collect::<Result<_, object::Error>>()?;
            Ok(Request::Write { fields })
        });
        Call::new(&self.shared, id, request)
    }

    /// Replaces the policy by another, as Cedar text or, with a guard, as a [`Law`]. The present
    /// policy governs it: the action is `amend`, and only a rule that names it permits it. The
    /// resulting version carries the new policy, which decides on all later steps.
    ///
    /// *Blocks* while a worker parses the policy.
    ///
    /// A policy that permits no amendment would be the object's last, so submitting it fails with
    /// [`LastPolicy`](ErrorKind::LastPolicy); see [`amend_for_good`](Database::amend_for_good).
    /// [`rehearse`](Database::rehearse) shows how the new policy would have decided on the versions
    /// on record.
    pub fn amend<'p>(&self, id: ObjectId, policy: impl Into<Law<'p>>) -> Call<'_> {
        let amendment =
            self.amendment(id, policy.into()).and_then(|(request, is_last)| match is_last {
                true => Err(ErrorKind::LastPolicy.into()),
                false => Ok(request),
            });
        Call::new(&self.shared, id, amendment)
    }

    /// Replaces the policy as [`amend`](Database::amend) does, also by one that permits no further
    /// change.
    ///
    /// *Blocks* while a worker parses the policy.
    pub fn amend_for_good<'p>(&self, id: ObjectId, policy: impl Into<Law<'p>>) -> Call<'_> {
        let amendment = self.amendment(id, policy.into()).map(|(request, _)| request);
        Call::new(&self.shared, id, amendment)
    }

    /// Replaces the code, and keeps the policy or replaces it too. The present policy governs it:
    /// the action is `upgrade`, and only a rule that names it permits it. The new code makes the
    /// object's memory from the old code's state, and the new policy must permit that too, as the
    /// action `migrate`. The object keeps everything else: its id, its name, its lineage, its wake,
    /// its nonces and sessions, and messages to it or from it stay on their way.
    ///
    /// *Blocks* while it reads the object's policy and a worker examines the new code.
    ///
    /// When the new code does not accept such states, traps, or leaves no valid state, or a policy
    /// refuses, the upgrade is refused, on record, and nothing has changed. As with
    /// [`amend`](Database::amend), submitting it fails with [`LastPolicy`](ErrorKind::LastPolicy)
    /// when the new policy would be the object's last, unless the upgrade is
    /// [`for_good`](Upgrade::for_good).
    ///
    /// ```
    /// use continuant::{Code, Database, Upgrade, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// let policy = r#"@id("any") permit(principal, action, resource);
    ///     @id("upgrade") permit(principal, action == Action::"upgrade", resource);"#;
    /// let counter = continuant::samples::COUNTER;
    /// let counter = db.create(Code::wasm(counter)?.policy(policy))?;
    /// db.call(counter, "increment", args![42u64]).wait()?;
    ///
    /// // Its second version counts down as well, and has another schema.
    /// let second = Upgrade::wasm(continuant::samples::TALLY)?;
    /// db.upgrade(counter, &second).wait()?;
    /// db.call(counter, "decrement", args![50u64]).wait()?;
    /// assert_eq!(db.snapshot(counter)?.get::<i64>("balance")?, -8);
    /// assert_eq!(db.at(counter, 1)?.get::<u64>("count")?, 42, "its past is as it was");
    /// # Ok(())
    /// # }
    /// ```
    pub fn upgrade(&self, id: ObjectId, to: &Upgrade) -> Call<'_> {
        let request = self.info(id).and_then(|info| {
            let Shared { library, post, options, .. } = &*self.shared;
            upgrade::request(library, &post.queue, to, info.policy, options.memory_bytes_max)
        });
        Call::new(&self.shared, id, request)
    }

    /// Upgrades, as [`upgrade`](Database::upgrade) does one, of all objects that have the code
    /// `from`: to be signed, then iterated over.
    pub fn upgrade_all<'a>(&'a self, from: CodeHash, to: &Upgrade) -> Fleet<'a> {
        Fleet::new(&self.shared, from, to)
    }

    /// Shows how another policy, as Cedar text or, with a guard, as a [`Law`], would have decided
    /// on the `last` versions on record, as if it had been the object's since then.
    ///
    /// *Blocks* while it reads the versions and decides on them.
    ///
    /// ```
    /// # use continuant::{Code, Database, args};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let policy = continuant::samples::COUNTER_POLICY;
    /// # let wasm = continuant::samples::COUNTER;
    /// let counter = db.create(Code::wasm(wasm)?.policy(policy))?;
    /// db.call(counter, "increment", args![2u64]).wait()?;
    /// db.call(counter, "increment", args![20u64]).wait()?;
    /// let stricter = policy.replace("context.input.by <= 1000", "context.input.by <= 10");
    /// let rehearsal = db.rehearse(counter, &stricter, 1_000)?;
    /// assert_eq!((rehearsal.versions, rehearsal.refused.len()), (2, 1));
    /// assert_eq!(rehearsal.refused[0].0, 2, "the second version would not have been made");
    /// let is_last = !rehearsal.is_amendable && !rehearsal.is_upgradable;
    /// assert!(is_last, "no rule permits `amend` or `upgrade`: it would be the last policy");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Object`](ErrorKind::Object) when it is no valid policy for the object's schema,
    /// [`Guard`](ErrorKind::Guard); [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn rehearse<'p>(
        &self,
        id: ObjectId,
        policy: impl Into<Law<'p>>,
        last: u64,
    ) -> Result<Rehearsal> {
        let law = policy.into();
        let rehearsal =
            on_thread(|stack| rehearsal::rehearse(&self.shared.library, stack, id, law, last))?;
        rehearsal.map_err(|error| error.about(id))
    }

    /// The request for another policy, and whether that would be the object's last. The policy does
    /// not leave the worker: to drop one takes as much stack as to parse it.
    fn amendment(&self, id: ObjectId, law: Law<'_>) -> Result<(Request, bool)> {
        let definition = read::definition_of(&self.shared, id)?;
        let (text, guard) = (law.text.to_string(), law.guard.map(<[u8]>::to_vec));
        let parse = move |_: &mut Slots, _: DeepStack| {
            let law = Law { text: &text, guard: guard.as_deref() };
            let policy = Policy::parse(law, &definition.schema)?;
            validate_guard(&policy)?;
            let request = Request::Amend { policy: policy.encode() };
            Ok::<_, Error>((request, !policy.is_changeable()))
        };
        self.shared.post.queue.on_worker(parse)?
    }

    /// Runs the object's own cycle if its wake is due, and waits until that is durable.
    ///
    /// *Blocks* until the version is durable.
    ///
    /// # Errors
    ///
    /// [`NotDue`](ErrorKind::NotDue) when it is not; [`Refused`](ErrorKind::Refused) by its policy;
    /// [`Ahead`](ErrorKind::Ahead) when the object is ahead of the clock.
    pub fn advance(&self, id: ObjectId) -> Result<Receipt> {
        let (reply, pending) = self.shared.channel(Durability::Durable);
        self.shared.post.post_cycle(id, self.now(), reply)?;
        pending.wait().map_err(|error| error.about(id))
    }

    /// Moves a manual clock forward to `time` and posts the wakes due by then, without waiting for
    /// them. The system's clock does not move.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn advance_clock(&self, time: Time) -> Result<()> {
        self.shared.options.clock.advance_to(time);
        self.shared.post.post_due(self.now())
    }

    /// Moves a manual clock forward to `time`, runs every wake due on the way, delivers every
    /// message that is on its way, and returns when all submitted work is finished, that of other
    /// threads too: while they continue to submit it does not return. The system's clock does not
    /// move: wakes due at the call are run.
    ///
    /// *Blocks* until all work is done and durable.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn run_until(&self, time: Time) -> Result<()> {
        self.shared.options.clock.advance_to(time);
        // Read once: an object may want to run again as soon as it can.
        let now = self.now();
        self.shared.post.post_mail(self.shared.library.store.receivers());
        loop {
            self.shared.post.post_due(now)?;
            drain(&self.shared);
            // The finished work may have set a wake that is due by now.
            if self.next_wake().is_none_or(|wake| wake > now) {
                return Ok(self.shared.library.store.sync()?);
            }
        }
    }

    /// Without [workers](Options::workers): works through the mail of the object at this place of
    /// the run queue, counted round, on this thread, and returns its id; none when no object has
    /// mail, or there are workers. Any place keeps the database's promises, so a caller that draws
    /// the places draws how the work of objects is interleaved.
    ///
    /// *Blocks* while it works through the mail.
    ///
    /// The thread must have [`STACK_BYTES`](crate::STACK_BYTES) of stack.
    pub fn work(&self, place: usize) -> Option<ObjectId> {
        work_at(&self.shared, place)
    }

    /// Returns the time of the next wake of any object, or of the next try of one that was refused,
    /// or failed.
    pub fn next_wake(&self) -> Option<Time> {
        self.shared.post.timer.first()
    }

    /// Returns the number of wakes of which [`next_wake`](Database::next_wake) is the first.
    pub fn wake_count(&self) -> usize {
        self.shared.post.timer.len()
    }

    /// Returns the objects whose wakes are at `time` or before, in the order of their wakes,
    /// without examining other objects.
    pub fn due(&self, time: Time) -> Vec<ObjectId> {
        self.shared.post.timer.due(time)
    }

    /// Returns the due wakes that have made no version, in the order of their objects' ids: each
    /// was refused, or failed, or its object is ahead of the clock, since the database was opened.
    /// Earlier ones appear once they are tried again.
    ///
    /// ```
    /// use continuant::{Cause, Clock, Code, Database, Options, Time, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let path = directory.path().join("db");
    /// # let lamp = continuant::samples::LAMP;
    /// let policy = r#"@id("on") permit(principal, action == Action::"switch-on", resource);
    ///     @id("off") permit(principal, action == Action::"advance", resource)
    ///     when { context.lineage.past.switch_on.minute < 1 };"#;
    /// let at = |seconds: u64| Time::from_millis(1_700_000_000_000 + 1000 * seconds);
    /// let db = Options::new().clock(Clock::manual(at(0))).open(path)?;
    /// let lamp = db.create(Code::wasm(lamp)?.policy(policy))?;
    /// db.call(lamp, "switch-on", args![1u32]).wait()?;             // for a second
    /// db.run_until(at(10))?;
    /// let [overdue] = &db.overdue()[..] else { panic!("one wake is overdue") };
    /// assert_eq!(overdue.wake, at(1));
    /// assert!(matches!(&overdue.cause, Cause::Refused(verdict) if verdict.rules.is_empty()));
    /// db.run_until(at(120))?;                                      // it is tried again
    /// assert!(db.overdue().is_empty());
    /// # Ok(())
    /// # }
    /// ```
    pub fn overdue(&self) -> Vec<Overdue> {
        self.shared.library.overdue.all()
    }

    /// Returns how many objects are ahead of the clock, and by how much at most; none, when no
    /// object is. It examines every object.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn ahead(&self) -> Result<Option<Ahead>> {
        let (now, mut ahead) = (self.now(), None::<Ahead>);
        for info in self.objects() {
            let info = info?;
            let by = info.time.saturating_duration_since(now);
            if by.is_zero() {
                continue;
            }
            let ahead = ahead.get_or_insert(Ahead { object_count: 0, object: info.id, by });
            ahead.object_count += 1;
            if by > ahead.by {
                (ahead.object, ahead.by) = (info.id, by);
            }
        }
        Ok(ahead)
    }

    /// Returns the hashes of modules that objects here have or had, or were to have, and that begin
    /// with these hexadecimal digits, at most `limit`.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn codes(&self, digits: &str, limit: usize) -> Result<Vec<CodeHash>> {
        let end = |filled: String| filled.to_ascii_lowercase().parse::<CodeHash>();
        match (end(format!("{digits:0<64}")), end(format!("{digits:f<64}"))) {
            (Ok(first), Ok(last)) => Ok(self.shared.library.store.codes(first, last, limit)?),
            _ => Ok(Vec::new()),
        }
    }

    /// The clock's time.
    pub fn now(&self) -> Time {
        self.shared.options.clock.now()
    }

    /// Returns the newest version, which may not be durable yet: a crash may undo versions that no
    /// reply has acknowledged. Before anything outside relies on the values read here, wait for
    /// [`sync`](Database::sync), after which every version that was read before is durable.
    ///
    /// *Blocks* while it reads the disk, when the object is not in memory.
    ///
    /// It waits for no writer of the object, and no writer waits while the snapshot is held.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn snapshot(&self, id: ObjectId) -> Result<Snapshot> {
        read::snapshot(&self.shared, id)
    }

    /// Returns the version with this sequence number.
    ///
    /// *Blocks* while it reads the disk, unless it is the newest version and in memory.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), [`NoVersion`](ErrorKind::NoVersion), and those of the
    /// store.
    pub fn at(&self, id: ObjectId, seq: u64) -> Result<Snapshot> {
        read::at(&self.shared, id, seq)
    }

    /// Returns the newest version that is not later than `time`.
    ///
    /// *Blocks* while it reads the disk.
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`].
    pub fn as_of(&self, id: ObjectId, time: Time) -> Result<Snapshot> {
        read::as_of(&self.shared, id, time)
    }

    /// Returns a view of the database as a principal may read it: of each object, the fields that
    /// its policy permits, by the action `read`, which has the field's name as `context.field`.
    ///
    /// This is for services that pass on what they read. It restricts neither the embedder, who may
    /// read everything by [`snapshot`](Database::snapshot) and the other methods, nor anyone who
    /// has the files or a capsule. The embedder vouches for the principal; reads are not on record.
    ///
    /// ```
    /// use continuant::{Code, Database, ErrorKind, Principal, SigningKey, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// let owner = SigningKey::from_secret(&[1; 32]);
    /// let policy = format!(
    ///     r#"@id("owner") permit(principal == Key::"{}", action, resource);
    ///        @id("public") permit(principal, action == Action::"read", resource)
    ///        when {{ ["label", "stage"].contains(context.field) }};"#,
    ///     owner.public()
    /// );
    /// # let wasm = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/parcel.wasm"));
    /// let code = Code::wasm(wasm)?.policy(policy).args(args!["to Lisbon", 'A', false]);
    /// let parcel = db.create(code)?;
    ///
    /// let anyone = db.reader(Principal::Anonymous).snapshot(parcel)?;
    /// assert_eq!(anyone.fields()?, ["label", "stage"]);
    /// let refused = anyone.value("weights").unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::NotReadable { .. }));
    ///
    /// let of_owner = db.reader(Principal::Key(owner.public().0)).snapshot(parcel)?;
    /// println!("{:?}", of_owner.value("weights")?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reader(&self, principal: Principal) -> Reader<'_> {
        Reader::new(&self.shared, principal)
    }

    /// Returns the definition of objects of this code and policy, without their memory.
    ///
    /// *Blocks* while it reads the disk and parses, when no object of this code and policy is in
    /// memory.
    ///
    /// # Errors
    ///
    /// [`Missing`](ErrorKind::Missing) when no object here ever had them, and those of the store.
    pub fn definition(&self, hashes: (CodeHash, PolicyHash)) -> Result<Arc<Definition>> {
        read::definition(&self.shared, hashes)
    }

    /// The object's history, as a [list](crate#lists). Like [`snapshot`](Database::snapshot), it
    /// has versions that are not durable yet.
    pub fn history(&self, id: ObjectId) -> query::History<'_> {
        query::History::new(&self.shared.library.store, id)
    }

    /// Returns the last nonce of a key on the object, as far as the object remembers: for as long
    /// as an older signature could still be valid.
    ///
    /// *Blocks* while it reads the disk, when the object is not in memory.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn last_nonce(&self, id: ObjectId, key: &PublicKey) -> Result<Option<u64>> {
        let ledger = self.shared.library.store.newest_ledger(id)?;
        let ledger = ledger.ok_or_else(|| Error::from(ErrorKind::NoObject).about(id))?;
        Ok(ledger.nonces.last(key))
    }

    /// Returns the differences between two versions.
    ///
    /// *Blocks* while it reads both versions.
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`].
    pub fn diff(&self, id: ObjectId, from: u64, to: u64) -> Result<Diff> {
        Ok(query::diff(&self.at(id, from)?, &self.at(id, to)?)?)
    }

    /// Returns the version that gave the field at `path` its present value, and why it is that one:
    /// the search passes through upgrades that kept the field, and through forks of an object that
    /// is here.
    ///
    /// *Blocks* while it reads the history, back to that version.
    ///
    /// # Errors
    ///
    /// Those of [`query::blame`].
    pub fn blame(&self, id: ObjectId, path: &str) -> Result<Blame> {
        self.info(id)?;
        query::blame(&self.shared.library.store, |hashes| self.definition(hashes), id, path)
    }

    /// Explains why a version was admitted: the deciding rules with their text, and the values that
    /// they read of the step. The decision is taken again, from the record.
    ///
    /// *Blocks* while it reads the version and decides again.
    ///
    /// ```
    /// use continuant::{Code, Database, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let code = Code::wasm(continuant::samples::COUNTER)?
    /// #     .policy(continuant::samples::COUNTER_POLICY);
    /// # let counter = db.create(code)?;
    /// db.call(counter, "increment", args![2u64]).wait()?;
    /// let explanation = db.explain(counter, 1)?;
    /// let policy = explanation.policy.expect("a call is governed by the policy");
    /// for rule in &policy.rules {
    ///     println!("{}", rule.text);                          // @id("count") permit(...) ...
    ///     for read in &rule.reads {
    ///         println!("{} = {:?}", read.path, read.value);   // input.by = Ok(Some(S64(2)))
    ///     }
    /// }
    /// # assert_eq!(policy.rules.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Database::at`], of the version and of the one before it, and
    /// [`Replay`](ErrorKind::Replay) when the policy does not decide as on record.
    pub fn explain(&self, id: ObjectId, seq: u64) -> Result<Explanation> {
        let explanation = on_thread(|stack| {
            explain::version(&self.shared.library, &self.shared.credentials.memo, stack, id, seq)
        })?;
        explanation.map_err(|error| error.about(id))
    }

    /// Explains why an input on record was refused: like [`explain`](Database::explain), but for
    /// the refusal of this number, counted from 1, oldest first, whose step is run again.
    ///
    /// *Blocks* while it runs the step again.
    ///
    /// # Errors
    ///
    /// [`NoRefusal`](ErrorKind::NoRefusal), and those of [`Database::explain`].
    pub fn explain_refusal(&self, id: ObjectId, number: u64) -> Result<Explanation> {
        let explanation = on_thread(|stack| {
            explain::refusal(&self.shared.library, &self.shared.credentials.memo, stack, id, number)
        })?;
        explanation.map_err(|error| error.about(id))
    }

    /// Returns the entry of one object in a list.
    ///
    /// *Blocks* while it reads the index, when the object is not known yet.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn info(&self, id: ObjectId) -> Result<ObjectInfo> {
        read::info(&self.shared, id)
    }

    /// The objects, in the order of their ids, as a [list](crate#lists). Like
    /// [`info`](Database::info), it has versions that are not durable yet.
    ///
    /// ```
    /// # use continuant::{Code, Database};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let code = || Code::wasm(continuant::samples::COUNTER);
    /// for name in ["visit/1", "visit/2", "visit/3", "other"] {
    ///     db.create(code()?.name(name))?;
    /// }
    /// let page = |last| db.objects().named("visit/").after(last).limit(2);
    /// let first = page(None).collect::<Result<Vec<_>, _>>()?;
    /// let rest = page(Some(first[1].id)).collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!((first.len(), rest.len()), (2, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn objects(&self) -> query::Objects<'_> {
        query::Objects::new(&self.shared.library.store)
    }

    /// Verifies the object's whole lineage; with [`Replay::Yes`] by running every step again.
    ///
    /// *Blocks* while it reads the whole lineage and, with a replay, runs it.
    ///
    /// # Errors
    ///
    /// [`Object`](ErrorKind::Object) and [`Replay`](ErrorKind::Replay) naming the version and the
    /// part that does not match; [`NoObject`](ErrorKind::NoObject), and those of the store, of
    /// which [`NoState`](storage::ErrorKind::NoState) says that only headers are left.
    pub fn verify(&self, id: ObjectId, replay: Replay) -> Result<Verified> {
        self.verify_with(id, replay, |_, _| {})
    }

    /// Verifies like [`verify`](Database::verify); calls `progress` with the versions and refusals
    /// done, and the total, on another thread; it may stop the verification
    /// ([`GoesOn`](storage::GoesOn)).
    ///
    /// *Blocks* while it reads the whole lineage and, with a replay, runs it.
    ///
    /// # Errors
    ///
    /// Those of [`Database::verify`]; [`Stopped`](storage::ErrorKind::Stopped).
    pub fn verify_with<P: storage::GoesOn>(
        &self,
        id: ObjectId,
        replay: Replay,
        mut progress: impl FnMut(u64, u64) -> P + Send,
    ) -> Result<Verified> {
        let info = self.info(id)?;
        let all = info.seq + 1 + info.refusal_count;
        let progress = |done, all| progress(done, all).goes_on();
        let verify = |stack| verify::verify(&self.shared.library, stack, id, replay, all, progress);
        let verified = on_thread(verify)?;
        verified.map_err(|error| error.about(id))
    }

    /// Writes the object, whole, as a capsule.
    ///
    /// *Blocks* while it reads and writes the whole lineage.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store and of `to`.
    pub fn export(&self, id: ObjectId, to: &mut impl Write) -> Result<()> {
        self.info(id)?;
        Ok(self.shared.library.store.export(id, to, |_, _| {})?)
    }

    /// Writes the object, whole, as a capsule, and ends it here, durably and before. From then on
    /// it can only be read, even when its wake is due, until it comes back by
    /// [`import`](Database::import) of a later capsule of it, or is [taken
    /// back](Database::take_back). Messages to it are dead letters meanwhile, which can be retried.
    /// When writing fails the object continues here.
    ///
    /// *Blocks* until the move is durable and the capsule is written.
    ///
    /// # Errors
    ///
    /// Those of [`Database::export`].
    pub fn move_away(&self, id: ObjectId, to: &mut impl Write) -> Result<()> {
        self.info(id)?;
        let is_new = self.shared.set_moved(id, true)?;
        let exported = self.export(id, to);
        if exported.is_err() && is_new {
            self.shared.set_moved(id, false)?;
        }
        exported
    }

    /// Continues with an object here that was [moved away](Database::move_away); returns whether it
    /// was. If it continued elsewhere too, there are two of it from now on, which differ.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store.
    pub fn take_back(&self, id: ObjectId) -> Result<bool> {
        self.info(id)?;
        self.shared.set_moved(id, false)
    }

    /// Imports a capsule after verifying its whole lineage, and returns the object's id. An object
    /// that is here already is continued by the capsule, if its lineage here is the beginning of
    /// the capsule's: so an object comes back to where it was, and a newer capsule follows an older
    /// one.
    ///
    /// *Blocks* while it reads and verifies the capsule, and until the object is durable.
    ///
    /// # Errors
    ///
    /// Those of [`verify_capsule`](crate::verify_capsule);
    /// [`HereAlready`](storage::ErrorKind::HereAlready) when the capsule has no more of the object
    /// than is here, [`Diverged`](storage::ErrorKind::Diverged) when it has a different lineage,
    /// and [`Conflict`](storage::ErrorKind::Conflict) when the object continues here meanwhile.
    pub fn import(&self, from: impl Read + Seek + Send) -> Result<ObjectId> {
        on_thread(|stack| capsule::import(&self.shared, stack, from, None))?
    }

    /// Imports a capsule, as [`import`](Database::import) does, and gives the object a name.
    ///
    /// *Blocks* while it reads and verifies the capsule, and until the object is durable.
    ///
    /// # Errors
    ///
    /// Those of [`Database::import`], and of a name.
    pub fn import_as(&self, from: impl Read + Seek + Send, name: &str) -> Result<ObjectId> {
        on_thread(|stack| capsule::import(&self.shared, stack, from, Some(name)))?
    }

    /// Waits until all appends so far are durable: every version that was seen or acknowledged
    /// before, whose [`Ticket`](crate::Ticket) is settled then. This thread may write the log, and
    /// wake others that wait for it.
    ///
    /// *Blocks* until the disk is done.
    ///
    /// # Errors
    ///
    /// [`Poisoned`](storage::ErrorKind::Poisoned) when they cannot become durable.
    pub fn sync(&self) -> Result<()> {
        Ok(self.shared.library.store.sync()?)
    }

    /// Returns figures of the store.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.shared.library.store.stats()?)
    }

    /// Returns what the database has done since it was opened, and its present state. It reads
    /// memory only, in a time that does not depend on the number of objects.
    pub fn metrics(&self) -> Metrics {
        self.shared.figures()
    }

    /// Finishes all submitted work, makes it durable, writes the index and closes.
    ///
    /// *Blocks* until all that was submitted is durable and the index is written.
    ///
    /// # Errors
    ///
    /// [`UncleanClose`](storage::ErrorKind::UncleanClose), in [`Storage`](ErrorKind::Storage), when
    /// all that was submitted is durable, and only the index, which the next opening makes up from
    /// the log, could not be written: nothing is to be repeated. With another error of the store
    /// work that was not acknowledged may not be durable; acknowledged work is.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    fn shut(&mut self) -> Result<()> {
        if !self.shared.post.close() {
            return Ok(());
        }
        self.shared.post.timer.close();
        if let Some(timer) = self.timer.take() {
            drop(timer.join());
        }
        drain(&self.shared);
        self.pool.stop(&self.shared.post.queue);
        self.shared.residents.check_invariants();
        Ok(self.shared.library.store.close()?)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(error) = self.shut() {
            tracing::error!(%error, "closing the database");
        }
    }
}
