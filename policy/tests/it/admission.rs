//! Admission: each native reason for a refusal, and everything that a signature binds.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use object::authentication::authenticate;
use object::credential::{Credential, EXPIRY_MAX, Host, Memo, PublicKey, Signature, SigningKey};
use object::effects::WakeChange;
use object::hash::{CodeHash, ObjectId, PolicyHash, RefusalHash, VersionHash};
use object::head::Head;
use object::header::Header;
use object::input::{Input, Request};
use object::ledger::{Ledger, NonceProblem, Tracked, Used};
use object::limits::{FUEL_MAX, NONCES_MAX, SIGNATURES_MAX};
use object::message::Origin;
use object::refusal::Reason;
use object::time::Time;

use crate::workshop::{Ran, Workshop, key, run};

fn head() -> Head {
    run(|| Workshop::new().head)
}

fn call(head: &Head) -> Input {
    let request = Request::Call { method: "add".into(), arguments: vec![0; 8] };
    Input {
        request,
        time: head.header.time.saturating_add(Duration::from_millis(10)),
        credential: None,
    }
}

fn signed(head: &Head, change: impl FnOnce(&mut Input, &mut Credential)) -> Input {
    let mut input = call(head);
    let mut credential = Credential::new(1, input.time.saturating_add(Duration::from_millis(1000)));
    change(&mut input, &mut credential);
    credential.sign(&key(1), head.id, &input.request);
    input.credential = Some(credential);
    input
}

#[track_caller]
fn refused(head: &Head, input: &Input) -> (Reason, String) {
    let verdict =
        authenticate(head, Tracked::NONE, input, Host::verifier(&Memo::default())).unwrap_err();
    assert!(verdict.rules.is_empty());
    (verdict.reason, verdict.detail)
}

#[test]
fn an_input_without_a_credential_is_of_nobody() {
    let head = head();
    assert_eq!(
        authenticate(&head, Tracked::NONE, &call(&head), Host::verifier(&Memo::default())).unwrap(),
        []
    );
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
    assert_eq!(
        authenticate(&head, Tracked::NONE, &input, Host::verifier(&Memo::default())).unwrap(),
        expected
    );
}

#[test]
fn a_credential_holds_from_its_longest_expiry_to_its_last_moment() {
    let head = head();
    let (none, least) = (Duration::ZERO, Duration::from_millis(1));
    let at = |early: Duration, late: Duration| {
        signed(&head, |input, credential| {
            credential.expires = input.time.saturating_sub(early).saturating_add(late);
        })
    };
    authenticate(&head, Tracked::NONE, &at(none, none), Host::verifier(&Memo::default())).unwrap();
    authenticate(&head, Tracked::NONE, &at(none, EXPIRY_MAX), Host::verifier(&Memo::default()))
        .unwrap();
    assert_eq!(refused(&head, &at(least, none)).0, Reason::Expired);
    assert_eq!(refused(&head, &at(none, EXPIRY_MAX + least)).0, Reason::ExpiresTooLate);
    let ends = |time: Time, expires: Time| {
        signed(&head, |input, credential| (input.time, credential.expires) = (time, expires))
    };
    assert_eq!(refused(&head, &ends(Time::MAX, Time::MIN)).0, Reason::Expired);
    assert_eq!(refused(&head, &ends(Time::MIN, Time::MAX)).0, Reason::ExpiresTooLate);
    authenticate(
        &head,
        Tracked::NONE,
        &ends(Time::MAX, Time::MAX),
        Host::verifier(&Memo::default()),
    )
    .unwrap();
}

