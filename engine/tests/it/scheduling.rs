//! The order of work: a hot object gives way to others, a closing database finishes the submitted
//! work, and one without workers works when a caller waits.

use std::sync::Arc;

use continuant::{Database, Durability, ObjectId, Options, Pending, Receipt, Time, args, storage};

use crate::disk::HeldDisk;
use crate::durability::assert_poisoned;
use crate::objects::{Fixture, OPEN, START, counter_code};

/// Steps that one turn takes, at most.
const TURN_STEPS: usize = 64;
/// A wake that does not come.
const FAR: u64 = START + 1_000_000_000;

/// Options for this disk, with segments so small that the log soon moves to the next one.
fn on(disk: &HeldDisk) -> storage::Options {
    storage::Options::new().disk(Arc::new(disk.clone())).segment_bytes(64 << 10)
}

fn options(storage: storage::Options) -> Options {
    Fixture::new().options().storage(storage)
}

fn counters(db: &Database, count: usize) -> Vec<ObjectId> {
    (0..count).map(|_| db.create(counter_code(OPEN)).unwrap()).collect()
}

/// Submits a call that emits an output.
fn ring(db: &Database, id: ObjectId) -> Pending {
    db.call(id, "ring", args![FAR]).durability(Durability::Relaxed).submit().unwrap()
}

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

/// Runs it on a thread that has the stack to work.
fn working(run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(continuant::STACK_BYTES).spawn(run);
    thread.unwrap().join().unwrap();
}

fn without_workers(fixture: &Fixture) -> Database {
    fixture.open_with(fixture.options().workers(0))
}

#[test]
fn a_hot_object_keeps_a_worker_from_others_for_one_turn() {
    let disk = HeldDisk::default();
    // The log takes one frame more than the disk is done with, so a worker comes to a halt.
    let options = options(on(&disk).group_bytes_max(1));
    let db = options.workers(1).open("db").unwrap();
    let ids = counters(&db, 8);
    let (busy, hot, others) = (ids[0], ids[1], &ids[2..]);
    disk.hold();
    let mut calls: Vec<Pending> = (0..10).map(|_| ring(&db, busy)).collect();
    disk.wait_for_a_sync();
    calls.extend((0..200).map(|_| ring(&db, hot)));
    calls.extend(others.iter().map(|id| ring(&db, *id)));
    disk.release();
    calls.into_iter().for_each(|call| drop(call.wait().unwrap()));
    db.sync().unwrap();
    let mut outbox = db.create_outbox("order").unwrap();
    let order: Vec<ObjectId> =
        std::iter::from_fn(|| outbox.next().transpose().unwrap()).map(|it| it.object).collect();
    assert_eq!(order.len(), 10 + 200 + others.len());
    let places = others.iter().map(|id| order.iter().position(|of| of == id).unwrap());
    let last = places.max().unwrap();
    let before = order[..last].iter().filter(|id| **id == hot).count();
    assert!((1..=TURN_STEPS).contains(&before), "{before} steps of the hot object came first");
}

#[test]
fn an_object_that_is_called_without_end_has_one_turn_in_a_round() {
    working(|| {
        let fixture = Fixture::new();
        let db = without_workers(&fixture);
        let ids = counters(&db, 6);
        let add = |id| {
            let call = db.call(id, "add", args![1u64]);
            call.durability(Durability::Relaxed).submit().unwrap()
        };
        (0..500).for_each(|_| drop(add(ids[0])));
        let calls: Vec<Pending> = ids[1..].iter().map(|id| add(*id)).collect();
        let mut turns = Vec::new();
        while !calls.iter().all(Pending::is_answered) {
            turns.push(db.work(0).unwrap());
            (0..TURN_STEPS).for_each(|_| drop(add(ids[0])));
        }
        assert_eq!(turns, ids);
        assert_eq!(total(&db, ids[0]), TURN_STEPS as u64);
    });
}

