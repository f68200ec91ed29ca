//! A map of entries by 32-byte keys that has a Merkle root: the same entries have the same root,
//! however they came there, and a change costs the hashes of a few nodes.
//!
//! It is a binary trie without one-sided branches, whose leaves have up to [`LEAF_MAX`] entries:
//!
//! ```text
//!                 branch at bit 3                 a branch's bit is the first in which
//!                /               \                the keys below it differ
//!        branch at bit 7        leaf: 3 entries
//!         /          \
//!   leaf: 4       leaf: 1
//! ```
//!
//! Nodes are shared between copies and never changed, so copying is cheap, and two maps are
//! compared without looking at what they share. Hashes are computed when they are asked for, and
//! kept. This module does not know what entries mean.
//!
//! Invariant: there is a branch exactly where more than [`LEAF_MAX`] entries are; so the shape
//! follows from the keys.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::codec::Write;
use crate::hash::{LedgerLeaf, LedgerNode};
use crate::time::Time;

/// Entries of a leaf: up to as many are hashed at once.
pub(super) const LEAF_MAX: usize = 4;

/// Entries of a map that is checked wholly.
const CHECKED_MAX: usize = 64;

/// The key of an entry.
pub(super) type Key = [u8; 32];

/// An entry of a map.
pub(super) trait Entry: Clone + PartialEq {
    /// The key: no two entries of a map have the same.
    fn key(&self) -> &Key;

    /// The moment up to which the entry is kept.
    fn until(&self) -> Time;

    /// Returns the number of keys that the entry counts for.
    fn keys(&self) -> usize;

    /// Bytes that the entry takes beside its own.
    fn heap_bytes(&self) -> usize;

    /// Appends the bytes that are hashed.
    fn put(&self, bytes: &mut Vec<u8>);
}

/// A map of entries.
#[derive(Clone)]
pub(super) struct Trie<E>(Option<Arc<Node<E>>>);

struct Node<E> {
    hash: OnceLock<[u8; 32]>,
    count: usize,
    keys: usize,
    /// Bytes that it takes in memory, with all below.
    bytes: usize,
    /// The earliest moment up to which an entry is kept.
    first: Time,
    kind: Kind<E>,
}

enum Kind<E> {
    Leaf(Box<[E]>),
    Branch { bit: usize, sides: [Arc<Node<E>>; 2] },
}

/// The difference between two maps.
pub(super) struct Difference<'a, E> {
    /// The entries of the first that the second does not have so: each with its place in the first,
    /// by key, and the second's entry of the same key.
    pub(super) changed: Vec<(usize, &'a E, Option<&'a E>)>,
    /// The entries of the second whose keys the first does not have, by key.
    pub(super) added: Vec<&'a E>,
    /// Entries of the first that were passed.
    passed: usize,
}

impl<E> Default for Trie<E> {
    fn default() -> Trie<E> {
        Trie(None)
    }
}

impl<E: Entry> PartialEq for Trie<E> {
    fn eq(&self, other: &Trie<E>) -> bool {
        let difference = self.difference(other);
        difference.changed.is_empty() && difference.added.is_empty()
    }
}

impl<E: Entry> Eq for Trie<E> {}

impl<E: Entry + fmt::Debug> fmt::Debug for Trie<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.entries()).finish()
    }
}

impl<E: Entry> Trie<E> {
    /// Returns the map of entries that ascend by key.
    pub(super) fn of(entries: &[E]) -> Trie<E> {
        debug_assert!(entries.is_sorted_by(|one, next| one.key() < next.key()), "keys ascend");
        Trie((!entries.is_empty()).then(|| Node::of(entries)))
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |root| root.count)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the number of keys that all entries count for.
    pub(super) fn keys(&self) -> usize {
        self.0.as_ref().map_or(0, |root| root.keys)
    }