#[test]
fn a_credential_may_name_the_version_that_it_follows() {
    let head = head();
    let follows = |parent: VersionHash| signed(&head, |_, it| it.parent = Some(parent));
    authenticate(&head, Tracked::NONE, &follows(head.hash), Host::verifier(&Memo::default()))
        .unwrap();
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
        let (last, minute) = (shop.head.header.time, Duration::from_secs(60));
        let late = |shop: &Workshop, time: Time| {
            let mut input = shop.add(0);
            input.time = time;
            shop.sign(input, 6, &[&key(3)])
        };
        shop.step(late(&shop, last.saturating_add(minute + EXPIRY_MAX)), Ran::default()).unwrap();
        check(step(&mut shop, 7, &[1]), expect!["reordered: nonce 7"]);
        let mut input = shop.add(0);
        input.time = last.saturating_add(minute + EXPIRY_MAX + Duration::from_millis(1));
        shop.step(shop.sign(input, 7, &[&key(3)]), Ran::default()).unwrap();
        step(&mut shop, 7, &[1]).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

/// Returns keys that nobody has, enough to fill the ledger.
fn strangers() -> Vec<PublicKey> {
    let key = |count: u32| {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&count.to_be_bytes());
        PublicKey(key)
    };
    (0..NONCES_MAX as u32).map(key).collect()
}

/// A head whose ledger is full of strangers' nonces, with inputs valid for the span `lasts`.
fn crowded(lasts: Duration) -> Head {
    let mut head = head();
    let (mut ledger, time) = (Ledger::default(), head.header.time);
    for (index, key) in (0..).zip(strangers()) {
        let expires = time.saturating_add(lasts + Duration::from_millis(index % 2));
        let used = Used { nonce: 1, expires };
        ledger.nonces.record(&[key], used, time, Tracked::NONE);
    }
    assert_eq!(Ledger::decode(&ledger.encode()).unwrap(), ledger);
    head.ledger = ledger.into();
    head
}

#[test]
fn keys_that_fill_the_room_for_nonces_shut_nobody_out() {
    let mut head = crowded(EXPIRY_MAX);
    let (memo, time, owner) = (Memo::default(), head.header.time, key(1).public());
    let host = Host::verifier(&memo);
    let after = |milliseconds: u64| time.saturating_add(Duration::from_millis(milliseconds));
    let at = |head: &Head, nonce: u64, time: Time, expires: Time| {
        signed(head, |input, credential| {
            (input.time, *credential) = (time, Credential::new(nonce, expires));
        })
    };
    let record = |head: &mut Head, tracked: &Tracked, input: &Input| {
        let keys = authenticate(head, tracked, input, host).unwrap();
        head.ledger = head.ledger.next(tracked, 1, input, &keys);
        assert_eq!(Ledger::decode(&head.ledger.encode()).unwrap(), *head.ledger);
    };
    // The next key finds room: it displaces the entry that expires first.
    let first = at(&head, 1, after(10), after(20));
    assert!(head.ledger.nonces.knows(&strangers()[0]));
    record(&mut head, Tracked::NONE, &first);
    assert!(!head.ledger.nonces.knows(&strangers()[0]));
    assert!(head.ledger.nonces.knows(&owner));
    assert_eq!(refused(&head, &first), (Reason::Replayed, "nonce 1".to_string()));
    // The signer's entry has expired with its inputs, and is gone.
    let mut stranger = head.ledger.nonces.clone();
    let used = Used { nonce: 1, expires: after(21).saturating_add(EXPIRY_MAX) };
    stranger.record(&strangers()[..1], used, after(21), Tracked::NONE);
    assert!(!stranger.knows(&owner), "it expired");
    assert_eq!(stranger.floor(&[owner], Tracked::NONE), Some(time.saturating_add(EXPIRY_MAX)));
    // A key that was displaced, or may have been, has to sign with a later expiry.
    head.ledger = Ledger { nonces: stranger, ..Ledger::default() }.into();
    let early = at(&head, 2, after(22), time.saturating_add(EXPIRY_MAX));
    let (reason, detail) = refused(&head, &early);
    assert_eq!(reason, Reason::NoncesFull);
    let floor = time.saturating_add(EXPIRY_MAX);
    let shown = floor.as_millis();
    let many = "many keys signed lately, and what is to follow theirs has to expire after";
    assert_eq!(detail, format!("it expires at {shown}: {many} {shown}"));
    authenticate(
        &head,
        Tracked::NONE,
        &at(&head, 2, after(22), floor.saturating_add(Duration::from_millis(1))),
        host,
    )
    .unwrap();
    // A key that the policy names does not have to.
    let named = Tracked::default().naming([owner]);
    let short = at(&head, 2, after(22), after(23));
    record(&mut head, &named, &short);
    // Another policy may name keys that were displaced.
    let amend =
        Input { request: Request::Amend { policy: vec![] }, ..at(&head, 2, after(22), Time::MIN) };
    let amended = Input { credential: None, ..amend };
    head.ledger = head.ledger.next(&named, 2, &amended, &[]);
    let other = Tracked::default().naming([key(2).public()]);
    let keys = [key(2).public()];
    assert_eq!(head.ledger.nonces.floor(&keys, &other), head.ledger.nonces.floor(&keys, &named));
    // With time, all entries expire.
    let end = floor.saturating_add(EXPIRY_MAX + Duration::from_millis(22));
    let late = at(&head, 3, end, end);
    record(&mut head, Tracked::NONE, &late);
    assert_eq!(head.ledger.nonces.floor(&keys, Tracked::NONE), None);
    assert_eq!(head.ledger.encode().len(), 2 + 32 + 1 + 6 + 1 + 2 + 2);
}

