//! Refusals, printed with their remedy: which object refuses what, by its given name, and the
//! command that explains why.
//!
//! This module does not know why inputs are refused.

use continuant::object::refusal::Reason;
use continuant::{Database, Error, ErrorKind, ObjectId, Time};
use serde_json::json;

use crate::failure::Failure;
use crate::moment;

/// The object and action of an input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// The object, as it was named.
    pub(crate) name: &'a str,
    /// The object.
    pub(crate) id: ObjectId,
    /// The action.
    pub(crate) action: &'a str,
}

impl Asked<'_> {
    /// Returns the failure of the input.
    pub(crate) fn failure(&self, db: &Database, error: Error) -> Failure {
        let ErrorKind::Refused { verdict, recorded } = error.kind() else { return error.into() };
        let Asked { name, id, action } = self;
        // The refusal is the last one on record, because no other process has the database open.
        let count = db.info(*id).ok().filter(|_| *recorded).map(|info| info.refusal_count);
        let more = match count {
            Some(number) => {
                format!("`continuant explain {} --refusal {number}` shows why", quoted(name))
            }
            None => "not put on record: the object has too many refusals, or the input is too \
                     long"
                .to_string(),
        };
        let ahead = self.ahead(db, verdict.reason);
        let message = format!("{name} refuses {action}: {verdict}{ahead} ({more})");
        let details = json!({
            "object": id.to_string(),
            "action": action,
            "refusal": count,
        });
        let (why, failure) = (crate::failure::refusal(verdict), Failure::refused(message));
        failure.with_details(details).with_details(why)
    }

    /// Returns a hint that an input can have expired for the object and not by the host's clock,
    /// where that may be the case.
    fn ahead(&self, db: &Database, reason: Reason) -> String {
        let time = db.info(self.id).map_or(Time::MIN, |info| info.time);
        match time.saturating_duration_since(db.now()) {
            by if !by.is_zero() && matches!(reason, Reason::Expired | Reason::NoSession) => {
                let by = moment::show_span(by);
                let ahead = format!("the object's time is {by} ahead of this host's clock");
                format!("; {ahead}, and decides what has expired")
            }
            _ => String::new(),
        }
    }
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/@+".contains(&byte);
    match !word.is_empty() && word.bytes().all(plain) {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_word_of_a_shell() {
        let table = [("ada", "ada"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$(x)", "'$(x)'")];
        for (name, word) in table {
            assert_eq!(quoted(name), word);
        }
    }
}
