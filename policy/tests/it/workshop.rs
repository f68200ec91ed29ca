//! Lineages made by the pure functions alone, as the engine makes them; the test supplies the
//! outcome of running code.

use std::sync::Arc;
use std::time::Duration;

use continuant_policy::admission::{Laws, Step, admit, admit_upgrade, require_migration};
use continuant_policy::definition::Definition;
use continuant_policy::guard::NotAsked;
use continuant_policy::verify::{Era, Verifier};
use continuant_policy::{Policy, STACK_BYTES};
use object::Result;
use object::authentication::authenticate;
use object::capsule::{Chain, HEAD, SectionKind};
use object::codec::Write;
use object::commit::Commit;
use object::credential::{Batch, Credential, Host, Memo, SessionKey, SigningKey};
use object::effects::{Admission, Effects, decode_globals, encode_globals, globals_hash};
use object::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
use object::head::{Head, Outcome, genesis};
use object::header::Header;
use object::image::{BaseImage, Image};
use object::input::{Input, Request};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page, Tree};
use object::message::{Message, Origin};
use object::refusal::{Refusal, Verdict};
use object::secret::{SECRET_BYTES, Secret};
use object::time::Time;
use schema::write;
use schema::{Value, encode_args, encode_value};

use crate::module::{STATE, WIT, module};
use crate::policy::on_stack;

pub(crate) const POLICY: &str = r#"
@id("anyone")
permit(principal, action in [Action::"add", Action::"write"], resource);

@id("itself")
permit(principal is Object, action == Action::"advance", resource) when { principal == resource };

@id("limit")
forbid(principal, action, resource) when { context.after.count > 1000 };

@id("locked")
forbid(principal, action == Action::"write", resource)
when { context.before.locked && context.signers.isEmpty() };
"#;

/// Milliseconds since 1970 at which lineages begin.
pub(crate) const START: u64 = 1_700_000_000_000;

/// Runs a test on a stack that policies want.
pub(crate) fn run<T: Send>(body: impl FnOnce() -> T + Send) -> T {
    on_stack(STACK_BYTES, body)
}

/// Pages behind pointers, as an image's step takes them.
pub(crate) fn shared(pages: &[(u32, Page)]) -> Vec<(u32, Arc<Page>)> {
    pages.iter().map(|(index, page)| (*index, Arc::new(*page))).collect()
}

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_secret(&[number; 32])
}

/// The workshop holds the secret of the first session only.
pub(crate) fn session(number: u8) -> SessionKey {
    SessionKey::from_secret(&[100 + number; 32])
}

/// A policy's bytes, of the version of the language that it was written for: a later version of
/// the library makes other ones of the same text.
fn encoded(policy: &str) -> Vec<u8> {
    let mut bytes = vec![2, 4, 0, 6, 0];
    bytes.put_blob(policy.as_bytes()).put_blob(b"");
    bytes
}

/// The outcome of a step, given by the test.
#[derive(Clone, Default)]
pub(crate) struct Ran {
    pub(crate) pages: Vec<(u32, Page)>,
    /// Pages by which the memory grew.
    pub(crate) grown: u64,
    pub(crate) globals: Option<Vec<u64>>,
    pub(crate) effects: Effects,
    pub(crate) fuel: u64,
}

/// A record of a lineage, taken apart.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there are few of them")]
pub(crate) enum Record {
    Commit(Box<Parts>),
    Refusal(Refusal),
}

/// A commit, taken apart.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) header: Header,
    pub(crate) input: Input,
    pub(crate) effects: Effects,
    pub(crate) admission: Admission,
    pub(crate) globals: Option<Vec<u64>>,
    pub(crate) pages: Vec<(u32, Page)>,
}

/// The secret of every object here.
pub(crate) fn secret() -> Secret {
    Secret::new([5; SECRET_BYTES])
}

impl Parts {
    /// Recomputes the hashes of the payloads, as a party does that knows the secret.
    pub(crate) fn rehash(&mut self) {
        let salts = secret().since(self.header.seq).unwrap().version_salts();
        self.header.input = self.input.hash(salts.input);
        self.header.effects = self.effects.hash(salts.effects);
        self.header.admission = self.admission.hash(salts.admission);
    }
}

