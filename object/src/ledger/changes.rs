//! The changes of a map of entries since an earlier one, as bytes: by how much entries advanced,
//! which went, and which are new. The map itself is its changes since the empty one.
//!
//! This module does not know what entries mean. It reads changes that are written in another way
//! than here, too: the ledger compares what it reads with what it would write.

use arrayvec::ArrayVec;

use super::trie::{Entry, Trie};
use crate::codec::{Reader, Write};
use crate::error::Result;

/// Numbers by how much an entry advanced.
pub(super) type Advance = ArrayVec<u64, 2>;

/// An entry whose changes are written.
pub(super) trait Change: Entry {
    /// The count of numbers that an advance has.
    const ADVANCES: usize;
    /// Bytes that a new entry has at least.
    const BYTES_MIN: usize;

    /// Returns by how much this is ahead of an earlier entry of the key, if it only advanced; the
    /// first number is not 0 then.
    fn advance(&self, old: &Self) -> Option<Advance>;

    /// Returns the entry that is ahead of this one by as much, if there can be one.
    fn advanced(&self, by: &[u64]) -> Option<Self>;

    /// Appends a new entry.
    fn put_new(&self, bytes: &mut Vec<u8>);

    /// Reads a new entry.
    fn read_new(reader: &mut Reader<'_>) -> Result<Self>;
}

impl<E: Change> Trie<E> {
    /// Appends the changes since `base`.
    pub(super) fn put_changes(&self, base: &Trie<E>, bytes: &mut Vec<u8>) {
        let difference = base.difference(self);
        let mut new = difference.added;
        bytes.put_count(difference.changed.len());
        let mut next = 0;
        for (index, old, now) in difference.changed {
            bytes.put_count(index - next);
            next = index + 1;
            match now.and_then(|now| now.advance(old)).filter(|by| by[0] > 0) {
                Some(by) => {
                    for number in by {
                        bytes.put_varint(number);
                    }
                }
                None => {
                    bytes.put(&[0; 2][..E::ADVANCES]);
                    new.extend(now);
                }
            }
        }
        new.sort_unstable_by_key(|entry| *entry.key());
        bytes.put_count(new.len());
        new.into_iter().for_each(|entry| entry.put_new(bytes));
    }

    /// Reads the changes since this map, to one of at most `max` entries.
    pub(super) fn changed_by(&self, max: usize, reader: &mut Reader<'_>) -> Result<Trie<E>> {
        let (mut changed, mut next) = (self.clone(), 0);
        for _ in 0..reader.count(self.len(), 1 + E::ADVANCES)? {
            let index = reader.varint()?.saturating_add(next);
            let old = usize::try_from(index).ok().and_then(|index| self.at(index));
            let old = old.ok_or_else(|| {
                reader.fail(0, &format!("one of {} entries", self.len()), format!("entry {index}"))
            })?;
            next = index + 1;
            let mut by = Advance::new();
            for _ in 0..E::ADVANCES {
                by.push(reader.varint()?);
            }
            match by[0] {
                0 => changed.remove(old.key()),
                _ => {
                    let advanced = old.advanced(&by);
                    let fail = || reader.fail(0, "an entry that can advance as far", by[0]);
                    changed.put(advanced.ok_or_else(fail)?);
                }
            }
        }
        let room = max.saturating_sub(changed.len());
        let count = reader.count(room, E::BYTES_MIN)?;
        let mut new: Vec<E> = Vec::with_capacity(count);
        for _ in 0..count {
            let entry = E::read_new(reader)?;
            let is_next = new.last().is_none_or(|last| last.key() < entry.key());
            if !is_next || changed.get(entry.key()).is_some() {
                return Err(reader.fail(0, "new keys, ascending", "one that is here or lower"));
            }
            new.push(entry);
        }
        if changed.is_empty() {
            return Ok(Trie::of(&new));
        }
        new.into_iter().for_each(|entry| changed.put(entry));
        Ok(changed)
    }
}
