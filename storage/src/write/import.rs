//! Import: an object from a capsule, into a store.
//!
//! Every record that is not here yet is staged in the log, and one last frame adopts them all, so
//! that a crash or an error on the way changes no object. Records that are here already must be the
//! beginning of the capsule's. This module does not know whether a lineage is valid: the caller has
//! verified the same bytes before, which the seal shows.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use object::capsule::{
    Chain, HEAD, OLD_HEAD, SECTION_CHECK_BYTES, SECTION_HEAD_BYTES, SectionKind,
};
use object::commit::Commit;
use object::credential::PublicKey;
use object::effects::Admission;
use object::hash::{BaseHash, CodeHash, ObjectId, RefusalHash, VersionHash};
use object::head::Head;
use object::header::{HEADER_BYTES, Header, Kind};
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::{Ledger, Tracked, Used};
use object::memory::{Memory, Page};
use object::refusal::Refusal;
use object::secret::Secret;
use object::time::Time;
use policy::Policy;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::read::lineage::{Direction, PAGES_HELD_MAX, Versions};
use crate::read::packed::Unpacked;
use crate::read::version::read_commit;
use crate::record::version::Staged;
use crate::record::{Adoption, BlobHash, Body, leaf};
use crate::rows::pages::PageTable;
use crate::rows::row::{NewVersion, Row};
use crate::store::{Inner, Store};
use crate::write::append::Blob;
use crate::write::push::{Changes, Drafted};

/// The check that ends a capsule: equal seals, equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seal([u8; SECTION_CHECK_BYTES]);

/// Reads a capsule section by section, each verified before it is given, packed or not.
#[derive(Debug)]
pub struct CapsuleReader<R> {
    from: R,
    chain: Chain,
    body: Vec<u8>,
    unpacked: Unpacked,
    seal: Option<Seal>,
}

/// Bytes that a section's buffer grows by: an announced length is not believed before its bytes
/// are there.
const GROWTH_BYTES: usize = 1 << 20;

impl<R: Read> CapsuleReader<R> {
    /// Reads the head of a capsule.
    ///
    /// # Errors
    ///
    /// [`OldFormat`](ErrorKind::OldFormat), [`Capsule`](ErrorKind::Capsule) when it is none, or of
    /// another format; those of `from`.
    pub fn new(mut from: R) -> Result<CapsuleReader<R>> {
        let mut head = [0; HEAD.len()];
        let found = read_full(&mut from, &mut head)?;
        if head == OLD_HEAD {
            return Err(ErrorKind::OldFormat { found: 1 }.into());
        }
        if found < head.len() || head != HEAD {
            let found = if found == 0 { "no bytes" } else { "other bytes" };
            return Err(Error::capsule(0, "the head of a capsule", found));
        }
        let (body, unpacked, seal) = Default::default();
        Ok(CapsuleReader { from, chain: Chain::new(), body, unpacked, seal })
    }

    /// Returns the next section. [`SectionKind::End`] is the last; then there is none, and no byte
    /// may follow.
    ///
    /// # Errors
    ///
    /// [`Capsule`](ErrorKind::Capsule) with the offset of the section that is cut or changed, and
    /// those of the reader.
    #[expect(clippy::should_implement_trait, reason = "a section borrows from the reader")]
    pub fn next(&mut self) -> Result<Option<(SectionKind, &[u8])>> {
        loop {
            if let Some((kind, place)) = self.unpacked.next()? {
                return Ok(Some((kind, &self.unpacked.bytes()[place])));
            }
            if self.seal.is_some() {
                return Ok(None);
            }
            let offset = self.chain.offset();
            match self.section()? {
                SectionKind::Packed => self.unpacked.open(&self.body, offset)?,
                kind => return Ok(Some((kind, &self.body))),
            }
        }
    }

