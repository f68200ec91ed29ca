//! The tree against RFC 6962's own definition, written down here, and against roots that others
//! publish.

use object::evidence::{Frontier, LEAF_BYTES, Leaf, Subtree, TILE_WIDTH, TreeHash, root_of};

use crate::samples;
use crate::source::Source;

/// The leaves of the reference tests of Certificate Transparency.
const LEAVES: [&[u8]; 8] = [
    b"",
    b"\0",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    b"\x50\x51\x52\x53\x54\x55\x56\x57",
    b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
];

/// The roots of the first 0 to 8 of them, as published there.
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

/// The root over leaves with these hashes, as section 2.1 of RFC 6962 defines it.
fn defined(hashes: &[TreeHash]) -> TreeHash {
    match hashes {
        [] => TreeHash::of_nothing(),
        [hash] => *hash,
        _ => {
            let split = hashes.len().next_power_of_two() / 2;
            TreeHash::of_node(defined(&hashes[..split]), defined(&hashes[split..]))
        }
    }
}

#[test]
fn published_roots() {
    let hashes = LEAVES.map(TreeHash::of_leaf);
    let mut frontier = Frontier::default();
    for (count, expected) in ROOTS.into_iter().enumerate() {
        assert_eq!(frontier.root().to_string(), expected, "{count} leaves");
        assert_eq!(defined(&hashes[..count]).to_string(), expected, "{count} leaves");
        assert_eq!(root_of(&hashes[..count]).to_string(), expected, "{count} leaves");
        if let Some(hash) = hashes.get(count) {
            frontier.push(*hash, |whole| panic!("{whole:?} is not whole"));
        }
    }
}

#[test]
fn every_root_and_every_whole_subtree_is_the_defined_one() {
    let mut source = Source::random();
    let count = (TILE_WIDTH * (TILE_WIDTH + 1) + 3) as usize;
    let hashes: Vec<TreeHash> = (0..count).map(|_| TreeHash(samples::array(&mut source))).collect();
    let (mut frontier, mut wholes) = (Frontier::default(), Vec::new());
    for (index, hash) in hashes.iter().enumerate() {
        frontier.push(*hash, |whole| wholes.push(whole));
        let size = index + 1;
        assert_eq!(frontier.size(), size as u64);
        if size < 600 || size % 6007 == 0 || size == count {
            assert_eq!(frontier.root(), defined(&hashes[..size]), "{size} leaves");
            let again = Frontier::of(frontier.size(), frontier.peaks()).unwrap();
            assert_eq!(again, frontier);
            assert!(Frontier::of(frontier.size() + 1, frontier.peaks()) != Some(again));
        }
    }
    let mut expected = Vec::new();
    for size in (TILE_WIDTH..=count as u64).step_by(TILE_WIDTH as usize) {
        for (level, width) in [(1, TILE_WIDTH), (2, TILE_WIDTH * TILE_WIDTH)] {
            if size % width == 0 {
                let (first, index) = ((size - width) as usize, size / width - 1);
                let hash = defined(&hashes[first..size as usize]);
                expected.push(Subtree { level, index, hash });
            }
        }
    }
    assert_eq!(wholes, expected);
    assert!(wholes.iter().any(|whole| whole.level == 2));
    // The same in pieces of any length.
    let (mut pieces, mut again, mut rest) = (Frontier::default(), Vec::new(), &hashes[..]);
    while !rest.is_empty() {
        let count = source.below(3000).min(rest.len());
        pieces.extend(&rest[..count], |whole| again.push(whole));
        rest = &rest[count..];
    }
    assert_eq!(pieces, frontier);
    assert_eq!(again, wholes);
}

#[test]
fn a_frontier_has_a_hash_for_each_bit_of_its_size() {
    let hashes = [TreeHash([1; 32]); 64];
    for size in [0, 1, 2, 3, 255, 256, u64::MAX - 1, u64::MAX] {
        let count = size.count_ones() as usize;
        for (found, is_whole) in [(count, true), (count.wrapping_sub(1), false), (count + 1, false)]
        {
            if let Some(hashes) = hashes.get(..found) {
                assert_eq!(Frontier::of(size, hashes).is_some(), is_whole, "{size}: {found}");
            }
        }
    }
}

#[test]
fn many_are_hashed_as_one_is() {
    let mut source = Source::random();
    for count in 0..40 {
        let leaves: Vec<Leaf> = (0..count).map(|_| samples::leaf(&mut source)).collect();
        let hashes: Vec<TreeHash> = leaves.iter().map(Leaf::hash).collect();
        assert_eq!(Leaf::hash_all(&leaves), hashes);
        let pairs = &hashes[..count / 2 * 2];
        let nodes: Vec<TreeHash> =
            pairs.chunks(2).map(|pair| TreeHash::of_node(pair[0], pair[1])).collect();
        assert_eq!(TreeHash::of_nodes(pairs), nodes);
    }
}

#[test]
fn no_leaf_hashes_as_a_node_does() {
    let (left, right) = (TreeHash([1; 32]), TreeHash([2; 32]));
    let both = [left.0, right.0].concat();
    assert_ne!(TreeHash::of_leaf(&both), TreeHash::of_node(left, right));
    assert_ne!(TreeHash::of_node(right, left), TreeHash::of_node(left, right));
    let mut source = Source::random();
    let leaf: Leaf = samples::leaf(&mut source);
    assert_eq!(leaf.hash(), TreeHash::of_leaf(&leaf.encode()));
    assert_ne!(leaf.encode().len(), 2 * 32, "a leaf is no pair of hashes");
    assert_eq!(LEAF_BYTES, leaf.encode().len());
}
