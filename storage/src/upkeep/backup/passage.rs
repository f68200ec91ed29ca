//! Verifying frames while their bytes pass by, in pieces of any size: of a frame only its header is
//! kept.
//!
//! This module does not know where bytes go, nor the content of bodies.
//!
//! Invariant: everything before `tail` was verified, and each frame follows the one before.

use crate::disk::file::DiskFile;
use crate::error::Result;
use crate::log::file;
use crate::log::frame::{HEADER_BYTES, Header, Seal};
use crate::log::segment::{Segments, Tail};

/// Bytes that are read at a time.
const PIECE_BYTES: u64 = 1 << 20;

/// Frames whose bytes pass by.
pub(super) struct Passage {
    seal: Seal,
    /// Behind the last whole frame.
    tail: Tail,
    /// The bytes so far of the header that is passing.
    head: Vec<u8>,
    body: Option<Body>,
}

/// A body that is passing.
struct Body {
    header: Header,
    hasher: blake3::Hasher,
    left: usize,
}

impl Passage {
    /// Returns a passage whose first frame must follow `tail`.
    pub(super) fn new(seal: Seal, tail: Tail) -> Passage {
        Passage { seal, tail, head: Vec::with_capacity(HEADER_BYTES), body: None }
    }

    /// The end of the whole frames that have passed.
    pub(super) fn tail(&self) -> Tail {
        self.tail
    }

    /// Reads the `file` of the segment in which the tail is, from its start, until its bytes are no
    /// frames that follow, or the offset is `limit`. Passes each piece to `to`, including the
    /// header and bytes behind the last frame, and returns their end.
    pub(super) fn read(
        &mut self,
        segments: &Segments,
        file: &dyn DiskFile,
        limit: u64,
        mut to: impl FnMut(&[u8], u64) -> Result<()>,
    ) -> Result<u64> {
        let number = self.tail.end.segment();
        let mut buffer = vec![0; PIECE_BYTES as usize];
        let (mut at, mut follows) = (0, true);
        while follows && at < limit {
            let count = (limit - at).min(PIECE_BYTES) as usize;
            let read = segments.read(file, number, at, &mut buffer[..count])?;
            let frames = file::HEADER_BYTES.saturating_sub(at as usize).min(read);
            follows = self.take(&buffer[frames..read]) && read == count;
            to(&buffer[..read], at)?;
            at += read as u64;
        }
        Ok(at)
    }

    /// Takes the next bytes; returns whether they are frames that follow. Once they are not, no
    /// more bytes may be passed.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            if let Some(body) = &mut self.body {
                let (now, later) = bytes.split_at(bytes.len().min(body.left));
                body.hasher.update(now);
                body.left -= now.len();
                bytes = later;
                if body.left > 0 {
                    return true;
                }
                if !self.end_frame() {
                    return false;
                }
            }
            let missing = HEADER_BYTES - self.head.len();
            let (now, later) = bytes.split_at(bytes.len().min(missing));
            self.head.extend_from_slice(now);
            bytes = later;
            let Some(head) = self.head.first_chunk() else { return true };
            let header = self.seal.decode(head);
            let Some(header) = header.filter(|header| header.previous == self.tail.check) else {
                return false;
            };
            let (hasher, left) = (blake3::Hasher::new(), header.length as usize);
            self.body = Some(Body { header, hasher, left });
        }
    }

    /// Verifies the frame whose body has passed.
    fn end_frame(&mut self) -> bool {
        let Body { header, hasher, left } = self.body.take().expect("a body has passed");
        assert_eq!(left, 0, "a body has passed whole");
        let Header { length, group, previous, check } = header;
        if self.seal.header(length, group, previous, hasher.finalize()).check != check {
            return false;
        }
        self.tail = Tail::behind(&header, self.tail.end);
        self.head.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;
    use crate::error::position::Position;
    use crate::log::scan;

    /// Some frames, and where each ends.
    fn frames(rng: &mut StdRng, seal: Seal) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut previous = seal.first();
        for _ in 0..rng.random_range(1..8) {
            let body: Vec<u8> = (0..rng.random_range(0..300)).map(|_| rng.random()).collect();
            let hash = blake3::hash(&body);
            let header = seal.header(body.len() as u32, Position::NONE, previous, hash);
            bytes.extend(seal.encode(&header));
            bytes.extend(body);
            ends.push(bytes.len());
            previous = header.check;
        }
        (bytes, ends)
    }

    #[test]
    fn frames_pass_in_any_pieces_up_to_the_first_changed_byte() {
        for seed in 0..300 {
            let mut rng = StdRng::seed_from_u64(seed);
            let seal = Seal::new([seed as u8; 16]);
            let (mut bytes, ends) = frames(&mut rng, seal);
            let changed = rng.random_bool(0.5).then(|| rng.random_range(0..bytes.len()));
            if let Some(at) = changed {
                bytes[at] ^= [0x01, 0x80, 0xff][rng.random_range(0..3)];
            }
            let start = scan::start(seal);
            let mut passage = Passage::new(seal, start);
            let (mut rest, mut follows) = (&bytes[..], true);
            while follows && !rest.is_empty() {
                let (now, later) = rest.split_at(rng.random_range(0..=rest.len().min(200)));
                follows = passage.take(now);
                rest = later;
            }
            assert_eq!(follows, changed.is_none(), "seed {seed}");
            let whole = ends.iter().rfind(|&&end| changed.is_none_or(|at| end <= at));
            let end = start.end.0 + whole.map_or(0, |&end| end as u64);
            assert_eq!(passage.tail().end.0, end, "seed {seed}");
        }
    }
}
