//! The committed objects, each with its policy: that they are objects, and that they do what their
//! source says under a database.
//!
//! That they are what their source compiles to, `guest/check.sh` says.

use std::path::PathBuf;

use continuant::instrument::{Limits, instrument};
use continuant::policy::definition::Definition;
use continuant::{
    Code, Database, Kind, ObjectId, Reason, Receipt, Replay, SigningKey, Time, Upgrade, Value, args,
};
use expect_test::{Expect, expect};

use crate::objects::{Fixture, START};

#[expect(dead_code, reason = "the program around it is for the build")]
#[path = "../../../guest/assemble.rs"]
mod assemble;

pub(crate) const MINUTE: u64 = 60_000;
/// [`START`] in minutes since 1970.
const DAWN: u64 = START / MINUTE;

fn guest(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../guest").join(path)
}

fn wasm(name: &str) -> Vec<u8> {
    std::fs::read(guest(&format!("objects/{name}.wasm"))).unwrap()
}

pub(crate) fn policy(folder: &str) -> String {
    std::fs::read_to_string(guest(&format!("examples/{folder}/policy.cedar"))).unwrap()
}

pub(crate) fn code(name: &str, folder: &str) -> Code {
    Code::wasm(wasm(name)).unwrap().policy(policy(folder))
}

/// Checks the facts about a module, and that its policy fits its schema.
#[track_caller]
pub(crate) fn check_facts(name: &str, folder: &str, expected: Expect) {
    let (wasm, policy) = (wasm(name), policy(folder));
    let module = instrument(&wasm, &Limits::default()).unwrap();
    let thread = std::thread::Builder::new().stack_size(continuant::policy::STACK_BYTES);
    let facts = thread.spawn(move || {
        let definition = Definition::new(&wasm, &policy).unwrap();
        assert_eq!(module.schema_text, definition.schema.text());
        let mut facts = format!(
            "state {} stack {} pages {} globals {}",
            module.state_address,
            module.stack_top,
            module.memory_pages_max,
            module.globals.len()
        );
        let schema = &definition.schema;
        for method in schema.create().into_iter().chain(schema.methods()) {
            let (params, results) = (method.core_params(), method.core_results());
            let function = module.functions.iter().find(|it| it.name == method.name).unwrap();
            assert_eq!((&function.params, &function.results), (&params, &results));
            facts += &format!("\n{} {params:?} -> {results:?}", method.name);
        }
        facts += &format!("\ncycle {} realloc {}", module.has_cycle, module.has_realloc);
        facts + "\n\n" + schema.text()
    });
    expected.assert_eq(&facts.unwrap().join().unwrap());
}

