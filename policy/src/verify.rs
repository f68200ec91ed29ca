//! Verification: recomputes a lineage record by record, trusting nobody.
//!
//! For each record it recomputes the header from the parent and the payloads (credentials, ledger,
//! jump, memory root, admission and all) and compares it with the given one. It repeats a direct
//! write and an amendment, which run no code. For an upgrade, whose new parts it is given before,
//! it verifies the policies' verdicts and that the new code accepts states of the old; the memory
//! begins anew there. It trusts what the code makes of every other step (memory, globals, effects
//! and fuel) and the recorded version of the instrumentation: the engine's replay verifies those.
//! The answer of a policy's guard is code's work too: a caller that can run guards verifies it by
//! [`Verifier::commit_asking`]. Of an input in a session it verifies all but the code, which only
//! the object's host can.
//!
//! Hashes of payloads are salted: it needs the object's secret.
//!
//! Where only headers are left, [`Headers`] verifies that they are chained; a [`Verifier`] resumes
//! with the first version whose memory is there.
//!
//! It does not know where records come from. It holds one image, the ledger and O(log n) hashes.

use std::sync::Arc;

use object::authentication::{authenticate, authenticate_refused};
use object::commit::Commit;
use object::credential::{Host, Memo};
use object::effects::{Admission, Effects, decode_globals, globals_hash};
use object::hash::GlobalsHash;
use object::head::{Head, Outcome, genesis};
use object::header::{Header, Kind};
use object::headers::Headers;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::memory::{Memory, Page, Tree};
use object::refusal::{Refusal, Verdict};
use object::secret::Secret;
use object::{Error, Result};
use schema::write;

use crate::admission::{Laws, Step, admit, admit_upgrade, arguments, require_migration};
use crate::definition::Definition;
use crate::guard::{Guards, NotAsked};
use crate::policy::Policy;

/// An object's parts from its genesis, or an upgrade, to the next upgrade.
#[derive(Clone, Debug)]
pub struct Era {
    /// The object's definition, without its memory; amendments change its policy.
    pub definition: Arc<Definition>,
    /// The image that its code starts from.
    pub base: Arc<BaseImage>,
}

/// A lineage verified up to its head. Cloning shares its pages: a version that may fail
/// verification is tried on a clone.
#[derive(Clone, Debug)]
pub struct Verifier {
    definition: Arc<Definition>,
    head: Head,
    replica: Replica,
    /// The parts that the next upgrade brings in.
    next: Option<Era>,
    memo: Arc<Memo>,
}

/// The payloads of a commit, decoded.
struct DecodedPayloads {
    input: Input,
    effects: Effects,
    admission: Admission,
}

impl DecodedPayloads {
    fn decode(commit: &Commit<'_>) -> Result<DecodedPayloads> {
        Ok(DecodedPayloads {
            input: Input::decode(commit.input)?,
            effects: Effects::decode(commit.effects)?,
            admission: Admission::decode(commit.admission)?,
        })
    }
}

impl Verifier {
    /// Verifies a genesis: `base` is the image that `definition`'s code starts from, and `secret`
    /// the object's.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](object::ErrorKind::Mismatch) naming the part that does not match, or the error
    /// of the payload that does not decode.
    pub fn genesis(
        definition: Arc<Definition>,
        base: Arc<BaseImage>,
        commit: &Commit<'_>,
        secret: Secret,
    ) -> Result<Verifier> {
        let DecodedPayloads { input, effects, admission } = DecodedPayloads::decode(commit)?;
        if !input.request.is_genesis() {
            return Err(Error::mismatch("request", 0, "create or fork", input.request.action()));
        }
        arguments(&definition, &input.request)?;
        if input.credential.is_some() || admission != Admission::default() {
            return Err(Error::mismatch("genesis", 0, "no signer and no rule", "some"));
        }
        if !secret.is_of(&commit.header) {
            return Err(Error::mismatch("secret", 0, "the object's", "another"));
        }
        let mut replica = Replica::new(base);
        let outcome = replica.take(&definition, commit, &effects)?;
        let header = genesis(&input, &outcome, &secret);
        compare(&header, &commit.header)?;
        if let Request::Fork { of } = &input.request {
            is_as(of, &header, &effects)?;
        }
        definition.schema.validate_state(&replica.image, definition.code.state_address)?;
        let (next, memo) = Default::default();
        Ok(Verifier { definition, head: Head::new(header, secret), replica, next, memo })
    }

