//! Calls of several objects that are admitted together or not at all, alone and against many.

use std::collections::{BTreeMap, HashMap};

use continuant::{
    Call, Database, Durability, ErrorKind, ObjectId, Options, Receipt, Replay, SigningKey, Time,
    args, storage,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::disk::HeldDisk;
use crate::objects::{Fixture, OPEN, START, block_on, counter_code};

/// Anyone may add, also less than nothing, while the total is from 0 to 1000.
const ACCOUNT: &str = r#"@id("open") permit(principal, action, resource);
    @id("covered") forbid(principal, action, resource) when { context.after.total > 1000 };"#;

fn accounts(db: &Database, count: usize) -> Vec<ObjectId> {
    let create = |_| db.create(counter_code(ACCOUNT)).unwrap();
    (0..count).map(create).collect()
}

fn add(db: &Database, id: ObjectId, amount: i64) -> Call<'_> {
    db.call(id, "add", args![amount.cast_unsigned()])
}

fn total(db: &Database, id: ObjectId) -> u64 {
    db.snapshot(id).unwrap().get("total").unwrap()
}

fn seq(db: &Database, id: ObjectId) -> u64 {
    db.info(id).unwrap().seq
}

fn refusals(db: &Database, id: ObjectId) -> usize {
    db.history(id).refused().count()
}

#[test]
fn all_are_admitted_or_none_is() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = accounts(&db, 3);
    let each = |amounts: [i64; 3]| {
        let calls = ids.iter().zip(amounts).map(|(id, amount)| add(&db, *id, amount));
        db.transaction(calls.collect::<Vec<_>>())
    };
    let receipts = each([10, 20, 30]).wait().unwrap();
    let found: Vec<_> = receipts.iter().map(|it| (it.object, it.result.clone())).collect();
    let expected = [10u64, 20, 30].map(|total| Some(total.into()));
    assert_eq!(found, ids.iter().copied().zip(expected).collect::<Vec<_>>());
    for refused in 0..3 {
        let mut amounts = [1, 1, 1];
        amounts[refused] = -100;
        let error = each(amounts).wait().unwrap_err();
        assert_eq!(error.object(), Some(ids[refused]));
        let verdict = error.refusal().unwrap();
        assert_eq!(verdict.rules, Vec::<String>::new(), "it is above what a rule can count to");
        assert_eq!(ids.iter().map(|id| total(&db, *id)).collect::<Vec<_>>(), [10, 20, 30]);
        assert_eq!(ids.iter().map(|id| seq(&db, *id)).collect::<Vec<_>>(), [1, 1, 1]);
        assert_eq!(refusals(&db, ids[refused]), 1, "the one that refuses has it on record");
    }
    each([-10, -20, -30]).wait().unwrap();
    for id in &ids {
        let verified = db.verify(*id, Replay::Yes).unwrap();
        assert_eq!((verified.versions, verified.refusals), (3, 1));
    }
}

#[test]
fn a_step_that_traps_or_never_ends_undoes_the_others() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = accounts(&db, 2);
    for method in ["fail", "spin", "deep"] {
        for order in [[0, 1], [1, 0]] {
            let mut calls = vec![add(&db, ids[0], 5), db.call(ids[1], method, args![])];
            if order[0] == 1 {
                calls.reverse();
            }
            let error = db.transaction(calls).wait().unwrap_err();
            assert_eq!(error.object(), Some(ids[1]), "{error}");
        }
    }
    assert_eq!((total(&db, ids[0]), total(&db, ids[1])), (0, 0));
    // The instance that both of them have run in is fit for what follows.
    db.transaction([add(&db, ids[1], 7), add(&db, ids[0], 5)]).wait().unwrap();
    assert_eq!((total(&db, ids[0]), total(&db, ids[1])), (5, 7));
    assert!(ids.iter().all(|id| db.verify(*id, Replay::Yes).is_ok()));
}