#[test]
fn the_counter_is_an_object() {
    check_facts(
        "counter",
        "counter",
        expect![[r#"
        state 8192 stack 8192 pages 1 globals 1
        increment [I64] -> [I64]
        cycle false realloc false

        package example:counter@1.0.0;

        interface counter {
            record state {
                count: u64,
            }
            increment: func(by: u64) -> u64;
        }
    "#]],
    );
}

#[test]
fn the_tally_is_an_object() {
    check_facts(
        "tally",
        "tally",
        expect![[r#"
        state 8192 stack 8192 pages 1 globals 1
        increment [I64] -> [I64]
        decrement [I64] -> [I64]
        cycle false realloc true

        package example:counter@2.0.0;

        interface tally {
            record before {
                count: u64,
            }
            record state {
                balance: s64,
                changes: u32,
            }
            increment: func(by: u64) -> s64;
            decrement: func(by: u64) -> s64;
            migrate: func(before: before);
        }
    "#]],
    );
}

#[test]
fn the_aircraft_is_an_object() {
    check_facts(
        "aircraft",
        "aircraft",
        expect![[r#"
        state 12288 stack 8192 pages 1 globals 1
        create [I32, I32] -> []
        fly [I64, I64, I64] -> []
        cancel [] -> []
        divert [] -> []
        cycle true realloc true

        package fleet:aircraft@1.0.0;

        interface aircraft {
            record state {
                operator: list<u8>,
                flights: u64,
                cancellations: u64,
                diversions: u64,
                minutes: u64,
                miles: u64,
                minutes-since-inspection: u64,
                free-at: u64,
                notice: option<u64>,
                notices: u64,
                inspections: u64,
            }
            create: func(operator: list<u8>);
            fly: func(departure: u64, minutes: u64, miles: u64);
            cancel: func();
            divert: func();
        }
    "#]],
    );
}

#[test]
fn the_parcel_is_an_object() {
    check_facts(
        "parcel",
        "parcel",
        expect![[r#"
        state 8192 stack 8192 pages 1 globals 1
        create [I32, I32, I32, I32] -> []
        arrive [F64, F64, I32, I32, I32] -> [I32]
        weigh [I32] -> [I64]
        deliver [I32, I32] -> []
        label [] -> [I32]
        signature [] -> [I32]
        how-far [] -> [I32]
        delivered-at [] -> [I32]
        class [] -> [I32]
        cycle false realloc true

        package example:parcel@1.0.0;

        interface parcel {
            enum stage {
                packed,
                under-way,
                delivered,
            }
            record place {
                latitude: f64,
                longitude: f64,
                floor: s8,
            }
            record state {
                label: string,
                stage: stage,
                place: place,
                weights: tuple<u32, u32, u32>,
                delivered-at: option<u64>,
                signature: list<u8>,
                class: char,
                fragile: bool,
            }
            create: func(label: string, class: char, fragile: bool);
            arrive: func(place: place, stage: option<stage>) -> place;
            weigh: func(grams: u32) -> s64;
            deliver: func(signature: list<u8>);
            label: func() -> string;
            signature: func() -> list<u8>;
            how-far: func() -> stage;
            delivered-at: func() -> option<u64>;
            class: func() -> char;
        }
    "#]],
    );
}

#[test]
fn the_meter_is_an_object() {
    check_facts(
        "meter",
        "c",
        expect![[r#"
        state 8192 stack 8192 pages 1 globals 1
        create [I32, I32] -> []
        record-reading [I64] -> []
        serial [] -> [I32]
        cycle false realloc true

        package example:meter@1.0.0;

        interface meter {
            record state {
                serial: string,
                reading: u64,
                readings: u64,
                recorded-at: u64,
            }
            create: func(serial: string);
            record-reading: func(reading: u64);
            serial: func() -> string;
        }
    "#]],
    );
}

#[test]
fn the_lamp_is_an_object() {
    check_facts(
        "lamp",
        "wat",
        expect![[r#"
        state 4096 stack 0 pages 1 globals 0
        switch-on [I32] -> []
        switch-off [] -> [I32]
        cycle true realloc false

        package example:lamp@1.0.0;

        interface lamp {
            record state {
                on: bool,
                until: u64,
                switched: u32,
            }
            switch-on: func(seconds: u32);
            switch-off: func() -> bool;
        }
    "#]],
    );
}

#[test]
fn the_lamp_is_what_its_text_says() {
    let built = assemble::assemble(&guest("examples/wat/lamp.wat")).unwrap();
    assert!(built == wasm("lamp"), "run guest/build.sh wat");
}

#[test]
fn the_vaults_guard_is_what_its_text_says() {
    let built = assemble::assemble(&guest("examples/vault/guard.wat")).unwrap();
    assert!(built == wasm("vault-guard"), "run guest/build.sh wat");
}

#[test]
fn no_module_says_where_or_by_what_it_was_compiled() {
    for name in ["counter", "aircraft", "parcel", "meter", "lamp", "price", "tally", "vault"] {
        let wasm = wasm(name);
        assert!(wasm.len() < 2560, "{name} has {} bytes", wasm.len());
        for payload in wasmparser::Parser::new(0).parse_all(&wasm) {
            if let wasmparser::Payload::CustomSection(section) = payload.unwrap() {
                let named = ["continuant:schema", "continuant:salt"].contains(&section.name());
                assert!(named, "{name}: {}", section.name());
            }
        }
    }
}

/// Checks that an input was refused, and by which rules.
#[track_caller]
pub(crate) fn check_refused(result: continuant::Result<Receipt>, reason: Reason, rules: &[&str]) {
    let error = result.unwrap_err();
    let verdict = error.refusal().unwrap_or_else(|| panic!("{error}"));
    assert_eq!(verdict.reason, reason);
    assert_eq!(verdict.rules, rules);
}

#[track_caller]
fn check_verified(db: &Database, id: ObjectId, versions: u64, refusals: u64) {
    let verified = db.verify(id, Replay::Yes).unwrap();
    assert_eq!((verified.versions, verified.refusals), (versions, refusals));
}

#[test]
fn the_counter_counts_as_far_as_its_policy_lets_it() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code("counter", "counter")).unwrap();
    let receipt = db.call(id, "increment", args![2u64]).wait().unwrap();
    assert_eq!(
        (receipt.result, &receipt.rules[..]),
        (Some(Value::from(2u64)), &["count".into()][..])
    );
    let increment = |by: u64| db.call(id, "increment", args![by]).wait();
    check_refused(increment(1_000_000), Reason::NotPermitted, &[]);
    assert_eq!(increment(1000).unwrap().result, Some(Value::from(1002u64)));
    check_verified(&db, id, 3, 1);
}

#[test]
fn an_object_in_rust_has_a_salt_in_the_page_of_its_state() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let genesis = || {
        let id = db.create(code("counter", "counter")).unwrap();
        db.snapshot(id).unwrap().header().clone()
    };
    let (one, other) = (genesis(), genesis());
    assert_ne!(one.memory_root, other.memory_root, "nobody can guess what a root is of");
    assert_eq!((one.page_count, one.memory_bytes), (1, other.memory_bytes));
}

#[test]
fn a_counter_becomes_a_tally() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let upgradable = format!(
        r#"{} @id("upgrade") permit(principal, action == Action::"upgrade", resource);"#,
        policy("counter")
    );
    let counter = Code::wasm(wasm("counter")).unwrap().policy(upgradable);
    let tally = Upgrade::wasm(wasm("tally")).unwrap().policy(&*policy("tally")).for_good();
    let id = db.create(counter).unwrap();
    db.call(id, "increment", args![42u64]).wait().unwrap();
    let receipt = db.upgrade(id, &tally).wait().unwrap();
    assert_eq!(receipt.rules, ["upgrade", "take-over"]);
    let count = |method: &str, by: u64| db.call(id, method, args![by]).wait();
    assert_eq!(count("decrement", 50).unwrap().result, Some(Value::S64(-8)));
    assert_eq!(count("increment", 10).unwrap().result, Some(Value::S64(2)));
    check_refused(count("decrement", 1001), Reason::NotPermitted, &[]);
    assert_eq!(db.snapshot(id).unwrap().get::<u32>("changes"), Ok(2));
    check_verified(&db, id, 5, 1);
    // A count that is none of a balance is not taken over.
    let mut large = policy("counter").replace("<= 1000", "<= 9223372036854775807");
    large += r#"@id("upgrade") permit(principal, action == Action::"upgrade", resource);
        @id("write") permit(principal, action == Action::"write", resource);"#;
    let id = db.create(Code::wasm(wasm("counter")).unwrap().policy(large)).unwrap();
    db.write(id, vec![("count", u64::MAX.into())]).wait().unwrap();
    check_refused(db.upgrade(id, &tally).wait(), Reason::Trap, &[]);
    db.write(id, vec![("count", (i64::MAX as u64).into())]).wait().unwrap();
    db.upgrade(id, &tally).wait().unwrap();
    assert_eq!(db.snapshot(id).unwrap().get("balance"), Ok(i64::MAX));
}

/// An aircraft of the key, and how it flies.
struct Aircraft<'a> {
    db: &'a Database,
    id: ObjectId,
    operator: SigningKey,
}

impl Aircraft<'_> {
    fn new(db: &Database) -> Aircraft<'_> {
        let operator = SigningKey::from_secret(&[7; 32]);
        let key = operator.public().0.to_vec();
        let id = db.create(code("aircraft", "aircraft").args(args![key])).unwrap();
        Aircraft { db, id, operator }
    }

    /// A flight that departs this many minutes after dawn.
    fn fly(&self, departure: u64, minutes: u64) -> continuant::Result<Receipt> {
        let flight = args![DAWN + departure, minutes, minutes * 8];
        self.db.call(self.id, "fly", flight).signed(&self.operator).wait()
    }

    fn get(&self, field: &str) -> u64 {
        self.db.snapshot(self.id).unwrap().get(field).unwrap()
    }
}

#[test]
fn an_aircraft_flies_for_its_operator_and_no_other() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let aircraft = Aircraft::new(&db);
    let state = db.snapshot(aircraft.id).unwrap();
    assert_eq!(state.value("operator").unwrap(), aircraft.operator.public().0[..].into());
    aircraft.fly(0, 200).unwrap();
    let flight = || args![DAWN + 500, 60u64, 400u64];
    let other = SigningKey::from_secret(&[8; 32]);
    let stranger = db.call(aircraft.id, "fly", flight()).signed(&other).wait();
    check_refused(stranger, Reason::Forbidden, &["operator"]);
    let nobody = db.call(aircraft.id, "cancel", args![]).wait();
    check_refused(nobody, Reason::Forbidden, &["operator"]);
    db.call(aircraft.id, "cancel", args![]).signed(&aircraft.operator).wait().unwrap();
    db.call(aircraft.id, "divert", args![]).wait().unwrap();
    check_refused(aircraft.fly(199, 60), Reason::Forbidden, &["overlap"]);
    assert_eq!(["flights", "cancellations", "diversions"].map(|it| aircraft.get(it)), [1, 1, 1]);
    assert_eq!(["minutes", "miles"].map(|it| aircraft.get(it)), [200, 1600]);
    assert_eq!(aircraft.get("free-at"), DAWN + 200);
    check_verified(&db, aircraft.id, 4, 3);
}

#[test]
fn an_aircraft_inspects_itself_three_days_after_its_notice() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let aircraft = Aircraft::new(&db);
    assert_eq!(aircraft.fly(0, 5_000).unwrap().header.wake, None);
    let receipt = aircraft.fly(5_000, 400).unwrap();
    let inspection = DAWN + 5_000 + 72 * 60;
    let [output] = receipt.outputs().unwrap() else { panic!("{receipt:?}") };
    assert_eq!(
        (output.name.as_str(), &output.payload[..]),
        ("inspection-due", &inspection.to_le_bytes()[..])
    );
    assert_eq!(receipt.header.wake, Some(Time::from_millis(inspection * MINUTE)));
    check_refused(aircraft.fly(5_400, 601), Reason::Forbidden, &["inspection"]);
    check_refused(aircraft.fly(5_399, 601), Reason::Forbidden, &["inspection", "overlap"]);
    let last = aircraft.fly(5_400, 600).unwrap();
    assert_eq!(
        (last.outputs().unwrap().len(), last.header.wake),
        (0, Some(Time::from_millis(inspection * MINUTE)))
    );
    let state = || db.snapshot(aircraft.id).unwrap();
    assert_eq!(state().value("notice").unwrap(), Some(inspection).into());

    db.run_until(Time::from_millis(inspection * MINUTE - 1)).unwrap();
    assert_eq!(aircraft.get("minutes-since-inspection"), 6_000);
    db.run_until(Time::from_millis(inspection * MINUTE)).unwrap();
    let header = state().header().clone();
    assert_eq!(
        (header.kind, header.time, header.wake),
        (Kind::Cycle, Time::from_millis(inspection * MINUTE), None)
    );
    assert_eq!(state().value("notice").unwrap(), None::<u64>.into());
    let counters = ["minutes-since-inspection", "notices", "inspections", "flights"];
    assert_eq!(counters.map(|it| aircraft.get(it)), [0, 1, 1, 3]);
    aircraft.fly(9_320, 601).unwrap();
    check_verified(&db, aircraft.id, 6, 2);
}

#[test]
fn an_aircrafts_operator_is_a_key() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let error = db.create(code("aircraft", "aircraft").args(args![vec![7u8; 33]])).unwrap_err();
    assert_eq!(error.refusal().map(|verdict| verdict.reason), Some(Reason::Trap), "{error}");
    assert_eq!(db.objects().count(), 0);
}

fn place(latitude: f64, longitude: f64, floor: i8) -> Value {
    let fields = [
        ("latitude", Value::from(latitude)),
        ("longitude", longitude.into()),
        ("floor", floor.into()),
    ];
    Value::Record(fields.map(|(name, value)| (name.to_string(), value)).to_vec())
}

#[test]
fn a_parcel_passes_every_type_in_and_out() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code("parcel", "parcel").args(args!["N° 1, Éowyn", '€', true])).unwrap();
    let call = |method: &str, arguments: Vec<Value>| db.call(id, method, arguments).wait();
    let get = |method: &str| call(method, args![]).unwrap().result.unwrap();
    assert_eq!((get("label"), get("class")), ("N° 1, Éowyn".into(), '€'.into()));
    assert_eq!(
        (get("how-far"), get("delivered-at")),
        (Value::Enum("packed".into()), None::<u64>.into())
    );

    let way = Some(Value::Enum("under-way".into()));
    let before = call("arrive", args![place(40.6, -73.8, -2), way]).unwrap().result;
    assert_eq!(before, Some(place(0.0, 0.0, 0)));
    let before = call("arrive", args![place(29.98, -95.34, 127), None::<Value>]).unwrap().result;
    assert_eq!(before, Some(place(40.6, -73.8, -2)));
    assert_eq!(get("how-far"), Value::Enum("under-way".into()));
    assert_eq!(call("weigh", args![500u32]).unwrap().result, Some(500i64.into()));
    assert_eq!(call("weigh", args![480u32]).unwrap().result, Some((-20i64).into()));

    check_refused(call("deliver", args![vec![0u8; 0]]), Reason::Forbidden, &["signature"]);
    check_refused(call("deliver", args![vec![9u8; 65]]), Reason::Trap, &[]);
    call("deliver", args![vec![9u8; 64]]).unwrap();
    check_refused(call("deliver", args![vec![1u8]]), Reason::Forbidden, &["delivered"]);
    assert_eq!((get("signature"), get("delivered-at")), (vec![9u8; 64].into(), Some(START).into()));
    let state = db.snapshot(id).unwrap();
    assert_eq!(state.value("weights").unwrap(), Value::Tuple(args![480u32, 500u32, 0u32]));
    assert_eq!((state.get("fragile"), state.get("place.floor")), (Ok(true), Ok(127_i8)));
    let memory = state.memory_bytes();
    let kept = memory.windows(64).filter(|bytes| **bytes == [9; 64]).count();
    assert_eq!(kept, 1, "of an argument nothing is left but what the object keeps");
    check_verified(&db, id, 13, 3);
}

