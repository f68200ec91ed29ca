//! Who looks at a credential, and what they know beside the lineage.
//!
//! The host of an object holds the secrets of its sessions and verifies every code. Anyone else
//! takes the host's word for it, and verifies all the rest. It does not know lineages.

use super::{Credential, Memo, Proof, SessionKey};
use crate::hash::ObjectId;
use crate::input::Request;

/// Who looks at a credential.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    memo: &'a Memo,
    codes: Codes<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Codes<'a> {
    /// They are taken on trust.
    Trusted,
    /// They are verified by this secret; without one, none is right.
    Verified(Option<&'a SessionKey>),
}

impl<'a> Host<'a> {
    /// The host that takes an input: it holds the secret of the session that the input is in, if it
    /// is in one.
    pub fn holding(memo: &'a Memo, key: Option<&'a SessionKey>) -> Host<'a> {
        Host { memo, codes: Codes::Verified(key) }
    }

    /// Anyone who looks at what a host has on record: the codes of sessions are taken on trust.
    pub fn verifier(memo: &'a Memo) -> Host<'a> {
        Host { memo, codes: Codes::Trusted }
    }

    /// Signatures over batches that were verified lately.
    pub(crate) fn memo(&self) -> &'a Memo {
        self.memo
    }

    /// Whether the code of an input in a session is right, as far as they can tell.
    pub(crate) fn takes_code(
        &self,
        credential: &Credential,
        object: ObjectId,
        request: &Request,
    ) -> bool {
        let Proof::Session { session, mac } = credential.proof else { return false };
        match self.codes {
            Codes::Trusted => true,
            Codes::Verified(None) => false,
            Codes::Verified(Some(key)) => {
                key.id() == session && key.verifies(mac, (credential, object, request))
            }
        }
    }
}
