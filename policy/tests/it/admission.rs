//! Admission: each native reason for a refusal, and everything that a signature binds.

use std::sync::Arc;
use std::time::Duration;

use expect_test::{Expect, expect};
use object::authentication::{authenticate, authenticate_refused};
use object::credential::{
    Credential, EXPIRY_MAX, Host, Memo, Proof, PublicKey, SessionKey, Signature, SigningKey,
};
use object::effects::WakeChange;
use object::hash::{CodeHash, ObjectId, PolicyHash, VersionHash};
use object::head::Head;
use object::header::Header;
use object::input::{Input, Request};
use object::ledger::{Ledger, NonceProblem, Tracked, Used};
use object::limits::{FUEL_MAX, NONCES_MAX, SIGNATURES_MAX};
use object::message::Origin;
use object::refusal::{Reason, Refusal, Verdict};
use object::time::Time;

use crate::workshop::{Ran, Record, Workshop, key, run};

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
    assert_eq!(stranger.floor(&[owner], Tracked::NONE), time.saturating_add(EXPIRY_MAX));
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
    assert_eq!(head.ledger.nonces.floor(&keys, Tracked::NONE), Time::MIN);
    assert_eq!(head.ledger.encode().len(), 5 + 48 + 16 + 8);
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

/// The rule of lineages from before nonces had floors: seven days, and no more keys than there is
/// room for.
#[test]
fn a_table_in_the_first_form_goes_on_in_the_other() {
    let mut head = head();
    let time = head.header.time;
    let mut nonces = Ledger::default().nonces;
    for key in strangers() {
        nonces = nonces.recorded_in_first_form(&[key], 1, time).unwrap();
    }
    assert_eq!(nonces.recorded_in_first_form(&[key(1).public()], 1, time), None, "it is full");
    let ledger = Ledger { nonces, ..Ledger::default() };
    assert_eq!(ledger.encode().len(), 5 + 48 * NONCES_MAX);
    assert_eq!(Ledger::decode(&ledger.encode()).unwrap(), ledger);
    head.ledger = ledger.clone().into();
    // A refusal for want of room, on record by the older rule, whose input would be admitted now.
    let (memo, input) = (Memo::default(), signed(&head, |_, _| {}));
    let (tracked, host) = (Tracked::NONE, Host::verifier(&memo));
    let given = Verdict::native(Reason::NoncesFull, "nonce 1");
    let again = authenticate_refused(&head, tracked, &input, host, &given);
    assert_eq!(again, Err(given.clone()));
    let keys = authenticate(&head, tracked, &input, host).unwrap();
    let other = Verdict::native(Reason::NoncesFull, "nonce 2");
    assert_eq!(authenticate_refused(&head, tracked, &input, host, &other), Ok(keys.clone()));
    let next = head.ledger.next(tracked, 1, &input, &keys);
    assert_eq!(next.nonces.floor(&[key(2).public()], tracked), time.saturating_add(EXPIRY_MAX));
    // With room, such a refusal is wrong.
    let mut roomy = head.clone();
    roomy.ledger = Ledger::default().into();
    assert_eq!(authenticate_refused(&roomy, tracked, &input, host, &given), Ok(keys.clone()));
    // The hash of its ledger says which rule made a version.
    let first = Ledger::default().nonces.recorded_in_first_form(&keys, 1, input.time).unwrap();
    let first = Ledger { nonces: first, ..Ledger::default() };
    let next = roomy.ledger.next(tracked, 1, &input, &keys);
    assert_ne!(next.hash(), first.hash());
    for recorded in [&first, &*next] {
        let found = roomy.ledger.next_on_record(tracked, 1, (&input, &keys), recorded.hash());
        assert_eq!(*found, *recorded);
    }
    // A ledger of the newer rule keeps to it.
    let later =
        Input { time: input.time.saturating_add(Duration::from_millis(1)), ..input.clone() };
    assert_eq!(next.nonces.recorded_in_first_form(&keys, 2, later.time), None);
}

/// Regression: the check for the nonce's room came after the checks of the session to open, so that
/// an open session was reported as the reason.
#[test]
fn what_was_refused_for_want_of_room_stays_so_where_a_session_would_refuse_too() {
    let mut head = head();
    let time = head.header.time;
    let mut nonces = Ledger::default().nonces;
    for key in strangers() {
        nonces = nonces.recorded_in_first_form(&[key], 1, time).unwrap();
    }
    let session = SessionKey::from_secret(&[7; 32]).id();
    let opening = |expires: Time| {
        let request = Request::OpenSession { session, expires };
        let mut credential = Credential::new(1, time.saturating_add(Duration::from_millis(1000)));
        credential.sign(&key(1), head.id, &request);
        Input { request, time, credential: Some(credential) }
    };
    let open = opening(time.saturating_add(Duration::from_millis(500)));
    let expired = opening(time.saturating_sub(Duration::from_millis(1)));
    let opened = Arc::new(Ledger::default()).next(Tracked::NONE, 1, &open, &[key(9).public()]);
    let ledger = Ledger { nonces, ..Ledger::clone(&opened) };
    head.ledger = ledger.into();
    let (memo, tracked) = (Memo::default(), Tracked::NONE);
    let host = Host::verifier(&memo);
    let given = Verdict::native(Reason::NoncesFull, "nonce 1");
    for (input, other) in [(&open, Reason::SessionOpen), (&expired, Reason::Expired)] {
        assert_eq!(authenticate(&head, tracked, input, host).unwrap_err().reason, other);
        let again = authenticate_refused(&head, tracked, input, host, &given);
        assert_eq!(again, Err(given.clone()));
        // And no other verdict does.
        let another = Verdict::native(Reason::NoncesFull, "nonce 2");
        let again = authenticate_refused(&head, tracked, input, host, &another);
        assert_eq!(again.unwrap_err().reason, other);
    }
}

