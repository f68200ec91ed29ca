//! Versions and refusals as they are read from frames: verified bytes, with the log's notes beside
//! them.
//!
//! This module does not know rows, nor which version is the newest.
//!
//! Invariant: a `StoredCommit` decodes, and its header has the hash by which it was found.

use std::ops::Range;
use std::sync::Arc;

use object::commit::Commit;
use object::hash::{BaseHash, ObjectId, VersionHash};
use object::header::{Header, Kind};
use object::limits::PAGE_BYTES;
use object::memory::Page;
use object::refusal::Refusal;
use object::secret::Secret;
use object::time::Time;

use crate::error::position::Position;
use crate::error::{Error, ErrorKind, Result};
use crate::log::frame::{Frame, Frames, damaged, placed};
use crate::record::link::{Link, RefusalLink};
use crate::record::page::{PageChange, Written};
use crate::record::runs::Run;
use crate::record::version::{
    LedgerPart, Notes, PageRecord, PayloadBytes, VersionBytes, VersionRecord,
};
use crate::record::{Record, decode_refusal, records};

/// A version in the log: its header and payloads, and the indices of its changed pages. The log may
/// have only runs of these; a [`Version`](crate::Version) and a [`CompleteCommit`] have their
/// bytes.
#[derive(Clone, Debug)]
pub struct StoredCommit {
    frame: Frame,
    header: Header,
    hash: VersionHash,
    notes: Arc<Notes>,
    kept_from: Option<u64>,
    // In the frame's body:
    payloads: Option<[Range<usize>; 3]>,
    globals: Option<Range<usize>>,
    ledger: Option<LedgerPart<Range<usize>>>,
    pages: Arc<[(u32, StoredPage)]>,
}

/// A page in the body of a version's frame.
#[derive(Clone, Debug)]
pub(crate) enum StoredPage {
    /// The whole page, from this offset.
    Whole(usize),
    /// Runs, each with its start in the page, over the page that is whole in the frame at `whole`,
    /// or in the base image when that is [`Position::NONE`].
    Runs { whole: Position, runs: Box<[(u16, Range<usize>)]> },
}

impl StoredPage {
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, StoredPage::Whole(_))
    }

    /// The page's bytes: runs are put over `under`. `None` when they are missing.
    pub(crate) fn read(&self, body: &[u8], under: Option<&Page>) -> Option<Page> {
        match self {
            StoredPage::Whole(start) => body[*start..*start + PAGE_BYTES].try_into().ok(),
            StoredPage::Runs { runs, .. } => {
                let mut page = *under?;
                for (start, run) in runs.iter() {
                    let start = usize::from(*start);
                    page[start..start + run.len()].copy_from_slice(&body[run.clone()]);
                }
                Some(page)
            }
        }
    }
}

impl StoredCommit {
    /// The version's header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The version's hash.
    pub fn hash(&self) -> VersionHash {
        self.hash
    }

