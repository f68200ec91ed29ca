//! Codes, contexts, jumps, names and limits.

use object::capsule::{Chain, SectionKind};
use object::credential::{Credential, SessionKey, SigningKey};
use object::evidence::Leaf;
use object::hash::*;
use object::header::{Header, Kind};
use object::input::{Input, Request};
use object::limits::*;
use object::lineage::jump_seq;
use object::refusal::{Reason, Refusal};
use object::secret::Secret;
use object::time::Time;
use schema::code;

use super::{quoted, rows};
use crate::module::module;
use crate::samples;
use crate::source::Source;

pub(super) const TABLES: &[&str] = &[
    "Hashes",
    "Salts",
    "Kinds",
    "Algorithms",
    "Jump pointers",
    "Reasons",
    "Code",
    "Section kinds",
    "Entries",
    "Limits",
];

#[test]
fn hashes() {
    const BYTES: &[u8] = b"a salt and the bytes behind it";
    macro_rules! hashes {
        ($($name:ident)*) => {
            [$((stringify!($name), (|bytes| $name::of(bytes).0) as fn(&[u8]) -> [u8; 32]),)*]
        };
    }
    macro_rules! salted {
        ($($name:ident)*) => {
            [$((stringify!($name), (|bytes: &[u8]| {
                let (salt, payload) = bytes.split_first_chunk().unwrap();
                $name::of(Salt(*salt), payload).0
            }) as fn(&[u8]) -> [u8; 32]),)*]
        };
    }
    let mut known = hashes!(ObjectId VersionHash MemoryRoot CodeHash SchemaHash PolicyHash BaseHash
        GlobalsHash LedgerHash LedgerLeaf LedgerNode LedgerValue RefusalHash LeafHash SessionId
        BatchRoot)
    .to_vec();
    known.extend(salted!(InputHash EffectsHash AdmissionHash RefusedHash));
    let rows = rows("Hashes", ["Hash", "Context", "Of"]);
    assert_eq!(rows.len(), known.len());
    for ([name, context, _], (known, of)) in rows.iter().zip(known) {
        assert_eq!(name, known);
        let expected = match context.as_str() {
            "none" => *blake3::hash(BYTES).as_bytes(),
            context => blake3::derive_key(quoted(context), BYTES),
        };
        assert_eq!(of(BYTES), expected, "{name}");
    }
}

#[test]
fn salts() {
    let rows = rows("Salts", ["Derivation", "Context", "Of", "Gives"]);
    let context = |name: &str| quoted(&rows.iter().find(|row| row[0] == name).unwrap()[1]);
    let derived = |name: &str, of: &[u8]| blake3::derive_key(context(name), of);
    let (next, first) = (|of: &_| derived("next", of), |of: &_| derived("first", of));
    assert_eq!(rows.len(), 5);
    let drawn = [7; 32];
    let secret = Secret::new(drawn);
    let trees = [drawn, next(&drawn), next(&next(&drawn))];
    let keys = [
        (0, first(&trees[0])),
        (2, next(&next(&first(&trees[0])))),
        (64, first(&first(&trees[1]))),
        (129, next(&first(&next(&first(&trees[1]))))),
        (4096 + 64, first(&next(&first(&first(&trees[2]))))),
    ];
    for (seq, key) in keys {
        let secret = secret.since(seq).unwrap();
        let mut salts = [0; 64];
        let mut hasher = blake3::Hasher::new_derive_key(context("version"));
        hasher.update(&key).finalize_xof().fill(&mut salts);
        let found = secret.version_salts();
        assert_eq!([found.input.0, found.effects.0, found.admission.0].concat(), salts[..48]);
        let refusal = derived("refusal", &[&key[..], &9u64.to_le_bytes()].concat());
        assert_eq!(secret.refusal_salt(9).0, refusal[..16]);
    }
    assert_eq!(Secret::image_salt(&drawn), derived("image", &drawn));
}

#[test]
fn kinds() {
    let rows = rows("Kinds", ["Code", "Kind", "Made by"]);
    let mut source = Source::new(1);
    let mut headers = Vec::new();
    while headers.len() < 200 {
        headers.push(samples::header(&mut source));
    }
    let of_kind = |kind| headers.iter().find(|header| header.kind == kind).unwrap().clone();
    let (call, create) = (of_kind(Kind::Call), of_kind(Kind::Create));
    headers.push(Header { kind: Kind::Fork, ..create });
    headers.push(Header { kind: Kind::Amend, ..call.clone() });
    headers.push(Header { kind: Kind::OpenSession, ..call.clone() });
    headers.push(Header { kind: Kind::Upgrade, ..call.clone() });
    headers.push(Header { kind: Kind::Delete, wake: None, ..call.clone() });
    headers.push(Header { kind: Kind::Message, ..call });
    for [code, name, _] in &rows {
        let code: u8 = code.parse().unwrap();
        let header = headers.iter().find(|header| header.kind.name() == name).unwrap();
        assert_eq!(header.encode()[2], code, "{name}");
    }
    assert_eq!(rows.len(), 10);
    let mut bytes = headers.iter().find(|it| it.kind == Kind::Call).unwrap().encode();
    bytes[2] = rows.len() as u8;
    assert!(Header::decode(&bytes).is_err());
}

