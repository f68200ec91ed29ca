//! Troubles: operations of the disk that fail, power cuts, processes that end; and the opening
//! again, after which the database must have a beginning of the order.
//!
//! This module does not know the content of records.

use continuant::Database;
use rand::RngExt;

use super::World;
use super::model::{Fate, Mark};
use super::{Asked, BACK_MS, Joined};
use crate::disk::fault::{Fault, Plan};
use crate::disk::{Leaves, SimulatedDisk};
use crate::outcome::{Outcome, equal, hold, must};

/// The ways in which operations fail: the fault, whether all later ones fail as well, of which
/// files, and its name.
const WAYS: [(Fault, bool, &str, &str); 12] = [
    (Fault::Io, false, "", "EIO once"),
    (Fault::Io, true, "", "EIO for ever"),
    (Fault::Io, true, ".log", "EIO of the log"),
    (Fault::Io, true, "index.redb", "EIO of the index"),
    (Fault::Full, false, "", "disk full once"),
    (Fault::Full, true, "", "disk full for ever"),
    (Fault::Evicted, false, "", "failed sync"),
    (Fault::Evicted, true, "", "failed syncs for ever"),
    (Fault::Short, false, "", "short write"),
    (Fault::Short, true, "", "short writes for ever"),
    (Fault::Interrupted, false, "", "interruption"),
    (Fault::Cut, false, "", "power cut in an operation"),
];

/// The names of all troubles, as they are counted.
pub(super) const FAULTS: [&str; 17] = [
    "EIO once",
    "EIO for ever",
    "EIO of the log",
    "EIO of the index",
    "disk full once",
    "disk full for ever",
    "failed sync",
    "failed syncs for ever",
    "short write",
    "short writes for ever",
    "interruption",
    "power cut in an operation",
    "power cut between operations",
    "power cut of unsynced writes in part",
    "process killed",
    "closed and opened",
    "fault while opening",
];

/// Steps after which a fault that did not fire is taken back.
const PATIENCE: usize = 300;

/// The planned trouble, and the trouble so far.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    planned: Option<(Fault, &'static str)>,
    /// Steps since.
    age: usize,
    counted: bool,
    /// Steps until the database is opened again, once the disk has failed.
    left: Option<usize>,
    /// The power is cut.
    dead: bool,
    /// True if nothing may be acknowledged any more.
    silent: bool,
    /// More may have come about than was seen.
    unseen: bool,
}

/// The end of a database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Close,
    Kill,
    Cut,
    /// The end after the disk has failed.
    Failed,
}

