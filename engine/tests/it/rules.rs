//! The kinds of rule that a policy can hold, each with its committed object: the price may not be
//! quoted before enough of it is on record and forgets itself, the vault is changed by credentials.
//!
//! Each rule permits and refuses here. What honest code never asks for, code that cheats does.

use std::io::Cursor;

use continuant::policy::Policy;
use continuant::{
    Code, Database, Kind, ObjectId, Reason, Receipt, Replay, Result, Time, Value, args,
    verify_capsule,
};
use expect_test::expect;

use crate::guests::{MINUTE, check_facts, check_refused, code, policy};
use crate::objects::{Fixture, START, key, module};

const ADA: u8 = 1;
const BEN: u8 = 2;
const CYD: u8 = 3;
const DAN: u8 = 4;
const EVE: u8 = 5;

/// The public key as a state has it.
fn public(secret: u8) -> String {
    key(secret).public().to_string()
}

fn keys(secrets: &[u8]) -> Value {
    Value::List(secrets.iter().map(|&secret| public(secret).into()).collect())
}

fn call(
    db: &Database,
    id: ObjectId,
    method: &str,
    arguments: Vec<Value>,
    signers: &[u8],
) -> Result<Receipt> {
    let signers: Vec<_> = signers.iter().map(|&secret| key(secret)).collect();
    let call = db.call(id, method, arguments);
    signers.iter().fold(call, |call, key| call.signed(key)).wait()
}

#[track_caller]
fn check_admitted(result: Result<Receipt>, rule: &str) -> Receipt {
    let receipt = result.unwrap();
    assert_eq!(receipt.rules, [rule]);
    receipt
}

/// Moves an object in a capsule to a database of its own, where its lineage is the same as here.
fn carry(db: &Database, id: ObjectId) -> (Fixture, Database) {
    let expected = db.verify(id, Replay::Yes).unwrap();
    let mut bytes = Vec::new();
    db.export(id, &mut bytes).unwrap();
    assert_eq!(verify_capsule(Cursor::new(&bytes), Replay::Yes).unwrap(), expected);
    let elsewhere = Fixture::new();
    let other = elsewhere.open_with(elsewhere.options().cycles(false));
    assert_eq!(other.import(Cursor::new(&bytes)).unwrap(), id);
    assert_eq!(other.verify(id, Replay::Yes).unwrap(), expected);
    (elsewhere, other)
}