#[test]
fn what_cannot_be_a_transaction_is_said_before_anything_is_posted() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().transaction_max(2));
    let ids = accounts(&db, 3);
    let kind = |calls: Vec<Call<'_>>| format!("{:?}", db.transaction(calls).submit().unwrap_err());
    assert!(kind(vec![]).contains("Limit"));
    assert!(kind(ids.iter().map(|id| add(&db, *id, 1)).collect()).contains("Limit"));
    assert!(kind(vec![add(&db, ids[0], 1), add(&db, ids[0], 1)]).contains("Twice"));
    let nobody = ObjectId([9; 32]);
    assert!(kind(vec![add(&db, ids[0], 1), add(&db, nobody, 1)]).contains("NoObject"));
    assert!(kind(vec![add(&db, ids[0], 1), add(&db, ids[1], 1).nonce(1)]).contains("NotSigned"));
    assert!(ids.iter().all(|id| seq(&db, *id) == 0));
    db.transaction([add(&db, ids[0], 1)]).wait().unwrap();
}

#[test]
fn each_call_is_signed_for_itself_and_admitted_once() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let key = SigningKey::from_secret(&[3; 32]);
    let policy = format!(
        r#"@id("holder") permit(principal == Key::"{}", action == Action::"add", resource);"#,
        key.public()
    );
    let ids = [(); 2].map(|()| db.create(counter_code(&policy)).unwrap());
    let calls = || ids.map(|id| add(&db, id, 1).signed(&key));
    db.transaction(calls()).wait().unwrap();
    let [first, second] = ids.map(|id| add(&db, id, 1));
    let error = db.transaction([first.signed(&key), second]).wait().unwrap_err();
    assert_eq!(error.object(), Some(ids[1]));
    db.transaction(calls().map(|call| call.nonce(u64::MAX - 1))).wait().unwrap();
    let replayed = db.transaction(calls().map(|call| call.nonce(u64::MAX - 1))).wait();
    assert_eq!(replayed.unwrap_err().refusal().unwrap().reason.name(), "replayed");
    assert_eq!(ids.map(|id| total(&db, id)), [2, 2]);
}

#[test]
fn wakes_that_are_due_run_before_each_of_the_inputs() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().cycles(false));
    let ids = [(); 2].map(|()| db.create(counter_code(OPEN)).unwrap());
    for id in ids {
        db.call(id, "ring", args![START + 1000]).wait().unwrap();
    }
    db.advance_clock(Time::from_millis(START + 70_000)).unwrap();
    let receipts = db.transaction(ids.map(|id| add(&db, id, 1000))).wait().unwrap();
    for receipt in receipts {
        // Each object woke once a second for 70 seconds, more often than it may run in one turn.
        assert_eq!((receipt.header.seq, receipt.result), (72, Some(1070u64.into())));
    }
}

#[test]
fn a_power_cut_leaves_all_of_a_transaction_or_nothing() {
    let disk = HeldDisk::default();
    let options = |disk: &HeldDisk| {
        let storage = storage::Options::new().disk(std::sync::Arc::new(disk.clone()));
        Fixture::new().options().storage(storage)
    };
    let db = options(&disk).open("db").unwrap();
    let ids = accounts(&db, 2);
    db.transaction([add(&db, ids[0], 1), add(&db, ids[1], 2)]).wait().unwrap();
    disk.hold();
    let calls = [add(&db, ids[0], 10), add(&db, ids[1], 20)];
    let calls = calls.map(|call| call.durability(Durability::Relaxed));
    let receipts = db.transaction(calls).wait().unwrap();
    assert!(receipts.iter().all(|receipt| !receipt.ticket.is_durable()));
    assert_eq!((total(&db, ids[0]), total(&db, ids[1])), (11, 22), "readers see it");
    disk.wait_for_a_sync();
    let cut = disk.after_a_power_cut();
    let after = options(&cut).open("db").unwrap();
    assert_eq!((total(&after, ids[0]), total(&after, ids[1])), (1, 2));
    disk.release();
    for receipt in receipts {
        receipt.ticket.wait().unwrap();
    }
    let cut = disk.after_a_power_cut();
    let after = options(&cut).open("db").unwrap();
    assert_eq!((total(&after, ids[0]), total(&after, ids[1])), (11, 22));
}

