//! Every record compared with the model: each version follows from the one before by a submitted
//! input, in order, and is as answered; messages come once and in order; wakes run when they are
//! due; transactions are complete or absent.
//!
//! This module does not know the cause of a crash, nor what it may leave.

use std::collections::{BTreeMap, BTreeSet};

use continuant::object::input::{Input, Request as Asking};
use continuant::{Entry, ErrorKind, ObjectId, Origin, Payloads, Receipt, RefusalEntry, Time};
use continuant::{Result, VersionEntry};

use super::model::{Ask, Fate, Kind, Object};
use super::{World, state};
use crate::outcome::{Outcome, equal, hold, must};

/// The place of a message: its sender, the version, and its index among that version's messages.
type Place = (ObjectId, u64, u32);

/// The money, and the messages that it moves by.
#[derive(Debug, Default)]
pub(super) struct Books {
    minted: u64,
    /// The receiver and amount of each message that has not come; dead letters stay.
    sent: BTreeMap<Place, (ObjectId, u64)>,
    /// The last that came of a sender to a receiver.
    last: BTreeMap<(ObjectId, ObjectId), (u64, u32)>,
    /// The messages that came, in the order in which records are examined.
    came: Vec<(Place, ObjectId, u64)>,
}

impl Books {
    /// Messages that did not come, dead letters among them.
    pub(super) fn on_their_way(&self) -> usize {
        self.sent.len()
    }

    /// Matches delivered messages with sent ones, once the records of all senders were read.
    fn settle(&mut self) -> Outcome {
        for (place, to, amount) in std::mem::take(&mut self.came) {
            let sent = self.sent.remove(&place);
            equal("a message that came", &Some((to, amount)), &sent)?;
            let (sender, seq, index) = place;
            let last = self.last.insert((sender, to), (seq, index));
            hold("messages come in order", last.is_none_or(|last| last < (seq, index)))?;
        }
        Ok(())
    }
}

