//! The ledgers of which an object's records have parts, so that the next record has only what
//! changed.
//!
//! A record has a ledger as its changes since that of an earlier version, its *base*, or whole: as
//! its changes since the empty one. The bases of a ledger, from the whole one on, are a stack. A
//! new part is over the last base whose own part is at least twice as large; those behind it are
//! needed no more, since the new part has their changes:
//!
//! ```text
//!   bytes of parts      bytes of the changes since each     next parts
//!   900, 50             100, 20                             900, 50, 20
//!   900, 50, 20         110, 40, 20                         900, 110
//!   900, 500            950, 480                            1000, whole
//! ```
//!
//! So a change is written again once for each doubling of those behind it, whatever else the ledger
//! remembers, and a ledger is read from few records. One that takes few bytes is always written
//! whole. This module does not read the log.
//!
//! Invariant: the bases of a version are the first ones of those of each version before it, and its
//! own: what later versions need of earlier ones, the version between needs as well.

use std::sync::Arc;

use object::ledger::Ledger;

use crate::error::Result;
use crate::error::position::Position;
use crate::record::version::LedgerPart;

/// The most records that a ledger is read from.
pub(crate) const PARTS_MAX: usize = 12;
/// Bytes of a ledger that is always written whole: that of an object with a few signers.
const SMALL_BYTES_MAX: usize = 192;
/// Bytes in memory of the ledgers that are remembered after they were read.
const REMEMBERED_BYTES_MAX: usize = 32 << 10;
/// Bytes that a change of an entry keeps in memory of the ledger before, for each byte in a record.
const MEMORY_PER_BYTE: usize = 24;

/// The ledgers from whose parts an object's newest one is read, the whole one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ledgers(Vec<Base>);

/// A ledger of which a record has a part.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Base {
    /// The version.
    seq: u64,
    position: Position,
    /// Bytes of the part.
    bytes: usize,
    ledger: Arc<Ledger>,
}

/// Returns whether a ledger is so small that each record has it whole.
pub(crate) fn is_small(ledger: &Ledger) -> bool {
    ledger.encoded_bytes_about() <= SMALL_BYTES_MAX
}

impl Ledgers {
    /// The newest ledger.
    pub(crate) fn newest(&self) -> Arc<Ledger> {
        self.0.last().map(|base| Arc::clone(&base.ledger)).unwrap_or_default()
    }

    /// Returns these as a row that was read remembers them, if they are few.
    pub(crate) fn remembered(self) -> Option<Ledgers> {
        match is_small(&self.newest()) {
            true => Some(Ledgers::default()),
            false => Some(self).filter(|ledgers| ledgers.memory_bytes() <= REMEMBERED_BYTES_MAX),
        }
    }

    /// Bytes that they take in memory, about: ledgers share what did not change between them.
    pub(crate) fn memory_bytes(&self) -> usize {
        let changed = self.0.windows(2).map(|pair| {
            let (ledger, changes) = (pair[0].ledger.memory_bytes(), pair[1].bytes);
            ledger.min(changes * MEMORY_PER_BYTE)
        });
        size_of_val(&self.0[..]) + self.newest().memory_bytes() + changed.sum::<usize>()
    }

    /// Takes in the ledger of version `seq`, whose record stands at [`Position::HERE`]; returns the
    /// part that the record has of it. A small one is not kept: no part is over it.
    pub(crate) fn write(&mut self, seq: u64, ledger: &Arc<Ledger>) -> LedgerPart<Vec<u8>> {
        if is_small(ledger) {
            self.0.clear();
            return LedgerPart { over: None, changes: ledger.encode() };
        }
        let part = loop {
            let Some(base) = self.0.last() else {
                break LedgerPart { over: None, changes: ledger.encode() };
            };
            let changes = ledger.changes(&base.ledger);
            let is_over = match self.0.len() {
                1 => changes.len() < base.bytes,
                count => changes.len() * 2 <= base.bytes && count < PARTS_MAX,
            };
            if is_over {
                break LedgerPart { over: Some((base.seq, base.position)), changes };
            }
            self.0.pop();
        };
        self.push(seq, &part, Arc::clone(ledger));
        debug_assert!(self.0.len() <= PARTS_MAX, "a ledger is read from few records");
        part
    }

