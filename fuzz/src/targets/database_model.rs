//! A database of counters, tallies, lamps and sums against a model of a few lines: calls,
//! transactions, direct writes, signatures, upgrades, forks, deletions, the clock, restarts and
//! moves by capsule; blame of each field; in the end every lineage is replayed.
//!
//! The model knows which steps the guests' policies permit, not how.

mod deletion;
mod model;
mod sum;

use std::io::Cursor;
use std::path::PathBuf;

use continuant::{
    Clock, Code, Database, Entry, ErrorKind, Kept, ObjectId, Options, Replay, SigningKey, Time,
    Upgrade, Value, args, verify_capsule,
};
use rand::RngExt;
use rand::rngs::StdRng;

use self::model::{Blamed, Kind, Object};
use crate::generate::lineage::START;
use crate::generate::{COUNTER, COUNTER_POLICY, LAMP, LAMP_POLICY, TALLY, TALLY_POLICY, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::threads::watch_threads;

const OPEN: &str = r#"@id("open") permit(principal, action, resource);"#;
/// A policy under which anyone may upgrade and delete.
const UPGRADABLE: &str = r#"
    @id("upgrade") permit(principal, action in [Action::"upgrade", Action::"delete"], resource);"#;
/// A rule that accepts only small counts.
const SMALL: &str = r#"@id("small") forbid(principal, action == Action::"migrate", resource)
    unless { context.after.balance <= 500 };"#;
const OBJECTS_MAX: usize = 5;

struct Run {
    rng: StdRng,
    directory: tempfile::TempDir,
    path: PathBuf,
    copies: u32,
    /// Open, but while it is being opened again.
    db: Option<Database>,
    now: u64,
    objects: Vec<(ObjectId, Object)>,
    /// The objects that were deleted.
    deleted: Vec<(ObjectId, Object)>,
    /// The objects that were created, in any of the databases.
    created: u32,
    keys: Vec<SigningKey>,
}

pub(crate) fn run(seed: u64) -> Outcome {
    watch_threads();
    let mut rng = source(seed);
    let directory = must("a temporary directory", tempfile::tempdir())?;
    let path = directory.path().join("0");
    let keys = (1..3).map(|secret| SigningKey::from_secret(&[secret; 32])).collect();
    let operations = rng.random_range(5..40);
    let (db, objects, deleted, now) = (None, Vec::new(), Vec::new(), START);
    let (copies, created) = (0, 0);
    let mut run = Run { rng, directory, path, copies, db, now, objects, deleted, created, keys };
    run.open()?;
    for operation in 0..operations {
        run.operation().map_err(|problem| format!("operation {operation}: {problem}"))?;
    }
    run.open()?;
    for index in 0..run.objects.len() {
        run.compare(index)?;
        let (id, object) = &run.objects[index];
        let verified = must("a replay", run.db().verify(*id, Replay::Yes))?;
        let expected = (object.versions.len() as u64, object.refusals);
        equal("versions and refusals", &expected, &(verified.versions, verified.refusals))?;
    }
    run.stay_deleted()?;
    let report = must("checking", run.db().check(|_, _| {}))?;
    equal("objects deleted", &(run.deleted.len() as u64), &report.deleted_count)?;
    hold(format!("an undamaged database is sound: {:?}", report.damage), report.is_sound())
}

/// Returns the arguments of a method, at most one.
fn arguments(kind: Kind, method: &str, argument: u64) -> Vec<Value> {
    match kind {
        _ if method == "switch-off" => args![],
        Kind::Lamp => args![argument as u32],
        _ => args![argument],
    }
}

impl Run {
    fn db(&self) -> &Database {
        self.db.as_ref().expect("the database is open between operations")
    }

    /// Opens the database again, when it is open; sometimes with hardly any room in memory.
    fn open(&mut self) -> Outcome {
        if let Some(db) = self.db.take() {
            match self.rng.random_bool(0.5) {
                true => must("closing", db.close())?,
                false => drop(db),
            }
        }
        let room = if self.rng.random_bool(0.3) { 0 } else { 1 << 20 };
        let options = Options::new()
            .clock(Clock::manual(Time::from_millis(self.now)))
            .resident_bytes_max(room);
        let options = options.workers(self.rng.random_range(1..4));
        self.db = Some(must("opening", options.open(&self.path))?);
        Ok(())
    }

    fn operation(&mut self) -> Outcome {
        if self.objects.is_empty()
            || (self.objects.len() < OBJECTS_MAX && self.rng.random_bool(0.1))
        {
            return self.create();
        }
        let index = self.rng.random_range(0..self.objects.len());
        match self.rng.random_range(0..22) {
            0 => self.open(),
            21 => self.delete(index),
            1..4 => self.wait(),
            4 => self.emigrate(index),
            5..7 => self.write(index),
            7..9 => self.compare(index),
            9 => self.burst(index),
            10..13 => self.transaction(),
            13 if self.objects[index].1.kind == Kind::Sum => self.multiply(index),
            13 => self.upgrade(index),
            14 => self.blame(index),
            _ => self.call(index),
        }
    }

    fn create(&mut self) -> Outcome {
        let kinds = [Kind::Counter, Kind::OpenCounter, Kind::Lamp, Kind::Sum];
        let kind = kinds[self.rng.random_range(0..kinds.len())];
        let sum = sum::module(1, 0);
        let (wasm, policy) = match kind {
            Kind::Counter => (COUNTER, COUNTER_POLICY),
            Kind::OpenCounter => (COUNTER, OPEN),
            Kind::Lamp => (LAMP, LAMP_POLICY),
            Kind::Sum => (&*sum, OPEN),
            Kind::Tally => unreachable!("it is what a counter becomes"),
        };
        let upgradable = kind == Kind::Sum || self.rng.random_bool(0.7);
        let policy = if upgradable { format!("{policy}\n{UPGRADABLE}") } else { policy.into() };
        let code = must("a module", Code::wasm(wasm))?.policy(policy);
        let (name, secret) = (format!("object {}", self.created), self.rng.random());
        self.created += 1;
        let created = self.db().create(code.name(name.clone()).secret(secret));
        let id = must("creating", created)?;
        equal("the object of the name", &Some(id), &must("finding", self.db().find(&name))?)?;
        self.objects.push((id, Object::new(kind, upgradable, self.now)));
        Ok(())
    }

    /// Lets time pass: lamps go out.
    fn wait(&mut self) -> Outcome {
        self.now += [0, 1, 500, 10_000, 4_000_000][self.rng.random_range(0..5)];
        must("waiting", self.db().run_until(Time::from_millis(self.now)))?;
        let now = self.now;
        self.objects.iter_mut().for_each(|(_, object)| object.wait(now));
        Ok(())
    }

    fn call(&mut self, index: usize) -> Outcome {
        let signed = self.rng.random_bool(0.4);
        let signer = signed.then(|| self.rng.random_range(0..self.keys.len()));
        let nonce = self.rng.random_range(1..12);
        let (now, keys) = (self.now, self.keys.clone());
        let (method, argument) = self.objects[index].1.draw(&mut self.rng);
        let (id, object) = &mut self.objects[index];
        let db = self.db.as_ref().expect("the database is open between operations");
        let mut call = db.call(*id, method, arguments(object.kind, method, argument));
        if let Some(signer) = signer {
            call = call.signed(&keys[signer]).nonce(nonce);
        }
        let expected = object.call(method, argument, signer.map(|key| (key, nonce)), now);
        match call.wait() {
            Ok(receipt) => {
                equal("the result", &expected, &Some(receipt.result))?;
                let seq = object.versions.len() as u64 - 1;
                equal("the version", &seq, &receipt.header.seq)
            }
            Err(error) => {
                let refused = matches!(error.kind(), ErrorKind::Refused { recorded: true, .. });
                hold(format!("{method} is answered: {error}"), refused)?;
                hold(format!("{method}({argument}) is refused: {error}"), expected.is_none())
            }
        }
    }

    /// Calls of some objects in some order, together or not at all.
    fn transaction(&mut self) -> Outcome {
        let mut left: Vec<usize> = (0..self.objects.len()).collect();
        let count = self.rng.random_range(1..=left.len());
        let now = self.now;
        let (mut calls, mut after, mut refused) = (Vec::new(), Vec::new(), None);
        let db = self.db.as_ref().expect("the database is open between operations");
        for _ in 0..count {
            let index = left.swap_remove(self.rng.random_range(0..left.len()));
            let (id, object) = &mut self.objects[index];
            let (method, argument) = object.draw(&mut self.rng);
            calls.push(db.call(*id, method, arguments(object.kind, method, argument)));
            // Due cycles run, whatever the outcome of the transaction.
            object.wait(now);
            let mut changed = object.clone();
            let result = changed.call(method, argument, None, now);
            if result.is_none() && refused.is_none() {
                refused = Some((index, changed.clone()));
            }
            after.push((index, changed, result));
        }
        match (db.transaction(calls).wait(), refused) {
            (Ok(receipts), None) => {
                for (receipt, (index, changed, result)) in receipts.into_iter().zip(after) {
                    equal("the result", &result, &Some(receipt.result))?;
                    equal("the object", &self.objects[index].0, &receipt.object)?;
                    self.objects[index].1 = changed;
                }
                Ok(())
            }
            (Err(error), Some((index, changed))) => {
                equal("who refuses", &Some(self.objects[index].0), &error.object())?;
                self.objects[index].1 = changed;
                hold(format!("it is a refusal: {error}"), error.refusal().is_some())
            }
            (Ok(_), Some(_)) => Err("a transaction is done that one of its objects refuses".into()),
            (Err(error), None) => Err(format!("a transaction is done: {error}")),
        }
    }

    /// Many calls at once, none waiting for another.
    fn burst(&mut self, index: usize) -> Outcome {
        let count = self.rng.random_range(1..40);
        let now = self.now;
        let (id, object) = &mut self.objects[index];
        let db = self.db.as_ref().expect("the database is open between operations");
        let (method, arguments) = match object.kind {
            Kind::Lamp => ("switch-off", args![]),
            _ => ("increment", args![1u64]),
        };
        let calls = (0..count).map(|_| db.call(*id, method, arguments.clone()).submit());
        let calls: Result<Vec<_>, _> = calls.collect();
        for call in must("submitting", calls)? {
            let expected = object.call(method, 1, None, now);
            let result = call.wait().ok().map(|receipt| receipt.result);
            equal("the result of one of many calls", &expected, &result)?;
        }
        Ok(())
    }

    fn write(&mut self, index: usize) -> Outcome {
        let value = crate::generate::bytes::number(&mut self.rng);
        let now = self.now;
        let (id, object) = &mut self.objects[index];
        let db = self.db.as_ref().expect("the database is open between operations");
        let (field, new) = match object.kind {
            Kind::Lamp => ("until", Value::from(value)),
            Kind::Tally => ("balance", Value::from(value as i64)),
            Kind::Sum => ("sum", Value::from(value)),
            _ => ("count", Value::from(value)),
        };
        let written = db.write(*id, vec![(field, new)]).wait();
        let expected = object.write(value, now);
        equal(&format!("that {field} may be written"), &expected, &written.is_ok())
    }

    /// Upgrades to a tally, which a counter can become.
    fn upgrade(&mut self, index: usize) -> Outcome {
        let small = self.rng.random_bool(0.5);
        let policy = if small { format!("{TALLY_POLICY}\n{SMALL}") } else { TALLY_POLICY.into() };
        let to = must("a module", Upgrade::wasm(TALLY))?.policy(&*policy).for_good();
        let now = self.now;
        let (id, object) = &mut self.objects[index];
        let db = self.db.as_ref().expect("the database is open between operations");
        let expected = object.upgrade(small, now);
        match db.upgrade(*id, &to).wait() {
            Ok(receipt) => {
                equal("an upgrade", &expected, &Ok(()))?;
                equal("the new code", &to.code(), &receipt.header.code)
            }
            Err(error) => {
                let reason = error.refusal().map(|verdict| verdict.reason);
                equal("why an upgrade is refused", &expected.err(), &reason)
            }
        }
    }

    /// A sum becomes another, which takes over the sum as it is, or multiplied.
    fn multiply(&mut self, index: usize) -> Outcome {
        let factor = self.rng.random_range(1..3);
        let wasm = sum::module(factor, self.rng.random());
        let to = must("a module", Upgrade::wasm(wasm))?.for_good();
        let now = self.now;
        let (id, object) = &mut self.objects[index];
        let db = self.db.as_ref().expect("the database is open between operations");
        let receipt = must("an upgrade of a sum", db.upgrade(*id, &to).wait())?;
        object.multiply(factor, now);
        equal("the new code", &to.code(), &receipt.header.code)
    }

    /// Compares the blame of each field: in the object, and in a fork of one of its versions.
    fn blame(&mut self, index: usize) -> Outcome {
        let (id, object) = &self.objects[index];
        let last = object.versions.len() - 1;
        self.blamed(index, *id, last)?;
        let seq = self.rng.random_range(0..=last);
        let fork = must("a fork", self.db().fork_without_wake(*id, seq as u64, None))?;
        self.blamed(index, fork, seq)
    }

    /// Blames each field of `of`, which is the object itself or a fork of its version `seq`.
    fn blamed(&self, index: usize, of: ObjectId, seq: usize) -> Outcome {
        let (id, object) = &self.objects[index];
        for (field, _) in object.fields(seq) {
            let blame = must("a blame", self.db().blame(of, &field))?;
            let Blamed { seq: first, end, kept } = object.blame(&field, seq);
            let forked = Kept::Fork { object: of, of: *id, seq: seq as u64 };
            let upgraded = |seq| Kept::Upgrade { object: *id, seq };
            let kept = kept.into_iter().map(|seq| upgraded(seq as u64));
            let kept: Vec<Kept> = (of != *id).then_some(forked).into_iter().chain(kept).collect();
            let expected = (*id, first as u64, end, kept);
            let found = (blame.object, blame.entry.header.seq, blame.end, blame.kept);
            equal(&format!("who gave {field} its value"), &expected, &found)?;
        }
        Ok(())
    }

    /// Moves an object into a database of its own, which becomes the one that is gone on with.
    fn emigrate(&mut self, index: usize) -> Outcome {
        let id = self.objects[index].0;
        let mut bytes = Vec::new();
        must("exporting", self.db().export(id, &mut bytes))?;
        let here = must("verifying", self.db().verify(id, Replay::No))?;
        let replay = if self.rng.random_bool(0.3) { Replay::Yes } else { Replay::No };
        let there =
            must("verifying a capsule", verify_capsule(Cursor::new(bytes.clone()), replay))?;
        equal("what is verified", &here, &there)?;
        let again = self.db().import(Cursor::new(bytes.clone()));
        hold("an object that is here is not imported", again.is_err())?;
        if self.rng.random_bool(0.5) {
            return Ok(());
        }
        self.copies += 1;
        self.path = self.directory.path().join(self.copies.to_string());
        self.open()?;
        let imported = must("importing", self.db().import(Cursor::new(bytes)))?;
        equal("the id", &id, &imported)?;
        self.objects = vec![self.objects.swap_remove(index)];
        self.deleted.clear();
        // A wake that was due before the move runs before any later step.
        self.wait()
    }

    fn compare(&mut self, index: usize) -> Outcome {
        let (id, object) = &self.objects[index];
        let db = self.db();
        let newest = must("a snapshot", db.snapshot(*id))?;
        let last = object.versions.len() - 1;
        equal("the newest version", &(last as u64), &newest.header().seq)?;
        equal("its state", &object.state(last), &must("the state", newest.state())?)?;
        equal("its wake", &object.wake, &newest.header().wake.map(Time::as_millis))?;
        let refused = db.history(*id).refused();
        let refused: Result<Vec<Entry>, _> = refused.collect();
        let refused = must("the refusals", refused)?.len() as u64;
        equal("the number of refusals", &object.refusals, &refused)?;
        let seq = self.rng.random_range(0..=last);
        let (id, object) = &self.objects[index];
        let old = must("an old version", self.db().at(*id, seq as u64))?;
        equal(&format!("version {seq}"), &object.state(seq), &must("the state", old.state())?)?;
        let time = object.versions[seq].time;
        let seq = object.versions.iter().rposition(|version| version.time <= time);
        let as_of = must("a version as of a time", self.db().as_of(*id, Time::from_millis(time)))?;
        equal("the version as of a time", &seq, &Some(as_of.header().seq as usize))
    }
}
