//! The mailbox of an object, and whether a worker is to come for it.
//!
//! ```text
//!            post                    take, end_turn: no mail
//!   idle ------------> queued -----------> working -----------> idle --------> closed
//!                        ^                    |                        close
//!                        +--------------------+
//!                          end_turn, more mail
//! ```
//!
//! The poster that is told to schedules the object; this module does not know the run queue, nor
//! the content of letters. `schedules` plays it in many orders.
//!
//! Invariant: an object is on the run queue, being worked on or waiting in a transaction exactly
//! when `scheduled` is set, so it is on the queue at most once. `MailboxState::check_invariants`
//! has the rest; debug builds check it behind each operation.

use std::collections::VecDeque;

use super::sync::MailLock;
use crate::error::{ErrorKind, Result};

/// The properties of a letter that a mailbox knows.
pub(crate) trait Mail {
    /// Returns whether it is never turned away; nobody waits for an answer to such a letter.
    fn is_own(&self) -> bool;

    /// Returns whether the letter is the note of mail: one note is as good as many.
    fn is_word_of_mail(&self) -> bool;
}

/// Letters of a mailbox that a check of it looks at each of.
const COUNTED_MAX: usize = 8;

#[derive(Debug)]
pub(crate) struct Mailbox<L>(MailLock<MailboxState<L>>);

#[derive(Debug)]
struct MailboxState<L> {
    letters: VecDeque<L>,
    scheduled: bool,
    /// True if one of the letters is the note of mail.
    has_word: bool,
    /// True if no more letters are accepted.
    closed: bool,
}

impl<L> Default for Mailbox<L> {
    /// Returns the mailbox of an idle object.
    fn default() -> Mailbox<L> {
        let (letters, scheduled, has_word, closed) = Default::default();
        Mailbox(MailLock::new(MailboxState { letters, scheduled, has_word, closed }))
    }
}

impl<L: Mail> MailboxState<L> {
    /// Asserts what holds whenever nobody has the lock.
    fn check_invariants(&self) {
        if !cfg!(debug_assertions) {
            return;
        }
        let MailboxState { letters, scheduled, has_word, closed } = self;
        assert!(letters.is_empty() || *scheduled, "an object with mail is on its way to a worker");
        assert!(!(*closed && *scheduled), "a mailbox is closed only when its object is idle");
        assert!(*scheduled || letters.capacity() == 0, "an idle object takes no room for letters");
        if letters.len() <= COUNTED_MAX {
            let words = letters.iter().filter(|letter| letter.is_word_of_mail()).count();
            assert_eq!(words, usize::from(*has_word), "the word of mail is there once, and known");
        }
    }
}

/// The result of posting a letter.
pub(crate) enum Posted<L> {
    /// The letter waits, and the object is on the run queue already.
    Waiting,
    /// The letter waits, and the poster must put the object on the run queue.
    Schedule,
    /// An equivalent letter waits already.
    Known,
    /// The mailbox was closed meanwhile: the letter is given back.
    Closed(L),
}

/// The result of posting a letter to several mailboxes.
pub(crate) enum PostedToAll {
    /// The letter waits everywhere; the poster must put these objects, by their places, on the run
    /// queue.
    Schedule(Vec<usize>),
    /// The mailbox at this place was closed meanwhile, and nothing was posted.
    Closed(usize),
    /// The mailbox at this place is full, and nothing was posted.
    Full(usize),
}

impl<L: Mail> Mailbox<L> {
    /// Takes in a letter, unless `max` wait already.
    pub(crate) fn post(&self, letter: L, max: usize) -> Result<Posted<L>> {
        let mut mail = self.0.lock();
        if mail.closed {
            return Ok(Posted::Closed(letter));
        }
        if mail.letters.len() >= max && !letter.is_own() {
            return Err(ErrorKind::MailboxFull { max }.into());
        }
        if letter.is_word_of_mail() && std::mem::replace(&mut mail.has_word, true) {
            return Ok(Posted::Known);
        }
        mail.letters.push_back(letter);
        let idle = !std::mem::replace(&mut mail.scheduled, true);
        mail.check_invariants();
        Ok(if idle { Posted::Schedule } else { Posted::Waiting })
    }

    /// Takes in a letter in each of several mailboxes at once, unless `max` wait in one already: so
    /// letters to several are in the same order everywhere. The mailboxes are in the order in which
    /// everybody has them; `letter` gives the one for the mailbox at a place.
    pub(crate) fn post_to_all(
        mailboxes: &[&Mailbox<L>],
        letter: impl Fn(usize) -> L,
        max: usize,
    ) -> PostedToAll {
        let mut mails: Vec<_> = mailboxes.iter().map(|mailbox| mailbox.0.lock()).collect();
        if let Some(place) = mails.iter().position(|mail| mail.closed) {
            return PostedToAll::Closed(place);
        }
        if let Some(place) = mails.iter().position(|mail| mail.letters.len() >= max) {
            return PostedToAll::Full(place);
        }
        let mut idle = Vec::with_capacity(mails.len());
        for (place, mail) in mails.iter_mut().enumerate() {
            mail.letters.push_back(letter(place));
            if !std::mem::replace(&mut mail.scheduled, true) {
                idle.push(place);
            }
            mail.check_invariants();
        }
        PostedToAll::Schedule(idle)
    }

    /// The next letter of the worker on turn.
    pub(crate) fn take(&self) -> Option<L> {
        let mut mail = self.0.lock();
        assert!(mail.scheduled, "a worker takes letters only on its turn");
        let letter = mail.letters.pop_front();
        mail.has_word &= !letter.as_ref().is_some_and(L::is_word_of_mail);
        mail.check_invariants();
        letter
    }

    /// Puts a letter back to be taken first; a note of mail, as there may always be more, to be
    /// taken last, unless there is another note. Returns whether it is there again.
    pub(crate) fn put_back(&self, letter: L) -> bool {
        let mut mail = self.0.lock();
        if !letter.is_word_of_mail() {
            mail.letters.push_front(letter);
            mail.check_invariants();
            return true;
        }
        let is_known = std::mem::replace(&mut mail.has_word, true);
        if !is_known {
            mail.letters.push_back(letter);
        }
        mail.check_invariants();
        !is_known
    }

    /// Ends a worker's turn; returns whether the object goes back on the run queue.
    pub(crate) fn end_turn(&self) -> bool {
        let mut mail = self.0.lock();
        assert!(mail.scheduled, "a turn ends once");
        mail.scheduled = !mail.letters.is_empty();
        if !mail.scheduled {
            // An idle object takes no room for letters.
            mail.letters = VecDeque::new();
        }
        mail.check_invariants();
        mail.scheduled
    }

    /// Stops accepting letters, if the object is idle and `may` it; returns whether it did.
    pub(crate) fn close(&self, may: impl FnOnce() -> bool) -> bool {
        let mut mail = self.0.lock();
        mail.closed |= !mail.scheduled && may();
        mail.check_invariants();
        mail.closed
    }
}
