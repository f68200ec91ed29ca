//! One object at the level of the store, whose versions each change one field: for long histories.
//!
//! The version with seq n has the number n in its page's first eight bytes, and the time n times
//! [`TIME_STEP`], so that a reader knows what it must find.
//!
//! Invariant: the head is that of the last prepared version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use continuant::ObjectId;
use continuant::object::head::Head;
use continuant::object::header::Header;
use continuant::object::image::Image;
use continuant::object::memory::Page;
use continuant::storage::{Append, Change, NewCommit, Store};

use crate::pages::{Slot, field, random};
use crate::payloads::{Mold, Payloads, secret};

/// Milliseconds between two versions.
pub(crate) const TIME_STEP: u64 = 10;
/// Versions that are prepared at a time.
const CHUNK: u64 = 10_000;

/// The object's newest version.
pub(crate) struct Lineage {
    head: Head,
    page: Page,
    image: Image,
}

/// The versions that come next.
pub(crate) struct Prepared(Vec<Version>);

struct Version {
    header: Header,
    payloads: Payloads,
    before: Image,
    page: Arc<Page>,
}

impl Lineage {
    /// Makes the object that has this number.
    pub(crate) fn create(store: &Store, mold: &Mold, number: u64) -> Result<Lineage> {
        let head = Head::new(mold.create(store, number, None)?, secret(number));
        Ok(Lineage { head, page: random(number), image: mold.image.clone() })
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.head.id
    }

    pub(crate) fn seq(&self) -> u64 {
        self.head.header.seq
    }

    /// Makes the next `count` versions.
    pub(crate) fn prepare(&mut self, count: u64) -> Result<Prepared> {
        Ok(Prepared((0..count).map(|_| self.next()).collect::<Result<_>>()?))
    }

    fn next(&mut self) -> Result<Version> {
        let seq = self.seq() + 1;
        let payloads = Payloads::call(seq * TIME_STEP);
        self.page = field(&self.page, seq);
        let Slot { page, root, image } = Slot::new(&self.image, self.page)?;
        let outcome = payloads.outcome(root, 1);
        let (header, ledger) = self.head.successor(&payloads.input, &outcome, &payloads.admission);
        self.head.advance(header.clone(), ledger);
        let before = std::mem::replace(&mut self.image, image);
        Ok(Version { header, payloads, before, page })
    }

    /// Appends versions until the newest has this seq, without waiting for the disk.
    pub(crate) fn grow(&mut self, store: &Store, seq: u64) -> Result<()> {
        while self.seq() < seq {
            self.prepare(CHUNK.min(seq - self.seq()))?.append(store)?;
        }
        Ok(())
    }
}

impl Prepared {
    fn append(&self, store: &Store) -> Result<()> {
        for Version { header, payloads, before, page } in &self.0 {
            let commit = payloads.commit(header.clone(), Some(page));
            let before = Some(before);
            let (hash, base, secret, ledger) = (header.hash(), None, None, None);
            let new = NewCommit { commit, hash, base, secret, ledger, before };
            let change = Change::Commit(new);
            store.append(&Append { changes: vec![change], ..Append::default() }, |_| {})?;
        }
        Ok(())
    }
}

/// Appends versions one behind the other; how long it took until all were durable.
pub(crate) fn append(store: &Store, versions: &[Prepared]) -> Result<Duration> {
    let start = Instant::now();
    versions.iter().try_for_each(|versions| versions.append(store))?;
    store.sync()?;
    Ok(start.elapsed())
}
