//! The credentials of calls besides keys: nonces, and the secrets of sessions.
//!
//! This folder does not know objects, nor what is signed.

pub(crate) mod nonces;
pub(crate) mod session;

use object::credential::Memo;
use object::hash::ObjectId;
use storage::lock::Mutex;

use self::nonces::IssuedNonces;
use self::session::SessionSecrets;
use crate::rank;

/// The nonces of that many groups of objects are locked apart.
const NONCE_SHARDS: usize = 64;

/// The credentials that an open database remembers.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// Signatures that were verified lately.
    pub(crate) memo: Memo,
    /// The secrets of sessions.
    pub(crate) sessions: SessionSecrets,
    nonces: [Mutex<IssuedNonces, rank::Nonces>; NONCE_SHARDS],
}

impl Default for Credentials {
    /// Returns the credentials of a database that was just opened: none.
    fn default() -> Credentials {
        let nonces = std::array::from_fn(|_| Mutex::default());
        Credentials { memo: Memo::default(), sessions: SessionSecrets::default(), nonces }
    }
}

impl Credentials {
    /// Returns the last nonces issued for the object and some others.
    pub(crate) fn last_nonce(&self, id: ObjectId) -> &Mutex<IssuedNonces, rank::Nonces> {
        &self.nonces[usize::from(id.0[0]) % NONCE_SHARDS]
    }
}