    /// Returns the payloads that the header names, without the memory; none when retention dropped
    /// them.
    pub fn payloads(&self) -> Option<PayloadBytes<'_>> {
        let payloads = self.payloads.as_ref()?;
        let [input, effects, admission] = payloads.clone().map(|range| &self.frame.body[range]);
        Some(PayloadBytes { input, effects, admission })
    }

    /// Returns whether the log has all of the version. Otherwise retention dropped some of its
    /// changes, and [`page_indices`](StoredCommit::page_indices) lists the remaining pages.
    pub fn is_whole(&self) -> bool {
        self.require(self.header.seq).is_ok()
    }

    /// Checks that the version can be read, and the memories from `seq` on that need it.
    pub(crate) fn require(&self, seq: u64) -> Result<()> {
        match self.kept_from {
            Some(kept_from) if seq < kept_from => Err(self.pruned(seq)),
            _ => Ok(()),
        }
    }

    /// Returns the error that version `seq` needs data which was trimmed here.
    pub(crate) fn pruned(&self, seq: u64) -> Error {
        let kept_from = self.kept_from.unwrap_or_default();
        ErrorKind::Pruned { seq, kept_from }.into()
    }

    /// The base image that the memory begins from, if the version is a genesis or an upgrade.
    pub fn begins_from(&self) -> Option<BaseHash> {
        let begins = self.header.seq == 0 || self.header.kind == Kind::Upgrade;
        self.notes.base.filter(|_| begins)
    }

    /// Returns the globals' bytes, when they differ from those of the version before; in a genesis
    /// or an upgrade, from the base image's.
    pub fn globals(&self) -> Option<&[u8]> {
        self.globals.clone().map(|range| &self.frame.body[range])
    }

    /// The indices of the pages that the version changed, ascending.
    pub fn page_indices(&self) -> impl Iterator<Item = u32> {
        self.pages.iter().map(|(index, _)| *index)
    }

    /// The commit, with its pages from elsewhere.
    ///
    /// # Panics
    ///
    /// When its payloads were dropped.
    pub(crate) fn with_pages<'a>(&'a self, pages: Vec<(u32, &'a Page)>) -> Commit<'a> {
        let payloads = self.payloads().expect("a version with its memory has its payloads");
        let PayloadBytes { input, effects, admission } = payloads;
        let (header, globals) = (self.header.clone(), self.globals());
        Commit { header, input, effects, admission, globals, pages }
    }

    /// The pages as the frame has them, ascending.
    pub(crate) fn pages(&self) -> &[(u32, StoredPage)] {
        &self.pages
    }

    /// Returns how the pages are written.
    pub(crate) fn changes(&self) -> impl Iterator<Item = PageChange> {
        self.pages.iter().map(|(index, page)| {
            let written = match page {
                StoredPage::Whole(_) => Written::Whole,
                StoredPage::Runs { whole, runs } => {
                    let run = |(start, run): &(u16, Range<usize>)| Run {
                        start: *start,
                        length: run.len() as u16,
                    };
                    Written::Runs { whole: *whole, runs: runs.iter().map(run).collect() }
                }
            };
            PageChange { page: *index, written }
        })
    }

    pub(crate) fn frame(&self) -> &Frame {
        &self.frame
    }

    /// Returns whether it is a version of `object`.
    pub(crate) fn is_of(&self, object: ObjectId) -> bool {
        self.header.object_of(self.hash) == object
    }

    pub(crate) fn position(&self) -> Position {
        self.frame.position
    }

    /// The frame at `position`: the version's own is in hand, any other is read.
    pub(crate) fn frame_at(&self, frames: &impl Frames, position: Position) -> Result<Frame> {
        match position == self.frame.position {
            true => Ok(self.frame.clone()),
            false => frames.frame(position),
        }
    }

    pub(crate) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// Returns the secret of the object, whose genesis this is.
    ///
    /// # Errors
    ///
    /// [`Damaged`](ErrorKind::Damaged) when it is not the object's.
    ///
    /// # Panics
    ///
    /// When this is not a genesis.
    pub fn secret(&self) -> Result<&Secret> {
        let secret = self.notes.secret.as_deref().expect("a genesis has the object's secret");
        validate_secret(secret, &self.header, self.position())?;
        Ok(secret)
    }

    /// The part of the ledger that the record has.
    pub(crate) fn ledger(&self) -> Option<LedgerPart<&[u8]>> {
        let LedgerPart { over, changes } = self.ledger.clone()?;
        Some(LedgerPart { over, changes: &self.frame.body[changes] })
    }

    /// The last refusal before the version, if there is one.
    pub(crate) fn refusal(&self) -> Option<RefusalLink> {
        let position = self.notes.refusal;
        self.header.refusals.map(|hash| RefusalLink { hash, position })
    }

    /// The version before; none in a genesis.
    pub(crate) fn parent(&self) -> Option<Link> {
        self.header.parent.map(|hash| Link { hash, position: self.notes.parent })
    }

    /// The version that the jump leads to; none in a genesis.
    pub(crate) fn jump(&self) -> Option<Link> {
        self.header.jump.map(|hash| Link { hash, position: self.notes.jump })
    }

    fn read(frame: &Frame, version: VersionBytes<'_>) -> Result<StoredCommit> {
        let record = version.decode(frame.position)?;
        let place = |bytes: &[u8]| {
            let start = bytes.as_ptr().addr() - frame.body.as_ptr().addr();
            start..start + bytes.len()
        };
        let stored = |page| match page {
            PageRecord::Whole(page) => StoredPage::Whole(place(page).start),
            PageRecord::Runs { whole, runs } => {
                let runs = runs.into_iter().map(|(start, bytes)| (start, place(bytes)));
                StoredPage::Runs { whole, runs: runs.collect() }
            }
        };
        let pages = record.pages()?.into_iter().map(|(index, page)| (index, stored(page)));
        Ok(StoredCommit {
            pages: pages.collect(),
            payloads: record
                .payloads
                .map(|payloads| [payloads.input, payloads.effects, payloads.admission].map(place)),
            kept_from: record.kept_from,
            globals: record.globals.map(place),
            ledger: record
                .ledger
                .map(|part| LedgerPart { over: part.over, changes: place(part.changes) }),
            notes: Arc::new(record.notes),
            hash: record.hash,
            header: record.header,
            frame: frame.clone(),
        })
    }
}

/// A version with everything that its header names and its parent does not have.
#[derive(Clone, Debug)]
pub struct CompleteCommit {
    pub(crate) stored: StoredCommit,
    /// The bytes of its pages.
    pub(crate) pages: Vec<(u32, Arc<Page>)>,
}

impl CompleteCommit {
    /// Returns the version as it is in the log.
    pub fn stored(&self) -> &StoredCommit {
        &self.stored
    }

    /// Returns the commit, which encodes as in a capsule.
    pub fn commit(&self) -> Commit<'_> {
        let pages = self.pages.iter().map(|(index, page)| (*index, &**page));
        self.stored.with_pages(pages.collect())
    }
}

/// The versions in a frame, in order.
pub(crate) fn commits(frame: &Frame) -> impl Iterator<Item = Result<StoredCommit>> {
    records(&frame.body).filter_map(|record| match record {
        Ok(Record::Version(version)) => Some(StoredCommit::read(frame, version)),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    })
}

