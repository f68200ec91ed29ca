//! Purses that pay one another by messages, through power cuts and on hosts whose clocks disagree:
//! no money is lost or made, and each payment is delivered once, in the order of its sender, or is
//! a dead letter, which is retried or dropped, or waits for a receiver that is ahead of the clock.
//! Whatever the sender's time, a receiver's time is the host's or its own, and no lamp goes out
//! early.
//!
//! It knows what purses do, not how messages are delivered: it compares the lineages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use continuant::{
    Clock, Code, Database, Durability, Entry, ErrorKind, Header, Kind, ObjectId, Options, Payloads,
    Reason, Replay, SigningKey, Time, Value, args, storage,
};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::disk::volume::Volume;
use crate::disk::{Leaves, SimulatedDisk};
use crate::generate::lineage::START;
use crate::generate::{LAMP, LAMP_POLICY, PURSE, PURSE_POLICY, source};
use crate::outcome::{Outcome, equal, hold, must};
use crate::tally::Tally;
use crate::threads::watch_threads;
use crate::workload::PATH;

/// The place of a payment: the version that sent it, and its index there.
type Place = (u64, u32);

const MINUTE: u64 = 60 * 1000;
/// The default limit by which an object may be ahead of the clock.
const TOLERANCE: u64 = 5 * MINUTE;
/// The clocks of the hosts: some are ahead, and later ones have gone back.
const CLOCKS: [u64; 6] = [
    START,
    START,
    START + 1_000,
    START + 3 * MINUTE,
    START + 60 * MINUTE,
    START + 9 * 365 * 24 * 60 * MINUTE,
];

/// A host: what its clock says, and whether it lets everything in.
#[derive(Clone, Copy, Debug)]
struct Host {
    now: u64,
    lets_in: bool,
}

struct Run {
    rng: StdRng,
    key: SigningKey,
    purses: Vec<ObjectId>,
    lamp: ObjectId,
    /// The newest versions of purses and lamp, when all was settled last.
    seen: BTreeMap<ObjectId, Header>,
    /// The last nonce that was not drawn by the database.
    nonce: u64,
    /// The purses and, behind them, the lamp, an id without an object, and a purse that is made
    /// later, or never.
    receivers: Vec<ObjectId>,
    late: ObjectId,
    /// Letters that were retried: their messages come behind later ones.
    again: BTreeSet<(ObjectId, Place)>,
    /// Letters that were dropped, which a crash may have undone, with their receivers.
    dropped: BTreeMap<(ObjectId, Place), ObjectId>,
}

/// The messages in the lineages, by sender and receiver.
#[derive(Default)]
struct Mail {
    sent: BTreeMap<(ObjectId, ObjectId), Vec<Place>>,
    /// Messages that were delivered, or are dead or dropped.
    taken: BTreeMap<(ObjectId, ObjectId), Vec<Place>>,
}

impl Mail {
    /// Counts the messages that were sent and not taken: each must wait for a receiver that is
    /// held.
    fn left(mut self, is_held: impl Fn(ObjectId) -> Result<bool, String>) -> Result<usize, String> {
        let mut held = 0;
        for (&(sender, to), places) in &self.sent {
            let taken: BTreeSet<Place> =
                self.taken.remove(&(sender, to)).into_iter().flatten().collect();
            let left = places.iter().filter(|place| !taken.contains(*place)).count();
            let of_these = taken.iter().filter(|place| places.contains(*place)).count();
            equal("what is delivered or dead was sent", &taken.len(), &of_these)?;
            equal("each is delivered or dead once", &places.len(), &(left + taken.len()))?;
            if left > 0 {
                hold("a message waits for what is ahead alone", is_held(to)?)?;
            }
            held += left;
        }
        self.taken.retain(|_, places| !places.is_empty());
        let taken = self.taken;
        hold(format!("nothing comes that was not sent: {taken:?}"), taken.is_empty())?;
        Ok(held)
    }
}

/// The secret of the purse that is made late.
const LATE: [u8; 32] = [9; 32];

