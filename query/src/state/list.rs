//! A list in a state, read item by item.
//!
//! This module does not know the type of its items.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use super::Field;
use super::at::At;

/// A list of a version, read in place.
pub struct List<'a, T: Field> {
    start: At<'a>,
    count: u32,
    items: PhantomData<T>,
}

impl<'a, T: Field> List<'a, T> {
    pub(crate) fn new(start: At<'a>, count: u32) -> List<'a, T> {
        List { start, count, items: PhantomData }
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Returns whether the list has no items.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the item at `index`, if the list is long enough.
    pub fn get(&self, index: usize) -> Option<T::Read<'a>> {
        let index = u32::try_from(index).ok().filter(|index| *index < self.count)?;
        Some(T::read(self.start.forward(index * T::LAYOUT.size)))
    }

    /// Iterates over the items, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = T::Read<'a>> + use<'a, T> {
        let list = *self;
        (0..list.len()).map(move |index| list.get(index).expect("it has so many items"))
    }
}

impl<'a> List<'a, u8> {
    /// Returns the bytes: borrowed when they are on one page of the memory.
    pub fn bytes(&self) -> Cow<'a, [u8]> {
        self.start.slice(self.count)
    }
}

impl<T: Field> Copy for List<'_, T> {}

impl<T: Field> Clone for List<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<'a, T: Field> fmt::Debug for List<'a, T>
where
    T::Read<'a>: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
