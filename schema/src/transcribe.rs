//! Transcribes a state in memory into payload bytes, without a value in between: writes the value
//! at a path into a buffer, as much of it as fits.
//!
//! The reader may ask about any part of a state as often as it likes, so all work is charged before
//! it is done. This module does not know the reader.
//!
//! Invariant: nothing is allocated, and no more is done than the budget pays for.

use object::memory::Memory;

use crate::fault::Fault;
use crate::read::{Walk, bits};
use crate::scalar;
use crate::shape::Cases;
use crate::types::{Field, Record, Type};

/// The reasons for which a read gives no answer, not even that no value exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// The path can have no value: no schema has it, or only another one.
    Path,
    /// The read costs more than the budget has.
    Budget,
}

/// The cost of a value, or of a field that a path is compared with; a byte costs 1.
const VALUE_COST: u64 = 8;

/// Room that a value is written to, and a budget that pays for it.
#[derive(Debug)]
pub struct Sink<'a> {
    room: &'a mut [u8],
    length: u64,
    budget: &'a mut u64,
}

impl<'a> Sink<'a> {
    /// A sink that has nothing in it yet.
    pub fn new(room: &'a mut [u8], budget: &'a mut u64) -> Sink<'a> {
        Sink { room, length: 0, budget }
    }

    /// Bytes put so far, whether or not there was room for them.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Takes the cost of `count` values or fields from the budget.
    ///
    /// # Errors
    ///
    /// [`Unread::Budget`] when the budget does not reach.
    pub fn spend(&mut self, count: usize) -> Result<(), Unread> {
        self.pay(VALUE_COST.saturating_mul(count as u64))
    }

    fn pay(&mut self, cost: u64) -> Result<(), Unread> {
        *self.budget = self.budget.checked_sub(cost).ok_or(Unread::Budget)?;
        Ok(())
    }

    /// Appends bytes, as many as fit.
    ///
    /// # Errors
    ///
    /// [`Unread::Budget`] when the budget does not reach.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Unread> {
        self.pay(bytes.len() as u64)?;
        if let Some(room) = usize::try_from(self.length).ok().and_then(|at| self.room.get_mut(at..))
        {
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
        }
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Appends the value at `path` in the valid state record at `address`, or the whole record without
/// a path. A path is names of fields, with `-` or `_`, and indices of tuples' and lists' items,
/// separated by dots; an option that is present stands for its payload. Returns whether there is
/// such a value.
///
/// # Errors
///
/// [`Unread`].
pub(crate) fn transcribe(
    memory: &(impl Memory + ?Sized),
    address: u32,
    record: &Record,
    path: Option<&str>,
    sink: &mut Sink<'_>,
) -> Result<bool, Unread> {
    let walk = Walk::new(memory);
    walk.validate_bytes(address, record.layout().size.into()).map_err(no_state)?;
    let mut transcript = Transcript { walk, sink };
    let Some(path) = path else { return transcript.record(address, record).map(|()| true) };
    match transcript.find(address, record, path)? {
        Some((at, ty)) => transcript.value(at, ty).map(|()| true),
        None => Ok(false),
    }
}

/// Returns whether a field has this name, in which `_` may stand for `-`.
#[inline]
pub fn is_named(field: &str, name: &str) -> bool {
    let dashed = name.bytes().map(|byte| if byte == b'_' { b'-' } else { byte });
    field.bytes().eq(dashed)
}

/// Maps a fault to an error; no fault occurs, because a state is validated when it is made.
fn no_state(_: Fault) -> Unread {
    Unread::Path
}

struct Transcript<'m, 's, 'r, M: ?Sized> {
    walk: Walk<'m, M>,
    sink: &'s mut Sink<'r>,
}

