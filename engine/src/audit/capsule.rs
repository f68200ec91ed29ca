//! Importing a capsule: it is verified from its first byte to its last before any of it is kept.
//!
//! The capsule is read twice: once to verify its lineage, once to append it; the seal of the first
//! reading binds the second to the same bytes. This module does not know the format: storage reads
//! sections.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use object::capsule::SectionKind;
use object::commit::Commit;
use object::hash::{CodeHash, ObjectId, PolicyHash};
use object::head::Head;
use object::header::Header;
use object::image::BaseImage;
use object::input::{Input, Request};
use object::limits::MEMORY_BYTES_MAX;
use object::refusal::Refusal;
use object::secret::Secret;
use policy::definition::Definition;
use storage::{CapsuleReader, Seal};

use crate::audit::part_source::PartSource;
use crate::audit::replay::{Auditor, Replay, Verified};
use crate::commit::shared::Shared;
use crate::error::{Error, ErrorKind, Result, missing};
use crate::stack::{DeepStack, on_thread};
use crate::step::catalog::{Catalog, Runnable};

/// Verifies a capsule without a database; with [`Replay::Yes`] by running every step again.
///
/// # Errors
///
/// [`Storage`](ErrorKind::Storage) naming the offset for a capsule that is cut or changed,
/// [`Object`](ErrorKind::Object) and [`Replay`](ErrorKind::Replay) for a lineage that does not
/// hold.
pub fn verify_capsule(from: impl Read + Send, replay: Replay) -> Result<Verified> {
    on_thread(|stack| {
        let catalog = Catalog::new(None)?;
        verify(&catalog, stack, MEMORY_BYTES_MAX, from, replay).map(|(verified, _, _)| verified)
    })?
}

/// Takes in a capsule.
pub(crate) fn import(
    shared: &Shared,
    stack: DeepStack,
    mut from: impl Read + Seek,
    name: Option<&str>,
) -> Result<ObjectId> {
    let io = |error: std::io::Error| ErrorKind::Read(error.to_string());
    let start = from.stream_position().map_err(io)?;
    // The code must run here before the object is let in.
    let (catalog, memory_bytes_max) = (&shared.library.catalog, shared.options.memory_bytes_max);
    let (_, head, seal) = verify(catalog, stack, memory_bytes_max, &mut from, Replay::Yes)?;
    from.seek(SeekFrom::Start(start)).map_err(io)?;
    let before = shared.library.store.info(head.id)?;
    let name = name.map(|name| (name, shared.options.clock.now()));
    let id = shared.library.store.import_as(&mut from, &head, seal, name)?;
    shared.renew(stack, id, before.and_then(|before| before.wake))?;
    shared.residents.note_time(head.header.time);
    Ok(id)
}

/// Verifies a capsule's lineage.
fn verify(
    catalog: &Catalog,
    stack: DeepStack,
    memory_bytes_max: u64,
    from: impl Read,
    replay: Replay,
) -> Result<(Verified, Head, Seal)> {
    let mut reader = CapsuleReader::new(from)?;
    let mut parts = CapsuleParts::new(catalog, stack, memory_bytes_max);
    let secret = match reader.next()? {
        Some((SectionKind::Secret, body)) => Secret::decode(body)?,
        other => return Err(out_of_place("Secret", other.map_or(SectionKind::End, |it| it.0))),
    };
    let mut auditor: Option<Auditor<'_>> = None;
    while let Some((kind, body)) = reader.next()? {
        match kind {
            SectionKind::Code | SectionKind::Policy | SectionKind::Base => parts.put(kind, body)?,
            SectionKind::Commit => {
                let commit = Commit::decode(body)?;
                let (header, input) = (&commit.header, Input::decode(commit.input)?);
                let needs = match &input.request {
                    Request::Upgrade { code, policy } => Some((*code, *policy)),
                    _ => auditor.is_none().then_some((header.code, header.policy)),
                };
                parts.expect(kind, needs, true)?;
                let auditor = match &mut auditor {
                    Some(auditor) => auditor,
                    none => none.insert(parts.auditor(header, secret.clone(), replay)?),
                };
                auditor.commit(&commit, &parts)?;
                if let Request::Amend { policy } = input.request {
                    parts.policies.insert(PolicyHash::of(&policy), policy);
                }
                parts.store(needs);
            }
            SectionKind::Refusal => {
                let refusal = Refusal::decode(body)?;
                let needs = match Input::decode(&refusal.input)?.request {
                    Request::Upgrade { code, policy } => Some((code, policy)),
                    _ => None,
                };
                let needs = needs.filter(|_| !refusal.verdict.reason.is_native());
                parts.expect(kind, needs, false)?;
                let auditor = auditor.as_mut().ok_or_else(|| out_of_place("Commit", kind))?;
                auditor.refusal(&refusal, &parts)?;
                parts.store(needs);
            }
            SectionKind::Secret => return Err(out_of_place("Commit or Refusal", kind)),
            end => parts.expect(end, None, false)?,
        }
    }
    let auditor = auditor.ok_or_else(|| out_of_place("Code", SectionKind::End))?;
    let (verified, verifier) = auditor.finish()?;
    let seal = reader.seal().expect("a capsule that was read to its end has a seal");
    Ok((verified, verifier.head().clone(), seal))
}

