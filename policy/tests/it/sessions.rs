//! Sessions: who opens them, which inputs they admit and for how long, and the part that everyone
//! but the host can verify.

use std::time::Duration;

use continuant_policy::Policy;
use expect_test::{Expect, expect};
use object::authentication::authenticate;
use object::credential::{Credential, EXPIRY_MAX, Host, Memo, Proof, PublicKey, SessionKey};
use object::hash::{ObjectId, SessionId, VersionHash};
use object::head::Head;
use object::input::{Input, Request};
use object::ledger::{Ledger, Tracked};
use object::limits::{
    SESSION_KEYS_MAX, SESSION_KEYS_NAMED_MAX, SESSIONS_MAX, SESSIONS_NAMED_MAX, SIGNATURES_MAX,
};
use object::refusal::{Reason, Verdict};
use object::time::Time;
use schema::Schema;

use crate::module::WIT;
use crate::workshop::{self, ATTENDED, Ran, Record, Workshop, key, run, session};
use crate::wrap::wrap;

/// An object with one session, of one key.
fn open() -> Workshop {
    let mut shop = Workshop::governed_by(ATTENDED);
    let opening = shop.sign(shop.opening(&session(1)), 1, &[&key(1)]);
    shop.step(opening, Ran::default()).unwrap();
    shop
}

/// Returns the verdicts of the host, with the secret of session 1, and of everyone else.
fn words(head: &Head, input: &Input) -> [Result<Vec<PublicKey>, Verdict>; 2] {
    let (memo, secret) = (Memo::default(), session(1));
    let hosts = [Host::holding(&memo, Some(&secret)), Host::verifier(&memo)];
    hosts.map(|host| authenticate(head, Tracked::NONE, input, host))
}

/// Checks that everyone admits an input.
#[track_caller]
fn admitted(head: &Head, input: &Input) {
    for word in words(head, input) {
        word.unwrap();
    }
}

/// Checks that everyone refuses an input, for the same reason.
#[track_caller]
fn refused(head: &Head, input: &Input, expected: Expect) {
    let [host, other] = words(head, input);
    assert_eq!(host, other, "everyone comes to the same verdict");
    expected.assert_eq(&wrap(&host.unwrap_err().to_string()));
}

