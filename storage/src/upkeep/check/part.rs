//! Parts of the objects: as many at a time as fit into the stated memory.
//!
//! ```text
//!   pass 1: all, given up  | pass 2: part 1 | pass 3: part 2, given up | pass 4: half of it | ...
//! ```
//!
//! Objects are divided by their ids, blobs by their hashes, messages by their receivers: all are
//! spread evenly, so the share of a part that fitted predicts how wide the next ones may be. This
//! module does not know what is kept of objects.
//!
//! An object that takes most of the stated memory by itself does not end a part: a smaller part
//! would not make it less.
//!
//! Invariant: completed parts follow each other without a gap, from the first id to the last.

use std::cmp::Ordering;

use object::hash::ObjectId;

/// The factor by which a part may be wider than the one before.
const GROWTH_MAX: u128 = 16;

/// The objects whose ids, and the blobs whose hashes, begin with eight bytes in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    from: u128,
    /// The end is not in it.
    to: u128,
}

impl Part {
    pub(super) const ALL: Part = Part { from: 0, to: 1 << 64 };

    /// Returns whether the id or hash is in the part.
    pub(super) fn has(&self, hash: &[u8]) -> bool {
        self.place(hash).is_eq()
    }

    /// Returns whether an id or hash comes before the part, is in it, or comes behind it; a text
    /// too short for an id is where its order puts it.
    pub(super) fn place(&self, hash: &[u8]) -> Ordering {
        let mut first = [0; 8];
        first.iter_mut().zip(hash).for_each(|(first, byte)| *first = *byte);
        match u128::from(u64::from_be_bytes(first)) {
            first if first < self.from => Ordering::Less,
            first if first < self.to => Ordering::Equal,
            _ => Ordering::Greater,
        }
    }

    /// Returns whether no part comes before it.
    pub(super) fn is_first(&self) -> bool {
        self.from == 0
    }

    /// The last id before it.
    pub(super) fn before(&self) -> Option<ObjectId> {
        let last = u64::try_from(self.from.checked_sub(1)?).ok()?;
        let mut id = [0xff; 32];
        id[..8].copy_from_slice(&last.to_be_bytes());
        Some(ObjectId(id))
    }

    fn width(&self) -> u128 {
        self.to - self.from
    }
}

/// The memory that a part takes so far.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) part: Part,
    bytes: usize,
    bytes_max: usize,
    /// Bytes of the log that were read, and of all.
    pub(super) read: (u64, u64),
    /// The same when the part was given up as too large.
    full_at: Option<(u64, u64)>,
}

impl Load {
    pub(super) fn new(part: Part, bytes_max: usize) -> Load {
        Load { part, bytes: 0, bytes_max, read: (0, 0), full_at: None }
    }

    /// Returns whether entries of this id or hash are kept.
    pub(super) fn has(&self, hash: &[u8]) -> bool {
        self.full_at.is_none() && self.part.has(hash)
    }

    /// Returns whether the part was given up.
    pub(super) fn is_full(&self) -> bool {
        self.full_at.is_some()
    }

    /// Notes that an entry takes `after` bytes where it took `before`, and that `of_one` of all
    /// bytes belong to one object. Returns whether the part must be given up for that: not when
    /// these are most of the allowed bytes, and the others are no more than the rest.
    pub(super) fn weigh(&mut self, before: usize, after: usize, of_one: usize) -> bool {
        assert!(self.bytes >= before, "what is let go was weighed");
        self.bytes = (self.bytes - before).saturating_add(after);
        let most = self.bytes_max / 2;
        let is_one = of_one > most && self.bytes.saturating_sub(of_one) <= most;
        let is_over =
            !self.is_full() && self.bytes > self.bytes_max && !is_one && self.part.width() > 1;
        if is_over {
            self.full_at = Some(self.read);
        }
        is_over
    }
}

/// The sequence of parts.
#[derive(Debug)]
pub(super) struct Parts {
    /// The width of the next part, in ids.
    width: u128,
}

impl Parts {
    pub(super) fn new() -> Parts {
        Parts { width: Part::ALL.width() }
    }