    /// Reads a section into the buffer.
    fn section(&mut self) -> Result<SectionKind> {
        let offset = self.chain.offset();
        let cut = |what: &str| Error::capsule(offset, what, "the end of the bytes");
        let mut head = [0; SECTION_HEAD_BYTES];
        if read_full(&mut self.from, &mut head)? < head.len() {
            return Err(cut("a section head"));
        }
        let (kind, length) = self.chain.announced(&head)?;
        self.body.clear();
        while self.body.len() < length as usize {
            let start = self.body.len();
            let count = GROWTH_BYTES.min(length as usize - start);
            self.body.resize(start + count, 0);
            if read_full(&mut self.from, &mut self.body[start..])? < count {
                return Err(cut("a section body"));
            }
        }
        let mut check = [0; SECTION_CHECK_BYTES];
        if read_full(&mut self.from, &mut check)? < check.len() {
            return Err(cut("a section check"));
        }
        self.chain.verify(&head, &self.body, &check)?;
        if kind == SectionKind::End {
            if read_full(&mut self.from, &mut [0; 1])? > 0 {
                let end = self.chain.offset();
                return Err(Error::capsule(end, "the end of the capsule", "more bytes"));
            }
            self.seal = Some(Seal(check));
        }
        Ok(kind)
    }

    /// The seal, once the end was read.
    pub fn seal(&self) -> Option<Seal> {
        self.seal
    }
}

fn read_full(from: &mut impl Read, bytes: &mut [u8]) -> Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match from.read(&mut bytes[done..]) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io("read the capsule", error)),
        }
    }
    Ok(done)
}

impl Store {
    /// Imports a capsule that was verified up to `head` in a first reading, which `seal` ended;
    /// waits until the object is durable. An object that is here already is continued by the
    /// capsule, if its lineage here is the beginning of the capsule's: then it has come back, keeps
    /// its name and its rule of retention, and no longer counts as moved away.
    ///
    /// # Errors
    ///
    /// [`HereAlready`](ErrorKind::HereAlready) when the capsule has no more than is here,
    /// [`Diverged`](ErrorKind::Diverged) when it has a different lineage,
    /// [`Conflict`](ErrorKind::Conflict) when the object continued here meanwhile,
    /// [`Capsule`](ErrorKind::Capsule) when the bytes are not those of the first reading, and those
    /// of the file system. After an error the object is unchanged, unless it is an error of the
    /// file system and reopening finds the import complete.
    pub fn import(&self, from: impl Read, head: &Head, seal: Seal) -> Result<ObjectId> {
        self.import_as(from, head, seal, None)
    }

    /// Imports a capsule as [`import`](Store::import) does, and binds a name to the object, at a
    /// time.
    ///
    /// # Errors
    ///
    /// Those of [`import`](Store::import), and of a name in an [`append`](Store::append).
    pub fn import_as(
        &self,
        from: impl Read,
        head: &Head,
        seal: Seal,
        name: Option<(&str, Time)>,
    ) -> Result<ObjectId> {
        let (inner, id) = (self.inner(), head.id);
        let _only = inner.importing.lock();
        let mut reader = CapsuleReader::new(from)?;
        let here = inner.row(id)?;
        // The name that it has here it keeps in any case.
        let known = here.as_ref().and_then(|row| row.name.as_deref());
        let name = name.filter(|(name, _)| known != Some(name));
        if let (Some(at), Some(_)) = (head.deleted(), name) {
            return Err(Error::from(ErrorKind::Deleted { at }).of(id));
        }
        if let Some((name, _)) = name {
            inner.require_name(&mut Changes::default(), name, id, here.as_deref())?;
        }
        let here = here.map(|row| Here::new(self, id, row)).transpose()?;
        let mut stage = Stage::new(inner, id, here);
        while let Some((kind, body)) = reader.next()? {
            stage.section(kind, body).map_err(|error| error.of(id))?;
        }
        let changed = || Error::capsule(0, "the capsule that was verified", "another");
        if reader.seal() != Some(seal) {
            return Err(changed());
        }
        let (row, before) = stage.end(head.header.seq).map_err(|error| error.of(id))?;
        let row = row.ok_or_else(changed)?;
        if row.head().hash != head.hash || row.refusal_hash() != head.refusals {
            return Err(changed());
        }
        inner.adopt(id, row, before.as_deref(), name)?;
        self.sync()?;
        Ok(id)
    }
}

