//! Counters, lamps and purses, modelled by their source and their policies in a few lines of Rust;
//! and the requests to each that are not yet found on record.
//!
//! The model knows no database.

use std::collections::VecDeque;

use continuant::{Header, ObjectId, VersionHash};

/// The kind of an object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Lamp,
    Purse,
    /// A purse of a policy of its own, which takes no more than a hundred at a time.
    Modest,
}

/// A version's state: a count, a balance, or of a lamp until when it is on, and what else it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct State {
    pub(super) number: u64,
    pub(super) on: bool,
    pub(super) switched: u32,
    pub(super) wake: Option<u64>,
}

/// A signer of calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Signer {
    Owner,
    Stranger,
}

/// A call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Request {
    pub(super) method: &'static str,
    pub(super) number: u64,
    /// The receiver of a payment.
    pub(super) to: Option<ObjectId>,
    /// The signer, and the nonce, which no other call of the object has.
    pub(super) signed: Option<(Signer, u64)>,
}

/// The answer to a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Unanswered,
    Made {
        seq: u64,
        hash: VersionHash,
    },
    Refused {
        recorded: bool,
    },
    /// Another object of the transaction refused.
    Elsewhere,
    /// There was no verdict, or nobody knows whether it is on record.
    Failed,
}

/// A call that was submitted.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) number: u64,
    pub(super) request: Request,
    /// The time of submission.
    pub(super) time: u64,
    pub(super) transaction: Option<u64>,
    pub(super) fate: Fate,
    /// True if the answer said that its version is durable.
    pub(super) durable: bool,
}

/// The newest version and refusal of an object, as the store's memory has them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The newest version's number; -1 when there is no object.
    pub(super) seq: i64,
    pub(super) refusals: u64,
    pub(super) hash: Option<VersionHash>,
}

impl Mark {
    pub(super) const NONE: Mark = Mark { seq: -1, refusals: 0, hash: None };
}

/// The model of an object.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) id: ObjectId,
    pub(super) kind: Kind,
    /// The state after each version whose record was compared.
    pub(super) versions: Vec<State>,
    /// The time of the last of them.
    pub(super) time: u64,
    /// The number of compared refusals.
    pub(super) refusals: u64,
    /// The newest version, as it was seen last.
    pub(super) seen: Mark,
    /// Open requests in the order of their submission.
    pub(super) asked: VecDeque<Ask>,
    /// A serial number that distinguishes the object's calls.
    pub(super) serial: u64,
    /// A crash undid its creation.
    pub(super) gone: bool,
    /// The last version that was compared is a deletion.
    pub(super) deleted: bool,
}

impl Object {
    pub(super) fn new(id: ObjectId, kind: Kind) -> Object {
        let (versions, asked) = Default::default();
        let (time, refusals, seen, serial) = (0, 0, Mark::NONE, 0);
        let (gone, deleted) = (false, false);
        Object { id, kind, versions, time, refusals, seen, asked, serial, gone, deleted }
    }

    pub(super) fn newest(&self) -> State {
        *self.versions.last().expect("it has a version that was looked at")
    }

    /// Returns whether its record has more than was examined.
    pub(super) fn has_news(&self) -> bool {
        self.seen.seq >= self.versions.len() as i64 || self.seen.refusals > self.refusals
    }

    /// The state after a call at `time`, if it is admitted.
    pub(super) fn admit(&self, request: &Request, time: u64) -> Option<State> {
        let state = self.newest();
        let is_owner = matches!(request.signed, Some((Signer::Owner, _)));
        match (self.kind, request.method) {
            (Kind::Counter, "increment") if request.number <= 1000 => {
                Some(State { number: state.number + request.number, ..state })
            }
            (Kind::Lamp, "switch-on") if request.number <= 3600 => {
                let number = time + request.number * 1000;
                // A wake is never at the time of its own step.
                let (switched, wake) = (state.switched + 1, Some(number.max(time + 1)));
                Some(State { number, on: true, switched, wake })
            }
            (Kind::Lamp, "switch-off") => Some(state.dark()),
            (Kind::Purse | Kind::Modest, "mint") if is_owner => {
                Some(State { number: state.number + request.number, ..state })
            }
            (Kind::Purse | Kind::Modest, "pay") if is_owner => {
                let number = state.number.checked_sub(request.number)?;
                Some(State { number, ..state })
            }
            (_, "delete") if is_owner => Some(State { wake: None, ..state }),
            _ => None,
        }
    }

    /// The state after a payment of a purse of that kind, if it is taken.
    pub(super) fn deposit(&self, sender: Kind, amount: u64) -> Option<State> {
        let state = self.newest();
        let takes = match self.kind {
            Kind::Purse => sender == Kind::Purse,
            Kind::Modest => sender == Kind::Modest && amount <= 100,
            _ => false,
        };
        takes.then(|| State { number: state.number + amount, ..state })
    }

    /// The state after a lamp has gone out by itself.
    pub(super) fn cycle(&self) -> State {
        self.newest().dark()
    }

    /// Takes a version in.
    pub(super) fn enter(&mut self, state: State, header: &Header) {
        self.versions.push(state);
        self.time = header.time.as_millis();
        self.deleted = header.kind == continuant::Kind::Delete;
    }
}

impl State {
    fn dark(self) -> State {
        State { number: 0, on: false, switched: self.switched + 1, wake: None }
    }
}
