//! Messages between objects, as an embedder sees them: that they are on their way, and that some
//! came to nothing.
//!
//! It delivers none: that is the work of turns.

use storage::{DeadLetter, MessageId};

use super::Database;
use crate::error::Result;

/// Dead letters that are read at a time.
const PAGE: usize = 256;

impl Database {
    /// How many messages are on their way from one object to another.
    pub fn message_count(&self) -> usize {
        self.shared.store().message_count()
    }

    /// The messages that came to nothing: the receiver refused them, and has the refusal on record
    /// if there was room for it, or there is no such object here. By receiver, and then as they
    /// were sent; read a page at a time.
    ///
    /// ```
    /// use continuant::{Code, Database, SigningKey, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// let key = SigningKey::from_secret(&[7; 32]);        // in earnest, of random bytes
    /// let policy = std::fs::read_to_string("guest/examples/purse/policy.cedar")?
    ///     .replace(&"0".repeat(64), &key.public().to_string());
    /// let wasm = std::fs::read("guest/objects/purse.wasm")?;
    /// let owner = key.public().to_string();
    /// let purse = Code::wasm(wasm)?.policy(&policy).args(args![&owner[..]]);
    /// let (one, other) = (db.create(purse.clone())?, db.create(purse)?);
    ///
    /// db.call(one, "mint", args![100u64]).signed(&key).wait()?;
    /// db.call(one, "pay", args![&other.0[..], 30u64]).signed(&key).wait()?;
    /// db.call(one, "pay", args![&[0u8; 32][..], 20u64]).signed(&key).wait()?;
    /// db.run_until(db.now())?;                            // until all is worked through
    ///
    /// assert_eq!(db.snapshot(one)?.get::<u64>("balance")?, 50);
    /// assert_eq!(db.snapshot(other)?.get::<u64>("balance")?, 30);
    /// let lost = db.dead_letters().next().expect("there is no such purse")?;
    /// assert_eq!((lost.sender, &lost.why[..]), (one, "there is no such object"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn dead_letters(&self) -> impl Iterator<Item = Result<DeadLetter>> + '_ {
        let mut page = Vec::new().into_iter();
        let mut last: Option<Option<MessageId>> = Some(None);
        std::iter::from_fn(move || {
            if let Some(letter) = page.next() {
                return Some(Ok(letter));
            }
            let after = last.take()?;
            match self.shared.store().dead_letters(after, PAGE) {
                Ok(next) => {
                    last = next.last().map(|letter| Some(letter.id));
                    page = next.into_iter();
                    page.next().map(Ok)
                }
                Err(error) => Some(Err(error.into())),
            }
        })
    }
}