pub(crate) fn run(seed: u64, tally: &Tally) -> Outcome {
    watch_threads();
    let (mut rng, key) = (source(seed), SigningKey::from_secret(&[1; 32]));
    let disk = SimulatedDisk::new(Volume::new());
    let db = open(&disk, &mut rng, Host { now: START, lets_in: false })?;
    let (mut purses, count) = (Vec::new(), rng.random_range(2..6));
    for _ in 0..count {
        let secret = rng.random();
        purses.push(purse(&db, &key, &mut rng, secret)?);
    }
    let code = must("a module", Code::wasm(LAMP))?.policy(LAMP_POLICY).secret(rng.random());
    let lamp = must("creating", db.create(code))?;
    must("closing", db.close())?;
    // Made at the same time of the same parts, it has the same id everywhere.
    let host = Host { now: START, lets_in: false };
    let elsewhere = open(&SimulatedDisk::new(Volume::new()), &mut rng, host)?;
    let late = plain_purse(&elsewhere, &key, LATE)?;
    drop(elsewhere);
    let mut receivers = purses.clone();
    receivers.extend([lamp, ObjectId([7; 32]), late]);
    let (seen, nonce) = (BTreeMap::new(), 1 << 62);
    let (again, dropped) = Default::default();
    let mut run = Run { rng, key, purses, lamp, seen, nonce, receivers, late, again, dropped };
    let mut volume = disk.volume();
    for _ in 0..run.rng.random_range(1..4) {
        let hosts = [run.host(), run.host()];
        volume = run.lives(volume, hosts[0], tally)?;
        let disk = SimulatedDisk::new(volume.clone());
        run.settles(&disk, hosts, tally).map_err(|problem| format!("{hosts:?}: {problem}"))?;
        tally.add("power cuts", 1);
        volume = disk.volume();
    }
    Ok(())
}

fn open(disk: &SimulatedDisk, rng: &mut StdRng, host: Host) -> Result<Database, String> {
    let storage = storage::Options::new().disk(Arc::new(disk.clone())).segment_bytes(64 << 10);
    let options = Options::new().clock(Clock::manual(Time::from_millis(host.now))).storage(storage);
    let options = if host.lets_in {
        options.clock_ahead_max(Duration::from_millis(u64::MAX))
    } else {
        options
    };
    let options = options.workers(rng.random_range(1..4)).cycles(rng.random_bool(0.5));
    let room = if rng.random_bool(0.3) { 0 } else { 1 << 20 };
    must("opening", options.resident_bytes_max(room).refusals_max(3).open(PATH))
}

/// A purse; one that takes no more than a hundred, sometimes.
fn purse(
    db: &Database,
    key: &SigningKey,
    rng: &mut StdRng,
    secret: [u8; 32],
) -> Result<ObjectId, String> {
    let owner = key.public().to_string();
    let mut policy = PURSE_POLICY.replace(&"0".repeat(64), &owner);
    if rng.random_bool(0.3) {
        // Purses of another policy: what they send the others, these do not take.
        policy += r#"@id("modest") forbid(principal, action == Action::"deposit", resource)
            when { context.input.amount > 100 };"#;
    }
    made(db, &owner, policy, secret)
}

/// A purse that takes all that other plain ones give.
fn plain_purse(db: &Database, key: &SigningKey, secret: [u8; 32]) -> Result<ObjectId, String> {
    let owner = key.public().to_string();
    made(db, &owner, PURSE_POLICY.replace(&"0".repeat(64), &owner), secret)
}

fn made(db: &Database, owner: &str, policy: String, secret: [u8; 32]) -> Result<ObjectId, String> {
    let code = must("a module", Code::wasm(PURSE))?.policy(policy);
    must("creating", db.create(code.args(args![owner]).secret(secret)))
}

impl Run {
    fn host(&mut self) -> Host {
        let now = CLOCKS[self.rng.random_range(0..CLOCKS.len())];
        Host { now, lets_in: self.rng.random_bool(0.4) }
    }

