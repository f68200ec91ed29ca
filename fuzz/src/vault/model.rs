//! The naive model of a vault: its state, the keys' nonces, its wake; and whether it changes.
//!
//! It knows no signature: the draw of an input knows whether one is genuine.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use object::effects::WakeChange;
use object::hash::VersionHash;
use object::refusal::Reason;
use object::time::Time;
use rand::RngExt;
use rand::rngs::StdRng;

use super::law::{Case, Law, Word, sessions};
use super::{Ask, Made, State, guard};
use crate::generate::header;

/// The longest validity of a signature: seven days, in milliseconds.
pub(crate) const WEEK: u64 = 7 * 24 * 3600 * 1000;

/// The number of keys that are remembered.
const KEYS_MAX: usize = 1024;

/// The model of one vault.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) law: Law,
    /// True if the vault's guard must permit as well.
    pub(crate) guarded: bool,
    /// Versions that it permitted.
    pub(crate) permitted_by_guard: u64,
    pub(crate) state: State,
    pub(crate) time: u64,
    pub(crate) wake: Option<u64>,
    pub(crate) seq: u64,
    pub(crate) head: VersionHash,
    /// The last nonce of each key, and when the last of its inputs expires.
    nonces: BTreeMap<[u8; 32], (u64, u64)>,
    /// The latest expiry of an input of a key that was forgotten early; and the same of keys that
    /// the law names.
    floor: u64,
    named_floor: u64,
    /// The sessions that were opened.
    sessions: BTreeMap<[u8; 32], Opened>,
    /// True if the vault was deleted: nothing follows.
    pub(crate) deleted: bool,
}

/// A session: its keys, its last moment, and the last nonce in it.
#[derive(Clone, Debug)]
struct Opened {
    keys: Vec<[u8; 32]>,
    expires: u64,
    nonce: u64,
}

/// The signers of an input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    /// True if each signature, or the code, was made by its key, for exactly this.
    pub(crate) genuine: bool,
    /// The keys, as they stand there; none in a session.
    pub(crate) keys: Vec<[u8; 32]>,
    /// The session that it is in.
    pub(crate) session: Option<[u8; 32]>,
    pub(crate) nonce: u64,
    pub(crate) expires: u64,
    pub(crate) parent: Option<VersionHash>,
}

/// A requested step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) time: u64,
    pub(crate) signed: Option<&'a Signed>,
}

impl Model {
    pub(crate) fn new(law: Law, time: u64, head: VersionHash) -> Model {
        let (guarded, permitted_by_guard, seq, deleted) = Default::default();
        let (state, wake, nonces, floor, named_floor, sessions) = Default::default();
        Model {
            law,
            guarded,
            permitted_by_guard,
            state,
            time,
            wake,
            seq,
            head,
            nonces,
            floor,
            named_floor,
            sessions,
            deleted,
        }
    }

    /// The keys that may be believed to ask, or why not.
    fn believed<'a>(&'a self, attempt: Attempt<'a>) -> Result<&'a [[u8; 32]], Reason> {
        let by_itself = matches!(attempt.ask, Ask::Cycle | Ask::Hear(..));
        if by_itself && attempt.signed.is_some() {
            return Err(Reason::Credential);
        }
        let is_due = self.wake.is_some_and(|wake| wake <= attempt.time);
        if *attempt.ask == Ask::Cycle && !is_due {
            return Err(Reason::NotDue);
        }
        let opening = match *attempt.ask {
            Ask::Open(which, expires) => Some((sessions()[which].id().0, expires)),
            _ => None,
        };
        let Some(signed) = attempt.signed else {
            return if opening.is_some() { Err(Reason::Credential) } else { Ok(&[]) };
        };
        let lasts = |expires: u64| match expires.checked_sub(attempt.time) {
            None => Err(Reason::Expired),
            Some(left) if left > WEEK => Err(Reason::ExpiresTooLate),
            Some(_) => Ok(()),
        };
        lasts(signed.expires)?;
        if signed.parent.is_some_and(|parent| parent != self.head) {
            return Err(Reason::WrongParent);
        }
        if let Some(id) = &signed.session {
            if opening.is_some() || matches!(attempt.ask, Ask::Amend(_) | Ask::Delete) {
                return Err(Reason::Credential);
            }
            let opened = self.opened(id, attempt.time).ok_or(Reason::NoSession)?;
            return match opened.nonce.cmp(&signed.nonce) {
                _ if signed.expires > opened.expires => Err(Reason::ExpiresTooLate),
                Ordering::Equal => Err(Reason::Replayed),
                Ordering::Greater => Err(Reason::Reordered),
                Ordering::Less if !signed.genuine => Err(Reason::SessionCode),
                Ordering::Less => Ok(&opened.keys),
            };
        }
        if !signed.genuine {
            return Err(Reason::Credential);
        }
        for key in &signed.keys {
            match self.nonces.get(key) {
                Some((last, _)) if *last == signed.nonce => return Err(Reason::Replayed),
                Some((last, _)) if *last > signed.nonce => return Err(Reason::Reordered),
                _ => {}
            }
        }
        let late = |key: &[u8; 32]| signed.expires > self.floor_of(key);
        if !signed.keys.iter().all(late) {
            return Err(Reason::NoncesFull);
        }
        if let Some((id, expires)) = &opening {
            lasts(*expires)?;
            if self.opened(id, attempt.time).is_some() {
                return Err(Reason::SessionOpen);
            }
        }
        Ok(&signed.keys)
    }