#[test]
fn a_meter_runs_forwards_and_not_too_fast() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code("meter", "c").args(args!["№ 227"])).unwrap();
    let record = |reading: u64| db.call(id, "record-reading", args![reading]).wait();
    record(1_000_000).unwrap();
    db.advance_clock(Time::from_millis(START + 2 * MINUTE)).unwrap();
    record(1_000_200).unwrap();
    check_refused(record(1_000_199), Reason::Forbidden, &["monotone"]);
    check_refused(record(1_000_201), Reason::Forbidden, &["rate"]);
    let serial = db.call(id, "serial", args![]).wait().unwrap();
    assert_eq!(serial.result, Some(Value::from("№ 227")));
    let state = db.snapshot(id).unwrap();
    assert_eq!((state.get("reading"), state.get("readings")), (Ok(1_000_200_u64), Ok(2_u64)));
    assert_eq!(state.get("recorded-at"), Ok(START + 2 * MINUTE));
    check_verified(&db, id, 4, 2);
}

#[test]
fn a_lamp_goes_out_by_itself() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(code("lamp", "wat")).unwrap();
    let on = |seconds: u32| db.call(id, "switch-on", args![seconds]).wait();
    check_refused(on(3601), Reason::NotPermitted, &[]);
    assert_eq!(on(60).unwrap().header.wake, Some(Time::from_millis(START + MINUTE)));
    db.run_until(Time::from_millis(START + MINUTE)).unwrap();
    let state = db.snapshot(id).unwrap();
    assert_eq!((state.get("on"), state.get("switched")), (Ok(false), Ok(2_u32)));
    assert_eq!(state.header().kind, Kind::Cycle);
    on(60).unwrap();
    let off = db.call(id, "switch-off", args![]).wait().unwrap();
    assert_eq!((off.result, off.header.wake), (Some(Value::from(true)), None));
    check_verified(&db, id, 5, 1);
}

#[test]
fn the_readme_of_the_guest_crate_shows_the_counter() {
    let source = std::fs::read_to_string(guest("examples/counter/src/lib.rs")).unwrap();
    let shown = &source[source.find("#![no_std]").unwrap()..];
    let readme = std::fs::read_to_string(guest("README.md")).unwrap();
    assert!(readme.contains(&format!("```rust\n{shown}```\n")), "guest/README.md has another one");
}