impl World<'_> {
    /// Returns whether the disk has failed so that the database may say so.
    pub(super) fn has_failed(&self) -> bool {
        self.trouble.dead || (self.disk.fired() > 0 && !self.is_tolerated())
    }

    fn is_tolerated(&self) -> bool {
        matches!(self.trouble.planned, Some((Fault::Short | Fault::Interrupted, _)))
    }

    /// Something failed, so that what became of it is not seen.
    pub(super) fn miss(&mut self) {
        self.trouble.unseen = true;
    }

    pub(super) fn is_silent(&self) -> bool {
        self.trouble.silent
    }

    /// Plans that an operation of the disk fails soon.
    pub(super) fn plan(&mut self) {
        if self.trouble.planned.is_some() {
            return;
        }
        let (fault, for_ever, only, name) = WAYS[self.rng.random_range(0..WAYS.len())];
        let soon = [4, 40, 400][self.rng.random_range(0..3)];
        let at = self.rng.random_range(0..soon);
        self.note("plan", &[at]);
        self.disk.plan(Some(Plan { fault, at, for_ever, only }));
        self.trouble.planned = Some((fault, name));
    }

    /// Sees to what has gone wrong in a step.
    pub(super) fn face(&mut self) -> Outcome {
        let Some((fault, name)) = self.trouble.planned else { return Ok(()) };
        self.trouble.age += 1;
        let fired = self.disk.fired() > 0;
        if fired && !self.trouble.counted {
            self.trouble.counted = true;
            self.tally.add(name, 1);
            self.note("fired", &[self.trouble.age as u64]);
        }
        if fault == Fault::Cut && fired {
            return self.restart_after(End::Cut);
        }
        if self.has_failed() {
            self.trouble.silent = true;
            let left = match self.trouble.left {
                Some(left) => left,
                None => self.rng.random_range(0..6),
            };
            self.trouble.left = left.checked_sub(1);
            return if left == 0 { self.restart_after(End::Failed) } else { Ok(()) };
        }
        if self.trouble.age > PATIENCE || (fired && fault == Fault::Interrupted) {
            self.disk.plan(None);
            self.trouble = Trouble::default();
        }
        Ok(())
    }

    /// Ends the database in some way and opens it again.
    pub(super) fn restart(&mut self) -> Outcome {
        if self.has_failed() {
            return Ok(());
        }
        let ends = [End::Close, End::Close, End::Kill, End::Cut, End::Cut];
        let end = ends[self.rng.random_range(0..ends.len())];
        self.restart_after(end)
    }

    fn restart_after(&mut self, end: End) -> Outcome {
        self.note("end", &[end as u64]);
        let complete = self.bring_down(end)?;
        let about = |problem| format!("after {end:?}, complete {complete}: {problem}");
        self.sweep().map_err(about)?;
        let unanswered = self.asked.len() + self.joined.len();
        equal("calls that nobody answers", &0, &unanswered).map_err(about)?;
        let open = end == End::Close || self.trouble.unseen;
        self.wreck(end);
        if self.rng.random_bool(0.3) {
            self.now = self.latest - self.rng.random_range(0..BACK_MS);
            self.tally.add("clocks that went back", 1);
        }
        self.bring_up().map_err(about)?;
        self.reconcile(open, complete).map_err(about)?;
        // The power may have been cut before anything was durable.
        match self.objects.iter().all(|object| object.gone) {
            true => self.create(),
            false => Ok(()),
        }
    }

    /// Ends the database; whether all that was submitted is done and durable.
    fn bring_down(&mut self, end: End) -> Result<bool, String> {
        let db: Database = self.db.take().expect("the database is open between steps");
        match end {
            End::Close => {
                let closed = db.close();
                let complete = self.excuses("close", closed)?.is_some();
                if complete {
                    self.order.settle();
                }
                return Ok(complete && !self.has_failed());
            }
            End::Kill | End::Cut => {
                self.disk.kill();
                self.trouble.dead = true;
                drop(db);
            }
            End::Failed if self.rng.random_bool(0.5) => {
                let closed = db.close();
                self.excuses("close", closed)?;
            }
            End::Failed => drop(db),
        }
        Ok(false)
    }

    /// Makes the disk that is left.
    fn wreck(&mut self, end: End) {
        let (volume, digest) = (self.disk.volume(), self.disk.digest());
        self.trace.update(&digest);
        let leaves = match end {
            End::Kill => None,
            End::Cut => Some([Leaves::Nothing, Leaves::Some][self.rng.random_range(0..2)]),
            End::Close | End::Failed => {
                let all =
                    [None, Some(Leaves::Everything), Some(Leaves::Nothing), Some(Leaves::Some)];
                all[self.rng.random_range(0..all.len())]
            }
        };
        let name = match (end, leaves) {
            (End::Close, _) => "closed and opened",
            (End::Kill, _) => "process killed",
            (_, Some(Leaves::Some)) => "power cut of unsynced writes in part",
            (_, Some(_)) => "power cut between operations",
            (_, None) => "process ended by a failure",
        };
        self.tally.add(name, 1);
        let left = match leaves {
            None => volume,
            Some(leaves) => volume.cut(leaves, &mut self.rng),
        };
        self.disk = SimulatedDisk::traced_by_hash(left);
        self.trouble = Trouble::default();
    }

    /// Opens the remaining database, which may fail as long as the disk does.
    fn bring_up(&mut self) -> Outcome {
        while self.db.is_none() {
            if self.trouble.planned.is_none() && self.rng.random_bool(0.2) {
                self.plan();
            }
            match self.open() {
                Ok(db) if !self.has_failed() => self.db = Some(db),
                opened => {
                    // The database may be open even so: then the first of its own work failed, such
                    // as the delivery of messages, and it does no more.
                    let problem = opened.err().map(|error| format!("it opens: {error}"));
                    hold(problem.unwrap_or_default(), self.has_failed())?;
                    self.tally.add("fault while opening", 1);
                    let end = [End::Failed, End::Cut][self.rng.random_range(0..2)];
                    self.disk.kill();
                    self.wreck(end);
                }
            }
        }
        // A plan that is left over, or did no harm, is dropped.
        self.disk.plan(None);
        self.trouble = Trouble::default();
        Ok(())
    }

    /// Compares the remaining database with the order.
    fn reconcile(&mut self, open: bool, complete: bool) -> Outcome {
        let mut found = Vec::new();
        for index in 0..self.objects.len() {
            found.push(self.mark(index)?.ok_or("the disk works again")?);
        }
        let seen: Vec<Mark> = self.objects.iter().map(|object| object.seen).collect();
        self.order.check(&seen, &found, open)?;
        for (index, found) in found.into_iter().enumerate() {
            let object = &mut self.objects[index];
            let kept = object.versions.len() as i64 - 1;
            let holds = found.seq >= kept && found.refusals >= object.refusals;
            hold(format!("what was looked at stays: object {index}, {found:?}"), holds)?;
            object.seen = found;
            object.gone = found.seq < 0;
        }
        hold("what is left can be read", self.audit(complete)?)?;
        let on_their_way = self.books.on_their_way();
        let dead = self.dead_letters()?.ok_or("the disk works again")?.len();
        let found = self.db().message_count() + dead;
        equal("messages on their way, and dead letters", &on_their_way, &found)
    }

    /// Takes in the answers since the last time.
    pub(super) fn sweep(&mut self) -> Outcome {
        let asked = std::mem::take(&mut self.asked);
        for Asked { pending, object, number } in asked {
            match pending.is_answered() {
                true => self.answered(object, number, pending.wait())?,
                false => self.asked.push(Asked { pending, object, number }),
            }
        }
        let joined = std::mem::take(&mut self.joined);
        for Joined { pending, number } in joined {
            match pending.is_answered() {
                true => self.joined_answered(number, pending.wait())?,
                false => self.joined.push(Joined { pending, number }),
            }
        }
        let tickets = std::mem::take(&mut self.tickets);
        for (ticket, object, number) in tickets {
            if !ticket.is_durable() {
                self.tickets.push((ticket, object, number));
                continue;
            }
            hold("nothing is acknowledged after a failure", !self.is_silent())?;
            if let Some(ask) = self.ask_of(object, number) {
                ask.durable = true;
            }
        }
        Ok(())
    }

    fn joined_answered(
        &mut self,
        number: u64,
        answer: continuant::Result<Vec<continuant::Receipt>>,
    ) -> Outcome {
        let calls = self.transactions[&number].calls.clone();
        match answer {
            Ok(receipts) => {
                equal("receipts", &calls.len(), &receipts.len())?;
                for ((object, call), receipt) in calls.into_iter().zip(receipts) {
                    self.answered(object, call, Ok(receipt))?;
                }
            }
            Err(error) => {
                let refuser = error.object().filter(|_| error.refusal().is_some());
                for (object, call) in calls {
                    match refuser {
                        Some(refuser) if refuser != self.objects[object].id => {
                            let ask = self.ask_of(object, call).ok_or("it was asked")?;
                            ask.fate = Fate::Elsewhere;
                        }
                        _ => self.answered(object, call, Err(error.clone()))?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Verifies some objects, and the store, and closes it.
    pub(super) fn end(&mut self) -> Outcome {
        if self.has_failed() {
            self.restart_after(End::Failed)?;
        }
        self.disk.plan(None);
        self.trouble = Trouble::default();
        self.settle()?;
        for _ in 0..4 {
            let index = self.draw();
            let id = self.objects[index].id;
            must("a replay", self.db().verify(id, continuant::Replay::Yes))?;
        }
        self.check()?;
        self.restart_after(End::Close)?;
        let db = self.db.take().expect("the database is open between steps");
        must("closing", db.close())?;
        self.trace.update(&self.disk.digest());
        Ok(())
    }
}
