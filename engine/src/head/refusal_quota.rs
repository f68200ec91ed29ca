//! The quota of refusals: an object's refusals on record by party, so that nobody fills their room.
//!
//! This module counts refusals and decides nothing. Its counts need not be the same on every host:
//! how many refusals are kept is each database's own business.

use std::collections::HashMap;

use object::credential::PublicKey;
use object::head::Head;
use object::input::{Input, Request};
use object::refusal::Reason;
use storage::Store;

use crate::error::Result;

/// The party that a refusal is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RefusedParty {
    /// The object's own cycle.
    Itself,
    /// The holder of a key by which something was admitted lately.
    Known(PublicKey),
    /// Everyone else: keys cost nothing to make, and neither does sending another's signed input
    /// again.
    Stranger,
}

/// The number of refusals on record, by party.
#[derive(Debug)]
pub(crate) struct RefusalCounts(HashMap<RefusedParty, u64>);

impl RefusedParty {
    /// Returns the party that the refusal of an input for a reason is counted for.
    pub(crate) fn of(head: &Head, input: &Input, reason: Reason) -> RefusedParty {
        if input.request == Request::Cycle {
            return RefusedParty::Itself;
        }
        let Some(credential) = input.credential.as_ref().filter(|_| !reason.is_native()) else {
            return RefusedParty::Stranger;
        };
        let known = match credential.session() {
            Some(session) => head.ledger.sessions.get(session).map(|open| open.keys()[0]),
            None => {
                let key = credential.signatures().first().map(|it| PublicKey(it.key));
                key.filter(|key| head.ledger.nonces.knows(key))
            }
        };
        known.map_or(RefusedParty::Stranger, RefusedParty::Known)
    }
}

impl RefusalCounts {
    /// Counts the refusals of an object on record.
    pub(crate) fn read(store: &Store, head: &Head) -> Result<RefusalCounts> {
        let mut counts = RefusalCounts(HashMap::new());
        if head.refusal_count > 0 {
            for refusal in store.refusals(head.id)? {
                let refusal = refusal?;
                let input = Input::decode(&refusal.input)?;
                counts.add(RefusedParty::of(head, &input, refusal.verdict.reason));
            }
        }
        Ok(counts)
    }

    /// Returns the count of a party.
    pub(crate) fn count(&self, party: RefusedParty) -> u64 {
        self.0.get(&party).copied().unwrap_or_default()
    }

    /// Counts one more.
    pub(crate) fn add(&mut self, party: RefusedParty) {
        *self.0.entry(party).or_default() += 1;
    }
}