    /// Makes payments until the power is cut at some moment, and returns the volume that is left.
    fn lives(&mut self, start: Volume, host: Host, tally: &Tally) -> Result<Volume, String> {
        let disk = SimulatedDisk::traced(start.clone());
        let db = open(&disk, &mut self.rng, host)?;
        let mut pending = Vec::new();
        for _ in 0..self.rng.random_range(5..40) {
            let from = self.purses[self.rng.random_range(0..self.purses.len())];
            let amount = self.rng.random_range(0..200u64);
            let (from, call) = match self.rng.random_range(0..10) {
                0 => (self.lamp, db.call(self.lamp, "switch-on", args![amount as u32])),
                1..4 => (from, db.call(from, "mint", args![amount])),
                _ => {
                    let to = self.receivers[self.rng.random_range(0..self.receivers.len())];
                    (from, db.call(from, "pay", args![Value::from(&to.0[..]), amount]))
                }
            };
            let relaxed = self.rng.random_bool(0.5);
            let call = call.signed(&self.key).durability(match relaxed {
                true => Durability::Relaxed,
                false => Durability::Durable,
            });
            match self.rng.random_range(0..4) {
                // The next nonce that the database draws is above it, once it is on record.
                0 if self.rng.random_bool(0.2) => {
                    self.nonce += self.rng.random_range(1..1 << 40);
                    drop(call.nonce(self.nonce).wait());
                    tally.add("nonces above the clock", 1);
                }
                0 => {
                    let is_ahead =
                        must("info", db.info(from))?.time > Time::from_millis(host.now + TOLERANCE);
                    let is_held = is_ahead && !host.lets_in;
                    let answer = call.wait();
                    let found = matches!(&answer, Err(error)
                        if matches!(error.kind(), ErrorKind::Ahead { .. }));
                    equal("turned away as ahead of the clock", &is_held, &found)?;
                    tally.add("calls of what is ahead", u64::from(is_ahead));
                }
                _ => pending.extend(call.submit()),
            }
            if self.rng.random_bool(0.05) {
                must("settling", db.run_until(Time::from_millis(host.now)))?;
            }
            if self.rng.random_bool(0.1) {
                self.lets_go(&db)?;
            }
        }
        drop(pending);
        drop(db);
        let trace = disk.take_trace();
        let kept = self.rng.random_range(0..=trace.len());
        let mut volume = start;
        trace[..kept].iter().for_each(|operation| volume.apply(operation));
        Ok(volume.cut(Leaves::Some, &mut self.rng))
    }

    /// Tries dead letters again, or drops them, and makes the purse that some of them are for.
    fn lets_go(&mut self, db: &Database) -> Outcome {
        // The late purse's id depends on the time of its creation.
        if db.now() == Time::from_millis(START)
            && self.rng.random_bool(0.3)
            && db.info(self.late).is_err()
        {
            equal("the late purse", &self.late, &plain_purse(db, &self.key, LATE)?)?;
        }
        for letter in db.dead_letters() {
            let letter = must("a dead letter", letter)?;
            let place = (letter.sender, (letter.seq, letter.index));
            match self.rng.random_range(0..6) {
                0 => {
                    must("dropping", db.drop_dead_letter(letter.id))?;
                    self.dropped.insert(place, letter.id.to);
                }
                1 | 2 => {
                    must("trying again", db.retry_dead_letter(letter.id))?;
                    self.again.insert(place);
                    self.dropped.remove(&place);
                }
                _ => continue,
            }
        }
        Ok(())
    }

    /// Opens the remaining volume, delivers pending messages, and compares the lineages with each
    /// other. New versions were made on these hosts.
    fn settles(&mut self, disk: &SimulatedDisk, hosts: [Host; 2], tally: &Tally) -> Outcome {
        let host = hosts[1];
        let db = open(disk, &mut self.rng, host)?;
        must("settling", db.run_until(Time::from_millis(host.now)))?;
        let late = db.info(self.late).is_ok().then_some(self.late);
        let objects = self.purses.iter().copied().chain([self.lamp]).chain(late);
        let objects: Vec<ObjectId> = objects.collect();
        let mut mail = Mail::default();
        for &id in &objects {
            self.reads(&db, id, hosts, &mut mail)?;
        }
        for ((sender, _), places) in &mail.taken {
            let in_order = places.iter().filter(|place| !self.again.contains(&(*sender, **place)));
            hold("messages of a sender arrive in their order", in_order.is_sorted())?;
            tally.add("delivered", places.len() as u64);
        }
        for letter in db.dead_letters() {
            let letter = must("a dead letter", letter)?;
            let places = mail.taken.entry((letter.sender, letter.id.to)).or_default();
            places.push((letter.seq, letter.index));
            tally.add("dead letters", 1);
        }
        let is_held = |to: ObjectId| -> Result<bool, String> {
            let is_ahead =
                must("info", db.info(to))?.time > Time::from_millis(host.now + TOLERANCE);
            Ok(is_ahead && !host.lets_in)
        };
        let mut doubtful = 0;
        for to in self.drops(&mut mail) {
            tally.add("dropped", 1);
            // The crash may have undone that, and what made a dead letter of it: its message waits
            // again then.
            doubtful += usize::from(objects.contains(&to) && is_held(to)?);
        }
        let held = mail.left(is_held)?;
        let waiting = db.message_count();
        let about = format!("{waiting} messages on their way: {held}, and {doubtful} maybe");
        hold(about, (held..=held + doubtful).contains(&waiting))?;
        tally.add("messages held", held as u64);
        for id in objects {
            let header = must("a snapshot", db.snapshot(id))?.header().clone();
            self.seen.insert(id, header);
        }
        let report = must("checking", db.check(|_, _| {}))?;
        hold(format!("an undamaged database is sound: {:?}", report.damage), report.is_sound())?;
        must("closing", db.close())
    }