    /// Bytes that the map takes in memory beside its own.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |root| root.bytes)
    }

    /// Appends the number of entries, and the root's hash unless there are none.
    pub(super) fn put_root(&self, bytes: &mut Vec<u8>) {
        bytes.put_count(self.len());
        if let Some(root) = &self.0 {
            bytes.put(root.hash());
        }
    }

    /// The entry of a key.
    pub(super) fn get(&self, key: &Key) -> Option<&E> {
        let mut node = self.0.as_ref()?;
        loop {
            match &node.kind {
                Kind::Branch { bit, sides } => node = &sides[side(key, *bit)],
                Kind::Leaf(entries) => return entries.iter().find(|entry| entry.key() == key),
            }
        }
    }

    /// The entry at a place in the order of keys.
    pub(super) fn at(&self, mut index: usize) -> Option<&E> {
        let mut node = self.0.as_ref()?;
        loop {
            match &node.kind {
                Kind::Branch { sides: [left, _], .. } if index < left.count => node = left,
                Kind::Branch { sides: [left, right], .. } => {
                    index -= left.count;
                    node = right;
                }
                Kind::Leaf(entries) => return entries.get(index),
            }
        }
    }

    /// All entries, by key.
    pub(super) fn entries(&self) -> Vec<&E> {
        let mut entries = Vec::with_capacity(self.len());
        self.0.iter().for_each(|root| root.entries_into(&mut entries));
        entries
    }

    /// Calls `take` with each entry, by key.
    pub(super) fn each(&self, take: &mut impl FnMut(&E)) {
        self.0.iter().for_each(|root| root.each(take));
    }

    /// Puts an entry in the place of the one with its key, if there is one.
    pub(super) fn put(&mut self, entry: E) {
        self.0 = Some(match &self.0 {
            None => Node::of(&[entry]),
            Some(root) => root.with(root.differs_at(entry.key()), entry),
        });
        self.check_invariants();
    }

    /// Removes the entry of a key, if there is one.
    pub(super) fn remove(&mut self, key: &Key) {
        if self.get(key).is_some() {
            self.0 = self.0.take().and_then(|root| root.without(key));
            self.check_invariants();
        }
    }

    /// Removes all entries that are kept up to a moment before `time`.
    pub(super) fn forget(&mut self, time: Time) {
        if self.0.as_ref().is_some_and(|root| root.first < time) {
            self.0 = self.0.take().and_then(|root| root.since(time));
            self.check_invariants();
        }
    }

    /// Returns the entry, of those that fit, that is let go first: that of the earliest moment, and
    /// of several the one of the lowest key.
    pub(super) fn first(&self, fits: impl Fn(&E) -> bool) -> Option<&E> {
        let mut first = None;
        self.0.iter().for_each(|root| root.first_of(&fits, &mut first));
        first
    }

    /// Compares with another map, without looking at nodes that both have.
    pub(super) fn difference<'a>(&'a self, new: &'a Trie<E>) -> Difference<'a, E> {
        let mut difference = Difference { changed: Vec::new(), added: Vec::new(), passed: 0 };
        match (&self.0, &new.0) {
            (Some(old), Some(new)) => difference.compare(old, new),
            (Some(old), None) => difference.remove(old),
            (None, Some(new)) => new.entries_into(&mut difference.added),
            (None, None) => {}
        }
        difference
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) && self.len() <= CHECKED_MAX {
            self.0.iter().for_each(|root| root.check_invariants());
        }
    }
}

impl<E: Entry> Node<E> {
    /// Returns the node of some entries, which ascend by key.
    fn of(entries: &[E]) -> Arc<Node<E>> {
        if entries.len() <= LEAF_MAX {
            return Node::leaf(entries.into());
        }
        let (least, greatest) = (entries[0].key(), entries[entries.len() - 1].key());
        let bit = first_difference(least, greatest).expect("keys differ");
        let (left, right) =
            entries.split_at(entries.partition_point(|entry| side(entry.key(), bit) == 0));
        Node::branch(bit, [Node::of(left), Node::of(right)])
    }

    fn leaf(entries: Box<[E]>) -> Arc<Node<E>> {
        let heap: usize = entries.iter().map(E::heap_bytes).sum();
        let first = entries.iter().map(E::until).min().expect("a leaf has entries");
        Arc::new(Node {
            hash: OnceLock::new(),
            count: entries.len(),
            keys: entries.iter().map(E::keys).sum(),
            bytes: Node::<E>::OWN_BYTES + size_of_val(&entries[..]) + heap,
            first,
            kind: Kind::Leaf(entries),
        })
    }

    fn branch(bit: usize, sides: [Arc<Node<E>>; 2]) -> Arc<Node<E>> {
        let [left, right] = &sides;
        Arc::new(Node {
            hash: OnceLock::new(),
            count: left.count + right.count,
            keys: left.keys + right.keys,
            bytes: Node::<E>::OWN_BYTES + left.bytes + right.bytes,
            first: left.first.min(right.first),
            kind: Kind::Branch { bit, sides },
        })
    }

    /// Bytes of a node and of the counts that an [`Arc`] has beside it.
    const OWN_BYTES: usize = size_of::<Node<E>>() + 2 * size_of::<usize>();