    /// Returns the moment after which an input of a key has to expire; 0 when there is none.
    fn floor_of(&self, key: &[u8; 32]) -> u64 {
        match self.nonces.contains_key(key) {
            true => 0,
            false if self.law.names(key) => self.named_floor,
            false => self.floor,
        }
    }

    /// Takes in that keys used a nonce for something that expires then.
    fn remember(&mut self, signed: &Signed, time: u64, law: Law) {
        self.nonces.retain(|_, (_, until)| until.saturating_add(WEEK) >= time);
        for key in &signed.keys {
            let until = self.nonces.get(key).map_or(0, |(_, until)| *until);
            self.nonces.insert(*key, (signed.nonce, until.max(signed.expires)));
        }
        while self.nonces.len() > KEYS_MAX {
            let order = |key: &[u8; 32], until: u64| {
                (signed.keys.contains(key), law.names(key), until, *key)
            };
            let first = self.nonces.iter().map(|(key, (_, until))| order(key, *until)).min();
            let (_, is_named, until, key) = first.expect("there are some");
            self.nonces.remove(&key);
            self.floor = self.floor.max(until);
            if is_named {
                self.named_floor = self.named_floor.max(until);
            }
        }
        for floor in [&mut self.floor, &mut self.named_floor] {
            if *floor < time {
                *floor = 0;
            }
        }
    }

    /// A session that is open at a time.
    fn opened(&self, id: &[u8; 32], time: u64) -> Option<&Opened> {
        self.sessions.get(id).filter(|opened| opened.expires >= time)
    }

    /// A session that is open at a time: its last moment, and the last nonce in it.
    pub(crate) fn session(&self, id: &[u8; 32], time: u64) -> Option<(u64, u64)> {
        self.opened(id, time).map(|opened| (opened.expires, opened.nonce))
    }

    /// Returns whether these keys, or the session, may still use a nonce.
    pub(crate) fn is_fresh(&self, signed: &Signed) -> bool {
        if let Some(id) = &signed.session {
            return self.sessions.get(id).is_none_or(|opened| opened.nonce < signed.nonce);
        }
        let last = |key| self.nonces.get(key).is_none_or(|(last, _)| *last < signed.nonce);
        signed.keys.iter().all(last)
    }

    /// The last nonce that any key used.
    pub(crate) fn last_nonce(&self) -> u64 {
        self.nonces.values().map(|(nonce, _)| *nonce).max().unwrap_or(0)
    }

    /// Returns the next wake, after a request has changed it.
    fn wake_after(&self, ask: &Ask, change: WakeChange) -> Option<u64> {
        match change {
            // The wake that runs is spent.
            WakeChange::Keep if *ask == Ask::Cycle => None,
            WakeChange::Keep => self.wake,
            WakeChange::Clear => None,
            WakeChange::Set(at) => (at < Time::MAX).then_some(at.as_millis()),
        }
    }

    /// Returns the verdict on an attempt that leaves `made`, or no state at all.
    pub(crate) fn word(&self, attempt: Attempt<'_>, made: Option<&Made>) -> Word {
        let keys = self.believed(attempt).map_err(|reason| (reason, vec![]))?;
        let reason = match attempt.ask {
            Ask::Amend(_) => Reason::Policy,
            _ => Reason::State,
        };
        let made = made.ok_or((reason, vec![]))?;
        let rules = self.law.word(Case {
            ask: attempt.ask,
            keys,
            in_session: attempt.signed.is_some_and(|signed| signed.session.is_some()),
            time: attempt.time,
            before: &self.state,
            after: &made.state,
            wake: self.wake_after(attempt.ask, made.wake),
        })?;
        match self.guarded && !guard::permits(&made.state) {
            true => Err((Reason::Guard, vec![])),
            false => Ok(rules),
        }
    }

    /// Draws the claimed outcome of a step, by the vault's own code or any other; none when that is
    /// no state at all.
    pub(crate) fn said(&self, rng: &mut StdRng, ask: &Ask, time: u64) -> Option<Made> {
        let mut made = ask.made(&self.state, time);
        if ask.runs_code() && rng.random_bool(0.25) {
            made.state = self.state.near(rng, time);
            if rng.random_bool(0.2) {
                made.wake = header::wake(rng);
            }
        }
        (!matches!(ask, Ask::Nonsense | Ask::Amend(None))).then_some(made)
    }

    /// Takes an attempt that was admitted, as the version `head`.
    pub(crate) fn take(&mut self, attempt: Attempt<'_>, made: &Made, head: VersionHash) {
        if let Some(signed) = attempt.signed {
            let time = attempt.time;
            if let Some(opened) = signed.session.and_then(|id| self.sessions.get_mut(&id)) {
                opened.nonce = signed.nonce;
            } else {
                let law = match attempt.ask {
                    Ask::Amend(Some(law)) => *law,
                    _ => self.law,
                };
                self.remember(signed, time, law);
            }
            if let Ask::Open(which, expires) = *attempt.ask {
                let opened = Opened { keys: signed.keys.clone(), expires, nonce: 0 };
                self.sessions.insert(sessions()[which].id().0, opened);
            }
        }
        if *attempt.ask == Ask::Delete {
            (self.deleted, self.sessions) = (true, BTreeMap::new());
        }
        self.wake = self.wake_after(attempt.ask, made.wake);
        (self.state, self.time, self.head) = (made.state, attempt.time, head);
        self.permitted_by_guard += u64::from(self.guarded);
        if let Ask::Amend(Some(law)) = attempt.ask {
            // The law may name keys that are forgotten.
            self.named_floor = self.floor;
            // A law comes without a guard.
            (self.law, self.guarded) = (*law, false);
        }
        self.seq += 1;
    }
}
