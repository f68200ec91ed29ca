//! Reads of one version: the newest, one by its seq, or one by its time, each with its memory.
//!
//! From a row or a version the log's own notes lead to every other version in a few steps, and from
//! a version to each of its pages, however long the history is. This module does not know how rows
//! and frames are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::{BaseHash, ObjectId};
use object::head::Head;
use object::image::{BaseImage, Image};
use object::ledger::Ledger;
use object::lineage::{Spine, jump_seq, next_seq};
use object::memory::Memory;
use object::secret::Secret;
use object::time::Time;

use crate::error::{Error, Result};
use crate::read::memory::{Whole, table_of};
use crate::read::version::{
    Hop, StoredCommit, before, misplaced, read_commit, read_hop, read_secret,
};
use crate::record::link::Link;
use crate::rows::info::ObjectInfo;
use crate::rows::row::Row;
use crate::store::{FoundRow, Inner, Store};

/// An object as its next step needs it.
#[derive(Clone, Debug)]
pub struct ObjectState {
    /// The head: header, hash, ledger, refusals, spine.
    pub head: Head,
    /// The memory.
    pub image: Image,
    /// The mutable globals.
    pub globals: Vec<u64>,
    /// The hash of the base image that the memory is over.
    pub base: BaseHash,
    /// The object's name.
    pub name: Option<String>,
}

/// A version with its memory and globals.
#[derive(Clone, Debug)]
pub struct Version {
    /// The commit that made it.
    pub commit: StoredCommit,
    /// The memory after it.
    pub image: Image,
    /// The mutable globals after it.
    pub globals: Vec<u64>,
}

impl Version {
    /// Returns the commit with its pages, which encodes as in a capsule.
    pub fn complete(&self) -> Commit<'_> {
        let pages = self.commit.page_indices().map(|index| (index, self.image.page(index)));
        self.commit.with_pages(pages.collect())
    }
}

impl Store {
    /// Returns everything needed to continue an object.
    ///
    /// # Errors
    ///
    /// Those of the file system, and damage.
    pub fn head(&self, id: ObjectId) -> Result<Option<ObjectState>> {
        let Some(found) = self.inner().find_row(id)? else { return Ok(None) };
        self.inner().load(id, &found).map(Some).map_err(|error| error.of(id))
    }

