//! A whole database on one thread, with thousands of objects, under a clock that the seed moves and
//! on a disk that the seed makes fail: counters, lamps that go out by themselves, purses that pay
//! one another, deletions, transactions, restarts and power cuts, against a model of a few lines.
//!
//! ```text
//!   a step: submit, work, sync, move the clock, read, ... --> what is seen: a unit of the order
//!                      |                                              |
//!         settle: all is worked through               crash: what is left is opened
//!                      |                                              |
//!                      +--> every record is held against the model <--+
//! ```
//!
//! The database has no workers, so this thread does all of its work, in the order that the seed
//! draws: which object has its turn next, when the log is written, when the clock moves. So a seed
//! reproduces a run exactly, down to the bytes on the disk; playing some runs twice checks that.
//! This target does not know how the database does its work.
//!
//! Invariant: the seed alone determines a run.

mod audit;
mod model;
mod order;
mod restart;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use continuant::{
    Clock, Code, Database, Durability, ErrorKind, ObjectId, Options, Pending, Receipt, SigningKey,
    Ticket, Time, Value, args, storage,
};
use rand::RngExt;
use rand::rngs::StdRng;

use self::audit::Books;
use self::model::{Ask, Fate, Kind, Mark, Object, Request, Signer, State};
use self::order::{Change, Order};
use self::restart::{FAULTS, Trouble};
use crate::disk::SimulatedDisk;
use crate::disk::volume::Volume;
use crate::generate::lineage::START;
use crate::generate::{COUNTER, COUNTER_POLICY, LAMP, LAMP_POLICY, PURSE, PURSE_POLICY, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::workload::PATH;

/// One in this many runs is played twice.
const TWICE: u64 = 8;
/// After this many runs every fault must have fired.
const LONG: u64 = 40;
/// The limit of an object's unexamined calls: fewer than a thousand can be distinguished.
const ASKED_MAX: usize = 400;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// The time by which a clock goes back: objects that are at most this far ahead of it continue.
const BACK_MS: u64 = 4 * 60 * 1000;

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    let (mut rng, twice) = (source(seed ^ 0x5eed), seed.is_multiple_of(TWICE));
    let size = Size { objects: rng.random_range(300..3000), steps: rng.random_range(4000..7000) };
    let trace = play(seed, size, tally)?;
    if twice {
        let again = play(seed, size, &Tally::new(false))?;
        let same = std::iter::zip(&trace, &again).take_while(|(one, other)| one == other).count();
        let about =
            format!("step {same} of {} is the same in another run of the seed", trace.len());
        hold(about, trace == again)?;
        tally.add("runs played twice", 1);
    }
    tally.add("simulations", 1);
    if tally.count("simulations") >= LONG {
        for fault in FAULTS {
            hold(format!("{fault}: it happened"), tally.count(fault) > 0)?;
        }
    }
    Ok(())
}

/// The amount of work in a run.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// The objects that exist before the first step.
    objects: usize,
    steps: usize,
}

/// Plays one run; returns after each step the hash of everything done, answered and written so far.
fn play(seed: u64, size: Size, tally: &Tally) -> Result<Vec<blake3::Hash>, String> {
    let mut world = World::new(seed, tally)?;
    let mut hashes = Vec::new();
    for step in 0..size.objects + size.steps {
        let done = if step < size.objects { world.create() } else { world.step() };
        done.map_err(|problem| format!("step {step}: {problem}"))?;
        hashes.push(world.hash());
    }
    world.end()?;
    hashes.push(world.hash());
    tally.add("steps", hashes.len() as u64);
    Ok(hashes)
}

/// A call that was not answered yet, of the object with this index.
struct Asked {
    pending: Pending,
    object: usize,
    number: u64,
}

/// A transaction that was not answered yet.
struct Joined {
    pending: Pending<Vec<Receipt>>,
    number: u64,
}