/// Keys as a `list<string>` in WebAssembly text: the items at 4608, the digits behind them.
fn list(secrets: &[u8]) -> String {
    let address = |number: usize| {
        let bytes = u32::try_from(number).unwrap().to_le_bytes();
        bytes.map(|byte| format!("\\{byte:02x}")).concat()
    };
    let mut text =
        format!(r#"(data (i32.const 4096) "{}{}")"#, address(4608), address(secrets.len()));
    for (index, &secret) in secrets.iter().enumerate() {
        let (item, digits) = (4608 + 8 * index, 5120 + 64 * index);
        text += &format!(r#"(data (i32.const {item}) "{}{}")"#, address(digits), address(64));
        text += &format!(r#"(data (i32.const {digits}) "{}")"#, public(secret));
    }
    text
}

#[test]
fn the_price_is_an_object() {
    check_facts(
        "price",
        "price",
        expect![[r#"
        state 12288 stack 8192 pages 1 globals 1
        create [I32, I32] -> []
        observe [I64] -> []
        quote [] -> [I64]
        cycle true realloc true

        package example:price@1.0.0;

        interface price {
            record state {
                feeds: list<string>,
                price: option<u64>,
            }
            create: func(feeds: list<string>);
            observe: func(price: u64);
            quote: func() -> u64;
        }
    "#]],
    );
}

#[test]
fn the_vault_is_an_object() {
    check_facts(
        "vault",
        "vault",
        expect![[r#"
        state 12288 stack 8192 pages 1 globals 1
        create [I32, I32] -> []
        deposit [I64] -> []
        pay [I64] -> [I64]
        delegate-to [I32, I32, I64] -> []
        rotate [I32, I32, I32, I32] -> []
        approve-policy [I32, I32] -> []
        cycle true realloc true

        package example:vault@1.0.0;

        interface vault {
            record state {
                owners: list<string>,
                delegate: string,
                delegated-until: u64,
                balance: u64,
                approved-policy: string,
            }
            create: func(owners: list<string>);
            deposit: func(amount: u64);
            pay: func(amount: u64) -> u64;
            delegate-to: func(key: string, until: u64);
            rotate: func(old: string, new: string);
            approve-policy: func(hash: string);
        }
    "#]],
    );
}

#[test]
fn both_policies_are_compiled_whole() {
    let fixture = Fixture::new();
    let db = fixture.open();
    for name in ["price", "vault"] {
        let id = db.create(code(name, name).args(args![keys(&[ADA, BEN, CYD])])).unwrap();
        let definition = db.snapshot(id).unwrap().definition().clone();
        let uncompiled: Vec<_> = definition.policy.uncompiled().collect();
        assert!(uncompiled.is_empty(), "{name}: {uncompiled:?}");
    }
}

#[test]
fn a_price_is_quoted_after_two_feeds_within_a_minute() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code("price", "price").args(args![keys(&[ADA, BEN])])).unwrap();
    let observe = |price: u64, by: &[u8]| call(&db, id, "observe", args![price], by);
    let quote = || call(&db, id, "quote", args![], &[]);
    check_refused(quote(), Reason::Trap, &[]);
    check_refused(observe(1000, &[]), Reason::NotPermitted, &[]);
    check_refused(observe(1000, &[CYD]), Reason::NotPermitted, &[]);
    check_admitted(observe(1000, &[ADA]), "feed");
    check_refused(quote(), Reason::NotPermitted, &[]);
    check_admitted(observe(1010, &[ADA]), "feed");
    check_refused(quote(), Reason::NotPermitted, &[]);
    db.advance_clock(Time::from_millis(START + MINUTE)).unwrap();
    check_admitted(observe(1000, &[BEN]), "feed");
    check_refused(quote(), Reason::NotPermitted, &[]);
    check_admitted(observe(1020, &[ADA]), "feed");
    let receipt = check_admitted(quote(), "quote");
    assert_eq!(receipt.result, Some(1020_u64.into()));
    let [output] = receipt.outputs().unwrap() else { panic!("{receipt:?}") };
    assert_eq!((output.name.as_str(), &output.payload[..]), ("quote", &1020_u64.to_le_bytes()[..]));

    check_refused(observe(1123, &[ADA]), Reason::Forbidden, &["leap"]);
    check_refused(observe(917, &[ADA]), Reason::Forbidden, &["leap"]);
    check_refused(observe(0, &[ADA]), Reason::Forbidden, &["honest", "leap"]);
    check_admitted(observe(1122, &[ADA]), "feed");
    quote().unwrap();
    quote().unwrap();
    check_refused(quote(), Reason::Forbidden, &["rate"]);
    let (_elsewhere, other) = carry(&db, id);
    for db in [db, other] {
        check_refused(call(&db, id, "quote", args![], &[]), Reason::Forbidden, &["rate"]);
        db.advance_clock(Time::from_millis(START + 2 * MINUTE)).unwrap();
        check_refused(call(&db, id, "quote", args![], &[]), Reason::NotPermitted, &[]);
        for (price, by) in [(1100_u64, ADA), (1110, BEN)] {
            call(&db, id, "observe", args![price], &[by]).unwrap();
        }
        check_admitted(call(&db, id, "quote", args![], &[]), "quote");
        db.verify(id, Replay::Yes).unwrap();
    }
}

#[test]
fn a_price_that_nobody_observes_is_forgotten() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let id = db.create(code("price", "price").args(args![keys(&[ADA, BEN])])).unwrap();
    let receipt = call(&db, id, "observe", args![1000_u64], &[ADA]).unwrap();
    assert_eq!(receipt.header.wake, Some(Time::from_millis(START + 5 * MINUTE)));
    db.advance_clock(Time::from_millis(START + MINUTE)).unwrap();
    call(&db, id, "observe", args![1000_u64], &[BEN]).unwrap();
    let (_elsewhere, other) = carry(&db, id);
    for db in [db, other] {
        let price = || db.snapshot(id).unwrap().value("price").unwrap();
        db.run_until(Time::from_millis(START + 6 * MINUTE - 1)).unwrap();
        assert_eq!(price(), Some(1000_u64).into());
        db.run_until(Time::from_millis(START + 6 * MINUTE)).unwrap();
        assert_eq!(price(), None::<u64>.into());
        let header = db.snapshot(id).unwrap().header().clone();
        assert_eq!((header.seq, header.kind, header.wake), (3, Kind::Cycle, None));
        check_admitted(call(&db, id, "observe", args![5000_u64], &[ADA]), "feed");
        let verified = db.verify(id, Replay::Yes).unwrap();
        assert_eq!((verified.versions, verified.refusals), (5, 0));
    }
}

/// A price whose code observes one more than the given price if that is odd, wants to wake at once
/// if the price ends in 4, and stores a value of its own on `quote`.
fn cheating_price() -> Vec<u8> {
    module(
        "record state { feeds: list<string>, price: option<u64> }
         observe: func(price: u64); quote: func() -> u64;",
        r#"(import "continuant" "now" (func $now (result i64)))
           (import "continuant" "wake" (func $wake (param i64)))"#,
        &format!(
            r#"{}
            (func (export "observe") (param i64)
              (i32.store8 (i32.const 4104) (i32.const 1))
              (i64.store (i32.const 4112)
                (i64.add (local.get 0) (i64.and (local.get 0) (i64.const 1))))
              (call $wake (i64.add (call $now)
                (select (i64.const 10) (i64.const 300000)
                  (i64.eq (i64.rem_u (local.get 0) (i64.const 10)) (i64.const 4))))))
            (func (export "quote") (result i64)
              (i64.store (i32.const 4112) (i64.const 7))
              (i64.const 7))
            (func (export "cycle"))"#,
            list(&[ADA, BEN])
        ),
    )
}

#[test]
fn a_price_whose_code_cheats_gets_nowhere() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let text = policy("price");
    let id = db.create(Code::wasm(cheating_price()).unwrap().policy(&*text)).unwrap();
    let observe = |id, price: u64, by: u8| call(&db, id, "observe", args![price], &[by]);
    check_refused(observe(id, 1001, ADA), Reason::Forbidden, &["honest"]);
    check_refused(observe(id, 1004, ADA), Reason::Forbidden, &["honest"]);
    check_admitted(observe(id, 1000, ADA), "feed");
    check_admitted(observe(id, 1000, BEN), "feed");
    check_refused(call(&db, id, "quote", args![], &[]), Reason::Forbidden, &["honest"]);
    // The rule on the object's own cycle stands by itself, too.
    let (rest, _) = text.split_once("// The code is not trusted").unwrap();
    let hasty = db.create(Code::wasm(cheating_price()).unwrap().policy(rest)).unwrap();
    check_admitted(observe(hasty, 1004, ADA), "feed");
    db.run_until(Time::from_millis(START + 10)).unwrap();
    assert_eq!(db.snapshot(hasty).unwrap().header().seq, 1);
    let verified = db.verify(hasty, Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (2, 1));
    db.run_until(Time::from_millis(START + 5 * MINUTE)).unwrap();
    check_refused(db.advance(id), Reason::Forbidden, &["honest"]);
    db.verify(id, Replay::Yes).unwrap();
}

/// A vault of Ada, Ben and Cyd with a thousand in it.
struct Vault<'a> {
    db: &'a Database,
    id: ObjectId,
}

impl Vault<'_> {
    fn new<'a>(db: &'a Database, policy: &str) -> Vault<'a> {
        let code = code("vault", "vault").policy(policy).args(args![keys(&[ADA, BEN, CYD])]);
        let vault = Vault { db, id: db.create(code).unwrap() };
        check_admitted(vault.call("deposit", args![1000_u64], &[]), "deposit");
        vault
    }

    fn call(&self, method: &str, arguments: Vec<Value>, signers: &[u8]) -> Result<Receipt> {
        call(self.db, self.id, method, arguments, signers)
    }

    fn pay(&self, amount: u64, signers: &[u8]) -> Result<Receipt> {
        self.call("pay", args![amount], signers)
    }

    fn delegate(&self, to: u8, until: u64, signers: &[u8]) -> Result<Receipt> {
        self.call("delegate-to", args![public(to), until], signers)
    }

    fn rotate(&self, old: u8, new: u8, signers: &[u8]) -> Result<Receipt> {
        self.call("rotate", args![public(old), public(new)], signers)
    }

    fn amend(&self, policy: &str, signers: &[u8]) -> Result<Receipt> {
        let signers: Vec<_> = signers.iter().map(|&secret| key(secret)).collect();
        let call = self.db.amend(self.id, policy);
        signers.iter().fold(call, |call, key| call.signed(key)).wait()
    }
}

