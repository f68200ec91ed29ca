//! Who may ask, and when: each native reason, and everything that a signature is bound to.

use std::sync::Arc;

use continuant_object::admission::authenticate;
use continuant_object::credential::{Credential, Host, Memo, PublicKey, Signature, SigningKey};
use continuant_object::effects::WakeChange;
use continuant_object::hash::{ObjectId, VersionHash};
use continuant_object::head::Head;
use continuant_object::input::{Input, Request};
use continuant_object::ledger::Ledger;
use continuant_object::limits::{EXPIRY_MS_MAX, NONCES_MAX, SIGNATURES_MAX};
use continuant_object::refusal::Reason;
use expect_test::{Expect, expect};

use crate::workshop::{Ran, Workshop, key, run};

fn head() -> Head {
    run(|| Workshop::new().head)
}

fn call(head: &Head) -> Input {
    let request = Request::Call { method: "add".into(), arguments: vec![0; 8] };
    Input { request, time: head.header.time + 10, credential: None }
}

fn signed(head: &Head, change: impl FnOnce(&mut Input, &mut Credential)) -> Input {
    let mut input = call(head);
    let mut credential = Credential::new(1, input.time + 1000);
    change(&mut input, &mut credential);
    credential.sign(&key(1), head.id, &input.request);
    input.credential = Some(credential);
    input
}

#[track_caller]
fn refused(head: &Head, input: &Input) -> (Reason, String) {
    let verdict = authenticate(head, input, Host::verifier(&Memo::default())).unwrap_err();
    assert!(verdict.rules.is_empty());
    (verdict.reason, verdict.detail)
}

#[test]
fn an_input_without_a_credential_is_of_nobody() {
    let head = head();
    assert_eq!(authenticate(&head, &call(&head), Host::verifier(&Memo::default())).unwrap(), []);
}

#[test]
fn signers_come_in_ascending_order() {
    let head = head();
    let mut input = call(&head);
    let mut credential = Credential::new(1, input.time);
    let keys = [key(4), key(1), key(3), key(2)];
    keys.iter().for_each(|key| credential.sign(key, head.id, &input.request));
    let again = credential.clone();
    credential.sign(&keys[2], head.id, &input.request);
    assert_eq!(credential, again, "a key signs once");
    input.credential = Some(credential);
    let mut expected: Vec<PublicKey> = keys.iter().map(SigningKey::public).collect();
    expected.sort();
    assert_eq!(authenticate(&head, &input, Host::verifier(&Memo::default())).unwrap(), expected);
}

#[test]
fn a_credential_holds_from_its_longest_expiry_to_its_last_moment() {
    let head = head();
    let at = |expires: i64| {
        signed(&head, |input, credential| {
            credential.expires = input.time.saturating_add_signed(expires);
        })
    };
    authenticate(&head, &at(0), Host::verifier(&Memo::default())).unwrap();
    authenticate(&head, &at(EXPIRY_MS_MAX as i64), Host::verifier(&Memo::default())).unwrap();
    assert_eq!(refused(&head, &at(-1)).0, Reason::Expired);
    assert_eq!(refused(&head, &at(EXPIRY_MS_MAX as i64 + 1)).0, Reason::ExpiresTooLate);
    let ends = |time: u64, expires: u64| {
        signed(&head, |input, credential| (input.time, credential.expires) = (time, expires))
    };
    assert_eq!(refused(&head, &ends(u64::MAX, 0)).0, Reason::Expired);
    assert_eq!(refused(&head, &ends(0, u64::MAX)).0, Reason::ExpiresTooLate);
    authenticate(&head, &ends(u64::MAX, u64::MAX), Host::verifier(&Memo::default())).unwrap();
}

#[test]
fn a_credential_may_name_the_version_that_it_follows() {
    let head = head();
    let follows = |parent: VersionHash| signed(&head, |_, it| it.parent = Some(parent));
    authenticate(&head, &follows(head.hash), Host::verifier(&Memo::default())).unwrap();
    assert_eq!(refused(&head, &follows(VersionHash([1; 32]))).0, Reason::WrongParent);
}

