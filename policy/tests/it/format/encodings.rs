//! The structures: seeded ones, encoded, and walked by their tables.

use std::sync::Arc;

use continuant_policy::{Law, Policy};
use object::capsule::{Chain, HEAD, SectionKind};
use object::commit::Commit;
use object::credential::{
    Credential, EXPIRY_MAX, Proof, PublicKey, SessionKey, batch_signed_bytes,
};
use object::effects::{WakeChange, encode_globals};
use object::evidence::Leaf;
use object::hash::{BatchRoot, LedgerHash, LedgerLeaf, LedgerNode, RefusalHash, VersionHash};
use object::header::Header;
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::{Ledger, Tracked, Used};
use object::limits::{NONCES_MAX, PAGE_BYTES};
use object::message::Origin;
use object::time::Time;

use super::{check, document, table, walk};
use crate::samples;
use crate::source::Source;
use crate::workshop::{self, key, lineage, run};

pub(super) const TABLES: &[&str] = &[
    "Version header",
    "Commit",
    "Input",
    "Signed bytes",
    "Batch",
    "Effects",
    "Admission",
    "Globals",
    "Ledger",
    "Nonce",
    "Action",
    "Recent version",
    "Open session",
    "Ledger changes",
    "Refusal",
    "Secret",
    "Base image",
    "Policy",
    "Capsule",
    "Section",
    "Leaf",
];

/// Samples of each structure.
const ROUNDS: usize = 50;

pub(super) fn count(mut count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while count >= 0x80 {
        bytes.push(count as u8 | 0x80);
        count >>= 7;
    }
    bytes.push(count as u8);
    bytes
}

/// A hash behind the flag that says whether it is there, under the names of both.
fn option<'a>(has: &'a str, name: &'a str, hash: Option<[u8; 32]>) -> Vec<(&'a str, Vec<u8>)> {
    let mut fields = vec![(has, vec![u8::from(hash.is_some())])];
    fields.extend(hash.map(|hash| (name, hash.to_vec())));
    fields
}

pub(super) fn number(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// A blob behind its length, under the names of both.
pub(super) fn blob<'a>(length: &'a str, name: &'a str, bytes: &[u8]) -> [(&'a str, Vec<u8>); 2] {
    [(length, count(bytes.len())), (name, bytes.to_vec())]
}

#[test]
fn version_header() {
    let mut source = Source::random();
    for _ in 0..ROUNDS {
        let header = samples::header(&mut source);
        let version = |hash: Option<VersionHash>| hash.map_or([0; 32], |hash| hash.0).to_vec();
        let expected = vec![
            ("version", vec![2, 0]),
            (
                "kind",
                vec![
                    [
                        "create",
                        "call",
                        "advance",
                        "write",
                        "amend",
                        "open_session",
                        "message",
                        "fork",
                        "upgrade",
                        "delete",
                    ]
                    .iter()
                    .position(|name| *name == header.kind.name())
                    .unwrap() as u8,
                ],
            ),
            ("has wake", vec![u8::from(header.wake.is_some())]),
            ("instrumentation", header.instrumentation.to_le_bytes().to_vec()),
            ("seq", number(header.seq)),
            ("time", number(header.time.as_millis())),
            ("wake", number(header.wake.unwrap_or(Time::MIN).as_millis())),
            ("fuel", number(header.fuel)),
            ("memory bytes", number(header.memory_bytes)),
            ("refusal count", number(header.refusal_count)),
            ("page count", header.page_count.to_le_bytes().to_vec()),
            ("zero", vec![0; 4]),
            ("object", header.object.map_or([0; 32], |object| object.0).to_vec()),
            ("parent hash", version(header.parent)),
            ("jump hash", version(header.jump)),
            ("memory root", header.memory_root.0.to_vec()),
            ("globals hash", header.globals.0.to_vec()),
            ("code hash", header.code.0.to_vec()),
            ("schema hash", header.schema.0.to_vec()),
            ("policy hash", header.policy.0.to_vec()),
            ("input hash", header.input.0.to_vec()),
            ("effects hash", header.effects.0.to_vec()),
            ("admission hash", header.admission.0.to_vec()),
            ("ledger hash", header.ledger.0.to_vec()),
            ("refusal hash", header.refusals.map_or([0; 32], |hash| hash.0).to_vec()),
        ];
        check("Version header", &header.encode(), expected);
    }
}

#[test]
fn the_fields_of_a_header_have_the_names_that_people_see() {
    let header = samples::header(&mut Source::new(1));
    let shown: Vec<&str> = header.fields().into_iter().map(|(name, _)| name).collect();
    let table = table("Version header");
    let names = table.rows.iter().map(|row| row[2].as_str());
    let names: Vec<&str> =
        names.filter(|name| !["version", "has wake", "zero"].contains(name)).collect();
    assert_eq!(shown, names);
}

