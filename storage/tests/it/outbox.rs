//! Outboxes: every output, in the order of the log, from the last acknowledged one, with any files
//! lost or retention in between.

use continuant_storage::{ErrorKind, Outbox, Outgoing, Retention};
use object::commit::Commit;
use object::effects::Effects;
use object::hash::VersionHash;
use object::time::Time;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, reopen, small};

/// An output: its version, and its place in it.
type Known = (VersionHash, u32);

/// Returns the outputs of some records, in order.
fn outputs(made: &[Made]) -> Vec<Known> {
    let mut known = Vec::new();
    for made in made {
        let Made::Version { bytes, .. } = made else { continue };
        let commit = Commit::decode(bytes).unwrap();
        let effects = Effects::decode(commit.effects).unwrap();
        known.extend((0..effects.outputs.len() as u32).map(|index| (commit.header.hash(), index)));
    }
    known
}

fn known(outgoing: &Outgoing) -> Known {
    (outgoing.version, outgoing.index)
}

fn all(outbox: &mut Outbox<'_>) -> Vec<Known> {
    std::iter::from_fn(|| outbox.next().transpose().unwrap())
        .map(|outgoing| known(&outgoing))
        .collect()
}

/// Regression: a frame that could not be read was an error without end.
#[test]
fn a_damaged_frame_is_one_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (_, genesis) = Author::at(1, 5);
    append(&store, &[genesis], &[]).unwrap();
    drop(store.create_outbox("mail").unwrap());
    // A byte of the first frame's body.
    let log = path.join("log/00000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[300] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    for _ in 0..2 {
        let mut outbox = store.outbox("mail").unwrap();
        let error = outbox.next().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{error}");
        assert!(outbox.next().is_none(), "an error ends it");
    }
}

#[test]
fn outputs_are_given_in_order_and_again_until_they_are_acknowledged() {
    let seeds = if std::env::var_os("RUN_SLOW_TESTS").is_some() { 60 } else { 4 };
    for seed in 0..seeds {
        let mut rng = StdRng::seed_from_u64(seed);
        let directory = TempDir::new().unwrap();
        let mut path = directory.path().join("db");
        let mut store = small().recent_rows_max(2).open(&path).unwrap();
        store.set_retention(None, Retention::Versions(1)).unwrap();
        let mut authors: Vec<Author> = Vec::new();
        let (mut expected, mut acknowledged) = (Vec::new(), 0);
        drop(store.create_outbox("mail").unwrap());
        for round in 0..60 {
            if authors.len() < 3 {
                let (author, genesis) = Author::new(100 * seed + round);
                append(&store, &[genesis], &[]).unwrap();
                authors.push(author);
            }
            for _ in 0..rng.random_range(1..8) {
                let index = rng.random_range(0..authors.len());
                let made: Vec<_> = (0..3).map(|_| authors[index].next()).collect();
                expected.extend(outputs(&made));
                append(&store, &made, &[]).unwrap();
            }
            let mut outbox = store.outbox("mail").unwrap();
            for _ in 0..rng.random_range(0..12) {
                let Some(outgoing) = outbox.next().transpose().unwrap() else { break };
                assert_eq!(known(&outgoing), expected[acknowledged], "seed {seed}");
                outbox.acknowledge(outgoing.place).unwrap();
                acknowledged += 1;
            }
            assert_eq!(all(&mut store.outbox("mail").unwrap()), expected[acknowledged..]);
            store.sync().unwrap();
            match rng.random_range(0..10) {
                0 => store.checkpoint().unwrap(),
                1 | 2 => drop(store.compact(Time::MIN, |_, _| {}).unwrap()),
                what @ (3 | 4) => store = reopen(store, &mut path, what == 3),
                5 => assert_sound(&store),
                _ => {}
            }
        }
        assert_sound(&store);
        assert!(expected.len() > 100 && acknowledged > 30);
    }
}

#[test]
fn an_outbox_goes_on_while_the_log_does() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let mut outbox = store.create_outbox("mail").unwrap();
    for _ in 0..200 {
        let made = [author.next()];
        append(&store, &made, &[]).unwrap();
        assert_eq!(all(&mut outbox), outputs(&made));
    }
}

#[test]
fn outboxes_are_of_names_and_do_not_know_of_each_other() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = small().open(&path).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    let made: Vec<_> = (0..20).map(|_| author.next()).collect();
    append(&store, &made, &[]).unwrap();
    let expected = outputs(&made);
    let (mut one, other) =
        (store.create_outbox("one").unwrap(), store.create_outbox("other").unwrap());
    let first = one.next().transpose().unwrap().unwrap();
    let second = one.next().transpose().unwrap().unwrap();
    one.acknowledge(second.place).unwrap();
    one.acknowledge(first.place).unwrap();
    assert_eq!(all(&mut store.outbox("one").unwrap()), expected[2..], "it never goes back");
    assert_eq!(all(&mut store.outbox("other").unwrap()), expected);
    assert_eq!(second.token(), format!("{}-{}", second.version, second.index));
    assert_eq!(store.outboxes(), ["one", "other"]);
    assert!(store.remove_outbox("other").unwrap() && !store.remove_outbox("other").unwrap());
    let error = other.acknowledge(second.place).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{error}");
    assert!(matches!(store.create_outbox("\n").unwrap_err().kind(), ErrorKind::Name { .. }));
    let error = store.outbox("on").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { what: "outbox", .. }), "{error}");
    assert_eq!(store.outboxes(), ["one"], "to look for one makes none");
    drop((one, other));
    drop(store);
    assert_eq!(small().open(&path).unwrap().outboxes(), ["one"]);
}

