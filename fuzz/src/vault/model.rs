//! A vault as naively as can be said: its state, who used which nonce, when it wants to wake; and
//! whether it changes.
//!
//! It knows no signature: whether one is genuine is known to whoever drew it.

use std::collections::BTreeMap;

use object::effects::WakeChange;
use object::hash::VersionHash;
use object::refusal::Reason;
use rand::RngExt;
use rand::rngs::StdRng;

use super::law::{Case, Law, Word};
use super::{Ask, Made, State, guard};
use crate::generate::header;

/// How long a signature may hold: seven days, in milliseconds.
pub(crate) const WEEK: u64 = 7 * 24 * 3600 * 1000;

/// One vault.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) law: Law,
    /// Whether the vault's guard must permit as well.
    pub(crate) guarded: bool,
    pub(crate) state: State,
    pub(crate) time: u64,
    pub(crate) wake: Option<u64>,
    pub(crate) seq: u64,
    pub(crate) head: VersionHash,
    /// The last nonce of each key, and when it was used.
    nonces: BTreeMap<[u8; 32], (u64, u64)>,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Signed {
    /// Whether each signature was made by its key, for just this.
    pub(crate) genuine: bool,
    /// The keys, as they stand there.
    pub(crate) keys: Vec<[u8; 32]>,
    pub(crate) nonce: u64,
    pub(crate) expires: u64,
    pub(crate) parent: Option<VersionHash>,
}

/// A step that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) time: u64,
    pub(crate) signed: Option<&'a Signed>,
}

impl Model {
    pub(crate) fn new(law: Law, time: u64, head: VersionHash) -> Model {
        let (state, wake, seq, nonces) = Default::default();
        Model { law, guarded: false, state, time, wake, seq, head, nonces }
    }

    /// The keys that may be believed to ask, or why not.
    fn believed<'a>(&self, attempt: Attempt<'a>) -> Result<&'a [[u8; 32]], Reason> {
        if *attempt.ask == Ask::Cycle {
            if attempt.signed.is_some() {
                return Err(Reason::Credential);
            }
            if self.wake.is_none_or(|wake| wake > attempt.time) {
                return Err(Reason::NotDue);
            }
        }
        let Some(signed) = attempt.signed else { return Ok(&[]) };
        if signed.expires < attempt.time {
            return Err(Reason::Expired);
        }
        if signed.expires - attempt.time > WEEK {
            return Err(Reason::ExpiresTooLate);
        }
        if signed.parent.is_some_and(|parent| parent != self.head) {
            return Err(Reason::WrongParent);
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
        Ok(&signed.keys)
    }

    /// Whether a nonce is one that these keys may still use.
    pub(crate) fn is_fresh(&self, signed: &Signed) -> bool {
        let last = |key| self.nonces.get(key).is_none_or(|(last, _)| *last < signed.nonce);
        signed.keys.iter().all(last)
    }

    /// The last nonce that any key used.
    pub(crate) fn last_nonce(&self) -> u64 {
        self.nonces.values().map(|(nonce, _)| *nonce).max().unwrap_or(0)
    }

    /// The next wake, once what is asked for has changed it.
    fn wake_after(&self, ask: &Ask, change: WakeChange) -> Option<u64> {
        match change {
            // The wake that runs is spent.
            WakeChange::Keep if *ask == Ask::Cycle => None,
            WakeChange::Keep => self.wake,
            WakeChange::Clear => None,
            WakeChange::Set(at) => (at < u64::MAX).then_some(at),
        }
    }

    /// Whether an attempt that leaves `made`, or no state at all, is admitted.
    pub(crate) fn word(&self, attempt: Attempt<'_>, made: Option<&Made>) -> Word {
        let keys = self.believed(attempt).map_err(|reason| (reason, vec![]))?;
        let made = made.ok_or((Reason::State, vec![]))?;
        let rules = self.law.word(Case {
            ask: attempt.ask,
            keys,
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

    /// What a step is said to leave, by code that is the vault's own or does what it likes;
    /// nothing when that is no state at all.
    pub(crate) fn said(&self, rng: &mut StdRng, ask: &Ask, time: u64) -> Option<Made> {
        let mut made = ask.made(&self.state, time);
        if !ask.is_write() && rng.random_bool(0.25) {
            made.state = self.state.near(rng, time);
            if rng.random_bool(0.2) {
                made.wake = header::wake(rng);
            }
        }
        (*ask != Ask::Nonsense).then_some(made)
    }

    /// Takes an attempt that was admitted, as the version `head`.
    pub(crate) fn take(&mut self, attempt: Attempt<'_>, made: &Made, head: VersionHash) {
        if let Some(signed) = attempt.signed {
            let time = attempt.time;
            // After a week whatever was signed before has expired.
            self.nonces.retain(|_, (_, used)| *used + WEEK >= time);
            self.nonces.extend(signed.keys.iter().map(|key| (*key, (signed.nonce, time))));
        }
        self.wake = self.wake_after(attempt.ask, made.wake);
        (self.state, self.time, self.head) = (made.state, attempt.time, head);
        self.seq += 1;
    }
}
