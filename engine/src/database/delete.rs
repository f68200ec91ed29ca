//! Deletion: the request that ends an object.
//!
//! This module passes it on to the commit path, and holds no rule.

use object::hash::ObjectId;
use object::input::Request;

use super::Database;
use crate::ask::call::Call;
#[cfg(doc)]
use crate::error::ErrorKind;

impl Database {
    /// Deletes an object, for good. The present policy governs it: the action is `delete`, and only
    /// a rule that names it permits it. The version is the object's last: its state stays as it
    /// was, it wakes no more, its sessions are closed, and its name is free, in the same frame of
    /// the log. Messages on their way to it are dead letters then; its own messages and outputs
    /// are delivered as any others.
    ///
    /// A deleted object can be read, verified and exported, and is marked where objects are listed.
    /// Whatever else is asked of it later, a fork too, fails with
    /// [`Deleted`](ErrorKind::Deleted), which says when it was deleted, and leaves nothing on
    /// record. An import of an earlier capsule of it does not bring it back.
    ///
    /// ```
    /// use continuant::{Code, Database, ErrorKind, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// let policy = r#"@id("any") permit(principal, action, resource);
    ///     @id("end") permit(principal, action == Action::"delete", resource)
    ///     when { context.before.count == 0 };"#;
    /// let code = Code::wasm(continuant::samples::COUNTER)?.policy(policy);
    /// let counter = db.create(code.name("visits"))?;
    /// db.delete(counter).wait()?;
    /// assert_eq!(db.snapshot(counter)?.get::<u64>("count")?, 0, "it can be read");
    /// assert_eq!(db.find("visits")?, None);
    /// let refused = db.call(counter, "increment", args![1u64]).wait().unwrap_err();
    /// assert!(matches!(refused.kind(), ErrorKind::Deleted { .. }));
    /// # Ok(())
    /// # }
    /// ```
    pub fn delete(&self, id: ObjectId) -> Call<'_> {
        Call::new(&self.shared, id, Ok(Request::Delete))
    }
}
