//! Verification of a whole lineage, and its replay: the code runs every step again, every guard is
//! asked again, and memory, effects, fuel and verdict are compared with the record.
//!
//! Replay uses the commit path's own step; it appends nothing. This module does not know where the
//! records come from: a store or a capsule.

use std::sync::Arc;

use object::authentication::authenticate;
use object::commit::Commit;
use object::credential::{Host, Memo, PublicKey};
use object::effects::encode_globals;
use object::hash::{ObjectId, VersionHash};
use object::head::Head;
use object::header::Header;
use object::headers::Headers;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::ledger::Ledger;
use object::memory::Memory;
use object::refusal::{Refusal, Verdict};
use object::secret::Secret;
use object::time::Time;
use policy::definition::Definition;
use policy::verify::{Era, Verifier};

use crate::audit::part_source::PartSource;
use crate::error::{Error, ErrorKind, Result};
use crate::instrument::INSTRUMENTATION_VERSION;
use crate::stack::DeepStack;
use crate::step::catalog::{Catalog, Runnable, validate_guard};
use crate::step::guard::GuardRunner;
use crate::step::host_limit;
use crate::step::slots::Slots;
use crate::step::step::{StepResult, Subject, run};
use crate::step::stop::Stop;
use crate::substrate::StepLimits;

/// The choice whether verification runs every step again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Hashes, signatures, roots and admissions only.
    No,
    /// The steps and the policies' guards too.
    Yes,
}

/// The result of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Versions, the genesis among them.
    pub versions: u64,
    /// The number of versions of which retention left only the header: it is chained to the others.
    pub headers: u64,
    /// The number of versions that a policy's guard permitted, on top of the policy: only a replay
    /// asks it.
    pub guarded: u64,
    /// Refusals.
    pub refusals: u64,
    /// The newest version's hash.
    pub head: VersionHash,
    /// The newest version's time, which may be ahead of the verifier's clock.
    pub time: Time,
    /// The object and the version that the lineage says to begin as, if it is of a fork: that it
    /// does is for the other lineage to prove.
    pub fork_of: Option<(ObjectId, u64)>,
}

/// Verifies a lineage record by record.
pub(crate) struct Auditor<'a> {
    /// The definition of the genesis.
    definition: Arc<Definition>,
    base: Arc<BaseImage>,
    secret: Secret,
    verifier: Option<Verifier>,
    /// The verified headers, while only headers are left.
    headers: Option<Headers>,
    /// The means to run steps again, when they are replayed.
    replay: Option<Replayer<'a>>,
    verified: Verified,
}

/// The version that a refused input followed.
#[derive(Clone, Copy)]
struct Before<'a> {
    head: &'a Head,
    image: &'a Image,
    globals: &'a [u64],
}

/// The means to run steps and guards again.
struct Replayer<'a> {
    slots: Slots,
    runnable: Arc<Runnable>,
    catalog: &'a Catalog,
    stack: DeepStack,
}

impl Replayer<'_> {
    fn guards(&mut self) -> GuardRunner<'_> {
        GuardRunner::new(self.catalog, &mut self.slots.guards, self.stack)
    }
}

impl<'a> Auditor<'a> {
    /// Starts with an object's parts and its secret. With a runner, steps are replayed; then the
    /// base image must be the code's own, and the policy's guard a valid one.
    pub(crate) fn new(
        stack: DeepStack,
        definition: Arc<Definition>,
        base: Arc<BaseImage>,
        secret: Secret,
        runnable: Option<(Arc<Runnable>, &'a Catalog)>,
    ) -> Result<Auditor<'a>> {
        if let Some((runnable, _)) = &runnable {
            if runnable.base != base {
                return Err(differs("base image", 0, runnable.base_hash, base.hash()));
            }
            validate_guard(&definition.policy)?;
        }
        let slots = Slots::default();
        let replay =
            runnable.map(|(runnable, catalog)| Replayer { slots, runnable, catalog, stack });
        let (verifier, headers, verified) = Default::default();
        Ok(Auditor { definition, base, secret, verifier, headers, replay, verified })
    }

    /// Returns whether only headers are left of the versions so far.
    pub(crate) fn has_headers_only(&self) -> bool {
        self.headers.is_some()
    }

    /// Verifies the next version by its header only.
    pub(crate) fn header(&mut self, header: &Header) -> Result<()> {
        if let Some(verifier) = self.verifier.take() {
            self.headers = Some(Headers::behind(verifier.head()));
        }
        match &mut self.headers {
            Some(headers) => headers.version(header)?,
            None => self.headers = Some(Headers::genesis(header)?),
        }
        self.verified.versions += 1;
        self.verified.headers += 1;
        Ok(())
    }