/// An imported object's outputs went out elsewhere, when they were made.
#[test]
fn what_is_imported_does_not_go_out() {
    let directory = TempDir::new().unwrap();
    let from = small().open(directory.path().join("from")).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&from, &[genesis], &[]).unwrap();
    let made: Vec<_> = (0..20).map(|_| author.next()).collect();
    append(&from, &made, &[]).unwrap();
    let mut bytes = Vec::new();
    from.export(author.head.id, &mut bytes, |_, _| {}).unwrap();
    let mut reader = continuant_storage::CapsuleReader::new(&bytes[..]).unwrap();
    while reader.next().unwrap().is_some() {}
    let to = small().open(directory.path().join("to")).unwrap();
    to.import(&bytes[..], &author.head, reader.seal().unwrap()).unwrap();
    assert!(all(&mut to.create_outbox("mail").unwrap()).is_empty());
    let made = [author.next(), author.next(), author.next()];
    append(&to, &made, &[]).unwrap();
    assert_eq!(all(&mut to.outbox("mail").unwrap()), outputs(&made));
}

/// Acknowledged outputs hold nothing back, nor do versions without outputs.
#[test]
fn an_outbox_holds_back_what_has_outputs_that_it_did_not_acknowledge_and_no_more() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    store.set_retention(None, Retention::Versions(1)).unwrap();
    let (mut author, genesis) = Author::new(1);
    append(&store, &[genesis], &[]).unwrap();
    drop((store.create_outbox("done").unwrap(), store.create_outbox("mispelt").unwrap()));
    let mut made = Vec::new();
    for _ in 0..60 {
        // Frames with several outputs, so that an outbox may stop within a frame.
        let some: Vec<_> = (0..4).map(|_| author.next()).collect();
        append(&store, &some, &[]).unwrap();
        made.extend(some);
    }
    let expected = outputs(&made);
    let half = {
        let mut outbox = store.outbox("done").unwrap();
        let given = (0..expected.len() / 2).map(|_| outbox.next().transpose().unwrap().unwrap());
        let last = given.last().unwrap();
        outbox.acknowledge(last.place).unwrap();
        last
    };
    let status = store.outbox_status().unwrap();
    let behind: Vec<_> = status.iter().map(|it| (it.name.as_str(), it.behind_count)).collect();
    let (left, all_of_them) = ((expected.len() - expected.len() / 2) as u64, expected.len() as u64);
    assert_eq!(behind, [("done", left), ("mispelt", all_of_them)]);
    assert_eq!((status[0].acknowledged, status[1].acknowledged), (Some(half.time), None));
    assert_eq!(status[0].place, half.place);
    assert!(0 < status[0].held_bytes && status[0].held_bytes < status[1].held_bytes);

    // All outputs are kept for the one that was misspelt, and nothing besides.
    let compacted = store.compact_all(Time::MIN, |_, _| {}).unwrap();
    assert!(compacted.held_count > 20 && compacted.trimmed_count > 20, "{compacted:?}");
    assert_eq!(all(&mut store.outbox("mispelt").unwrap()), expected);
    assert!(store.remove_outbox("mispelt").unwrap());
    let held = compacted.held_count;
    let compacted = store.compact_all(Time::MIN, |_, _| {}).unwrap();
    assert!(0 < compacted.held_count && compacted.held_count < held, "{compacted:?}");
    assert_eq!(all(&mut store.outbox("done").unwrap()), expected[expected.len() / 2..]);

    let mut outbox = store.outbox("done").unwrap();
    let mut last = half.place;
    while let Some(outgoing) = outbox.next().transpose().unwrap() {
        last = outgoing.place;
    }
    outbox.acknowledge(last).unwrap();
    let status = &store.outbox_status().unwrap()[0];
    assert_eq!((status.behind_count, status.held_bytes), (0, 0));
    let compacted = store.compact_all(Time::MIN, |_, _| {}).unwrap();
    assert_eq!(compacted.held_count, 0, "{compacted:?}");
    assert!(compacted.trimmed_count > 0, "{compacted:?}");
    // Later outputs are given all the same.
    let some: Vec<_> = (0..20).map(|_| author.next()).collect();
    append(&store, &some, &[]).unwrap();
    assert_eq!(all(&mut store.outbox("done").unwrap()), outputs(&some));
    assert_sound(&store);
}
