//! The rows of objects: all that an append and a read need to know of the newest version. Rows
//! touched since the index was written are in memory, and a while longer; the rest is in the index.
//!
//! ```text
//!         put            begin_flush            begin_flush, some time later
//!   row ------> recent --------------> older -----------------------------> index alone
//! ```
//!
//! This module does not know how rows are stored, nor frames.
//!
//! Invariant: a row in `recent` is newer than one in `older`, and the first one there is not older
//! than the index's.

use std::collections::hash_map;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use object::evidence::Leaf;
use object::hash::{CodeHash, ObjectId};
use object::time::Time;

use crate::error::position::Position;
use crate::record::BlobHash;
use crate::record::loss::RecordedLoss;
use crate::record::mark::{OutboxMark, OutboxPlace};
use crate::record::message::{Dead, MessageId, Sent};
use crate::record::name::NameRow;
use crate::record::retention::Retention;
use crate::rows::evidence::Leaves;
use crate::rows::ledgers::Ledgers;
use crate::rows::messages::Messages;
use crate::rows::pages::PageTable;
use crate::rows::projector::Tables;
use crate::rows::row::Row;

/// A row that the index may not have yet.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) row: Arc<Row>,
    /// The wake that the index has for its row, which is older.
    pub(crate) indexed_wake: Option<Time>,
}

/// Rows and other entries to be written to the index, known here before it has them.
#[derive(Debug, Default)]
pub(crate) struct Generation {
    pub(crate) rows: HashMap<ObjectId, Entry, foldhash::fast::RandomState>,
    pub(crate) names: HashMap<String, NameRow>,
    pub(crate) blobs: HashMap<BlobHash, Position>,
    pub(crate) retention: Option<Retention>,
    pub(crate) messages: Messages,
    /// The places of outboxes; none for removed ones.
    pub(crate) outboxes: BTreeMap<String, Option<OutboxPlace>>,
    /// All losses on record, when there is a new one.
    pub(crate) losses: Option<Vec<RecordedLoss>>,
    /// Bytes of the tables of large memories, and of ledgers.
    large_bytes: usize,
}

/// The pages of an object whose places are kept in memory with its row.
pub(crate) const PAGES_KEPT_MAX: usize = 256;
/// Bytes of a page's place in memory.
const PAGE_PLACE_BYTES: usize = 16;
/// The bytes of the places of larger objects' pages, and of ledgers, that are kept too.
const LARGE_BYTES_KEPT_MAX: usize = 16 << 20;
/// Generations that are kept: each is one more place to look for a row.
const OLDER_MAX: usize = 4;

/// Rows in memory.
#[derive(Debug)]
pub(crate) struct Heads {
    recent: Generation,
    /// The leaves of the evidence tree that were pushed since they were taken.
    leaves: Leaves,
    /// All that are on their way: those that the index has too.
    messages: BTreeMap<MessageId, Sent>,
    /// All outboxes.
    outboxes: BTreeMap<String, OutboxPlace>,
    /// All losses on record.
    losses: Vec<RecordedLoss>,
    /// The generations that were written to the index, newest first: they are kept for a while
    /// longer.
    older: VecDeque<Arc<Generation>>,
    /// Rows that these may have, besides the first of them.
    older_rows_max: usize,
    /// The first of these is still being written.
    is_flushing: bool,
    /// The count of generations: an entry that is missing in memory under one may be there in the
    /// next.
    epoch: u64,
}

impl Heads {
    /// Returns heads without rows, with these messages and outboxes; about `older_rows_max` written
    /// rows are kept.
    pub(crate) fn new(
        messages: BTreeMap<MessageId, Sent>,
        outboxes: BTreeMap<String, OutboxPlace>,
        older_rows_max: usize,
    ) -> Heads {
        let (recent, leaves, losses, older, is_flushing, epoch) = Default::default();
        Heads {
            recent,
            leaves,
            messages,
            outboxes,
            losses,
            older,
            older_rows_max,
            is_flushing,
            epoch,
        }
    }

    /// The rows, with the losses that the index has, and behind as many leaves.
    pub(crate) fn behind(self, losses: Vec<RecordedLoss>, leaf_count: u64) -> Heads {
        Heads { losses, leaves: Leaves::behind(leaf_count), ..self }
    }

