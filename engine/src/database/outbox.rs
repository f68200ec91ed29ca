//! Outboxes: what objects put out, handed to the embedder to take it into the world.
//!
//! It hands on to the store, and holds no rule.

use storage::Outbox;
#[cfg(doc)]
use storage::Outgoing;

use super::Database;
use crate::error::Result;

impl Database {
    /// The outbox of this name: the outputs of all objects, cycles' and messages' among them, in
    /// the order in which they became durable, from where it was acknowledged the last time; a new
    /// one, from the oldest output that there still is.
    ///
    /// Outputs are given at least once. One that was given and not acknowledged, because the
    /// program stopped between, is given again with the same [`token`](Outgoing::token), by which
    /// whoever acts on it can tell. As long as there is the outbox, compaction keeps what it has
    /// not acknowledged, whatever retention says.
    ///
    /// ```
    /// use continuant::{Code, Database, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let wasm = std::fs::read("guest/objects/lamp.wasm")?;
    /// # let policy = std::fs::read_to_string("guest/examples/wat/policy.cedar")?;
    /// # let lamp = db.create(Code::wasm(wasm)?.policy(policy))?;
    /// # db.call(lamp, "switch-on", args![60u32]).wait()?;
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
    /// Those of the store; among them, that it cannot have such a name.
    pub fn outbox(&self, name: &str) -> Result<Outbox<'_>> {
        Ok(self.shared.store().outbox(name)?)
    }

    /// The names of the outboxes that there are, ascending.
    pub fn outboxes(&self) -> Vec<String> {
        self.shared.store().outboxes()
    }

    /// Removes an outbox: nothing is kept for it any more. Whether there was one.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn remove_outbox(&self, name: &str) -> Result<bool> {
        Ok(self.shared.store().remove_outbox(name)?)
    }
}