#[test]
fn a_transaction_is_awaited_and_one_without_waiting_for_is_done_before_the_database_closes() {
    let fixture = Fixture::new();
    let db = fixture.open();
    let ids = accounts(&db, 4);
    block_on(async {
        db.transaction([add(&db, ids[0], 1), add(&db, ids[1], 1)]).await.unwrap();
    });
    let mut pending = Vec::new();
    for turn in 0..200 {
        let pair = [ids[turn % 4], ids[(turn + 1 + turn % 3) % 4]];
        pending.push(db.transaction(pair.map(|id| add(&db, id, 1))).submit().unwrap());
    }
    drop(db);
    assert!(pending.into_iter().all(|pending| pending.wait().is_ok()));
    let db = fixture.open();
    assert_eq!(ids.iter().map(|id| total(&db, *id)).sum::<u64>(), 402);
}

#[test]
fn objects_that_leave_memory_come_back_for_transactions() {
    let fixture = Fixture::new();
    let db = fixture.open_with(fixture.options().resident_bytes_max(0));
    let ids = accounts(&db, 8);
    for turn in 0..100 {
        let three = [ids[turn % 8], ids[(turn + 3) % 8], ids[(turn + 5) % 8]];
        db.transaction(three.map(|id| add(&db, id, 1))).wait().unwrap();
    }
    assert_eq!(ids.iter().map(|id| total(&db, *id)).sum::<u64>(), 300);
}

#[test]
fn a_full_mailbox_turns_a_transaction_away_whole() {
    let disk = HeldDisk::default();
    let storage = storage::Options::new().disk(std::sync::Arc::new(disk.clone()));
    let options: Options = Fixture::new().options().mailbox_max(1).workers(1).storage(storage);
    let db = options.open("db").unwrap();
    let ids = accounts(&db, 2);
    // While the only worker is busy with one object, the other's mail waits.
    let busy = db.create(counter_code(OPEN)).unwrap();
    let spinning = db.call(busy, "spin", args![]).submit().unwrap();
    let mut accepted =
        vec![db.transaction(ids.iter().map(|id| add(&db, *id, 1))).submit().unwrap()];
    let mut full = None;
    while full.is_none() && accepted.len() < 10_000 {
        match db.transaction(ids.iter().map(|id| add(&db, *id, 1))).submit() {
            Ok(pending) => accepted.push(pending),
            Err(error) => full = Some(error),
        }
    }
    let error = full.expect("a worker that spins takes longer than ten thousand letters");
    assert!(matches!(error.kind(), ErrorKind::MailboxFull { max: 1 }), "{error}");
    let count = accepted.len() as u64;
    assert!(accepted.into_iter().all(|pending| pending.wait().is_ok()));
    assert!(spinning.wait().is_err());
    assert_eq!(ids.iter().map(|id| total(&db, *id)).collect::<Vec<_>>(), [count; 2]);
}

/// The history of a client: the versions that each of its transactions made, in order.
type Client = Vec<Vec<(ObjectId, u64)>>;

fn made(receipts: &[Receipt]) -> Vec<(ObjectId, u64)> {
    receipts.iter().map(|receipt| (receipt.object, receipt.header.seq)).collect()
}