/// Returns the error that another section was expected in a capsule.
fn out_of_place(expected: &str, found: SectionKind) -> Error {
    ErrorKind::Section { expected: expected.to_string(), found: format!("{found:?}") }.into()
}

/// The parts of an object that its capsule had so far.
///
/// Invariant: each part comes once, right before the first record that needs it, in the order code,
/// policy, base image.
struct CapsuleParts<'a> {
    catalog: &'a Catalog,
    stack: DeepStack,
    memory_bytes_max: u64,
    codes: HashMap<CodeHash, Vec<u8>>,
    policies: HashMap<PolicyHash, Vec<u8>>,
    bases: HashMap<CodeHash, Arc<BaseImage>>,
    /// The parts since the last record, for the next one.
    new: New,
}

/// Parts that the next record is the first to need.
#[derive(Default)]
struct New {
    code: Option<CodeHash>,
    policy: Option<PolicyHash>,
    base: Option<Arc<BaseImage>>,
}

impl<'a> CapsuleParts<'a> {
    fn new(catalog: &'a Catalog, stack: DeepStack, memory_bytes_max: u64) -> CapsuleParts<'a> {
        let (codes, policies, bases, new) = Default::default();
        CapsuleParts { catalog, stack, memory_bytes_max, codes, policies, bases, new }
    }

    /// Takes in a part.
    fn put(&mut self, kind: SectionKind, bytes: &[u8]) -> Result<()> {
        let New { code, policy, base } = &mut self.new;
        let (has_code, has_policy) = (code.is_some(), policy.is_some());
        let mut is_next = base.is_none();
        match kind {
            SectionKind::Code => {
                let hash = *code.insert(CodeHash::of(bytes));
                is_next &= !has_code && !has_policy;
                is_next &= self.codes.insert(hash, bytes.to_vec()).is_none();
            }
            SectionKind::Policy => {
                let hash = *policy.insert(PolicyHash::of(bytes));
                is_next &= !has_policy;
                is_next &= self.policies.insert(hash, bytes.to_vec()).is_none();
            }
            _ => *base = Some(Arc::new(BaseImage::decode(bytes)?)),
        }
        is_next.then_some(()).ok_or_else(|| out_of_place("Commit or Refusal", kind))
    }

    /// Checks that a record has the parts that it needs, if any, and that the new ones are among
    /// them.
    fn expect(
        &self,
        record: SectionKind,
        needs: Option<(CodeHash, PolicyHash)>,
        begins: bool,
    ) -> Result<()> {
        let New { code, policy, base } = &self.new;
        let Some((needs_code, needs_policy)) = needs else {
            let is_new = code.is_some() || policy.is_some() || base.is_some();
            return if is_new { Err(out_of_place("what needs the parts", record)) } else { Ok(()) };
        };
        let needs_base = begins && !self.bases.contains_key(&needs_code);
        let lacks = |what| Err(out_of_place(what, record));
        match () {
            () if !self.codes.contains_key(&needs_code) => lacks("Code"),
            () if !self.policies.contains_key(&needs_policy) => lacks("Policy"),
            () if needs_base && base.is_none() => lacks("Base"),
            () if code.is_some_and(|code| code != needs_code)
                || policy.is_some_and(|policy| policy != needs_policy)
                || base.is_some() != needs_base =>
            {
                lacks("what needs the parts")
            }
            () => Ok(()),
        }
    }

    /// Puts the parts that were new where they stay, behind the record that needs them.
    fn store(&mut self, needs: Option<(CodeHash, PolicyHash)>) {
        let base = std::mem::take(&mut self.new).base;
        self.bases.extend(needs.zip(base).map(|((code, _), base)| (code, base)));
    }

    /// Returns an auditor of the lineage that begins with this header.
    fn auditor(&self, genesis: &Header, secret: Secret, replay: Replay) -> Result<Auditor<'a>> {
        let definition = PartSource::definition(self, (genesis.code, genesis.policy))?;
        let runnable = match replay {
            Replay::Yes => Some((PartSource::runnable(self, &definition)?, self.catalog)),
            Replay::No => None,
        };
        let base = PartSource::base(self, genesis.code)?;
        Auditor::new(self.stack, definition, base, secret, runnable)
    }
}

impl PartSource for CapsuleParts<'_> {
    fn definition(&self, (code, policy): (CodeHash, PolicyHash)) -> Result<Arc<Definition>> {
        let wasm = self.codes.get(&code).ok_or_else(|| missing("code", code))?;
        let encoded = self.policies.get(&policy).ok_or_else(|| missing("policy", policy))?;
        let read = || Ok((wasm.clone(), encoded.clone()));
        self.catalog.definition(self.stack, (code, policy), read)
    }

    fn base(&self, code: CodeHash) -> Result<Arc<BaseImage>> {
        let base = self.new.base.as_ref().or_else(|| self.bases.get(&code));
        base.cloned().ok_or_else(|| missing("base image of code", code))
    }

    fn runnable(&self, definition: &Definition) -> Result<Arc<Runnable>> {
        let hash = definition.code.hash;
        let wasm = self.codes.get(&hash).ok_or_else(|| missing("code", hash))?;
        let read = || Ok(wasm.clone());
        self.catalog.runnable(self.stack, definition, self.memory_bytes_max, read)
    }
}