#[test]
fn a_vault_has_three_owners() {
    let fixture = Fixture::new();
    let db = fixture.open();
    for owners in [&[ADA, BEN][..], &[ADA, BEN, ADA], &[ADA, BEN, CYD, DAN]] {
        let error = db.create(code("vault", "vault").args(args![keys(owners)])).unwrap_err();
        assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(Reason::Trap), "{error}");
    }
}

#[test]
fn two_of_three_owners_pay() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let vault = Vault::new(&db, &policy("vault"));
    for signers in [&[][..], &[ADA], &[DAN, EVE], &[ADA, DAN]] {
        check_refused(vault.pay(300, signers), Reason::NotPermitted, &[]);
    }
    let receipt = check_admitted(vault.pay(300, &[ADA, BEN]), "owners");
    assert_eq!(receipt.result, Some(700_u64.into()));
    check_refused(vault.pay(701, &[ADA, BEN]), Reason::Forbidden, &["balance"]);
    check_admitted(vault.pay(700, &[ADA, BEN, CYD]), "owners");
    let (_elsewhere, other) = carry(&db, vault.id);
    let there = Vault { db: &other, id: vault.id };
    there.call("deposit", args![5_u64], &[EVE]).unwrap();
    check_refused(there.pay(5, &[CYD]), Reason::NotPermitted, &[]);
    check_admitted(there.pay(5, &[CYD, BEN]), "owners");
    let verified = other.verify(vault.id, Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (6, 6));
}

