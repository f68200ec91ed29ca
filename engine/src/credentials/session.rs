//! Sessions: they take the place of signatures in calls; and the secrets of those whose codes this
//! process verifies.
//!
//! Secrets are in memory and nowhere else: after a restart they are handed in again, or the
//! sessions are over. This module does not know on which objects a session is open.
//!
//! Invariant: at most `HELD_MAX` secrets are held; those of expired sessions only until their room
//! is needed.

use std::collections::HashMap;

use object::credential::{Credential, SessionKey};
use object::hash::SessionId;
use object::input::Input;
use object::time::Time;
use storage::lock::RwLock;

use crate::error::{ErrorKind, Result};
use crate::rank;

/// Sessions that a database holds the secrets of.
const HELD_MAX: usize = 1 << 16;

/// A session: a secret, and until when it may be used.
///
/// [`Database::open_session`](crate::Database::open_session) has an example.
#[derive(Clone, Debug)]
pub struct Session {
    key: SessionKey,
    expires: Time,
}

impl Session {
    /// A session of a new random secret that lasts until `expires`: at most seven days after
    /// the time at which it is opened.
    ///
    /// # Errors
    ///
    /// [`Substrate`](ErrorKind::Substrate) when the system has no random bytes.
    pub fn until(expires: Time) -> Result<Session> {
        let mut secret = [0; 32];
        let filled = getrandom::fill(&mut secret);
        filled.map_err(|error| ErrorKind::Substrate(format!("random bytes: {error}")))?;
        Ok(Session::from_secret(&secret, expires))
    }

    /// The session of a secret that was kept: [`secret`](Session::secret) and
    /// [`expires`](Session::expires) of another one.
    pub fn from_secret(secret: &[u8; 32], expires: Time) -> Session {
        Session { key: SessionKey::from_secret(secret), expires }
    }

    /// Returns the secret. Its holder asks in the name of those who opened the session.
    pub fn secret(&self) -> [u8; 32] {
        self.key.secret()
    }

    /// The last moment of the session.
    pub fn expires(&self) -> Time {
        self.expires
    }

    /// Returns the session's id in lineages.
    pub fn id(&self) -> SessionId {
        self.key.id()
    }

    pub(crate) fn key(&self) -> &SessionKey {
        &self.key
    }
}

/// The secrets of sessions that are held.
#[derive(Debug, Default)]
pub(crate) struct SessionSecrets(RwLock<HashMap<SessionId, Session>, rank::Secrets>);

impl SessionSecrets {
    /// Holds the secret of a session; `now` shows which others have expired.
    pub(crate) fn hold(&self, session: &Session, now: Time) -> Result<()> {
        let mut held = self.0.write();
        if held.len() >= HELD_MAX {
            held.retain(|_, other| other.expires >= now);
        }
        if held.len() >= HELD_MAX && !held.contains_key(&session.id()) {
            let (max, found) = (HELD_MAX as u64, held.len() as u64 + 1);
            return Err(ErrorKind::Limit { what: "sessions held", max, found }.into());
        }
        held.insert(session.id(), session.clone());
        Ok(())
    }

    /// Lets a session's secret go.
    pub(crate) fn drop(&self, id: SessionId) {
        self.0.write().remove(&id);
    }

    /// The key of the session that an input is in, if it is in one.
    pub(crate) fn key(&self, input: &Input) -> Result<Option<SessionKey>> {
        let Some(id) = input.credential.as_ref().and_then(Credential::session) else {
            return Ok(None);
        };
        match self.0.read().get(&id) {
            Some(session) => Ok(Some(session.key.clone())),
            None => Err(ErrorKind::SessionNotHeld { session: id }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secrets_of_expired_sessions_make_room_for_others() {
        let held = SessionSecrets::default();
        let at = Time::from_millis;
        let session = |number: usize, expires: u64| {
            let mut secret = [0; 32];
            secret[..8].copy_from_slice(&(number as u64).to_le_bytes());
            Session::from_secret(&secret, at(expires))
        };
        for number in 0..HELD_MAX {
            held.hold(&session(number, 10), at(10)).unwrap();
        }
        held.hold(&session(0, 10), at(10)).unwrap();
        let error = held.hold(&session(HELD_MAX, 20), at(10)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Limit { found: 65_537, .. }), "{error}");
        held.hold(&session(HELD_MAX, 20), at(11)).unwrap();
        assert_eq!(held.0.read().len(), 1);
        held.drop(session(HELD_MAX, 20).id());
        assert_eq!(held.0.read().len(), 0);
    }
}
