//! The work of a peer for a group of commits, and the rows that it stores.
//!
//! The rows are made before the clock runs, and in the order of their keys, which is the order that
//! trees like best.
//!
//! Invariant: a peer's commit is durable when [`Peer::commit`] returns: written and synced, so that
//! it is there after the machine loses its power.

use anyhow::Result;
use continuant_benches::payloads::PAGE_INDEX;
use continuant_benches::population::Upcoming;

/// Bytes of cache that each peer gets. Continuant's own options stay as they are by default.
pub(crate) const CACHE_BYTES: usize = 256 << 20;

/// An embedded store.
pub(crate) trait Peer {
    /// Stores all rows in one durable transaction.
    fn commit(&mut self, group: &[Rows]) -> Result<()>;

    /// Waits until the store's background work is done.
    fn rest(&mut self) -> Result<()> {
        Ok(())
    }
}

/// The rows that one commit writes: a version, its page, and the object's head.
pub(crate) struct Rows {
    /// The object, then the seq, big endian.
    pub(crate) version_key: [u8; 40],
    /// Header, input, effects, admission.
    pub(crate) version: Vec<u8>,
    /// The object, then the page's index, big endian.
    pub(crate) page_key: [u8; 36],
    pub(crate) page: Vec<u8>,
    /// The object.
    pub(crate) head_key: [u8; 32],
    /// The newest version's hash, seq and time.
    pub(crate) head: [u8; 48],
}

impl Rows {
    fn new(upcoming: Upcoming<'_>) -> Rows {
        let (id, header) = (upcoming.object.0, upcoming.header);
        let mut version_key = [0; 40];
        version_key[..32].copy_from_slice(&id);
        version_key[32..].copy_from_slice(&header.seq.to_be_bytes());
        let mut page_key = [0; 36];
        page_key[..32].copy_from_slice(&id);
        page_key[32..].copy_from_slice(&PAGE_INDEX.to_be_bytes());
        let mut version = header.encode().to_vec();
        for payload in upcoming.payloads {
            version.extend_from_slice(&(payload.len() as u32).to_le_bytes());
            version.extend_from_slice(payload);
        }
        let mut head = [0; 48];
        head[..32].copy_from_slice(&header.hash().0);
        head[32..40].copy_from_slice(&header.seq.to_le_bytes());
        head[40..].copy_from_slice(&header.time.as_millis().to_le_bytes());
        let page = upcoming.page.to_vec();
        Rows { version_key, version, page_key, page, head_key: id, head }
    }

    /// The rows of a group of commits.
    pub(crate) fn of<'a>(group: impl Iterator<Item = Upcoming<'a>>) -> Vec<Rows> {
        let mut rows: Vec<Rows> = group.map(Rows::new).collect();
        rows.sort_unstable_by_key(|rows| rows.head_key);
        rows
    }
}
