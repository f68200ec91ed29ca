//! Upgrades: the parts of an object that are to come, from whoever asks to the log.
//!
//! A request names code and policy by their hashes, so that one module for many objects is in the
//! log once. Whoever asks leaves the module here; the first version or refusal that needs it takes
//! it into the log. How the state is migrated, `step.rs` says. It does not know how the caller
//! waits.

use std::collections::HashMap;
use std::sync::Arc;

use object::definition::Definition;
use object::hash::{CodeHash, PolicyHash};
use object::input::Request;
use object::refusal::Reason;
use parking_lot::Mutex;
use storage::{Blob, BlobHash};

use crate::call::Upgrade;
use crate::catalog::Runnable;
use crate::error::Result;
use crate::shared::Shared;
use crate::step::Begun;

/// Modules that are not in the log yet.
#[derive(Debug, Default)]
pub(crate) struct Offered(Mutex<HashMap<CodeHash, Arc<[u8]>>>);

impl Offered {
    /// A module that was offered.
    pub(crate) fn get(&self, code: CodeHash) -> Option<Arc<[u8]>> {
        self.0.lock().get(&code).cloned()
    }

    /// Lets a module go that is in the log now.
    pub(crate) fn forget(&self, code: CodeHash) {
        self.0.lock().remove(&code);
    }
}

/// The request that objects which have this policy go on so, and whether theirs would be the last
/// policy then. Call it on a worker.
pub(crate) fn request(shared: &Shared, to: &Upgrade, has: PolicyHash) -> Result<(Request, bool)> {
    let (catalog, code) = (shared.catalog(), to.code());
    let definition = match &to.policy {
        Some(policy) => catalog.define(&to.wasm, policy.law())?,
        None => catalog.definition((code, has), || Ok((to.wasm.to_vec(), shared.policy(has)?)))?,
    };
    // It comes in anew with a schema under which a rule of it may be unable to hold.
    definition.policy.validate()?;
    let memory_bytes_max = shared.options().memory_bytes_max;
    catalog.runnable(&definition, memory_bytes_max, || Ok(to.wasm.to_vec()))?;
    if !shared.store().has(BlobHash::Code(code))? {
        shared.offered().0.lock().insert(code, Arc::clone(&to.wasm));
    }
    let request = Request::Upgrade { code, policy: definition.policy.hash() };
    Ok((request, !definition.policy.is_changeable()))
}

/// Has the catalog know what a request is an upgrade to, if it is one. Call it on a worker.
pub(crate) fn prepare(shared: &Shared, request: &Request) -> Result<()> {
    if let Request::Upgrade { code, policy } = request {
        shared.runnable(&*shared.definition((*code, *policy))?)?;
    }
    Ok(())
}

/// The parts of an object that are to come, as far as the log does not have them.
#[derive(Default)]
pub(crate) struct NewParts {
    code: Option<Arc<[u8]>>,
    policy: Option<Vec<u8>>,
    base: Option<Vec<u8>>,
}

impl NewParts {
    /// What a version needs that begins here.
    pub(crate) fn of(
        shared: &Shared,
        definition: &Definition,
        begun: Option<&Begun>,
    ) -> Result<NewParts> {
        let Some(Begun { runnable, .. }) = begun else { return Ok(NewParts::default()) };
        let new = NewParts::named(shared, definition)?;
        let Runnable { base, base_hash, .. } = &**runnable;
        let is_new = !shared.store().has(BlobHash::Base(*base_hash))?;
        Ok(NewParts { base: is_new.then(|| base.encode()), ..new })
    }

    /// What a refusal for this reason needs: who runs it again must have what the request names.
    pub(crate) fn of_refused(
        shared: &Shared,
        request: &Request,
        reason: Reason,
    ) -> Result<NewParts> {
        match request {
            Request::Upgrade { code, policy } if !reason.is_native() => {
                NewParts::named(shared, &*shared.definition((*code, *policy))?)
            }
            _ => Ok(NewParts::default()),
        }
    }

    /// What the request names.
    fn named(shared: &Shared, definition: &Definition) -> Result<NewParts> {
        let (store, parts) = (shared.store(), definition.parts());
        // In this order: it is forgotten when it is in the log.
        let code = shared.offered().get(parts.code);
        let code = code.filter(|_| !store.has(BlobHash::Code(parts.code)).unwrap_or_default());
        let is_new = !store.has(BlobHash::Policy(parts.policy))?;
        let policy = is_new.then(|| definition.policy.encode());
        Ok(NewParts { code, policy, base: None })
    }

    /// The parts, to be appended.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = Blob<'_>> {
        let code = self.code.iter().map(|code| Blob::Code(code));
        let policy = self.policy.iter().map(|policy| Blob::Policy(policy));
        code.chain(policy).chain(self.base.iter().map(|base| Blob::Base(base)))
    }

    /// Whether the code is among them.
    pub(crate) fn has_code(&self) -> bool {
        self.code.is_some()
    }
}
