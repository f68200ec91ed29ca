//! Export: an object out of a store as one stream of bytes, a capsule.
//!
//! It writes the log's content, section by section, in the memory of one record and of the sections
//! that are compressed together. It does not know who reads a capsule.

use std::collections::HashSet;
use std::io::{self, Write};

use object::capsule::{Chain, HEAD, SectionKind};
use object::hash::{BaseHash, CodeHash, ObjectId, PolicyHash};
use object::header::{Header, Kind};
use object::input::{Input, Request};

use crate::error::{Error, ErrorKind, Result};
use crate::read::lineage::{Lineage, LineageEntry};
use crate::read::packed::Packing;
use crate::store::Store;

/// Writes a capsule section by section, and compresses many together.
#[derive(Debug)]
pub struct CapsuleWriter<W> {
    to: W,
    chain: Chain,
    packing: Packing,
}

impl<W: Write> CapsuleWriter<W> {
    /// Writes the head of a capsule.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn new(mut to: W) -> Result<CapsuleWriter<W>> {
        to.write_all(&HEAD).map_err(failed)?;
        Ok(CapsuleWriter { to, chain: Chain::new(), packing: Packing::default() })
    }

    /// Writes a section, which is neither the end nor packed, or keeps it until there are more.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn section(&mut self, kind: SectionKind, body: &[u8]) -> Result<()> {
        if !self.packing.has_room(body.len()) {
            self.pack()?;
        }
        if !Packing::takes(body.len()) {
            return self.write(kind, body);
        }
        self.packing.add(kind, body);
        if self.packing.is_enough() { self.pack() } else { Ok(()) }
    }

    /// Writes the sections that were kept back.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn pack(&mut self) -> Result<()> {
        match self.packing.take() {
            Some(body) => self.write(SectionKind::Packed, &body),
            None => Ok(()),
        }
    }

    /// Writes the end.
    ///
    /// # Errors
    ///
    /// Those of `to`.
    pub fn end(mut self) -> Result<()> {
        self.pack()?;
        let count = self.chain.section_count();
        self.write(SectionKind::End, &count.to_le_bytes())?;
        self.to.flush().map_err(failed)
    }

    fn write(&mut self, kind: SectionKind, body: &[u8]) -> Result<()> {
        let (head, check) = self.chain.section(kind, body);
        let parts = [&head[..], body, &check[..]];
        parts.iter().try_for_each(|part| self.to.write_all(part)).map_err(failed)
    }
}

fn failed(error: io::Error) -> Error {
    Error::from(ErrorKind::Target { operation: "write the capsule" }).because(error)
}

/// An object on its way into a capsule: each part that its lineage needs is written once, before
/// the first record that needs it.
struct Export<'a, W> {
    store: &'a Store,
    id: ObjectId,
    capsule: CapsuleWriter<&'a mut W>,
    codes: HashSet<CodeHash>,
    policies: HashSet<PolicyHash>,
    /// The codes whose base images were written.
    bases: HashSet<CodeHash>,
    bytes: Vec<u8>,
}

impl<W: Write> Export<'_, W> {
    fn entry(&mut self, entry: LineageEntry) -> Result<()> {
        match entry {
            LineageEntry::Commit(complete) => {
                let (stored, commit) = (complete.stored(), complete.commit());
                let Header { code, policy, kind, .. } = commit.header;
                if commit.header.seq == 0 {
                    self.capsule.section(SectionKind::Secret, &stored.secret()?.encode())?;
                }
                if let Some(base) = stored.begins_from() {
                    self.parts(code, policy, Some(base))?;
                }
                // One that an amendment brings is in its input.
                if kind == Kind::Amend {
                    self.policies.insert(policy);
                }
                self.bytes.clear();
                commit.encode_into(&mut self.bytes);
                self.capsule.section(SectionKind::Commit, &self.bytes)
            }
            LineageEntry::Header(stored) => Err(stored.pruned(stored.header().seq).of(self.id)),
            LineageEntry::Refusal(refusal) => {
                // A replay of the refusal needs the code and policy of the upgrade.
                let native = refusal.verdict.reason.is_native();
                if let Request::Upgrade { code, policy } = Input::decode(&refusal.input)?.request
                    && !native
                {
                    self.parts(code, policy, None)?;
                }
                self.capsule.section(SectionKind::Refusal, &refusal.encode())
            }
        }
    }

    /// Writes the parts of an object that were not written yet.
    fn parts(&mut self, code: CodeHash, policy: PolicyHash, base: Option<BaseHash>) -> Result<()> {
        let (store, id) = (self.store, self.id);
        let part = |what, bytes: Option<Vec<u8>>| bytes.ok_or_else(|| Error::not_found(what, id));
        if self.codes.insert(code) {
            let bytes = part("code of object", store.code(code)?)?;
            self.capsule.section(SectionKind::Code, &bytes)?;
        }
        if self.policies.insert(policy) {
            let bytes = part("policy of object", store.policy(policy)?)?;
            self.capsule.section(SectionKind::Policy, &bytes)?;
        }
        if let Some(base) = base
            && self.bases.insert(code)
        {
            let bytes = store.base(base)?.map(|base| base.encode());
            self.capsule.section(SectionKind::Base, &part("base image of object", bytes)?)?;
        }
        Ok(())
    }
}

impl Store {
    /// Writes an object, whole, as a capsule; calls `progress` with the versions and refusals done,
    /// and the total.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound), those of `to` and of the file system, and damage.
    pub fn export(
        &self,
        id: ObjectId,
        to: &mut impl Write,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<()> {
        let row = self.inner().require_row(id)?;
        // A crash here must not undo versions that left in the capsule.
        self.inner().log.wait_durable(self.inner().log.tail().end)?;
        let all = row.seq() + 1 + row.refusal_count;
        let capsule = CapsuleWriter::new(to)?;
        let (codes, policies, bases, bytes) = Default::default();
        let mut export = Export { store: self, id, capsule, codes, policies, bases, bytes };
        for (entry, done) in Lineage::new(self.inner(), id, row).zip(1..) {
            export.entry(entry?)?;
            progress(done, all);
        }
        export.capsule.end()
    }
}