fn moved_on() -> Error {
    Error::conflict("the object as it was when the import began", "another version or refusal")
}

impl Inner {
    /// Makes a staged lineage the object's, if that is still as it was `before`.
    fn adopt(
        &self,
        object: ObjectId,
        row: Row,
        before: Option<&Row>,
        name: Option<(&str, Time)>,
    ) -> Result<()> {
        let adoption = Adoption {
            object,
            seq: row.seq(),
            head: row.head(),
            refusal: row.refusal,
            refusal_count: row.refusal_count,
        };
        let look = || {
            let now = self.row(object)?;
            let is_as_before = match (&now, before) {
                (Some(now), Some(before)) => {
                    (now.head(), now.refusal) == (before.head(), before.refusal)
                }
                (now, before) => now.is_none() && before.is_none(),
            };
            if !is_as_before {
                return Err(moved_on().of(object));
            }
            let mut changes = Changes::default();
            let freed = now.as_ref().and_then(|now| now.name.clone()).filter(|_| row.deleted);
            if let Some(freed) = freed {
                let event = changes.naming(self, (object, false), Cow::Owned(freed), row.time)?;
                changes.events.push(event);
            }
            if let Some((name, time)) = name {
                self.require_name(&mut changes, name, object, now.as_deref())?;
                let event =
                    changes.naming(self, (object, true), Cow::Owned(name.to_string()), time)?;
                changes.events.push(event);
            }
            let after = row.clone().adopted(now.as_deref());
            changes.rows.push(Drafted { id: object, before: now, after });
            Ok(changes)
        };
        let (mut changes, mut heads) = self.look_up(look, Changes::hold)?;
        changes.leaves.extend(leaf::of_adoption(&adoption));
        let mut body = Body::default();
        body.adoption(adoption);
        changes.events.iter().for_each(|event| body.event(event));
        let hash = blake3::hash(&body.0);
        let pushed = self.push(&mut heads, &body, hash, changes, Box::new(drop));
        let recent_count = heads.recent_count();
        drop(heads);
        drop(pushed.map_err(|(error, _)| error)?);
        self.catch_up(recent_count);
        Ok(())
    }

    /// Checks that a name can be bound to an object, which may be here already.
    fn require_name(
        &self,
        changes: &mut Changes<'_>,
        name: &str,
        id: ObjectId,
        here: Option<&Row>,
    ) -> Result<()> {
        changes.require_free(self, name, id)?;
        match here.is_some_and(|here| here.name.is_some()) {
            true => Err(ErrorKind::NameTaken { name: name.to_string(), object: id }.into()),
            false => Ok(()),
        }
    }
}

/// The lineage that is here of an object being imported: the capsule must have that, and more.
struct Here<'s> {
    row: Arc<Row>,
    /// The versions that the capsule is still to have.
    versions: Versions<'s>,
    /// The refusals behind the newest version that it is still to have, the last of them first.
    refusals: Vec<RefusalHash>,
    /// True if the capsule had the newest version here.
    is_passed: bool,
    /// True if the capsule had more.
    is_less: bool,
}