    /// Returns everything that the version with this seq was continued with, if it was, in O(log n)
    /// steps: the result of [`Store::head`] when it was the newest, before any refusal behind it.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn head_at(&self, id: ObjectId, seq: u64) -> Result<Option<ObjectState>> {
        let Some(row) = self.inner().row(id)? else { return Ok(None) };
        self.inner().load_at(id, &row, seq).map_err(|error| error.of(id))
    }

    /// Returns the entry of an object in a list.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn info(&self, id: ObjectId) -> Result<Option<ObjectInfo>> {
        Ok(self.inner().row(id)?.map(|row| ObjectInfo::new(id, &row)))
    }

    /// The version with this seq, in O(log n) steps.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn version(&self, id: ObjectId, seq: u64) -> Result<Option<Version>> {
        let Some(row) = self.inner().row(id)? else { return Ok(None) };
        let found = self.inner().locate(&row, seq);
        let found = found.and_then(|found| self.inner().complete(id, &row, found));
        found.map_err(|error| error.of(id))
    }

    /// The newest version that is not later than `time`, in O(log n) steps.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn as_of(&self, id: ObjectId, time: Time) -> Result<Option<Version>> {
        let Some(row) = self.inner().row(id)? else { return Ok(None) };
        let found = self.inner().locate_as_of(&row, time);
        let found = found.and_then(|found| self.inner().complete(id, &row, found));
        found.map_err(|error| error.of(id))
    }

    /// The ledger after a version.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn ledger(&self, id: ObjectId, version: &Version) -> Result<Arc<Ledger>> {
        let commit = &version.commit;
        let ledgers = self.inner().ledgers(id, commit, commit.notes().ledger);
        ledgers.map(|ledgers| ledgers.newest()).map_err(|error| error.of(id))
    }

    /// The ledger after an object's newest version.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn newest_ledger(&self, id: ObjectId) -> Result<Option<Arc<Ledger>>> {
        let Some(row) = self.inner().row(id)? else { return Ok(None) };
        let stored = read_commit(&self.inner().log, row.head());
        let ledgers = stored.and_then(|stored| self.inner().ledgers(id, &stored, row.ledger));
        ledgers.map(|ledgers| Some(ledgers.newest())).map_err(|error| error.of(id))
    }

    /// Returns at most `limit` objects in the order of their ids, from the first behind `after`.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn list(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectInfo>> {
        // Memory first: an entry that moves to the index meanwhile is then seen twice, not never.
        let unwritten = self.inner().heads.lock().unwritten_after(after, limit);
        let indexed = self.inner().indexed(|index| index.list(after, limit))?;
        let mut all: BTreeMap<_, _> = indexed.into_iter().map(|info| (info.id, info)).collect();
        all.extend(unwritten.iter().map(|(id, row)| (*id, ObjectInfo::new(*id, row))));
        Ok(all.into_values().take(limit).collect())
    }

    /// Returns the object of a name; [`resolve`](Store::resolve) knows the other meanings of a
    /// text.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn find(&self, name: &str) -> Result<Option<ObjectId>> {
        Ok(self.inner().name_row(name)?.and_then(|row| row.holder))
    }

    /// Returns the objects behind `after` whose names begin with `prefix`, in the order of their
    /// ids.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn named(&self, prefix: &str, after: Option<ObjectId>) -> Result<Vec<ObjectId>> {
        // Memory first, as in a list.
        let unwritten = self.inner().heads.lock().unwritten_names(prefix);
        let indexed = self.inner().indexed(|index| index.named(prefix))?;
        let mut names: BTreeMap<_, _> = indexed.into_iter().collect();
        names.extend(unwritten);
        let mut ids: Vec<_> = names.into_values().filter_map(|row| row.holder).collect();
        ids.retain(|id| after.is_none_or(|after| *id > after));
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Returns the objects whose next wake is at or before `time`, in the order of wakes, except
    /// those that were moved away.
    ///
    /// # Errors
    ///
    /// As of [`Store::head`].
    pub fn wakes_until(&self, time: Time) -> Result<Vec<(Time, ObjectId)>> {
        let unwritten = self.inner().heads.lock().unwritten();
        let mut wakes = self.inner().indexed(|index| index.wakes_until(time))?;
        wakes.retain(|(_, id)| !unwritten.contains_key(id));
        let changed = unwritten.iter().filter_map(|(id, row)| Some((row.armed()?, *id)));
        wakes.extend(changed.filter(|(wake, _)| *wake <= time));
        wakes.sort_unstable();
        Ok(wakes)
    }
}

impl Inner {
    /// The ids of at most `limit` objects in their order, from the first behind `after`.
    pub(crate) fn ids(&self, after: Option<ObjectId>, limit: usize) -> Result<Vec<ObjectId>> {
        // Memory first, as in a list.
        let unwritten = self.heads.lock().unwritten_after(after, limit);
        let mut ids = self.indexed(|index| index.ids(after, limit))?;
        ids.extend(unwritten.into_keys());
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(limit);
        Ok(ids)
    }

    fn load(&self, id: ObjectId, found: &FoundRow) -> Result<ObjectState> {
        let row = &*found.row;
        let stored = read_commit(&self.log, row.head())?;
        // The newest version is always kept, but a restored database may end with an older one.
        stored.require(stored.header().seq)?;
        let links = row.spine.links().iter().map(|&(seq, link)| (seq, link.hash));
        let ledgers = self.ledgers(id, &stored, row.ledger)?;
        let head = Head {
            id,
            header: stored.header().clone().into(),
            hash: stored.hash(),
            created: row.created,
            ledger: ledgers.newest(),
            refusals: row.refusal_hash(),
            refusal_count: row.refusal_count,
            spine: Spine::from_links(links.collect()),
            secret: Some(self.secret(row, &stored)?),
        };
        let (pages, named) = match &row.pages {
            Some(known) => (known.clone(), Some(row.base)),
            None => table_of(&self.log, &stored)?,
        };
        self.know_places(id, found, &pages, ledgers);
        let Whole { image, globals, base } = self.memory_at(id, row, &stored, &pages, named)?;
        Ok(ObjectState { head, image, globals, base, name: row.name.clone() })
    }

