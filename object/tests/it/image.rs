//! Images: changes by steps, shared pages, and a flat image as the oracle.

use std::sync::Arc;

use expect_test::{Expect, expect};
use object::image::{BaseImage, Image};
use object::limits::{GLOBALS_MAX, MEMORY_BYTES_MAX, PAGE_BYTES};
use object::memory::{Memory, Page, ZERO_PAGE};

use crate::samples;
use crate::source::Source;

fn image(pages: usize) -> Image {
    Image::new(Arc::new(BaseImage::new(&vec![0; pages * PAGE_BYTES], vec![]).unwrap()))
}

fn page(byte: u8) -> Arc<Page> {
    Arc::new([byte; PAGE_BYTES])
}

#[test]
fn a_step_that_an_object_cannot_take_is_refused() {
    let image = image(4);
    let step = |bytes: u64, pages: &[u32]| {
        image.step(bytes, pages.iter().map(|&index| (index, page(1))).collect())
    };
    let check = |bytes: u64, pages: &[u32], expected: Expect| {
        expected.assert_eq(&step(bytes, pages).unwrap_err().to_string());
    };
    let whole = 4 * PAGE_BYTES as u64;
    step(whole, &[0, 3]).unwrap();
    step(MEMORY_BYTES_MAX, &[(MEMORY_BYTES_MAX / PAGE_BYTES as u64) as u32 - 1]).unwrap();
    check(whole, &[4], expect!["pages: at most 4, found 5"]);
    check(whole, &[u32::MAX], expect!["pages: at most 4, found 4294967296"]);
    check(whole, &[1, 1], expect!["pages out of order: at most 0, found 1"]);
    check(whole, &[2, 1], expect!["pages out of order: at most 0, found 1"]);
    check(whole - 4096, &[], expect!["bytes that a memory shrank by: at most 0, found 4096"]);
    check(whole + 1, &[], expect!["bytes beyond whole pages: at most 0, found 1"]);
    check(
        MEMORY_BYTES_MAX + 4096,
        &[],
        expect!["memory bytes: at most 2147483648, found 2147487744"],
    );
    check(u64::MAX, &[], expect!["memory bytes: at most 2147483648, found 18446744073709551615"]);
}

/// Regression: the first page was taken to be inside of an empty memory.
#[test]
fn an_empty_memory_has_no_page() {
    let error = image(0).step(0, vec![(0, page(1))]).unwrap_err();
    expect!["pages: at most 0, found 1"].assert_eq(&error.to_string());
}

#[test]
fn an_image_is_what_its_steps_left() {
    let mut source = Source::random();
    for _ in 0..40 {
        let base = samples::base(&mut source);
        let mut flat: Vec<u8> = (0..base.bytes_count() / PAGE_BYTES as u64)
            .flat_map(|index| *base.page(index as u32))
            .collect();
        let mut image = Image::new(Arc::new(base));
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept.push((image.clone(), flat.clone()));
            flat.resize(flat.len() + source.below(3) * PAGE_BYTES, 0);
            let count = flat.len() / PAGE_BYTES;
            let mut changed = Vec::new();
            for index in 0..count {
                if source.below(3) == 0 {
                    let page = samples::page(&mut source);
                    flat[index * PAGE_BYTES..][..PAGE_BYTES].copy_from_slice(&page);
                    changed.push((index as u32, Arc::new(page)));
                }
            }
            image = image.step(flat.len() as u64, changed).unwrap();
        }
        kept.push((image, flat));
        // A reader's image stays the same.
        for (image, flat) in kept {
            assert_eq!(image.bytes_count(), flat.len() as u64);
            for (index, page) in flat.chunks(PAGE_BYTES).enumerate() {
                assert_eq!(image.page(index as u32)[..], *page);
            }
        }
    }
}

#[test]
fn pages_that_a_step_leaves_alone_are_shared() {
    let before = image(3).step(3 * PAGE_BYTES as u64, vec![(0, page(1)), (2, page(2))]).unwrap();
    let after = before.step(5 * PAGE_BYTES as u64, vec![(2, page(3)), (4, page(4))]).unwrap();
    assert!(Arc::ptr_eq(before.base(), after.base()));
    let indices =
        |image: &Image| image.changed_pages().iter().map(|(index, _)| *index).collect::<Vec<_>>();
    assert_eq!((indices(&before), indices(&after)), (vec![0, 2], vec![0, 2, 4]));
    assert!(Arc::ptr_eq(&before.changed_pages()[0].1, &after.changed_pages()[0].1));
    assert!(after.is_same(&after.clone()) && !after.is_same(&before));
    assert!(after.holds(3, &ZERO_PAGE), "what a memory grew by is zero");
    assert!(after.holds(2, &page(3)) && before.holds(2, &page(2)));
}

#[test]
fn a_base_image_is_within_its_limits() {
    assert!(BaseImage::new(&[], vec![0; GLOBALS_MAX]).is_ok());
    let error = BaseImage::new(&[], vec![0; GLOBALS_MAX + 1]).unwrap_err();
    expect!["globals: at most 1024, found 1025"].assert_eq(&error.to_string());
}
