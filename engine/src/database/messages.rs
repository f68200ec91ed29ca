//! Messages between objects, as an embedder sees them: that they are on their way, and that some
//! came to nothing, and may be tried again or dropped.
//!
//! It delivers none: that is the work of turns.

use storage::{DeadLetter, MessageId};

use super::Database;
use crate::commit::commit::has_room_for;
use crate::commit::turn::wait_quiet;
use crate::error::Result;

/// Dead letters that are read at a time.
const PAGE: usize = 256;

impl Database {
    /// How many messages are on their way from one object to another.
    pub fn message_count(&self) -> usize {
        self.shared.store().message_count()
    }

    /// Whether a message is on its way.
    pub fn is_on_its_way(&self, message: MessageId) -> bool {
        self.shared.store().messages_to(message.to).contains(&message)
    }

    /// Delivers the messages that are on their way, and what they set off, and returns when all
    /// that was submitted is worked through and durable. Of wakes that are due only those run whose
    /// objects have messages or inputs, since what was due before comes first.
    ///
    /// *Blocks* until all is worked through and durable.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn deliver(&self) -> Result<()> {
        self.shared.post_mail(self.shared.store().receivers());
        wait_quiet(&self.shared);
        Ok(self.shared.store().sync()?)
    }

    /// The dead letter that is of this message, if there is one.
    ///
    /// *Blocks* while it reads the log.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>> {
        Ok(self.shared.store().dead_letter(message)?)
    }

    /// Sends a dead letter on its way again, and waits until that is durable: it goes to whom it
    /// was sent, as what it was, from the version that sent it, and is delivered once, or is a dead
    /// letter once more. It comes behind what was delivered meanwhile.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`MessagesFull`](crate::ErrorKind::MessagesFull);
    /// [`NotFound`](storage::ErrorKind::NotFound) when there is no such dead letter,
    /// [`Pruned`](storage::ErrorKind::Pruned) when what it says is not kept any more, and those of
    /// the store.
    pub fn retry_dead_letter(&self, message: MessageId) -> Result<()> {
        has_room_for(&self.shared, 1)?;
        self.shared.store().retry_dead_letter(message)?;
        self.shared.post_mail([message.to]);
        Ok(self.shared.store().sync()?)
    }

    /// Drops a dead letter, for good, and waits until that is durable. What its sender gave with it
    /// is gone then; that it was dropped stays in the log.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`NotFound`](storage::ErrorKind::NotFound) when there is no such dead letter, and those of
    /// the store.
    pub fn drop_dead_letter(&self, message: MessageId) -> Result<()> {
        self.shared.store().drop_dead_letter(message)?;
        Ok(self.shared.store().sync()?)
    }

    /// The messages that came to nothing: the receiver refused them, and has the refusal on record
    /// if there was room for it, or there is no such object here. By receiver, and then as they
    /// were sent; read a page at a time. What they say is kept until they are
    /// [tried again](Database::retry_dead_letter) or [dropped](Database::drop_dead_letter).
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
    /// db.drop_dead_letter(lost.id)?;                      // or `retry_dead_letter`
    /// assert!(db.dead_letters().next().is_none());
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