    /// The part that is next behind another: less of the same when it was given up.
    pub(super) fn next(&mut self, load: &Load) -> Option<Part> {
        let Part { from, to } = load.part;
        assert!(self.width > 0, "a part has some ids");
        assert!(from < to && to <= Part::ALL.to, "a part is a range of all ids");
        let part = |from, width| Part { from, to: Part::ALL.to.min(from + width) };
        let Some((done, all)) = load.full_at else {
            if load.bytes < load.bytes_max / 3 {
                let growth = (load.bytes_max / 2 / load.bytes.max(1)) as u128;
                self.width *= growth.clamp(2, GROWTH_MAX);
            }
            self.width = self.width.min(Part::ALL.to);
            return (to < Part::ALL.to).then_some(part(to, self.width));
        };
        // The share that fitted, less a margin for uneven spread.
        let (done, all) = (u128::from(done), u128::from(all.max(done).max(1)));
        let half = load.part.width().div_ceil(2);
        self.width = (load.part.width() * 3 / 4 * done / all).clamp(1, half);
        Some(part(from, self.width))
    }

    /// Returns how many parts are to come behind one, as far as is known.
    pub(super) fn left(&self, part: Part) -> u64 {
        u64::try_from((Part::ALL.to - part.to).div_ceil(self.width)).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Folds things of these weights, in a random order, in parts; returns the completed parts.
    fn fold(rng: &mut StdRng, things: &[([u8; 8], usize)], bytes_max: usize) -> (Vec<Part>, usize) {
        let (mut parts, mut load) = (Parts::new(), Load::new(Part::ALL, bytes_max));
        let (mut whole, mut pass_count) = (Vec::new(), 0);
        loop {
            let (mut kept, first) = (0, rng.random_range(0..things.len()));
            for index in 0..things.len() {
                let (id, bytes) = things[(first + index) % things.len()];
                load.read = (index as u64 + 1, things.len() as u64);
                if load.has(&id) {
                    kept += 1;
                    load.weigh(0, bytes, if kept == 1 { bytes } else { 0 });
                }
            }
            pass_count += 1;
            if !load.is_full() {
                assert!(load.bytes <= bytes_max || kept == 1, "{} bytes", load.bytes);
                whole.push(load.part);
            }
            let Some(part) = parts.next(&load) else { return (whole, pass_count) };
            assert!(parts.left(part) > 0 || part.to == Part::ALL.to);
            load = Load::new(part, bytes_max);
        }
    }

    #[test]
    fn parts_have_every_id_once_and_no_more_than_fits() {
        for seed in 0..60 {
            let mut rng = StdRng::seed_from_u64(seed);
            let weight_max = rng.random_range(1..300);
            let count = rng.random_range(1..600);
            let things: Vec<([u8; 8], usize)> =
                (0..count).map(|_| (rng.random(), rng.random_range(0..=weight_max))).collect();
            let bytes_max = rng.random_range(1..20_000);
            let (whole, pass_count) = fold(&mut rng, &things, bytes_max);
            let (mut end, mut before) = (0, None);
            for part in &whole {
                assert_eq!(part.from, end, "seed {seed}: without a gap");
                assert_eq!((part.is_first(), part.before().is_none()), (end == 0, end == 0));
                assert!(part.before().is_none_or(|id| !part.has(&id.0)));
                assert!(part.has(&(part.from as u64).to_be_bytes()));
                assert_ne!(before.replace(*part), Some(*part));
                end = part.to;
            }
            assert_eq!(end, Part::ALL.to, "seed {seed}: to the last");
            for (id, _) in &things {
                assert_eq!(whole.iter().filter(|part| part.has(id)).count(), 1, "seed {seed}");
            }
            let all: usize = things.iter().map(|thing| thing.1).sum();
            let few = (8 * (all / bytes_max + 1) + 20).max(70);
            if weight_max < bytes_max / 4 {
                assert!(pass_count <= few, "seed {seed}: {pass_count} passes for {all} bytes");
            }
        }
    }
}
