//! Taking in a capsule: verified from its first byte to its last before any of it is kept.
//!
//! The capsule is read twice: once to verify its lineage, once to append it; the seal of the first
//! reading binds the second to the same bytes. It does not know the format: storage reads sections.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use object::capsule::SectionKind;
use object::commit::Commit;
use object::definition::Definition;
use object::hash::ObjectId;
use object::head::Head;
use object::image::BaseImage;
use object::limits::MEMORY_BYTES_MAX;
use object::refusal::Refusal;
use storage::{CapsuleReader, Seal};

use crate::catalog::Catalog;
use crate::error::{ErrorKind, Result};
use crate::pool::on_thread;
use crate::replay::{Auditor, Replay, Verified};
use crate::shared::Shared;

/// Verifies a capsule without a database; with [`Replay::Yes`] by running every step again.
///
/// # Errors
///
/// [`Storage`](ErrorKind::Storage) naming the offset for a capsule that is cut or changed,
/// [`Object`](ErrorKind::Object) and [`Replay`](ErrorKind::Replay) for a lineage that does not
/// hold.
pub fn verify_capsule(from: impl Read + Send, replay: Replay) -> Result<Verified> {
    on_thread(|| {
        let catalog = Catalog::new(None)?;
        verify(&catalog, MEMORY_BYTES_MAX, from, replay).map(|(verified, _, _)| verified)
    })?
}

/// Takes in a capsule. Call it on a thread with a worker's stack.
pub(crate) fn import(shared: &Shared, mut from: impl Read + Seek) -> Result<ObjectId> {
    let io = |error: std::io::Error| ErrorKind::Read(error.to_string());
    let start = from.stream_position().map_err(io)?;
    // The code must run here before the object is let in.
    let (catalog, memory_bytes_max) = (shared.catalog(), shared.options().memory_bytes_max);
    let (_, head, seal) = verify(catalog, memory_bytes_max, &mut from, Replay::Yes)?;
    from.seek(SeekFrom::Start(start)).map_err(io)?;
    let id = shared.store().import(&mut from, &head, seal)?;
    shared.timer().change(id, None, head.header.wake);
    Ok(id)
}

/// Verifies a capsule's lineage.
fn verify(
    catalog: &Catalog,
    memory_bytes_max: u64,
    from: impl Read,
    replay: Replay,
) -> Result<(Verified, Head, Seal)> {
    let mut reader = CapsuleReader::new(from)?;
    let mut expect = |kind: SectionKind| -> Result<Vec<u8>> {
        match reader.next()? {
            Some((found, body)) if found == kind => Ok(body.to_vec()),
            other => {
                let found = other.map_or("the end".to_string(), |(kind, _)| format!("{kind:?}"));
                Err(ErrorKind::Section { expected: format!("{kind:?}"), found }.into())
            }
        }
    };
    let code = expect(SectionKind::Code)?;
    let policy = expect(SectionKind::Policy)?;
    let base = Arc::new(BaseImage::decode(&expect(SectionKind::Base)?)?);
    let definition = Arc::new(Definition::decode(&code, &policy)?);
    let runnable = match replay {
        Replay::Yes => {
            Some((catalog.runnable(&definition, memory_bytes_max, || Ok(code))?, catalog))
        }
        Replay::No => None,
    };
    let mut auditor = Auditor::new(definition, base, runnable)?;
    while let Some((kind, body)) = reader.next()? {
        match kind {
            SectionKind::Commit => auditor.commit(&Commit::decode(body)?)?,
            SectionKind::Refusal => auditor.refusal(&Refusal::decode(body)?)?,
            SectionKind::End => break,
            other => {
                let (expected, found) = ("Commit or Refusal".to_string(), format!("{other:?}"));
                return Err(ErrorKind::Section { expected, found }.into());
            }
        }
    }
    let (verified, verifier) = auditor.finish()?;
    let seal = reader.seal().expect("a capsule that was read to its end has a seal");
    Ok((verified, verifier.head().clone(), seal))
}