#[test]
fn an_entry_lasts_until_all_that_its_key_signed_expired_long_ago() {
    let mut nonces = Ledger::default().nonces;
    let at = Time::from_millis;
    let (one, other) = ([key(1).public()], [key(2).public()]);
    nonces.record(&one, Used { nonce: 1, expires: at(900) }, at(100), Tracked::NONE);
    nonces.record(&one, Used { nonce: 2, expires: at(300) }, at(200), Tracked::NONE);
    let last = at(900).saturating_add(EXPIRY_MAX);
    let gone = at(901).saturating_add(EXPIRY_MAX);
    nonces.record(&other, Used { nonce: 1, expires: last }, last, Tracked::NONE);
    let again = nonces.admit(&one, Used { nonce: 1, expires: at(900) }, Tracked::NONE);
    assert_eq!(again, Err(NonceProblem::Reordered));
    nonces.record(&other, Used { nonce: 2, expires: gone }, gone, Tracked::NONE);
    assert!(!nonces.knows(&one[0]));
}

#[test]
fn a_key_that_the_policy_names_keeps_its_entry() {
    let mut nonces = Ledger::default().nonces;
    let owner = [key(1).public()];
    let named = Tracked::default().naming(owner);
    nonces.record(
        &owner,
        Used { nonce: 7, expires: Time::from_millis(500) },
        Time::from_millis(100),
        &named,
    );
    for key in strangers() {
        nonces.record(
            &[key],
            Used { nonce: 1, expires: Time::from_millis(9000) },
            Time::from_millis(100),
            &named,
        );
    }
    assert!(nonces.knows(&owner[0]));
    let used = Used { nonce: 7, expires: Time::from_millis(500) };
    assert_eq!(nonces.admit(&owner, used, &named), Err(NonceProblem::Replayed));
    assert_eq!(nonces.admit(&owner, Used { nonce: 8, ..used }, &named), Ok(()));
}

