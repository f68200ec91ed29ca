//! Verification of an object of a database, from its genesis to its newest version.
//!
//! Where retention left only headers, it continues behind them. This module does not know the rules
//! of a record: the auditor does.

use std::sync::Arc;

use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash};
use object::image::BaseImage;
use policy::definition::Definition;
use storage::{LineageEntry, StoredCommit};

use crate::audit::part_source::PartSource;
use crate::audit::replay::{Auditor, Replay, Verified};
use crate::commit::library::Library;
use crate::error::{ErrorKind, Result, missing};
use crate::stack::DeepStack;
use crate::step::catalog::Runnable;

/// Verifies a lineage, as long as `progress` says that it goes on.
pub(crate) fn verify(
    library: &Library,
    stack: DeepStack,
    id: ObjectId,
    replay: Replay,
    all: u64,
    mut progress: impl FnMut(u64, u64) -> bool,
) -> Result<Verified> {
    let store = &library.store;
    let genesis = store.genesis(id)?;
    let header = genesis.header();
    let definition = library.definition(stack, (header.code, header.policy))?;
    let mut parts = StoredParts { library, stack, base: genesis.begins_from() };
    let base = parts.base(header.code)?;
    let runnable = match replay {
        Replay::Yes => Some((library.runnable(stack, &definition)?, &library.catalog)),
        Replay::No => None,
    };
    let secret = genesis.secret()?.clone();
    let mut auditor = Auditor::new(stack, definition, base, secret, runnable)?;
    for (entry, done) in store.lineage(id)?.zip(1..) {
        match entry? {
            LineageEntry::Commit(complete) if auditor.has_headers_only() => {
                resume(id, &mut auditor, complete.stored(), &parts)?;
            }
            LineageEntry::Commit(complete) => {
                parts.base = complete.stored().begins_from();
                auditor.commit(&complete.commit(), &parts)?;
            }
            LineageEntry::Header(stored) => auditor.header(stored.header())?,
            LineageEntry::Refusal(refusal) => auditor.refusal(&refusal, &parts)?,
        }
        if !progress(done, all.max(done)) {
            return Err(storage::Error::from(storage::ErrorKind::Stopped).into());
        }
    }
    if auditor.has_headers_only() {
        require_state(library, id)?;
    }
    auditor.finish().map(|(verified, _)| verified)
}

/// Checks that the newest version can be read; if not, its headers are all that is left.
fn require_state(library: &Library, id: ObjectId) -> Result<()> {
    match library.store.head(id) {
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
    id: ObjectId,
    auditor: &mut Auditor<'_>,
    stored: &StoredCommit,
    parts: &StoredParts<'_>,
) -> Result<()> {
    let (store, header) = (&parts.library.store, stored.header());
    auditor.header(header)?;
    let read = store.version(id, header.seq).and_then(|version| {
        let with_ledger = |version| Ok((store.ledger(id, &version)?, version));
        version.map(with_ledger).transpose()
    });
    match read {
        Ok(Some((ledger, version))) => {
            let definition = parts.definition((header.code, header.policy))?;
            auditor.resume(definition, ledger, version.image, version.globals, parts)
        }
        Ok(None) => Err(ErrorKind::NoObject.into()),
        Err(error) if matches!(error.kind(), storage::ErrorKind::Pruned { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The parts of the objects here, for a lineage that is verified.
struct StoredParts<'a> {
    library: &'a Library,
    stack: DeepStack,
    /// The base image that the version in hand begins from, if it begins from one.
    base: Option<BaseHash>,
}

impl PartSource for StoredParts<'_> {
    fn definition(&self, hashes: (CodeHash, PolicyHash)) -> Result<Arc<Definition>> {
        self.library.definition(self.stack, hashes)
    }

    fn base(&self, code: CodeHash) -> Result<Arc<BaseImage>> {
        let hash = self.base.ok_or_else(|| missing("base image of code", code))?;
        self.library.store.base(hash)?.ok_or_else(|| missing("base image", hash))
    }

    fn runnable(&self, definition: &Definition) -> Result<Arc<Runnable>> {
        self.library.runnable(self.stack, definition)
    }
}