    /// The losses on record, oldest first.
    pub(crate) fn losses(&self) -> &[RecordedLoss] {
        &self.losses
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns whether the index will have everything, once the present flush is done.
    pub(crate) fn is_written(&self) -> bool {
        let Generation { rows, names, blobs, retention, messages, outboxes, losses, .. } =
            &self.recent;
        let no_keys = names.is_empty() && blobs.is_empty() && outboxes.is_empty();
        let no_rules = retention.is_none() && losses.is_none();
        rows.is_empty() && no_keys && messages.is_empty() && no_rules
    }

    /// Rows in the generation that is next to be written, or leaves if they are more.
    pub(crate) fn recent_count(&self) -> usize {
        self.recent.rows.len().max(self.leaves.count())
    }

    /// Adds the next leaf of the evidence tree, whose record is in the frame at `frame`.
    pub(crate) fn push_leaf(&mut self, frame: Position, leaf: Leaf) {
        self.leaves.push(frame, leaf);
    }

    /// The number of leaves of the evidence tree.
    pub(crate) fn leaf_count(&self) -> u64 {
        self.leaves.end()
    }

    /// Takes the leaves that were pushed since they were taken last.
    pub(crate) fn take_leaves(&mut self) -> Leaves {
        let behind = Leaves::behind(self.leaves.end());
        std::mem::replace(&mut self.leaves, behind)
    }

    /// The row of an object, when it is in memory.
    pub(crate) fn row(&self, id: &ObjectId) -> Option<&Arc<Row>> {
        let older = || self.older.iter().find_map(|older| older.rows.get(id));
        self.recent.rows.get(id).or_else(older).map(|entry| &entry.row)
    }

    /// The row of a name, when it is in memory.
    pub(crate) fn name(&self, name: &str) -> Option<NameRow> {
        let older = || self.older.iter().find_map(|older| older.names.get(name));
        self.recent.names.get(name).or_else(older).copied()
    }

    /// The names that begin so and whose rows the index may not have yet.
    pub(crate) fn unwritten_names(&self, prefix: &str) -> BTreeMap<String, NameRow> {
        let names = self.unwritten_generations().flat_map(|generation| &generation.names);
        let names = names.filter(|(name, _)| name.starts_with(prefix));
        names.map(|(name, row)| (name.clone(), *row)).collect()
    }

    pub(crate) fn blob(&self, hash: &BlobHash) -> Option<Position> {
        let older = || self.older.iter().find_map(|older| older.blobs.get(hash));
        self.recent.blobs.get(hash).or_else(older).copied()
    }

    /// The hashes of code that the index may not have yet.
    pub(crate) fn codes(&self) -> Vec<CodeHash> {
        let older = self.older.iter().flat_map(|older| older.blobs.keys());
        let codes = self.recent.blobs.keys().chain(older).filter_map(|hash| match hash {
            BlobHash::Code(code) => Some(*code),
            _ => None,
        });
        codes.collect()
    }

    /// Puts a changed row; `before` is the one that it follows.
    pub(crate) fn put(&mut self, id: ObjectId, mut row: Row, before: Option<&Row>) {
        let replaced = self.recent.rows.get(&id);
        let large_before = replaced.map_or(0, |entry| large_bytes(&entry.row));
        assert!(self.recent.large_bytes >= large_before, "what is let go was counted");
        let large = self.recent.large_bytes - large_before + large_bytes(&row);
        if large <= LARGE_BYTES_KEPT_MAX {
            self.recent.large_bytes = large;
        } else {
            // They are rather read again than kept.
            row.evict();
            self.recent.large_bytes -= large_before;
        }
        let indexed_wake = match replaced {
            Some(entry) => entry.indexed_wake,
            None => before.and_then(Row::armed),
        };
        self.recent.rows.insert(id, Entry { row: Arc::new(row), indexed_wake });
        assert!(self.recent.large_bytes <= LARGE_BYTES_KEPT_MAX, "few pages are kept");
        if cfg!(debug_assertions) {
            self.check_row(&id);
        }
    }

    /// Adds a row from the index.
    pub(crate) fn load(&mut self, id: ObjectId, row: Row) {
        let indexed_wake = row.armed();
        self.recent.rows.insert(id, Entry { row: Arc::new(row), indexed_wake });
    }

    /// The row of an object, when it is in memory, to be changed; it does not know its pages and
    /// ledgers then.
    pub(crate) fn row_mut(&mut self, id: &ObjectId) -> Option<&mut Row> {
        let Generation { rows, large_bytes: large, .. } = &mut self.recent;
        let row = match rows.entry(*id) {
            hash_map::Entry::Occupied(entry) => {
                let row = &mut entry.into_mut().row;
                *large -= large_bytes(row);
                row
            }
            hash_map::Entry::Vacant(place) => {
                let older = self.older.iter().find_map(|older| older.rows.get(id));
                let row = Arc::clone(&older?.row);
                let indexed_wake = row.armed();
                &mut place.insert(Entry { row, indexed_wake }).row
            }
        };
        let row = Arc::make_mut(row);
        row.evict();
        Some(row)
    }

    /// The rule of objects without one of their own, when the index may not have it.
    pub(crate) fn retention(&self) -> Option<Retention> {
        let older = || self.older.iter().find_map(|older| older.retention);
        self.recent.retention.or_else(older)
    }

    pub(crate) fn put_blob(&mut self, hash: BlobHash, position: Position) {
        self.recent.blobs.insert(hash, position);
    }

    /// The messages on their way, by receiver.
    pub(crate) fn messages(&self) -> impl Iterator<Item = (MessageId, Sent)> {
        self.messages.iter().map(|(id, sent)| (*id, *sent))
    }

    /// The messages on their way to an object, in the order in which they were sent.
    pub(crate) fn messages_to(&self, to: ObjectId) -> impl Iterator<Item = (MessageId, Sent)> {
        let first = MessageId { to, position: Position(0), number: 0 };
        let messages = self.messages.range(first..).take_while(move |(id, _)| id.to == to);
        messages.map(|(id, sent)| (*id, *sent))
    }

    /// Returns the receivers of messages on their way, ascending.
    pub(crate) fn receivers(&self) -> Vec<ObjectId> {
        let mut receivers: Vec<_> = self.messages.keys().map(|id| id.to).collect();
        receivers.dedup();
        receivers
    }

    pub(crate) fn message_count(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_on_its_way(&self, id: MessageId) -> bool {
        self.messages.contains_key(&id)
    }

    /// Removes a dead letter, which the index may have.
    pub(crate) fn take_dead(&mut self, id: MessageId) {
        self.recent.messages.take_dead(id);
        self.check_message(id);
    }

    /// A dead letter that the index may not have yet; none, when it is none any more there.
    pub(crate) fn dead(&self, id: MessageId) -> Option<Option<Dead>> {
        let flushing = self.older.front().filter(|_| self.is_flushing);
        let older = || flushing.and_then(|older| older.messages.dead.get(&id));
        self.recent.messages.dead.get(&id).or_else(older).cloned()
    }

    /// Returns the place of the outbox of this name, if there is one.
    pub(crate) fn outbox(&self, name: &str) -> Option<OutboxPlace> {
        self.outboxes.get(name).copied()
    }

    /// The outboxes, by name.
    pub(crate) fn outboxes(&self) -> impl Iterator<Item = (&String, OutboxPlace)> {
        self.outboxes.iter().map(|(name, place)| (name, *place))
    }

    /// Returns the first `limit` dead letters behind `after` that came, or went, and that the index
    /// may not know.
    pub(crate) fn unwritten_dead(
        &self,
        after: Option<MessageId>,
        limit: usize,
    ) -> BTreeMap<MessageId, Option<Dead>> {
        let flushing = self.older.front().filter(|_| self.is_flushing);
        let generations = flushing.into_iter().map(|flushing| &**flushing).chain([&self.recent]);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let dead =
            generations.flat_map(|it| it.messages.dead.range((from, Bound::Unbounded)).take(limit));
        let mut first: BTreeMap<_, _> = dead.map(|(id, dead)| (*id, dead.clone())).collect();
        // Behind these, a generation may have some that are not here.
        while first.len() > limit {
            first.pop_last();
        }
        debug_assert!(first.keys().all(|id| after.is_none_or(|after| *id > after)), "behind it");
        first
    }

    /// Starts writing the recent generation to the index. Returns it, and the old generations that
    /// are dropped; drop those without holding the heads.
    ///
    /// # Panics
    ///
    /// When an earlier generation is still being written.
    pub(crate) fn begin_flush(&mut self) -> (Arc<Generation>, VecDeque<Arc<Generation>>) {
        assert!(!self.is_flushing, "generations are written one at a time");
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
        let mut count = 0;
        let is_kept = |older: &&Arc<Generation>| {
            count += older.rows.len();
            count <= self.older_rows_max
        };
        let kept = self.older.iter().take(OLDER_MAX - 1).take_while(is_kept).count();
        let let_go = self.older.split_off(kept);
        let generation = Arc::new(std::mem::take(&mut self.recent));
        self.older.push_front(Arc::clone(&generation));
        self.is_flushing = true;
        self.epoch += 1;
        assert!(self.older.len() <= OLDER_MAX, "few generations are kept");
        assert!(self.is_written(), "what is being written is not recent");
        assert_eq!(self.recent.large_bytes, 0, "large tables are counted by generation");
        (generation, let_go)
    }

    /// The generation that was being written is in the index.
    pub(crate) fn end_flush(&mut self) {
        assert!(self.is_flushing, "a generation was being written");
        assert!(!self.older.is_empty(), "the generation that was written is kept");
        self.is_flushing = false;
    }

    /// Asserts what always holds of all that is kept.
    pub(crate) fn check_invariants(&self) {
        assert!(self.older.len() <= OLDER_MAX, "few generations are kept");
        assert!(!self.is_flushing || !self.older.is_empty(), "what is being written is kept");
        assert!(self.epoch >= self.older.len() as u64, "each flush begins an epoch");
        let large: usize = self.recent.rows.values().map(|entry| large_bytes(&entry.row)).sum();
        assert_eq!(self.recent.large_bytes, large, "large tables are counted");
        self.recent.rows.keys().for_each(|id| self.check_row(id));
        let messages = &self.recent.messages;
        messages.changed.keys().chain(messages.dead.keys()).for_each(|id| self.check_message(*id));
        for (name, place) in &self.recent.outboxes {
            let kept = self.outboxes.get(name).copied();
            assert_eq!(kept, *place, "outboxes are where their marks say");
        }
        if let Some(losses) = &self.recent.losses {
            assert_eq!(losses.len(), self.losses.len(), "what was lost is on record");
        }
    }

    /// Asserts what always holds of a row that was put last.
    fn check_row(&self, id: &ObjectId) {
        let Some(entry) = self.recent.rows.get(id) else { return };
        entry.row.check_invariants();
        let older = self.older.iter().find_map(|older| older.rows.get(id));
        let is_newer = older.is_none_or(|older| older.row.seq() <= entry.row.seq());
        assert!(is_newer, "a recent row is not older than the others");
    }

    /// Asserts that what is to be written of a message is what is so of it.
    fn check_message(&self, id: MessageId) {
        let messages = &self.recent.messages;
        let on_its_way = self.messages.get(&id);
        if let Some(changed) = messages.changed.get(&id) {
            debug_assert_eq!(changed.as_ref(), on_its_way, "the index is to have what there is");
        }
        let is_dead = messages.dead.get(&id).is_some_and(Option::is_some);
        debug_assert!(!is_dead || on_its_way.is_none(), "a dead letter is not on its way");
    }

    /// All rows in memory that the index may not have yet.
    pub(crate) fn unwritten(&self) -> HashMap<ObjectId, Arc<Row>> {
        self.rows().map(|(id, entry)| (*id, Arc::clone(&entry.row))).collect()
    }

    /// The first `limit` of those rows behind `after`, in the order of their ids.
    pub(crate) fn unwritten_after(
        &self,
        after: Option<ObjectId>,
        limit: usize,
    ) -> BTreeMap<ObjectId, Arc<Row>> {
        let mut first = BTreeMap::new();
        for (id, entry) in self.rows().filter(|(id, _)| after.is_none_or(|after| **id > after)) {
            // A row that is met twice is the newer one the second time.
            first.insert(*id, Arc::clone(&entry.row));
            if first.len() > limit {
                first.pop_last();
            }
        }
        assert!(first.len() <= limit, "no more than are asked for");
        first
    }

    /// The rows that the index may not have yet, older ones first.
    fn rows(&self) -> impl Iterator<Item = (&ObjectId, &Entry)> {
        self.unwritten_generations().flat_map(|generation| &generation.rows)
    }

    /// Iterates over the generations that the index may not have yet, older first.
    fn unwritten_generations(&self) -> impl Iterator<Item = &Generation> {
        let flushing = self.older.front().filter(|_| self.is_flushing);
        flushing.map(|flushing| &**flushing).into_iter().chain([&self.recent])
    }
}

impl Tables for Heads {
    fn put_name(&mut self, name: &str, row: NameRow) {
        self.recent.names.insert(name.to_string(), row);
    }

    fn put_retention(&mut self, rule: Retention) {
        self.recent.retention = Some(rule);
    }

    fn send(&mut self, id: MessageId, sent: Sent) {
        self.messages.insert(id, sent);
        self.recent.messages.send(id, sent);
    }

    fn take(&mut self, id: MessageId) -> Option<Sent> {
        let sent = self.messages.remove(&id)?;
        self.recent.messages.take(id);
        self.check_message(id);
        Some(sent)
    }

    fn put_dead(&mut self, id: MessageId, dead: Dead) {
        self.recent.messages.put_dead(id, dead);
        self.check_message(id);
    }

    fn mark(&mut self, mark: OutboxMark) {
        let OutboxMark { name, place } = mark;
        match place {
            Some(place) => self.outboxes.insert(name.clone(), place),
            None => self.outboxes.remove(&name),
        };
        debug_assert_eq!(self.outboxes.get(&name).copied(), place, "a mark moves its outbox");
        self.recent.outboxes.insert(name, place);
    }

    fn put_loss(&mut self, loss: RecordedLoss) {
        self.losses.push(loss);
        self.recent.losses = Some(self.losses.clone());
    }
}

/// Bytes of a row's table, when its pages are many, and of its ledgers.
fn large_bytes(row: &Row) -> usize {
    let count = row.pages.as_ref().map_or(0, PageTable::count);
    let pages = if count > PAGES_KEPT_MAX { count * PAGE_PLACE_BYTES } else { 0 };
    pages + row.ledgers.as_ref().map_or(0, Ledgers::memory_bytes)
}