    /// Returns the node above two that may be left of others: a leaf, if they have few entries.
    fn above(bit: usize, sides: [Option<Arc<Node<E>>>; 2]) -> Option<Arc<Node<E>>> {
        match sides {
            [None, None] => None,
            [Some(one), None] | [None, Some(one)] => Some(one),
            [Some(left), Some(right)] if left.count + right.count <= LEAF_MAX => {
                let mut entries = Vec::with_capacity(LEAF_MAX);
                [&left, &right].into_iter().for_each(|side| side.entries_into(&mut entries));
                Some(Node::leaf(entries.into_iter().cloned().collect()))
            }
            [Some(left), Some(right)] => Some(Node::branch(bit, [left, right])),
        }
    }

    fn hash(&self) -> &[u8; 32] {
        self.hash.get_or_init(|| match &self.kind {
            Kind::Leaf(entries) => {
                let mut bytes = Vec::with_capacity(LEAF_MAX * 48);
                entries.iter().for_each(|entry| entry.put(&mut bytes));
                LedgerLeaf::of(&bytes).0
            }
            Kind::Branch { sides: [left, right], .. } => {
                let mut bytes = [0; 64];
                bytes[..32].copy_from_slice(left.hash());
                bytes[32..].copy_from_slice(right.hash());
                LedgerNode::of(&bytes).0
            }
        })
    }

    fn entries_into<'a>(&'a self, to: &mut Vec<&'a E>) {
        match &self.kind {
            Kind::Leaf(entries) => to.extend(entries),
            Kind::Branch { sides, .. } => sides.iter().for_each(|side| side.entries_into(to)),
        }
    }

    fn each(&self, take: &mut impl FnMut(&E)) {
        match &self.kind {
            Kind::Leaf(entries) => entries.iter().for_each(take),
            Kind::Branch { sides, .. } => sides.iter().for_each(|side| side.each(take)),
        }
    }

    /// The least key.
    fn least(&self) -> &Key {
        match &self.kind {
            Kind::Leaf(entries) => entries[0].key(),
            Kind::Branch { sides: [left, _], .. } => left.least(),
        }
    }

    /// Returns the first bit in which a key differs from the ones that are most like it, if that is
    /// before the bits in which these differ.
    fn differs_at(&self, key: &Key) -> Option<usize> {
        match &self.kind {
            Kind::Branch { bit, sides } => sides[side(key, *bit)].differs_at(key),
            Kind::Leaf(entries) => first_difference(entries[0].key(), key),
        }
    }

    /// Returns the node with an entry whose key differs first at bit `differs` from the ones here.
    fn with(self: &Arc<Node<E>>, differs: Option<usize>, entry: E) -> Arc<Node<E>> {
        match &self.kind {
            Kind::Branch { bit, .. } if differs.is_some_and(|differs| differs < *bit) => {
                let bit = differs.expect("it was just found");
                let is_right = side(entry.key(), bit) == 1;
                let (here, leaf) = (Arc::clone(self), Node::of(&[entry]));
                Node::branch(bit, if is_right { [here, leaf] } else { [leaf, here] })
            }
            Kind::Branch { bit, sides } => {
                let at = side(entry.key(), *bit);
                let mut sides = sides.clone();
                sides[at] = sides[at].with(differs, entry);
                Node::branch(*bit, sides)
            }
            Kind::Leaf(entries) => {
                let mut entries = entries.to_vec();
                match entries.binary_search_by(|other| other.key().cmp(entry.key())) {
                    Ok(index) => entries[index] = entry,
                    Err(index) => entries.insert(index, entry),
                }
                Node::of(&entries)
            }
        }
    }

    /// Returns the rest without the entry of a key, which is here.
    fn without(self: &Arc<Node<E>>, key: &Key) -> Option<Arc<Node<E>>> {
        match &self.kind {
            Kind::Branch { bit, sides } => {
                let at = side(key, *bit);
                let mut sides = sides.clone().map(Some);
                sides[at] = sides[at].take().and_then(|side| side.without(key));
                Node::above(*bit, sides)
            }
            Kind::Leaf(entries) => Node::filtered(entries, |entry| entry.key() != key),
        }
    }

    /// Returns the rest without the entries that are kept up to a moment before `time`.
    fn since(self: &Arc<Node<E>>, time: Time) -> Option<Arc<Node<E>>> {
        if self.first >= time {
            return Some(Arc::clone(self));
        }
        match &self.kind {
            Kind::Branch { bit, sides } => {
                Node::above(*bit, sides.each_ref().map(|side| side.since(time)))
            }
            Kind::Leaf(entries) => Node::filtered(entries, |entry| entry.until() >= time),
        }
    }

    fn filtered(entries: &[E], keeps: impl Fn(&E) -> bool) -> Option<Arc<Node<E>>> {
        let kept: Box<[E]> = entries.iter().filter(|entry| keeps(entry)).cloned().collect();
        (!kept.is_empty()).then(|| Node::leaf(kept))
    }

    fn first_of<'a>(&'a self, fits: &impl Fn(&E) -> bool, first: &mut Option<&'a E>) {
        match &self.kind {
            Kind::Leaf(entries) => {
                let is_earlier =
                    |one: &E, other: &E| (one.until(), one.key()) < (other.until(), other.key());
                for entry in entries.iter().filter(|entry| fits(entry)) {
                    if first.is_none_or(|first| is_earlier(entry, first)) {
                        *first = Some(entry);
                    }
                }
            }
            Kind::Branch { sides: [left, right], .. } => {
                // The side with the earlier one first: the other then often has none before it.
                let order = if left.first <= right.first { [left, right] } else { [right, left] };
                for side in order {
                    let may_have = |found: &E| {
                        side.first < found.until()
                            || (side.first == found.until() && side.least() < found.key())
                    };
                    if first.is_none_or(may_have) {
                        side.first_of(fits, first);
                    }
                }
            }
        }
    }

    fn check_invariants(&self) {
        match &self.kind {
            Kind::Leaf(entries) => {
                debug_assert!((1..=LEAF_MAX).contains(&entries.len()), "a leaf has some entries");
                debug_assert!(entries.is_sorted_by(|one, next| one.key() < next.key()), "by key");
            }
            Kind::Branch { bit, sides } => {
                debug_assert!(self.count > LEAF_MAX, "a branch has many entries");
                for (at, node) in sides.iter().enumerate() {
                    node.check_invariants();
                    debug_assert_eq!(side(node.least(), *bit), at, "each is on its side");
                    if let Kind::Branch { bit: below, .. } = &node.kind {
                        debug_assert!(bit < below, "bits ascend from the root");
                    }
                }
            }
        }
    }
}