impl<'s> Here<'s> {
    fn new(store: &'s Store, id: ObjectId, row: Arc<Row>) -> Result<Here<'s>> {
        let versions = store.versions(id, 0..row.seq() + 1, Direction::Forward)?;
        let mut refusals = Vec::new();
        for refusal in store.refusals(id)? {
            let refusal = refusal?;
            if refusal.parent != row.head().hash {
                break;
            }
            refusals.push(refusal.hash());
        }
        Ok(Here { row, versions, refusals, is_passed: false, is_less: false })
    }

    /// Compares a version of the capsule with the one here; whether it is the newest here.
    fn version(&mut self, seq: u64, hash: VersionHash) -> Result<bool> {
        let stored = self.versions.next().transpose()?;
        let stored = stored.ok_or_else(|| out_of_order("a version that follows"))?;
        if stored.hash() != hash {
            let (here, there) = (stored.hash().to_string(), hash.to_string());
            return Err(ErrorKind::Diverged { seq, here, there }.into());
        }
        self.is_passed = seq == self.row.seq();
        Ok(self.is_passed)
    }

    /// Compares a refusal of the capsule with the one here; whether it is here.
    fn refusal(&mut self, hash: RefusalHash) -> Result<bool> {
        if !self.is_passed {
            // The versions behind it have the same.
            return Ok(true);
        }
        match self.refusals.pop() {
            Some(here) if here != hash => Err(self.diverged(here, format!("refusal {hash}"))),
            Some(_) => Ok(true),
            None => {
                self.is_less = true;
                Ok(false)
            }
        }
    }

    fn diverged(&self, here: RefusalHash, there: String) -> Error {
        let here = format!("refusal {here}");
        ErrorKind::Diverged { seq: self.row.seq(), here, there }.into()
    }
}

/// The records of an object that is being imported.
struct Stage<'s> {
    inner: &'s Inner,
    id: ObjectId,
    /// The lineage that is here already, which is not staged.
    here: Option<Here<'s>>,
    /// The base image that was there last, for the next genesis or upgrade.
    given: Option<(BaseHash, BaseImage)>,
    /// The base images of codes that the object had before.
    bases: HashMap<CodeHash, (BaseHash, BaseImage)>,
    /// The code of the version before, if there is one.
    code: Option<CodeHash>,
    /// Pages as the version before left them.
    pages: HashMap<u32, Box<Page>>,
    /// The row that the records so far make.
    staged: Option<Row>,
    ledger: Arc<Ledger>,
    /// The part of the past that the present policy reads.
    tracked: Tracked,
    /// The object's secret, for the genesis.
    secret: Option<Secret>,
}