impl Record {
    /// Recomputes the salted hashes; `refusal_count` refusals came before the record.
    pub(crate) fn rehash(&mut self, refusal_count: usize) {
        let refusal = match self {
            Record::Commit(parts) => return parts.rehash(),
            Record::Refusal(refusal) => refusal,
        };
        let Ok(secret) = secret().since(refusal.seq) else { return };
        let salt = secret.refusal_salt(refusal_count as u64);
        refusal.refused = Refusal::refused_hash(salt, &refusal.verdict.detail, &refusal.input);
    }

    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Record::Refusal(_))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let parts = match self {
            Record::Commit(parts) => parts,
            Record::Refusal(refusal) => return refusal.encode(),
        };
        let globals = parts.globals.as_ref().map(|globals| encode_globals(globals));
        let commit = Commit {
            header: parts.header.clone(),
            input: &parts.input.encode(),
            effects: &parts.effects.encode(),
            admission: &parts.admission.encode(),
            globals: globals.as_deref(),
            pages: parts.pages.iter().map(|(index, page)| (*index, page)).collect(),
        };
        let mut bytes = Vec::new();
        commit.encode_into(&mut bytes);
        bytes
    }

    /// Takes a commit's bytes apart.
    pub(crate) fn commit(bytes: &[u8]) -> Result<Record> {
        let commit = Commit::decode(bytes)?;
        Ok(Record::Commit(Box::new(Parts {
            header: commit.header,
            input: Input::decode(commit.input)?,
            effects: Effects::decode(commit.effects)?,
            admission: Admission::decode(commit.admission)?,
            globals: commit.globals.map(decode_globals).transpose()?,
            pages: commit.pages.iter().map(|(index, page)| (*index, **page)).collect(),
        })))
    }
}

/// An object being made.
pub(crate) struct Workshop {
    /// The definition of the head.
    pub(crate) definition: Arc<Definition>,
    pub(crate) genesis: Arc<Definition>,
    pub(crate) base: Arc<BaseImage>,
    pub(crate) head: Head,
    pub(crate) image: Image,
    pub(crate) records: Vec<Record>,
    /// The eras that it can be upgraded to.
    pub(crate) eras: Vec<Era>,
    wasm: Vec<u8>,
    pub(crate) globals: Vec<u64>,
    tree: Tree,
}

impl Workshop {
    /// Returns an object of four pages; its genesis changed the last one.
    pub(crate) fn new() -> Workshop {
        Workshop::governed_by(POLICY)
    }

    /// The same object with another policy.
    pub(crate) fn governed_by(policy: &str) -> Workshop {
        let wasm = module(WIT, STATE);
        let definition = Arc::new(Definition::decode(&wasm, &encoded(policy)).unwrap());
        let base = BaseImage::new(&[0; 4 * PAGE_BYTES], vec![7, 8]).unwrap();
        let base = Arc::new(base);
        let request = Request::Create { salt: [5; 32], arguments: Vec::new() };
        let input = Input { request, time: Time::from_millis(START), credential: None };
        let ran = Ran { pages: vec![(3, [9; PAGE_BYTES])], fuel: 12, ..Ran::default() };
        let image = Image::new(Arc::clone(&base));
        let image = image.step(image.bytes_count(), shared(&ran.pages)).unwrap();
        let (tree, globals) = (Tree::of(&image), base.globals().to_vec());
        let outcome = outcome(&ran, &image, &tree, &globals, &definition);
        let header = genesis(&input, &outcome, &secret());
        let parts = Parts {
            header: header.clone(),
            input,
            effects: ran.effects,
            admission: Admission::default(),
            globals: None,
            pages: ran.pages,
        };
        let records = vec![Record::Commit(Box::new(parts))];
        let head = Head::new(header, secret());
        let genesis = Arc::clone(&definition);
        let eras = Vec::new();
        Workshop { definition, genesis, base, head, image, records, eras, wasm, globals, tree }
    }