    /// Continues behind headers, from the newest version's `image`, `globals` and `ledger`:
    /// verifies that these are the ones that the newest header names, not how they came about.
    /// Takes on trust that `secret` is the object's, until a later version shows it.
    ///
    /// # Errors
    ///
    /// As of [`Verifier::genesis`].
    pub fn resume(
        definition: Arc<Definition>,
        headers: &Headers,
        ledger: Arc<Ledger>,
        image: Image,
        globals: Vec<u64>,
        secret: &Secret,
    ) -> Result<Verifier> {
        let mut head = headers.head().clone();
        let (header, seq) = (&head.header, head.header.seq);
        let tree = Tree::of(&image);
        if (image.bytes_count(), tree.root()) != (header.memory_bytes, header.memory_root) {
            return Err(Error::mismatch("memory root", seq, header.memory_root, tree.root()));
        }
        let globals_hash = globals_hash(&globals);
        if globals_hash != header.globals {
            return Err(Error::mismatch("globals", seq, header.globals, globals_hash));
        }
        if ledger.hash() != header.ledger {
            return Err(Error::mismatch("ledger", seq, header.ledger, ledger.hash()));
        }
        let parts = definition.parts();
        if (parts.code, parts.schema, parts.policy) != (header.code, header.schema, header.policy) {
            return Err(Error::mismatch("code", seq, header.code, parts.code));
        }
        definition.schema.validate_state(&image, definition.code.state_address)?;
        (head.ledger, head.secret) = (ledger, Some(secret.since(seq + 1)?));
        let replica = Replica { image, tree, globals, globals_hash };
        let (next, memo) = Default::default();
        Ok(Verifier { definition, head, replica, next, memo })
    }

    /// Announces the parts that the next version, an upgrade, brings in: it names code and policy
    /// by their hashes. That the base image is the code's own is taken on trust.
    pub fn expect(&mut self, era: Era) {
        self.next = Some(era);
    }

    /// Verifies the next version. That a guard permitted it is taken on trust.
    ///
    /// # Errors
    ///
    /// As of [`Verifier::genesis`]. After an error the lineage is refuted and the verifier of no
    /// further use.
    pub fn commit(&mut self, commit: &Commit<'_>) -> Result<()> {
        let seq = self.head.header.seq + 1;
        self.advance(commit, &mut NotAsked)?.map_err(|verdict| refused(seq, &verdict))
    }

    /// Verifies the next version, and lets `guards` ask its guard.
    ///
    /// # Errors
    ///
    /// As of [`Verifier::commit`], and a failure that kept the guard from a verdict.
    pub fn commit_asking<G: Guards<Image, Image>>(
        &mut self,
        commit: &Commit<'_>,
        guards: &mut G,
    ) -> Result<(), G::Stop>
    where
        G::Stop: From<Error>,
    {
        self.advance(commit, guards)?
    }

    /// Verifies the next version; the inner error is a verdict of [`admit`] against it.
    fn advance<G: Guards<Image, Image>>(
        &mut self,
        commit: &Commit<'_>,
        guards: &mut G,
    ) -> Result<Result<(), G::Stop>> {
        self.head.require_living()?;
        let seq = self.head.header.seq + 1;
        let DecodedPayloads { input, effects, admission } = DecodedPayloads::decode(commit)?;
        if input.request.is_genesis() {
            let (expected, found) = ("one that follows a genesis", input.request.action());
            return Err(Error::mismatch("request", seq, expected, found));
        }
        if input.time < self.head.header.time {
            let expected = format!("{} or later", self.head.header.time.as_millis());
            return Err(Error::mismatch("time", seq, expected, input.time.as_millis()));
        }
        let (tracked, host) = (self.definition.policy.tracked(), Host::verifier(&self.memo));
        let signers = authenticate(&self.head, tracked, &input, host);
        let signers = signers.map_err(|verdict| refused(seq, &verdict))?;
        let before = self.replica.image.clone();
        let Some(after) = self.begun(commit, &input, &effects)? else {
            return Err(Error::mismatch("code", seq, "the parts of an upgrade", "none"));
        };
        let outcome = self.replica.take(&after, commit, &effects)?;
        let step = Step {
            input: &input,
            before: &before,
            after: &self.replica.image,
            effects: &effects,
            fuel: outcome.fuel,
            page_count: outcome.page_count,
            instrumentation: outcome.instrumentation,
            policy: outcome.parts.policy,
        };
        let laws = Laws { before: &self.definition, after: &after };
        let decided = match input.request {
            Request::Upgrade { .. } => admit_upgrade(laws, &self.head, signers, step, guards),
            _ => admit(laws.before, &self.head, signers, step, guards),
        };
        let decided = match decided {
            Ok(decided) => decided,
            Err(stop) => return Ok(Err(stop)),
        };
        if decided != admission {
            let (expected, found) = (format!("{decided:?}"), format!("{admission:?}"));
            return Err(Error::mismatch("admission", seq, expected, found));
        }
        let (header, ledger) = self.head.successor(&input, &outcome, &decided);
        compare(&header, &commit.header)?;
        self.head.advance(header, ledger);
        self.definition = after;
        Ok(Ok(()))
    }

