//! Lineages in which the code changes: who may upgrade, where the memory begins anew, and the
//! things that an upgrade may not do.

use std::sync::Arc;
use std::time::Duration;

use continuant_policy::definition::Definition;
use continuant_policy::verify::Era;
use object::header::Kind;
use object::headers::Headers;
use object::image::BaseImage;
use object::input::{Input, Request};
use object::ledger::{NonceProblem, Tracked, Used};
use object::limits::PAGE_BYTES;
use object::memory::{Memory, Page};
use object::refusal::{Reason, Verdict};
use object::time::Time;
use schema::Schema;

use crate::module::{STATE, WIT, module};
use crate::workshop::{POLICY, Parts, Ran, Record, Workshop, key, run};

/// The workshop's policy, with a rule by which the holder of a key may upgrade to any code.
fn upgradable() -> String {
    let owner = key(1).public();
    format!(
        r#"{POLICY}
        @id("owner")
        permit(principal == Key::"{owner}", action == Action::"upgrade", resource)
        when {{ context.upgrade.code != context.code && context.before == context.after }};"#
    )
}

/// A schema whose state is a total, and which accepts the workshop's states.
fn wit() -> String {
    let renamed =
        WIT.replace("record state", "record before").replace("package airport:gates;", "");
    let renamed = renamed.replace("interface gate {", "").replace("add: func(more: u64);", "");
    let types = renamed.trim().strip_suffix('}').unwrap();
    format!(
        "package airport:gates@2.0.0;
         interface gate {{
             {types}
             record state {{ total: u32 }}
             migrate: func(before: before);
             take: func(less: u32);
         }}"
    )
}

/// The new code's policy, with a limit.
fn law(limit: u32) -> String {
    format!(
        r#"@id("all") permit(principal, action, resource);
           @id("below") forbid(principal, action, resource)
           when {{ context.after.total > {limit} }};"#
    )
}

/// A smaller memory than before, with globals of its own.
fn era(limit: u32) -> Era {
    let definition = Definition::new(&module(&wit(), STATE), &law(limit)).unwrap();
    let base = BaseImage::new(&[0; 2 * PAGE_BYTES], vec![1, 2, 3]).unwrap();
    Era { definition: Arc::new(definition), base: Arc::new(base) }
}

fn upgrade(shop: &Workshop, era: &Era, nonce: u64) -> Input {
    let parts = era.definition.parts();
    let request = Request::Upgrade { code: parts.code, policy: parts.policy };
    shop.sign(shop.input(request), nonce, &[&key(1)])
}

/// The outcome of `migrate`.
fn migrated(total: u32) -> Ran {
    let mut page: Page = [0; PAGE_BYTES];
    page[..4].copy_from_slice(&total.to_le_bytes());
    let globals = Some(vec![1, 2, 4]);
    Ran { pages: vec![(1, page)], globals, fuel: 40, ..Ran::default() }
}

/// A creation, a call, an upgrade, and a call of the new code.
fn upgraded() -> Workshop {
    let mut shop = Workshop::governed_by(&upgradable());
    shop.step(shop.add(12), shop.counted(12)).unwrap();
    shop.eras = vec![era(100), era(5)];
    shop.step(upgrade(&shop, &era(100), 1), migrated(12)).unwrap();
    let arguments = 2u32.to_le_bytes().to_vec();
    let take = shop.input(Request::Call { method: "take".to_string(), arguments });
    let ran = Ran { globals: None, ..migrated(10) };
    shop.step(take, ran).unwrap();
    shop
}

#[test]
fn an_upgrade_begins_anew_from_the_base_image_of_the_new_code() {
    run(|| {
        let shop = upgraded();
        let verifier = shop.verify(&shop.records).unwrap();
        assert_eq!(*verifier.head(), shop.head);
        assert_eq!(verifier.image().bytes_count(), 2 * PAGE_BYTES as u64);
        assert_eq!(verifier.globals(), [1, 2, 4]);
        let schema = &verifier.definition().schema;
        assert_eq!(schema.get::<u32>(verifier.image(), STATE, "total").unwrap(), 10);
        let Record::Commit(parts) = &shop.records[2] else { panic!("the upgrade is a commit") };
        assert_eq!(parts.header.kind, Kind::Upgrade);
        assert_eq!(
            (&parts.admission.rules, &parts.admission.migrated),
            (&vec!["owner".to_string()], &vec!["all".to_string()],)
        );
        // The nonces are still known.
        let used = Used { nonce: 1, expires: Time::MAX };
        let admitted = shop.head.ledger.nonces.admit(&[key(1).public()], used, Tracked::NONE);
        assert_eq!(admitted, Err(NonceProblem::Replayed));
    });
}