    /// Reads the lineage of an object: its messages sent and taken, and that its balance follows
    /// from them.
    fn reads(&mut self, db: &Database, id: ObjectId, hosts: [Host; 2], mail: &mut Mail) -> Outcome {
        let (mut balance, history) = (0, db.history(id));
        for entry in history {
            let Entry::Version(entry) = must("an entry", entry)? else { continue };
            self.holds_time(id, &entry.header, hosts.map(|host| host.now))?;
            let payloads = entry.payloads.as_ref().ok_or("a version has its payloads")?;
            let Payloads { input, effects, .. } = payloads;
            for (message, index) in effects.messages.iter().zip(0..) {
                let places = mail.sent.entry((id, message.to)).or_default();
                places.push((entry.header.seq, index));
            }
            if let Some(origin) = input.request.origin() {
                let places = mail.taken.entry((origin.sender, id)).or_default();
                places.push((origin.seq, origin.index));
            }
            let Some((method, arguments)) = input.request.called() else { continue };
            let amount = arguments.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            match method {
                "pay" => balance -= amount,
                _ => balance += amount,
            }
        }
        for entry in db.history(id).refused() {
            let Entry::Refusal(entry) = must("an entry", entry)? else { continue };
            let reason = entry.refusal.verdict.reason;
            let of_nonce = matches!(reason, Reason::Replayed | Reason::Reordered);
            hold("a nonce that the database drew is new", !of_nonce)?;
        }
        if id != self.lamp {
            let newest = must("a snapshot", db.snapshot(id))?;
            equal("the balance", &balance, &must("the balance", newest.get("balance"))?)?;
        }
        must("a replay", db.verify(id, Replay::Yes)).map(drop)
    }

    /// The receivers of the letters that were dropped and are neither delivered nor dead: these
    /// count as taken then.
    fn drops(&self, mail: &mut Mail) -> Vec<ObjectId> {
        let mut drops = Vec::new();
        for (&(sender, place), &to) in &self.dropped {
            let was_sent = mail.sent.get(&(sender, to)).is_some_and(|sent| sent.contains(&place));
            let places = mail.taken.entry((sender, to)).or_default();
            if was_sent && !places.contains(&place) {
                places.push(place);
                drops.push(to);
            }
        }
        drops
    }

    /// Requires that a new version has the time of one of these hosts, or its parent's if that is
    /// later, and that a wake was due by one of them.
    fn holds_time(&mut self, id: ObjectId, header: &Header, clocks: [u64; 2]) -> Outcome {
        let Some(before) = self.seen.get(&id) else {
            // The first one.
            self.seen.insert(id, header.clone());
            return Ok(());
        };
        if header.seq <= before.seq {
            return Ok(());
        }
        let (time, parent) = (header.time, before.time);
        let about = format!("version {} at {time}, behind {parent}", header.seq);
        match (header.kind, before.wake) {
            (Kind::Cycle, Some(due)) => {
                let is_due = clocks.iter().any(|&now| due <= Time::from_millis(now));
                hold(format!("a wake of {due} is due by the host's clock: {about}"), is_due)?;
                equal("when a wake runs", &due.max(parent), &time)?;
            }
            _ => {
                let is_right = clocks.iter().any(|&now| Time::from_millis(now).max(parent) == time);
                hold(format!("a version has the host's time or its object's: {about}"), is_right)?;
            }
        }
        self.seen.insert(id, header.clone());
        Ok(())
    }
}
