//! Sessions: opened on objects by signatures, then used in place of them.
//!
//! This module passes requests on to the object and to the held secrets, and holds no rule.

use object::hash::{ObjectId, SessionId};
use object::input::Request;

use super::Database;
use crate::ask::call::Call;
use crate::credentials::session::Session;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Opens a session on an object, in the name of the keys that sign this: until it expires,
    /// calls and direct writes that are [`in`](Call::in_session) it count as theirs, and cost no
    /// signature. Its action is `open_session`, and only a rule that names it permits it. The
    /// secret is held from now on, whatever the outcome of the input.
    ///
    /// A session may be opened on many objects. Only this database attests which inputs came in it:
    /// other verifiers see that the session was opened, its keys, and that an input claims to be in
    /// it. A policy distinguishes such inputs by `context.credential`, and can refuse them. A
    /// session cannot be closed: open it for the shortest time that suffices.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use continuant::{Code, Database, Session, SigningKey, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// # let wasm = continuant::samples::COUNTER;
    /// let key = SigningKey::from_secret(&[7; 32]);        // in earnest, of random bytes
    /// let policy = format!(
    ///     r#"@id("owner") permit(principal == Key::"{}",
    ///        action in [Action::"increment", Action::"open_session"], resource);"#,
    ///     key.public(),
    /// );
    /// let counter = db.create(Code::wasm(wasm)?.policy(policy))?;
    /// let end = db.now().saturating_add(Duration::from_secs(60 * 60));
    /// let session = Session::until(end)?;
    /// db.open_session(counter, &session).signed(&key).wait()?;
    /// for _ in 0..3 {
    ///     db.call(counter, "increment", args![1u64]).in_session(&session).wait()?;
    /// }
    /// # assert_eq!(db.info(counter)?.seq, 4);
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_session(&self, id: ObjectId, session: &Session) -> Call<'_> {
        let held = self.hold_session(session);
        let (session, expires) = (session.id(), session.expires());
        let request = held.map(|()| Request::OpenSession { session, expires });
        Call::new(&self.shared, id, request)
    }

    /// Holds the secret of a session that was opened before: they are not kept across a restart.
    ///
    /// # Errors
    ///
    /// [`Limit`](ErrorKind::Limit) when 65,536 are held already of sessions that have not expired.
    pub fn hold_session(&self, session: &Session) -> Result<()> {
        self.shared.credentials.sessions.hold(session, self.now())
    }

    /// Forgets the secret of a session: from now on, until it is handed in again, inputs in the
    /// session fail with [`SessionNotHeld`](ErrorKind::SessionNotHeld).
    pub fn drop_session(&self, session: SessionId) {
        self.shared.credentials.sessions.drop(session);
    }
}
