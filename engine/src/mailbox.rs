//! The mail that waits for an object, and whether a worker is to come for it.
//!
//! ```text
//!            post                    take, end_turn: no mail
//!   idle ------------> queued -----------> working -----------> idle --------> closed
//!                        ^                    |                        close
//!                        +--------------------+
//!                          end_turn, more mail
//! ```
//!
//! Whoever is told to puts the object on the run queue; it does not know that queue, nor what
//! letters ask for. `schedules` plays it in many orders.
//!
//! Invariant: an object is on the run queue, being worked on or waiting in a transaction exactly
//! when `scheduled` is set, so it is on the queue at most once.

use std::collections::VecDeque;

use super::sync::Mutex;
use crate::error::{ErrorKind, Result};
use crate::resident::Letter;

#[derive(Debug, Default)]
pub(crate) struct Mailbox(Mutex<Mail>);

#[derive(Debug, Default)]
struct Mail {
    letters: VecDeque<Letter>,
    scheduled: bool,
    /// Whether one of the letters says that there is mail.
    has_mail: bool,
    /// Nothing is taken in any more.
    closed: bool,
}

/// What became of a letter.
#[expect(clippy::large_enum_variant, reason = "one is given back seldom, and moved once")]
pub(crate) enum Posted {
    /// It waits, and the object is on the run queue already.
    Waiting,
    /// It waits, and whoever posted it puts the object on the run queue.
    Schedule,
    /// One that says the same waits already.
    Known,
    /// The mailbox was closed meanwhile: the letter is given back.
    Closed(Letter),
}

/// What became of a letter to several.
pub(crate) enum PostedToAll {
    /// It waits everywhere, and whoever posted it puts these, by their places, on the run queue.
    Schedule(Vec<usize>),
    /// The mailbox at this place was closed meanwhile, and nothing was posted.
    Closed(usize),
    /// The mailbox at this place is full, and nothing was posted.
    Full(usize),
}

impl Mailbox {
    /// Takes in a letter, unless `max` wait already.
    pub(crate) fn post(&self, letter: Letter, max: usize) -> Result<Posted> {
        let mut mail = self.0.lock();
        if mail.closed {
            return Ok(Posted::Closed(letter));
        }
        if mail.letters.len() >= max && !letter.is_own() {
            return Err(ErrorKind::MailboxFull { max }.into());
        }
        if matches!(letter, Letter::Mail { .. }) && std::mem::replace(&mut mail.has_mail, true) {
            return Ok(Posted::Known);
        }
        mail.letters.push_back(letter);
        let idle = !std::mem::replace(&mut mail.scheduled, true);
        Ok(if idle { Posted::Schedule } else { Posted::Waiting })
    }

    /// Takes in a letter in each of several mailboxes at once, unless `max` wait in one already: so
    /// letters to several are in the same order everywhere. The mailboxes are in the order in which
    /// everybody has them; `letter` gives the one for the mailbox at a place.
    pub(crate) fn post_to_all(
        mailboxes: &[&Mailbox],
        letter: impl Fn(usize) -> Letter,
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
        }
        PostedToAll::Schedule(idle)
    }

    /// The next letter of the worker on turn.
    pub(crate) fn take(&self) -> Option<Letter> {
        let mut mail = self.0.lock();
        assert!(mail.scheduled, "a worker takes letters only on its turn");
        let letter = mail.letters.pop_front();
        mail.has_mail &= !matches!(letter, Some(Letter::Mail { .. }));
        letter
    }

    /// Puts a letter back to be taken first; one about mail, of which there may always be more, to
    /// be taken last, unless another one says the same. Whether it is there again.
    pub(crate) fn put_back(&self, letter: Letter) -> bool {
        let mut mail = self.0.lock();
        match letter {
            Letter::Mail { .. } => {
                if std::mem::replace(&mut mail.has_mail, true) {
                    return false;
                }
                mail.letters.push_back(letter);
            }
            letter => mail.letters.push_front(letter),
        }
        true
    }

    /// Ends a worker's turn; whether the object goes back on the run queue.
    pub(crate) fn end_turn(&self) -> bool {
        let mut mail = self.0.lock();
        assert!(mail.scheduled, "a turn ends once");
        mail.scheduled = !mail.letters.is_empty();
        if !mail.scheduled {
            // An idle object takes no room for letters.
            mail.letters = VecDeque::new();
        }
        mail.scheduled
    }

    /// Takes in nothing any more, if the object is idle and `may` it; whether that is so.
    pub(crate) fn close(&self, may: impl FnOnce() -> bool) -> bool {
        let mut mail = self.0.lock();
        mail.closed |= !mail.scheduled && may();
        mail.closed
    }
}
