//! The evidence tree: a leaf for every version and every refusal, in the order of the log, whatever
//! happens to the files; against RFC 6962's definition over leaves that are laid out by hand.

use std::collections::BTreeMap;
use std::fs;
use std::sync::mpsc::channel;

use continuant_storage::{
    Append, CapsuleReader, ErrorKind, Fate, Options, Restoring, Retention, Store, Taking, Until,
};
use object::commit::Commit;
use object::evidence::{TILE_WIDTH, TreeHash, TreeHead};
use object::hash::ObjectId;
use object::head::Head;
use object::time::Time;
use tempfile::TempDir;

use crate::author::{Author, Made, append, assert_sound, copy, in_one_frame, small};
use crate::losses;
use crate::messages;

/// The leaves that there should be.
#[derive(Clone, Default)]
struct Leaves {
    hashes: Vec<TreeHash>,
    refusals: BTreeMap<ObjectId, u64>,
}

impl Leaves {
    fn push(&mut self, entry: u8, kind: u8, object: [u8; 32], number: u64, hash: [u8; 32]) {
        let head = [&b"continuant 2 evidence leaf"[..], &[entry, kind]].concat();
        let leaf = [&head[..], &object, &number.to_le_bytes(), &hash].concat();
        self.hashes.push(TreeHash::of_leaf(&leaf));
    }

    fn add(&mut self, made: &Made) {
        match made {
            Made::Version { bytes, .. } => {
                let header = Commit::decode(bytes).unwrap().header;
                let (id, hash) = (header.object_id(), header.hash().0);
                self.push(1, header.kind.code(), id.0, header.seq, hash);
            }
            Made::Refusal(refusal) => {
                let number = self.refusals.entry(refusal.object).or_default();
                let (object, of, hash) = (refusal.object.0, *number, refusal.hash().0);
                *number += 1;
                self.push(2, refusal.verdict.reason.code(), object, of, hash);
            }
        }
    }

    /// Adds the leaves of an import that ends with this head.
    fn adopt(&mut self, head: &Head) {
        self.push(3, 0, head.id.0, head.header.seq, head.hash.0);
        if let Some(last) = head.refusals {
            self.push(4, 0, head.id.0, head.refusal_count - 1, last.0);
        }
        self.refusals.insert(head.id, head.refusal_count);
    }

    fn head(&self) -> TreeHead {
        TreeHead { size: self.hashes.len() as u64, root: root(&self.hashes) }
    }
}

/// The root over leaves with these hashes, as section 2.1 of RFC 6962 defines it.
fn root(hashes: &[TreeHash]) -> TreeHash {
    match hashes {
        [] => TreeHash::of_nothing(),
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            TreeHash::of_node(root(left), root(right))
        }
    }
}

/// A store that has the tree, and one whose check finds the same.
#[track_caller]
fn assert_tree(store: &Store, leaves: &Leaves) {
    assert_eq!(store.evidence(), leaves.head());
    assert_eq!(store.leaf_count(), leaves.hashes.len() as u64);
    let report = store.check(|_, _| {}).unwrap();
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!(report.evidence, Some(leaves.head()));
    assert_eq!(store.evidence(), leaves.head());
}

/// Every tile that there is, of some widths, and none that there is not.
#[track_caller]
fn assert_tiles(store: &Store, leaves: &Leaves) {
    let (mut level, mut known) = (0, leaves.hashes.clone());
    while !known.is_empty() {
        for (index, tile) in known.chunks(TILE_WIDTH as usize).enumerate() {
            for width in [1, 2, tile.len() / 2, tile.len() - 1, tile.len()] {
                if (1..=tile.len()).contains(&width) {
                    let found = store.tile(level, index as u64, width as u16).unwrap();
                    assert!(found == tile[..width], "tile {level}/{index} of {width}");
                }
            }
        }
        let last = (known.len() - 1) / TILE_WIDTH as usize;
        let width = known.len() - last * TILE_WIDTH as usize;
        assert_none(store, level, last as u64, width as u16 + 1);
        assert_none(store, level, last as u64 + 1, if width == 256 { 1 } else { 256 });
        known = known.chunks_exact(TILE_WIDTH as usize).map(root).collect();
        level += 1;
    }
    assert_none(store, level, 0, 1);
    for (level, index, width) in
        [(0, 0, 0), (0, 0, 257), (0, u64::MAX, 1), (7, 0, 1), (8, 0, 1), (255, u64::MAX, 256)]
    {
        assert_none(store, level, index, width);
    }
}

