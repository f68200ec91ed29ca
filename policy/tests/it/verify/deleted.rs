//! Lineages that end with a deletion: who may delete, what that leaves, and that nothing follows.

use std::sync::Arc;

use object::effects::{Effects, WakeChange};
use object::header::Kind;
use object::headers::Headers;
use object::input::Request;
use object::refusal::{Reason, Verdict};

use crate::workshop::{POLICY, Ran, Record, Workshop, key, run};

/// The workshop's policy, with a rule by which the holder of a key may delete.
fn deletable() -> String {
    let owner = key(1).public();
    format!(
        r#"{POLICY}
        @id("end")
        permit(principal == Key::"{owner}", action == Action::"delete", resource)
        when {{ context.before == context.after }};"#
    )
}

fn ended() -> Ran {
    Ran { effects: Effects::without_code(&Request::Delete), ..Ran::default() }
}

/// A creation, a call, and the deletion.
fn deleted() -> Workshop {
    let mut shop = Workshop::governed_by(&deletable());
    shop.step(shop.add(12), shop.counted(12)).unwrap();
    let input = shop.sign(shop.input(Request::Delete), 1, &[&key(1)]);
    shop.step(input, ended()).unwrap();
    shop
}

/// The deleted object, as one that goes on makes its records.
fn undead(shop: &mut Workshop) {
    Arc::make_mut(&mut shop.head.header).kind = Kind::Call;
}

#[test]
fn a_deletion_is_the_last_version_and_leaves_the_state() {
    run(|| {
        let shop = deleted();
        let verifier = shop.verify(&shop.records).unwrap();
        assert_eq!(*verifier.head(), shop.head);
        assert_eq!(verifier.head().deleted(), Some(shop.head.header.time));
        let Record::Commit(parts) = &shop.records[2] else { panic!("the deletion is a commit") };
        assert_eq!(parts.header.kind, Kind::Delete);
        assert_eq!(parts.admission.rules, ["end"]);
        let Record::Commit(before) = &shop.records[1] else { panic!("a commit") };
        assert_eq!(parts.header.memory_root, before.header.memory_root);
        assert!(shop.definition.policy.is_deletable());
        assert!(!Workshop::new().definition.policy.is_deletable());
    });
}

#[test]
fn nothing_follows_a_deletion() {
    run(|| {
        let what = "lineage of version 3: expected nothing behind a deletion, found a version or a \
                    refusal";
        let mut shop = deleted();
        undead(&mut shop);
        shop.step(shop.add(1), shop.counted(13)).unwrap();
        assert_eq!(shop.verify(&shop.records).unwrap_err().to_string(), what);
        let mut headers = None;
        for record in &shop.records {
            let Record::Commit(parts) = record else { panic!("a commit") };
            let header = &parts.header;
            match &mut headers {
                None => headers = Some(Headers::genesis(header).unwrap()),
                Some(headers) if header.seq < 3 => headers.version(header).unwrap(),
                Some(headers) => {
                    assert_eq!(headers.version(header).unwrap_err().to_string(), what);
                }
            }
        }
        let mut shop = deleted();
        undead(&mut shop);
        let input = shop.add(1);
        let refusal = shop.head.refusal(&input, Verdict::native(Reason::Trap, "unreachable"));
        shop.records.push(Record::Refusal(refusal.clone()));
        assert_eq!(shop.verify(&shop.records).unwrap_err().to_string(), what);
        assert_eq!(headers.unwrap().refusal(&refusal).unwrap_err().to_string(), what);
    });
}

#[test]
fn only_a_rule_that_names_it_permits_a_deletion() {
    run(|| {
        let permissive = r#"@id("all") permit(principal, action, resource);"#;
        let mut shop = Workshop::governed_by(permissive);
        let input = shop.sign(shop.input(Request::Delete), 1, &[&key(1)]);
        let verdict = shop.step(input, ended()).unwrap_err();
        assert_eq!(verdict.reason, Reason::NotPermitted);
        let mut shop = Workshop::governed_by(&deletable());
        let verdict = shop.step(shop.input(Request::Delete), ended()).unwrap_err();
        assert_eq!(verdict.reason, Reason::NotPermitted);
        let input = shop.sign(shop.input(Request::Delete), 1, &[&key(2)]);
        let verdict = shop.step(input, ended()).unwrap_err();
        assert_eq!(verdict.reason, Reason::NotPermitted);
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn a_deletion_has_no_effects_but_that_nothing_wakes() {
    run(|| {
        for wake in [WakeChange::Keep, WakeChange::Clear] {
            let mut shop = deleted();
            let Some(Record::Commit(parts)) = shop.records.last_mut() else { panic!("a commit") };
            parts.effects.wake = wake;
            parts.rehash();
            let verified = shop.verify(&shop.records);
            assert_eq!(verified.is_ok(), wake == WakeChange::Clear, "{wake:?}");
        }
    });
}
