//! A row for tests.
//!
//! This module does not know the tests.

use object::hash::{BaseHash, CodeHash, PolicyHash, VersionHash};
use object::lineage::{Spine, jump_seq};
use object::time::Time;

use crate::error::position::Position;
use crate::record::link::Link;
use crate::rows::row::Row;

/// The row of an object's version, as plain as it can be.
pub(super) fn row(seq: u64) -> Row {
    let (mut links, mut at) = (Vec::new(), seq);
    loop {
        let position = Position::new(1 + (at % 7) as u32, 96 + (at % 1000) as u32);
        links.push((at, Link { hash: VersionHash([at as u8; 32]), position }));
        if at == 0 {
            break;
        }
        at = jump_seq(at);
    }
    Row {
        genesis: links[links.len() - 1].1.position,
        spine: Spine::from_links(links),
        time: Time::from_millis(1_700_000_000_000 + seq),
        created: Time::from_millis(1_700_000_000_000),
        wake: None,
        code: CodeHash([1; 32]),
        policy: PolicyHash([2; 32]),
        base: BaseHash([3; 32]),
        upgraded: false,
        ledger: Position::NONE,
        globals: Position::NONE,
        refusal: None,
        refusal_count: 0,
        name: None,
        moved: false,
        deleted: false,
        retention: None,
        pages: None,
        ledgers: None,
    }
}
