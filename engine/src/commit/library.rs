//! The library: the store with all objects, the code that was compiled, and the modules on offer,
//! under the options of the database.
//!
//! It does not know which objects are in memory, nor who works on them.

use std::sync::Arc;

use object::hash::{CodeHash, PolicyHash};
use object::head::Head;
use object::input::{Input, Request};
use object::limits::MEMORY_BYTES_MAX;
use policy::definition::Definition;
use storage::Store;

use crate::commit::offered::Offered;
use crate::error::{Error, ErrorKind, Result, missing};
use crate::head::live::Live;
use crate::head::missed::Missed;
use crate::options::Options;
use crate::run::overdue::Table;
use crate::stack::DeepStack;
use crate::step::catalog::{Catalog, Runnable};
use crate::step::runner::Runner;
use crate::step::slots::Slots;

/// The objects, in memory or not, and the parts that they are made of.
pub(crate) struct Library {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    /// Modules that objects are to be upgraded to.
    pub(crate) offered: Offered,
    /// Wakes that were due and made no version.
    pub(crate) overdue: Table,
    pub(crate) options: Arc<Options>,
}

impl Library {
    /// Returns the library of a store.
    pub(crate) fn new(store: Store, catalog: Catalog, options: Arc<Options>) -> Library {
        let (offered, overdue) = (Offered::default(), Table::default());
        Library { store, catalog, offered, overdue, options }
    }

    /// Returns the runner of a thread with these instances.
    pub(crate) fn runner<'a>(&'a self, slots: &'a mut Slots, stack: DeepStack) -> Runner<'a> {
        Runner { catalog: &self.catalog, slots, stack }
    }

    /// Returns an object as the step behind `stored` needs it.
    pub(crate) fn live(&self, stack: DeepStack, stored: storage::ObjectState) -> Result<Live> {
        let (head, globals) = (stored.head, stored.globals);
        let definition = self.definition(stack, (head.header.code, head.header.policy))?;
        let runnable = self.runnable(stack, &definition)?;
        if stored.base != runnable.base_hash {
            return Err(mismatch("base image", &head, runnable.base_hash, stored.base));
        }
        let image = stored.image;
        let mut tree = runnable.tree.clone();
        let changed: Vec<u32> = image.changed_pages().iter().map(|(index, _)| *index).collect();
        tree.update(&image, &changed);
        if tree.root() != head.header.memory_root {
            return Err(mismatch("memory root", &head, head.header.memory_root, tree.root()));
        }
        let missed = self.missed(&head)?.map(Box::new);
        let (refusal_counts, stale) = (None, false);
        Ok(Live { definition, runnable, head, image, globals, missed, refusal_counts, stale })
    }

    /// The head's wake, if it was tried in vain since the database was opened, or was refused
    /// before that.
    fn missed(&self, head: &Head) -> Result<Option<Missed>> {
        let Some(wake) = head.header.wake else { return Ok(None) };
        if let Some(missed) = self.overdue.find(head.id, wake) {
            return Ok(Some(missed));
        }
        if head.refusal_count == head.header.refusal_count {
            return Ok(None);
        }
        for refusal in self.store.refusals(head.id)? {
            let refusal = refusal?;
            if refusal.parent != head.hash {
                break;
            }
            if Input::decode(&refusal.input)?.request == Request::Cycle {
                return Ok(Some(Missed::on_record(wake, refusal.verdict)));
            }
        }
        Ok(None)
    }

    /// The definition of a code and a policy.
    pub(crate) fn definition(
        &self,
        stack: DeepStack,
        hashes: (CodeHash, PolicyHash),
    ) -> Result<Arc<Definition>> {
        let read = || Ok((self.code(hashes.0)?, self.policy(hashes.1)?));
        self.catalog.definition(stack, hashes, read)
    }

    fn code(&self, hash: CodeHash) -> Result<Vec<u8>> {
        if let Some(offered) = self.offered.get(hash) {
            return Ok(offered.to_vec());
        }
        self.store.code(hash)?.ok_or_else(|| missing("code", hash))
    }

    pub(crate) fn policy(&self, hash: PolicyHash) -> Result<Vec<u8>> {
        self.store.policy(hash)?.ok_or_else(|| missing("policy", hash))
    }

    /// The compiled code of a definition.
    pub(crate) fn runnable(
        &self,
        stack: DeepStack,
        definition: &Definition,
    ) -> Result<Arc<Runnable>> {
        let hash = definition.code.hash;
        self.catalog.runnable(stack, definition, MEMORY_BYTES_MAX, || self.code(hash))
    }

    /// Checks that `message_count` more messages may go on their way.
    pub(crate) fn has_room_for(&self, message_count: usize) -> Result<()> {
        let max = self.options.messages_max;
        match message_count > 0 && self.store.message_count() + message_count > max {
            true => Err(ErrorKind::MessagesFull { max }.into()),
            false => Ok(()),
        }
    }
}

/// Returns the error that the store's parts of an object are not those of its head.
fn mismatch(
    what: &'static str,
    head: &Head,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    let (seq, expected, found) = (head.header.seq, expected.to_string(), found.to_string());
    object::Error::from(object::ErrorKind::Mismatch { what, seq, expected, found }).into()
}