/// Regression: an input with the zero hash as its parent was refused for that hash, while its bytes
/// on record named no parent, so that no verifier accepted the refusal.
#[test]
fn a_parent_of_zeros_is_a_wrong_parent_like_any_other() {
    let zeros = VersionHash([0; 32]);
    let head = head();
    let input = signed(&head, |_, credential| credential.parent = Some(zeros));
    input.validate().unwrap();
    assert_eq!(Input::decode(&input.encode()).unwrap(), input);
    let detail = format!("it follows {zeros}, the head is {}", head.hash);
    assert_eq!(refused(&head, &input), (Reason::WrongParent, detail));
    run(|| {
        let mut shop = Workshop::new();
        let mut input = shop.add(1);
        let expires = input.time.saturating_add(Duration::from_millis(1000));
        let mut credential = Credential::new(1, expires);
        credential.parent = Some(zeros);
        credential.sign(&key(1), shop.head.id, &input.request);
        input.credential = Some(credential);
        assert_eq!(shop.step(input, Ran::default()).unwrap_err().reason, Reason::WrongParent);
        let next = shop.sign(shop.add(2), 1, &[&key(1)]);
        shop.step(next, Ran::default()).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn an_input_is_valid_exactly_when_it_is_taken_back() {
    let head = head();
    let input = |request: Request| Input { request, time: Time::from_millis(1), credential: None };
    let origin = Origin {
        sender: ObjectId([1; 32]),
        seq: 0,
        version: VersionHash([2; 32]),
        code: CodeHash([3; 32]),
        policy: PolicyHash([4; 32]),
        first_policy: None,
        index: 0,
        fuel: FUEL_MAX,
    };
    let message = |origin: Origin| {
        let (method, arguments) = ("add".to_string(), vec![]);
        input(Request::Message { origin: Box::new(origin), method, arguments })
    };
    let fork = |header: Header| input(Request::Fork { of: Box::new(header) });
    let header = Header::clone(&head.header);
    let cases = [
        (message(origin), true),
        (message(Origin { first_policy: Some(PolicyHash([5; 32])), ..origin }), true),
        (message(Origin { first_policy: Some(PolicyHash([0; 32])), ..origin }), true),
        (message(Origin { fuel: FUEL_MAX + 1, ..origin }), false),
        (fork(header.clone()), true),
        (fork(Header { wake: Some(Time::MIN), ..header.clone() }), true),
        (fork(Header { wake: Some(Time::MAX), ..header.clone() }), true),
    ];
    for (input, is_taken) in cases {
        assert_eq!(input.validate().is_ok(), is_taken, "{:?}", input.validate());
        assert_eq!(Input::decode(&input.encode()).is_ok_and(|it| it == input), is_taken);
    }
    // They have no bytes at all.
    for incoherent in [
        Header { object: Some(ObjectId([0; 32])), ..header.clone() },
        Header { seq: 1, ..header.clone() },
        Header { refusal_count: 1, ..header.clone() },
        Header { refusals: Some(RefusalHash([0; 32])), ..header },
    ] {
        fork(incoherent).validate().unwrap_err();
    }
}

#[test]
fn a_cycle_runs_when_it_is_due_and_is_signed_by_nobody() {
    let mut head = head();
    let cycle = |milliseconds| {
        let time = Time::from_millis(milliseconds);
        Input { request: Request::Cycle, time, credential: None }
    };
    assert_eq!(refused(&head, &cycle(5)), (Reason::NotDue, "no wake is set".to_string()));
    Arc::make_mut(&mut head.header).wake = WakeChange::Set(Time::from_millis(100)).apply(None);
    let (reason, detail) = refused(&head, &cycle(99));
    assert_eq!(reason, Reason::NotDue);
    expect!["the next wake is at 100, the time is 99"].assert_eq(&detail);
    assert_eq!(
        authenticate(&head, Tracked::NONE, &cycle(100), Host::verifier(&Memo::default())).unwrap(),
        []
    );
    // Regression: a cycle that was due but signed was refused as one that was not due.
    let mut input = cycle(100);
    let mut credential = Credential::new(1, Time::from_millis(200));
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
    authenticate(&head, Tracked::NONE, &honest, Host::verifier(&Memo::default())).unwrap();
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
    check("expiry", &|_, input| {
        credential(input, &|it| it.expires = it.expires.saturating_add(Duration::from_millis(1)))
    });
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
    later.time = later.time.saturating_add(Duration::from_millis(1));
    authenticate(&head, Tracked::NONE, &later, Host::verifier(&Memo::default())).unwrap();
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
        // R is the identity and s is zero: with such a key, plain verification accepts some
        // messages, or all.
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
        credential.expires = input.time.saturating_sub(Duration::from_millis(1));
        credential.parent = Some(VersionHash([1; 32]));
    });
    input.credential.as_mut().unwrap().signatures_mut().clear();
    assert_eq!(refused(&head, &input).0, Reason::Expired);
    input.credential.as_mut().unwrap().expires = input.time;
    assert_eq!(refused(&head, &input).0, Reason::WrongParent);
    input.credential.as_mut().unwrap().parent = None;
    assert_eq!(refused(&head, &input).0, Reason::Credential);
}
