//! Verification of an object of a database, from its genesis to its newest version.
//!
//! Where retention left only headers, it continues behind them. This module does not know the rules
//! of a record: the auditor does.

use std::sync::Arc;

use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash};
use object::image::BaseImage;
use policy::definition::Definition;
use storage::{LineageEntry, StoredCommit};

use crate::audit::library::Library;
use crate::audit::replay::{Auditor, Replay, Verified};
use crate::commit::shared::Shared;
use crate::error::{ErrorKind, Result, missing};
use crate::stack::DeepStack;
use crate::step::catalog::Runnable;

/// Verifies a lineage, as long as `progress` says that it goes on.
pub(crate) fn verify(
    shared: &Shared,
    stack: DeepStack,
    id: ObjectId,
    replay: Replay,
    all: u64,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Verified> {
    let store = shared.store();
    let genesis = store.genesis(id)?;
    let header = genesis.header();
    let definition = shared.definition(stack, (header.code, header.policy))?;
    let mut library = Shelf { shared, stack, base: genesis.begins_from() };
    let base = library.base(header.code)?;
    let runnable = match replay {
        Replay::Yes => Some((shared.runnable(stack, &definition)?, shared.catalog())),
        Replay::No => None,
    };
    let mut auditor = Auditor::new(stack, definition, base, runnable)?;
    for (entry, done) in store.lineage(id)?.zip(1..) {
        match entry? {
            LineageEntry::Commit(complete) if auditor.has_headers_only() => {
                resume(shared, id, &mut auditor, complete.stored(), &library)?;
            }
            LineageEntry::Commit(complete) => {
                library.base = complete.stored().begins_from();
                auditor.commit(&complete.commit(), &library)?;
            }
            LineageEntry::Header(stored) => auditor.header(stored.header())?,
            LineageEntry::Refusal(refusal) => auditor.refusal(&refusal, &library)?,
        }
        if !progress(done, all.max(done)) {
            return Err(storage::Error::from(storage::ErrorKind::Stopped).into());
        }
    }
    if auditor.has_headers_only() {
        require_state(shared, id)?;
    }
    auditor.finish().map(|(verified, _)| verified)
}

/// Checks that the newest version can be read; if not, its headers are all that is left.
fn require_state(shared: &Shared, id: ObjectId) -> Result<()> {
    match shared.store().head(id) {
        Err(error) => match *error.kind() {
            storage::ErrorKind::Pruned { seq, kept_from } => {
                let kind = storage::ErrorKind::NoState { seq, kept_from };
                Err(storage::Error::from(kind).into())
            }
            _ => Err(error.into()),
        },
        Ok(_) => Ok(()),
    }
}

/// Verifies the first version behind those of which only headers are left: its header, and its
/// memory against that. Until a memory can be read there are only headers.
fn resume(
    shared: &Shared,
    id: ObjectId,
    auditor: &mut Auditor<'_>,
    stored: &StoredCommit,
    library: &Shelf<'_>,
) -> Result<()> {
    let (store, header) = (shared.store(), stored.header());
    auditor.header(header)?;
    let read = store.version(id, header.seq).and_then(|version| {
        let with_ledger = |version| Ok((store.ledger(id, &version)?, version));
        version.map(with_ledger).transpose()
    });
    match read {
        Ok(Some((ledger, version))) => {
            let definition = library.definition((header.code, header.policy))?;
            auditor.resume(definition, ledger, version.image, version.globals, library)
        }
        Ok(None) => Err(ErrorKind::NoObject.into()),
        Err(error) if matches!(error.kind(), storage::ErrorKind::Pruned { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The parts of the objects here, for a lineage that is verified.
struct Shelf<'a> {
    shared: &'a Shared,
    stack: DeepStack,
    /// The base image that the version in hand begins from, if it begins from one.
    base: Option<BaseHash>,
}

impl Library for Shelf<'_> {
    fn definition(&self, hashes: (CodeHash, PolicyHash)) -> Result<Arc<Definition>> {
        self.shared.definition(self.stack, hashes)
    }

    fn base(&self, code: CodeHash) -> Result<Arc<BaseImage>> {
        let hash = self.base.ok_or_else(|| missing("base image of code", code))?;
        self.shared.store().base(hash)?.ok_or_else(|| missing("base image", hash))
    }

    fn runnable(&self, definition: &Definition) -> Result<Arc<Runnable>> {
        self.shared.runnable(self.stack, definition)
    }
}
