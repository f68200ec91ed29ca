//! Reads: the fields of an object that a principal may see, by the object's own policy.
//!
//! A read is decided on as a step that changes nothing: the states before and after are both the
//! one that is read. The newest version's policy decides, whichever version is read. A read makes
//! no version and is not on record.
//!
//! It cannot govern those who hold the bytes: everyone with the database, or a capsule, can read
//! all.

use object::credential::PublicKey;
use object::header::Header;
use object::image::Image;
use object::ledger::Past;
use object::refusal::Verdict;
use object::time::Time;

use crate::action::READ;
use crate::admission;
use crate::definition::Definition;
use crate::facts::{Facts, Principal, Values};
use crate::program::Raw;

/// A field of a version that someone wants to see.
#[derive(Clone, Copy, Debug)]
pub struct Read<'a> {
    /// The reading principal; the caller vouches for it.
    pub principal: Principal,
    /// The field of the state record, by its name in the schema.
    pub field: &'a str,
    /// The time of the read.
    pub time: Time,
    /// The seq of the version that is read.
    pub seq: u64,
    /// The memory of the version that is read.
    pub memory: &'a Image,
    /// The header of the newest version.
    pub newest: &'a Header,
    /// The object's time of creation.
    pub created: Time,
    /// The past in the newest version's ledger.
    pub past: &'a Past,
}

impl Read<'_> {
    /// Decides by the compiled rules; none when they cannot say.
    ///
    /// `definition` is that of the newest version, with whose schema the memory has a valid state.
    pub fn decide(&self, definition: &Definition) -> Option<Result<(), Verdict>> {
        let signers = self.signers();
        let raw = Raw {
            before: self.memory,
            after: self.memory,
            state: definition.code.state_address,
            arguments: &[],
        };
        let facts = self.facts(&signers);
        let ruling = definition.policy.decide_raw(&facts, &raw)?;
        Some(admission::verdict(Vec::new(), ruling.into()).map(|_| ()))
    }

    /// Decides by evaluating the policy in Cedar itself.
    ///
    /// # Errors
    ///
    /// [`State`](object::ErrorKind::State) when the memory has no valid state.
    pub fn decide_by_cedar(&self, definition: &Definition) -> object::Result<Result<(), Verdict>> {
        let (schema, policy) = (&definition.schema, &definition.policy);
        let (states, address) = ((self.memory, self.memory), definition.code.state_address);
        let (before, after) = policy.read_states(schema, READ, states, address)?;
        let values = Values { before: &before, after: &after, input: &[] };
        let decision = policy.decide(&self.facts(&self.signers()), &values);
        Ok(admission::verdict(Vec::new(), decision).map(|_| ()))
    }

    /// The principal as the one key that signed, so that rules on approvals are about it too.
    fn signers(&self) -> Vec<PublicKey> {
        match self.principal {
            Principal::Key(key) => vec![PublicKey(key)],
            Principal::Anonymous | Principal::Object(_) => Vec::new(),
        }
    }

    fn facts<'a>(&'a self, signers: &'a [PublicKey]) -> Facts<'a> {
        Facts {
            principal: self.principal,
            action: READ,
            field: Some(self.field),
            object: self.newest.object_id(),
            signers,
            credential: "none",
            sender: None,
            outputs: &[],
            messages: &[],
            wake: self.newest.wake,
            seq: self.seq,
            age_ms: self.time.as_millis().saturating_sub(self.created.as_millis()),
            fuel: 0,
            pages: 0,
            time: self.time,
            past: self.past,
            instrumentation: self.newest.instrumentation,
            code: self.newest.code,
            policy: self.newest.policy,
            upgrade: None,
        }
    }
}
