//! Lists of objects: by name, code and age, in pages, over the index and the frames that it does
//! not cover yet.

use continuant::object::hash::CodeHash;
use continuant::{Code, Database, ObjectId, ObjectInfo, Objects, Time, args};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::objects::{Fixture, OPEN, START, counter, counter_code, labelled};

const NAMES: [&str; 7] = ["", "a", "ab", "ab/c", "ä", "z\u{10ffff}", "ab/cd"];

/// Objects of two codes, most with names that begin alike, made and changed over ten seconds, the
/// older ones in the index.
fn populated(fixture: &Fixture, rng: &mut StdRng) -> Database {
    let mut db = fixture.open();
    let mut ids = Vec::new();
    for step in 0..80_u64 {
        if step == 50 {
            db.close().unwrap();
            db = fixture.open();
        }
        db.advance_clock(Time::from_millis(START + step * 125)).unwrap();
        let is_counter = rng.random_bool(0.5);
        let code = match is_counter {
            true => counter_code(OPEN),
            false => Code::wasm(labelled()).unwrap().policy(OPEN).args(args!["one"]),
        };
        let begin = NAMES[rng.random_range(0..NAMES.len())];
        let name = format!("{begin}{step}");
        let id = db.create(if begin.is_empty() { code } else { code.name(name) }).unwrap();
        ids.push((id, is_counter));
        let (id, is_counter) = ids[rng.random_range(0..ids.len())];
        if is_counter {
            db.call(id, "add", args![1u64]).wait().unwrap();
        }
    }
    db
}

#[derive(Debug)]
struct Filter {
    name: &'static str,
    code: Option<CodeHash>,
    created: (u64, u64),
    changed: (u64, u64),
}

impl Filter {
    fn draw(rng: &mut StdRng) -> Filter {
        let time = |rng: &mut StdRng| match rng.random_bool(0.5) {
            true => (0, u64::MAX),
            false => {
                let since = START + rng.random_range(0..10_000);
                (since, since + rng.random_range(0..8_000))
            }
        };
        let codes = [None, Some(CodeHash::of(&counter())), Some(CodeHash([7; 32]))];
        Filter {
            name: NAMES[rng.random_range(0..NAMES.len())],
            code: codes[rng.random_range(0..30) / 14],
            created: time(rng),
            changed: time(rng),
        }
    }

    fn fits(&self, info: &ObjectInfo) -> bool {
        let name = info.name.as_deref();
        (self.name.is_empty() || name.is_some_and(|name| name.starts_with(self.name)))
            && self.code.is_none_or(|code| code == info.code)
            && info.created >= Time::from_millis(self.created.0)
            && info.created <= Time::from_millis(self.created.1)
            && info.time >= Time::from_millis(self.changed.0)
            && info.time <= Time::from_millis(self.changed.1)
    }

    fn of<'a>(&self, db: &'a Database) -> Objects<'a> {
        let objects = db.objects().named(self.name).code(self.code);
        let objects = objects
            .created_since(Time::from_millis(self.created.0))
            .created_until(Time::from_millis(self.created.1));
        objects
            .changed_since(Time::from_millis(self.changed.0))
            .changed_until(Time::from_millis(self.changed.1))
    }
}

fn ids(objects: Objects<'_>) -> Vec<ObjectId> {
    objects.map(|info| info.unwrap().id).collect()
}

#[test]
fn any_list_in_pages_of_any_size_is_what_a_look_at_all_says() {
    const SEED: u64 = 21;
    let mut rng = StdRng::seed_from_u64(SEED);
    let fixture = Fixture::new();
    let db = populated(&fixture, &mut rng);
    let all: Vec<ObjectInfo> = db.objects().map(Result::unwrap).collect();
    assert!(all.len() == 80 && all.is_sorted_by_key(|info| info.id));
    let (mut empty, mut full) = (0, 0);
    for _ in 0..400 {
        let filter = Filter::draw(&mut rng);
        let fitting = all.iter().filter(|info| filter.fits(info)).map(|info| info.id);
        let expected: Vec<ObjectId> = fitting.collect();
        assert_eq!(ids(filter.of(&db)), expected, "seed {SEED}: {filter:?}");
        let count = rng.random_range(1..12);
        let (mut paged, mut last) = (Vec::new(), None);
        loop {
            let page = ids(filter.of(&db).after(last).limit(count));
            assert!(page.len() <= count);
            let Some(id) = page.last() else { break };
            last = Some(*id);
            paged.extend(page);
        }
        assert_eq!(paged, expected, "seed {SEED}: {filter:?} by {count}");
        empty += usize::from(expected.is_empty());
        full += usize::from(expected.len() > 10);
    }
    assert!(empty > 20 && full > 20, "{empty} empty, {full} with more than ten");
}

#[test]
fn a_list_goes_on_behind_an_object_that_there_is_not() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let mut made: Vec<_> = (0..5).map(|_| db.create(counter_code(OPEN)).unwrap()).collect();
    made.sort_unstable();
    let mut between = made[1];
    between.0[31] = between.0[31].wrapping_add(1);
    let behind: Vec<_> = made.iter().copied().filter(|id| *id > between).collect();
    assert_eq!(ids(db.objects().after(between)), behind);
    assert_eq!(ids(db.objects().limit(0)), []);
    let mut one = db.objects().limit(1);
    assert_eq!(one.next().unwrap().unwrap().id, made[0]);
    assert!(one.next().is_none() && one.next().is_none());
}