#[test]
fn commit() {
    let mut source = Source::random();
    for _ in 0..ROUNDS {
        let bytes = samples::commit(&mut source);
        let commit = Commit::decode(&bytes).unwrap();
        let mut expected = vec![("header", commit.header.encode().to_vec())];
        expected.extend(blob("input bytes", "input", commit.input));
        expected.extend(blob("effects bytes", "effects", commit.effects));
        expected.extend(blob("admission bytes", "admission", commit.admission));
        expected.push(("has globals", vec![u8::from(commit.globals.is_some())]));
        if let Some(globals) = commit.globals {
            expected.extend(blob("globals bytes", "globals", globals));
        }
        expected.push(("pages", count(commit.pages.len())));
        for (index, page) in &commit.pages {
            expected.push(("page index", index.to_le_bytes().to_vec()));
            expected.push(("page", page.to_vec()));
        }
        check("Commit", &bytes, expected);
    }
}

fn credential_fields(credential: &Credential) -> Vec<(&'static str, Vec<u8>)> {
    let mut expected = vec![
        ("nonce", number(credential.nonce)),
        ("expires", number(credential.expires.as_millis())),
    ];
    expected.extend(option("has parent", "parent", credential.parent.map(|parent| parent.0)));
    if let Proof::Batch(place, _) = &credential.proof {
        expected.push(("leaf", place.index().to_le_bytes().to_vec()));
        expected.push(("leaves", place.count().to_le_bytes().to_vec()));
        expected.push(("steps", count(place.path().len())));
        expected.extend(place.path().iter().map(|node| ("neighbour", node.0.to_vec())));
    }
    if let Proof::Session { session, mac } = &credential.proof {
        expected.extend([("session", session.0.to_vec()), ("algorithm", vec![2])]);
        expected.push(("code", mac.to_vec()));
        return expected;
    }
    expected.push(("signatures", count(credential.signatures().len())));
    for signature in credential.signatures() {
        expected.push(("algorithm", vec![1]));
        expected.push(("key", signature.key.to_vec()));
        expected.push(("signature", signature.bytes.to_vec()));
    }
    expected
}

#[test]
fn input() {
    let mut source = Source::random();
    for round in 0..10 * ROUNDS {
        let input = match round % 10 {
            0 => samples::amendment(&mut source),
            4 => samples::message(&mut source),
            5 => samples::fork(&mut source),
            6 => samples::upgrade(&mut source),
            8.. => samples::of_session(&mut source),
            1..4 => samples::batched(&mut source),
            _ => samples::input(&mut source),
        };
        let mut expected = vec![("version", vec![2]), ("time", number(input.time.as_millis()))];
        match &input.request {
            Request::Create { salt, arguments } => {
                expected.extend([("kind", vec![0]), ("salt", salt.to_vec())]);
                expected.extend(blob("create bytes", "create arguments", arguments));
            }
            Request::Call { method, arguments } => {
                expected.push(("kind", vec![1]));
                expected.extend(blob("method bytes", "method", method.as_bytes()));
                expected.extend(blob("call bytes", "call arguments", arguments));
            }
            Request::Cycle => expected.push(("kind", vec![2])),
            Request::Delete => expected.push(("kind", vec![9])),
            Request::Write { fields } => {
                expected.extend([("kind", vec![3]), ("fields", count(fields.len()))]);
                for (path, value) in fields {
                    expected.extend(blob("path bytes", "path", path.as_bytes()));
                    expected.extend(blob("value bytes", "value", value));
                }
            }
            Request::Amend { policy } => {
                expected.push(("kind", vec![4]));
                expected.extend(blob("policy bytes", "policy", policy));
            }
            Request::OpenSession { session, expires } => {
                expected.extend([("kind", vec![5]), ("opened", session.0.to_vec())]);
                expected.push(("until", number(expires.as_millis())));
            }
            Request::Fork { of } => {
                expected.extend([("kind", vec![7]), ("of", of.encode().to_vec())]);
            }
            Request::Upgrade { code, policy } => {
                expected.extend([("kind", vec![8]), ("new code", code.0.to_vec())]);
                expected.push(("new policy", policy.0.to_vec()));
            }
            Request::Message { origin, method, arguments } => {
                expected.push(("kind", vec![6]));
                expected.extend(origin_fields(origin));
                expected.extend(blob("asked bytes", "asked", method.as_bytes()));
                expected.extend(blob("given bytes", "given", arguments));
            }
        }
        let tag = match input.credential.as_ref().map(|credential| &credential.proof) {
            None => 0,
            Some(Proof::Signatures(_)) => 1,
            Some(Proof::Batch(..)) => 2,
            Some(Proof::Session { .. }) => 3,
        };
        expected.push(("is signed", vec![tag]));
        if let Some(credential) = &input.credential {
            expected.extend(credential_fields(credential));
        }
        check("Input", &input.encode(), expected);
    }
}

