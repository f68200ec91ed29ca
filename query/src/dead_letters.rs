//! The dead letters of a database: by receiver, and then in the order of sending, read a page at a
//! time.
//!
//! This module does not know why a message came to nothing.

use storage::{DeadLetter, MessageId, Result, Store};

/// The number of dead letters that are read at a time.
const PAGE: usize = 256;

/// The list of a database's dead letters: narrow it down if need be, then iterate.
///
/// Each is as of the time when its page is read. An error ends the list.
#[derive(Debug)]
#[must_use = "nothing is read before it is iterated over"]
pub struct DeadLetters<'a> {
    store: &'a Store,
    after: Option<MessageId>,
    limit: usize,
    /// The letters that were read and not returned yet.
    page: std::vec::IntoIter<DeadLetter>,
}

impl<'a> DeadLetters<'a> {
    /// Lists all dead letters.
    pub fn new(store: &'a Store) -> DeadLetters<'a> {
        DeadLetters { store, after: None, limit: usize::MAX, page: Vec::new().into_iter() }
    }

    /// Selects dead letters that come behind `last`, whether or not that is one still: pass the
    /// last id of a list to continue behind it.
    pub fn after(mut self, last: impl Into<Option<MessageId>>) -> DeadLetters<'a> {
        self.after = last.into();
        self
    }

    /// Selects at most `count` dead letters.
    pub fn limit(mut self, count: usize) -> DeadLetters<'a> {
        self.limit = count;
        self
    }
}

impl Iterator for DeadLetters<'_> {
    type Item = Result<DeadLetter>;

    fn next(&mut self) -> Option<Result<DeadLetter>> {
        if self.page.as_slice().is_empty() && self.limit > 0 {
            match self.store.dead_letters(self.after, self.limit.min(PAGE)) {
                Ok(page) => {
                    let first = page.first().map(|letter| letter.id);
                    debug_assert!(first.is_none_or(|first| self.after < Some(first)), "it goes on");
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.limit = 0;
                    return Some(Err(error));
                }
            }
        }
        let next = self.page.next();
        match &next {
            Some(letter) => (self.after, self.limit) = (Some(letter.id), self.limit - 1),
            None => self.limit = 0,
        }
        next.map(Ok)
    }
}
