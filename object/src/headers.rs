//! Verification of a lineage of which only headers and refusals are left: they must be chained, and
//! the fields that a version cannot change must stay.
//!
//! This module does not know payloads or memories.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::head::Head;
use crate::header::{Header, Kind, shown};
use crate::refusal::Refusal;

/// Headers verified up to the newest. Its nonces are not known.
#[derive(Clone, Debug)]
pub struct Headers(Head);

impl Headers {
    /// Starts with a genesis: its hash is the object's id.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch) when the header is no genesis;
    /// [`Decode`](crate::ErrorKind::Decode) when no bytes decode to it.
    pub fn genesis(header: &Header) -> Result<Headers> {
        header.validate()?;
        if !header.kind.is_genesis() || header.seq != 0 {
            return Err(Error::mismatch("kind", header.seq, "create or fork", header.kind.name()));
        }
        Ok(Headers(Head::of_header(header.clone())))
    }

    /// Continues behind a head that was verified in another way.
    pub fn behind(head: &Head) -> Headers {
        Headers(Head { secret: None, ..head.clone() })
    }

    /// Returns the newest header and all that the next one must name, except the nonces.
    pub fn head(&self) -> &Head {
        &self.0
    }

    /// Verifies that a version follows.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch) naming the part that does not match.
    pub fn version(&mut self, header: &Header) -> Result<()> {
        let (head, seq) = (&self.0, self.0.header.seq + 1);
        head.require_living()?;
        let wrong = |what, expected: &dyn ToString, found: &dyn ToString| {
            Err(Error::mismatch(what, seq, expected.to_string(), found.to_string()))
        };
        let jump = head.next_jump();
        if (header.seq, header.object) != (seq, Some(head.id)) {
            return wrong("object", &head.id, &header.object_id());
        }
        if header.kind.is_genesis() {
            return wrong("kind", &"one that follows a genesis", &header.kind.name());
        }
        if header.parent != Some(head.hash) {
            return wrong("parent", &head.hash, &shown(header.parent));
        }
        if header.jump != Some(jump) {
            return wrong("jump", &jump, &shown(header.jump));
        }
        if header.time < head.header.time {
            return wrong(
                "time",
                &format!("{} or later", head.header.time.as_millis()),
                &header.time.as_millis(),
            );
        }
        let is_upgraded = header.kind == Kind::Upgrade;
        if !is_upgraded && header.memory_bytes < head.header.memory_bytes {
            let expected = format!("{} or more", head.header.memory_bytes);
            return wrong("memory bytes", &expected, &header.memory_bytes);
        }
        let code = |header: &Header| (header.code, header.schema);
        if !is_upgraded && code(header) != code(&head.header) {
            return wrong("code", &head.header.code, &header.code);
        }
        let memory = |header: &Header| (header.memory_root, header.globals, header.memory_bytes);
        let keeps = matches!(header.kind, Kind::Amend | Kind::OpenSession | Kind::Delete);
        if keeps && memory(header) != memory(&head.header) {
            return wrong("memory root", &head.header.memory_root, &header.memory_root);
        }
        let is_amended = is_upgraded || header.kind == Kind::Amend;
        if !is_amended && header.policy != head.header.policy {
            return wrong("policy", &head.header.policy, &header.policy);
        }
        if (header.refusals, header.refusal_count) != (head.refusals, head.refusal_count) {
            return wrong("refusals", &shown(head.refusals), &shown(header.refusals));
        }
        self.0.advance(header.clone(), Arc::default());
        Ok(())
    }

    /// Verifies that a refusal follows.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](crate::ErrorKind::Mismatch) naming the part that does not match.
    pub fn refusal(&mut self, refusal: &Refusal) -> Result<()> {
        let (head, seq) = (&self.0, self.0.header.seq + 1);
        head.require_living()?;
        let found = (refusal.object, refusal.seq, refusal.parent, refusal.previous);
        if found != (head.id, seq, head.hash, head.refusals) {
            let expected = format!("one behind {} and {}", head.hash, shown(head.refusals));
            let found = format!("one behind {} and {}", refusal.parent, shown(refusal.previous));
            return Err(Error::mismatch("refusal", seq, expected, found));
        }
        self.0.record(refusal);
        Ok(())
    }
}