    fn load_at(&self, id: ObjectId, row: &Row, seq: u64) -> Result<Option<ObjectState>> {
        let Some(stored) = self.locate(row, seq)? else { return Ok(None) };
        let mut links = vec![(seq, stored.hash())];
        let mut link = Link { hash: stored.hash(), position: stored.position() };
        while let Some(&(at, _)) = links.last().filter(|last| last.0 > 0) {
            link = before(read_hop(&self.log, link)?.jump, link.position)?;
            links.push((jump_seq(at), link.hash));
        }
        let header = stored.header().clone();
        let head = Head {
            id,
            hash: stored.hash(),
            created: row.created,
            ledger: self.ledgers(id, &stored, stored.notes().ledger)?.newest(),
            refusals: header.refusals,
            refusal_count: header.refusal_count,
            spine: Spine::from_links(links),
            secret: Some(self.secret(row, &stored)?),
            header: header.into(),
        };
        let Whole { image, globals, base } = self.memory(id, row, &stored)?;
        Ok(Some(ObjectState { head, image, globals, base, name: row.name.clone() }))
    }

    /// Returns the secret of an object from the version behind `stored` on. The log has it with the
    /// genesis.
    fn secret(&self, row: &Row, stored: &StoredCommit) -> Result<Secret> {
        let next = stored.header().seq + 1;
        let secret = match stored.header().seq {
            0 => stored.secret()?.since(next),
            _ => read_secret(&self.log, row.first())?.since(next),
        };
        Ok(secret?)
    }

    fn complete(
        &self,
        id: ObjectId,
        row: &Row,
        found: Option<StoredCommit>,
    ) -> Result<Option<Version>> {
        let Some(commit) = found else { return Ok(None) };
        let Whole { image, globals, .. } = self.memory(id, row, &commit)?;
        Ok(Some(Version { commit, image, globals }))
    }

    pub(crate) fn require_base(&self, hash: BaseHash) -> Result<Arc<BaseImage>> {
        self.base(hash)?.ok_or_else(|| Error::not_found("base image", hash))
    }

    /// The commit with this seq.
    pub(crate) fn locate(&self, row: &Row, seq: u64) -> Result<Option<StoredCommit>> {
        let links = row.spine.links();
        // Links descend: the last one that is not below is the nearest.
        let Some(&(mut at, mut link)) = links.iter().rfind(|link| link.0 >= seq) else {
            return Ok(None);
        };
        while at > seq {
            let hop = read_hop(&self.log, link)?;
            if hop.seq != at {
                return Err(misplaced(link, at, hop.seq));
            }
            let next = next_seq(at, seq);
            let next_link = if next == jump_seq(at) { hop.jump } else { hop.parent };
            link = before(next_link, link.position)?;
            at = next;
        }
        let stored = read_commit(&self.log, link)?;
        match stored.header().seq == seq {
            true => Ok(Some(stored)),
            false => Err(misplaced(link, seq, stored.header().seq)),
        }
    }

    /// The newest commit that is not later than `time`.
    pub(crate) fn locate_as_of(&self, row: &Row, time: Time) -> Result<Option<StoredCommit>> {
        let found = self.hop_as_of(row, time)?;
        found.map(|(link, _)| read_commit(&self.log, link)).transpose()
    }

    /// Returns the place of the newest commit that is not later than `time`, with its links. Times
    /// never decrease along a lineage.
    pub(crate) fn hop_as_of(&self, row: &Row, time: Time) -> Result<Option<(Link, Hop)>> {
        let mut link = row.head();
        let mut hop = read_hop(&self.log, link)?;
        while hop.time > time {
            if hop.seq == 0 {
                return Ok(None);
            }
            let next = before(hop.jump, link.position)?;
            let jump = read_hop(&self.log, next)?;
            let (next, to) = match jump.time > time {
                true => (next, jump),
                false => {
                    let parent = before(hop.parent, link.position)?;
                    (parent, read_hop(&self.log, parent)?)
                }
            };
            if to.seq >= hop.seq {
                return Err(misplaced(next, hop.seq - 1, to.seq));
            }
            (link, hop) = (next, to);
        }
        Ok(Some((link, hop)))
    }
}