    /// Verifies that the version verified last has this memory, and continues from there.
    /// `definition` decides on the following steps.
    pub(crate) fn resume(
        &mut self,
        definition: Arc<Definition>,
        ledger: Arc<Ledger>,
        image: Image,
        globals: Vec<u64>,
        library: &dyn PartSource,
    ) -> Result<()> {
        if let Some(replay) = &mut self.replay {
            // The code that the genesis had may be gone.
            replay.runnable = library.runnable(&definition)?;
        }
        let headers = self.headers.take().expect("only headers were left");
        let secret = &self.secret;
        let resumed = Verifier::resume(definition, &headers, ledger, image, globals, secret)?;
        self.verifier = Some(resumed);
        Ok(())
    }

    /// Verifies the next version; an upgrade's parts come from `library`.
    pub(crate) fn commit(&mut self, commit: &Commit<'_>, library: &dyn PartSource) -> Result<()> {
        let input = Input::decode(commit.input)?;
        let runnable = self.prepare(&input, library)?;
        if let Request::Upgrade { code, policy } = input.request
            && let Some(verifier) = &mut self.verifier
        {
            let base = library.base(code)?;
            if let Some(runnable) = runnable.as_ref().filter(|runnable| runnable.base != base) {
                let (expected, seq) = (runnable.base_hash, commit.header.seq);
                return Err(differs("base image", seq, expected, base.hash()));
            }
            verifier.expect(Era { definition: library.definition((code, policy))?, base });
        }
        // A fork has the memory of another object's run: only its root is verified.
        let is_fork = self.verifier.is_none() && matches!(input.request, Request::Fork { .. });
        if self.replay.is_some() && !is_fork {
            let (image, globals) = match &self.verifier {
                Some(verifier) => (verifier.image().clone(), verifier.globals().to_vec()),
                None => (Image::new(Arc::clone(&self.base)), self.base.globals().to_vec()),
            };
            self.replay_commit(commit, &input, &image, &globals)?;
        }
        match &mut self.verifier {
            Some(verifier) => {
                let mut guarded = verifier.definition().policy.guard().is_some();
                match &mut self.replay {
                    Some(replay) => {
                        let asked = verifier.commit_asking(commit, &mut replay.guards());
                        asked.map_err(|stop| not_made(stop, commit.header.seq))?;
                    }
                    None => verifier.commit(commit)?,
                }
                guarded |= matches!(input.request, Request::Upgrade { .. })
                    && verifier.definition().policy.guard().is_some();
                self.verified.guarded += u64::from(guarded);
            }
            None => {
                let (definition, base) = (Arc::clone(&self.definition), Arc::clone(&self.base));
                let secret = self.secret.clone();
                self.verifier = Some(Verifier::genesis(definition, base, commit, secret)?);
                if let Request::Fork { of } = &input.request {
                    self.verified.fork_of = Some((of.object_id(), of.seq));
                }
            }
        }
        self.verified.versions += 1;
        if let (Some(replay), Some(runnable)) = (&mut self.replay, runnable) {
            replay.runnable = runnable;
        }
        Ok(())
    }

    /// Returns the code of an upgrade, which a replay's catalog then knows.
    fn prepare(&self, input: &Input, library: &dyn PartSource) -> Result<Option<Arc<Runnable>>> {
        let (Some(_), Request::Upgrade { code, policy }) = (&self.replay, &input.request) else {
            return Ok(None);
        };
        let definition = library.definition((*code, *policy))?;
        validate_guard(&definition.policy)?;
        library.runnable(&definition).map(Some)
    }

    fn replay_commit(
        &mut self,
        commit: &Commit<'_>,
        input: &Input,
        image: &Image,
        globals: &[u64],
    ) -> Result<()> {
        let seq = commit.header.seq;
        let recorded = commit.header.instrumentation;
        if recorded != INSTRUMENTATION_VERSION {
            return Err(differs("instrumentation", seq, INSTRUMENTATION_VERSION, recorded));
        }
        let result = match self.run(input, StepLimits::default(), image, globals)? {
            Ok(result) => result,
            Err(verdict) => return Err(differs("step", seq, verdict, "a version")),
        };
        if !result.pages().eq(commit.pages.iter().copied()) {
            let found = commit.pages.iter().map(|(index, _)| index);
            let found = format!("{:?}", found.collect::<Vec<_>>());
            return Err(differs("pages", seq, format!("{:?}", result.changed), found));
        }
        let (expected, found) = (result.image.bytes_count(), commit.header.memory_bytes);
        if expected != found {
            return Err(differs("memory bytes", seq, expected, found));
        }
        if result.effects.encode() != commit.effects {
            return Err(differs("effects", seq, format!("{:?}", result.effects), "others"));
        }
        if result.fuel != commit.header.fuel {
            return Err(differs("fuel", seq, result.fuel, commit.header.fuel));
        }
        let new_code = result.new_code.as_ref();
        let globals = new_code.map_or(globals, |new_code| new_code.image.base().globals());
        let recorded = commit.globals.map_or_else(|| encode_globals(globals), <[u8]>::to_vec);
        if encode_globals(&result.globals) != recorded {
            return Err(differs("globals", seq, format!("{:?}", result.globals), "others"));
        }
        Ok(())
    }