/// A transaction whose calls are not all examined yet.
struct Parts {
    /// The objects, and the numbers of their calls.
    calls: Vec<(usize, u64)>,
    /// The number of them on record.
    made: usize,
    refused: usize,
}

struct World<'a> {
    rng: StdRng,
    trace: blake3::Hasher,
    tally: &'a Tally,
    owner: SigningKey,
    stranger: SigningKey,
    disk: SimulatedDisk,
    /// Open, but while it is opened again.
    db: Option<Database>,
    now: u64,
    /// The latest that it was: a clock may go back while the database is closed.
    latest: u64,
    objects: Vec<Object>,
    places: BTreeMap<ObjectId, usize>,
    /// The number of the next call or transaction.
    number: u64,
    asked: Vec<Asked>,
    joined: Vec<Joined>,
    transactions: BTreeMap<u64, Parts>,
    tickets: Vec<(Ticket, usize, u64)>,
    order: Order,
    books: Books,
    trouble: Trouble,
}

impl<'a> World<'a> {
    fn new(seed: u64, tally: &'a Tally) -> Result<World<'a>, String> {
        let disk = SimulatedDisk::traced_by_hash(Volume::new());
        let mut world = World {
            rng: source(seed),
            trace: blake3::Hasher::new(),
            tally,
            owner: SigningKey::from_secret(&[1; 32]),
            stranger: SigningKey::from_secret(&[2; 32]),
            disk,
            db: None,
            now: START,
            latest: START,
            objects: Vec::new(),
            places: BTreeMap::new(),
            number: 0,
            asked: Vec::new(),
            joined: Vec::new(),
            transactions: BTreeMap::new(),
            tickets: Vec::new(),
            order: Order::default(),
            books: Books::default(),
            trouble: Trouble::default(),
        };
        world.db = Some(must("opening", world.open())?);
        Ok(world)
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("the database is open between steps")
    }

    /// The hash of what happened so far.
    fn hash(&mut self) -> blake3::Hash {
        let digest = self.disk.digest();
        self.note("written", &[]);
        self.trace.update(&digest).finalize()
    }

    /// Takes what happened into the trace.
    fn note(&mut self, what: &str, numbers: &[u64]) {
        self.trace.update(what.as_bytes());
        for number in numbers {
            self.trace.update(&number.to_le_bytes());
        }
    }

    /// Opens the database on the disk.
    fn open(&mut self) -> continuant::Result<Database> {
        let rng = &mut self.rng;
        let storage = storage::Options::new()
            .disk(Arc::new(self.disk.clone()))
            .id([7; 16])
            .segment_bytes([64 << 10, 1 << 20][rng.random_range(0..2)])
            .group_bytes_max([1 << 10, 64 << 10, 32 << 20][rng.random_range(0..3)])
            .recent_rows_max([50, 1000, 100_000][rng.random_range(0..3)])
            .tail_bytes_max([32 << 10, 1 << 20, 256 << 20][rng.random_range(0..3)])
            .index_cache_bytes([256 << 10, 64 << 20][rng.random_range(0..2)]);
        let options = Options::new()
            .workers(0)
            .clock(Clock::manual(Time::from_millis(self.now)))
            .storage(storage);
        let options = options
            .mailbox_max([8, 1024][rng.random_range(0..2)])
            .resident_bytes_max([0, 100_000, 1 << 30][rng.random_range(0..3)])
            .refusals_max([2, 1024][rng.random_range(0..2)]);
        options.open(PATH)
    }

    /// Returns a result, or none if it failed with an excuse: the disk has failed, and the database
    /// may say so.
    fn excuses<T>(&mut self, what: &str, done: continuant::Result<T>) -> Result<Option<T>, String> {
        self.note(what, &[u64::from(done.is_ok())]);
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error) if self.has_failed() && is_of_disk(&error) => {
                self.miss();
                Ok(None)
            }
            Err(error) => Err(format!("{what}: {error}")),
        }
    }

    fn step(&mut self) -> Outcome {
        match self.rng.random_range(0..1000) {
            0..330 => self.submit()?,
            330..380 => self.join()?,
            380..740 => self.work()?,
            740..800 => self.sync()?,
            800..830 => self.wait()?,
            830..890 => self.pass()?,
            890..950 => self.read()?,
            950..975 => self.create()?,
            975..977 => self.check()?,
            977..984 => self.settle()?,
            984..990 => self.restart()?,
            _ => self.plan(),
        }
        self.sweep()?;
        self.face()
    }

    /// An object, some of them far more often than others.
    fn draw(&mut self) -> usize {
        loop {
            let count = if self.rng.random_bool(0.4) { 20 } else { self.objects.len() };
            let index = self.rng.random_range(0..count.min(self.objects.len()));
            let object = &self.objects[index];
            // Few objects that were deleted are asked for something again.
            if !object.gone && (!object.deleted || self.rng.random_bool(0.1)) {
                return index;
            }
        }
    }

    fn create(&mut self) -> Outcome {
        let kinds = [Kind::Counter, Kind::Lamp, Kind::Purse, Kind::Modest];
        let kind = kinds[[0, 0, 1, 1, 2, 2, 2, 3][self.rng.random_range(0..8)]];
        let owner = self.owner.public().to_string();
        let end = format!(
            "\n@id(\"end\") permit(principal == Key::\"{owner}\", action == Action::\"delete\", \
             resource);\n"
        );
        let purse = PURSE_POLICY.replace(&"0".repeat(64), &owner) + &end;
        let code = match kind {
            Kind::Counter => {
                Code::wasm(COUNTER).map(|code| code.policy(format!("{COUNTER_POLICY}{end}")))
            }
            Kind::Lamp => Code::wasm(LAMP).map(|code| code.policy(format!("{LAMP_POLICY}{end}"))),
            Kind::Purse => Code::wasm(PURSE).map(|code| code.policy(purse)),
            Kind::Modest => Code::wasm(PURSE).map(|code| {
                code.policy(
                    purse
                        + r#"@id("modest") forbid(principal, action == Action::"deposit", resource)
                        when { context.input.amount > 100 };"#,
                )
            }),
        };
        let code = must("a module", code)?.secret(self.rng.random());
        let code = match kind {
            Kind::Purse | Kind::Modest => code.args(args![&owner[..]]),
            _ => code,
        };
        let created = self.db().begin_create(code);
        let Some((id, pending)) = self.excuses("create", created)? else { return Ok(()) };
        let mut object = Object::new(id, kind);
        let request = Request { method: "create", number: 0, to: None, signed: None };
        object.asked.push_back(self.ask(request, None));
        let (index, number) = (self.objects.len(), self.number);
        self.asked.push(Asked { pending, object: index, number });
        hold("an object is new", self.places.insert(id, index).is_none())?;
        self.objects.push(object);
        self.observe(&[index])
    }

    /// A call that is about to be submitted.
    fn ask(&mut self, request: Request, transaction: Option<u64>) -> Ask {
        self.number += 1;
        let (number, time, fate) = (self.number, self.now, Fate::Unanswered);
        Ask { number, request, time, transaction, fate, durable: false }
    }

    /// Draws a request to an object; in a transaction it is signed.
    fn request(&mut self, index: usize, must_sign: bool) -> Request {
        let kind = self.objects[index].kind;
        self.objects[index].serial += 1;
        let serial = self.objects[index].serial;
        let rng = &mut self.rng;
        let unique = serial % 1000;
        let (method, number) = match kind {
            _ if rng.random_bool(0.01) => ("delete", 0),
            Kind::Counter if rng.random_bool(0.05) => ("increment", 1001 + unique),
            Kind::Counter => ("increment", 1 + unique),
            Kind::Lamp if rng.random_bool(0.2) => ("switch-off", 0),
            Kind::Lamp if rng.random_bool(0.05) => ("switch-on", 3601 + unique),
            Kind::Lamp => ("switch-on", unique),
            _ if rng.random_bool(0.3) => ("mint", rng.random_range(0..300)),
            _ => ("pay", rng.random_range(0..200)),
        };
        let always = ["switch-off", "mint", "pay", "delete"];
        let needs = must_sign || always.contains(&method);
        let signer = if rng.random_bool(0.05) { Signer::Stranger } else { Signer::Owner };
        let signed = (needs || rng.random_bool(0.1)).then_some((signer, serial));
        let to = (method == "pay").then(|| self.payee());
        Request { method, number, to, signed }
    }

    /// Draws the receiver of a payment: mostly a purse.
    fn payee(&mut self) -> ObjectId {
        if self.rng.random_bool(0.03) {
            return ObjectId(self.rng.random());
        }
        for _ in 0..8 {
            let index = self.draw();
            if matches!(self.objects[index].kind, Kind::Purse | Kind::Modest) {
                return self.objects[index].id;
            }
        }
        let index = self.draw();
        self.objects[index].id
    }

    /// Makes the call. A payment to an object that is no purse is refused, as it has no such
    /// method.
    fn call(&self, index: usize, request: &Request) -> continuant::Call<'_> {
        let Request { method, number, to, signed } = *request;
        let arguments = match method {
            "switch-off" => args![],
            "switch-on" => args![number as u32],
            "pay" => {
                let to = to.expect("somebody is paid");
                args![Value::from(&to.0[..]), number]
            }
            _ => args![number],
        };
        let id = self.objects[index].id;
        let call = match method {
            "delete" => self.db().delete(id),
            _ => self.db().call(id, method, arguments),
        };
        match signed {
            None => call,
            Some((signer, nonce)) => {
                let key = if signer == Signer::Owner { &self.owner } else { &self.stranger };
                call.signed(key).nonce(nonce).expires(Time::from_millis(self.now + 6 * DAY_MS))
            }
        }
    }

    fn submit(&mut self) -> Outcome {
        let index = self.draw();
        let request = self.request(index, false);
        let relaxed = self.rng.random_bool(0.5);
        let durability = if relaxed { Durability::Relaxed } else { Durability::Durable };
        let submitted = self.call(index, &request).durability(durability).submit();
        if matches!(&submitted, Err(error) if is_full(error)) {
            self.note("full", &[]);
            self.tally.add("calls turned away", 1);
            return Ok(());
        }
        if matches!(&submitted, Err(error) if is_deleted(error)) {
            return self.require_deleted(&[index]);
        }
        let Some(pending) = self.excuses("submit", submitted)? else { return Ok(()) };
        let ask = self.ask(request, None);
        self.asked.push(Asked { pending, object: index, number: ask.number });
        self.objects[index].asked.push_back(ask);
        if self.objects[index].asked.len() > ASKED_MAX { self.settle() } else { Ok(()) }
    }

    fn join(&mut self) -> Outcome {
        let count = self.rng.random_range(1..6);
        let members: BTreeSet<usize> = (0..count).map(|_| self.draw()).collect();
        let mut members: Vec<usize> = members.into_iter().collect();
        let turned = self.rng.random_range(0..members.len());
        members.rotate_left(turned);
        let requests: Vec<Request> =
            members.iter().map(|&index| self.request(index, true)).collect();
        let calls = members.iter().zip(&requests);
        let calls: Vec<_> = calls.map(|(&index, request)| self.call(index, request)).collect();
        let submitted = self.db().transaction(calls).submit();
        if matches!(&submitted, Err(error) if is_full(error)) {
            self.note("full", &[]);
            return Ok(());
        }
        if matches!(&submitted, Err(error) if is_deleted(error)) {
            return self.require_deleted(&members);
        }
        let Some(pending) = self.excuses("join", submitted)? else { return Ok(()) };
        self.number += 1;
        let number = self.number;
        let mut calls = Vec::new();
        for (index, request) in members.into_iter().zip(requests) {
            let ask = self.ask(request, Some(number));
            calls.push((index, ask.number));
            self.objects[index].asked.push_back(ask);
        }
        self.transactions.insert(number, Parts { calls, made: 0, refused: 0 });
        self.joined.push(Joined { pending, number });
        self.tally.add("transactions", 1);
        Ok(())
    }

    /// Requires that one of these objects, of which nothing more is taken, was deleted.
    fn require_deleted(&mut self, members: &[usize]) -> Outcome {
        self.note("deleted", &[]);
        self.tally.add("calls of deleted objects", 1);
        for &index in members {
            let info = self.db().info(self.objects[index].id);
            let Some(info) = self.excuses("info", info)? else { return Ok(()) };
            if info.deleted.is_some() {
                return Ok(());
            }
        }
        Err(format!("none of the objects {members:?} was deleted"))
    }

    /// Has one object work through its mail.
    fn work(&mut self) -> Outcome {
        let place = self.rng.random_range(0..1000);
        let worked = self.db().work(place);
        let index = worked.map(|id| self.places[&id]);
        self.note("work", &[index.map_or(u64::MAX, |index| index as u64)]);
        let Some(index) = index else { return Ok(()) };
        self.tally.add("turns", 1);
        let mut members = BTreeSet::from([index]);
        for joined in &self.joined {
            let calls = &self.transactions[&joined.number].calls;
            if calls.iter().any(|(member, _)| *member == index) {
                members.extend(calls.iter().map(|(member, _)| *member));
            }
        }
        self.observe(&members.into_iter().collect::<Vec<_>>())
    }

    /// Notes how far objects are: all that is new is of one unit.
    fn observe(&mut self, members: &[usize]) -> Outcome {
        let mut unit = Vec::new();
        for &index in members {
            let Some(after) = self.mark(index)? else { continue };
            let before = self.objects[index].seen;
            if before != after {
                self.note("seen", &[index as u64, after.seq as u64, after.refusals]);
                self.trace.update(&after.hash.expect("there is a version").0);
                self.objects[index].seen = after;
                unit.push(Change { object: index, before, after });
            }
        }
        self.order.push(unit);
        Ok(())
    }

    /// Returns an object's newest mark; none, when the disk has failed and the read with it.
    fn mark(&mut self, index: usize) -> Result<Option<Mark>, String> {
        let info = self.db().info(self.objects[index].id);
        match info {
            Ok(info) => {
                let (seq, hash) = (info.seq as i64, Some(info.hash));
                Ok(Some(Mark { seq, refusals: info.refusal_count, hash }))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NoObject) => Ok(Some(Mark::NONE)),
            error => self.excuses("info", error).map(|_| None),
        }
    }

    fn observe_all(&mut self) -> Outcome {
        let all: Vec<usize> = (0..self.objects.len()).collect();
        let all: Vec<usize> = all.into_iter().filter(|&index| !self.objects[index].gone).collect();
        self.observe(&all)
    }

    fn sync(&mut self) -> Outcome {
        let synced = self.db().sync();
        if self.excuses("sync", synced)?.is_some() {
            self.order.settle();
            let lagging = self.tickets.iter().filter(|(ticket, ..)| !ticket.is_durable()).count();
            equal("tickets that are open after a sync", &0, &lagging)?;
        }
        Ok(())
    }

    /// Waits for a call, as a caller does: this thread works until it is answered.
    fn wait(&mut self) -> Outcome {
        if self.asked.is_empty() {
            return Ok(());
        }
        let place = self.rng.random_range(0..self.asked.len());
        let Asked { pending, object, number } = self.asked.remove(place);
        self.answered(object, number, pending.wait())?;
        self.observe_all()
    }

    /// Lets time pass; due cycles are posted.
    fn pass(&mut self) -> Outcome {
        self.now += [1, 500, 10_000, 120_000, 4_000_000][self.rng.random_range(0..5)];
        self.latest = self.latest.max(self.now);
        let passed = self.db().advance_clock(Time::from_millis(self.now));
        self.excuses("pass", passed).map(|_| ())
    }

    /// Checks the whole store.
    fn check(&mut self) -> Outcome {
        let report = self.db().check(|_, _| {});
        let report = self.excuses("check", report)?;
        // Unreadable parts are reported as damage.
        if let Some(report) = report.filter(|_| !self.has_failed()) {
            hold(format!("it is sound: {:?}", report.damage), report.is_sound())?;
            self.order.settle();
        }
        Ok(())
    }

    /// Reads an object's newest version and an old one.
    fn read(&mut self) -> Outcome {
        let index = self.draw();
        let (id, seen) = (self.objects[index].id, self.objects[index].seen);
        let newest = self.db().snapshot(id);
        let Some(newest) = self.excuses("read", newest)? else { return Ok(()) };
        if self.has_failed() {
            return Ok(());
        }
        let found = (newest.header().seq as i64, Some(newest.hash()));
        equal("the newest version", &(seen.seq, seen.hash), &found)?;
        let count = self.objects[index].versions.len();
        if count == 0 {
            return Ok(());
        }
        let seq = self.rng.random_range(0..count);
        let old = self.db().at(id, seq as u64);
        let Some(old) = self.excuses("read", old)? else { return Ok(()) };
        let object = &self.objects[index];
        let expected = object.versions[seq];
        equal("the state of a version", &expected, &must("a state", state(object.kind, &old))?)
    }
}