    /// Takes a step, or puts its refusal on record.
    pub(crate) fn step(&mut self, input: Input, ran: Ran) -> Result<(), Verdict> {
        self.decide(&input, ran).inspect_err(|verdict| {
            let refusal = self.head.refusal(&input, verdict.clone());
            self.head.record(&refusal);
            self.records.push(Record::Refusal(refusal));
        })
    }

    fn decide(&mut self, input: &Input, mut ran: Ran) -> Result<(), Verdict> {
        let (memo, secret) = (Memo::default(), session(1));
        let tracked = self.definition.policy.tracked();
        let host = Host::holding(&memo, Some(&secret));
        let signers = authenticate(&self.head, tracked, input, host)?;
        if let Request::Write { fields } = &input.request {
            let pages = write::apply(&self.definition.schema, STATE, &self.image, fields).unwrap();
            ran.pages = pages.iter().map(|(index, page)| (*index, **page)).collect();
        }
        let (mut before, mut tree) = (self.image.clone(), self.tree.clone());
        let mut globals = self.globals.clone();
        let after_it = match &input.request {
            Request::Amend { policy } => {
                let policy = Policy::decode(policy, &self.definition.schema).unwrap();
                Arc::new(self.definition.amended(policy))
            }
            Request::Upgrade { code, policy } => {
                let Era { definition, base } = self.era(*code, *policy).unwrap();
                require_migration(Laws { before: &self.definition, after: &definition })?;
                (before, globals) = (Image::new(Arc::clone(&base)), base.globals().to_vec());
                tree = Tree::of(&before);
                definition
            }
            _ => Arc::clone(&self.definition),
        };
        let grown = before.bytes_count() + ran.grown * PAGE_BYTES as u64;
        let after = before.step(grown, shared(&ran.pages)).unwrap();
        let page_count = ran.pages.len() as u32;
        let step = Step {
            input,
            before: &self.image,
            after: &after,
            effects: &ran.effects,
            fuel: ran.fuel,
            page_count,
            instrumentation: 2,
            policy: after_it.policy.hash(),
        };
        let laws = Laws { before: &self.definition, after: &after_it };
        let admission = match input.request {
            Request::Upgrade { .. } => {
                admit_upgrade(laws, &self.head, signers, step, &mut NotAsked)?
            }
            _ => admit(&self.definition, &self.head, signers, step, &mut NotAsked)?,
        };
        let dirty: Vec<u32> = ran.pages.iter().map(|(index, _)| *index).collect();
        tree.update(&after, &dirty);
        let globals = ran.globals.clone().unwrap_or(globals);
        let outcome = outcome(&ran, &after, &tree, &globals, &after_it);
        let (header, ledger) = self.head.successor(input, &outcome, &admission);
        self.records.push(Record::Commit(Box::new(Parts {
            header: header.clone(),
            input: input.clone(),
            effects: ran.effects,
            admission,
            globals: ran.globals,
            pages: ran.pages,
        })));
        self.head.advance(header, ledger);
        (self.definition, self.tree) = (after_it, tree);
        (self.image, self.globals) = (after, globals);
        Ok(())
    }

    /// Returns the era after an upgrade to this, if it is known.
    fn era(&self, code: CodeHash, policy: PolicyHash) -> Option<Era> {
        let is = |era: &&Era| {
            let parts = era.definition.parts();
            (parts.code, parts.policy) == (code, policy)
        };
        self.eras.iter().find(is).cloned()
    }

    /// The value's encoding, as a field of a write.
    pub(crate) fn field(&self, path: &str, value: impl Into<Value>) -> (String, Vec<u8>) {
        let place = self.definition.schema.resolve(path).unwrap();
        (path.to_string(), encode_value(&value.into(), place.ty()).unwrap())
    }

    /// A write of one field, a second after the head.
    pub(crate) fn write(&self, path: &str, value: impl Into<Value>) -> Input {
        let fields = vec![self.field(path, value)];
        self.input(Request::Write { fields })
    }

    /// A call of `add`, a second after the head.
    pub(crate) fn add(&self, more: u64) -> Input {
        let params = &self.definition.schema.method("add").unwrap().params;
        let arguments = encode_args(&[Value::from(more)], params).unwrap();
        self.input(Request::Call { method: "add".into(), arguments })
    }