    /// Returns the definition that decides on the next step.
    fn definition(&self) -> Arc<Definition> {
        let verifier = self.verifier.as_ref();
        Arc::clone(verifier.map_or(&self.definition, Verifier::definition))
    }

    /// Runs a step whose memory is not kept.
    fn run(
        &mut self,
        input: &Input,
        limits: StepLimits,
        image: &Image,
        globals: &[u64],
    ) -> Result<std::result::Result<StepResult, Verdict>> {
        let definition = self.definition();
        let replay = self.replay.as_mut().expect("only a replay runs steps");
        let Replayer { slots, runnable, catalog, stack } = replay;
        let definition = &definition;
        let subject = Subject { definition, runnable, image, globals, limits };
        match run(&mut slots.objects, catalog, *stack, subject, input) {
            Ok((loaded, result)) => {
                if input.request.runs_code() {
                    loaded.accept(&result.image);
                }
                Ok(Ok(result))
            }
            Err(Stop::Refused(verdict)) => Ok(Err(verdict)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Verifies a refusal at the newest version; an upgrade's parts come from `library`.
    pub(crate) fn refusal(&mut self, refusal: &Refusal, library: &dyn PartSource) -> Result<()> {
        if let Some(headers) = &mut self.headers {
            let count = headers.head().refusal_count;
            headers.refusal(refusal)?;
            refusal.verify(self.secret.since(refusal.seq)?.refusal_salt(count))?;
            self.verified.refusals += 1;
            return Ok(());
        }
        let Some(verifier) = &mut self.verifier else {
            return Err(differs("refusal", 0, "a genesis first", "a refusal"));
        };
        let (head, image) = (verifier.head().clone(), verifier.image().clone());
        let globals = verifier.globals().to_vec();
        verifier.refusal(refusal)?;
        self.verified.refusals += 1;
        let input = Input::decode(&refusal.input)?;
        if self.replay.is_none() || refusal.verdict.reason.is_native() {
            return Ok(());
        }
        self.prepare(&input, library)?;
        let memo = Memo::default();
        let definition = self.definition();
        let tracked = definition.policy.tracked();
        let signers = authenticate(&head, tracked, &input, Host::verifier(&memo));
        let signers = signers.map_err(|verdict| differs("verdict", refusal.seq, verdict, "a step"));
        let signers = signers?;
        // A limit that was the host's own is believed: the step is run under it.
        let limits = host_limit::read(&refusal.verdict).unwrap_or_default();
        let before = Before { head: &head, image: &image, globals: &globals };
        let given = Some(&refusal.verdict);
        let verdict = self.verdict(&input, limits, before, signers)?;
        if verdict.as_ref() == given {
            return Ok(());
        }
        let expected = verdict.map_or("a permit".to_string(), |verdict| verdict.to_string());
        Err(differs("verdict", refusal.seq, expected, &refusal.verdict))
    }

    /// The verdict against an input of `signers`; none when there is none.
    fn verdict(
        &mut self,
        input: &Input,
        limits: StepLimits,
        before: Before<'_>,
        signers: Vec<PublicKey>,
    ) -> Result<Option<Verdict>> {
        let Before { head, image, globals } = before;
        let result = match self.run(input, limits, image, globals)? {
            Err(verdict) => return Ok(Some(verdict)),
            Ok(result) => result,
        };
        let definition = self.definition();
        let replay = self.replay.as_mut().expect("only a replay runs steps");
        match result.admit(&definition, head, signers, input, image, &mut replay.guards()) {
            Ok(_) => Ok(None),
            Err(Stop::Refused(verdict)) => Ok(Some(verdict)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Ends the lineage: there must have been one.
    pub(crate) fn finish(mut self) -> Result<(Verified, Verifier)> {
        let verifier = self.verifier.ok_or_else(|| differs("lineage", 0, "a genesis", "none"))?;
        let Verified { versions, headers, guarded, .. } = self.verified;
        assert_eq!(versions, verifier.head().header.seq + 1, "every version was verified once");
        assert!(headers + guarded <= versions, "a header alone shows no guard");
        self.verified.head = verifier.head().hash;
        self.verified.time = verifier.head().header.time;
        Ok((self.verified, verifier))
    }
}

/// Returns the error that a version on record is not admitted, or the failure that kept it from
/// being decided on.
fn not_made(stop: Stop, seq: u64) -> Error {
    match stop {
        Stop::Refused(verdict) => differs("admission", seq, verdict, "a version"),
        Stop::Failed(error) => error,
    }
}

/// Returns the error that the record differs from the code's result.
pub(crate) fn differs(
    what: &'static str,
    seq: u64,
    expected: impl std::fmt::Display,
    found: impl std::fmt::Display,
) -> Error {
    let (expected, found) = (expected.to_string(), found.to_string());
    ErrorKind::Replay { what, seq, expected, found }.into()
}