    /// Returns the definition after a version at which the object's parts change; none for an
    /// upgrade to unknown parts. Repeats the steps that run no code.
    fn begun(
        &mut self,
        commit: &Commit<'_>,
        input: &Input,
        effects: &Effects,
    ) -> Result<Option<Arc<Definition>>> {
        let (seq, before, of) = (commit.header.seq, &self.replica.image, (input, effects));
        match &input.request {
            Request::Write { fields } => {
                let Definition { schema, code, .. } = &*self.definition;
                let pages = write::apply(schema, code.state_address, before, fields)?;
                ran_no_code(commit, of, before, &pages)?;
            }
            Request::Amend { policy } => {
                ran_no_code(commit, of, before, &[])?;
                let policy = Policy::decode(policy, &self.definition.schema)?;
                return Ok(Some(Arc::new(self.definition.amended(policy))));
            }
            Request::OpenSession { .. } | Request::Delete => ran_no_code(commit, of, before, &[])?,
            Request::Upgrade { code, policy } => {
                let Some(Era { definition, base }) = self.next.take() else { return Ok(None) };
                let parts = definition.parts();
                if parts.code != *code {
                    return Err(Error::mismatch("code", seq, code, parts.code));
                }
                if parts.policy != *policy {
                    return Err(Error::mismatch("policy", seq, policy, parts.policy));
                }
                let laws = Laws { before: &self.definition, after: &definition };
                require_migration(laws).map_err(|verdict| refused(seq, &verdict))?;
                self.replica = Replica::new(base);
                return Ok(Some(definition));
            }
            _ => {}
        }
        Ok(Some(Arc::clone(&self.definition)))
    }

    /// Verifies a refusal at the head: that it is chained, and that a refusal that the input by
    /// itself decides is the right one.
    ///
    /// # Errors
    ///
    /// As of [`Verifier::genesis`].
    pub fn refusal(&mut self, refusal: &Refusal) -> Result<()> {
        self.head.require_living()?;
        let seq = self.head.header.seq + 1;
        let input = Input::decode(&refusal.input)?;
        if input.request.is_genesis() {
            let (expected, found) = ("one that follows a genesis", input.request.action());
            return Err(Error::mismatch("refusal", seq, expected, found));
        }
        if input.time < self.head.header.time {
            let expected = format!("{} or later", self.head.header.time.as_millis());
            return Err(Error::mismatch("time", seq, expected, input.time.as_millis()));
        }
        let expected = self.head.refusal(&input, refusal.verdict.clone());
        if expected != *refusal {
            return Err(Error::mismatch("refusal", seq, "one that follows", "another"));
        }
        let (host, given) = (Host::verifier(&self.memo), &refusal.verdict);
        let tracked = self.definition.policy.tracked();
        let native = authenticate_refused(&self.head, tracked, &input, host, given).err();
        if native.is_some() || refusal.verdict.reason.is_native() {
            let given = Some(&refusal.verdict);
            if native.as_ref() != given {
                let expected = native.map_or("none".to_string(), |verdict| verdict.to_string());
                return Err(Error::mismatch("refusal", seq, expected, &refusal.verdict));
            }
        }
        self.head.record(refusal);
        Ok(())
    }

    /// The newest version verified.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The memory of the newest version verified.
    pub fn image(&self) -> &Image {
        &self.replica.image
    }

    /// The globals of the newest version verified.
    pub fn globals(&self) -> &[u64] {
        &self.replica.globals
    }

    /// Returns the object's definition, without its memory.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }
}

/// Checks that a fork equals its original version, and keeps that one's next wake or has none.
fn is_as(of: &Header, fork: &Header, effects: &Effects) -> Result<()> {
    let wrong = |what, expected: &dyn ToString, found: &dyn ToString| {
        Err(Error::mismatch(what, 0, expected.to_string(), found.to_string()))
    };
    if of.kind == Kind::Delete {
        return wrong("kind", &"a version before the deletion", &of.kind.name());
    }
    if (of.memory_bytes, of.memory_root) != (fork.memory_bytes, fork.memory_root) {
        return wrong("memory root", &of.memory_root, &fork.memory_root);
    }
    if of.globals != fork.globals {
        return wrong("globals", &of.globals, &fork.globals);
    }
    if (of.code, of.schema) != (fork.code, fork.schema) {
        return wrong("code", &of.code, &fork.code);
    }
    if of.policy != fork.policy {
        return wrong("policy", &of.policy, &fork.policy);
    }
    if of.time > fork.time {
        return wrong("time", &format!("{} or later", of.time.as_millis()), &fork.time.as_millis());
    }
    let is_of = [Effects::of_fork(of), Effects::of_fork_without_wake(of)].contains(effects);
    if !is_of || fork.fuel != 0 {
        return wrong("effects", &"the wake of the version or none, and no others", &"others");
    }
    Ok(())
}