#[test]
fn algorithms() {
    let key = SigningKey::from_secret(&[1; 32]);
    let (object, request) = (ObjectId([1; 32]), Request::Cycle);
    let mut signed = Credential::new(1, Time::MIN);
    signed.sign(&key, object, &request);
    let mut coded = Credential::new(1, Time::MIN);
    coded.put_in_session(&SessionKey::from_secret(&[1; 32]), object, &request);
    let rows = rows("Algorithms", ["Code", "Algorithm", "Makes"]);
    let makes = [(signed, 96, "Ed25519"), (coded, 32, "BLAKE3")];
    assert_eq!(rows.len(), makes.len());
    for ([code, name, _], (credential, bytes, known)) in rows.iter().zip(makes) {
        assert_eq!(name, known);
        let input =
            Input { request: Request::Cycle, time: Time::MIN, credential: Some(credential) };
        let mut encoded = input.encode();
        let at = encoded.len() - bytes - 1;
        assert_eq!(encoded[at], code.parse::<u8>().unwrap(), "{name}");
        encoded[at] = rows.len() as u8 + 1;
        let error = Input::decode(&encoded).unwrap_err();
        assert_eq!(error.kind().name(), "unknown-algorithm", "{name}");
    }
}

#[test]
fn jump_pointers() {
    for [seq, jump] in rows("Jump pointers", ["Seq", "Jump"]) {
        assert_eq!(jump_seq(seq.parse().unwrap()), jump.parse::<u64>().unwrap(), "{seq}");
    }
}

#[test]
fn reasons() {
    let rows = rows("Reasons", ["Code", "Reason", "Given when"]);
    assert_eq!(rows.len(), samples::REASONS.len());
    let mut refusal = samples::refusal(&mut Source::new(1));
    for ([code, name, _], reason) in rows.iter().zip(samples::REASONS) {
        refusal.verdict.reason = reason;
        assert_eq!(refusal.encode()[1], code.parse::<u8>().unwrap());
        assert_eq!(reason.name(), name);
    }
    let mut bytes = refusal.encode();
    let known: Vec<u8> = rows.iter().map(|[code, ..]| code.parse().unwrap()).collect();
    for code in 0..=u8::MAX {
        bytes[1] = code;
        assert_eq!(Refusal::decode(&bytes).is_ok(), known.contains(&code), "{code}");
    }
}

#[test]
fn what_a_module_says() {
    let rows = rows("Code", ["What", "Kind", "Name", "Holds"]);
    let [schema, state] = &rows[..] else { panic!("{} rows", rows.len()) };
    assert_eq!(quoted(&schema[2]), code::SCHEMA_SECTION);
    assert_eq!(quoted(&state[2]), code::STATE_EXPORT);
    // `module` writes a custom section and an exported immutable global.
    let facts = code::read(&module("text", 8192)).unwrap();
    assert_eq!((facts.schema_text.as_str(), facts.state_address), ("text", 8192));
}

#[test]
fn entries() {
    let rows = rows("Entries", ["Code", "Entry", "Kind", "Number", "Hash"]);
    let (object, number) = (ObjectId([1; 32]), 5);
    let (version, refusal) = (VersionHash([2; 32]), RefusalHash([3; 32]));
    let (kind, reason) = (Kind::Upgrade, Reason::Guard);
    let leaves = [
        Leaf::Version { object, seq: number, kind, hash: version },
        Leaf::Refusal { object, number, reason, hash: refusal },
        Leaf::AdoptedVersion { object, seq: number, hash: version },
        Leaf::AdoptedRefusal { object, number, hash: refusal },
        Leaf::Loss { end: number, check: [4; 32] },
    ];
    assert_eq!(rows.len(), leaves.len());
    for ([code, entry, kind, _, hash], leaf) in rows.iter().zip(leaves) {
        let mut bytes = leaf.encode();
        assert_eq!(bytes[26], code.parse::<u8>().unwrap(), "{entry}");
        let (expected, first) = match hash.as_str() {
            "VersionHash" => (2, 1),
            "RefusalHash" => (3, 1),
            _ => (4, 0),
        };
        assert_eq!((bytes[68], bytes[28]), (expected, first), "{entry}");
        bytes[27] = match kind.as_str() {
            "of Kinds" => Kind::ALL.len() as u8,
            "of Reasons" => Reason::ALL.len() as u8,
            _ => 1,
        };
        assert!(Leaf::decode(&bytes).is_err(), "{entry} of an unknown kind");
        bytes[27] = 0;
        for other in (0..=u8::MAX).filter(|code| usize::from(*code) > rows.len() || *code == 0) {
            bytes[26] = other;
            assert!(Leaf::decode(&bytes).is_err(), "entry {other}");
        }
    }
    let mut loss = leaves[4].encode();
    loss[28] = 1;
    assert!(Leaf::decode(&loss).is_err(), "a loss is of no object");
}