/// Regression: an input with the zero hash as its parent was refused for that hash, while its bytes
/// on record named no parent, so that no verifier accepted the refusal.
#[test]
fn the_hash_that_stands_for_none_is_no_parent() {
    let head = head();
    let zero = signed(&head, |_, credential| credential.parent = Some(VersionHash::NONE));
    let error = zero.validate().unwrap_err().to_string();
    let zeros = "0".repeat(64);
    let expected = "expected a version, or nothing";
    assert_eq!(error, format!("value parent: {expected}, found {zeros}, which stands for none"));
    let decoded = Input::decode(&zero.encode()).unwrap();
    assert_ne!(decoded, zero);
    // The verifier decides by the record's bytes.
    let (memo, tracked) = (Memo::default(), Tracked::NONE);
    let host = Host::verifier(&memo);
    let signers = authenticate(&head, tracked, &zero, host).unwrap();
    assert_eq!(authenticate(&head, tracked, &decoded, host), Ok(signers.clone()));
    // The refusal put on record then is right, and nothing else like it.
    let given = |parent: VersionHash, other: VersionHash| {
        Verdict::native(Reason::WrongParent, format!("it follows {parent}, the head is {other}"))
    };
    let hurt = given(VersionHash::NONE, head.hash);
    let refused =
        |input: &Input, given: &Verdict| authenticate_refused(&head, tracked, input, host, given);
    assert_eq!(refused(&decoded, &hurt), Err(hurt.clone()));
    let others = [
        given(VersionHash([1; 32]), head.hash),
        given(VersionHash::NONE, VersionHash([1; 32])),
        Verdict::native(Reason::Replayed, hurt.detail.clone()),
    ];
    for other in &others {
        assert_eq!(refused(&decoded, other), Ok(signers.clone()));
    }
    let unsigned = Input { credential: None, ..decoded.clone() };
    assert_eq!(refused(&unsigned, &hurt), Ok(vec![]));
    let expired =
        Input { time: decoded.time.saturating_add(Duration::from_millis(1001)), ..decoded.clone() };
    assert_eq!(refused(&expired, &hurt).unwrap_err().reason, Reason::Expired);
    let parted = signed(&head, |_, credential| credential.parent = Some(VersionHash([1; 32])));
    let verdict = given(VersionHash([1; 32]), head.hash);
    assert_eq!(refused(&parted, &hurt), Err(verdict));
}

#[test]
fn a_lineage_with_a_refusal_for_the_hash_that_stands_for_none_verifies() {
    run(|| {
        let mut shop = Workshop::new();
        let mut input = shop.add(1);
        let mut credential =
            Credential::new(1, input.time.saturating_add(Duration::from_millis(1000)));
        credential.parent = Some(VersionHash::NONE);
        // Nobody's signature has to hold for it.
        let signature = Signature { key: [7; 32], bytes: [8; 64] };
        credential.proof = Proof::Signatures(vec![signature]);
        input.credential = Some(credential);
        let (none, head) = (VersionHash::NONE, shop.head.hash);
        let detail = format!("it follows {none}, the head is {head}");
        let verdict = Verdict::native(Reason::WrongParent, detail);
        let refusal = shop.head.refusal(&input, verdict.clone());
        shop.head.record(&refusal);
        shop.records.push(Record::Refusal(refusal.clone()));
        let next = shop.sign(shop.add(2), 1, &[&key(1)]);
        shop.step(next, Ran::default()).unwrap();
        shop.verify(&shop.records).unwrap();
        // The same of another head does not.
        let other =
            Verdict::native(Reason::WrongParent, verdict.detail.replace("head is ", "head is 0"));
        let at = shop.records.len() - 2;
        shop.records[at] = Record::Refusal(Refusal { verdict: other, ..refusal });
        shop.verify(&shop.records).unwrap_err();
    });
}

#[test]
fn an_input_has_nothing_that_stands_for_none_where_there_is_something() {
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
    let fork = |header: Header| input(Request::Fork { salt: [0; 16], of: Box::new(header) });
    let header = Header::clone(&head.header);
    let cases = [
        (message(origin), true),
        (message(Origin { first_policy: Some(PolicyHash([5; 32])), ..origin }), true),
        (message(Origin { first_policy: Some(PolicyHash::NONE), ..origin }), false),
        (message(Origin { fuel: FUEL_MAX + 1, ..origin }), false),
        (fork(header.clone()), true),
        (fork(Header { wake: Some(Time::MIN), ..header.clone() }), true),
        (fork(Header { wake: Some(Time::from_millis(u64::MAX - 1)), ..header.clone() }), true),
        (fork(Header { wake: Some(Time::MAX), ..header.clone() }), false),
        (fork(Header { seq: 1, ..header }), false),
    ];
    for (input, is_taken) in cases {
        assert_eq!(input.validate().is_ok(), is_taken, "{:?}", input.validate());
        assert_eq!(Input::decode(&input.encode()).is_ok_and(|it| it == input), is_taken);
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