/// The version that `link` names.
pub(crate) fn read_commit(frames: &impl Frames, link: Link) -> Result<StoredCommit> {
    let frame = frames.frame(link.position)?;
    StoredCommit::read(&frame, version_in(&frame, link)?)
}

/// Finds the version that `link` names in its frame, which may hold many: it is not decoded yet.
fn version_in(frame: &Frame, link: Link) -> Result<VersionBytes<'_>> {
    for record in records(&frame.body) {
        let Record::Version(version) = record? else { continue };
        if VersionHash::of(version.header_bytes()) == link.hash {
            return Ok(version);
        }
    }
    Err(damaged(link.position, format!("version {}", link.hash), "a frame without it"))
}

/// Returns the link from a version at `place` to one before it.
///
/// # Errors
///
/// [`Damaged`](ErrorKind::Damaged) when there is none, because the version is a genesis.
pub(crate) fn before(link: Option<Link>, place: Position) -> Result<Link> {
    link.ok_or_else(|| damaged(place, "a version behind a genesis", "a genesis"))
}

/// A step on the way from a version to those before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hop {
    pub(crate) seq: u64,
    pub(crate) time: Time,
    /// The version before; none in a genesis.
    pub(crate) parent: Option<Link>,
    /// The version that the jump leads to; none in a genesis.
    pub(crate) jump: Option<Link>,
}

/// Reads the links of the version that `link` names. The hash verifies its header; the places of
/// the next records are not verified, but whatever is read there is.
pub(crate) fn read_hop(frames: &impl Frames, link: Link) -> Result<Hop> {
    let frame = frames.glimpse(link.position)?;
    find_hop(&frame, link).map_err(|error| placed(error, link.position))
}

fn find_hop(frame: &Frame, link: Link) -> Result<Hop> {
    let version = version_in(frame, link)?;
    let header = Header::decode(version.header_bytes())?;
    let (parent, jump) = version.parent_and_jump(frame.position)?;
    Ok(Hop {
        seq: header.seq,
        time: header.time,
        parent: header.parent.map(|hash| Link { hash, position: parent }),
        jump: header.jump.map(|hash| Link { hash, position: jump }),
    })
}

/// Reads the secret of the object whose genesis `link` names. The hash verifies the header, and the
/// header the secret.
pub(crate) fn read_secret(frames: &impl Frames, link: Link) -> Result<Secret> {
    let frame = frames.glimpse(link.position)?;
    find_secret(&frame, link).map_err(|error| placed(error, link.position))
}

fn find_secret(frame: &Frame, link: Link) -> Result<Secret> {
    let version = version_in(frame, link)?;
    let VersionRecord { header, notes, .. } = version.decode(frame.position)?;
    let secret =
        notes.secret.ok_or_else(|| damaged(link.position, "the secret of an object", "none"))?;
    validate_secret(&secret, &header, link.position)?;
    Ok(*secret)
}

/// Checks that a secret, which stands at `place`, is that of the object with this genesis.
pub(crate) fn validate_secret(secret: &Secret, genesis: &Header, place: Position) -> Result<()> {
    match secret.is_of(genesis) {
        true => Ok(()),
        false => Err(damaged(place, "the secret of the object", "another")),
    }
}

/// Returns the last version in a frame that is of `object`, not after `seq`, and `fits`; the error
/// is pruned when retention dropped data there that version `seq` needs.
pub(crate) fn last_commit(
    frame: &Frame,
    object: ObjectId,
    seq: u64,
    fits: impl Fn(&StoredCommit) -> bool,
) -> Result<StoredCommit> {
    let mut last = None;
    for commit in commits(frame) {
        let commit = commit?;
        if !commit.is_of(object) || commit.header.seq > seq {
            continue;
        }
        commit.require(seq)?;
        if fits(&commit) {
            last = Some(commit);
        }
    }
    last.ok_or_else(|| damaged(frame.position, format!("a version of {object}"), "none"))
}

/// A refusal and the position of the one before it.
pub(crate) struct StoredRefusal {
    previous: Position,
    pub(crate) refusal: Refusal,
}

impl StoredRefusal {
    /// The refusal before this one, if there is one.
    pub(crate) fn previous(&self) -> Option<RefusalLink> {
        self.refusal.previous.map(|hash| RefusalLink { hash, position: self.previous })
    }
}

/// The refusal that `link` names.
pub(crate) fn read_refusal(frames: &impl Frames, link: RefusalLink) -> Result<StoredRefusal> {
    let frame = frames.frame(link.position)?;
    for record in records(&frame.body) {
        let Record::Refusal(_, content) = record? else { continue };
        let (notes, refusal) = decode_refusal(content, link.position)?;
        if refusal.hash() == link.hash {
            return Ok(StoredRefusal { previous: notes.previous, refusal });
        }
    }
    Err(damaged(link.position, format!("refusal {}", link.hash), "a frame without it"))
}

/// Damage: another version of the lineage is where `link` leads to.
pub(super) fn misplaced(link: Link, seq: u64, found: u64) -> Error {
    damaged(link.position, format!("version {seq}"), format!("version {found}"))
}