    pub(crate) fn input(&self, request: Request) -> Input {
        Input {
            request,
            time: self.head.header.time.saturating_add(Duration::from_millis(1000)),
            credential: None,
        }
    }

    /// Signs an input with keys.
    pub(crate) fn sign(&self, mut input: Input, nonce: u64, keys: &[&SigningKey]) -> Input {
        let mut credential =
            Credential::new(nonce, input.time.saturating_add(Duration::from_millis(60_000)));
        keys.iter().for_each(|key| credential.sign(key, self.head.id, &input.request));
        input.credential = Some(credential);
        input
    }

    /// Puts an input into a session.
    pub(crate) fn seal(&self, mut input: Input, nonce: u64, session: &SessionKey) -> Input {
        let mut credential =
            Credential::new(nonce, input.time.saturating_add(Duration::from_millis(100)));
        credential.put_in_session(session, self.head.id, &input.request);
        input.credential = Some(credential);
        input
    }

    /// The opening of a session for a minute, a second after the head.
    pub(crate) fn opening(&self, session: &SessionKey) -> Input {
        let expires = self.head.header.time.saturating_add(Duration::from_millis(61_000));
        self.input(Request::OpenSession { session: session.id(), expires })
    }

    /// Returns the outcome of a step that sets `count`.
    pub(crate) fn counted(&self, count: u64) -> Ran {
        let mut page = *self.image.page(1);
        page[..8].copy_from_slice(&count.to_le_bytes());
        Ran { pages: vec![(1, page)], fuel: 30, ..Ran::default() }
    }

    /// Verifies records as this object's lineage.
    pub(crate) fn verify(&self, records: &[Record]) -> Result<Verifier> {
        let mut verifier = None;
        let genesis = Arc::clone(&self.genesis);
        for record in records {
            let bytes = record.encode();
            match (&mut verifier, record) {
                (None, _) => {
                    let (definition, base) = (Arc::clone(&genesis), self.base.clone());
                    let commit = Commit::decode(&bytes)?;
                    verifier = Some(Verifier::genesis(definition, base, &commit, secret())?);
                }
                (Some(verifier), Record::Commit(parts)) => {
                    if let Request::Upgrade { code, policy } = parts.input.request
                        && let Some(era) = self.era(code, policy)
                    {
                        verifier.expect(era);
                    }
                    verifier.commit(&Commit::decode(&bytes)?)?;
                }
                (Some(verifier), Record::Refusal(_)) => {
                    verifier.refusal(&Refusal::decode(&bytes)?)?;
                }
            }
        }
        Ok(verifier.unwrap())
    }

    /// The object as a capsule.
    pub(crate) fn capsule(&self) -> Vec<u8> {
        let mut sections = vec![
            (SectionKind::Secret, secret().encode()),
            (SectionKind::Code, self.wasm.clone()),
            (SectionKind::Policy, self.genesis.policy.encode()),
            (SectionKind::Base, self.base.encode()),
        ];
        sections.extend(self.records.iter().map(|record| match record {
            Record::Commit(_) => (SectionKind::Commit, record.encode()),
            Record::Refusal(_) => (SectionKind::Refusal, record.encode()),
        }));
        let count = sections.len() as u64;
        sections.push((SectionKind::End, count.to_le_bytes().to_vec()));
        let mut chain = Chain::new();
        let mut capsule = HEAD.to_vec();
        for (kind, body) in sections {
            let (head, check) = chain.section(kind, &body);
            capsule.extend([&head[..], &body, &check].concat());
        }
        assert_eq!(chain.offset(), capsule.len() as u64);
        capsule
    }
}

fn outcome<'a>(
    ran: &'a Ran,
    image: &Image,
    tree: &Tree,
    globals: &[u64],
    definition: &'a Definition,
) -> Outcome<'a> {
    Outcome {
        effects: &ran.effects,
        instrumentation: 2,
        fuel: ran.fuel,
        memory_bytes: image.bytes_count(),
        memory_root: tree.root(),
        page_count: ran.pages.len() as u32,
        globals: globals_hash(globals),
        parts: definition.parts(),
        tracked: definition.policy.tracked(),
    }
}

