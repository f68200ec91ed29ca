//! Names and ids, which share one space of texts: the meaning of a text, and the names that would
//! make it doubtful.
//!
//! An id means its object, always. A name means the object that it is bound to, and four digits or
//! more the only object whose id begins with them; a text that is a name and the beginning of
//! another object's id means neither. This module does not know how rows are kept.
//!
//! Invariant: no name is bound that is an id, or the beginning of an existing object's id.

use object::hash::{HASH_BYTES, ObjectId};

use crate::error::{Error, ErrorKind, Result};
use crate::record::name::{NAME_BYTES_MAX, NameRow, is_name};
use crate::store::{Inner, Store};

/// The fewest digits that are read as the beginning of an id.
pub const ID_DIGITS_MIN: usize = 4;
/// Digits of a whole id.
const ID_DIGITS: usize = 2 * HASH_BYTES;
/// The number of objects that are listed for a doubtful text.
const FITTING_MAX: usize = 5;
/// The number of names that are read at a time.
const NAMES_PAGE: usize = 4096;

/// The meaning of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// No object.
    Nothing,
    /// This object.
    Object(ObjectId),
    /// Several objects: the one of this name, if there is one, and some whose ids begin with the
    /// text; there may be more than are listed.
    Doubtful {
        /// The object of the name.
        named: Option<ObjectId>,
        /// At most five others whose ids begin with the text.
        beginning: Vec<ObjectId>,
    },
}

/// A name that can be taken for another object's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoubtfulName {
    /// The name.
    pub name: String,
    /// The object with the name.
    pub object: ObjectId,
    /// The object whose id begins with the name; none when the name is a whole id of no object.
    pub other: Option<ObjectId>,
}

/// The digits of an id, or of its beginning, that a text can be read as, in lower case.
fn id_digits(text: &str) -> Option<String> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let fits = is_digits && (ID_DIGITS_MIN..=ID_DIGITS).contains(&text.len());
    fits.then(|| text.to_ascii_lowercase())
}

/// The last id before all that begin with these digits; none when there is none before them.
fn before(digits: &str) -> Option<ObjectId> {
    let first = format!("{digits:0<ID_DIGITS$}").parse();
    let ObjectId(mut last) = first.expect("digits of an id, filled up");
    let borrow = |byte: &mut u8| {
        *byte = byte.wrapping_sub(1);
        *byte < u8::MAX
    };
    last.iter_mut().rev().any(borrow).then_some(ObjectId(last))
}

/// Checks that a text may be a name of some object, as far as the text shows.
///
/// # Errors
///
/// [`Name`](ErrorKind::Name), [`NameIsId`](ErrorKind::NameIsId).
pub fn require_name(name: &str) -> Result<()> {
    if !is_name(name) {
        let found = name.chars().take(NAME_BYTES_MAX).collect();
        return Err(ErrorKind::Name { found }.into());
    }
    match id_digits(name).is_some_and(|digits| digits.len() == ID_DIGITS) {
        true => Err(ErrorKind::NameIsId { name: name.to_string(), other: None }.into()),
        false => Ok(()),
    }
}

