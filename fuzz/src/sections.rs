//! The sections of a capsule, taken apart and sealed anew, as any holder of a capsule can do.
//!
//! This module does not know whether their content is valid.

use std::sync::Arc;

use object::capsule::{Chain, HEAD, SECTION_CHECK_BYTES, SECTION_HEAD_BYTES, SectionKind};
use object::commit::Commit;
use object::image::{BaseImage, Image};
use rand::RngExt;
use rand::rngs::StdRng;
use storage::{CapsuleReader, CapsuleWriter};

use crate::outcome::must;

/// Sections of a capsule, but for its end.
pub(crate) type Sections = Vec<(SectionKind, Vec<u8>)>;

/// The sections before the end, whether or not they are packed.
pub(crate) fn split(capsule: &[u8]) -> Result<Sections, String> {
    let mut sections = Sections::new();
    let mut reader = must("a capsule's head", CapsuleReader::new(capsule))?;
    while let Some((kind, body)) = must("a section", reader.next())? {
        if kind != SectionKind::End {
            sections.push((kind, body.to_vec()));
        }
    }
    Ok(sections)
}

/// The capsule of sections, with its end, packed with as many others as is drawn.
pub(crate) fn seal_packed(
    rng: &mut StdRng,
    sections: &[(SectionKind, Vec<u8>)],
) -> Result<Vec<u8>, String> {
    let mut capsule = Vec::new();
    let mut writer = must("a head", CapsuleWriter::new(&mut capsule))?;
    for (kind, body) in sections {
        must("a section", writer.section(*kind, body))?;
        if rng.random_ratio(1, 3) {
            must("sections packed together", writer.pack())?;
        }
    }
    must("an end", writer.end())?;
    Ok(capsule)
}

/// The sections as they stand in a capsule, some of them packed, but for its end.
pub(crate) fn split_raw(capsule: &[u8]) -> Result<Sections, String> {
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

/// The memory as the commits in the sections before `at` leave it.
pub(crate) fn memory_before(sections: &Sections, at: usize) -> Result<Image, String> {
    let base = sections.iter().find(|section| section.0 == SectionKind::Base);
    let base = must("the base", BaseImage::decode(&base.ok_or("a base")?.1))?;
    let mut image = Image::new(Arc::new(base));
    for (_, body) in sections[..at].iter().filter(|section| section.0 == SectionKind::Commit) {
        let commit = must("a commit", Commit::decode(body))?;
        let pages = commit.pages.iter().map(|(index, page)| (*index, Arc::new(**page))).collect();
        image = must("a step", image.step(commit.header.memory_bytes, pages))?;
    }
    Ok(image)
}
