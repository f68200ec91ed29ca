//! Messages between objects, for the embedder: those on their way, and the dead letters, which may
//! be retried or dropped.
//!
//! This module delivers none: turns do.

use storage::{DeadLetter, MessageId};

use super::Database;
use crate::commit::turn::drain;
use crate::error::Result;

impl Database {
    /// Returns the number of messages on their way from one object to another.
    pub fn message_count(&self) -> usize {
        self.shared.library.store.message_count()
    }

    /// Returns whether a message is on its way.
    pub fn is_on_its_way(&self, message: MessageId) -> bool {
        self.shared.library.store.messages_to(message.to).contains(&message)
    }

    /// Delivers the messages that are on their way, and those that they set off, and returns when
    /// all submitted work is finished and durable. Of the wakes that are due it runs only those of
    /// objects with messages or inputs, because earlier due wakes come first.
    ///
    /// *Blocks* until all work is done and durable.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn deliver(&self) -> Result<()> {
        self.shared.post.post_mail(self.shared.library.store.receivers());
        drain(&self.shared);
        Ok(self.shared.library.store.sync()?)
    }

    /// Returns the dead letter of this message, if there is one.
    ///
    /// *Blocks* while it reads the log.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub fn dead_letter(&self, message: MessageId) -> Result<Option<DeadLetter>> {
        Ok(self.shared.library.store.dead_letter(message)?)
    }

    /// Sends a dead letter on its way again, and waits until that is durable: the same message,
    /// from the same version, to the same receiver. It is delivered once, or is a dead letter
    /// again. It comes behind messages that were delivered meanwhile.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`MessagesFull`](crate::ErrorKind::MessagesFull); [`NotFound`](storage::ErrorKind::NotFound)
    /// when there is no such dead letter, [`Pruned`](storage::ErrorKind::Pruned) when its content
    /// is no longer kept, and those of the store.
    pub fn retry_dead_letter(&self, message: MessageId) -> Result<()> {
        self.shared.library.has_room_for(1)?;
        self.shared.library.store.retry_dead_letter(message)?;
        self.shared.post.post_mail([message.to]);
        Ok(self.shared.library.store.sync()?)
    }

    /// Drops a dead letter, for good, and waits until that is durable. Whatever its sender gave
    /// with it is lost; the drop stays on record in the log.
    ///
    /// *Blocks* until it is durable.
    ///
    /// # Errors
    ///
    /// [`NotFound`](storage::ErrorKind::NotFound) when there is no such dead letter, and those of
    /// the store.
    pub fn drop_dead_letter(&self, message: MessageId) -> Result<()> {
        self.shared.library.store.drop_dead_letter(message)?;
        Ok(self.shared.library.store.sync()?)
    }

    /// The dead letters, as a [list](crate#lists): messages that the receiver refused, with the
    /// refusal on record if there was room for it, or whose receiver does not exist here. They come
    /// by receiver, and then in the order of sending. Their content is kept until they are
    /// [retried](Database::retry_dead_letter) or [dropped](Database::drop_dead_letter).
    ///
    /// ```
    /// use continuant::{Code, Database, SigningKey, args};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let directory = tempfile::tempdir()?;
    /// # let db = Database::open(directory.path().join("db"))?;
    /// let key = SigningKey::from_secret(&[7; 32]);        // in earnest, of random bytes
    /// # let policy = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/purse.cedar"));
    /// # let wasm = include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/purse.wasm"));
    /// let policy = policy.replace(&"0".repeat(64), &key.public().to_string());
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
    pub fn dead_letters(&self) -> query::DeadLetters<'_> {
        query::DeadLetters::new(&self.shared.library.store)
    }
}