#[test]
fn a_delegate_pays_alone_small_amounts_until_the_delegation_lapses() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let vault = Vault::new(&db, &policy("vault"));
    let until = START + MINUTE;
    check_refused(vault.pay(1, &[DAN]), Reason::NotPermitted, &[]);
    check_refused(vault.delegate(DAN, until, &[ADA]), Reason::NotPermitted, &[]);
    check_refused(vault.delegate(DAN, START, &[ADA, CYD]), Reason::Forbidden, &["delegation"]);
    let receipt = check_admitted(vault.delegate(DAN, until, &[ADA, CYD]), "owners");
    assert_eq!(receipt.header.wake, Some(Time::from_millis(until)));
    check_refused(vault.pay(101, &[DAN]), Reason::NotPermitted, &[]);
    check_refused(vault.pay(101, &[DAN, ADA]), Reason::NotPermitted, &[]);
    check_admitted(vault.pay(100, &[DAN]), "delegate");
    db.advance_clock(Time::from_millis(until - 1)).unwrap();
    check_admitted(vault.pay(100, &[DAN]), "delegate");
    let (_elsewhere, other) = carry(&db, vault.id);
    for db in [&db, &other] {
        let vault = Vault { db, ..vault };
        db.advance_clock(Time::from_millis(until)).unwrap();
        check_refused(vault.pay(1, &[DAN]), Reason::NotPermitted, &[]);
        let state = db.snapshot(vault.id).unwrap();
        assert_eq!(
            (state.header().kind, state.header().time),
            (Kind::Cycle, Time::from_millis(until))
        );
        assert_eq!((state.value("delegate"), state.get("balance")), (Ok("".into()), Ok(800_u64)));
        check_admitted(vault.pay(101, &[ADA, BEN]), "owners");
        let verified = db.verify(vault.id, Replay::Yes).unwrap();
        assert_eq!((verified.versions, verified.refusals), (7, 6));
    }
}