impl<'a, E: Entry> Difference<'a, E> {
    fn compare(&mut self, old: &'a Arc<Node<E>>, new: &'a Arc<Node<E>>) {
        if Arc::ptr_eq(old, new) {
            self.passed += old.count;
            return;
        }
        match (&old.kind, &new.kind) {
            (Kind::Branch { bit, sides: olds }, Kind::Branch { bit: other, sides: news }) => {
                // A key is on the side that its own bit says, of either.
                for at in 0..2 {
                    match bit.cmp(other) {
                        std::cmp::Ordering::Equal => self.compare(&olds[at], &news[at]),
                        std::cmp::Ordering::Less if side(new.least(), *bit) == at => {
                            self.compare(&olds[at], new);
                        }
                        std::cmp::Ordering::Less => self.remove(&olds[at]),
                        std::cmp::Ordering::Greater if side(old.least(), *other) == at => {
                            self.compare(old, &news[at]);
                        }
                        std::cmp::Ordering::Greater => news[at].entries_into(&mut self.added),
                    }
                }
            }
            _ => {
                let (mut olds, mut news) = (Vec::new(), Vec::new());
                old.entries_into(&mut olds);
                new.entries_into(&mut news);
                self.merge(&olds, &news);
            }
        }
    }

    fn remove(&mut self, old: &'a Node<E>) {
        let mut olds = Vec::new();
        old.entries_into(&mut olds);
        self.merge(&olds, &[]);
    }

    /// Compares entries, by key.
    fn merge(&mut self, olds: &[&'a E], news: &[&'a E]) {
        let mut news = news.iter().copied().peekable();
        for old in olds {
            while let Some(new) = news.next_if(|new| new.key() < old.key()) {
                self.added.push(new);
            }
            let new = news.next_if(|new| new.key() == old.key());
            if new != Some(*old) {
                self.changed.push((self.passed, old, new));
            }
            self.passed += 1;
        }
        self.added.extend(news);
    }
}

/// Returns the side of a branch at `bit` on which a key is.
fn side(key: &Key, bit: usize) -> usize {
    usize::from(key[bit / 8] >> (7 - bit % 8) & 1)
}