impl Store {
    /// Returns the meaning of a text: the object with that id; else the one of that name, or the
    /// only one whose id begins with these four digits or more.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn resolve(&self, text: &str) -> Result<Resolved> {
        let digits = id_digits(text);
        if let Some(digits) = digits.as_ref().filter(|digits| digits.len() == ID_DIGITS) {
            let id = digits.parse().expect("the digits of an id");
            if self.inner().row(id)?.is_some() {
                return Ok(Resolved::Object(id));
            }
        }
        let named = self.find(text)?;
        let mut beginning = match &digits {
            Some(digits) => self.inner().beginning_with(digits, FITTING_MAX)?,
            None => Vec::new(),
        };
        beginning.retain(|id| named != Some(*id));
        Ok(match (named, &beginning[..]) {
            (None, []) => Resolved::Nothing,
            (Some(id), []) | (None, &[id]) => Resolved::Object(id),
            _ => Resolved::Doubtful { named, beginning },
        })
    }

    /// Returns the names that are ids, or begin the id of another object, at most `limit`: none was
    /// bound as one, but a later object's id may begin with a name.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn doubtful_names(&self, limit: usize) -> Result<Vec<DoubtfulName>> {
        let inner = self.inner();
        // Memory first: an entry that moves to the index meanwhile is then seen twice, not never.
        let mut unwritten = inner.heads.lock().unwritten_names("");
        let (mut doubtful, mut last) = (Vec::new(), None);
        loop {
            let page = inner.indexed(|index| index.names_after(last.as_deref(), NAMES_PAGE))?;
            let end = page.last().map(|(name, _)| name.clone());
            let mut names = match &end {
                Some(end) => {
                    let is_before = |name: &String, _: &mut NameRow| name.as_bytes() <= end;
                    unwritten.extract_if(.., is_before).collect()
                }
                None => std::mem::take(&mut unwritten),
            };
            for (_, named) in page {
                let damaged = || ErrorKind::IndexDamaged("a name does not match its check".into());
                let (name, row) = named.ok_or_else(damaged)?;
                // Memory is newer.
                names.entry(name).or_insert(row);
            }
            for (name, row) in names {
                let Some(object) = row.holder else { continue };
                if doubtful.len() >= limit {
                    return Ok(doubtful);
                }
                doubtful.extend(inner.doubt(name, object)?);
            }
            last = match end {
                Some(end) => Some(end),
                None => return Ok(doubtful),
            };
        }
    }
}

impl Inner {
    /// The row of a name that an object has or had.
    pub(crate) fn name_row(&self, name: &str) -> Result<Option<NameRow>> {
        let known = self.heads.lock().name(name);
        match known {
            Some(row) => Ok(Some(row)),
            None => self.indexed(|index| index.name(name)),
        }
    }

    /// Returns the doubt about a name, if it is an id, or begins that of another object.
    fn doubt(&self, name: String, object: ObjectId) -> Result<Option<DoubtfulName>> {
        let Some(digits) = id_digits(&name) else { return Ok(None) };
        let other = self.other_beginning_with(&digits, object)?;
        let is_doubtful = other.is_some() || digits.len() == ID_DIGITS;
        Ok(is_doubtful.then_some(DoubtfulName { name, object, other }))
    }

    /// Checks that a name can be bound to an object, as far as the text shows, and that no other
    /// object's id begins with it.
    pub(crate) fn validate_name(&self, name: &str, id: ObjectId) -> Result<()> {
        if !is_name(name) {
            let found = name.chars().take(NAME_BYTES_MAX).collect();
            return Err(Error::from(ErrorKind::Name { found }).of(id));
        }
        let Some(digits) = id_digits(name) else { return Ok(()) };
        let other = self.other_beginning_with(&digits, id)?;
        match other.is_some() || digits.len() == ID_DIGITS {
            true => Err(ErrorKind::NameIsId { name: name.to_string(), other }.into()),
            false => Ok(()),
        }
    }

    /// Returns an object other than `id` whose id begins with these digits.
    fn other_beginning_with(&self, digits: &str, id: ObjectId) -> Result<Option<ObjectId>> {
        let beginning = self.beginning_with(digits, 2)?;
        Ok(beginning.into_iter().find(|other| *other != id))
    }

    /// Returns the first `limit` objects whose ids begin with these digits.
    fn beginning_with(&self, digits: &str, limit: usize) -> Result<Vec<ObjectId>> {
        let mut ids = self.ids(before(digits), limit)?;
        ids.retain(|id| id.to_string().starts_with(digits));
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_lead_to_the_last_id_before_all_that_begin_so() {
        assert_eq!(before("0000"), None);
        assert_eq!(before("0001"), Some(format!("0000{}", "f".repeat(60)).parse().unwrap()));
        assert_eq!(before("ab10"), Some(format!("ab0f{}", "f".repeat(60)).parse().unwrap()));
        assert_eq!(before(&"0".repeat(64)), None);
    }

    #[test]
    fn texts_of_four_digits_and_more_can_be_read_as_ids() {
        for (text, digits) in [
            ("ada", None),
            ("CAFE", Some("cafe")),
            ("2024", Some("2024")),
            ("ben1", None),
            ("12-34", None),
        ] {
            assert_eq!(id_digits(text).as_deref(), digits, "{text}");
        }
        assert_eq!(id_digits(&"0".repeat(64)), Some("0".repeat(64)));
        assert_eq!(id_digits(&"0".repeat(65)), None, "longer than an id");
    }
}