/// Returns the error for a version on record that the policy refuses.
fn refused(seq: u64, verdict: &Verdict) -> Error {
    Error::mismatch("admission", seq, "a permit", verdict)
}

/// Checks that a version whose code did not run has the effects of its request and, compared with
/// the memory before, only `pages` changed.
fn ran_no_code(
    commit: &Commit<'_>,
    (input, effects): (&Input, &Effects),
    before: &Image,
    pages: &[(u32, Arc<Page>)],
) -> Result<()> {
    let seq = commit.header.seq;
    let same = |((index, page), given): (&(u32, Arc<Page>), &(u32, &Page))| {
        *index == given.0 && **page == *given.1
    };
    if pages.len() != commit.pages.len() || !pages.iter().zip(&commit.pages).all(same) {
        return Err(Error::mismatch("pages", seq, "those of the request", "others"));
    }
    if *effects != Effects::without_code(&input.request) || commit.header.fuel != 0 {
        return Err(Error::mismatch("effects", seq, "those without the code", "others"));
    }
    if commit.globals.is_some() || commit.header.memory_bytes != before.bytes_count() {
        return Err(Error::mismatch("memory", seq, "as the request leaves it", "another"));
    }
    Ok(())
}

/// The memory and globals as the commits so far leave them.
#[derive(Clone, Debug)]
struct Replica {
    image: Image,
    tree: Tree,
    globals: Vec<u64>,
    globals_hash: GlobalsHash,
}

impl Replica {
    fn new(base: Arc<BaseImage>) -> Replica {
        let globals = base.globals().to_vec();
        let globals_hash = globals_hash(&globals);
        let image = Image::new(base);
        Replica { tree: Tree::of(&image), image, globals, globals_hash }
    }

    /// Takes a version after which the object's definition is `definition`.
    fn take<'e>(
        &mut self,
        definition: &'e Definition,
        commit: &Commit<'_>,
        effects: &'e Effects,
    ) -> Result<Outcome<'e>> {
        let header = &commit.header;
        if let Some((index, _)) = commit.pages.iter().find(|it| self.image.holds(it.0, it.1)) {
            let found = format!("page {index} as it was");
            return Err(Error::mismatch("pages", header.seq, "pages that differ", found));
        }
        let pages = commit.pages.iter().map(|(index, page)| (*index, Arc::new(**page)));
        self.image = self.image.step(header.memory_bytes, pages.collect())?;
        let dirty: Vec<u32> = commit.pages.iter().map(|(index, _)| *index).collect();
        self.tree.update(&self.image, &dirty);
        if let Some(globals) = commit.globals {
            let after = decode_globals(globals)?;
            let (count, found) = (self.globals.len(), after.len());
            if found != count {
                return Err(Error::mismatch("globals", header.seq, count, found));
            }
            if after == self.globals {
                let expected = "globals that differ";
                return Err(Error::mismatch("globals", header.seq, expected, "those before"));
            }
            self.globals = after;
            self.globals_hash = GlobalsHash::of(globals);
        }
        let address = definition.code.state_address;
        definition.schema.validate_state(&self.image, address)?;
        assert_eq!(self.image.bytes_count(), header.memory_bytes, "an image has its length");
        Ok(Outcome {
            effects,
            instrumentation: header.instrumentation,
            fuel: header.fuel,
            memory_bytes: header.memory_bytes,
            memory_root: self.tree.root(),
            page_count: commit.pages.len() as u32,
            globals: self.globals_hash,
            parts: definition.parts(),
            tracked: definition.policy.tracked(),
        })
    }
}

/// Compares a header with the recomputed one; the error names the first field that differs.
fn compare(expected: &Header, found: &Header) -> Result<()> {
    let mut differing = expected.fields().into_iter().zip(found.fields());
    match differing.find(|(one, other)| one != other) {
        Some(((what, expected), (_, value))) => {
            Err(Error::mismatch(what, found.seq, expected, value))
        }
        None => Ok(()),
    }
}