#[test]
fn a_delegate_pays_while_there_were_few_payments_and_nobody_took_it_back() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let vault = Vault::new(&db, &policy("vault"));
    vault.delegate(DAN, START + 9_000 * MINUTE, &[ADA, BEN]).unwrap();
    for _ in 0..5 {
        check_admitted(vault.pay(1, &[DAN]), "delegate");
    }
    check_refused(vault.pay(1, &[DAN]), Reason::NotPermitted, &[]);
    db.advance_clock(Time::from_millis(START + 24 * 60 * MINUTE)).unwrap();
    check_admitted(vault.pay(1, &[DAN]), "delegate");
    vault.delegate(EVE, START + 9_000 * MINUTE, &[ADA, CYD]).unwrap();
    check_refused(vault.pay(1, &[DAN]), Reason::NotPermitted, &[]);
    check_admitted(vault.pay(1, &[EVE]), "delegate");
    let nobody = args!["", START + 9_000 * MINUTE];
    vault.call("delegate-to", nobody, &[ADA, CYD]).unwrap();
    check_refused(vault.pay(1, &[EVE]), Reason::NotPermitted, &[]);
    check_refused(vault.pay(1, &[]), Reason::NotPermitted, &[]);
    db.verify(vault.id, Replay::Yes).unwrap();
}

#[test]
fn a_delegation_ends_though_the_vaults_own_cycle_is_forbidden() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let text = policy("vault").replace("permit(principal is Object", "forbid(principal is Object");
    assert_ne!(text, policy("vault"));
    let vault = Vault::new(&db, &text);
    vault.delegate(DAN, START + MINUTE, &[ADA, BEN]).unwrap();
    check_admitted(vault.pay(1, &[DAN]), "delegate");
    db.run_until(Time::from_millis(START + MINUTE)).unwrap();
    check_refused(db.advance(vault.id), Reason::Forbidden, &["lapse"]);
    assert_eq!(db.snapshot(vault.id).unwrap().value("delegate"), Ok(public(DAN).into()));
    check_refused(vault.pay(1, &[DAN]), Reason::NotPermitted, &[]);
    db.verify(vault.id, Replay::Yes).unwrap();
}

#[test]
fn a_key_that_was_lost_is_replaced_by_the_other_two() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let vault = Vault::new(&db, &policy("vault"));
    check_refused(vault.rotate(CYD, EVE, &[ADA, EVE]), Reason::Forbidden, &["rotation"]);
    check_refused(vault.rotate(CYD, EVE, &[ADA, BEN]), Reason::Forbidden, &["rotation"]);
    check_refused(vault.rotate(CYD, ADA, &[ADA, BEN]), Reason::Forbidden, &["rotation"]);
    check_refused(vault.rotate(DAN, EVE, &[ADA, BEN, EVE]), Reason::Trap, &[]);
    check_admitted(vault.rotate(CYD, EVE, &[ADA, BEN, EVE]), "owners");
    let (_elsewhere, other) = carry(&db, vault.id);
    for db in [&db, &other] {
        let vault = Vault { db, ..vault };
        let owners = db.snapshot(vault.id).unwrap().value("owners");
        assert_eq!(owners, Ok(keys(&[ADA, BEN, EVE])));
        check_refused(vault.pay(1, &[ADA, CYD]), Reason::NotPermitted, &[]);
        check_admitted(vault.pay(1, &[ADA, EVE]), "owners");
        db.verify(vault.id, Replay::Yes).unwrap();
    }
}

#[test]
fn a_vaults_policy_is_changed_to_the_one_that_two_owners_approved() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let text = policy("vault");
    let vault = Vault::new(&db, &text);
    let lower = text.replace("<= 100", "<= 50");
    let other = text.replace("<= 100", "<= 1000");
    let hash = || args![Policy::hash_of(&lower).to_string()];
    check_refused(vault.amend(&lower, &[ADA, BEN]), Reason::NotPermitted, &[]);
    check_refused(vault.call("approve-policy", hash(), &[BEN]), Reason::NotPermitted, &[]);
    check_admitted(vault.call("approve-policy", hash(), &[BEN, CYD]), "owners");
    check_refused(vault.amend(&lower, &[ADA]), Reason::NotPermitted, &[]);
    check_refused(vault.amend(&other, &[ADA, BEN]), Reason::NotPermitted, &[]);
    let (_elsewhere, there) = carry(&db, vault.id);
    for db in [&db, &there] {
        let vault = Vault { db, ..vault };
        let receipt = check_admitted(vault.amend(&lower, &[ADA, BEN]), "amendment");
        assert_eq!(receipt.header.kind, Kind::Amend);
        vault.delegate(DAN, START + MINUTE, &[ADA, CYD]).unwrap();
        check_refused(vault.pay(51, &[DAN]), Reason::NotPermitted, &[]);
        check_admitted(vault.pay(50, &[DAN]), "delegate");
        check_refused(vault.amend(&text, &[ADA, BEN]), Reason::NotPermitted, &[]);
        db.verify(vault.id, Replay::Yes).unwrap();
    }
}