/// Traps, endless loops, endless recursion and all the memory that there is: each costs what its
/// fuel lets it, and the others are what they would be without.
#[test]
fn bombs_in_one_object_cost_others_their_fuel_and_no_more() {
    working(|| {
        let fixture = Fixture::new();
        let fuel = 10_000;
        let db = fixture.open_with(fixture.options().workers(0).fuel_max(fuel));
        let ids = counters(&db, 4);
        let bombs = ["spin", "fail", "deep", "grow"];
        let light = |id, method: &str| {
            let arguments = if method == "grow" { args![u32::MAX] } else { args![] };
            let call = db.call(id, method, arguments);
            call.durability(Durability::Relaxed).submit().unwrap()
        };
        let thrown: Vec<Pending> =
            bombs.into_iter().cycle().take(200).map(|bomb| light(ids[0], bomb)).collect();
        let calls: Vec<Pending> =
            ids[1..].iter().map(|id| db.call(*id, "add", args![5u64]).submit().unwrap()).collect();
        assert_eq!(db.work(0), Some(ids[0]));
        let refused = db.metrics().refusals.sum();
        assert!((1..=TURN_STEPS as u64).contains(&refused), "{refused} bombs went off in a turn");
        for id in &ids[1..] {
            assert_eq!(db.work(0), Some(*id), "each of the others is next");
        }
        calls.into_iter().for_each(|call| assert_eq!(call.wait().unwrap().header.seq, 1));
        let outcomes: Vec<bool> = thrown.into_iter().map(|bomb| bomb.wait().is_ok()).collect();
        // A request for memory that is not available is no offence.
        let harmless = outcomes.iter().filter(|ok| **ok).count();
        assert_eq!(harmless, 200 / bombs.len());
        assert_eq!(total(&db, ids[0]), 5, "what `grow` writes");
        assert!(ids[1..].iter().all(|id| total(&db, *id) == 5));
        let verified = ids.iter().map(|id| db.verify(*id, continuant::Replay::Yes).unwrap());
        assert!(verified.into_iter().all(|it| it.versions > 1));
        let costs = (1..=harmless as u64).map(|seq| db.at(ids[0], seq).unwrap().header().fuel);
        assert!(costs.into_iter().all(|cost| (1..=fuel).contains(&cost)));
    });
}

#[test]
fn an_object_is_on_the_run_queue_once_and_not_at_all_without_mail() {
    working(|| {
        let fixture = Fixture::new();
        let db = without_workers(&fixture);
        let ids = counters(&db, 3);
        assert_eq!((db.work(0), db.metrics().objects_queued), (None, 0));
        let calls = ids.iter().cycle().take(30);
        let calls: Vec<Pending> =
            calls.map(|id| db.call(*id, "add", args![1u64]).submit().unwrap()).collect();
        assert_eq!((db.metrics().objects_queued, db.metrics().letters_waiting), (3, 30));
        // Counted round: the second of three, the first of two, and the one that is left.
        let turns = [7, 2, 5].map(|place| db.work(place).unwrap());
        assert_eq!(turns, [ids[1], ids[0], ids[2]]);
        assert_eq!((db.work(0), db.metrics().objects_queued), (None, 0));
        assert!(!calls[0].is_answered(), "nobody waited for the log");
        db.sync().unwrap();
        assert!(calls.iter().all(Pending::is_answered));
    });
}

