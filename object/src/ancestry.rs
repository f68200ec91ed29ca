//! The proof that one version descends from another: a chain of headers.
//!
//! It does not know where headers are kept.

use crate::error::{Error, Result};
use crate::hash::VersionHash;
use crate::header::Header;
use crate::lineage::{jump_seq, next_seq};

/// A chain of headers from a version down to one of its ancestors, linked by parent or jump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AncestryProof {
    /// The descendant first, the ancestor last.
    pub headers: Vec<Header>,
}

impl AncestryProof {
    /// Collects the proof that `to` is an ancestor of version `from`, reading headers by seq.
    ///
    /// # Errors
    ///
    /// Those of `read`.
    ///
    /// # Panics
    ///
    /// When `to` is above `from`.
    pub fn collect<E>(
        from: u64,
        to: u64,
        mut read: impl FnMut(u64) -> Result<Header, E>,
    ) -> Result<AncestryProof, E> {
        let mut headers = vec![read(from)?];
        let mut at = from;
        while at != to {
            at = next_seq(at, to);
            headers.push(read(at)?);
        }
        Ok(AncestryProof { headers })
    }

    /// Verifies that the proof leads from `descendant` to `ancestor`, the one way there is.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch) naming the first header that does not follow;
    /// [`Decode`](crate::ErrorKind::Decode) for one that no bytes decode to.
    pub fn verify(&self, descendant: VersionHash, ancestor: VersionHash) -> Result<()> {
        let target = self.headers.last().map_or(0, |last| last.seq);
        let mut expected = (self.headers.first().map_or(0, |first| first.seq), descendant);
        for (index, header) in self.headers.iter().enumerate() {
            header.validate()?;
            if (header.seq, header.hash()) != expected {
                let found = format!("{} at seq {}", header.hash(), header.seq);
                let wanted = format!("{} at seq {}", expected.1, expected.0);
                return Err(Error::mismatch("ancestry", header.seq, wanted, found));
            }
            if index + 1 < self.headers.len() {
                if header.seq <= target {
                    return Err(Error::mismatch("ancestry", header.seq, "the end", "more headers"));
                }
                let next = next_seq(header.seq, target);
                let jumps = next == jump_seq(header.seq);
                let hash = if jumps { header.jump } else { header.parent };
                expected = (next, hash.expect("all but a genesis have a parent and a jump"));
            } else {
                expected.1 = header.hash();
            }
        }
        if self.headers.is_empty() || expected.1 != ancestor {
            return Err(Error::mismatch("ancestry", target, ancestor, expected.1));
        }
        Ok(())
    }
}
