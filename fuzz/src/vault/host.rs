//! A host of one vault, made of the pure functions alone: an engine without a disk and without
//! running code. The caller states the outcome of a step.
//!
//! This module does not know what must hold.

use std::sync::Arc;

use object::authentication::authenticate;
use object::commit::Commit;
use object::credential::{self, Credential, Memo};
use object::effects::{Admission, Effects, Output, encode_globals, globals_hash};
use object::head::{Head, Outcome, genesis};
use object::header::{Header, Kind};
use object::image::Image;
use object::input::{Input, Request};
use object::memory::{Memory, Page, Tree};
use object::refusal::{Reason, Refusal, Verdict};
use object::secret::{SECRET_BYTES, Secret};
use object::time::Time;
use policy::admission::{Step, admit};
use policy::definition::Definition;
use policy::guard::NotAsked;
use policy::verify::Verifier;
use schema::write;

use super::forged::Before;
use super::law::{Law, sessions};
use super::{Made, STATE_PAGE, base, definition};

/// A vault and its newest version.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) definition: Arc<Definition>,
    pub(crate) head: Head,
    pub(crate) image: Image,
    tree: Tree,
}

/// The claimed outcome of a step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claim {
    pub(crate) pages: Vec<(u32, Arc<Page>)>,
    pub(crate) effects: Effects,
    pub(crate) fuel: u64,
    /// Bytes by which the memory grew.
    pub(crate) grown: u64,
    pub(crate) globals: Option<Vec<u64>>,
}

impl Claim {
    /// Claims the outcome of code: this state and nothing else.
    pub(crate) fn of(made: &Made, image: &Image) -> Claim {
        let page = made.state.page();
        let pages = match image.holds(STATE_PAGE, &page) {
            true => Vec::new(),
            false => vec![(STATE_PAGE, Arc::new(page))],
        };
        let output = |payload: [u8; 8]| Output { name: "put".into(), payload: payload.to_vec() };
        let outputs = made.emits.map(output).into_iter().collect();
        let (result, messages) = (made.result.clone(), Vec::new());
        let effects = Effects { result, outputs, wake: made.wake, messages };
        Claim { pages, effects, fuel: 30, grown: 0, globals: None }
    }
}

/// A version that was made and not taken yet.
pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) bytes: Vec<u8>,
    image: Image,
    tree: Tree,
}

impl Host {
    /// A vault at its genesis, and its genesis verified.
    pub(crate) fn new(law: Law, drawn: [u8; SECRET_BYTES], time: u64) -> (Host, Verifier, Vec<u8>) {
        let definition = definition(law);
        let (secret, salt) = (Secret::new(drawn), Secret::image_salt(&drawn));
        let request = Request::Create { salt, arguments: Vec::new() };
        let input = Input { request, time: Time::from_millis(time), credential: None };
        let image = Image::new(base());
        let (tree, claim) = (Tree::of(&image), Claim::default());
        let header = genesis(&input, &outcome(&definition, &claim, &image, &tree), &secret);
        let head = Head::new(header.clone(), secret.clone());
        let bytes = encode(header, &input, &claim, &Admission::default());
        let commit = Commit::decode(&bytes).expect("it was encoded");
        let verifier = Verifier::genesis(Arc::clone(&definition), base(), &commit, secret);
        let verifier = verifier.expect("a genesis that was just made holds");
        (Host { definition, head, image, tree }, verifier, bytes)
    }