impl World<'_> {
    /// Has all be worked through, and holds everything against the model.
    pub(super) fn settle(&mut self) -> Outcome {
        let settled = self.db().run_until(Time::from_millis(self.now));
        if self.excuses("settle", settled)?.is_none() {
            return Ok(());
        }
        self.observe_all()?;
        self.order.settle();
        self.sweep()?;
        equal("calls without an answer", &0, &(self.asked.len() + self.joined.len()))?;
        if !self.audit(true)? {
            return Ok(());
        }
        self.order = Default::default();
        self.tally.add("settled", 1);
        let now = self.now;
        let late = |object: &&Object| object.newest().wake.is_some_and(|wake| wake <= now);
        let late = self.objects.iter().filter(|object| !object.gone).find(late);
        hold(format!("no wake is late: {late:?}"), late.is_none())?;
        equal("messages on their way", &0, &self.db().message_count())?;
        self.count_money()
    }

    /// Requires that no money is lost or made.
    fn count_money(&mut self) -> Outcome {
        let Some(dead) = self.dead_letters()? else { return Ok(()) };
        let sent: BTreeSet<Place> = self.books.sent.keys().copied().collect();
        equal("the messages that did not come", &sent, &dead)?;
        for ((sender, ..), (to, amount)) in &self.books.sent {
            let of_sender = self.objects[self.places[sender]].kind;
            let receiver = self.places.get(to).map(|&index| &self.objects[index]);
            let taken = receiver.filter(|object| !object.gone && !object.deleted);
            let taken = taken.and_then(|object| object.deposit(of_sender, *amount));
            hold(format!("{amount} for {to} is turned away"), taken.is_none())?;
        }
        let mut sum: u64 = self.books.sent.values().map(|(_, amount)| amount).sum();
        for object in self.objects.iter().filter(|object| !object.gone) {
            if matches!(object.kind, Kind::Purse | Kind::Modest) {
                sum += match self.db().snapshot(object.id) {
                    Ok(newest) => must("a balance", newest.get::<u64>("balance"))?,
                    Err(_) if self.has_failed() => return Ok(()),
                    Err(error) => return Err(format!("a balance: {error}")),
                };
            }
        }
        equal("money", &self.books.minted, &sum)
    }

    /// Returns the dead letters; none, when the disk has failed and the read with it.
    pub(super) fn dead_letters(&self) -> std::result::Result<Option<BTreeSet<Place>>, String> {
        let mut dead = BTreeSet::new();
        for letter in self.db().dead_letters() {
            match letter {
                Ok(letter) => {
                    let is_new = dead.insert((letter.sender, letter.seq, letter.index));
                    hold("a dead letter is dead once", is_new)?;
                }
                Err(_) if self.has_failed() => return Ok(None),
                Err(error) => return Err(format!("dead letters: {error}")),
            }
        }
        Ok(Some(dead))
    }

    /// Looks at every record that is new; `complete` says that all that was asked must be there.
    /// Whether it could be read.
    pub(super) fn audit(&mut self, complete: bool) -> std::result::Result<bool, String> {
        let mut news = Vec::new();
        for (index, object) in self.objects.iter().enumerate() {
            if object.gone || !object.has_news() {
                continue;
            }
            match self.read_news(object) {
                Ok(entries) => news.push((index, entries)),
                Err(_) if self.has_failed() => return Ok(false),
                Err(error) => return Err(format!("object {index}: {error}")),
            }
        }
        for (index, entries) in news {
            for entry in entries {
                let about = format!("object {index}, {entry:?}");
                let entered = match entry {
                    Entry::Version(version) => self.enter_version(index, version),
                    Entry::Refusal(refusal) => self.enter_refusal(index, &refusal),
                };
                entered.map_err(|problem| format!("{problem}: {about}"))?;
            }
            let Object { id, kind, .. } = self.objects[index];
            let newest = match self.db().snapshot(id) {
                Ok(newest) => newest,
                Err(_) if self.has_failed() => continue,
                Err(error) => return Err(format!("object {index}: {error}")),
            };
            let found = must("a state", state(kind, &newest))?;
            equal("the newest state", &self.objects[index].newest(), &found)?;
        }
        self.books.settle()?;
        self.close_asked(complete)?;
        self.close_transactions()?;
        Ok(true)
    }

    /// Returns the records that were not yet compared, oldest first.
    fn read_news(&self, object: &Object) -> Result<Vec<Entry>> {
        let (db, id) = (self.db(), object.id);
        let mut versions = Vec::new();
        for entry in db.history(id).backwards() {
            match entry? {
                Entry::Version(entry) if entry.header.seq < object.versions.len() as u64 => break,
                entry => versions.push(entry),
            }
        }
        let mut refusals = Vec::new();
        for entry in db.history(id).refused().backwards() {
            match entry? {
                Entry::Refusal(entry) if entry.number <= object.refusals => break,
                entry => refusals.push(entry),
            }
        }
        let mut entries: Vec<Entry> = refusals.into_iter().rev().collect();
        entries.extend(versions.into_iter().rev());
        // A refusal is before the version of the same seq, which was not made then.
        entries.sort_by_key(|entry| match entry {
            Entry::Version(version) => (version.header.seq, 1),
            Entry::Refusal(refusal) => (refusal.refusal.seq, 0),
        });
        Ok(entries)
    }

    fn enter_version(&mut self, index: usize, entry: VersionEntry) -> Outcome {
        let VersionEntry { header, hash, payloads } = entry;
        let Payloads { input, effects, .. } = payloads.ok_or("a version has its payloads")?;
        let object = &self.objects[index];
        equal("its seq", &(object.versions.len() as u64), &header.seq)?;
        hold("nothing follows a deletion", !object.deleted)?;
        let (id, time) = (object.id, header.time.as_millis());
        hold("time does not go back", object.time <= time && time <= self.latest)?;
        let wake = object.versions.last().and_then(|state| state.wake);
        let state = match &input.request {
            Asking::Cycle => {
                let due = wake.ok_or("a wake runs that was not set")?;
                equal("when it runs", &due.max(object.time), &time)?;
                self.tally.add("wakes", 1);
                object.cycle()
            }
            _ if wake.is_some_and(|wake| wake <= time) => {
                return Err("a wake comes too late".into());
            }
            Asking::Message { origin, arguments, .. } => {
                let amount = number(arguments);
                let sender = self.objects[self.places[&origin.sender]].kind;
                self.books.came.push((place(origin), id, amount));
                self.tally.add("messages", 1);
                let object = &self.objects[index];
                object.deposit(sender, amount).ok_or("a deposit is taken that is not to be")?
            }
            _ => {
                let ask = self.find_ask(index, &input)?;
                let told = matches!(ask.fate, Fate::Unanswered | Fate::Failed)
                    || ask.fate == Fate::Made { seq: header.seq, hash };
                hold(format!("it is what was answered: {ask:?}"), told)?;
                self.count_part(&ask, |parts| parts.made += 1);
                let object = &self.objects[index];
                equal("its time", &ask.time.max(object.time), &time)?;
                if ask.request.method == "mint" {
                    self.books.minted += ask.request.number;
                }
                match ask.request.method {
                    "create" => Default::default(),
                    _ => object.admit(&ask.request, time).ok_or("it is to be refused")?,
                }
            }
        };
        equal("its wake", &state.wake, &header.wake.map(Time::as_millis))?;
        for (message, place) in effects.messages.iter().zip(0..) {
            let amount = number(&message.arguments);
            self.books.sent.insert((id, header.seq, place), (message.to, amount));
        }
        self.objects[index].enter(state, &header);
        self.tally.add("deletions", u64::from(self.objects[index].deleted));
        self.tally.add("versions", 1);
        Ok(())
    }

    fn enter_refusal(&mut self, index: usize, entry: &RefusalEntry) -> Outcome {
        let (input, object) = (&entry.input, &self.objects[index]);
        let time = input.time;
        let wake = object.newest().wake;
        hold("no refusal follows a deletion", !object.deleted)?;
        hold("a wake comes first", wake.is_none_or(|wake| wake > time.as_millis()))?;
        let admitted = match &input.request {
            Asking::Message { origin, arguments, .. } => {
                let sender = self.objects[self.places[&origin.sender]].kind;
                object.deposit(sender, number(arguments))
            }
            _ => {
                let ask = self.find_ask(index, input)?;
                let told = matches!(ask.fate, Fate::Unanswered | Fate::Failed)
                    || ask.fate == Fate::Refused { recorded: true };
                hold(format!("it is what was answered: {ask:?}"), told)?;
                self.count_part(&ask, |parts| parts.refused += 1);
                self.objects[index].admit(&ask.request, time.as_millis())
            }
        };
        hold("it is to be refused", admitted.is_none())?;
        self.objects[index].refusals += 1;
        self.tally.add("refusals", 1);
        Ok(())
    }

    fn count_part(&mut self, ask: &Ask, count: impl FnOnce(&mut super::Parts)) {
        let transaction = ask.transaction.and_then(|number| self.transactions.get_mut(&number));
        transaction.map(count);
    }

    /// Finds the call behind an input on record: the next submitted one, skipping those that leave
    /// no record.
    fn find_ask(&mut self, index: usize, input: &Input) -> std::result::Result<Ask, String> {
        while let Some(ask) = self.objects[index].asked.pop_front() {
            if is_of(&ask, input) {
                return Ok(ask);
            }
            let is_left_out = match ask.fate {
                Fate::Refused { recorded: false } | Fate::Elsewhere => true,
                // Nobody knows what became of a transaction that the crash came before.
                Fate::Unanswered | Fate::Failed => ask.transaction.is_some(),
                Fate::Made { .. } | Fate::Refused { recorded: true } => false,
            };
            hold(format!("calls are worked through in order: {ask:?}"), is_left_out)?;
        }
        Err("nobody asked for it".to_string())
    }

    /// Drops the calls that are not on record.
    fn close_asked(&mut self, complete: bool) -> Outcome {
        for (index, object) in self.objects.iter_mut().enumerate() {
            for ask in object.asked.drain(..) {
                let is_promised = match ask.fate {
                    Fate::Made { .. } | Fate::Refused { recorded: true } => complete || ask.durable,
                    Fate::Refused { recorded: false } | Fate::Elsewhere => false,
                    Fate::Unanswered | Fate::Failed => complete,
                };
                hold(format!("object {index} has {ask:?}"), !is_promised)?;
            }
        }
        self.tickets.clear();
        Ok(())
    }

    /// Requires that transactions are there as a whole or not at all.
    fn close_transactions(&mut self) -> Outcome {
        for (number, parts) in std::mem::take(&mut self.transactions) {
            let is_whole = match parts.made {
                0 => parts.refused <= 1,
                made => made == parts.calls.len() && parts.refused == 0,
            };
            let (made, refused) = (parts.made, parts.refused);
            let about = format!("{number} of {:?}: {made} made, {refused} refused", parts.calls);
            hold(format!("a transaction is all or nothing: {about}"), is_whole)?;
        }
        Ok(())
    }

    pub(super) fn ask_of(&mut self, object: usize, number: u64) -> Option<&mut Ask> {
        self.objects[object].asked.iter_mut().find(|ask| ask.number == number)
    }

    /// Records the answer to a call.
    pub(super) fn answered(
        &mut self,
        object: usize,
        number: u64,
        answer: Result<Receipt>,
    ) -> Outcome {
        let (fate, durable) = match answer {
            Ok(receipt) => {
                equal("whose receipt it is", &self.objects[object].id, &receipt.object)?;
                let is_durable = receipt.ticket.is_durable();
                if !is_durable {
                    self.tickets.push((receipt.ticket, object, number));
                }
                (Fate::Made { seq: receipt.header.seq, hash: receipt.version }, is_durable)
            }
            Err(error) => match error.kind() {
                // A refusal may be answered before its record is durable.
                ErrorKind::Refused { recorded, .. } => {
                    (Fate::Refused { recorded: *recorded }, false)
                }
                ErrorKind::Deleted { .. } => {
                    self.tally.add("calls of deleted objects", 1);
                    (Fate::Refused { recorded: false }, false)
                }
                _ if self.has_failed() && super::is_of_disk(&error) => (Fate::Failed, false),
                _ => return Err(format!("call {number} of object {object} is answered: {error}")),
            },
        };
        hold("nothing is acknowledged after a failure", !(durable && self.is_silent()))?;
        let (code, seq) = match fate {
            Fate::Made { seq, .. } => (0, seq),
            Fate::Refused { recorded } => (1, u64::from(recorded)),
            _ => (2, 0),
        };
        self.note("answer", &[number, code, seq, u64::from(durable)]);
        let ask = self.ask_of(object, number).ok_or("what is answered was asked")?;
        (ask.fate, ask.durable) = (fate, durable);
        Ok(())
    }
}

fn place(origin: &Origin) -> Place {
    (origin.sender, origin.seq, origin.index)
}

/// The last argument, which is the number of all that have one.
fn number(arguments: &[u8]) -> u64 {
    arguments.last_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Returns whether an input is a submitted call.
fn is_of(ask: &Ask, input: &Input) -> bool {
    let nonce = input.credential.as_ref().map(|credential| credential.nonce);
    let is_signed_so = ask.request.signed.map(|(_, nonce)| nonce) == nonce;
    match &input.request {
        Asking::Create { .. } => ask.request.method == "create",
        Asking::Call { method, arguments } => {
            let found = match arguments.len() {
                4 => {
                    arguments.last_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
                }
                _ => number(arguments),
            };
            method == ask.request.method && found == ask.request.number && is_signed_so
        }
        Asking::Delete => ask.request.method == "delete" && is_signed_so,
        _ => false,
    }
}