#[test]
fn a_nonce_is_used_once_and_in_order() {
    run(|| {
        let mut shop = Workshop::new();
        let keyed = |shop: &Workshop, nonce: u64, keys: &[u8]| {
            let keys: Vec<SigningKey> = keys.iter().map(|&number| key(number)).collect();
            shop.sign(shop.add(0), nonce, &keys.iter().collect::<Vec<_>>())
        };
        let step = |shop: &mut Workshop, nonce: u64, keys: &[u8]| {
            let input = keyed(shop, nonce, keys);
            let result = shop.step(input, Ran::default());
            result.map_err(|verdict| verdict.to_string())
        };
        step(&mut shop, 5, &[1]).unwrap();
        let check = |result: Result<(), String>, expected: Expect| {
            expected.assert_eq(&result.unwrap_err());
        };
        check(step(&mut shop, 5, &[1]), expect!["replayed: nonce 5"]);
        check(step(&mut shop, 4, &[1]), expect!["reordered: nonce 4"]);
        check(step(&mut shop, 0, &[1]), expect!["reordered: nonce 0"]);
        step(&mut shop, 4, &[2]).unwrap();
        check(step(&mut shop, 5, &[1, 2]), expect!["replayed: nonce 5"]);
        step(&mut shop, 6, &[1, 2]).unwrap();
        step(&mut shop, u64::MAX, &[1]).unwrap();
        check(step(&mut shop, u64::MAX, &[1]), expect!["replayed: nonce 18446744073709551615"]);
        // Once it can no longer be replayed, it is forgotten: but only then.
        let last = shop.head.header.time;
        let late = |shop: &Workshop, time: u64| {
            let mut input = shop.add(0);
            input.time = time;
            shop.sign(input, 6, &[&key(3)])
        };
        shop.step(late(&shop, last + EXPIRY_MS_MAX), Ran::default()).unwrap();
        check(step(&mut shop, 7, &[1]), expect!["reordered: nonce 7"]);
        let mut input = shop.add(0);
        input.time = last + EXPIRY_MS_MAX + 1;
        shop.step(shop.sign(input, 7, &[&key(3)]), Ran::default()).unwrap();
        step(&mut shop, 7, &[1]).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn the_nonces_of_an_object_are_full_at_their_limit() {
    let mut head = head();
    let mut ledger = Ledger::default();
    let time = head.header.time;
    for count in 0..NONCES_MAX as u32 {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&count.to_be_bytes());
        ledger.nonces.record(&[PublicKey(key)], 1, time);
    }
    assert_eq!(Ledger::decode(&ledger.encode()).unwrap(), ledger);
    head.ledger = ledger.into();
    let input = signed(&head, |_, _| {});
    assert_eq!(refused(&head, &input), (Reason::NoncesFull, "nonce 1".to_string()));
    let later = signed(&head, |input, credential| {
        input.time = time + EXPIRY_MS_MAX + 1;
        credential.expires = input.time;
    });
    authenticate(&head, &later, Host::verifier(&Memo::default())).unwrap();
    let mut ledger = (*head.ledger).clone();
    ledger.nonces.record(&[PublicKey([0; 32])], 2, time);
    let admitted = ledger.nonces.admit(&[PublicKey([0; 32])], 3, time);
    assert_eq!(admitted, Ok(()), "a known key takes no room");
    ledger.nonces.record(&[PublicKey([9; 32])], 1, u64::MAX);
    assert_eq!(ledger.encode().len(), 5 + 48);
}

#[test]
fn a_cycle_runs_when_it_is_due_and_is_signed_by_nobody() {
    let mut head = head();
    let cycle = |time: u64| Input { request: Request::Cycle, time, credential: None };
    assert_eq!(refused(&head, &cycle(5)), (Reason::NotDue, "no wake is set".to_string()));
    Arc::make_mut(&mut head.header).wake = WakeChange::Set(100).apply(None);
    let (reason, detail) = refused(&head, &cycle(99));
    assert_eq!(reason, Reason::NotDue);
    expect!["the next wake is at 100, the time is 99"].assert_eq(&detail);
    assert_eq!(authenticate(&head, &cycle(100), Host::verifier(&Memo::default())).unwrap(), []);
    // Regression: a cycle that was due but signed was refused as one that was not due.
    let mut input = cycle(100);
    let mut credential = Credential::new(1, 200);
    credential.sign(&key(1), head.id, &input.request);
    input.credential = Some(credential);
    let (reason, detail) = refused(&head, &input);
    assert_eq!(reason, Reason::Credential);
    expect!["the object's own cycle carries no credential"].assert_eq(&detail);
}

#[test]
fn a_signature_is_bound_to_all_that_it_is_given_for() {
    let head = head();
    let honest = signed(&head, |_, credential| credential.parent = Some(head.hash));
    authenticate(&head, &honest, Host::verifier(&Memo::default())).unwrap();
    let check = |what: &str, change: &dyn Fn(&mut Head, &mut Input)| {
        let (mut head, mut input) = (head.clone(), honest.clone());
        change(&mut head, &mut input);
        assert_eq!(refused(&head, &input).0, Reason::Credential, "{what}");
    };
    let credential = |input: &mut Input, change: &dyn Fn(&mut Credential)| {
        change(input.credential.as_mut().unwrap());
    };
    let request = |method: &str, arguments: &[u8]| Request::Call {
        method: method.into(),
        arguments: arguments.to_vec(),
    };
    check("object", &|head, _| head.id = ObjectId([1; 32]));
    check("method", &|_, input| input.request = request("sub", &[0; 8]));
    check("payload", &|_, input| input.request = request("add", &[1; 8]));
    check("payload's length", &|_, input| input.request = request("add", &[0; 7]));
    check("where the method ends", &|_, input| input.request = request("ad", &[0; 8]));
    let write = || Request::Write { fields: vec![("add".into(), vec![0; 8])] };
    check("kind", &|_, input| input.request = write());
    check("nonce", &|_, input| credential(input, &|it| it.nonce += 1));
    check("expiry", &|_, input| credential(input, &|it| it.expires += 1));
    check("no parent", &|_, input| credential(input, &|it| it.parent = None));
    check("parent", &|head, input| {
        head.hash = VersionHash([3; 32]);
        credential(input, &|it| it.parent = Some(VersionHash([3; 32])));
    });
    check("key", &|_, input| {
        credential(input, &|it| it.signatures_mut()[0].key = key(2).public().0)
    });
    for byte in 0..64 {
        check("signature", &|_, input| {
            credential(input, &|it| it.signatures_mut()[0].bytes[byte] ^= 1)
        });
    }
    // When it is taken is the host's to say.
    let mut later = honest.clone();
    later.time += 1;
    authenticate(&head, &later, Host::verifier(&Memo::default())).unwrap();
}

#[test]
fn a_credential_that_is_malformed_is_refused() {
    let head = head();
    let check = |given: &[Signature], expected: Expect| {
        let mut input = signed(&head, |_, _| {});
        *input.credential.as_mut().unwrap().signatures_mut() = given.to_vec();
        let (reason, detail) = refused(&head, &input);
        assert_eq!(reason, Reason::Credential);
        expected.assert_eq(&detail.replace(&"0".repeat(60), ".."));
    };
    let honest = signed(&head, |_, _| {}).credential.unwrap().signatures()[0];
    check(&[], expect!["no signature"]);
    check(&[honest, honest], expect!["keys are not distinct and ascending"]);
    let higher = Signature { key: [0xFF; 32], ..honest };
    check(&[higher, honest], expect!["keys are not distinct and ascending"]);
    let many: Vec<Signature> = (0..=SIGNATURES_MAX as u8)
        .map(|number| Signature { key: [number; 32], ..honest })
        .collect();
    check(&many, expect!["signatures: at most 64, found 65"]);
    // No point of the curve has this y.
    let mut off = [0; 32];
    off[0] = 2;
    check(&[Signature { key: off, ..honest }], expect!["02..00 is not a point of the curve"]);
}

/// Points of small order, for which signatures are easily made that hold for many messages.
pub(crate) fn weak_keys() -> [[u8; 32]; 4] {
    let identity = {
        let mut key = [0; 32];
        key[0] = 1;
        key
    };
    let order_two = {
        let mut key = [0xFF; 32];
        (key[0], key[31]) = (0xEC, 0x7F);
        key
    };
    let order_four = [0; 32];
    let order_eight = [
        0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98,
        0xF0, 0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53,
        0xFC, 0x05,
    ];
    [identity, order_two, order_four, order_eight]
}

#[test]
fn a_weak_key_is_refused() {
    let head = head();
    for key in weak_keys() {
        // R the identity and s zero: with such a key, what plain verification lets pass for some
        // messages, or for all.
        let mut bytes = [0; 64];
        bytes[0] = 1;
        for nonce in 0..16 {
            let mut input = signed(&head, |_, credential| credential.nonce = nonce);
            *input.credential.as_mut().unwrap().signatures_mut() = vec![Signature { key, bytes }];
            assert_eq!(refused(&head, &input).0, Reason::Credential);
        }
    }
}

#[test]
fn a_signature_has_one_form() {
    // s + L is the same number to the curve, and no signature.
    const L: [u8; 32] = [
        0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let head = head();
    let mut input = signed(&head, |_, _| {});
    let bytes = &mut input.credential.as_mut().unwrap().signatures_mut()[0].bytes;
    let mut carry = 0;
    for (byte, more) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(refused(&head, &input).0, Reason::Credential);
}

#[test]
fn the_first_native_rule_that_refuses_is_the_reason() {
    let head = head();
    let mut input = signed(&head, |input, credential| {
        credential.expires = input.time - 1;
        credential.parent = Some(VersionHash([1; 32]));
    });
    input.credential.as_mut().unwrap().signatures_mut().clear();
    assert_eq!(refused(&head, &input).0, Reason::Expired);
    input.credential.as_mut().unwrap().expires = input.time;
    assert_eq!(refused(&head, &input).0, Reason::WrongParent);
    input.credential.as_mut().unwrap().parent = None;
    assert_eq!(refused(&head, &input).0, Reason::Credential);
}
