//! The root of a memory: always the plain hash of its bytes.

use object::hash::MemoryRoot;
use object::limits::PAGE_BYTES;
use object::memory::{Tree, page_count};

use crate::source::Source;

/// Writes a page's worth of noise into some pages, and names them.
fn scribble(source: &mut Source, image: &mut [u8], pages: usize) -> Vec<u32> {
    let count = image.len() / PAGE_BYTES;
    let mut dirty: Vec<u32> = (0..pages).map(|_| source.below(count) as u32).collect();
    dirty.sort_unstable();
    dirty.dedup();
    for &index in &dirty {
        let at = index as usize * PAGE_BYTES + source.below(PAGE_BYTES / 8) * 8;
        image[at..at + 8].copy_from_slice(&source.bits().to_le_bytes());
    }
    dirty
}

#[track_caller]
fn check(tree: &Tree, image: &[u8]) {
    assert_eq!(tree.root().0, *blake3::hash(image).as_bytes(), "{} pages", tree.page_count());
    assert_eq!(tree.page_count(), page_count(image.len() as u64));
}

#[test]
fn a_memory_of_many_mebibytes_has_its_plain_hash() {
    let mut source = Source::random();
    for pages in [1, 2, 3, 255, 256, 257, 1000, 1023, 1025, 2047, 4096, 4099] {
        let mut image = vec![0; pages * PAGE_BYTES];
        scribble(&mut source, &mut image, pages / 2 + 1);
        let mut tree = Tree::of(&image[..]);
        check(&tree, &image);
        for _ in 0..4 {
            let some = 1 + source.below(9);
            let dirty = scribble(&mut source, &mut image, some);
            tree.update(&image[..], &dirty);
            check(&tree, &image);
        }
        for edge in [0, pages - 1] {
            image[edge * PAGE_BYTES] ^= 1;
            tree.update(&image[..], &[edge as u32]);
            check(&tree, &image);
        }
    }
}

#[test]
fn a_memory_that_grows_by_a_page_has_its_plain_hash() {
    let mut source = Source::random();
    let mut image = Vec::new();
    let mut tree = Tree::of(&image[..]);
    check(&tree, &image);
    for pages in 1..=130 {
        image.resize(pages * PAGE_BYTES, 0);
        let some = source.below(3);
        let dirty = scribble(&mut source, &mut image, some);
        tree.update(&image[..], &dirty);
        check(&tree, &image);
        assert_eq!(tree.root(), Tree::of(&image[..]).root());
    }
}

#[test]
fn growth_over_a_power_of_two_has_its_plain_hash() {
    let mut source = Source::random();
    for power in 0..12 {
        for (before, after) in [(-1, 0), (0, 1), (-1, 1), (-1, 2), (1, 3)] {
            let count = |offset: i64| ((1_i64 << power) + offset).max(0) as usize;
            let mut image = vec![3; count(before) * PAGE_BYTES];
            let mut tree = Tree::of(&image[..]);
            image.resize(count(after) * PAGE_BYTES, 0);
            let some = source.below(4);
            let dirty = scribble(&mut source, &mut image, some);
            tree.update(&image[..], &dirty);
            check(&tree, &image);
        }
    }
    let mut image = vec![0; 3 * PAGE_BYTES];
    let mut tree = Tree::of(&image[..]);
    image.resize(3001 * PAGE_BYTES, 0);
    tree.update(&image[..], &[]);
    check(&tree, &image);
}

#[test]
fn the_root_of_an_empty_memory_is_the_hash_of_nothing() {
    let tree = Tree::of(&[][..]);
    assert_eq!(tree.root(), MemoryRoot::of(b""));
    let tail = [7; PAGE_BYTES + 9];
    assert_eq!(Tree::of(&tail[..]).root(), MemoryRoot::of(&tail[..PAGE_BYTES]));
}
