//! Rehearsals: the decisions of another policy on the versions on record, before it becomes the
//! object's.
//!
//! Each is taken by the function of the commit path, from the record. It changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use object::hash::{CodeHash, ObjectId};
use object::header::Kind;
use object::ledger::{Ledger, Past};
use object::refusal::Verdict;
use policy::admission::{Step, admit};
use policy::{Law, Policy};
use query::{Payloads, VersionEntry};
use storage::ObjectState;

use crate::commit::library::Library;
use crate::error::{ErrorKind, Result};
use crate::stack::DeepStack;
use crate::step::catalog::validate_guard;
use crate::step::slots::Slots;
use crate::step::stop::Stop;

/// The decisions of another policy on the versions on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rehearsal {
    /// Versions that were decided on.
    pub versions: u64,
    /// The number of versions that were not checked, because retention dropped their payloads, or
    /// they are of other code, or upgrades.
    pub dropped: u64,
    /// The versions that it would have refused, oldest first, with its verdicts.
    pub refused: Vec<(u64, Verdict)>,
    /// Rules that permitted none of them, sorted.
    pub idle: Vec<String>,
    /// Rules that can never hold, on any step, sorted: those that are annotated for it, since a
    /// policy with others is refused.
    pub dead: Vec<String>,
    /// True if some rule of it may permit an amendment.
    pub is_amendable: bool,
    /// True if some rule of it may permit an upgrade. If neither, it is the object's last policy.
    pub is_upgradable: bool,
    /// True if some rule of it may permit a deletion.
    pub is_deletable: bool,
}

/// Decides on the last versions of an object by the policy from these sources, as if it had been
/// the object's since then.
pub(crate) fn rehearse(
    library: &Library,
    stack: DeepStack,
    id: ObjectId,
    law: Law<'_>,
    last: u64,
) -> Result<Rehearsal> {
    let store = &library.store;
    let info = store.info(id)?.ok_or(ErrorKind::NoObject)?;
    let definition = library.definition(stack, (info.code, info.policy))?;
    let definition = definition.amended(Policy::parse(law, &definition.schema)?);
    let policy = &definition.policy;
    validate_guard(policy)?;
    let mut slots = Slots::default();
    let mut idle: BTreeSet<String> = policy.permits().map(str::to_string).collect();
    let mut rehearsal = Rehearsal {
        versions: 0,
        dropped: 0,
        refused: Vec::new(),
        idle: Vec::new(),
        dead: policy.dead().map(str::to_string).collect(),
        is_amendable: policy.is_amendable(),
        is_upgradable: policy.is_upgradable(),
        is_deletable: policy.is_deletable(),
    };
    let mut past = Past::default();
    for seq in info.seq.saturating_sub(last)..info.seq {
        let before = store.head_at(id, seq);
        let version = store.version(id, seq + 1);
        let (before, version) = match (before, version) {
            (Ok(Some(before)), Ok(Some(version))) if is_of(info.code, &before, &version) => {
                (before, version)
            }
            (Err(error), _) | (_, Err(error)) if !is_pruned(&error) => return Err(error.into()),
            // A state of other code, or of an upgrade, is not of the policy's schema.
            _ => {
                rehearsal.dropped += 1;
                continue;
            }
        };
        let entry = VersionEntry::decode(&version.commit)?;
        let Some(Payloads { input, effects, admission }) = entry.payloads else {
            rehearsal.dropped += 1;
            continue;
        };
        let mut head = before.head;
        head.ledger = Arc::new(Ledger { past, ..Ledger::clone(&head.ledger) });
        let images = (&before.image, &version.image);
        let step = Step::on_record(&entry.header, &input, &effects, images);
        let guards = &mut library.runner(&mut slots, stack).guards();
        match admit(&definition, &head, admission.signers.clone(), step, guards) {
            Ok(admitted) => idle.retain(|rule| !admitted.rules.contains(rule)),
            Err(Stop::Refused(verdict)) => rehearsal.refused.push((seq + 1, verdict)),
            Err(Stop::Failed(error)) => return Err(error),
        }
        rehearsal.versions += 1;
        let ledger = head.ledger.next(policy.tracked(), seq + 1, &input, &admission.signers);
        past = ledger.past.clone();
    }
    let Rehearsal { versions, dropped, refused, .. } = &rehearsal;
    assert_eq!(versions + dropped, last.min(info.seq), "each version is decided on or dropped");
    assert!(refused.len() as u64 <= *versions, "a version is refused once");
    rehearsal.idle = idle.into_iter().collect();
    Ok(rehearsal)
}

/// Returns whether a step was one of this code, and no upgrade to it.
fn is_of(code: CodeHash, before: &ObjectState, version: &storage::Version) -> bool {
    before.head.header.code == code && version.commit.header().kind != Kind::Upgrade
}

fn is_pruned(error: &storage::Error) -> bool {
    matches!(error.kind(), storage::ErrorKind::Pruned { .. })
}