/// Transfers between random accounts, three of them at times, and single calls, for a while.
fn client(db: &Database, ids: &[ObjectId], seed: u64) -> (Client, i64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut done, mut given) = (Client::new(), 0);
    for _ in 0..120 {
        let amount = rng.random_range(1..20);
        if rng.random_bool(0.2) {
            let id = ids[rng.random_range(0..ids.len())];
            if let Ok(receipt) = add(db, id, amount).wait() {
                done.push(made(&[receipt]));
                given += amount;
            }
            continue;
        }
        let mut all = ids.to_vec();
        let mut draw = || all.swap_remove(rng.random_range(0..all.len()));
        let (one, other, third) = (draw(), draw(), draw());
        let calls = match rng.random_bool(0.3) {
            true => vec![add(db, one, -2 * amount), add(db, other, amount), add(db, third, amount)],
            false => vec![add(db, one, -amount), add(db, other, amount)],
        };
        // Calls do not wait for the disk, so that they meet each other more often.
        let relaxed = calls.into_iter().map(|call| call.durability(Durability::Relaxed));
        match db.transaction(relaxed.collect::<Vec<_>>()).wait() {
            Ok(receipts) => done.push(made(&receipts)),
            Err(error) => assert!(error.refusal().is_some(), "{error}"),
        }
    }
    (done, given)
}

/// Returns whether all transactions have an order that keeps each client's order and each object's
/// order of versions; a cycle of predecessors means that they do not.
fn is_serializable(clients: &[Client]) -> bool {
    let mut after: Vec<Vec<usize>> = Vec::new();
    let mut versions: HashMap<ObjectId, BTreeMap<u64, usize>> = HashMap::new();
    for client in clients {
        for (index, made) in client.iter().enumerate() {
            let this = after.len();
            after.push(Vec::new());
            if index > 0 {
                after[this - 1].push(this);
            }
            for (object, seq) in made {
                assert!(versions.entry(*object).or_default().insert(*seq, this).is_none());
            }
        }
    }
    for of_object in versions.values() {
        let order: Vec<usize> = of_object.values().copied().collect();
        order.windows(2).for_each(|pair| after[pair[0]].push(pair[1]));
    }
    let mut before = vec![0; after.len()];
    after.iter().flatten().for_each(|&next| before[next] += 1);
    let mut free: Vec<usize> = (0..after.len()).filter(|&index| before[index] == 0).collect();
    let mut count = 0;
    while let Some(this) = free.pop() {
        count += 1;
        for &next in &after[this] {
            before[next] -= 1;
            if before[next] == 0 {
                free.push(next);
            }
        }
    }
    count == after.len()
}

#[test]
fn random_histories_of_many_clients_are_serializable_and_lose_nothing() {
    for (round, workers) in [1, 2, 4].into_iter().enumerate() {
        let fixture = Fixture::new();
        let db = fixture.open_with(fixture.options().workers(workers));
        let ids = accounts(&db, 6);
        for id in &ids {
            add(&db, *id, 100).wait().unwrap();
        }
        let done: Vec<(Client, i64)> = std::thread::scope(|scope| {
            let seeds = (0..6).map(|client| 1000 * round as u64 + client);
            let spawn = |seed| {
                scope.spawn({
                    let (db, ids) = (&db, &ids);
                    move || client(db, ids, seed)
                })
            };
            let clients: Vec<_> = seeds.map(spawn).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let (clients, given): (Vec<Client>, Vec<i64>) = done.into_iter().unzip();
        assert!(clients.iter().map(Vec::len).sum::<usize>() > 100, "they got something done");
        assert!(is_serializable(&clients));
        let expected = 600 + given.iter().sum::<i64>().cast_unsigned();
        db.sync().unwrap();
        drop(db);
        let db = fixture.open();
        assert_eq!(ids.iter().map(|id| total(&db, *id)).sum::<u64>(), expected);
        assert!(ids.iter().all(|id| db.verify(*id, Replay::No).is_ok()));
    }
}

#[test]
fn the_checker_of_histories_finds_a_cycle() {
    let [one, other] = [ObjectId([1; 32]), ObjectId([2; 32])];
    let right = [vec![vec![(one, 1), (other, 1)]], vec![vec![(one, 2), (other, 2)]]];
    let wrong = [vec![vec![(one, 1), (other, 2)]], vec![vec![(one, 2), (other, 1)]]];
    let stale = [vec![vec![(one, 2)], vec![(other, 1)]], vec![vec![(other, 2)], vec![(one, 1)]]];
    assert!(is_serializable(&right) && !is_serializable(&wrong) && !is_serializable(&stale));
}