/// A lineage of inputs that were signed together, beside one of another object: a call, a refusal
/// by the policy, a direct write and a call by two keys.
pub(crate) fn batched() -> Workshop {
    let mut shop = Workshop::new();
    let at = |shop: &Workshop, request: Request, seconds: u64| {
        let time = START + 1000 * seconds;
        (
            Input { time: Time::from_millis(time), ..shop.input(request) },
            Credential::new(seconds, Time::from_millis(time + 60_000)),
        )
    };
    let count =
        |shop: &Workshop, count: u64| Request::Write { fields: vec![shop.field("count", count)] };
    let first = [
        at(&shop, shop.add(7).request, 1),
        at(&shop, count(&shop, 2000), 2),
        at(&shop, count(&shop, 8), 3),
    ];
    let second = [at(&shop, shop.add(1).request, 4)];
    let (one, two) = (key(1), key(2));
    let signed: [(&[_], &[&SigningKey]); 2] = [(&first, &[&one]), (&second, &[&one, &two])];
    for (inputs, keys) in signed {
        let mut batch = Batch::new();
        for (input, credential) in inputs {
            batch.push(shop.head.id, &input.request, credential.clone());
        }
        batch.push(ObjectId([7; 32]), &Request::Cycle, Credential::new(1, Time::from_millis(2)));
        for ((input, _), credential) in inputs.iter().zip(batch.sign(keys).unwrap()) {
            let input = Input { credential: Some(credential), ..input.clone() };
            let ran = match &input.request {
                Request::Call { .. } => shop.counted(shop.head.header.seq + 7),
                _ => Ran::default(),
            };
            let _ = shop.step(input, ran);
        }
    }
    shop
}

/// A policy under which any signer opens sessions, in which nobody writes.
pub(crate) const ATTENDED: &str = r#"
@id("anyone")
permit(principal, action in [Action::"add", Action::"write"], resource);

@id("opens")
permit(principal, action == Action::"open_session", resource);

@id("attended")
forbid(principal, action == Action::"write", resource)
when { context.credential == "session" };
"#;

/// A lineage of sessions: opened by one key and by two, used, opened again, with a code that is
/// wrong, refused by the policy, and over.
pub(crate) fn sessions() -> Workshop {
    let mut shop = Workshop::governed_by(ATTENDED);
    let opening = shop.sign(shop.opening(&session(1)), 1, &[&key(1)]);
    shop.step(opening, Ran::default()).unwrap();
    shop.step(shop.seal(shop.add(7), 1, &session(1)), shop.counted(7)).unwrap();
    let opening = shop.sign(shop.opening(&session(2)), 2, &[&key(1), &key(2)]);
    shop.step(opening, Ran::default()).unwrap();
    shop.step(shop.seal(shop.add(7), 1, &session(1)), shop.counted(14)).unwrap_err();
    shop.step(shop.seal(shop.add(7), 1, &session(2)), shop.counted(14)).unwrap_err();
    shop.step(shop.seal(shop.write("count", 8u64), 2, &session(1)), Ran::default()).unwrap_err();
    let again = shop.sign(shop.opening(&session(1)), 3, &[&key(2)]);
    shop.step(again, Ran::default()).unwrap_err();
    shop.step(shop.seal(shop.add(7), 9, &session(1)), shop.counted(14)).unwrap();
    let late = |shop: &Workshop, input: Input| Input {
        time: shop.head.header.time.saturating_add(Duration::from_millis(60_000)),
        ..input
    };
    let over = shop.seal(late(&shop, shop.add(7)), 10, &session(1));
    shop.step(over, shop.counted(21)).unwrap_err();
    let signed = shop.sign(late(&shop, shop.add(7)), 4, &[&key(1)]);
    shop.step(signed, shop.counted(21)).unwrap();
    shop
}

