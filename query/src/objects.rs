//! The objects of a database: all of them, or those of a code, of names that begin alike, or made
//! or changed in a range of time.
//!
//! They come in the order of their ids, read a page at a time, so a list of millions takes no
//! memory, and goes on where another ended. Each is as it is when its page is read. It does not
//! know what objects are for.
//!
//! Names have an index. Code and times have none: for these every row is read that comes before
//! the last object that is asked for.

use object::hash::{CodeHash, ObjectId};
use storage::{ObjectInfo, Result, Store};

/// Objects that are read at a time.
const PAGE: usize = 1024;
const ANY_TIME: (u64, u64) = (0, u64::MAX);

/// A query over the objects of a database; iterate over it to run it.
///
/// What is narrowed down by [`named`](Objects::named) costs a look at the index for each object
/// with such a name, and 32 bytes of memory; anything else, a scan over the rows of all objects
/// behind [`after`](Objects::after), up to the [`limit`](Objects::limit).
#[derive(Debug)]
pub struct Objects<'a> {
    store: &'a Store,
    name: String,
    code: Option<CodeHash>,
    created: (u64, u64),
    changed: (u64, u64),
    after: Option<ObjectId>,
    limit: usize,
    /// What was read and not given yet.
    page: std::vec::IntoIter<ObjectInfo>,
    /// The ids of a name that are still to be read, once they were looked for.
    named: Option<std::vec::IntoIter<ObjectId>>,
    ended: bool,
}

impl<'a> Objects<'a> {
    /// All objects, in the order of their ids.
    pub fn new(store: &'a Store) -> Objects<'a> {
        let (name, code, after, page, named, ended) = Default::default();
        let (created, changed, limit) = (ANY_TIME, ANY_TIME, usize::MAX);
        Objects { store, name, code, created, changed, after, limit, page, named, ended }
    }

    /// Those that have a name which begins so.
    pub fn named(mut self, prefix: impl Into<String>) -> Objects<'a> {
        self.name = prefix.into();
        self
    }

    /// Those that run this code; none for any.
    pub fn code(mut self, code: impl Into<Option<CodeHash>>) -> Objects<'a> {
        self.code = code.into();
        self
    }

    /// Those created at `time` or later, in milliseconds since 1970-01-01 UTC.
    pub fn created_since(mut self, time: u64) -> Objects<'a> {
        self.created.0 = time;
        self
    }

    /// Those created at `time` or before, in milliseconds since 1970-01-01 UTC.
    pub fn created_until(mut self, time: u64) -> Objects<'a> {
        self.created.1 = time;
        self
    }

    /// Those whose newest version is of `time` or later, in milliseconds since 1970-01-01 UTC.
    pub fn changed_since(mut self, time: u64) -> Objects<'a> {
        self.changed.0 = time;
        self
    }

    /// Those whose newest version is of `time` or before, in milliseconds since 1970-01-01 UTC.
    pub fn changed_until(mut self, time: u64) -> Objects<'a> {
        self.changed.1 = time;
        self
    }

    /// Those whose ids come after `last`, whether or not there is such an object: the last one of
    /// a list, to go on behind it.
    pub fn after(mut self, last: impl Into<Option<ObjectId>>) -> Objects<'a> {
        self.after = last.into();
        self
    }

    /// At most `count`.
    pub fn limit(mut self, count: usize) -> Objects<'a> {
        self.limit = count;
        self
    }

    /// Whether some objects that are read may not be asked for.
    fn is_narrowed(&self) -> bool {
        self.code.is_some() || [self.created, self.changed] != [ANY_TIME; 2]
    }

    fn fits(&self, info: &ObjectInfo) -> bool {
        let within = |(since, until): (u64, u64), time| (since..=until).contains(&time);
        let is_named = || info.name.as_ref().is_some_and(|name| name.starts_with(&self.name));
        self.code.is_none_or(|code| code == info.code)
            && within(self.created, info.created)
            && within(self.changed, info.time)
            && (self.name.is_empty() || is_named())
    }

    /// The objects that are read next; none when there are no more.
    fn read(&mut self) -> Result<Vec<ObjectInfo>> {
        if self.name.is_empty() {
            // Whoever wants few of all need not wait for a whole page.
            let rows = if self.is_narrowed() { PAGE } else { self.limit.min(PAGE) };
            let page = self.store.list(self.after, rows)?;
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
