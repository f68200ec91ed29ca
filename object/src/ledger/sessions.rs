//! The sessions that are open on an object: their keys, their expiry, and the last nonce in each.
//!
//! A session is forgotten when it has expired. No input in it can be admitted twice, even if the
//! session is opened again later: an input in a session expires no later than the session. This
//! module does not know secrets.
//!
//! Invariant: entries ascend by id, and have keys, which ascend.

use std::sync::Arc;

use super::nonces::NonceProblem;
use crate::codec::{Reader, Write};
use crate::credential::PublicKey;
use crate::error::Result;
use crate::hash::SessionId;
use crate::limits::{
    SESSION_KEYS_MAX, SESSION_KEYS_NAMED_MAX, SESSIONS_MAX, SESSIONS_NAMED_MAX, SIGNATURES_MAX,
};
use crate::time::Time;

/// The sessions that are open on an object.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Sessions(Vec<SessionEntry>);

/// A session that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEntry {
    id: SessionId,
    expires: Time,
    /// The nonce of the session's last input; 0 before the first.
    nonce: u64,
    keys: Arc<[PublicKey]>,
}

/// The reasons for which a session cannot be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SessionProblem {
    /// There is one of this secret.
    Open,
    /// There are as many sessions, or keys in them, as an object may have.
    Full,
}

const KEY_BYTES: usize = 32;
/// Bytes of a session with one key.
const SESSION_BYTES: usize = 81;

/// Returns the number of sessions, and of their keys, that an object may have: sessions opened by a
/// key that the policy names have room of their own.
const fn room(is_named: bool) -> (usize, usize) {
    match is_named {
        true => (SESSIONS_MAX + SESSIONS_NAMED_MAX, SESSION_KEYS_MAX + SESSION_KEYS_NAMED_MAX),
        false => (SESSIONS_MAX, SESSION_KEYS_MAX),
    }
}

impl SessionEntry {
    /// The keys that opened it, ascending.
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Returns the session's last moment.
    pub fn expires(&self) -> Time {
        self.expires
    }

    /// The nonce of the last input in it; 0 before the first.
    pub fn last_nonce(&self) -> u64 {
        self.nonce
    }

    /// Checks that an input in the session may have `nonce`.
    ///
    /// # Errors
    ///
    /// [`Replayed`](NonceProblem::Replayed) and [`Reordered`](NonceProblem::Reordered).
    pub fn admit(&self, nonce: u64) -> Result<(), NonceProblem> {
        match nonce.cmp(&self.nonce) {
            std::cmp::Ordering::Greater => Ok(()),
            std::cmp::Ordering::Equal => Err(NonceProblem::Replayed),
            std::cmp::Ordering::Less => Err(NonceProblem::Reordered),
        }
    }
}

impl Sessions {
    /// Bytes that they take in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let keys = |session: &SessionEntry| size_of_val(&session.keys[..]);
        size_of_val(&self.0[..]) + self.0.iter().map(keys).sum::<usize>()
    }

    /// The session of this id, if it was opened and is not forgotten.
    pub fn get(&self, id: SessionId) -> Option<&SessionEntry> {
        self.find(id).ok().map(|index| &self.0[index])
    }

    /// Returns whether no session is on record.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that a session may be opened at `time` by `key_count` keys; `is_named` if the policy
    /// names one of them.
    ///
    /// # Errors
    ///
    /// The problem, when it may not.
    pub fn admit(
        &self,
        id: SessionId,
        (key_count, is_named): (usize, bool),
        time: Time,
    ) -> Result<(), SessionProblem> {
        let open = || self.0.iter().filter(|session| session.expires >= time);
        if open().any(|session| session.id == id) {
            return Err(SessionProblem::Open);
        }
        let keys: usize = open().map(|session| session.keys.len()).sum();
        let (sessions_max, keys_max) = room(is_named);
        if open().count() >= sessions_max || keys + key_count > keys_max {
            return Err(SessionProblem::Full);
        }
        Ok(())
    }

    /// Forgets the sessions that have expired by `time`.
    pub(super) fn forget(&mut self, time: Time) {
        self.0.retain(|session| session.expires >= time);
    }

    /// Opens a session of `keys` until `expires`.
    pub(super) fn open(&mut self, id: SessionId, keys: &[PublicKey], expires: Time) {
        debug_assert!(!keys.is_empty(), "a session is opened by signatures");
        match self.find(id) {
            Ok(_) => debug_assert!(false, "only what is not open is opened"),
            Err(index) => {
                self.0.insert(index, SessionEntry { id, expires, nonce: 0, keys: keys.into() });
            }
        }
    }

    /// Records that an input in the session had `nonce`.
    pub(super) fn record(&mut self, id: SessionId, nonce: u64) {
        if let Ok(index) = self.find(id) {
            debug_assert!(self.0[index].admit(nonce).is_ok(), "only admitted nonces are recorded");
            self.0[index].nonce = nonce;
        }
    }

    fn find(&self, id: SessionId) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |session| session.id)
    }

    pub(super) fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.0.len());
        for session in &self.0 {
            bytes.put(&session.id.0).put_time(session.expires).put_u64(session.nonce);
            bytes.put_count(session.keys.len() * KEY_BYTES);
            for key in session.keys.iter() {
                bytes.put(&key.0);
            }
        }
    }

    pub(super) fn decode_from(reader: &mut Reader<'_>) -> Result<Sessions> {
        let (sessions_max, mut keys_left) = room(true);
        let count = reader.count(sessions_max, SESSION_BYTES)?;
        let mut sessions: Vec<SessionEntry> = Vec::with_capacity(count);
        for _ in 0..count {
            let id = SessionId(reader.array()?);
            if sessions.last().is_some_and(|last| last.id >= id) {
                return Err(reader.fail(32, "ascending sessions", id));
            }
            let (expires, nonce) = (reader.time()?, reader.u64()?);
            let key_bytes = reader.count(SIGNATURES_MAX.min(keys_left) * KEY_BYTES, 1)?;
            if !key_bytes.is_multiple_of(KEY_BYTES) {
                return Err(reader.fail(0, "a multiple of 32", key_bytes));
            }
            keys_left -= key_bytes / KEY_BYTES;
            let keys = (0..key_bytes / KEY_BYTES).map(|_| reader.array().map(PublicKey));
            let keys: Vec<PublicKey> = keys.collect::<Result<_>>()?;
            if keys.is_empty() || !keys.is_sorted_by(|one, next| one < next) {
                return Err(reader.fail(0, "keys that ascend", "none, or out of order"));
            }
            sessions.push(SessionEntry { id, expires, nonce, keys: keys.into() });
        }
        Ok(Sessions(sessions))
    }
}
