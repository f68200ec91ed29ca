//! The parties that examine a credential, and what each knows beside the lineage.
//!
//! The host of an object holds the secrets of its sessions and verifies every code. Anyone else
//! takes the host's word for codes, and verifies all the rest. This module does not know lineages.

use super::{Credential, Memo, Proof, SessionKey};
use crate::hash::ObjectId;
use crate::request::Request;

/// A party that examines a credential.
#[derive(Clone, Copy, Debug)]
pub struct Host<'a> {
    memo: &'a Memo,
    codes: Codes<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Codes<'a> {
    /// The codes are taken on trust.
    Trusted,
    /// The codes are verified by this secret; without one, every code is wrong.
    Verified(Option<&'a SessionKey>),
}

impl<'a> Host<'a> {
    /// The host that takes an input: it holds the secret of the session that the input is in, if it
    /// is in one.
    pub fn holding(memo: &'a Memo, key: Option<&'a SessionKey>) -> Host<'a> {
        Host { memo, codes: Codes::Verified(key) }
    }

    /// Returns a verifier of a host's records: it takes the codes of sessions on trust.
    pub fn verifier(memo: &'a Memo) -> Host<'a> {
        Host { memo, codes: Codes::Trusted }
    }

    /// Signatures over batches that were verified lately.
    pub(crate) fn memo(&self) -> &'a Memo {
        self.memo
    }

    /// Returns whether this party accepts the code of an input in a session.
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