#[test]
fn both_laws_decide() {
    run(|| {
        let mut shop = Workshop::governed_by(&upgradable());
        shop.step(shop.add(12), shop.counted(12)).unwrap();
        shop.eras = vec![era(100), era(5)];
        let refused = |shop: &mut Workshop, input: Input| -> Verdict {
            let head = shop.head.hash;
            let verdict = shop.step(input, migrated(12)).unwrap_err();
            assert_eq!(shop.head.hash, head);
            verdict
        };
        let unsigned = Input { credential: None, ..upgrade(&shop, &era(100), 1) };
        assert_eq!(refused(&mut shop, unsigned).to_string(), "not-permitted");
        let strict = upgrade(&shop, &era(5), 2);
        let verdict = refused(&mut shop, strict);
        assert_eq!(verdict.to_string(), "forbidden by below: by the new policy");
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn a_policy_that_does_not_name_upgrades_permits_none() {
    run(|| {
        let permissive = r#"@id("all") permit(principal, action, resource);"#;
        let mut shop = Workshop::governed_by(permissive);
        shop.eras = vec![era(100)];
        let verdict = shop.step(upgrade(&shop, &era(100), 1), migrated(0)).unwrap_err();
        assert_eq!(verdict.reason, Reason::NotPermitted);
        assert!(!shop.definition.policy.is_changeable());
        let named = permissive.replace("action,", r#"action == Action::"upgrade","#);
        assert!(Workshop::governed_by(&named).definition.policy.is_changeable());
    });
}

#[test]
fn an_upgrade_that_does_something_else_is_refuted() {
    let forge = |what: &str, forge: &dyn Fn(&mut Parts)| {
        let shop = upgraded();
        let mut records = shop.records[..=2].to_vec();
        let Record::Commit(parts) = &mut records[2] else { panic!("the upgrade is a commit") };
        forge(parts);
        parts.rehash();
        parts.header.page_count = parts.pages.len() as u32;
        assert!(shop.verify(&records).is_err(), "{what}");
    };
    run(|| {
        forge("the time", &|parts| {
            parts.header.time = parts.header.time.saturating_add(Duration::from_millis(1))
        });
        forge("no signature", &|parts| parts.input.credential = None);
        forge("another policy", &|parts| {
            let parts_of = era(5).definition.parts();
            parts.input.request = Request::Upgrade { code: parts_of.code, policy: parts_of.policy };
        });
        forge("a policy that is not there", &|parts| {
            let Request::Upgrade { policy, .. } = &mut parts.input.request else { return };
            policy.0[0] ^= 1;
        });
        forge("the old code", &|parts| {
            parts.header.code = object::hash::CodeHash::of(&module(WIT, STATE));
        });
        forge("the old schema", &|parts| parts.header.schema = Schema::parse(WIT).unwrap().hash());
        forge("a page of the old memory", &|parts| parts.pages.push((3, [9; PAGE_BYTES])));
        forge("the old length", &|parts| parts.header.memory_bytes = 4 * PAGE_BYTES as u64);
        forge("the old globals", &|parts| parts.globals = Some(vec![7, 8]));
        forge("a state above the limit", &|parts| parts.pages[0].1[0] = 200);
        forge("no rule of the old law", &|parts| parts.admission.rules.clear());
        forge("no rule of the new law", &|parts| parts.admission.migrated.clear());
        forge("the rules of the one as the other's", &|parts| {
            let admission = &mut parts.admission;
            std::mem::swap(&mut admission.rules, &mut admission.migrated);
        });
        forge("an amendment", &|parts| parts.header.kind = Kind::Amend);
    });
}

#[test]
fn code_that_takes_another_state_is_refused() {
    run(|| {
        let mut shop = Workshop::governed_by(&upgradable());
        let mut to = |wit: &str| {
            let definition = Definition::new(&module(wit, STATE), &law(100)).unwrap();
            let era = Era { definition: Arc::new(definition), ..era(100) };
            shop.eras.push(era.clone());
            let nonce = shop.eras.len() as u64;
            shop.step(upgrade(&shop, &era, nonce), migrated(0)).unwrap_err().to_string()
        };
        let changed = |from: &str, to: &str| wit().replace(from, to);
        let lines = [
            to(&changed("migrate: func(before: before);", "")),
            to(&changed("count: u64", "count: u32")),
            to(&changed("count: u64", "counter: u64")),
            to(&changed("count: u64, locked: bool", "locked: bool, count: u64")),
            to(&changed("name: string, log: list<u8>", "name: string")),
            to(&changed("red, green", "red, amber")),
            to(&changed("delay(u32)", "delay")),
            to(&changed("next: option<u32>", "next: option<s32>")),
            to(&changed("log: list<u8>", "log: list<s8>")),
        ];
        expect_test::expect![[r#"
            migration: no function "migrate"; there is none
            migration: value state.count: expected u32, found u64
            migration: value state: expected counter, found count
            migration: value state: expected locked, found count
            migration: value state: expected 20 fields, found 21 fields
            migration: value state.light: expected amber, found green
            migration: value state.event.delay: expected nothing, found u32
            migration: value state.next.some: expected s32, found u32
            migration: value state.log.items: expected s8, found u8"#]]
        .assert_eq(&lines.join("\n"));
        // A type of another name is the same type.
        let renamed =
            wit().replace("record spot", "record place").replace("spot: spot", "spot: place");
        let definition = Definition::new(&module(&renamed, STATE), &law(100)).unwrap();
        let era = Era { definition: Arc::new(definition), ..era(100) };
        shop.eras.push(era.clone());
        shop.step(upgrade(&shop, &era, 50), migrated(1)).unwrap();
        shop.verify(&shop.records).unwrap();
    });
}

#[test]
fn headers_alone_tell_where_code_may_change() {
    run(|| {
        let shop = upgraded();
        let headers: Vec<_> = shop
            .records
            .iter()
            .map(|record| match record {
                Record::Commit(parts) => parts.header.clone(),
                Record::Refusal(_) => panic!("nothing was refused"),
            })
            .collect();
        let mut chained = Headers::genesis(&headers[0]).unwrap();
        headers[1..].iter().for_each(|header| chained.version(header).unwrap());
        let mut chained = Headers::genesis(&headers[0]).unwrap();
        chained.version(&headers[1]).unwrap();
        for kind in [Kind::Call, Kind::Amend, Kind::Write] {
            let mut header = headers[2].clone();
            header.kind = kind;
            assert!(chained.clone().version(&header).is_err(), "{kind:?}");
        }
    });
}
