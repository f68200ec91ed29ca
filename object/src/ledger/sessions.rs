//! The sessions that are open on an object: their keys, their expiry, and the last nonce in each.
//!
//! A session is forgotten when it has expired. No input in it can be admitted twice, even if the
//! session is opened again later: an input in a session expires no later than the session. This
//! module does not know secrets.
//!
//! Invariant: a session has keys, which ascend.

use std::sync::Arc;

use super::changes::{Advance, Change};
use super::nonces::NonceProblem;
use super::trie::{Entry, Key, Trie};
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
pub struct Sessions(Trie<SessionEntry>);

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

impl Entry for SessionEntry {
    fn key(&self) -> &Key {
        &self.id.0
    }

    fn until(&self) -> Time {
        self.expires
    }

    fn keys(&self) -> usize {
        self.keys.len()
    }

    fn heap_bytes(&self) -> usize {
        size_of_val(&self.keys[..])
    }

    fn put(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.id.0).put_time(self.expires).put_u64(self.nonce);
        bytes.put_count(self.keys.len());
        for key in self.keys.iter() {
            bytes.put(&key.0);
        }
    }
}

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
    /// Bytes that they take in memory beside their own.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    /// The number of sessions, and of their keys.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.keys())
    }

    /// The session of this id, if it was opened and is not forgotten.
    pub fn get(&self, id: SessionId) -> Option<&SessionEntry> {
        self.0.get(&id.0)
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
        let mut open = self.clone();
        open.forget(time);
        if open.get(id).is_some() {
            return Err(SessionProblem::Open);
        }
        let (sessions_max, keys_max) = room(is_named);
        let (sessions, keys) = open.counts();
        if sessions >= sessions_max || keys + key_count > keys_max {
            return Err(SessionProblem::Full);
        }
        Ok(())
    }

    /// Forgets the sessions that have expired by `time`.
    pub(super) fn forget(&mut self, time: Time) {
        self.0.forget(time);
    }

    /// Opens a session of `keys` until `expires`.
    pub(super) fn open(&mut self, id: SessionId, keys: &[PublicKey], expires: Time) {
        debug_assert!(!keys.is_empty(), "a session is opened by signatures");
        debug_assert!(self.get(id).is_none(), "only what is not open is opened");
        self.0.put(SessionEntry { id, expires, nonce: 0, keys: keys.into() });
    }

    /// Records that an input in the session had `nonce`.
    pub(super) fn record(&mut self, id: SessionId, nonce: u64) {
        if let Some(open) = self.get(id) {
            debug_assert!(open.admit(nonce).is_ok(), "only admitted nonces are recorded");
            let entry = SessionEntry { nonce, ..open.clone() };
            self.0.put(entry);
        }
    }

    /// Appends what the ledger's hash covers.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        self.0.put_root(bytes);
    }

    /// Appends the changes since `base`.
    pub(super) fn put_changes(&self, base: &Sessions, bytes: &mut Vec<u8>) {
        self.0.put_changes(&base.0, bytes);
    }

    /// Reads the changes since these.
    pub(super) fn changed_by(&self, reader: &mut Reader<'_>) -> Result<Sessions> {
        let (sessions_max, keys_max) = room(true);
        let changed = self.0.changed_by(sessions_max, reader)?;
        match changed.keys() {
            keys if keys > keys_max => {
                Err(reader.fail(0, &format!("at most {keys_max} keys of sessions"), keys))
            }
            _ => Ok(Sessions(changed)),
        }
    }
}

impl Change for SessionEntry {
    const ADVANCES: usize = 1;
    const BYTES_MIN: usize = 67;

    fn advance(&self, old: &SessionEntry) -> Option<Advance> {
        let is_same = (self.expires, &self.keys) == (old.expires, &old.keys);
        let by = self.nonce.checked_sub(old.nonce).filter(|_| is_same)?;
        Some([by].into_iter().collect())
    }

    fn advanced(&self, by: &[u64]) -> Option<SessionEntry> {
        Some(SessionEntry { nonce: self.nonce.checked_add(by[0])?, ..self.clone() })
    }

    fn put_new(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.id.0).put_varint(self.expires.as_millis()).put_varint(self.nonce);
        bytes.put_count(self.keys.len());
        for key in self.keys.iter() {
            bytes.put(&key.0);
        }
    }

    fn read_new(reader: &mut Reader<'_>) -> Result<SessionEntry> {
        let id = SessionId(reader.array()?);
        let (expires, nonce) = (Time::from_millis(reader.varint()?), reader.varint()?);
        let count = reader.count(SIGNATURES_MAX, KEY_BYTES)?;
        let keys = (0..count).map(|_| reader.array().map(PublicKey));
        let keys: Vec<PublicKey> = keys.collect::<Result<_>>()?;
        if keys.is_empty() || !keys.is_sorted_by(|one, next| one < next) {
            return Err(reader.fail(0, "keys that ascend", "none, or out of order"));
        }
        Ok(SessionEntry { id, expires, nonce, keys: keys.into() })
    }
}
