//! The bytes of a policy: there and back, and what is not an encoding.

use continuant_object::ErrorKind;
use continuant_object::hash::PolicyHash;
use continuant_object::policy::{Policy, STACK_BYTES};
use continuant_object::schema::Schema;
use expect_test::expect;

use super::{ANYONE, aircraft, on_stack, parse};

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
    assert_eq!(bytes[0], 1);
    assert_eq!(bytes[5..9], (ANYONE.len() as u32).to_le_bytes());
    assert_eq!(&bytes[9..], ANYONE.as_bytes());
    expect!["15775c72035bb9f5ccd3d9835a17fd561f749d5c0a91e297320069f3d504d301"]
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
    bytes[0] = 2;
    assert!(matches!(decode(&bytes), Err(ErrorKind::Decode { offset: 0, .. })));
}
