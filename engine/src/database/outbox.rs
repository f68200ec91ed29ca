//! Outboxes: the outputs of objects, for the embedder to pass to the outside world.
//!
//! This module passes requests on to the store, and holds no rule.

#[cfg(doc)]
use storage::Outgoing;
use storage::{Outbox, OutboxStatus};

use super::Database;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Returns the existing outbox of this name: the outputs of all objects, those of cycles and
    /// messages too, in the order in which they became durable, from its last acknowledged place.
    ///
    /// Outputs are given at least once. One that was given and not acknowledged, because the
    /// program stopped between, is given again with the same [`token`](Outgoing::token), by which a
    /// program can recognize it. While the outbox exists, compaction keeps the versions whose
    /// outputs it has not acknowledged, whatever retention says.
    ///
    /// ```
    /// use continuant::{Code, Database, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let wasm = continuant::samples::LAMP;
    /// # let policy = continuant::samples::LAMP_POLICY;
    /// # let lamp = db.create(Code::wasm(wasm)?.policy(policy))?;
    /// # db.call(lamp, "switch-on", args![60u32]).wait()?;
    /// db.create_outbox("mailer")?;                                     // once
    /// let mut outbox = db.outbox("mailer")?;
    /// while let Some(outgoing) = outbox.next().transpose()? {
    ///     println!("{} {}", outgoing.token(), outgoing.output.name);   // send it, with its token
    ///     outbox.acknowledge(outgoing.place)?;                         // with all before it
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage), among others when there is none of this name.
    pub fn outbox(&self, name: &str) -> Result<Outbox<'_>> {
        Ok(self.shared.library.store.outbox(name)?)
    }

    /// Makes the outbox of this name, unless there is one, and returns it as
    /// [`outbox`](Database::outbox) does; a new one starts with the oldest remaining output. A
    /// misspelt name makes another outbox, for which everything is kept: see
    /// [`outbox_status`](Database::outbox_status).
    ///
    /// *Blocks* until a new one is durable, and while a compaction is under way.
    ///
    /// # Errors
    ///
    /// Those of the store; among others, when the name is invalid.
    pub fn create_outbox(&self, name: &str) -> Result<Outbox<'_>> {
        Ok(self.shared.library.store.create_outbox(name)?)
    }

    /// Returns the progress of each outbox, and how much is kept for it, by name. It reads the log
    /// from the place of the one that is farthest behind.
    ///
    /// *Blocks* while it reads the log.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn outbox_status(&self) -> Result<Vec<OutboxStatus>> {
        Ok(self.shared.library.store.outbox_status()?)
    }

    /// Returns the names of all outboxes, ascending.
    pub fn outboxes(&self) -> Vec<String> {
        self.shared.library.store.outboxes()
    }

    /// Removes an outbox: nothing is kept for it any more. Returns whether there was one.
    ///
    /// *Blocks* until the removal is durable.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn remove_outbox(&self, name: &str) -> Result<bool> {
        Ok(self.shared.library.store.remove_outbox(name)?)
    }
}