impl<M: Memory + ?Sized> Transcript<'_, '_, '_, M> {
    /// Returns the address and type of the value at a path, if it exists.
    fn find<'t>(
        &mut self,
        address: u32,
        record: &'t Record,
        path: &str,
    ) -> Result<Option<(u32, &'t Type)>, Unread> {
        let mut segments = path.split('.');
        let first = self.field(record, segments.next().unwrap_or_default())?;
        let (mut at, mut ty) = (address + first.offset, &first.ty);
        loop {
            while let Type::Option(payload) = ty {
                let cases = Cases::of(ty).expect("an option has cases");
                if bits(self.walk.memory(), at, cases.tag_bytes) == 0 {
                    return Ok(None);
                }
                (at, ty) = (at + cases.payload_offset, payload);
            }
            let Some(segment) = segments.next() else { return Ok(Some((at, ty))) };
            match ty {
                Type::Record(record) => {
                    let field = self.field(record, segment)?;
                    (at, ty) = (at + field.offset, &field.ty);
                }
                Type::Tuple(tuple) => {
                    let item = tuple.items.get(index(segment)? as usize);
                    let (item, offset) = item.ok_or(Unread::Path)?;
                    (at, ty) = (at + offset, item);
                }
                Type::List(item) => {
                    let index = index(segment)?;
                    let (start, count) = self.walk.pointer(at, item).map_err(no_state)?;
                    if index >= count {
                        return Ok(None);
                    }
                    (at, ty) = (start + index * item.layout().size, item);
                }
                _ => return Err(Unread::Path),
            }
        }
    }

    /// Finds the field of a name, at the cost of comparing every field in the worst case.
    fn field<'t>(&mut self, record: &'t Record, name: &str) -> Result<&'t Field, Unread> {
        self.sink.spend(record.fields.len())?;
        let mut fields = record.fields.iter();
        fields.find(|field| is_named(&field.name, name)).ok_or(Unread::Path)
    }

    /// Puts the value at a validated address. Recurses as deep as the type nests.
    fn value(&mut self, at: u32, ty: &Type) -> Result<(), Unread> {
        if let Some(width) = scalar::width(ty) {
            self.sink.spend(1)?;
            let bits = scalar::canonical(bits(self.walk.memory(), at, width), ty);
            return self.sink.put(&bits.to_le_bytes()[..width as usize]);
        }
        match ty {
            Type::Record(record) => return self.record(at, record),
            Type::String => return self.bytes(at),
            Type::List(item) if matches!(**item, Type::U8) => return self.bytes(at),
            _ => self.sink.spend(1)?,
        }
        match ty {
            Type::List(item) => {
                let (start, count) = self.walk.pointer(at, item).map_err(no_state)?;
                self.sink.put(&count.to_le_bytes())?;
                let size = item.layout().size;
                (0..count).try_for_each(|index| self.value(start + index * size, item))
            }
            Type::Tuple(tuple) => {
                tuple.items.iter().try_for_each(|(ty, offset)| self.value(at + offset, ty))
            }
            ty => {
                let cases = Cases::of(ty).expect("every other type is handled above");
                let tag = bits(self.walk.memory(), at, cases.tag_bytes) as u32;
                let (_, payload) = cases.case(tag).map_err(no_state)?;
                self.sink.put(&tag.to_le_bytes()[..cases.tag_bytes as usize])?;
                payload.map_or(Ok(()), |ty| self.value(at + cases.payload_offset, ty))
            }
        }
    }

    fn record(&mut self, at: u32, record: &Record) -> Result<(), Unread> {
        self.sink.spend(1)?;
        let mut fields = record.fields.iter();
        fields.try_for_each(|field| self.value(at + field.offset, &field.ty))
    }

    /// Puts a string, or a list of bytes.
    fn bytes(&mut self, at: u32) -> Result<(), Unread> {
        self.sink.spend(1)?;
        let (start, count) = self.walk.pointer(at, &Type::U8).map_err(no_state)?;
        self.sink.put(&count.to_le_bytes())?;
        self.walk.pieces(start, count).try_for_each(|piece| self.sink.put(piece))
    }
}

/// Reads `segment` as an index.
fn index(segment: &str) -> Result<u32, Unread> {
    crate::place::index(segment).ok_or(Unread::Path)
}