fn origin_fields(origin: &Origin) -> Vec<(&'static str, Vec<u8>)> {
    let mut fields = vec![
        ("sender", origin.sender.0.to_vec()),
        ("sender seq", number(origin.seq)),
        ("sender version", origin.version.0.to_vec()),
        ("sender code", origin.code.0.to_vec()),
        ("sender policy", origin.policy.0.to_vec()),
    ];
    let first = origin.first_policy.map(|policy| policy.0);
    fields.extend(option("has first policy", "sender first policy", first));
    fields.push(("sender index", origin.index.to_le_bytes().to_vec()));
    fields.push(("fuel", number(origin.fuel)));
    fields
}

#[test]
fn signed_bytes() {
    let mut source = Source::random();
    let line = document().lines().find(|line| line.starts_with("DSSEv1 ")).unwrap();
    for _ in 0..ROUNDS {
        let input = Input { credential: None, ..samples::input(&mut source) };
        let credential = samples::credential(&mut source);
        let object = object::hash::ObjectId(samples::array(&mut source));
        let Credential { nonce, expires, parent, .. } = credential;
        let bytes = input.request.signed_bytes(object, nonce, expires, parent);
        // The request stands in the input between its time and its last byte.
        let encoded = input.encode();
        let request = &encoded[9..encoded.len() - 1];
        let parent_bytes = if parent.is_some() { 33 } else { 1 };
        let body_bytes = 32 + 8 + 8 + parent_bytes + request.len();
        let (head, body) = bytes.split_at(bytes.len() - body_bytes);
        let expected =
            line.replace("<body's bytes, decimal>", &body_bytes.to_string()).replace("<body>", "");
        assert_eq!(std::str::from_utf8(head).unwrap(), expected);
        let mut expected = vec![
            ("object", object.0.to_vec()),
            ("nonce", number(nonce)),
            ("expires", number(expires.as_millis())),
        ];
        expected.extend(option("has parent", "parent", parent.map(|parent| parent.0)));
        expected.push(("request", request.to_vec()));
        check("Signed bytes", body, expected);
    }
    let kind = line.split(' ').nth(2).unwrap();
    assert_eq!(line.split(' ').nth(1).unwrap(), kind.len().to_string());
    assert!(document().contains(&format!("of the type `{kind}`")));
}

#[test]
fn batch() {
    let mut source = Source::random();
    let line = document().lines().filter(|line| line.starts_with("DSSEv1 ")).nth(1).unwrap();
    for _ in 0..ROUNDS {
        let (root, leaves) = (BatchRoot(samples::array(&mut source)), source.bits() as u32);
        let bytes = batch_signed_bytes(root, leaves);
        let (head, body) = bytes.split_at(bytes.len() - 36);
        assert_eq!(std::str::from_utf8(head).unwrap(), line.replace("<body>", ""));
        let expected = vec![("root", root.0.to_vec()), ("leaves", leaves.to_le_bytes().to_vec())];
        check("Batch", body, expected);
    }
    let kind = line.split(' ').nth(2).unwrap();
    assert_eq!(line.split(' ').nth(1).unwrap(), kind.len().to_string());
    assert!(document().contains(&format!("of the type `{kind}`")));
}

/// A session's code covers the same body as a signature, under another type.
#[test]
fn session() {
    let mut source = Source::random();
    let line = document().lines().filter(|line| line.starts_with("DSSEv1 ")).nth(2).unwrap();
    for _ in 0..ROUNDS {
        let input = samples::input(&mut source);
        let credential = samples::credential(&mut source);
        let object = object::hash::ObjectId(samples::array(&mut source));
        let Credential { nonce, expires, parent, .. } = credential;
        let signed = input.request.signed_bytes(object, nonce, expires, parent);
        let head = String::from_utf8_lossy(&signed[..60]);
        let body_bytes = head.split(' ').nth(3).unwrap();
        let body = &signed[signed.len() - body_bytes.parse::<usize>().unwrap()..];
        let head = line.replace("<body's bytes, decimal>", body_bytes).replace("<body>", "");
        let secret = samples::array(&mut source);
        let expected = blake3::keyed_hash(&secret, &[head.as_bytes(), body].concat());
        let key = SessionKey::from_secret(&secret);
        assert_eq!(key.mac(&credential, object, &input.request), *expected.as_bytes());
        assert_eq!(key.id().0, blake3::derive_key("continuant 2 session", &secret));
    }
    let kind = line.split(' ').nth(2).unwrap();
    assert_eq!(line.split(' ').nth(1).unwrap(), kind.len().to_string());
    assert!(document().contains(&format!("`{kind}`")));
}

