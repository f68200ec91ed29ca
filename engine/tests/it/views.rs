//! Typed views: they read what the schema says, an error names a type that does not fit the schema,
//! and reads cost what they should.

use std::borrow::Cow;

use allocation_counter::measure;
use continuant::object::ErrorKind;
use continuant::{Bound, Code, Database, ObjectId, Snapshot, State, Value, args};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::objects::{Fixture, OPEN, counter_code, module};

#[derive(State)]
struct Scalars {
    a: u8,
    b: u16,
    c: u32,
    d: u64,
    e: i8,
    f: i16,
    g: i32,
    h: i64,
    i: f32,
    j: f64,
    k: bool,
    l: char,
}

/// Something of every other type, partly across the end of a page. Fields are in another order than
/// in the schema, and one, of a type that is not read, is left out.
#[derive(Debug, PartialEq, State)]
struct Depot {
    stage: Stage,
    r#type: String,
    torn: String,
    place: Place,
    gates: [Gate; 2],
    numbers: Vec<u32>,
    raw: Vec<u8>,
    names: Vec<String>,
    last: Option<Gate>,
    next: Option<u64>,
}

#[derive(Debug, PartialEq, State)]
struct Place {
    floor: i8,
    deep: Gate,
}

#[derive(Debug, PartialEq, State)]
struct Gate {
    open: bool,
    boarded: u64,
}

#[derive(Debug, PartialEq, State)]
enum Stage {
    Packed,
    UnderWay,
}

/// Creates an object of `schema` whose memory has `data`, WebAssembly text.
fn create(db: &Database, schema: &str, data: &str) -> ObjectId {
    db.create(Code::wasm(module(schema, "", data)).unwrap().policy(OPEN)).unwrap()
}

const DEPOT: &str = "enum stage { packed, under-way }
    flags marks { a, b }
    record gate { open: bool, boarded: u64 }
    record place { floor: s8, deep: gate }
    record state { %type: string, marks: marks, torn: string, stage: stage, place: place,
        gates: tuple<gate, gate>, numbers: list<u32>, raw: list<u8>, names: list<string>,
        last: option<gate>, next: option<u64> }";

/// Creates an object whose strings and lists are near the end of the page at 8192, at addresses by
/// the schema's layout in the Canonical ABI.
fn depot(db: &Database) -> ObjectId {
    let data = r#"
        (data (i32.const 4096) "\00\21\00\00\03\00\00\00")
        (data (i32.const 4104) "\01")
        (data (i32.const 4108) "\fd\2f\00\00\07\00\00\00")
        (data (i32.const 4116) "\01")
        (data (i32.const 4120) "\ff")
        (data (i32.const 4128) "\01\00\00\00\00\00\00\00\07")
        (data (i32.const 4144) "\00\00\00\00\00\00\00\00\08")
        (data (i32.const 4160) "\01\00\00\00\00\00\00\00\09")
        (data (i32.const 4176) "\f8\2f\00\00\04\00\00\00")
        (data (i32.const 4184) "\fe\2f\00\00\04\00\00\00")
        (data (i32.const 4192) "\00\22\00\00\02\00\00\00")
        (data (i32.const 4200) "\01")
        (data (i32.const 4208) "\01\00\00\00\00\00\00\00\0a")
        (data (i32.const 8448) "A\c3\89")
        (data (i32.const 8704) "\00\21\00\00\03\00\00\00\fd\2f\00\00\07\00\00\00")
        (data (i32.const 12280) "\01\00\00\00\02N\c2\b0 12")"#;
    create(db, DEPOT, data)
}