#[test]
fn an_input_in_a_session_is_of_the_keys_that_opened_it() {
    run(|| {
        let mut shop = Workshop::governed_by(ATTENDED);
        let opening = shop.sign(shop.opening(&session(1)), 1, &[&key(1), &key(2)]);
        shop.step(opening, Ran::default()).unwrap();
        let mut expected = vec![key(1).public(), key(2).public()];
        expected.sort();
        let input = shop.seal(shop.add(1), 1, &session(1));
        for word in words(&shop.head, &input) {
            assert_eq!(word.unwrap(), expected);
        }
        shop.step(input, shop.counted(1)).unwrap();
        // The keys' own nonces are separate from the session's.
        let signed = shop.sign(shop.add(1), 2, &[&key(1)]);
        shop.step(signed, shop.counted(2)).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn a_code_is_of_the_secret_and_of_all_that_a_signature_is_over() {
    run(|| {
        let shop = open();
        let input = shop.seal(shop.add(1), 1, &session(1));
        words(&shop.head, &input)[0].as_ref().unwrap();
        let forged = |what: &str, change: &dyn Fn(&mut Input, &mut Credential)| {
            let mut input = input.clone();
            let mut credential = input.credential.take().unwrap();
            change(&mut input, &mut credential);
            input.credential = Some(credential);
            let [host, other] = words(&shop.head, &input);
            assert_eq!(host.unwrap_err().reason, Reason::SessionCode, "{what}");
            other.unwrap();
        };
        let Proof::Session { session: id, mac } = input.credential.clone().unwrap().proof else {
            panic!("it is in a session")
        };
        for byte in 0..32 {
            let mut mac = mac;
            mac[byte] ^= 1;
            forged("code", &|_, it| it.proof = Proof::Session { session: id, mac });
        }
        forged("nonce", &|_, it| it.nonce += 1);
        forged("expiry", &|_, it| it.expires = it.expires.saturating_add(Duration::from_millis(1)));
        forged("parent", &|_, it| it.parent = Some(shop.head.hash));
        forged("request", &|input, _| input.request = shop.add(2).request);
        forged("object", &|input, it| {
            it.put_in_session(&session(1), ObjectId([9; 32]), &input.request);
        });
        forged("secret", &|input, it| {
            let mac = session(2).mac(it, shop.head.id, &input.request);
            it.proof = Proof::Session { session: id, mac };
        });
        // Without the secret of just this session every code is wrong.
        let memo = Memo::default();
        for secret in [None, Some(&session(2))] {
            let word =
                authenticate(&shop.head, Tracked::NONE, &input, Host::holding(&memo, secret));
            assert_eq!(word.unwrap_err().reason, Reason::SessionCode);
        }
    });
}

#[test]
fn a_session_that_is_not_open_admits_nothing() {
    run(|| {
        let shop = open();
        let ends = shop.head.ledger.sessions.get(session(1).id()).unwrap().expires();
        let stranger = shop.seal(shop.add(1), 1, &session(2));
        refused(
            &shop.head,
            &stranger,
            expect!["no-session: 493d4f9713d2889dab08140090c0ac3ab455ac4eb66206aae44946c9f3f8f7fb"],
        );
        let least = Duration::from_millis(1);
        let at = |time: Time, expires: Time| {
            let mut input = Input { time, ..shop.add(1) };
            let mut credential = Credential::new(1, expires);
            credential.put_in_session(&session(1), shop.head.id, &input.request);
            input.credential = Some(credential);
            input
        };
        admitted(&shop.head, &at(ends, ends));
        refused(
            &shop.head,
            &at(ends.saturating_add(least), ends.saturating_add(least)),
            expect!["no-session: 998c0879ce549bd52541a81be659c0c5f9173063a3b7bf6d6e415fdadb2a4288"],
        );
        refused(
            &shop.head,
            &at(ends, ends.saturating_add(least)),
            expect!["expires-too-late: it expires at 1700000061001, the session at 1700000061000"],
        );
        refused(
            &shop.head,
            &at(ends, ends.saturating_sub(least)),
            expect!["expired: it expired at 1700000060999, the time is 1700000061000"],
        );
    });
}

#[test]
fn a_nonce_is_used_once_and_in_order_in_each_session() {
    run(|| {
        let mut shop = open();
        let input = |shop: &Workshop, nonce: u64| shop.seal(shop.add(0), nonce, &session(1));
        refused(&shop.head, &input(&shop, 0), expect!["replayed: nonce 0"]);
        shop.step(input(&shop, 5), Ran::default()).unwrap();
        refused(&shop.head, &input(&shop, 5), expect!["replayed: nonce 5"]);
        refused(&shop.head, &input(&shop, 4), expect!["reordered: nonce 4"]);
        shop.step(input(&shop, u64::MAX), Ran::default()).unwrap();
        refused(
            &shop.head,
            &input(&shop, u64::MAX),
            expect!["replayed: nonce 18446744073709551615"],
        );
        let mut other = input(&shop, 6);
        other.credential.as_mut().unwrap().parent = Some(VersionHash([1; 32]));
        assert_eq!(words(&shop.head, &other)[1].clone().unwrap_err().reason, Reason::WrongParent);
    });
}

#[test]
fn what_lasts_longer_than_a_session_takes_a_signature() {
    run(|| {
        let shop = open();
        let schema = Schema::parse(WIT).unwrap();
        let policy = Policy::parse(ATTENDED, &schema).unwrap().encode();
        let amendment = shop.seal(shop.input(Request::Amend { policy }), 1, &session(1));
        refused(&shop.head, &amendment, expect!["credential: amend takes a signature"]);
        let opening = shop.seal(shop.opening(&session(2)), 1, &session(1));
        refused(&shop.head, &opening, expect!["credential: open_session takes a signature"]);
        refused(
            &shop.head,
            &shop.opening(&session(2)),
            expect!["credential: open_session takes a signature"],
        );
        let mut cycle = shop.seal(shop.input(Request::Cycle), 1, &session(1));
        refused(
            &shop.head,
            &cycle,
            expect!["credential: the object's own cycle carries no credential"],
        );
        cycle.credential = None;
        let write = shop.seal(shop.write("count", 1u64), 1, &session(1));
        admitted(&shop.head, &write);
    });
}

#[test]
fn a_session_is_opened_for_as_long_as_a_signature_may_hold_and_once() {
    run(|| {
        let mut shop = open();
        let opening = |shop: &Workshop, session: &SessionKey, expires: Time| {
            let request = Request::OpenSession { session: session.id(), expires };
            shop.sign(shop.input(request), 2, &[&key(2)])
        };
        let time = shop.add(0).time;
        refused(
            &shop.head,
            &opening(&shop, &session(2), time.saturating_sub(Duration::from_millis(1))),
            expect!["expired: it expired at 1700000001999, the time is 1700000002000"],
        );
        let late = time.saturating_add(EXPIRY_MAX + Duration::from_millis(1));
        let late = opening(&shop, &session(2), late);
        refused(
            &shop.head,
            &late,
            expect![[r#"
                expires-too-late: it expires at 1700604802001, more than 604800000 ms after
                    1700000002000"#]],
        );
        for expires in [time, time.saturating_add(EXPIRY_MAX)] {
            admitted(&shop.head, &opening(&shop, &session(2), expires));
        }
        refused(
            &shop.head,
            &opening(&shop, &session(1), time.saturating_add(Duration::from_millis(5))),
            expect![
                "session-open: 998c0879ce549bd52541a81be659c0c5f9173063a3b7bf6d6e415fdadb2a4288"
            ],
        );
        // Once expired it may be opened again; its inputs have expired as well.
        shop.step(shop.seal(shop.add(0), 7, &session(1)), Ran::default()).unwrap();
        let mut again = shop.opening(&session(1));
        again.time = again.time.saturating_add(Duration::from_millis(61_000));
        let Request::OpenSession { expires, .. } = &mut again.request else { panic!("it opens") };
        *expires = expires.saturating_add(Duration::from_millis(61_000));
        shop.step(shop.sign(again, 3, &[&key(2)]), Ran::default()).unwrap();
        assert_eq!(shop.head.ledger.sessions.get(session(1).id()).unwrap().keys().len(), 1);
        let replayed = shop.records.iter().find_map(|record| match record {
            Record::Commit(parts) if parts.input.credential.as_ref()?.session().is_some() => {
                Some(Input { time: shop.add(0).time, ..parts.input.clone() })
            }
            _ => None,
        });
        refused(
            &shop.head,
            &replayed.unwrap(),
            expect!["expired: it expired at 1700000002100, the time is 1700000065000"],
        );
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn an_object_has_so_many_sessions_open_and_so_many_keys_in_them() {
    let numbered = |number: usize| {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64).to_be_bytes());
        id
    };
    let keys: Vec<PublicKey> = (0..SIGNATURES_MAX).map(|it| PublicKey(numbered(it))).collect();
    let mut head = run(|| Workshop::governed_by(ATTENDED).head);
    let time = head.header.time.saturating_add(Duration::from_millis(10));
    let opening = |number: usize, expires: Time| {
        let request = Request::OpenSession { session: SessionId(numbered(number)), expires };
        let mut credential = Credential::new(1 + number as u64, time);
        credential.sign(&key(1), head.id, &request);
        Input { request, time, credential: Some(credential) }
    };
    let full = |count: usize, keys: &[PublicKey]| {
        let mut ledger = std::sync::Arc::new(Ledger::default());
        for number in 0..count {
            // The first one is the first to expire.
            let input = opening(number, time.saturating_add(Duration::from_millis(number as u64)));
            ledger = ledger.next(Tracked::NONE, 1, &input, keys);
        }
        assert_eq!(Ledger::decode(&ledger.encode()).unwrap(), *ledger);
        ledger
    };
    let with_keys = SESSION_KEYS_MAX / SIGNATURES_MAX;
    for (ledger, count) in
        [(full(SESSIONS_MAX, &keys[..1]), SESSIONS_MAX), (full(with_keys, &keys), with_keys)]
    {
        let clean = Ledger { nonces: Ledger::default().nonces, ..Ledger::clone(&ledger) };
        head.ledger = clean.into();
        let input = opening(count, time.saturating_add(Duration::from_millis(500)));
        refused(&head, &input, expect!["sessions-full"]);
        let mut later = Input { time: time.saturating_add(Duration::from_millis(1)), ..input };
        let mut credential = Credential::new(1, time.saturating_add(Duration::from_millis(1)));
        credential.sign(&key(1), head.id, &later.request);
        later.credential = Some(credential);
        admitted(&head, &later);
    }
    // A key that the policy names has room of its own.
    head.ledger = full(SESSIONS_MAX, &keys[..1]);
    let ledger = Ledger { nonces: Ledger::default().nonces, ..Ledger::clone(&head.ledger) };
    head.ledger = ledger.into();
    let (memo, input) =
        (Memo::default(), opening(SESSIONS_MAX, time.saturating_add(Duration::from_millis(500))));
    let named = Tracked::default().naming([key(1).public()]);
    let signers = authenticate(&head, &named, &input, Host::verifier(&memo)).unwrap();
    assert_eq!(signers, [key(1).public()]);
    // The most that there may be, and one more, are no valid ledger.
    let most = SESSIONS_MAX + SESSIONS_NAMED_MAX;
    let with_keys = (SESSION_KEYS_MAX + SESSION_KEYS_NAMED_MAX) / SIGNATURES_MAX;
    for (count, keys) in [(most + 1, &keys[..1]), (with_keys + 1, &keys[..])] {
        let mut ledger = std::sync::Arc::new(Ledger::default());
        for number in 0..count {
            ledger = ledger.next(
                Tracked::NONE,
                1,
                &opening(number, time.saturating_add(Duration::from_millis(1))),
                keys,
            );
        }
        Ledger::decode(&ledger.encode()).unwrap_err();
    }
}

#[test]
fn everyone_follows_a_lineage_of_sessions_and_takes_the_hosts_word_for_codes_alone() {
    run(|| {
        let shop = workshop::sessions();
        let reasons: Vec<&str> = shop.records.iter().filter_map(reason).collect();
        expect!["replayed session-code forbidden session-open no-session"]
            .assert_eq(&reasons.join(" "));
        let verifier = shop.verify(&shop.records).unwrap();
        assert!(verifier.head().ledger.sessions.is_empty(), "they are forgotten");
        // The word of the host: a code that it took, and one that it did not take.
        let forge = |index: usize, change: &dyn Fn(&mut Record)| {
            let mut records = shop.records[..=index].to_vec();
            change(&mut records[index]);
            let before = records[..index].iter().filter(|it| it.is_refusal()).count();
            records[index].rehash(before);
            shop.verify(&records).map(|_| ())
        };
        let recode = |record: &mut Record| {
            let Record::Commit(parts) = record else { panic!("a version") };
            let Proof::Session { mac, .. } = &mut parts.input.credential.as_mut().unwrap().proof
            else {
                panic!("in a session")
            };
            mac[0] ^= 1;
            parts.rehash();
        };
        forge(2, &recode).unwrap();
        let wrong = shop.records.iter().position(|it| reason(it) == Some("session-code")).unwrap();
        let verdict = |change: &dyn Fn(&mut Verdict)| {
            forge(wrong, &|record| {
                let Record::Refusal(refusal) = record else { panic!("a refusal") };
                change(&mut refusal.verdict);
            })
        };
        verdict(&|it| it.detail.push('!')).unwrap_err();
        verdict(&|it| it.rules.push("a".to_string())).unwrap_err();
        verdict(&|it| it.reason = Reason::NoSession).unwrap_err();
        // No other input was refused for its code.
        for index in 1..shop.records.len() {
            if let Record::Refusal(refusal) = &shop.records[index] {
                let code = shop.records[wrong].clone();
                let (Record::Refusal(code), native) = (code, refusal.verdict.reason.is_native())
                else {
                    panic!("a refusal")
                };
                let swapped = forge(index, &|record| {
                    let Record::Refusal(refusal) = record else { panic!("a refusal") };
                    refusal.verdict = code.verdict.clone();
                });
                assert_eq!(swapped.is_err(), native && index != wrong, "record {index}");
            }
        }
    });
}

fn reason(record: &Record) -> Option<&'static str> {
    match record {
        Record::Commit(_) => None,
        Record::Refusal(refusal) => Some(refusal.verdict.reason.name()),
    }
}

#[test]
fn an_opening_that_does_more_is_refused() {
    run(|| {
        let shop = open();
        let forge = |what: &str, change: &dyn Fn(&mut workshop::Parts)| {
            let mut records = shop.records.clone();
            let Record::Commit(parts) = &mut records[1] else { panic!("the opening") };
            change(parts);
            parts.rehash();
            parts.header.page_count = parts.pages.len() as u32;
            assert!(shop.verify(&records).is_err(), "{what}");
        };
        forge("a page", &|parts| parts.pages.push((2, [1; 4096])));
        forge("memory", &|parts| parts.header.memory_bytes += 4096);
        forge("globals", &|parts| parts.globals = Some(vec![7, 9]));
        forge("fuel", &|parts| parts.header.fuel = 1);
        forge("a result", &|parts| parts.effects.result.push(1));
        forge("no signature", &|parts| parts.input.credential = None);
        forge("another session", &|parts| {
            parts.input.request = shop.opening(&session(2)).request;
        });
    });
}

#[test]
fn only_a_rule_that_names_it_permits_a_session() {
    run(|| {
        let check = |policy: &str, expected: Expect| {
            let mut shop = Workshop::governed_by(policy);
            let opening = shop.sign(shop.opening(&session(1)), 1, &[&key(1)]);
            let told = shop.step(opening, Ran::default());
            expected
                .assert_eq(&told.map_or_else(|verdict| verdict.to_string(), |()| "it is".into()));
            shop.verify(&shop.records).unwrap();
        };
        let anyone = r#"@id("all") permit(principal, action, resource);"#;
        check(anyone, expect!["not-permitted"]);
        let named =
            r#"@id("opens") permit(principal, action == Action::"open_session", resource);"#;
        check(named, expect!["it is"]);
        let among = r#"@id("some") permit(principal, action in
            [Action::"amend", Action :: // of sorts
            "open_session"], resource);"#;
        check(among, expect!["it is"]);
        let no = format!(r#"{named} @id("no") forbid(principal, action, resource);"#);
        check(&no, expect!["forbidden by no"]);
        // A condition here names a session, in a rule that permits none.
        let within = r#"@id("all") permit(principal, action, resource)
            when { action == Action::"open_session" };"#;
        check(within, expect!["not-permitted"]);
        // A text is no name, nor is the name of a method.
        let text = format!(
            r#"{anyone} @id("no") forbid(principal, action, resource)
            when {{ context.before.name == "open_session" }};"#
        );
        check(&text, expect!["not-permitted"]);
    });
}

/// A policy that does not name the action is not affected by it: its statements about the actions
/// that it names are as valid as before there were sessions.
#[test]
fn a_policy_that_does_not_name_sessions_does_not_see_them() {
    run(|| {
        let schema = Schema::parse(WIT).unwrap();
        let text = r#"@id("rest") permit(principal, action, resource)
            unless { action == Action::"advance" || action == Action::"write"
                || action == Action::"amend" || context.input.more > 5 };"#;
        Policy::parse(text, &schema).unwrap();
        let named = text.replace("|| context", r#"|| action == Action::"open_session" || context"#);
        Policy::parse(&named, &schema).unwrap();
        let opens = r#"@id("a") permit(principal, action == Action::"open_session", resource);"#;
        Policy::parse(&format!("{text}{opens}"), &schema).unwrap_err();
    });
}