/// A policy under which objects of one code, and of one law, add, and only such are sent messages.
pub(crate) fn kin() -> String {
    format!(
        r#"
@id("kin")
permit(principal is Object, action == Action::"add", resource)
when {{
    context.sender has code && context.sender.code == context.code &&
    context.sender has first_policy && context.sender.first_policy == context.policy
}};

@id("owner")
permit(principal is Key, action == Action::"add", resource);

@id("to-friends")
forbid(principal, action, resource)
unless {{ ["{}", "{}"].containsAll(context.effects.receivers) }};
"#,
        ObjectId([1; 32]),
        ObjectId([2; 32]),
    )
}

/// A message that the object may have been sent, a second after the head.
pub(crate) fn message(shop: &Workshop, more: u64) -> Input {
    let parts = shop.definition.parts();
    let origin = Origin {
        sender: ObjectId([1; 32]),
        seq: 7,
        version: VersionHash([3; 32]),
        code: parts.code,
        policy: parts.policy,
        first_policy: Some(parts.policy),
        index: 2,
        fuel: 1000,
    };
    let Request::Call { method, arguments } = shop.add(more).request else { unreachable!() };
    shop.input(Request::Message { origin: Box::new(origin), method, arguments })
}

/// A lineage of messages: sent, got, refused by the policy, and by a native rule.
pub(crate) fn messages() -> Workshop {
    let mut shop = Workshop::governed_by(&kin());
    let to = |to: u8| Message {
        to: ObjectId([to; 32]),
        method: "add".to_string(),
        arguments: vec![to; 8],
    };
    let sends = |shop: &Workshop, count, to: Vec<Message>| {
        let mut ran = shop.counted(count);
        ran.effects.messages = to;
        ran
    };
    let signed = shop.sign(shop.add(1), 1, &[&key(1)]);
    shop.step(signed, sends(&shop, 1, vec![to(1), to(2), to(1)])).unwrap();
    shop.step(message(&shop, 2), sends(&shop, 3, vec![to(2)])).unwrap();
    shop.step(message(&shop, 2), sends(&shop, 5, vec![to(2), to(3)])).unwrap_err();
    let mut other = message(&shop, 2);
    let Request::Message { origin, .. } = &mut other.request else { unreachable!() };
    origin.first_policy = Some(PolicyHash([9; 32]));
    shop.step(other, shop.counted(5)).unwrap_err();
    let signed = shop.sign(message(&shop, 2), 2, &[&key(1)]);
    shop.step(signed, shop.counted(5)).unwrap_err();
    shop.step(message(&shop, 4), shop.counted(7)).unwrap();
    shop
}

/// A lineage with a record of every kind: calls, direct writes, a cycle, signatures and refusals.
pub(crate) fn lineage() -> Workshop {
    let mut shop = Workshop::new();
    use object::effects::{Output, WakeChange};
    shop.step(shop.write("spot.row", 7u16), Ran::default()).unwrap();
    let mut ran = shop.counted(12);
    ran.effects = Effects {
        result: vec![],
        outputs: vec![Output { name: "count".into(), payload: b"12".to_vec() }],
        wake: WakeChange::Set(Time::from_millis(START + 5000)),
        messages: vec![],
    };
    (ran.grown, ran.globals) = (2, Some(vec![7, 9]));
    ran.pages.push((5, [1; PAGE_BYTES]));
    shop.step(shop.sign(shop.add(12), 1, &[&key(1)]), ran).unwrap();
    shop.step(shop.sign(shop.write("locked", true), 2, &[&key(1), &key(2)]), Ran::default())
        .unwrap();
    shop.step(shop.write("count", 13u64), Ran::default()).unwrap_err();
    shop.step(shop.sign(shop.add(1), 2, &[&key(2)]), shop.counted(13)).unwrap_err();
    shop.step(shop.input(Request::Cycle), Ran::default()).unwrap_err();
    let mut cycle = shop.input(Request::Cycle);
    cycle.time = Time::from_millis(START + 5000);
    shop.step(cycle, Ran { fuel: 3, ..shop.counted(13) }).unwrap();
    shop.step(shop.add(2000), shop.counted(2013)).unwrap_err();
    shop.step(shop.sign(shop.write("count", 14u64), 3, &[&key(2)]), Ran::default()).unwrap();
    shop
}
