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
use object::refusal::Refusal;
use storage::{CapsuleReader, Seal};

use crate::catalog::Catalog;
use crate::error::{ErrorKind, Result};
use crate::pool::{Pool, Queue};
use crate::replay::{Auditor, Replay, Verified};
use crate::shared::Shared;
use crate::slots::Slots;

/// Verifies a capsule without a database; with [`Replay::Yes`] by running every step again.
///
/// # Errors
///
/// [`Storage`](ErrorKind::Storage) naming the offset for a capsule that is cut or changed,
/// [`Object`](ErrorKind::Object) and [`Replay`](ErrorKind::Replay) for a lineage that does not
/// hold.
pub fn verify_capsule(from: impl Read + Send + 'static, replay: Replay) -> Result<Verified> {
    let queue = Arc::new(Queue::<Slots>::new());
    let mut pool = Pool::start(1, &queue, |_, _| {})?;
    let catalog = Catalog::new()?;
    let verified = queue.on_worker(move |slots| {
        verify(&catalog, slots, from, replay).map(|(verified, _, _)| verified)
    });
    pool.stop();
    verified?
}

/// Takes in a capsule. Call it on a worker.
pub(crate) fn import(
    shared: &Shared,
    slots: &mut Slots,
    mut from: impl Read + Seek,
) -> Result<ObjectId> {
    let io = |error: std::io::Error| ErrorKind::Read(error.to_string());
    let start = from.stream_position().map_err(io)?;
    // The code must run here before the object is let in.
    let (_, head, seal) = verify(shared.catalog(), slots, &mut from, Replay::Yes)?;
    from.seek(SeekFrom::Start(start)).map_err(io)?;
    let id = shared.store().import(&mut from, &head, seal)?;
    if let Some(wake) = head.header.wake {
        shared.timer().insert(wake, id);
    }
    Ok(id)
}

/// Verifies a capsule's lineage.
fn verify(
    catalog: &Catalog,
    slots: &mut Slots,
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
    let replay = match replay {
        Replay::Yes => Some((slots, catalog.runnable(&definition, || Ok(code))?)),
        Replay::No => None,
    };
    let mut auditor = Auditor::new(definition, base, replay)?;
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
