//! The row of an imported object, built from the log's notes alone.
//!
//! This module does not know who imports, nor the other rows.

use object::hash::BaseHash;
use object::header::Kind;
use object::lineage::{Spine, jump_seq};

use crate::error::Result;
use crate::log::frame::{Frames, damaged};
use crate::read::version::{StoredCommit, before, last_commit, misplaced, read_commit};
use crate::record::Adoption;
use crate::record::link::Link;
use crate::rows::pages::READS_MAX;
use crate::rows::row::Row;

/// Builds the row of an object whose staged records are its lineage, from the log's notes alone.
pub(crate) fn adopt(frames: &impl Frames, adoption: &Adoption) -> Result<Row> {
    let frame = frames.frame(adoption.head.position)?;
    let head = last_commit(&frame, adoption.object, u64::MAX, |_| true)?;
    if (head.header().seq, head.hash()) != (adoption.seq, adoption.head.hash) {
        let expected = format!("version {} as {}", adoption.seq, adoption.head.hash);
        let found = format!("version {} as {}", head.header().seq, head.hash());
        return Err(damaged(adoption.head.position, expected, found));
    }
    let mut links = vec![(head.header().seq, link(&head))];
    let mut at = head.clone();
    while at.header().seq > 0 {
        let seq = jump_seq(at.header().seq);
        at = read_commit(frames, before(at.jump(), at.position())?)?;
        if at.header().seq != seq {
            return Err(misplaced(link(&at), seq, at.header().seq));
        }
        links.push((seq, link(&at)));
    }
    let header = head.header();
    let named = named_base(frames, &head)?;
    let base = named.or(at.begins_from());
    let base = base.ok_or_else(|| damaged(at.position(), "a base image", "none"))?;
    Ok(Row {
        spine: Spine::from_links(links),
        time: header.time,
        created: at.header().time,
        wake: header.wake,
        code: header.code,
        policy: header.policy,
        base,
        upgraded: named.is_some(),
        genesis: at.position(),
        ledger: head.notes().ledger,
        globals: head.notes().globals,
        refusal: adoption.refusal,
        refusal_count: adoption.refusal_count,
        name: None,
        moved: false,
        deleted: header.kind == Kind::Delete,
        retention: None,
        pages: None,
        ledgers: None,
    })
}

/// The base image that is named with the page table of a version, where that is an upgrade's or one
/// behind it.
fn named_base(frames: &impl Frames, head: &StoredCommit) -> Result<Option<BaseHash>> {
    let mut at = head.clone();
    for _ in 0..READS_MAX {
        if at.notes().table.is_some() || at.header().seq == 0 {
            break;
        }
        at = read_commit(frames, before(at.parent(), at.position())?)?;
    }
    Ok(at.notes().base.filter(|_| at.header().seq > 0))
}

fn link(stored: &StoredCommit) -> Link {
    Link { hash: stored.hash(), position: stored.position() }
}