#[test]
fn a_view_reads_what_the_schema_says_wherever_it_is() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let snapshot = db.snapshot(depot(&db)).unwrap();
    let view = snapshot.view::<Depot>().unwrap();
    assert!(matches!(view.r#type(), Cow::Borrowed("AÉ")));
    assert!(matches!(view.torn(), Cow::Owned(_)), "it crosses a page");
    let value = |path: &str| snapshot.value(path).unwrap();
    assert_eq!(Value::from(&*view.torn()), value("torn"));
    assert_eq!(view.stage(), Stage::UnderWay);
    assert_eq!(view.place().floor(), -1);
    assert_eq!((view.place().deep().open(), view.place().deep().boarded()), (true, 7));
    assert_eq!(view.gates().map(|gate| (gate.open(), gate.boarded())), [(false, 8), (true, 9)]);
    assert_eq!((view.numbers().len(), view.numbers().get(4)), (4, None));
    let numbers = view.numbers().iter().map(Value::from).collect();
    assert_eq!(Value::List(numbers), value("numbers"), "the list crosses a page");
    assert_eq!(Value::Bytes(view.raw().bytes().into_owned()), value("raw"));
    let names: Vec<_> = view.names().iter().collect();
    assert_eq!(names, ["AÉ", &view.torn()]);
    let last = view.last().unwrap();
    assert_eq!((last.open(), last.boarded(), view.next()), (true, 10, None));
    let own = Depot::from(view);
    assert_eq!((own.numbers.len(), own.raw.len(), own.gates[1].boarded), (4, 4, 9));
    assert_eq!(own.last, Some(Gate { open: true, boarded: 10 }));
}

/// A record of all scalars, and the path and value of each for one draw.
fn draw(rng: &mut StdRng) -> Vec<(&'static str, Value)> {
    vec![
        ("a", rng.random::<u8>().into()),
        ("b", rng.random::<u16>().into()),
        ("c", rng.random::<u32>().into()),
        ("d", rng.random::<u64>().into()),
        ("e", rng.random::<i8>().into()),
        ("f", rng.random::<i16>().into()),
        ("g", rng.random::<i32>().into()),
        ("h", rng.random::<i64>().into()),
        ("i", Value::F32(f32::from_bits(rng.random()))),
        ("j", Value::F64(f64::from_bits(rng.random()))),
        ("k", rng.random::<bool>().into()),
        ("l", rng.random::<char>().into()),
    ]
}

const SCALARS: &str = "record state { a: u8, b: u16, c: u32, d: u64, e: s8, f: s16, g: s32, \
                       h: s64, i: f32, j: f64, k: bool, l: char }";

#[test]
fn a_view_reads_every_scalar_as_get_does() {
    let seed = rand::random();
    let mut rng = StdRng::seed_from_u64(seed);
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = create(&db, SCALARS, "");
    let scalars = Scalars::bind(db.snapshot(id).unwrap().definition()).unwrap();
    for _ in 0..64 {
        db.write(id, draw(&mut rng)).wait().unwrap();
        let snapshot = db.snapshot(id).unwrap();
        let view = scalars.view(&snapshot).unwrap();
        let found = (view.a(), view.b(), view.c(), view.d(), view.e(), view.f());
        let get = |path| snapshot.get::<i64>(path);
        let expected = (
            snapshot.get("a").unwrap(),
            snapshot.get("b").unwrap(),
            snapshot.get("c").unwrap(),
            snapshot.get("d").unwrap(),
            snapshot.get("e").unwrap(),
            snapshot.get("f").unwrap(),
        );
        assert_eq!(found, expected, "seed {seed}");
        assert_eq!((Ok(view.g()), Ok(view.h())), (snapshot.get("g"), get("h")), "seed {seed}");
        let floats = (view.i().to_bits(), view.j().to_bits());
        let (i, j) = (snapshot.get::<f32>("i").unwrap(), snapshot.get::<f64>("j").unwrap());
        assert_eq!(floats, (i.to_bits(), j.to_bits()), "seed {seed}");
        assert_eq!((Ok(view.k()), Ok(view.l())), (snapshot.get("k"), snapshot.get("l")));
    }
}

/// Checks the error of a type that does not fit the depot's state.
#[track_caller]
fn check_mismatch<S: State>(expected: &str) {
    let fixture = Fixture::new();
    let db = fixture.open();
    let snapshot = db.snapshot(depot(&db)).unwrap();
    let Err(error) = snapshot.view::<S>() else { panic!("it fits") };
    assert_eq!(error.to_string(), expected);
    let bound = S::bind(snapshot.definition()).unwrap_err();
    assert_eq!(bound, error);
}

macro_rules! mismatches {
    ($($name:ident: $field:ident: $ty:ty => $expected:expr;)*) => {$(
        #[test]
        fn $name() {
            #[derive(State)]
            struct Wrong {
                $field: $ty,
            }
            check_mismatch::<Wrong>($expected);
        }
    )*};
}

#[derive(State)]
struct WrongGate {
    boarded: u32,
}

#[derive(State)]
struct UnknownGate {
    shut: bool,
}

#[derive(State)]
struct WrongPlace {
    deep: WrongGate,
}

#[derive(State)]
struct PlaceAround {
    deep: Gate,
    floor: i8,
}

#[derive(State)]
struct PartOfPlace {
    floor: i8,
}

#[derive(State)]
enum OtherStage {
    UnderWay,
    Packed,
}

mismatches! {
    a_field_that_is_missing_is_named_with_those_that_there_are: wheels: u8 =>
        "no field \"wheels\"; there is type, marks, torn, stage, place, gates, numbers, raw, \
         names, last, next";
    a_field_of_another_type_is_named: torn: u64 => "value torn: expected u64, found string";
    a_field_of_a_nested_record_is_named_by_its_path: place: WrongPlace =>
        "value place.deep.boarded: expected u32, found u64";
    a_field_that_a_nested_record_does_not_have_is_named_by_its_path: last: Option<UnknownGate> =>
        "no field \"last.some.shut\"; there is open, boarded";
    a_nested_record_has_its_fields_in_their_order: place: PlaceAround =>
        "value place: expected record { deep, floor }, found record { floor, deep }";
    a_nested_record_has_all_its_fields: place: PartOfPlace =>
        "value place: expected record { floor }, found record { floor, deep }";
    a_list_of_other_items_is_named: numbers: Vec<u64> =>
        "value numbers.items: expected u64, found u32";
    a_list_is_no_option: numbers: Option<u32> =>
        "value numbers: expected an option, found list<u32>";
    a_tuple_has_as_many_items: gates: [Gate; 3] =>
        "value gates: expected a tuple of 3, found tuple<gate, gate>";
    an_enum_has_its_cases_in_their_order: stage: OtherStage =>
        "value stage: expected enum { under-way, packed }, found enum { packed, under-way }";
}

#[test]
fn a_bound_view_is_of_one_schema() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let snapshot = db.snapshot(depot(&db)).unwrap();
    let bound: Bound<Depot> = Depot::bind(snapshot.definition()).unwrap();
    let other = db.snapshot(create(&db, SCALARS, "")).unwrap();
    let Err(error) = bound.view(&other) else { panic!("it is of another schema") };
    assert!(matches!(error.kind(), ErrorKind::Mismatch { what: "schema", .. }), "{error}");
    let again = db.snapshot(depot(&db)).unwrap();
    assert_eq!(
        Depot::from(bound.view(&again).unwrap()),
        Depot::from(snapshot.view::<Depot>().unwrap())
    );
}