#[test]
fn effects() {
    let mut source = Source::random();
    for _ in 0..2 * ROUNDS {
        let effects = samples::effects(&mut source);
        let mut expected = vec![("version", vec![2])];
        expected.extend(blob("result bytes", "result", &effects.result));
        match effects.wake {
            WakeChange::Keep => expected.push(("wake change", vec![0])),
            WakeChange::Clear => expected.push(("wake change", vec![1])),
            WakeChange::Set(at) => {
                expected.extend([("wake change", vec![2]), ("wake", number(at.as_millis()))]);
            }
        }
        expected.push(("outputs", count(effects.outputs.len())));
        for output in &effects.outputs {
            expected.extend(blob("name bytes", "name", output.name.as_bytes()));
            expected.extend(blob("payload bytes", "payload", &output.payload));
        }
        expected.push(("messages", count(effects.messages.len())));
        for message in &effects.messages {
            expected.push(("to", message.to.0.to_vec()));
            expected.extend(blob("method bytes", "method", message.method.as_bytes()));
            expected.extend(blob("argument bytes", "arguments", &message.arguments));
        }
        check("Effects", &effects.encode(), expected);
    }
}

#[test]
fn admission() {
    let mut source = Source::random();
    for _ in 0..2 * ROUNDS {
        let admission = samples::admission(&mut source);
        let mut expected = vec![("version", vec![2])];
        expected.push(("signers", count(admission.signers.len())));
        expected.extend(admission.signers.iter().map(|key| ("key", key.0.to_vec())));
        expected.push(("rules", count(admission.rules.len())));
        for rule in &admission.rules {
            expected.extend(blob("rule bytes", "rule", rule.as_bytes()));
        }
        expected.push(("new rules", count(admission.migrated.len())));
        for rule in &admission.migrated {
            expected.extend(blob("new rule bytes", "new rule", rule.as_bytes()));
        }
        check("Admission", &admission.encode(), expected);
    }
}

#[test]
fn globals() {
    let mut source = Source::random();
    for _ in 0..ROUNDS {
        let globals = samples::globals(&mut source);
        let mut expected = vec![("globals", count(globals.len()))];
        expected.extend(globals.iter().map(|bits| ("bits", number(*bits))));
        check("Globals", &encode_globals(&globals), expected);
    }
}

