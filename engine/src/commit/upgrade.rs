//! Upgrades: the new parts of an object, on their way from the caller to the log.
//!
//! A request names code and policy by their hashes, so that one module for many objects is in the
//! log once. The caller offers the module; the first version or refusal that needs it takes it into
//! the log. The step migrates the state. This module does not know how the caller waits.

use std::sync::Arc;

use object::hash::{CodeHash, PolicyHash};
use object::input::Request;
use object::refusal::Reason;
use policy::Law;
use policy::definition::Definition;
use storage::{Blob, BlobHash};

use crate::commit::library::Library;
use crate::error::{ErrorKind, Result};
use crate::run::pool::Queue;
use crate::stack::DeepStack;
use crate::step::catalog::Runnable;
use crate::step::slots::Slots;
use crate::step::step::NewCode;

/// An upgrade of objects: other code, with the policy that each has or with another.
///
/// The new module carries a schema of its own. Its function `migrate` takes the old code's state,
/// and makes the object's memory from it; `guest/ABI.md` specifies how.
#[derive(Clone, Debug)]
pub struct Upgrade {
    pub(crate) wasm: Arc<[u8]>,
    pub(crate) policy: Option<NewPolicy>,
    for_good: bool,
}

/// The sources of a new policy.
#[derive(Clone, Debug)]
pub(crate) struct NewPolicy {
    text: String,
    guard: Option<Vec<u8>>,
}

impl NewPolicy {
    pub(crate) fn law(&self) -> Law<'_> {
        Law { text: &self.text, guard: self.guard.as_deref() }
    }
}

impl Upgrade {
    /// Returns an upgrade to a WebAssembly module that carries its schema.
    ///
    /// # Errors
    ///
    /// [`Object`](ErrorKind::Object) when the module is malformed or carries no schema.
    pub fn wasm(bytes: impl Into<Vec<u8>>) -> Result<Upgrade> {
        let wasm: Arc<[u8]> = bytes.into().into();
        schema::code::read(&wasm)?;
        Ok(Upgrade { wasm, policy: None, for_good: false })
    }

    /// The policy from then on, as Cedar text or, with a guard, as a [`Law`]. Default: the one that
    /// the object has when the upgrade is submitted, which must then be one for the new schema too.
    pub fn policy<'p>(mut self, policy: impl Into<Law<'p>>) -> Upgrade {
        let Law { text, guard } = policy.into();
        self.policy = Some(NewPolicy { text: text.to_string(), guard: guard.map(<[u8]>::to_vec) });
        self
    }

    /// Takes a policy too that is never to be changed again, nor the code.
    pub fn for_good(mut self) -> Upgrade {
        self.for_good = true;
        self
    }

    /// The hash of the module, by which upgraded objects are listed.
    pub fn code(&self) -> CodeHash {
        CodeHash::of(&self.wasm)
    }
}

/// Returns the request that upgrades objects with this policy. It is not called on a worker, which
/// would wait for itself.
///
/// # Errors
///
/// [`LastPolicy`](ErrorKind::LastPolicy), unless the upgrade is for good.
pub(crate) fn request(
    library: &Arc<Library>,
    queue: &Queue<Slots>,
    to: &Upgrade,
    has: PolicyHash,
    memory_bytes_max: u64,
) -> Result<Request> {
    let (of_worker, upgrade) = (Arc::clone(library), to.clone());
    let made = move |_: &mut _, stack| offer(&of_worker, stack, &upgrade, has, memory_bytes_max);
    let (request, is_last) = queue.on_worker(made)??;
    match is_last && !to.for_good {
        true => Err(ErrorKind::LastPolicy.into()),
        false => Ok(request),
    }
}

/// Offers a module. Returns the upgrade request for objects under policy `has`, and whether the
/// resulting policy permits no further change.
fn offer(
    library: &Library,
    stack: DeepStack,
    to: &Upgrade,
    has: PolicyHash,
    memory_bytes_max: u64,
) -> Result<(Request, bool)> {
    let (catalog, code) = (&library.catalog, to.code());
    let definition = match &to.policy {
        Some(policy) => catalog.define(stack, &to.wasm, policy.law())?,
        None => {
            let read = || Ok((to.wasm.to_vec(), library.policy(has)?));
            catalog.definition(stack, (code, has), read)?
        }
    };
    // The policy comes in with a new schema, under which one of its rules may be unable to hold.
    definition.policy.validate()?;
    catalog.runnable(stack, &definition, memory_bytes_max, || Ok(to.wasm.to_vec()))?;
    if !library.store.has(BlobHash::Code(code))? {
        library.offered.put(code, Arc::clone(&to.wasm));
    }
    let request = Request::Upgrade { code, policy: definition.policy.hash() };
    Ok((request, !definition.policy.is_changeable()))
}

/// Makes the catalog know the parts of a request, if it is an upgrade.
pub(crate) fn prepare(library: &Library, stack: DeepStack, request: &Request) -> Result<()> {
    if let Request::Upgrade { code, policy } = request {
        library.runnable(stack, &*library.definition(stack, (*code, *policy))?)?;
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
    /// Returns the new parts of a version whose memory begins here.
    pub(crate) fn of(
        library: &Library,
        definition: &Definition,
        new_code: Option<&NewCode>,
    ) -> Result<NewParts> {
        let Some(NewCode { runnable, .. }) = new_code else { return Ok(NewParts::default()) };
        let new = NewParts::named(library, definition)?;
        let Runnable { base, base_hash, .. } = &**runnable;
        let is_new = !library.store.has(BlobHash::Base(*base_hash))?;
        Ok(NewParts { base: is_new.then(|| base.encode()), ..new })
    }

    /// Returns the new parts of a refusal for this reason: running it again takes the parts that
    /// the request names.
    pub(crate) fn of_refused(
        library: &Library,
        stack: DeepStack,
        request: &Request,
        reason: Reason,
    ) -> Result<NewParts> {
        match request {
            Request::Upgrade { code, policy } if !reason.is_native() => {
                NewParts::named(library, &*library.definition(stack, (*code, *policy))?)
            }
            _ => Ok(NewParts::default()),
        }
    }

    /// Returns the parts that the request names.
    fn named(library: &Library, definition: &Definition) -> Result<NewParts> {
        let (store, parts) = (&library.store, definition.parts());
        // In this order: it is forgotten when it is in the log.
        let code = library.offered.get(parts.code);
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

    /// Returns whether the code is among them.
    pub(crate) fn has_code(&self) -> bool {
        self.code.is_some()
    }
}