/// Checks that something allocates nothing.
#[track_caller]
fn check_free<T>(read: impl Fn() -> T) {
    // The first call allocates what a thread needs once.
    drop(read());
    let allocated = measure(|| drop(std::hint::black_box(read())));
    assert_eq!(allocated.count_total, 0);
}

#[test]
fn reads_allocate_nothing() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = depot(&db);
    let snapshot = db.snapshot(id).unwrap();
    let bound = Depot::bind(snapshot.definition()).unwrap();
    let sum = |snapshot: &Snapshot| {
        let view = bound.view(snapshot).unwrap();
        let numbers: u64 = view.numbers().iter().map(u64::from).sum();
        numbers + view.place().deep().boarded() + view.last().map_or(0, |gate| gate.boarded())
    };
    check_free(|| sum(&snapshot));
    check_free(|| snapshot.view::<Depot>().unwrap().r#type().len());
    check_free(|| (snapshot.get::<i8>("place.floor"), snapshot.get::<u32>("numbers.3")));
    check_free(|| db.snapshot(id).unwrap().get::<u64>("place.deep.boarded"));
    let torn = measure(|| drop(snapshot.view::<Depot>().unwrap().torn()));
    assert_eq!(torn.count_total, 1, "the count counts: what crosses a page is put together");
}

#[test]
fn a_view_stays_as_it_is_while_the_object_goes_on() {
    #[derive(State)]
    struct Counter {
        total: u64,
    }
    let fixture = Fixture::new();
    let db = fixture.open();
    let id = db.create(counter_code(OPEN)).unwrap();
    let before = db.snapshot(id).unwrap();
    let view = before.view::<Counter>().unwrap();
    db.call(id, "add", args![3u64]).wait().unwrap();
    let after = db.snapshot(id).unwrap();
    assert_eq!((view.total(), after.view::<Counter>().unwrap().total()), (0, 3));
}