/// Fields by their names.
pub(super) type Fields = Vec<(&'static str, Vec<u8>)>;

pub(super) fn bytes(fields: &Fields) -> Vec<u8> {
    fields.iter().flat_map(|field| field.1.clone()).collect()
}

/// Checks what the hash of a ledger is of.
fn check_ledger(ledger: &Ledger, expected: Fields) {
    let covered = bytes(&expected);
    assert_eq!(LedgerHash::of(&covered), ledger.hash());
    check("Ledger", &covered, expected);
}

/// Checks the changes of a ledger since another, which lead to it.
fn check_changes(base: &Ledger, ledger: &Ledger, expected: Fields) {
    let changes = ledger.changes(base);
    check("Ledger changes", &changes, expected);
    assert_eq!(base.changed_by(&changes).unwrap(), *ledger);
}

/// Changes of a ledger without any in the tables behind the nonces.
fn nothing_behind(mut fields: Fields) -> Fields {
    fields.extend([("changed actions", count(0)), ("new actions", count(0))]);
    fields.extend([("changed sessions", count(0)), ("new sessions", count(0))]);
    fields
}

fn nonce(key: [u8; 32], nonce: u64, moment: u64) -> Vec<u8> {
    let fields = vec![("key", key.to_vec()), ("nonce", number(nonce)), ("moment", number(moment))];
    let entry = bytes(&fields);
    check("Nonce", &entry, fields);
    entry
}

#[test]
fn ledger_of_nonces() {
    // The keys differ in the second bit, then in the last ones.
    let keys = [1, 2, 3, 0x41, 0x42].map(|last| {
        let mut key = [0; 32];
        (key[0], key[31]) = (last & 0x40, last & 0x3f);
        key
    });
    let mut ledger = Ledger::default();
    let record = |ledger: &mut Ledger, key: [u8; 32], nonce: u64, moment: u64| {
        let used = Used { nonce, expires: Time::from_millis(moment) };
        ledger.nonces.record(&[PublicKey(key)], used, Time::from_millis(0x11), Tracked::NONE);
    };
    let behind = [("floors", vec![0]), ("actions", count(0)), ("sessions", count(0))];
    for (index, key) in (0..).zip(keys) {
        let base = ledger.clone();
        record(&mut ledger, key, 0x22 + index, 0x3344);
        let mut expected = vec![("changed nonces", count(0)), ("new nonces", count(1))];
        expected.extend([("key", key.to_vec()), ("nonce", count(0x22 + index as usize))]);
        expected.extend([("moment", count(0x3344)), ("floors", vec![0])]);
        check_changes(&base, &ledger, nothing_behind(expected));
        let known = index as usize + 1;
        let entry = |index: usize| nonce(keys[index], 0x22 + index as u64, 0x3344);
        let leaf = |indices: std::ops::Range<usize>| {
            LedgerLeaf::of(&indices.flat_map(entry).collect::<Vec<u8>>()).0
        };
        let root = match known {
            5 => LedgerNode::of(&[leaf(0..3), leaf(3..5)].concat()).0,
            few => leaf(0..few),
        };
        let mut expected = vec![("nonces", count(known)), ("nonce root", root.to_vec())];
        expected.extend(behind.clone());
        check_ledger(&ledger, expected);
    }
    // One advances; then all but that are forgotten, and one comes back with a lower nonce.
    let base = ledger.clone();
    record(&mut ledger, keys[1], 0x33, 0x3345);
    let mut expected = vec![("changed nonces", count(1)), ("nonce place", count(1))];
    expected.extend([("nonce advance", count(0x10)), ("moment advance", count(1))]);
    expected.extend([("new nonces", count(0)), ("floors", vec![0])]);
    check_changes(&base, &ledger, nothing_behind(expected));
    let base = ledger.clone();
    let time = Time::from_millis(0x3345).saturating_add(EXPIRY_MAX);
    for (index, nonce, expires) in [(1, 0x34, Time::from_millis(0x3345)), (3, 1, time)] {
        let used = Used { nonce, expires };
        ledger.nonces.record(&[PublicKey(keys[index])], used, time, Tracked::NONE);
    }
    let mut expected = vec![("changed nonces", count(5))];
    for advance in [0, 1, 0, 0, 0] {
        expected.extend([("nonce place", count(0)), ("nonce advance", count(advance))]);
        expected.push(("moment advance", count(0)));
    }
    expected.extend([("new nonces", count(1)), ("key", keys[3].to_vec()), ("nonce", count(1))]);
    expected.push(("moment", count(time.as_millis() as usize)));
    expected.push(("floors", vec![0]));
    check_changes(&base, &ledger, nothing_behind(expected));
}

#[test]
fn floors_of_a_ledger() {
    let mut ledger = Ledger::default();
    let many = NONCES_MAX as u64 + 1;
    let key = |index: u64| PublicKey(std::array::from_fn(|at| (index >> (8 * (at % 8))) as u8));
    let mut keys: Vec<PublicKey> = (0..many).map(key).collect();
    keys.sort();
    let tracked = Tracked::default().naming([keys[0]]);
    let record = |ledger: &mut Ledger, index: usize, tracked: &Tracked| {
        let (nonce, expires) = (0x1122 + index as u64, Time::from_millis(0x3344 + index as u64));
        let used = Used { nonce, expires };
        ledger.nonces.record(&keys[index..=index], used, Time::from_millis(0x3344), tracked);
    };
    (0..keys.len() - 1).for_each(|index| record(&mut ledger, index, &tracked));
    for (is_named, place) in [(false, 1), (true, 0)] {
        // The key that is named keeps its room; when all are, it goes first.
        let base = ledger.clone();
        let named = if is_named { tracked.clone().naming(keys.clone()) } else { tracked.clone() };
        record(&mut ledger, keys.len() - 1, &named);
        let floor = number(0x3344 + place as u64);
        let mut expected = vec![("changed nonces", count(1)), ("nonce place", count(place))];
        expected.extend([("nonce advance", count(0)), ("moment advance", count(0))]);
        expected.extend([("new nonces", count(1)), ("key", keys[keys.len() - 1].0.to_vec())]);
        let last = keys.len() - 1;
        expected.extend([("nonce", count(0x1122 + last)), ("moment", count(0x3344 + last))]);
        let flags = 1 + 2 * u8::from(is_named);
        expected.extend([("floors", vec![flags]), ("floor", floor.clone())]);
        expected.extend(is_named.then(|| ("named floor", floor.clone())));
        check_changes(&base, &ledger, nothing_behind(expected));
        ledger = base;
    }
}

fn recent(time: u64, signer: Option<PublicKey>) -> Vec<u8> {
    let first = signer.map_or(vec![0; 8], |key| key.0[..8].to_vec());
    let has = vec![u8::from(signer.is_some())];
    let fields = vec![("time", number(time)), ("has signer", has), ("signer", first)];
    let entry = bytes(&fields);
    check("Recent version", &entry, fields);
    entry
}

#[test]
fn ledger_of_the_past() {
    let tracked = Tracked::new(["add", "write"].map(str::to_string), true);
    let mut ledger = Arc::new(Ledger::default());
    let signer = key(1).public();
    let write = |time| {
        let request = Request::Write { fields: Vec::new() };
        Input { request, time: Time::from_millis(time), credential: None }
    };
    for (seq, time) in [(5, 100), (6, 200)] {
        ledger = ledger.next(&tracked, seq, &write(time), &[signer][..(seq == 6).into()]);
    }
    let base = Ledger::clone(&ledger);
    let request = Request::Call { method: "add".to_string(), arguments: Vec::new() };
    let input = Input { request, time: Time::from_millis(300), credential: None };
    ledger = ledger.next(&tracked, 7, &input, &[]);
    ledger = ledger.next(&tracked, 9, &write(400), &[]);
    let mut roots = vec![("nonces", count(0)), ("floors", vec![0]), ("actions", count(2))];
    for (action, counted, seq, last, recents) in [
        ("add", 1, 7, 300, vec![recent(300, None)]),
        ("write", 3, 9, 400, vec![recent(100, None), recent(200, Some(signer)), recent(400, None)]),
    ] {
        let mut fields = blob("action bytes", "action", action.as_bytes()).to_vec();
        fields.extend([("count", number(counted)), ("seq", number(seq)), ("last", number(last))]);
        fields.extend([("recents", count(recents.len())), ("recent", recents.concat())]);
        let entry = bytes(&fields);
        check("Action", &entry, fields);
        roots.push(("action hash", LedgerLeaf::of(&entry).0.to_vec()));
    }
    roots.push(("sessions", count(0)));
    check_ledger(&ledger, roots);
    let mut expected = vec![("changed nonces", count(0)), ("new nonces", count(0))];
    expected.extend([("floors", vec![0]), ("changed actions", count(1))]);
    expected.extend([("action place", count(0)), ("more", count(1)), ("seq advance", count(3))]);
    expected.extend([("last advance", count(200)), ("gone", count(0)), ("newer", count(1))]);
    expected.push(("newer recent", recent(400, None)));
    expected.push(("new actions", count(1)));
    expected.extend(blob("action bytes", "action", b"add"));
    expected.extend([("count", count(1)), ("seq", count(7)), ("last", count(300))]);
    expected.extend([("recents", count(1)), ("recent", recent(300, None))]);
    expected.extend([("changed sessions", count(0)), ("new sessions", count(0))]);
    check_changes(&base, &ledger, expected);
    // A day later, the earlier versions are not recent; another policy forgets an action.
    let base = Ledger::clone(&ledger);
    let day = 24 * 60 * 60 * 1000;
    let tracked = Tracked::new(["write".to_string()], true);
    ledger = ledger.next(&tracked, 11, &write(day + 200), &[signer]);
    let mut expected = vec![("changed nonces", count(0)), ("new nonces", count(0))];
    expected.extend([("floors", vec![0]), ("changed actions", count(2))]);
    expected.extend([("action place", count(0)), ("more", count(0)), ("seq advance", count(0))]);
    expected.extend([("last advance", count(0)), ("gone", count(0)), ("newer", count(0))]);
    expected.push(("newer recent", Vec::new()));
    expected.extend([("action place", count(0)), ("more", count(1)), ("seq advance", count(2))]);
    let later = day as usize + 200 - 400;
    expected.extend([("last advance", count(later)), ("gone", count(2)), ("newer", count(1))]);
    expected.push(("newer recent", recent(day + 200, Some(signer))));
    expected.extend([("new actions", count(0)), ("changed sessions", count(0))]);
    expected.push(("new sessions", count(0)));
    check_changes(&base, &ledger, expected);
}

#[test]
fn ledger_of_sessions() {
    let mut keys = [key(1).public(), key(2).public()];
    keys.sort();
    let sessions = [SessionKey::from_secret(&[1; 32]), SessionKey::from_secret(&[2; 32])];
    let mut ids = sessions.each_ref().map(SessionKey::id);
    ids.sort();
    let mut ledger = Arc::new(Ledger::default());
    for (session, expires, signers) in [(ids[1], 900, &keys[..]), (ids[0], 800, &keys[1..])] {
        let nonce = 1 + 900 - expires;
        let request = Request::OpenSession { session, expires: Time::from_millis(expires) };
        let credential = Some(Credential::new(nonce, Time::from_millis(700)));
        let input = Input { request, time: Time::from_millis(600), credential };
        ledger = ledger.next(Tracked::NONE, 5, &input, signers);
    }
    let base = Ledger::clone(&ledger);
    let last = sessions.iter().find(|key| key.id() == ids[1]).unwrap();
    let mut credential = Credential::new(0x55, Time::from_millis(700));
    let request = Request::Write { fields: Vec::new() };
    credential.put_in_session(last, object::hash::ObjectId([1; 32]), &request);
    let input = Input { request, time: Time::from_millis(610), credential: Some(credential) };
    ledger = ledger.next(Tracked::NONE, 7, &input, &keys);
    let entries = [(ids[0], 800, 0, &keys[1..]), (ids[1], 900, 0x55, &keys[..])];
    let entries = entries.map(|(id, until, nonce, keys)| {
        let mut fields = vec![("session", id.0.to_vec()), ("until", number(until))];
        fields.extend([("last nonce", number(nonce)), ("keys", count(keys.len()))]);
        fields.push(("key", keys.iter().flat_map(|key| key.0).collect()));
        let entry = bytes(&fields);
        check("Open session", &entry, fields);
        entry
    });
    let nonces = [nonce(keys[0].0, 1, 700), nonce(keys[1].0, 101, 700)].concat();
    let mut roots = vec![("nonces", count(2))];
    roots.extend([("nonce root", LedgerLeaf::of(&nonces).0.to_vec()), ("floors", vec![0])]);
    roots.extend([("actions", count(0)), ("sessions", count(2))]);
    roots.push(("session root", LedgerLeaf::of(&entries.concat()).0.to_vec()));
    check_ledger(&ledger, roots);
    let mut unchanged = vec![("changed nonces", count(0)), ("new nonces", count(0))];
    unchanged.extend([("floors", vec![0]), ("changed actions", count(0))]);
    unchanged.push(("new actions", count(0)));
    let mut expected = unchanged.clone();
    expected.extend([("changed sessions", count(1)), ("session place", count(1))]);
    expected.extend([("session advance", count(0x55)), ("new sessions", count(0))]);
    check_changes(&base, &ledger, expected);
    let ended = Ledger { sessions: Ledger::default().sessions, ..Ledger::clone(&ledger) };
    let mut expected = unchanged;
    expected.extend([("changed sessions", count(0)), ("new sessions", count(2))]);
    for (id, until, nonce, keys) in [(ids[0], 800, 0, &keys[1..]), (ids[1], 900, 0x55, &keys[..])] {
        expected.extend([("session", id.0.to_vec()), ("until", count(until))]);
        expected.extend([("last nonce", count(nonce)), ("keys", count(keys.len()))]);
        expected.push(("session key", keys.iter().flat_map(|key| key.0).collect()));
    }
    check_changes(&ended, &ledger, expected);
}

#[test]
fn refusal() {
    let mut source = Source::random();
    for _ in 0..ROUNDS {
        let refusal = samples::refusal(&mut source);
        let reason = samples::REASONS.iter().position(|reason| *reason == refusal.verdict.reason);
        let mut expected = vec![
            ("version", vec![2]),
            ("reason", vec![reason.unwrap() as u8]),
            ("seq", number(refusal.seq)),
            ("object", refusal.object.0.to_vec()),
            ("parent", refusal.parent.0.to_vec()),
        ];
        let previous = refusal.previous.map(|previous| previous.0);
        expected.extend(option("has previous", "previous", previous));
        expected.push(("rules", count(refusal.verdict.rules.len())));
        for rule in &refusal.verdict.rules {
            expected.extend(blob("rule bytes", "rule", rule.as_bytes()));
        }
        expected.push(("refused hash", refusal.refused.0.to_vec()));
        let hashed: Vec<u8> = expected.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        assert_eq!(refusal.hash(), RefusalHash::of(&hashed), "the part that is hashed");
        expected.extend(blob("detail bytes", "detail", refusal.verdict.detail.as_bytes()));
        expected.extend(blob("input bytes", "input", &refusal.input));
        check("Refusal", &refusal.encode(), expected);
    }
}

#[test]
fn leaf() {
    let text = b"continuant 2 evidence leaf";
    assert!(document().contains(std::str::from_utf8(text).unwrap()));
    for _ in 0..ROUNDS {
        let leaf = samples::leaf(&mut Source::random());
        let reason = |known| samples::REASONS.iter().position(|reason| *reason == known).unwrap();
        let (entry, kind, object, of, hash) = match leaf {
            Leaf::Version { object, seq, kind, hash } => (1, kind.code(), object.0, seq, hash.0),
            Leaf::Refusal { object, number, reason: known, hash } => {
                (2, reason(known) as u8, object.0, number, hash.0)
            }
            Leaf::AdoptedVersion { object, seq, hash } => (3, 0, object.0, seq, hash.0),
            Leaf::AdoptedRefusal { object, number, hash } => (4, 0, object.0, number, hash.0),
            Leaf::Loss { end, check } => (5, 0, [0; 32], end, check),
        };
        let expected = vec![
            ("text", text.to_vec()),
            ("entry", vec![entry]),
            ("kind", vec![kind]),
            ("object", object.to_vec()),
            ("number", number(of)),
            ("hash", hash.to_vec()),
        ];
        check("Leaf", &leaf.encode(), expected);
    }
}

#[test]
fn secret() {
    let whole = workshop::secret();
    for (from, key_count) in [(0, 1), (5, 2), (64, 1), (128, 2), (129, 3), (4095, 3), (4096, 1)] {
        let secret = whole.since(from).unwrap();
        let (encoded, from) = (secret.encode(), count(from as usize));
        let keys = encoded[from.len()..].to_vec();
        assert_eq!(keys.len(), 32 * key_count);
        check("Secret", &encoded, vec![("from", from), ("keys", keys)]);
    }
}

#[test]
fn base_image() {
    let mut source = Source::random();
    let mut memory = vec![0; 5 * PAGE_BYTES];
    let pages = [(1, samples::page(&mut source)), (4, samples::page(&mut source))];
    for (index, page) in &pages {
        memory[index * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(page);
    }
    let base = BaseImage::new(&memory, vec![3, 4]).unwrap();
    let mut expected = vec![("version", vec![2]), ("memory bytes", number(memory.len() as u64))];
    expected.extend(blob("globals bytes", "globals", &encode_globals(&[3, 4])));
    expected.push(("pages", count(2)));
    for (index, page) in &pages {
        expected.extend([
            ("page index", (*index as u32).to_le_bytes().to_vec()),
            ("page", page.to_vec()),
        ]);
    }
    check("Base image", &base.encode(), expected);
}

#[test]
fn policy() {
    run(|| {
        let shop = lineage();
        let bytes = shop.definition.policy.encode();
        let [major, minor] = [&bytes[1..3], &bytes[3..5]];
        let mut expected = vec![
            ("version", vec![2]),
            ("language major", major.to_vec()),
            ("language minor", minor.to_vec()),
        ];
        let text = shop.definition.policy.text();
        expected.extend(blob("text bytes", "text", text.as_bytes()));
        let guard = b"a module, or not";
        let guarded = Policy::parse(Law::from(text).guard(guard), &shop.definition.schema).unwrap();
        let mut with_guard = expected.clone();
        expected.push(("has guard", vec![0]));
        with_guard.push(("has guard", vec![1]));
        with_guard.extend(blob("guard bytes", "guard", guard));
        check("Policy", &bytes, expected);
        check("Policy", &guarded.encode(), with_guard);
        assert_eq!((major, minor), (&[4, 0][..], &[6, 0][..]), "Cedar 4.6");
    });
}

#[test]
fn capsule() {
    let expected = vec![("name", b"CONTINUANT-CAP".to_vec()), ("version", vec![2, 0])];
    check("Capsule", &HEAD, expected);
    assert!(document().contains("that of the head's 16 bytes"));
}

#[test]
fn section() {
    const CONTEXT: &str = "continuant 2 capsule section";
    assert!(document().contains(&format!("BLAKE3 in the context `{CONTEXT}`")));
    let mut chain = Chain::new();
    let mut last = blake3::derive_key(CONTEXT, &HEAD);
    for body in [&b"a module"[..], b"", b"more"] {
        let (head, check_bytes) = chain.section(SectionKind::Policy, body);
        last = blake3::derive_key(CONTEXT, &[&last[..], &head, body].concat());
        let mut expected = vec![("kind", vec![1])];
        expected.push(("body bytes", (body.len() as u32).to_le_bytes().to_vec()));
        expected.push(("body", body.to_vec()));
        expected.push(("check", last.to_vec()));
        check("Section", &[&head[..], body, &check_bytes].concat(), expected);
    }
}

/// A table that says too much or too little is found by the walk: the check checks.
#[test]
fn a_walk_takes_a_header_apart() {
    let header = samples::header(&mut Source::new(1));
    let fields = walk("Version header", &header.encode());
    let bytes: Vec<u8> = fields.into_iter().flat_map(|(_, bytes)| bytes).collect();
    assert_eq!(Header::decode(&bytes).unwrap(), header);
}
