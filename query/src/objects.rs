//! Queries over the objects of a database: all of them, or those of a code, with a common name
//! prefix, or made or changed in a range of time.
//!
//! Objects come in the order of their ids, read a page at a time, so a list of millions takes no
//! memory, and a list can continue where another ended. Each object is as of the time when its page
//! is read. This module does not know what objects are for.
//!
//! Names have an index. Code and times have none: a query by these reads every row up to the last
//! object that it returns.

use object::hash::{CodeHash, ObjectId};
use object::time::Time;
use storage::{ObjectInfo, Result, Store};

/// The number of objects that are read at a time.
const PAGE: usize = 1024;
const ANY_TIME: (Time, Time) = (Time::MIN, Time::MAX);

/// The list of a database's objects: narrow it down if need be, then iterate. An error ends the
/// list.
///
/// A list by [`named`](Objects::named) costs a look into the index for each object with such a
/// name, and 32 bytes of memory; any other one, a scan over the rows of all objects behind
/// [`after`](Objects::after), up to the [`limit`](Objects::limit).
#[derive(Debug)]
#[must_use = "nothing is read before it is iterated over"]
pub struct Objects<'a> {
    store: &'a Store,
    name: String,
    code: Option<CodeHash>,
    created: (Time, Time),
    changed: (Time, Time),
    /// True if deleted objects are left out.
    living: bool,
    after: Option<ObjectId>,
    limit: usize,
    /// The objects that were read and not returned yet.
    page: std::vec::IntoIter<ObjectInfo>,
    /// The ids with the name prefix that are still to be read, once they were looked up.
    named: Option<std::vec::IntoIter<ObjectId>>,
    ended: bool,
}

impl<'a> Objects<'a> {
    /// Lists all objects, in the order of their ids.
    pub fn new(store: &'a Store) -> Objects<'a> {
        let (name, code, living, after, page, named, ended) = Default::default();
        let (created, changed, limit) = (ANY_TIME, ANY_TIME, usize::MAX);
        Objects { store, name, code, created, changed, living, after, limit, page, named, ended }
    }

    /// Selects objects that have a name with this prefix.
    pub fn named(mut self, prefix: impl Into<String>) -> Objects<'a> {
        self.name = prefix.into();
        self
    }

    /// Selects objects that run this code; none selects any.
    pub fn code(mut self, code: impl Into<Option<CodeHash>>) -> Objects<'a> {
        self.code = code.into();
        self
    }

    /// Selects objects created at `time` or later.
    pub fn created_since(mut self, time: Time) -> Objects<'a> {
        self.created.0 = time;
        self
    }

    /// Selects objects created at `time` or before.
    pub fn created_until(mut self, time: Time) -> Objects<'a> {
        self.created.1 = time;
        self
    }

    /// Selects objects whose newest version is of `time` or later.
    pub fn changed_since(mut self, time: Time) -> Objects<'a> {
        self.changed.0 = time;
        self
    }

    /// Selects objects whose newest version is of `time` or before.
    pub fn changed_until(mut self, time: Time) -> Objects<'a> {
        self.changed.1 = time;
        self
    }

    /// Selects objects that were not deleted.
    pub fn living(mut self) -> Objects<'a> {
        self.living = true;
        self
    }

    /// Selects objects whose ids come after `last`, whether or not that object exists: pass the
    /// last id of a list to continue behind it.
    pub fn after(mut self, last: impl Into<Option<ObjectId>>) -> Objects<'a> {
        self.after = last.into();
        self
    }

    /// Selects at most `count` objects.
    pub fn limit(mut self, count: usize) -> Objects<'a> {
        self.limit = count;
        self
    }

    /// Returns whether some rows that are read may not be selected.
    fn is_narrowed(&self) -> bool {
        self.code.is_some() || self.living || [self.created, self.changed] != [ANY_TIME; 2]
    }

    fn fits(&self, info: &ObjectInfo) -> bool {
        let within = |(since, until): (Time, Time), time| (since..=until).contains(&time);
        let is_named = || info.name.as_ref().is_some_and(|name| name.starts_with(&self.name));
        self.code.is_none_or(|code| code == info.code)
            && within(self.created, info.created)
            && within(self.changed, info.time)
            && (!self.living || info.deleted.is_none())
            && (self.name.is_empty() || is_named())
    }

    /// Reads the next objects; none when there are no more.
    fn read(&mut self) -> Result<Vec<ObjectInfo>> {
        if self.name.is_empty() {
            // A query for a few of all objects need not read a whole page.
            let rows = if self.is_narrowed() { PAGE } else { self.limit.min(PAGE) };
            let page = self.store.list(self.after, rows)?;
            debug_assert!(
                page.iter().map(|info| Some(info.id)).is_sorted_by(|one, next| one < next)
                    && page.first().is_none_or(|first| self.after < Some(first.id)),
                "a list continues in the order of ids"
            );
            self.after = page.last().map_or(self.after, |info| Some(info.id));
            return Ok(page);
        }
        let ids = match &mut self.named {
            Some(ids) => ids,
            none => none.insert(self.store.named(&self.name, self.after)?.into_iter()),
        };
        let infos = ids.take(PAGE).filter_map(|id| self.store.info(id).transpose());
        infos.collect()
    }
}

impl Iterator for Objects<'_> {
    type Item = Result<ObjectInfo>;

    fn next(&mut self) -> Option<Result<ObjectInfo>> {
        while self.limit > 0 && !self.ended {
            if let Some(info) = self.page.next() {
                if self.fits(&info) {
                    self.limit -= 1;
                    return Some(Ok(info));
                }
                continue;
            }
            match self.read() {
                Ok(page) => {
                    self.ended = page.is_empty();
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