    /// Takes in a part, of version `seq`, that was read in the frame at `frame`; returns its
    /// ledger. None when its base is not known here.
    pub(crate) fn read(
        &mut self,
        seq: u64,
        part: &LedgerPart<&[u8]>,
        frame: Position,
    ) -> Option<Result<Arc<Ledger>>> {
        let is_base = |base: &Base| Some((base.seq, base.position)) == part.over;
        let kept = match part.over {
            None => 0,
            Some(_) => self.0.iter().position(is_base)? + 1,
        };
        self.0.truncate(kept);
        let ledger = match self.newest().changed_by(part.changes) {
            Ok(ledger) => Arc::new(ledger),
            Err(error) => return Some(Err(error.into())),
        };
        self.push(seq, part, Arc::clone(&ledger));
        self.settle(frame);
        Some(Ok(ledger))
    }

    fn push<B: AsRef<[u8]>>(&mut self, seq: u64, part: &LedgerPart<B>, ledger: Arc<Ledger>) {
        let (position, bytes) = (Position::HERE, part.changes.as_ref().len());
        assert!(self.0.last().is_none_or(|base| base.seq < seq), "a part is of a later version");
        self.0.push(Base { seq, position, bytes, ledger });
    }

    /// Puts the frame's position where [`Position::HERE`] stands.
    pub(crate) fn settle(&mut self, frame: Position) {
        self.0.iter_mut().for_each(|base| base.position = base.position.within(frame));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use object::credential::PublicKey;
    use object::ledger::{Tracked, Used};
    use object::time::Time;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Appends ledgers that keys sign, as `next` draws how many; returns the most records that one
    /// is read from, and the bytes of their parts on average in the later half.
    fn written(
        rng: &mut StdRng,
        count: usize,
        mut next: impl FnMut(&mut StdRng) -> Vec<PublicKey>,
    ) -> (usize, usize) {
        let (mut ledger, mut ledgers) = (Ledger::default(), Ledgers::default());
        let (mut most, mut bytes) = (0, 0);
        for seq in 1..=count as u64 {
            let time = Time::from_millis((1 << 40) + 100 * seq);
            let expires = time.saturating_add(Duration::from_secs(60));
            let used = Used { nonce: time.as_millis(), expires };
            ledger.nonces.record(&next(rng), used, time, Tracked::NONE);
            let now = Arc::new(ledger.clone());
            let part = ledgers.write(seq, &now);
            let position = Position::new(1, seq as u32);
            ledgers.settle(position);
            assert!(is_small(&now) || ledgers.newest() == now);
            most = most.max(ledgers.0.len());
            bytes += if seq as usize > count / 2 { part.changes.len() } else { 0 };
            if rng.random_bool(0.01) {
                // They are the same when they are read.
                let mut read = Ledgers::default();
                for base in &ledgers.0 {
                    let under = read.0.last().map(|under: &Base| (under.seq, under.position));
                    let changes = base.ledger.changes(&read.newest());
                    assert_eq!(changes.len(), base.bytes);
                    let part = LedgerPart { over: under, changes: &changes[..] };
                    let found = read.read(base.seq, &part, base.position);
                    assert_eq!(found.expect("its base is known").expect("it decodes"), base.ledger);
                }
                assert_eq!(read, ledgers);
            }
        }
        (most, bytes / (count / 2))
    }

    fn key(number: u32) -> PublicKey {
        PublicKey(*blake3::hash(&number.to_le_bytes()).as_bytes())
    }

    #[test]
    fn a_ledger_is_read_from_few_records_and_a_change_costs_little() {
        for (keys, count, bytes_max) in
            [(1, 50, 60), (3, 200, 150), (30, 1000, 100), (1000, 2400, 130)]
        {
            let mut rng = StdRng::seed_from_u64(7);
            let mut turn = 0;
            let in_turn = |_: &mut StdRng| {
                turn += 1;
                vec![key(turn % keys)]
            };
            let drawn = |rng: &mut StdRng| vec![key(rng.random_range(0..keys))];
            for (most, bytes) in
                [written(&mut rng, count, in_turn), written(&mut rng, count, drawn)]
            {
                println!("{keys} keys: {most} records, {bytes} bytes");
                assert!(most <= PARTS_MAX, "{keys} keys: {most} records");
                assert!(bytes <= bytes_max, "{keys} keys: {bytes} bytes a version");
            }
        }
    }

    #[test]
    fn whatever_is_drawn_a_ledger_is_read_from_few_records() {
        for seed in 0..4 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (most, _) = written(&mut rng, 400, |rng| {
                let count = 1 << rng.random_range(0..7);
                let mut keys: Vec<PublicKey> =
                    (0..count).map(|_| key(rng.random_range(0..2000))).collect();
                keys.sort();
                keys.dedup();
                keys
            });
            assert!(most <= PARTS_MAX, "seed {seed}: {most} records");
        }
    }
}
