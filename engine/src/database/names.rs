//! Names of objects: what a text means, and how names change hands.
//!
//! This module passes requests on to the store, and holds no rule.

use object::hash::ObjectId;
use storage::{NameHistory, Resolved};

use super::Database;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Returns the object of that name.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn find(&self, name: &str) -> Result<Option<ObjectId>> {
        Ok(self.shared.library.store.find(name)?)
    }

    /// Returns the meaning of a text: the object with that id; else the one of that name, or the
    /// only one whose id begins with these digits, at least four.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn resolve(&self, text: &str) -> Result<Resolved> {
        Ok(self.shared.library.store.resolve(text)?)
    }

    /// Gives an object a name that no object has, in place of its own if it has one, which is free
    /// from then on. Returns the name that the object had. Names are the database's, not the
    /// object's: no policy is asked, and a capsule has none.
    ///
    /// *Blocks* until it is durable.
    ///
    /// ```
    /// # use continuant::{Code, Database};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let code = || Code::wasm(continuant::samples::COUNTER);
    /// let old = db.create(code()?.name("visits"))?;
    /// let new = db.create(code()?.name("visits, rebuilt"))?;
    /// assert_eq!(db.move_name("visits", new)?, old);       // in one frame of the log
    /// assert_eq!(db.find("visits")?, Some(new));
    /// assert_eq!(db.find("visits, rebuilt")?, None);       // an object has one name
    /// db.set_name(old, "visits of 2013")?;
    /// let holders = db.name_history("visits")?.collect::<Result<Vec<_>, _>>()?;
    /// assert_eq!(holders.iter().map(|it| it.object).collect::<Vec<_>>(), [new, old]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store: the name is taken, or cannot be
    /// one.
    pub fn set_name(&self, id: ObjectId, name: &str) -> Result<Option<String>> {
        self.info(id)?;
        Ok(self.shared.library.store.set_name(id, name, self.now())?)
    }

    /// Moves a name from the object that has it to another, in place of that one's own: there is no
    /// moment at which nobody has it. Returns the object that had it.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`NoObject`](ErrorKind::NoObject), and those of the store, among others when no object has
    /// the name.
    pub fn move_name(&self, name: &str, to: ObjectId) -> Result<ObjectId> {
        self.info(to)?;
        Ok(self.shared.library.store.move_name(name, to, self.now())?)
    }

    /// Frees a name: the object that has it has none from then on. Returns that object.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// Those of the store, among others when no object has the name.
    pub fn free_name(&self, name: &str) -> Result<ObjectId> {
        Ok(self.shared.library.store.free_name(name, self.now())?)
    }

    /// Returns the objects that had a name, newest first, as a [list](crate#lists): each with the
    /// place in the log and the time at which it got the name, and at which it had it no more.
    ///
    /// *Blocks* while it reads the index.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn name_history(&self, name: &str) -> Result<NameHistory<'_>> {
        Ok(self.shared.library.store.name_history(name)?)
    }
}