/// Returns the first bit in which two keys differ.
fn first_difference(one: &Key, other: &Key) -> Option<usize> {
    let at = (0..one.len()).find(|&at| one[at] != other[at])?;
    Some(at * 8 + (one[at] ^ other[at]).leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Item {
        key: Key,
        value: u64,
    }

    impl Entry for Item {
        fn key(&self) -> &Key {
            &self.key
        }

        fn until(&self) -> Time {
            Time::from_millis(self.value)
        }

        fn keys(&self) -> usize {
            2
        }

        fn heap_bytes(&self) -> usize {
            7
        }

        fn put(&self, bytes: &mut Vec<u8>) {
            bytes.put(&self.key).put_u64(self.value);
        }
    }

    /// Keys that are alike in their first bytes, in their last, or wholly different.
    fn key(rng: &mut StdRng) -> Key {
        let mut key = [0; 32];
        for at in [0, 1, 15, 31] {
            key[at] = rng.random_range(0..3);
        }
        if rng.random_bool(0.3) {
            key = rng.random();
        }
        key
    }

    fn root(trie: &Trie<Item>) -> Vec<u8> {
        let mut bytes = Vec::new();
        trie.put_root(&mut bytes);
        bytes
    }

    fn check(trie: &Trie<Item>, model: &BTreeMap<Key, u64>) {
        let items: Vec<Item> =
            model.iter().map(|(key, value)| Item { key: *key, value: *value }).collect();
        assert_eq!(trie.entries(), items.iter().collect::<Vec<_>>());
        for (index, item) in items.iter().enumerate() {
            assert_eq!((trie.at(index), trie.get(&item.key)), (Some(item), Some(item)));
        }
        assert_eq!((trie.at(items.len()), trie.get(&[9; 32])), (None, None));
        assert_eq!((trie.len(), trie.keys()), (items.len(), 2 * items.len()));
        let built = Trie::of(&items);
        assert_eq!(root(trie), root(&built), "the shape follows from the keys");
        assert_eq!(trie.memory_bytes(), built.memory_bytes());
        assert_eq!(*trie, built);
        for (least, odd) in [(0, 0), (4, 1)] {
            let fits = |item: &Item| item.value >= least && item.value % 2 >= odd;
            let first = items.iter().filter(|item| fits(item));
            let first = first.min_by_key(|item| (item.value, item.key));
            assert_eq!(trie.first(fits), first);
        }
    }

    #[test]
    fn a_trie_is_a_map_whatever_was_done_to_it() {
        for seed in 0..30 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
            for _ in 0..120 {
                let key = match model.keys().nth(rng.random_range(0..=model.len())) {
                    Some(known) if rng.random_bool(0.5) => *known,
                    _ => key(&mut rng),
                };
                match rng.random_range(0..20) {
                    0 => {
                        let time = rng.random_range(0..8);
                        trie.forget(Time::from_millis(time));
                        model.retain(|_, value| *value >= time);
                    }
                    1..7 => {
                        trie.remove(&key);
                        model.remove(&key);
                    }
                    _ => {
                        let value = rng.random_range(0..12);
                        trie.put(Item { key, value });
                        model.insert(key, value);
                    }
                }
                check(&trie, &model);
            }
        }
    }

    #[test]
    fn two_tries_differ_in_what_was_changed() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut old = Trie::default();
            for _ in 0..rng.random_range(0..40) {
                old.put(Item { key: key(&mut rng), value: rng.random_range(0..4) });
            }
            let mut new = if rng.random_bool(0.8) { old.clone() } else { Trie::default() };
            for _ in 0..rng.random_range(0..12) {
                let known = old.at(rng.random_range(0..=old.len())).map(|item| item.key);
                let key = known.unwrap_or_else(|| key(&mut rng));
                match rng.random_bool(0.5) {
                    true => new.remove(&key),
                    false => new.put(Item { key, value: rng.random_range(0..4) }),
                }
            }
            let Difference { changed, added, .. } = old.difference(&new);
            let olds = old.entries();
            let is_changed = |item: &&Item| new.get(&item.key) != Some(*item);
            let expected = olds.iter().enumerate().filter(|(_, item)| is_changed(item));
            let expected: Vec<_> =
                expected.map(|(at, item)| (at, *item, new.get(&item.key))).collect();
            assert_eq!(changed, expected, "seed {seed}");
            let mut news = new.entries();
            news.retain(|item| old.get(&item.key).is_none());
            assert_eq!(added, news, "seed {seed}");
            assert_eq!(old == new, changed.is_empty() && added.is_empty());
        }
    }

    #[test]
    fn keys_that_have_much_in_common_are_kept_as_well() {
        let (mut trie, mut model) = (Trie::default(), BTreeMap::new());
        for bit in 0..256 {
            let mut key = [0; 32];
            key[bit / 8] = 0x80 >> (bit % 8);
            trie.put(Item { key, value: bit as u64 });
            model.insert(key, bit as u64);
        }
        check(&trie, &model);
        for bit in (0..256).rev() {
            let mut key = [0; 32];
            key[bit / 8] = 0x80 >> (bit % 8);
            trie.remove(&key);
        }
        assert!(trie.is_empty());
    }
}
