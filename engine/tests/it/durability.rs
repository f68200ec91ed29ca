//! The times of replies on a disk that is slow, broken, or cut off from its power: a relaxed reply
//! comes before the disk is done, every other one after.

use continuant::storage::ErrorKind as StorageErrorKind;
use continuant::{
    Call, Database, Durability, Error, ErrorKind, ObjectId, Options, Receipt, Result, Value, args,
    storage,
};

use crate::disk::HeldDisk;
use crate::objects::{Fixture, OPEN, START, block_on, counter_code};

fn options(disk: &HeldDisk) -> Options {
    let storage = storage::Options::new().disk(std::sync::Arc::new(disk.clone()));
    Fixture::new().options().storage(storage)
}

/// A counter in a database on a disk whose syncs wait.
struct HeldDatabase {
    disk: HeldDisk,
    db: Database,
    id: ObjectId,
}

impl HeldDatabase {
    fn new() -> HeldDatabase {
        let disk = HeldDisk::default();
        let db = options(&disk).open("db").unwrap();
        let id = db.create(counter_code(OPEN)).unwrap();
        disk.hold();
        HeldDatabase { disk, db, id }
    }

    fn call(&self, method: &str, arguments: Vec<Value>) -> Call<'_> {
        self.db.call(self.id, method, arguments)
    }

    fn total(&self) -> u64 {
        self.db.snapshot(self.id).unwrap().get("total").unwrap()
    }

    fn add(&self) -> Call<'_> {
        self.call("add", args![1u64])
    }

    fn add_relaxed(&self) -> Receipt {
        self.add().durability(Durability::Relaxed).wait().unwrap()
    }
}

impl Drop for HeldDatabase {
    /// A test that fails does not wait for its disk.
    fn drop(&mut self) {
        self.disk.release();
    }
}

#[track_caller]
pub(crate) fn assert_poisoned(error: &Error) {
    let ErrorKind::Storage(storage) = error.kind() else { panic!("{error}") };
    assert_eq!(*storage.kind(), StorageErrorKind::Poisoned, "{error}");
}

#[test]
fn a_relaxed_reply_comes_before_the_disk_is_done_and_its_ticket_after() {
    let held = HeldDatabase::new();
    let receipts = [held.add_relaxed(), held.add_relaxed()];
    held.disk.wait_for_a_sync();
    assert_eq!(receipts[1].result, Some(2u64.into()), "a step runs on what is not durable yet");
    assert_eq!(held.total(), 2, "and readers see it");
    assert!(receipts.iter().all(|receipt| !receipt.ticket.is_durable()));
    held.disk.release();
    for receipt in receipts {
        receipt.ticket.wait().unwrap();
        assert!(receipt.ticket.is_durable());
        block_on(receipt.ticket).unwrap();
    }
}

#[test]
fn outputs_are_given_when_their_version_is_durable() {
    let held = HeldDatabase::new();
    let ring = held.call("ring", args![START + 1000]).durability(Durability::Relaxed);
    let receipt = ring.wait().unwrap();
    held.disk.wait_for_a_sync();
    let error = receipt.outputs().unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotDurable), "{error}");
    held.disk.release();
    receipt.ticket.wait().unwrap();
    assert_eq!(receipt.outputs().unwrap()[0].name, "rung");
}

#[test]
fn a_durable_reply_behind_a_relaxed_one_comes_when_both_are_durable() {
    let held = HeldDatabase::new();
    let relaxed = held.add_relaxed();
    let durable = held.add().submit().unwrap();
    held.disk.wait_for_a_sync();
    let mut durable = std::pin::pin!(durable.into_future());
    assert!(poll(durable.as_mut()).is_none(), "the disk is not done");
    assert!(!relaxed.ticket.is_durable());
    held.disk.release();
    let receipt = block_on(durable).unwrap();
    assert!(relaxed.ticket.is_durable(), "what came before is durable too");
    assert!(receipt.ticket.is_durable());
    assert_eq!(receipt.result, Some(2u64.into()));
}

#[test]
fn a_refusal_comes_when_the_reply_would() {
    let held = HeldDatabase::new();
    let fail = || held.call("fail", args![]);
    let relaxed = fail().durability(Durability::Relaxed).wait().unwrap_err();
    assert!(matches!(relaxed.kind(), ErrorKind::Refused { recorded: true, .. }), "{relaxed}");
    let durable = fail().submit().unwrap();
    held.disk.wait_for_a_sync();
    let mut durable = std::pin::pin!(durable.into_future());
    assert!(poll(durable.as_mut()).is_none(), "its record is not durable");
    held.disk.release();
    assert!(block_on(durable).unwrap_err().refusal().is_some());
}

#[test]
fn a_failed_sync_is_what_every_ticket_ends_in_and_nothing_more_is_acknowledged() {
    let held = HeldDatabase::new();
    let receipt = held.add_relaxed();
    let durable = held.add().submit().unwrap();
    held.disk.wait_for_a_sync();
    held.disk.fail();
    assert_poisoned(&receipt.ticket.wait().unwrap_err());
    assert!(!receipt.ticket.is_durable());
    assert_poisoned(&receipt.outputs().unwrap_err());
    assert_poisoned(&block_on(receipt.ticket).unwrap_err());
    assert_poisoned(&durable.wait().unwrap_err());
    assert_eq!(held.disk.failed_count(), 1, "the fault fired, and no sync was tried again");
    for durability in [Durability::Relaxed, Durability::Durable] {
        assert_poisoned(&held.add().durability(durability).wait().unwrap_err());
    }
    assert_poisoned(&held.db.sync().unwrap_err());
}

#[test]
fn a_power_cut_undoes_a_relaxed_version_and_all_that_came_after() {
    let held = HeldDatabase::new();
    held.disk.release();
    let kept = held.add_relaxed();
    kept.ticket.wait().unwrap();
    held.disk.hold();
    let gone = held.add_relaxed();
    held.disk.wait_for_a_sync();
    let other = held.db.begin_create(counter_code(OPEN)).unwrap();
    let behind = held.add().submit().unwrap();
    let cut = held.disk.after_a_power_cut();
    held.disk.fail();
    assert_poisoned(&gone.ticket.wait().unwrap_err());
    assert_poisoned(&behind.wait().unwrap_err());
    assert_poisoned(&other.1.wait().unwrap_err());
    let id = held.id;
    drop(held);

    let db = options(&cut).open("db").unwrap();
    let newest = db.snapshot(id).unwrap();
    assert_eq!((newest.get("total"), newest.hash()), (Ok(1u64), kept.version));
    let lost = db.snapshot(other.0).unwrap_err();
    assert!(matches!(lost.kind(), ErrorKind::NoObject), "{lost}");
    let again = db.call(id, "add", args![1u64]).wait().unwrap();
    assert_eq!((again.header.seq, again.result), (2, Some(2u64.into())), "it goes on from there");
    db.verify(id, continuant::Replay::Yes).unwrap();
}

#[test]
fn closing_makes_what_was_relaxed_durable() {
    let disk = HeldDisk::default();
    let db = options(&disk).open("db").unwrap();
    let id = db.create(counter_code(OPEN)).unwrap();
    let relaxed = db.call(id, "add", args![1u64]).durability(Durability::Relaxed);
    let receipt = relaxed.wait().unwrap();
    db.close().unwrap();
    assert!(receipt.ticket.is_durable());
    let db = options(&disk.after_a_power_cut()).open("db").unwrap();
    assert_eq!(db.snapshot(id).unwrap().hash(), receipt.version);
}

/// The answer, if it is there.
fn poll<F: Future<Output = Result<Receipt>>>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => None,
    }
}
