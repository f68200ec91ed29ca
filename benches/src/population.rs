//! Many small objects at the level of the store: each version has one changed page and a small
//! unsigned input.
//!
//! No guest runs and nothing is decided: the appended versions are made before the clock runs.
//! Peers get the same versions through [`Population::upcoming`].
//!
//! Invariant: every object of `objects` has its next version in `next`, or none has.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use continuant::ObjectId;
use continuant::object::head::Head;
use continuant::object::header::Header;
use continuant::object::image::Image;
use continuant::object::ledger::Ledger;
use continuant::object::memory::Page;
use continuant::storage::{self, Append, Change, NewCommit, Store};

use crate::pages::{Edit, Pages};
use crate::payloads::{Mold, Payloads, secret};

/// The objects, and the next versions of some of them.
pub struct Population {
    heads: Vec<Head>,
    /// The objects' memories.
    images: Vec<Image>,
    /// The objects that have a version in `next`.
    objects: Range<usize>,
    next: Vec<(Header, Arc<Ledger>)>,
    pages: Pages,
    payloads: Payloads,
}

/// A version to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Upcoming<'a> {
    /// The object.
    pub object: ObjectId,
    /// The version's header.
    pub header: &'a Header,
    /// Input, effects and admission as bytes.
    pub payloads: &'a [Vec<u8>; 3],
    /// The page that changes.
    pub page: &'a Page,
}

impl Population {
    /// Makes `count` objects in the store.
    pub fn create(store: &Store, count: usize) -> Result<Population> {
        let mold = Mold::new()?;
        let create = |number| Ok(Head::new(mold.create(store, number, None)?, secret(number)));
        let heads = (0..count as u64).map(create).collect::<Result<_>>()?;
        store.sync()?;
        let images = vec![mold.image.clone(); count];
        let pages = Pages::new(count, &mold.image)?;
        Ok(Population {
            heads,
            images,
            objects: 0..0,
            next: Vec::new(),
            pages,
            payloads: Payloads::call(0),
        })
    }

    /// Returns the number of objects.
    #[expect(clippy::len_without_is_empty, reason = "a population is never empty")]
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// The id and the newest seq of an object.
    pub fn newest(&self, object: usize) -> (ObjectId, u64) {
        (self.heads[object].id, self.heads[object].header.seq)
    }

    /// Makes the next version of some objects, to be appended in the given round.
    ///
    /// # Errors
    ///
    /// Only those of memories.
    pub fn prepare(&mut self, round: u64, objects: Range<usize>, edit: Edit) -> Result<()> {
        self.payloads = Payloads::call(round + 1);
        self.pages.edit(round + 1, edit)?;
        let next = objects.clone().map(|object| {
            let outcome = self.payloads.outcome(self.pages.of(object).root, 1);
            let Payloads { input, admission, .. } = &self.payloads;
            self.heads[object].successor(input, &outcome, admission)
        });
        (self.next, self.objects) = (next.collect(), objects);
        Ok(())
    }

    /// Iterates over the prepared versions.
    pub fn upcoming(&self) -> impl Iterator<Item = Upcoming<'_>> {
        self.objects.clone().zip(&self.next).map(|(object, (header, _))| Upcoming {
            object: self.heads[object].id,
            header,
            payloads: &self.payloads.encoded,
            page: &self.pages.of(object).page,
        })
    }

    /// Appends the prepared versions from `threads` threads, each of which waits whenever its share
    /// of `in_flight` commits is not acknowledged, and returns the time until all were.
    pub fn append(&mut self, store: &Store, threads: usize, in_flight: usize) -> Result<Duration> {
        let share = self.objects.len().div_ceil(threads).max(1);
        let batch = (in_flight / threads).max(1);
        let start = Instant::now();
        std::thread::scope(|scope| {
            let firsts = self.objects.clone().step_by(share);
            let shares = firsts.map(|first| first..(first + share).min(self.objects.end));
            let shares = shares.map(|share| {
                let population = &*self;
                scope.spawn(move || population.append_share(store, share, batch))
            });
            let threads: Vec<_> = shares.collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })?;
        let took = start.elapsed();
        self.advance();
        Ok(took)
    }

    fn append_share(&self, store: &Store, objects: Range<usize>, batch: usize) -> Result<()> {
        for first in objects.clone().step_by(batch) {
            let objects = first..objects.end.min(first.saturating_add(batch));
            let left = Arc::new(AtomicU64::new(objects.len() as u64));
            let (sender, acknowledged) = channel();
            for object in objects {
                let (left, sender) = (Arc::clone(&left), sender.clone());
                let done = move |durable: storage::Result<()>| {
                    let last = left.fetch_sub(1, Ordering::AcqRel) == 1;
                    if durable.is_err() || last {
                        // The waiting thread has stopped at the first failure.
                        sender.send(durable.is_err()).unwrap_or_default();
                    }
                };
                self.append_one(object, |append| store.append(append, done))?;
            }
            let failed = acknowledged.recv().context("the store acknowledges every append")?;
            ensure!(!failed, "an append became not durable");
        }
        Ok(())
    }

    /// Has `append` make the next version of an object.
    fn append_one<T>(
        &self,
        object: usize,
        append: impl FnOnce(&Append<'_>) -> storage::Result<T>,
    ) -> storage::Result<T> {
        let header = &self.next[object - self.objects.start].0;
        let commit = self.payloads.commit(header.clone(), Some(&self.pages.of(object).page));
        let before = Some(&self.images[object]);
        let (hash, base, secret, ledger) = (header.hash(), None, None, None);
        let new = NewCommit { commit, hash, base, secret, ledger, before };
        let change = Change::Commit(new);
        append(&Append { changes: vec![change], ..Append::default() })
    }

    /// Appends what was prepared, each when the one before is acknowledged; how long each took.
    pub fn append_singly(&mut self, store: &Store) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(self.next.len());
        for object in self.objects.clone() {
            let start = Instant::now();
            self.append_one(object, |append| store.commit(append))?;
            took.push(start.elapsed());
        }
        self.advance();
        Ok(took)
    }

    fn advance(&mut self) {
        for (object, (header, ledger)) in self.objects.clone().zip(self.next.drain(..)) {
            self.heads[object].advance(header, ledger);
            self.images[object] = self.pages.of(object).image.clone();
        }
        self.objects = 0..0;
    }
}