#[test]
fn threads_that_wait_share_the_work_of_a_database_without_workers() {
    let fixture = Fixture::new();
    let db = Arc::new(without_workers(&fixture));
    let of_creator = Arc::clone(&db);
    let (sender, ids) = std::sync::mpsc::channel();
    working(move || sender.send(counters(&of_creator, 3)).unwrap());
    let ids = ids.recv().unwrap();
    std::thread::scope(|scope| {
        for index in 0..4 {
            let (db, ids) = (&db, &ids);
            let thread = std::thread::Builder::new().stack_size(continuant::STACK_BYTES);
            let run = move || {
                for round in 0..30 {
                    let of = |place: usize| ids[(index + round + place) % ids.len()];
                    if round % 5 == 0 {
                        let both = [0, 1].map(|place| db.call(of(place), "add", args![1u64]));
                        db.transaction(both).wait().unwrap();
                    } else {
                        db.call(of(0), "add", args![1u64]).wait().unwrap();
                    }
                }
            };
            thread.spawn_scoped(scope, run).unwrap();
        }
    });
    assert_eq!(ids.iter().map(|id| total(&db, *id)).sum::<u64>(), 4 * (30 + 6));
}

/// Regression: the database looked for due wakes before it did the work that sets them.
#[test]
fn what_was_submitted_may_set_a_wake_that_is_due_at_once() {
    working(|| {
        let fixture = Fixture::new();
        let db = without_workers(&fixture);
        let id = counters(&db, 1)[0];
        let call = db.call(id, "ring", args![START + 5]).submit().unwrap();
        db.run_until(Time::from_millis(START + 10)).unwrap();
        assert_eq!((total(&db, id), db.next_wake()), (1, Some(Time::from_millis(START + 1_005))));
        call.wait().unwrap();
    });
}

/// Fifty calls of each of these, alone and together, some of them relaxed.
fn submit(db: &Database, ids: &[ObjectId]) -> (Vec<Pending>, Vec<Pending<Vec<Receipt>>>) {
    let call = |id: &ObjectId| db.call(*id, "add", args![1u64]);
    let alone = (0..40).flat_map(|round| {
        let durability = [Durability::Durable, Durability::Relaxed][round % 2];
        ids.iter().map(move |id| call(id).durability(durability).submit().unwrap())
    });
    let alone = alone.collect();
    let together = (0..10).map(|_| db.transaction(ids.iter().map(call)).submit().unwrap());
    (alone, together.collect())
}

#[test]
fn closing_ends_what_was_submitted_and_all_of_it_is_durable() {
    for workers in [0, 1, 2] {
        working(move || {
            let disk = HeldDisk::default();
            let db = options(on(&disk)).workers(workers).open("db").unwrap();
            let ids = counters(&db, 3);
            let (alone, together) = submit(&db, &ids);
            db.close().unwrap();
            for receipt in alone.into_iter().map(|call| call.wait().unwrap()) {
                assert!(receipt.ticket.is_durable());
            }
            assert!(together.into_iter().all(|call| call.wait().is_ok()));
            let disk = disk.after_a_power_cut();
            let db = options(on(&disk)).open("db").unwrap();
            assert!(ids.iter().all(|id| total(&db, *id) == 50));
        });
    }
}

#[test]
fn closing_on_a_disk_that_fails_says_what_is_not_durable() {
    for workers in [0, 1, 2] {
        working(move || {
            let disk = HeldDisk::default();
            let db = options(on(&disk)).workers(workers).open("db").unwrap();
            let ids = counters(&db, 3);
            for id in &ids {
                db.call(*id, "add", args![1u64]).wait().unwrap();
            }
            disk.fail();
            let (alone, together) = submit(&db, &ids);
            assert_poisoned(&db.close().unwrap_err());
            for answer in alone.into_iter().map(Pending::wait) {
                // A relaxed call may have been answered before the disk failed.
                let durable = answer.and_then(|receipt| receipt.ticket.wait());
                assert_poisoned(&durable.unwrap_err());
            }
            for answer in together.into_iter().map(Pending::wait) {
                assert_poisoned(&answer.unwrap_err());
            }
            assert!(disk.failed_count() > 0);
            let disk = disk.after_a_power_cut();
            let db = options(on(&disk)).open("db").unwrap();
            assert!(
                ids.iter().all(|id| total(&db, *id) == 1),
                "what was acknowledged, and no more"
            );
        });
    }
}