impl<'s> Stage<'s> {
    fn new(inner: &'s Inner, id: ObjectId, here: Option<Here<'s>>) -> Stage<'s> {
        let (given, bases, pages, staged, ledger, tracked) = Default::default();
        let (code, secret) = (None, None);
        Stage { inner, id, here, given, bases, code, pages, staged, ledger, tracked, secret }
    }

    /// The row that the capsule makes, if it makes one, and the one that it must still follow then.
    /// Its newest version has this seq.
    fn end(self, found: u64) -> Result<(Option<Row>, Option<Arc<Row>>)> {
        let Some(here) = self.here else { return Ok((self.staged, None)) };
        match here.is_less {
            true => Ok((self.staged, Some(here.row))),
            false => {
                let (seq, moved) = (here.row.seq(), here.row.moved);
                Err(ErrorKind::HereAlready { seq, found, moved }.into())
            }
        }
    }

    /// Passes a version that is here already: later ones continue behind the newest of these.
    fn pass(&mut self, stored_seq: u64, commit: &Commit<'_>, is_newest: bool) -> Result<()> {
        if stored_seq == 0 || commit.header.kind == Kind::Upgrade {
            self.begin(commit.header.code)?;
        }
        let Some(here) = self.here.as_ref().filter(|_| is_newest) else { return Ok(()) };
        let mut row = Row::clone(&here.row);
        if row.pages.is_none() {
            row.pages = Some(self.inner.page_table(&row)?);
        }
        let head = read_commit(&self.inner.log, row.head())?;
        let ledgers = self.inner.ledgers(self.id, &head, row.ledger)?;
        self.ledger = ledgers.newest();
        row.ledgers = Some(ledgers);
        self.staged = Some(row);
        self.track(&commit.header)
    }

    fn section(&mut self, kind: SectionKind, bytes: &[u8]) -> Result<()> {
        match kind {
            SectionKind::Code => self.blob(Blob::Code(bytes)),
            SectionKind::Policy => self.blob(Blob::Policy(bytes)),
            SectionKind::Base => {
                self.given = Some((BaseHash::of(bytes), BaseImage::decode(bytes)?));
                self.blob(Blob::Base(bytes))
            }
            SectionKind::Secret => {
                self.secret = Some(Secret::decode(bytes)?);
                Ok(())
            }
            SectionKind::Commit => self.commit(bytes),
            SectionKind::Refusal => self.refusal(&Refusal::decode(bytes)?),
            SectionKind::End => Ok(()),
            other => Err(Error::capsule(0, "a section known here", format!("{other:?}"))),
        }
    }

    /// Notes that the policy of a version decides on the next ones.
    fn track(&mut self, header: &Header) -> Result<()> {
        let blob = |hash, what| {
            let bytes = self.inner.blob(hash)?;
            bytes.ok_or_else(|| out_of_order(what))
        };
        let bytes = blob(BlobHash::Policy(header.policy), "a policy")?;
        let wasm = || blob(BlobHash::Code(header.code), "a module");
        // The first reading has verified that these are a policy and a module.
        self.tracked = match Policy::tracked_by::<Error>(&bytes, wasm) {
            Err(error) if !matches!(error.kind(), ErrorKind::Object(_)) => return Err(error),
            tracked => tracked.unwrap_or_default(),
        };
        Ok(())
    }

    /// Takes in that the memory begins anew, from the base image of this code.
    fn begin(&mut self, code: CodeHash) -> Result<BaseHash> {
        if let Some(given) = self.given.take() {
            self.bases.insert(code, given);
        }
        (self.code, self.pages) = (Some(code), HashMap::new());
        let base = self.bases.get(&code).ok_or_else(|| out_of_order("a base image"))?;
        Ok(base.0)
    }

    fn blob(&mut self, blob: Blob<'_>) -> Result<()> {
        let (hash, bytes) = blob.hashed();
        if self.inner.blob_position(hash)?.is_none() {
            let mut body = Body::default();
            body.blob(hash, bytes);
            self.push(&body, Changes { blobs: vec![hash], ..Changes::default() })?;
        }
        Ok(())
    }

    fn commit(&mut self, bytes: &[u8]) -> Result<()> {
        let commit = Commit::decode(bytes)?;
        let hash = VersionHash::of(&bytes[..HEADER_BYTES]);
        if let Some(here) = &mut self.here {
            let seq = commit.header.seq;
            if !here.is_passed {
                let is_newest = here.version(seq, hash)?;
                return self.pass(seq, &commit, is_newest);
            }
            if let Some(refusal) = here.refusals.last() {
                return Err(here.diverged(*refusal, format!("version {hash}")));
            }
            here.is_less = true;
        }
        let ledger = self.ledger(&commit)?;
        if self.staged.as_ref().is_some_and(|row| row.deleted) {
            return Err(out_of_order("nothing behind a deletion"));
        }
        let is_upgrade = commit.header.kind == Kind::Upgrade;
        let begins = is_upgrade || commit.header.seq == 0;
        let base = begins.then(|| self.begin(commit.header.code)).transpose()?;
        let staged = self.staged.take();
        let none = PageTable::default();
        let table = staged.as_ref().filter(|_| !is_upgrade).map_or(&none, Row::known_pages);
        let image = self.code.and_then(|code| self.bases.get(&code));
        let image = image.ok_or_else(|| out_of_order("a base image"))?;
        let before = |index: u32| match self.pages.get(&index) {
            Some(page) => Some(&**page),
            None => table.is_untouched(index).then(|| image.1.page(index)),
        };
        let changes = table.plan(&commit.pages, before);
        let secret = self.secret.take().filter(|_| commit.header.seq == 0);
        let parts = (base, secret.as_ref());
        let version = NewVersion::new(&commit, hash, parts, &changes, ledger.is_some());
        let (mut row, notes, ledger) = match staged {
            Some(mut row) => {
                let Header { parent, seq, .. } = commit.header;
                if (Some(row.head().hash), row.seq() + 1) != (parent, seq) {
                    return Err(out_of_order("a version that follows"));
                }
                let write =
                    |ledger| self.inner.write_ledger(self.id, &mut row, &commit.header, ledger);
                let ledger = ledger.as_ref().map(write).transpose()?;
                let notes = row.extend(&version);
                (row, notes, ledger)
            }
            None if commit.header.seq == 0 && version.secret.is_some() => {
                let (row, notes) = Row::begin(&version);
                (row, notes, None)
            }
            None => return Err(out_of_order("a genesis")),
        };
        let mut body = Body::default();
        body.version(Staged::Yes, &notes, ledger.as_ref(), &commit, &changes);
        row.settle(self.push(&body, Changes::default())?);
        self.staged = Some(row);
        if self.pages.len() + commit.pages.len() > PAGES_HELD_MAX {
            self.pages.clear();
        }
        let some = commit.pages.iter().take(PAGES_HELD_MAX);
        self.pages.extend(some.map(|(index, page)| (*index, Box::new(**page))));
        Ok(())
    }

    /// Returns the ledger after a version, when it changed: the log has it beside the version.
    fn ledger(&mut self, commit: &Commit<'_>) -> Result<Option<Arc<Ledger>>> {
        let seq = commit.header.seq;
        let input = Input::decode(commit.input)?;
        let signers = Admission::decode(commit.admission)?.signers;
        if seq > 0 {
            self.admit(&input, &signers)?;
        }
        if let Request::Amend { policy } = &input.request {
            self.blob(Blob::Policy(policy))?;
        }
        if seq == 0 || matches!(input.request, Request::Amend { .. } | Request::Upgrade { .. }) {
            self.track(&commit.header)?;
        }
        if seq == 0 {
            return Ok(None);
        }
        let next = self.ledger.next(&self.tracked, seq, &input, &signers);
        let is_same = Arc::ptr_eq(&next, &self.ledger);
        self.ledger = next;
        Ok((!is_same).then(|| Arc::clone(&self.ledger)))
    }

    /// Checks that the ledger admits the signers, under the policy before: the first reading
    /// verified it.
    fn admit(&self, input: &Input, signers: &[PublicKey]) -> Result<()> {
        let Ledger { nonces, sessions, .. } = &*self.ledger;
        if let Request::OpenSession { session, .. } = input.request {
            let is_named = signers.iter().any(|key| self.tracked.names(key));
            let admitted = sessions.admit(session, (signers.len(), is_named), input.time);
            let signed = admitted.is_ok() && !signers.is_empty();
            signed.then_some(()).ok_or_else(|| out_of_order("a session that can be opened"))?;
        }
        let Some(credential) = &input.credential else { return Ok(()) };
        let (nonce, expires) = (credential.nonce, credential.expires);
        let admitted = match credential.session() {
            None => nonces.admit(signers, Used { nonce, expires }, &self.tracked),
            Some(id) => {
                let open = sessions.get(id).ok_or_else(|| out_of_order("an open session"))?;
                open.admit(nonce)
            }
        };
        admitted.map_err(|_| out_of_order("a nonce above those before"))
    }

    fn refusal(&mut self, refusal: &Refusal) -> Result<()> {
        if let Some(here) = &mut self.here
            && here.refusal(refusal.hash())?
        {
            return Ok(());
        }
        let row = self.staged.as_mut();
        let row = row.filter(|row| !row.deleted && row.refusal_hash() == refusal.previous);
        let mut row = row.ok_or_else(|| out_of_order("a refusal that follows"))?.clone();
        let mut body = Body::default();
        body.refusal(Staged::Yes, row.refusal_notes(), refusal);
        row.refuse(refusal, self.push(&body, Changes::default())?);
        self.staged = Some(row);
        Ok(())
    }

    /// Pushes a frame, when the log has room; its durability is awaited at the end.
    fn push(&self, body: &Body, changes: Changes<'_>) -> Result<Position> {
        self.inner.log.wait_for_room()?;
        let hash = blake3::hash(&body.0);
        let mut heads = self.inner.heads.lock();
        let pushed = self.inner.push(&mut heads, body, hash, changes, Box::new(drop));
        let recent_count = heads.recent_count();
        drop(heads);
        let position = pushed.map_err(|(error, _)| error)?.position;
        self.inner.relieve(recent_count)?;
        Ok(position)
    }
}

fn out_of_order(expected: &str) -> Error {
    Error::capsule(0, expected, "a section out of its order")
}
