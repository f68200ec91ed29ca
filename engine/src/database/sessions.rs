//! Sessions: opened on objects by signatures, then used in place of them.
//!
//! It hands on to the object and to the secrets that are held, and holds no rule.

use object::hash::{ObjectId, SessionId};
use object::input::Request;

use super::Database;
use crate::ask::call::Call;
use crate::credentials::session::Session;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::Result;

impl Database {
    /// Opens a session on an object, for whoever signs this: until it expires, calls and direct
    /// writes that are [`in`](Call::in_session) it are in their name, and cost no signature. Its
    /// action is `open_session`, and only a rule that names it permits it. The secret is held from
    /// now on, whatever becomes of the input.
    ///
    /// A session may be opened on many objects. What is in it is attested by this database alone:
    /// others see that the session was opened, by whom, and that an input says to be in it. A
    /// policy tells by `context.credential`, and refuses it where that is not enough. A session
    /// cannot be closed: open it for as short as will do.
    ///
    /// ```
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
    /// let session = Session::until(db.now() + 60 * 60 * 1000)?;
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
        self.shared.sessions().hold(session, self.now())
    }

    /// Lets the secret of a session go: from now on, until it is handed in again, what is in the
    /// session fails with [`SessionNotHeld`](ErrorKind::SessionNotHeld).
    pub fn drop_session(&self, session: SessionId) {
        self.shared.sessions().drop(session);
    }
}