#[test]
fn section_kinds() {
    let known = [
        SectionKind::Code,
        SectionKind::Policy,
        SectionKind::Base,
        SectionKind::Commit,
        SectionKind::Refusal,
        SectionKind::End,
        SectionKind::Packed,
        SectionKind::Secret,
    ];
    let rows = rows("Section kinds", ["Code", "Kind", "Body"]);
    assert_eq!(rows.len(), known.len());
    for ([code, name, _], kind) in rows.iter().zip(known) {
        assert_eq!(*name, format!("{kind:?}"));
        let (head, _) = Chain::new().section(kind, b"");
        assert_eq!(head[0], code.parse::<u8>().unwrap());
    }
    let (mut chain, end) = (Chain::new(), 0u64.to_le_bytes());
    let (head, check) = chain.clone().section(SectionKind::End, &end);
    chain.verify(&head, &end, &check).unwrap();
    let mut chain = Chain::new();
    let (head, check) = chain.clone().section(SectionKind::End, &1u64.to_le_bytes());
    assert!(chain.verify(&head, &1u64.to_le_bytes(), &check).is_err());
}

#[test]
fn limits() {
    macro_rules! limits {
        ($($name:ident)*) => { [$((stringify!($name), $name as u64),)*] };
    }
    let known = limits! {
        PAGE_BYTES WASM_PAGE_BYTES MEMORY_BYTES_MAX GLOBALS_MAX CODE_BYTES_MAX SCHEMA_BYTES_MAX
        SCHEMA_WORDS_MAX SCHEMA_NESTING_MAX METHODS_MAX FIELDS_MAX FLAGS_MAX TYPE_DEPTH_MAX
        TYPE_PARTS_MAX STATE_BYTES_MAX STATE_VALUES_MAX FLAT_PARAMS_MAX POLICY_BYTES_MAX
        GUARD_BYTES_MAX POLICY_ENCODED_MAX PAYLOAD_BYTES_MAX PAYLOAD_VALUES_MAX FUEL_MAX
        GUARD_FUEL_MAX GUARD_MEMORY_BYTES_MAX NAME_BYTES_MAX WRITES_MAX PATH_BYTES_MAX
        SIGNATURES_MAX BATCH_INPUTS_MAX OUTPUTS_MAX MESSAGES_MAX MESSAGE_FUEL EFFECTS_BYTES_MAX
        SEQ_MAX RULES_MAX NONCES_MAX SESSIONS_MAX SESSIONS_NAMED_MAX SESSION_KEYS_MAX
        SESSION_KEYS_NAMED_MAX PAST_ACTIONS_MAX PAST_RECENT_MAX PAST_ARGUMENTS_MAX
        PAST_VALUES_MAX PAST_TEXT_BYTES_MAX
        EXPIRY_MS_MAX POLICY_TOKENS_MAX POLICY_NESTING_MAX POLICY_OPERATORS_MAX
        POLICY_ACCESSES_MAX POLICY_DEPTH_MAX
        POLICY_LITERAL_BYTES_MAX
        POLICY_ATTRIBUTES_MAX POLICY_SET_ITEMS_MAX POLICY_TEXT_BYTES_MAX POLICY_CONTEXT_BYTES_MAX
    };
    let rows = rows("Limits", ["Limit", "Most"]);
    let found: Vec<(&str, u64)> = rows
        .iter()
        .map(|[name, most]| (quoted(name), most.replace(',', "").parse().unwrap()))
        .collect();
    assert_eq!(found, known);
    let source = include_str!("../../../../object/src/limits.rs");
    assert_eq!(source.matches("\npub const ").count(), known.len(), "every limit is listed");
}