#[track_caller]
fn assert_none(store: &Store, level: u8, index: u64, width: u16) {
    let error = store.tile(level, index, width).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotFound { .. }), "{level}/{index}: {error}");
}

/// A store whose last work was of every kind that may not be a leaf, and of those that are.
fn work(store: &Store, leaves: &mut Leaves) -> Vec<Author> {
    let made = |leaves: &mut Leaves, made: &[Made], names: &[_]| {
        append(store, made, names).unwrap();
        made.iter().for_each(|made| leaves.add(made));
    };
    let (mut one, genesis) = Author::new(1);
    made(leaves, &[genesis], &[("one", one.head.id)]);
    let (mut two, genesis) = Author::new(2);
    // Two objects in one frame, refusals between versions.
    made(leaves, &[one.step(), genesis, one.refuse(), two.step(), two.refuse(), one.step()], &[]);
    store.set_retention(Some(one.head.id), Retention::All).unwrap();
    let to = two.head.id;
    let sent = vec![messages::message(to, 1), messages::message(to, 2)];
    let sender = one.send(sent.clone());
    messages::append_sent(store, &one, &sender, &sent, vec![]).unwrap();
    leaves.add(&sender);
    let taken = store.messages_to(to).into_iter();
    let taken = taken.map(|id| Taking { id, fate: Fate::Dead("why".to_string()) }).collect();
    store.commit(&Append { taken, ..Append::default() }).unwrap();
    drop(store.create_outbox("mail").unwrap());
    assert!(store.set_moved(to, true).unwrap() && store.set_moved(to, false).unwrap());
    made(leaves, &[two.upgrade()], &[]);
    for _ in 0..20 {
        made(leaves, &[two.step(), one.refuse(), one.refuse(), one.step()], &[]);
    }
    vec![one, two]
}

#[test]
fn there_is_a_leaf_for_every_version_and_refusal_in_the_order_of_the_log() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let mut leaves = Leaves::default();
    let store = small().open(&path).unwrap();
    assert_eq!(store.evidence(), TreeHead { size: 0, root: TreeHash::of_nothing() });
    assert_tree(&store, &leaves);
    assert_none(&store, 0, 0, 1);
    work(&store, &mut leaves);
    assert_tree(&store, &leaves);
    assert_tiles(&store, &leaves);
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    drop(store);
    // From the log, which the index does not cover; from the index; and read, not written.
    assert_tree(&small().read_only(true).open(&crashed).unwrap(), &leaves);
    assert_tree(&small().open(&crashed).unwrap(), &leaves);
    let store = small().open(&path).unwrap();
    assert_tree(&store, &leaves);
    assert_tiles(&store, &leaves);
    drop(store);
    small().rebuild_index(&path).unwrap();
    assert_tree(&small().open(&path).unwrap(), &leaves);
    for name in ["index.redb", "continuant.db"] {
        fs::remove_file(path.join(name)).unwrap();
        small().repair(&path, None, |_, _| {}).unwrap();
        assert_tree(&small().recent_rows_max(3).open(&path).unwrap(), &leaves);
    }
}

/// More leaves than a tile has, in frames of some, so that tiles end within frames.
fn many(store: &Store, leaves: &mut Leaves) -> Author {
    let (mut author, genesis) = Author::new(5);
    append(store, std::slice::from_ref(&genesis), &[]).unwrap();
    leaves.add(&genesis);
    let mut left = 3 * TILE_WIDTH + 100;
    for count in (1..=7).cycle() {
        let made: Vec<Made> = (0..count).map(|_| author.refuse()).collect();
        append(store, &made, &[]).unwrap();
        made.iter().for_each(|made| leaves.add(made));
        left = left.saturating_sub(count);
        if left == 0 {
            return author;
        }
    }
    unreachable!("there is no end of counts")
}

#[test]
fn tiles_are_the_same_from_memory_and_from_files() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let mut leaves = Leaves::default();
    let store = small().open(&path).unwrap();
    let mut author = many(&store, &mut leaves);
    assert_tiles(&store, &leaves);
    store.checkpoint().unwrap();
    assert_tiles(&store, &leaves);
    // Some tiles in the index, and some behind it.
    for _ in 0..TILE_WIDTH + 3 {
        let made = author.refuse();
        append(&store, std::slice::from_ref(&made), &[]).unwrap();
        leaves.add(&made);
    }
    assert_tiles(&store, &leaves);
    let crashed = directory.path().join("crashed");
    copy(&path, &crashed);
    assert_tiles(&small().read_only(true).open(&crashed).unwrap(), &leaves);
    assert_tiles(&small().recent_rows_max(2).open(&crashed).unwrap(), &leaves);
    drop(store);
    let store = small().open(&path).unwrap();
    assert_tiles(&store, &leaves);
    store.compact_all(Time::MAX, |_, _| {}).unwrap();
    assert_tiles(&store, &leaves);
    assert_tree(&store, &leaves);
}

