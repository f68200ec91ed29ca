//! The report of a check.
//!
//! This module does not know how anything is found.

use std::fmt;

use object::evidence::TreeHead;
use object::hash::ObjectId;

use crate::error::{Error, ErrorKind, Result};
use crate::read::names::DoubtfulName;
use crate::record::loss::RecordedLoss;

/// Findings that a report lists; it counts them all.
pub(super) const FINDINGS_MAX: usize = 1000;

/// The findings of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Bytes of the log that were read.
    pub bytes: u64,
    /// Frames of the log.
    pub frame_count: u64,
    /// The number of readings of the log, complete or not: one for as many objects as fit into
    /// memory, and more to find the versions lost with broken frames.
    pub pass_count: u64,
    /// Objects.
    pub object_count: u64,
    /// The number of these that were deleted.
    pub deleted_count: u64,
    /// Versions.
    pub version_count: u64,
    /// Refusals.
    pub refusal_count: u64,
    /// The size and the root of the evidence tree that the log makes; none when some of the log
    /// cannot be read.
    pub evidence: Option<TreeHead>,
    /// The losses that the log had earlier and that were accepted, oldest first: they are no
    /// damage.
    pub losses: Vec<RecordedLoss>,
    /// The damage, the first 1,000 findings: first those of no single object, in the order of the
    /// log; then those of objects, pass by pass; then those of the index. When frames are broken:
    /// first the findings that do not follow from them, in that order; then the broken frames.
    pub damage: Vec<Damage>,
    /// All damage, listed or not.
    pub damage_count: u64,
    /// Names that can be taken for another object's id, which is no damage: the first 1,000.
    pub doubtful_names: Vec<DoubtfulName>,
    /// The versions lost with broken frames, in the order of objects; the first 1,000.
    pub lost: Vec<LostVersions>,
    /// All that is lost, listed or not.
    pub lost_count: u64,
    /// Findings that are not listed, for they may all follow from the broken frames.
    pub consequence_count: u64,
    /// The first failure of the file system among it, or that there were no resources.
    pub(super) failure: Option<Error>,
    /// The damage that does not follow from broken frames: the first 1,000.
    pub(super) apart: Vec<Damage>,
    /// All of it.
    pub(super) apart_count: u64,
}

/// A finding of the check.
#[derive(Clone, Debug)]
pub struct Damage(pub(super) Error);

impl Damage {
    /// The finding as an error that names file, offset, expected and found where it is of bytes.
    pub fn error(&self) -> &Error {
        &self.0
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Versions of an object that were in frames that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostVersions {
    /// The object.
    pub object: ObjectId,
    /// The object's name, if the index has it.
    pub name: Option<String>,
    /// The first version that is lost.
    pub first: u64,
    /// The last version of these, at least as far as the index knows.
    pub last: u64,
}

impl fmt::Display for LostVersions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LostVersions { object, name, first, last } = self;
        match first == last {
            true => write!(f, "version {first} of {object}")?,
            false => write!(f, "versions {first} to {last} of {object}")?,
        }
        name.as_ref().map_or(Ok(()), |name| write!(f, " ({name:?})"))
    }
}

impl Report {
    /// Returns whether there is no finding.
    pub fn is_sound(&self) -> bool {
        self.damage_count == 0
    }

    pub(super) fn find(&mut self, error: Error) {
        if error.is_of_resources() {
            // A lack of resources is no damage, and the unread part is not known to be whole.
            self.failure = Some(error);
            return;
        }
        self.damage_count += 1;
        if error.is_of_file_system() {
            self.failure.get_or_insert_with(|| error.clone());
        }
        if is_apart(&error) {
            self.apart_count += 1;
            if self.apart.len() < FINDINGS_MAX {
                self.apart.push(Damage(error.clone()));
            }
        }
        if self.damage.len() < FINDINGS_MAX {
            self.damage.push(Damage(error));
        }
    }

    /// Adds the findings about the objects of a part.
    pub(super) fn take(&mut self, found: Report) {
        self.damage_count += found.damage_count;
        self.apart_count += found.apart_count;
        if self.failure.is_none() || found.is_without_resources() {
            self.failure = found.failure;
        }
        let add = |to: &mut Vec<Damage>, found: Vec<Damage>| {
            let room = FINDINGS_MAX - to.len();
            to.extend(found.into_iter().take(room));
        };
        add(&mut self.damage, found.damage);
        add(&mut self.apart, found.apart);
    }

    /// Takes in the report of a later pass over entries that the first examined, too: mostly the
    /// same findings.
    ///
    /// # Errors
    ///
    /// A failure of the file system that the first pass did not meet: the later pass did not read
    /// everything, so its findings would be false.
    pub(super) fn take_again(&mut self, found: Report) -> Result<()> {
        match found.failure {
            Some(error) if error.is_of_resources() || self.failure.is_none() => return Err(error),
            _ => {}
        }
        let (known, count) = (self.damage.len(), self.damage_count);
        for Damage(error) in found.damage {
            if is_new(&error, self.damage[..known].iter().map(Damage::error), count)? {
                self.find(error);
            }
        }
        Ok(())
    }

    fn is_without_resources(&self) -> bool {
        self.failure.as_ref().is_some_and(Error::is_of_resources)
    }
}

/// Returns whether a finding of a later pass is none of the `known` ones, which are of `count` that
/// an earlier pass over the same had. One beyond the listed ones cannot be told from a new one.
///
/// # Errors
///
/// A failure of the file system that the earlier pass did not meet: the later pass did not read
/// everything.
pub(super) fn is_new<'a>(
    error: &Error,
    mut known: impl ExactSizeIterator<Item = &'a Error>,
    count: u64,
) -> Result<bool> {
    if known.len() as u64 != count || known.any(|known| known.is_same(error)) {
        return Ok(false);
    }
    match error.is_of_file_system() {
        true => Err(error.clone()),
        false => Ok(true),
    }
}

/// The finding that the index does not agree with the log.
pub(super) fn index_differs(found: String) -> Error {
    ErrorKind::IndexDamaged(format!("it does not agree with the log: {found}")).into()
}

/// Returns whether a finding is about something else than the records of the log and the index.
fn is_apart(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Damaged { file, .. } => !file.starts_with("log/"),
        ErrorKind::IndexDamaged(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_apart_is_kept_behind_any_number_of_others() {
        let mut of_part = Report::default();
        for number in 0..1500 {
            of_part.find(ErrorKind::IndexDamaged(number.to_string()).into());
        }
        let apart: Error = ErrorKind::NoState { seq: 3, kept_from: 5 }.into();
        of_part.find(apart.clone());
        let mut report = Report::default();
        report.find(Error::damaged("log/00000001.log", 5, "a frame", "none"));
        report.take(of_part);
        assert_eq!((report.damage_count, report.damage.len()), (1502, FINDINGS_MAX));
        assert_eq!((report.apart_count, report.apart.len()), (1, 1));
        assert!(report.apart[0].0.is_same(&apart));
    }
}
