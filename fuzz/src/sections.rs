//! The sections of a capsule, taken apart and sealed anew: what whoever has a capsule can do.
//!
//! It does not know what is in them.

use object::capsule::{Chain, HEAD, SECTION_CHECK_BYTES, SECTION_HEAD_BYTES, SectionKind};

use crate::outcome::must;

/// Sections of a capsule, but for its end.
pub(crate) type Sections = Vec<(SectionKind, Vec<u8>)>;

/// The sections before the end.
pub(crate) fn split(capsule: &[u8]) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut chain = Chain::new();
    loop {
        let rest = capsule.get(chain.offset() as usize..).ok_or("a capsule has an end")?;
        let (head, rest) = rest.split_first_chunk::<SECTION_HEAD_BYTES>().ok_or("a head")?;
        let (kind, length) = must("a section's head", chain.announced(head))?;
        let (body, rest) = rest.split_at(length as usize);
        let check = rest.first_chunk::<SECTION_CHECK_BYTES>().ok_or("a check")?;
        must("a section", chain.verify(head, body, check))?;
        if kind == SectionKind::End {
            return Ok(sections);
        }
        sections.push((kind, body.to_vec()));
    }
}

/// The capsule of sections, with its end.
pub(crate) fn seal(sections: &[(SectionKind, Vec<u8>)]) -> Vec<u8> {
    let mut capsule = HEAD.to_vec();
    let mut chain = Chain::new();
    let count = (sections.len() as u64).to_le_bytes();
    let end = (SectionKind::End, count.to_vec());
    for (kind, body) in sections.iter().chain([&end]) {
        let (head, check) = chain.section(*kind, body);
        capsule.extend_from_slice(&head);
        capsule.extend_from_slice(body);
        capsule.extend_from_slice(&check);
    }
    capsule
}