#[test]
fn the_tree_has_what_is_durable_and_no_more() {
    let directory = TempDir::new().unwrap();
    let store = small().open(directory.path().join("db")).unwrap();
    let mut leaves = Leaves::default();
    let (mut author, genesis) = Author::new(1);
    leaves.add(&genesis);
    let (release, released) = channel::<()>();
    let (sender, durable) = channel();
    // The log's thread is held back behind the first group.
    let done = move |result: continuant_storage::Result<()>| {
        sender.send(result).unwrap();
        released.recv().unwrap_or_default();
    };
    in_one_frame(&[genesis], &[], |append| store.append(append, done).map(drop)).unwrap();
    durable.recv().unwrap().unwrap();
    let made = [author.step(), author.refuse()];
    in_one_frame(&made, &[], |append| store.append(append, drop).map(drop)).unwrap();
    assert_eq!((store.evidence(), store.leaf_count()), (leaves.head(), 3));
    assert_none(&store, 0, 0, 2);
    drop(release);
    store.sync().unwrap();
    made.iter().for_each(|made| leaves.add(made));
    assert_tree(&store, &leaves);
}

#[test]
fn what_retention_drops_leaves_the_tree_as_it_is() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let mut leaves = Leaves::default();
    let store = small().open(&path).unwrap();
    work(&store, &mut leaves);
    store.set_retention(None, Retention::Versions(1)).unwrap();
    for id in store.list(None, 9).unwrap().into_iter().map(|info| info.id) {
        store.set_retention(Some(id), Retention::Versions(1)).unwrap();
    }
    assert!(store.remove_outbox("mail").unwrap());
    let compacted = store.compact_all(Time::MAX, |_, _| {}).unwrap();
    assert!(compacted.trimmed_count > 20, "{compacted:?}");
    assert_tree(&store, &leaves);
    assert_tiles(&store, &leaves);
    drop(store);
    small().rebuild_index(&path).unwrap();
    let store = small().open(&path).unwrap();
    assert_tree(&store, &leaves);
    assert_tiles(&store, &leaves);
}

fn export(store: &Store, id: ObjectId) -> Vec<u8> {
    let mut bytes = Vec::new();
    store.export(id, &mut bytes, |_, _| {}).unwrap();
    bytes
}

fn import(store: &Store, bytes: &[u8], head: &Head) -> continuant_storage::Result<ObjectId> {
    let mut reader = CapsuleReader::new(bytes).unwrap();
    while reader.next().unwrap().is_some() {}
    store.import(bytes, head, reader.seal().unwrap())
}

#[test]
fn an_import_is_the_leaf_of_its_newest_version_and_of_its_last_refusal() {
    let directory = TempDir::new().unwrap();
    let (from, path) = (directory.path().join("from"), directory.path().join("db"));
    let (mut left, mut leaves) = (Leaves::default(), Leaves::default());
    let from = small().open(&from).unwrap();
    let mut authors = work(&from, &mut left);
    let (mut plain, genesis) = Author::new(7);
    let made = [genesis, plain.step()];
    append(&from, &made, &[]).unwrap();
    made.iter().for_each(|made| left.add(made));
    authors.push(plain);
    let store = small().open(&path).unwrap();
    for author in &authors {
        import(&store, &export(&from, author.head.id), &author.head).unwrap();
        leaves.adopt(&author.head);
        assert_tree(&store, &leaves);
    }
    assert_eq!(leaves.hashes.len(), 5, "one was never refused");
    // Later ones are entries of their own, here; and there, when it comes back.
    let head = &mut authors[0];
    let made = [head.step(), head.refuse()];
    append(&store, &made, &[]).unwrap();
    made.iter().for_each(|made| leaves.add(made));
    import(&from, &export(&store, head.head.id), &head.head).unwrap();
    let back = head.head.clone();
    left.adopt(&back);
    assert_tree(&from, &left);
    drop(from);
    let from = small().open(directory.path().join("from")).unwrap();
    assert_tree(&from, &left);
    let error = import(&store, &export(&from, back.id), &back).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::HereAlready { .. }), "{error}");
    assert_tree(&store, &leaves);
    drop(store);
    small().rebuild_index(&path).unwrap();
    let store = small().open(&path).unwrap();
    assert_tree(&store, &leaves);
    assert_tiles(&store, &leaves);
}