    /// Returns the ground on which the next version is forged.
    pub(crate) fn before(&self) -> Before<'_> {
        let (definition, image) = (&*self.definition, &self.image);
        let secret = self.head.secret.as_ref().expect("a host has the secret");
        let time = self.head.header.time.as_millis();
        Before { definition, image, time, secret, refusal_count: self.head.refusal_count }
    }

    /// Returns the outcome where no code runs: of a write, if the schema has it; of an amendment,
    /// if there is such a law; of the opening of a session; of a deletion.
    pub(crate) fn written(&self, request: &Request) -> Option<Claim> {
        let fields = match request {
            Request::Write { fields } => fields,
            Request::Amend { .. } => return amended(request).map(|_| Claim::default()),
            _ => {
                let effects = Effects::without_code(request);
                return Some(Claim { effects, ..Claim::default() });
            }
        };
        let Definition { schema, code, .. } = &*self.definition;
        let pages = write::apply(schema, code.state_address, &self.image, fields).ok()?;
        Some(Claim { pages, ..Claim::default() })
    }

    /// Decides as an engine does.
    pub(crate) fn decide(
        &self,
        input: &Input,
        claim: Option<&Claim>,
    ) -> Result<Admission, Verdict> {
        let session = input.credential.as_ref().and_then(Credential::session);
        let key = session.and_then(|id| sessions().iter().find(|key| key.id() == id));
        let memo = Memo::default();
        let tracked = self.definition.policy.tracked();
        let host = credential::Host::holding(&memo, key);
        let signers = authenticate(&self.head, tracked, input, host)?;
        let reason = match input.request {
            Request::Amend { .. } => Reason::Policy,
            _ => Reason::State,
        };
        let claim = claim.ok_or_else(|| Verdict::native(reason, ""))?;
        let after = self.after(claim);
        let step = Step {
            input,
            before: &self.image,
            after: &after,
            effects: &claim.effects,
            fuel: claim.fuel,
            page_count: claim.pages.len() as u32,
            instrumentation: 2,
            policy: self.behind(input).policy.hash(),
        };
        admit(&self.definition, &self.head, signers, step, &mut NotAsked)
    }

    /// Returns the vault's definition behind an admitted input.
    fn behind(&self, input: &Input) -> Arc<Definition> {
        amended(&input.request).unwrap_or_else(|| Arc::clone(&self.definition))
    }

    fn after(&self, claim: &Claim) -> Image {
        let bytes = self.image.bytes_count() + claim.grown;
        self.image.step(bytes, claim.pages.clone()).expect("the pages are in the memory")
    }

    /// The version that the input, the claim and the admission make. A nonce that is not `fresh`
    /// is not counted.
    pub(crate) fn draft(
        &self,
        input: &Input,
        claim: &Claim,
        admission: &Admission,
        fresh: bool,
    ) -> Draft {
        let (image, mut tree) = (self.after(claim), self.tree.clone());
        let dirty: Vec<u32> = claim.pages.iter().map(|(index, _)| *index).collect();
        tree.update(&image, &dirty);
        let definition = self.behind(input);
        let outcome = outcome(&definition, claim, &image, &tree);
        let header = match fresh {
            true => self.head.successor(input, &outcome, admission).0,
            false => {
                let unsigned = Input { credential: None, ..input.clone() };
                let (header, _) = self.head.successor(&unsigned, &outcome, admission);
                let secret = self.head.secret.as_ref().expect("a host has the secret");
                Header { input: input.hash(secret.version_salts().input), ..header }
            }
        };
        let bytes = encode(header.clone(), input, claim, admission);
        Draft { header, bytes, image, tree }
    }

    /// Takes the version that the input, the claim and the admission make.
    pub(crate) fn take(&mut self, input: &Input, claim: &Claim, admission: &Admission) -> Draft {
        let draft = self.draft(input, claim, admission, true);
        let definition = self.behind(input);
        let outcome = outcome(&definition, claim, &draft.image, &draft.tree);
        let (header, ledger) = self.head.successor(input, &outcome, admission);
        self.head.advance(header, ledger);
        self.definition = definition;
        (self.image, self.tree) = (draft.image.clone(), draft.tree.clone());
        draft
    }

    /// Returns the vault of somebody who goes on behind its deletion.
    pub(crate) fn undead(&self) -> Host {
        let mut undead = self.clone();
        Arc::make_mut(&mut undead.head.header).kind = Kind::Call;
        undead
    }

    /// Puts a refusal on record.
    pub(crate) fn refuse(&mut self, input: &Input, verdict: Verdict) -> Refusal {
        let refusal = self.head.refusal(input, verdict);
        self.head.record(&refusal);
        refusal
    }
}

/// The vault under the law that an amendment brings, if it brings one.
fn amended(request: &Request) -> Option<Arc<Definition>> {
    let Request::Amend { policy } = request else { return None };
    let mut laws = Law::ALL.into_iter().map(definition);
    laws.find(|definition| definition.policy.encode() == *policy)
}

fn outcome<'a>(
    definition: &'a Definition,
    claim: &'a Claim,
    image: &Image,
    tree: &Tree,
) -> Outcome<'a> {
    Outcome {
        effects: &claim.effects,
        instrumentation: 2,
        fuel: claim.fuel,
        memory_bytes: image.bytes_count(),
        memory_root: tree.root(),
        page_count: claim.pages.len() as u32,
        globals: globals_hash(claim.globals.as_deref().unwrap_or_default()),
        parts: definition.parts(),
        tracked: definition.policy.tracked(),
    }
}

fn encode(header: Header, input: &Input, claim: &Claim, admission: &Admission) -> Vec<u8> {
    let globals = claim.globals.as_ref().map(|globals| encode_globals(globals));
    let commit = Commit {
        header,
        input: &input.encode(),
        effects: &claim.effects.encode(),
        admission: &admission.encode(),
        globals: globals.as_deref(),
        pages: claim.pages.iter().map(|(index, page)| (*index, &**page)).collect(),
    };
    let mut bytes = Vec::new();
    commit.encode_into(&mut bytes);
    bytes
}
