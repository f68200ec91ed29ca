//! A commit: a version header, with each part that the header names and the parent version lacks.
//!
//! The log and a capsule hold the same bytes, so that a lineage moves from one to the other
//! unchanged. Decoding borrows from the bytes and checks the layout, not the hashes: the verifier
//! checks those.
//!
//! Invariant: `Commit::decode` accepts exactly the bytes that `encode_into` writes.

use crate::codec::{Reader, Write};
use crate::effects::GLOBALS_ENCODED_MAX;
use crate::error::Result;
use crate::header::{HEADER_BYTES, Header};
use crate::image::decode_pages;
use crate::limits::{EFFECTS_BYTES_MAX, NAME_BYTES_MAX, OUTPUTS_MAX, RULES_MAX};
use crate::memory::{Page, page_count};
use crate::refusal::INPUT_BYTES_MAX;

/// Bytes of encoded effects: every name and payload with its length.
const EFFECTS_ENCODED_MAX: usize = EFFECTS_BYTES_MAX * 2 + OUTPUTS_MAX * (NAME_BYTES_MAX + 8) + 64;
/// Bytes of an encoded admission, which may be of two policies.
const ADMISSION_ENCODED_MAX: usize = (2 * RULES_MAX + 64) * (NAME_BYTES_MAX + 4) + 64;

/// One version, as bytes hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The version's header.
    pub header: Header,
    /// The input's bytes.
    pub input: &'a [u8],
    /// The effects' bytes.
    pub effects: &'a [u8],
    /// The admission's bytes.
    pub admission: &'a [u8],
    /// The globals' bytes, when they are not the parent's.
    pub globals: Option<&'a [u8]>,
    /// The pages that changed, ascending by index.
    pub pages: Vec<(u32, &'a Page)>,
}

impl<'a> Commit<'a> {
    /// Appends the commit's bytes.
    pub fn encode_into(&self, bytes: &mut Vec<u8>) {
        bytes.put(&self.header.encode());
        bytes.put_blob(self.input).put_blob(self.effects).put_blob(self.admission);
        match self.globals {
            None => bytes.put_u8(0),
            Some(globals) => bytes.put_u8(1).put_blob(globals),
        };
        bytes.put_count(self.pages.len());
        for (index, page) in &self.pages {
            bytes.put_u32(*index).put(&page[..]);
        }
    }

    /// Reads a commit from exactly its bytes.
    ///
    /// # Errors
    ///
    /// [`Decode`](crate::ErrorKind::Decode) for any bytes that [`Commit::encode_into`] does not
    /// write.
    pub fn decode(bytes: &'a [u8]) -> Result<Commit<'a>> {
        let mut reader = Reader::new("commit", bytes);
        let header = Header::decode(reader.bytes(HEADER_BYTES)?)?;
        let input = reader.blob(INPUT_BYTES_MAX)?;
        let effects = reader.blob(EFFECTS_ENCODED_MAX)?;
        let admission = reader.blob(ADMISSION_ENCODED_MAX)?;
        let globals = reader.flag()?.then(|| reader.blob(GLOBALS_ENCODED_MAX)).transpose()?;
        let pages = decode_pages(&mut reader, page_count(header.memory_bytes))?;
        if pages.len() != header.page_count as usize {
            let expected = format!("{} pages, as the header says", header.page_count);
            return Err(reader.fail(0, &expected, pages.len()));
        }
        reader.end()?;
        Ok(Commit { header, input, effects, admission, globals, pages })
    }
}
