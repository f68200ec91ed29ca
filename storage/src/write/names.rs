//! Names that change hands: each change is one frame, which frees the names that it replaces.
//!
//! ```text
//!   set:  the object's name is freed -----> the new one is its
//!   move: the holder's name is freed, and the receiver's --> the holder's is the receiver's
//!   free: the holder's name is freed
//! ```
//!
//! This module does not know who may name objects.
//!
//! Invariant: an object has at most one name, and a name at most one object, behind every frame.

use std::borrow::Cow;

use object::hash::ObjectId;
use object::time::Time;

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Result};
use crate::store::{Inner, Store};
use crate::write::push::{Changes, Drafted};

impl Store {
    /// Gives an object a name that nobody has, in place of its own if it has one; waits until that
    /// is durable. `time` is noted beside it. Returns the name that the object had.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), [`Deleted`](ErrorKind::Deleted),
    /// [`NameTaken`](ErrorKind::NameTaken),
    /// [`Name`](ErrorKind::Name), [`NameIsId`](ErrorKind::NameIsId), and those of
    /// [`Store::append`].
    pub fn set_name(&self, id: ObjectId, name: &str, time: Time) -> Result<Option<String>> {
        self.rename(|changes| {
            let before = changes.of(self.inner(), id)?;
            if before.as_deref() == Some(name) {
                return Ok(before);
            }
            changes.require_living(id)?;
            changes.require_free(self.inner(), name, id)?;
            changes.unbind(self.inner(), id, time)?;
            changes.bind(self.inner(), id, name, time)?;
            Ok(before)
        })
    }

    /// Moves a name from the object that has it to another, in place of that one's own; waits until
    /// that is durable. Returns the object that had it.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when no object has the name, or there is no such object,
    /// [`Deleted`](ErrorKind::Deleted), [`NameIsId`](ErrorKind::NameIsId), and those of
    /// [`Store::append`].
    pub fn move_name(&self, name: &str, to: ObjectId, time: Time) -> Result<ObjectId> {
        self.rename(|changes| {
            let from = changes.require_holder(self.inner(), name)?;
            changes.of(self.inner(), to)?;
            changes.require_living(to)?;
            if from != to {
                self.inner().validate_name(name, to)?;
                changes.unbind(self.inner(), from, time)?;
                changes.unbind(self.inner(), to, time)?;
                changes.bind(self.inner(), to, name, time)?;
            }
            Ok(from)
        })
    }

    /// Frees a name: the object that has it has none from then on; waits until that is durable.
    /// Returns that object.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound) when no object has the name, and those of
    /// [`Store::append`].
    pub fn free_name(&self, name: &str, time: Time) -> Result<ObjectId> {
        self.rename(|changes| {
            let from = changes.require_holder(self.inner(), name)?;
            changes.unbind(self.inner(), from, time)?;
            Ok(from)
        })
    }

    /// Pushes the frame of the names that `change` changes, if it changes any, and waits until that
    /// is durable.
    fn rename<T>(&self, change: impl Fn(&mut Changes<'static>) -> Result<T>) -> Result<T> {
        let inner = self.inner();
        let look = || {
            let mut changes = Changes::default();
            let found = change(&mut changes)?;
            Ok((changes, found))
        };
        let ((changes, found), heads) =
            inner.look_up(look, |(changes, _), heads| changes.hold(heads))?;
        match changes.events.is_empty() {
            true => drop(heads),
            false => {
                let (pushed, recent_count) = inner.push_events(heads, changes)?;
                drop(pushed);
                inner.catch_up(recent_count);
            }
        }
        self.sync()?;
        Ok(found)
    }
}

impl Changes<'_> {
    /// Returns the name that an object has in the rows, which are looked up once.
    fn of(&mut self, inner: &Inner, id: ObjectId) -> Result<Option<String>> {
        if let Some(drafted) = self.rows.iter().find(|drafted| drafted.id == id) {
            return Ok(drafted.after.name.clone());
        }
        let drafted = Drafted::new(id, inner.require_row(id)?);
        let name = drafted.after.name.clone();
        self.rows.push(drafted);
        Ok(name)
    }

    /// Checks that an object whose row was looked up was not deleted.
    fn require_living(&self, id: ObjectId) -> Result<()> {
        let drafted = self.rows.iter().find(|drafted| drafted.id == id);
        drafted.map_or(Ok(()), |drafted| drafted.after.require_living(id))
    }

    /// Returns the object that has a name.
    fn require_holder(&mut self, inner: &Inner, name: &str) -> Result<ObjectId> {
        let holder = self.holder(inner, name)?;
        holder.ok_or_else(|| Error::not_found("object of the name", name))
    }

    /// Frees the name of an object, if it has one.
    fn unbind(&mut self, inner: &Inner, id: ObjectId, time: Time) -> Result<()> {
        let Some(name) = self.of(inner, id)? else { return Ok(()) };
        let event = self.naming(inner, (id, false), Cow::Owned(name), time)?;
        self.events.push(event);
        Ok(())
    }

    /// Gives a name to an object.
    fn bind(&mut self, inner: &Inner, id: ObjectId, name: &str, time: Time) -> Result<()> {
        let event = self.naming(inner, (id, true), Cow::Owned(name.to_string()), time)?;
        self.events.push(event);
        Ok(())
    }
}