#[test]
fn an_accepted_loss_is_a_leaf_behind_those_that_are_left() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let mut leaves = Leaves::default();
    let store = small().open(&path).unwrap();
    work(&store, &mut leaves);
    let (before, end) = (leaves.clone(), store.stats().unwrap().durable);
    let (mut author, genesis) = Author::new(8);
    for made in [genesis, author.step()] {
        append(&store, std::slice::from_ref(&made), &[]).unwrap();
        leaves.add(&made);
    }
    store.close().unwrap();
    drop(store);
    let lost = losses::lose_from(&path, end);
    let store = small().open(&path).unwrap();
    let losses = store.losses();
    assert_eq!((losses.len(), losses[0].loss.found), (1, end));
    let mut left = before;
    let (number, offset) = losses::numbers(losses[0].loss.expected);
    left.push(5, 0, [0; 32], u64::from(number) << 32 | offset, lost);
    assert_tree(&store, &left);
    assert_ne!(store.evidence().root, root(&leaves.hashes[..left.hashes.len()]));
    let made = author_of(&store);
    append(&store, std::slice::from_ref(&made), &[]).unwrap();
    left.add(&made);
    assert_tree(&store, &left);
    assert_tiles(&store, &left);
    drop(store);
    small().rebuild_index(&path).unwrap();
    assert_tree(&small().open(&path).unwrap(), &left);
}

/// A genesis that is new to a store.
fn author_of(store: &Store) -> Made {
    let (author, genesis) = Author::new(9);
    assert!(store.info(author.head.id).unwrap().is_none());
    genesis
}

#[test]
fn a_backup_has_the_tree_and_a_restore_to_a_place_its_beginning() {
    let directory = TempDir::new().unwrap();
    let (path, backup) = (directory.path().join("db"), directory.path().join("backup"));
    let mut leaves = Leaves::default();
    let store = small().open(&path).unwrap();
    work(&store, &mut leaves);
    store.backup(&backup, |_, _| {}).unwrap();
    let (earlier, end) = (leaves.clone(), store.stats().unwrap().durable);
    assert_tree(&small().read_only(true).open(&backup).unwrap(), &leaves);
    let (mut author, genesis) = Author::new(8);
    for made in [genesis, author.step(), author.refuse()] {
        append(&store, std::slice::from_ref(&made), &[]).unwrap();
        leaves.add(&made);
    }
    store.backup(&backup, |_, _| {}).unwrap();
    assert_tree(&small().read_only(true).open(&backup).unwrap(), &leaves);
    for (until, expected) in [(Until::End, &leaves), (Until::Position(end), &earlier)] {
        let to = directory.path().join("restored");
        small().restore(&backup, &to, Restoring::from(until), |_, _| {}).unwrap();
        let restored = small().existing(true).open(&to).unwrap();
        assert_tree(&restored, expected);
        assert_tiles(&restored, expected);
        drop(restored);
        fs::remove_dir_all(&to).unwrap();
    }
}

/// Appends by several threads at a time, with an index that is written often, while others ask.
#[test]
fn a_tree_that_grows_is_asked_for_at_any_time() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("db");
    let store = Options::new().recent_rows_max(20).open(&path).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let store = &store;
            scope.spawn(move || {
                let (mut author, genesis) = Author::new(seed);
                append(store, &[genesis], &[]).unwrap();
                for _ in 0..150 {
                    append(store, &[author.touch(), author.refuse()], &[]).unwrap();
                }
            });
        }
        let mut before = store.evidence();
        while before.size < 903 {
            let now = store.evidence();
            assert!(now.size >= before.size && now.size <= store.leaf_count());
            if now.size > 0 {
                assert!(store.tile(0, 0, now.size.min(TILE_WIDTH) as u16).is_ok());
            }
            if now.size.is_multiple_of(5) {
                assert_sound(&store);
            }
            before = now;
        }
    });
    let evidence = store.evidence();
    drop(store);
    small().rebuild_index(&path).unwrap();
    assert_eq!(small().open(&path).unwrap().evidence(), evidence);
}
