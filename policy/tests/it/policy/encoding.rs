//! The bytes of a policy: there and back, and bytes that are no encoding.

use continuant_policy::{Law, Policy, STACK_BYTES};
use expect_test::expect;
use object::ErrorKind;
use object::hash::PolicyHash;
use object::ledger::Tracked;
use object::limits::GUARD_BYTES_MAX;
use schema::Schema;

use super::{ANYONE, aircraft, on_stack, parse};

const GUARD: &[u8] = b"no module, which only whoever runs it can tell";

fn decode(bytes: &[u8]) -> Result<Policy, ErrorKind> {
    let schema = Schema::parse(aircraft::WIT).unwrap();
    on_stack(STACK_BYTES, || Policy::decode(bytes, &schema)).map_err(|error| error.kind().clone())
}

#[test]
fn a_policy_is_its_text_as_it_was_given() {
    let policy = parse(aircraft::POLICY, &Schema::parse(aircraft::WIT).unwrap()).unwrap();
    let decoded = decode(&policy.encode()).unwrap();
    assert_eq!(decoded.text(), aircraft::POLICY);
    assert_eq!(decoded.encode(), policy.encode());
    assert_eq!(decoded.hash(), policy.hash());
    assert_eq!(decoded.hash(), PolicyHash::of(&policy.encode()));
}

#[test]
fn the_encoding_is_the_one_that_is_on_record() {
    let policy = parse(ANYONE, &Schema::parse(aircraft::WIT).unwrap()).unwrap();
    let bytes = policy.encode();
    assert_eq!((bytes[0], usize::from(bytes[5])), (2, ANYONE.len()));
    assert_eq!(&bytes[6..bytes.len() - 1], ANYONE.as_bytes());
    assert_eq!(bytes.last(), Some(&0), "no guard");
    expect!["c6756af19b9913b93fede91141f826d6633d9b88519cd8afbb83ea34af9cb8de"]
        .assert_eq(&policy.hash().to_string());
}

#[test]
fn a_language_version_of_the_past_keeps_its_hash_and_one_of_the_future_is_refused() {
    let policy = parse(ANYONE, &Schema::parse(aircraft::WIT).unwrap()).unwrap();
    let mut bytes = policy.encode();
    bytes[3..5].copy_from_slice(&0u16.to_le_bytes());
    let old = decode(&bytes).unwrap();
    assert_eq!(old.encode(), bytes);
    assert_ne!(old.hash(), policy.hash());
    bytes[3..5].copy_from_slice(&u16::MAX.to_le_bytes());
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { what: "policy", offset: 1, .. })));
}

#[test]
fn nothing_shorter_or_longer_is_an_encoding() {
    let policy = parse(ANYONE, &Schema::parse(aircraft::WIT).unwrap()).unwrap();
    let mut bytes = policy.encode();
    for end in 0..bytes.len() {
        assert!(matches!(decode(&bytes[..end]), Err(ErrorKind::Decode { .. })), "{end} bytes");
    }
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { .. })));
    bytes[0] = 3;
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { offset: 0, .. })));
}

fn guarded(text: &str, guard: &[u8]) -> Result<Policy, ErrorKind> {
    let schema = Schema::parse(aircraft::WIT).unwrap();
    let parsed = on_stack(STACK_BYTES, || Policy::parse(Law::from(text).guard(guard), &schema));
    parsed.map_err(|error| error.kind().clone())
}

#[test]
fn a_guard_is_behind_the_text_and_in_the_hash() {
    let policy = guarded(ANYONE, GUARD).unwrap();
    let bytes = policy.encode();
    let plain = parse(ANYONE, &Schema::parse(aircraft::WIT).unwrap()).unwrap().encode();
    let (before, none) = plain.split_at(plain.len() - 1);
    assert_eq!((&bytes[..before.len()], none), (before, &[0][..]), "so far as without");
    assert_eq!((bytes[before.len()], usize::from(bytes[before.len() + 1])), (1, GUARD.len()));
    assert_eq!(&bytes[before.len() + 2..], GUARD);
    expect!["ee40a878c83196899f16e6a994ea3de4e82c1a5f4b37870f848ef96291ac689e"]
        .assert_eq(&policy.hash().to_string());
    let law = Law { text: ANYONE, guard: Some(GUARD) };
    assert_eq!((policy.law(), policy.hash()), (law, Policy::hash_of(law)));
    assert_ne!(policy.hash(), Policy::hash_of(ANYONE));
    assert_ne!(policy.hash(), guarded(ANYONE, b"another").unwrap().hash());
    let again = decode(&bytes).unwrap();
    assert_eq!((again.law(), again.encode(), again.hash()), (law, bytes, policy.hash()));
    assert_eq!(again.guard().unwrap().wasm(), GUARD);
}

/// The module of a policy that asks for no argument.
fn no_module() -> object::Result<Vec<u8>> {
    unreachable!("nobody asks for it")
}

#[test]
fn nothing_shorter_or_longer_is_an_encoding_with_a_guard() {
    let mut bytes = guarded(ANYONE, GUARD).unwrap().encode();
    for end in 0..bytes.len() {
        assert!(matches!(decode(&bytes[..end]), Err(ErrorKind::Decode { .. })), "{end} bytes");
        assert!(Policy::tracked_by(&bytes[..end], no_module).is_err(), "{end} bytes");
    }
    bytes.push(0);
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { .. })));
    bytes.pop();
    bytes[0] = 1;
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { offset: 0, .. })), "version 1");
}

#[test]
fn a_guard_has_a_byte_and_not_too_many() {
    for length in [0, GUARD_BYTES_MAX + 1] {
        let refused = guarded(ANYONE, &vec![0; length]).unwrap_err();
        assert!(matches!(refused, ErrorKind::Decode { what: "guard", .. }), "{refused:?}");
    }
    guarded(ANYONE, &vec![0; GUARD_BYTES_MAX]).unwrap();
}

/// A guard of no bytes is not taken for none.
#[test]
fn a_guard_of_no_bytes_is_refused_and_has_a_hash_of_its_own() {
    let law = Law::from(ANYONE).guard(b"");
    assert_ne!(Policy::hash_of(law), Policy::hash_of(ANYONE));
    let bytes = law.encode();
    assert_eq!(bytes.last_chunk(), Some(&[1, 0]));
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { what: "guard", .. })));
    let mut bytes = Law::from(ANYONE).encode();
    *bytes.last_mut().unwrap() = 2;
    assert!(
        matches!(decode(&bytes), Err(ErrorKind::Decode { what: "policy", .. })),
        "2 is no flag"
    );
}

#[test]
fn what_is_read_of_the_past_can_be_told_beside_a_guard() {
    let text = r#"@id("few") permit(principal, action == Action::"fly", resource)
        when { context.lineage.past.fly.minute < 3 };"#;
    let policy = guarded(text, GUARD).unwrap();
    let tracked = Policy::tracked_by(&policy.encode(), no_module).unwrap();
    assert_eq!(&tracked, policy.tracked());
    assert_ne!(tracked, Tracked::default());
}