/// A version's state, as the model has it.
fn state(kind: Kind, snapshot: &continuant::Snapshot) -> object::Result<State> {
    let wake = snapshot.header().wake.map(Time::as_millis);
    Ok(match kind {
        Kind::Counter => State { number: snapshot.get("count")?, wake, ..State::default() },
        Kind::Lamp => {
            let (on, switched) = (snapshot.get("on")?, snapshot.get("switched")?);
            State { number: snapshot.get("until")?, on, switched, wake }
        }
        _ => State { number: snapshot.get("balance")?, wake, ..State::default() },
    })
}

fn is_full(error: &continuant::Error) -> bool {
    matches!(error.kind(), ErrorKind::MailboxFull { .. })
}

fn is_deleted(error: &continuant::Error) -> bool {
    matches!(error.kind(), ErrorKind::Deleted { .. })
}

/// Returns whether an error says that the disk failed, or the database was closed because of it.
fn is_of_disk(error: &continuant::Error) -> bool {
    matches!(error.kind(), ErrorKind::Storage(_) | ErrorKind::Closed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threads::on_thread;

    /// Plays a short run; returns its trace, and its counts.
    fn short(seed: u64) -> (Vec<blake3::Hash>, Tally) {
        on_thread(move || {
            let (size, tally) = (Size { objects: 40, steps: 700 }, Tally::new(false));
            let trace = play(seed, size, &tally);
            (trace.unwrap_or_else(|problem| panic!("seed {seed}: {problem}")), tally)
        })
    }

    #[test]
    fn a_seed_reproduces_its_run_down_to_the_bytes_on_the_disk() {
        let mut traces = BTreeSet::new();
        let mut sum = BTreeMap::new();
        for seed in 0..5 {
            let (trace, tally) = short(seed);
            assert!(trace == short(seed).0, "the trace of seed {seed}, again");
            assert!(traces.insert(*trace[100].as_bytes()), "another seed has another trace");
            for (what, count) in tally.end() {
                *sum.entry(what).or_insert(0) += count;
            }
        }
        for what in ["messages", "wakes", "transactions", "refusals", "settled", "deletions"] {
            assert!(sum.get(what).is_some_and(|count| *count > 10), "{what}: {sum:?}");
        }
        let faults = FAULTS.iter().filter(|fault| sum.contains_key(*fault)).count();
        assert!(faults > FAULTS.len() / 2, "{sum:?}");
    }
}