/// A vault whose code does other things as well when it takes a deposit of 1 to 5, and makes an
/// owner's successor the only owner.
fn cheating_vault() -> Vec<u8> {
    module(
        "record state { owners: list<string>, delegate: string, delegated-until: u64, balance: u64,
            approved-policy: string }
         deposit: func(amount: u64); pay: func(amount: u64) -> u64;
         delegate-to: func(key: string, until: u64); rotate: func(old: string, new: string);
         approve-policy: func(hash: string);",
        r#"(import "continuant" "now" (func $now (result i64)))
           (import "continuant" "wake" (func $wake (param i64)))"#,
        &format!(
            r#"{}
            (data (i32.const 4112) "\ff\ff\ff\ff\ff\ff\ff\0f")
            (global $top (mut i32) (i32.const 8192))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
              (global.get $top)
              (global.set $top (i32.add (global.get $top) (local.get 3))))
            (func $is (param i64 i64) (result i32) (i64.eq (local.get 0) (local.get 1)))
            (func (export "deposit") (param i64)
              (i64.store (i32.const 4120) (i64.add (i64.load (i32.const 4120)) (local.get 0)))
              (if (call $is (local.get 0) (i64.const 1))
                (then (i64.store (i32.const 4120) (i64.const 1000000))))
              (if (call $is (local.get 0) (i64.const 2))
                (then (i32.store (i32.const 4100) (i32.const 2))))
              (if (call $is (local.get 0) (i64.const 3))
                (then (i64.store (i32.const 4104) (i64.load (i32.const 4608)))))
              (if (call $is (local.get 0) (i64.const 4))
                (then (i64.store (i32.const 4128) (i64.load (i32.const 4608)))))
              (if (call $is (local.get 0) (i64.const 5))
                (then (call $wake (i64.add (call $now) (i64.const 10))))))
            (func (export "pay") (param i64) (result i64) (i64.const 0))
            (func (export "delegate-to") (param i32 i32 i64))
            (func (export "rotate") (param i32 i32 i32 i32)
              (i32.store (i32.const 4100) (i32.const 1))
              (i32.store (i32.const 4608) (local.get 2)))
            (func (export "approve-policy") (param i32 i32))
            (func (export "cycle"))"#,
            list(&[ADA, BEN, CYD])
        ),
    )
}

#[test]
fn a_vault_whose_code_cheats_gets_nowhere() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let code = Code::wasm(cheating_vault()).unwrap().policy(policy("vault"));
    let vault = Vault { db: &db, id: db.create(code).unwrap() };
    for (amount, rule) in [(1_u64, "balance"), (2, "rotation"), (3, "delegation"), (4, "approval")]
    {
        let deposit = vault.call("deposit", args![amount], &[]);
        check_refused(deposit, Reason::Forbidden, &[rule]);
    }
    check_admitted(vault.call("deposit", args![6_u64], &[]), "deposit");
    check_refused(vault.pay(1, &[ADA, BEN]), Reason::Forbidden, &["balance"]);
    check_refused(vault.rotate(CYD, EVE, &[ADA, BEN, EVE]), Reason::Forbidden, &["rotation"]);
    let delegate = vault.delegate(DAN, START + MINUTE, &[ADA, BEN]);
    check_refused(delegate, Reason::Forbidden, &["delegation"]);
    let approve = vault.call("approve-policy", args![public(DAN)], &[ADA, BEN]);
    check_refused(approve, Reason::Forbidden, &["approval"]);
    // The code wants to wake long before a delegation ends.
    check_admitted(vault.call("deposit", args![5_u64], &[]), "deposit");
    db.run_until(Time::from_millis(START + 10)).unwrap();
    check_refused(db.advance(vault.id), Reason::NotPermitted, &[]);
    let verified = db.verify(vault.id, Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (3, 10));
}
