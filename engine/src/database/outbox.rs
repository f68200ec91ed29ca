//! Outboxes: what objects put out, handed to the embedder to take it into the world.
//!
//! It hands on to the store, and holds no rule.

#[cfg(doc)]
use storage::Outgoing;
use storage::{Outbox, OutboxStatus};

use super::Database;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Returns the outbox of this name, which must be there: the outputs of all objects, those of
    /// cycles and messages too, in the order in which they became durable, from where it was
    /// acknowledged the last time.
    ///
    /// Outputs are given at least once. One that was given and not acknowledged, because the
    /// program stopped between, is given again with the same [`token`](Outgoing::token), by which
    /// whoever acts on it can tell. As long as there is the outbox, compaction keeps the versions
    /// whose outputs it has not acknowledged, whatever retention says.
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
    /// while let Some(outgoing) = outbox.next_output()? {
    ///     println!("{} {}", outgoing.token(), outgoing.output.name);   // send it, with its token
    ///     outbox.acknowledge(outgoing.place)?;                         // with all before it
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Storage`](ErrorKind::Storage), among them that there is none of this name.
    pub fn outbox(&self, name: &str) -> Result<Outbox<'_>> {
        Ok(self.shared.store().outbox(name)?)
    }

    /// Makes the outbox of this name, unless there is one, and returns it as
    /// [`outbox`](Database::outbox) does; a new one starts with the oldest output that there still
    /// is. A name that is misspelt makes another outbox, for which everything is kept: see
    /// [`outbox_status`](Database::outbox_status).
    ///
    /// *Blocks* until a new one is durable, and while a compaction is under way.
    ///
    /// # Errors
    ///
    /// Those of the store; among them, that it cannot have such a name.
    pub fn create_outbox(&self, name: &str) -> Result<Outbox<'_>> {
        Ok(self.shared.store().create_outbox(name)?)
    }

    /// Returns how far each outbox is, and how much is kept for it, by name. It reads the log from
    /// the place of the one that is farthest behind.
    ///
    /// *Blocks* while it reads the log.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn outbox_status(&self) -> Result<Vec<OutboxStatus>> {
        Ok(self.shared.store().outbox_status()?)
    }

    /// The names of the outboxes that there are, ascending.
    pub fn outboxes(&self) -> Vec<String> {
        self.shared.store().outboxes()
    }

    /// Removes an outbox: nothing is kept for it any more. Whether there was one.
    ///
    /// *Blocks* until the removal is durable.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn remove_outbox(&self, name: &str) -> Result<bool> {
        Ok(self.shared.store().remove_outbox(name)?)
    }
}
