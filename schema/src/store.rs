//! Values as bytes of a linear memory, laid out by the Canonical ABI.
//!
//! This module chooses no addresses: strings and lists are stored where `lower` allocates.
//!
//! Invariant: the same value always yields the same bytes: padding is zero.

use std::fmt;

use object::{Error, Result};

use crate::fault::Fault;
use crate::shape::{Cases, Shape, shape};
use crate::types::Type;
use crate::value::Value;

/// The callee's memory, into which the strings and lists of arguments are lowered.
pub trait Lower {
    /// The error of an allocation or a write.
    type Error: From<Error>;

    /// Allocates `bytes`, which may be 0, aligned to `align`, and yields their address.
    ///
    /// # Errors
    ///
    /// When the callee cannot, or yields an address that is not so aligned or not in its memory.
    fn allocate(&mut self, bytes: u32, align: u32) -> Result<u32, Self::Error>;

    /// Writes `bytes` at an address within an allocation.
    ///
    /// # Errors
    ///
    /// When they do not fit in the callee's memory.
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Self::Error>;
}

/// Writes a value of a fixed size as memory holds it: a scalar, enum or flags, or an option,
/// record, tuple, variant or result of such.
///
/// # Errors
///
/// `Value` when the value is not of the type, or has a string or list in it: those live in memory
/// that only the object's own code may allocate, so a method has to set them.
///
/// # Panics
///
/// When `bytes` is not as long as the type's layout says.
pub fn store(value: &Value, ty: &Type, bytes: &mut [u8]) -> Result<()> {
    assert_eq!(bytes.len(), ty.layout().size as usize, "the bytes are as many as the type has");
    bytes.fill(0);
    store_value(value, ty, bytes, &mut None::<&mut Nowhere>)
        .map_err(|stopped| stopped.into_error(Fault::in_value))
}

/// The cause for which storing stopped: the value, or the memory for its strings and lists.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    Fault(Fault),
    Lower(E),
}

impl<E> Stopped<E> {
    pub(crate) fn within(self, part: impl fmt::Display) -> Stopped<E> {
        match self {
            Stopped::Fault(fault) => Stopped::Fault(fault.within(part)),
            Stopped::Lower(error) => Stopped::Lower(error),
        }
    }
}

impl<E: From<Error>> Stopped<E> {
    pub(crate) fn into_error(self, fault: impl FnOnce(Fault) -> Error) -> E {
        match self {
            Stopped::Fault(found) => fault(found).into(),
            Stopped::Lower(error) => error,
        }
    }
}

impl<E> From<Fault> for Stopped<E> {
    fn from(fault: Fault) -> Stopped<E> {
        Stopped::Fault(fault)
    }
}

/// Stores a value in `bytes`, which are zero and as many as the type has; strings and lists
/// through `lower`, if there is one.
pub(crate) fn store_value<L: Lower>(
    value: &Value,
    ty: &Type,
    bytes: &mut [u8],
    lower: &mut Option<&mut L>,
) -> Result<(), Stopped<L::Error>> {
    debug_assert_eq!(bytes.len(), ty.layout().size as usize, "a part has the room of its type");
    match shape(value, ty)? {
        Shape::Scalar(bits, width) => {
            bytes.copy_from_slice(&bits.to_le_bytes()[..width as usize]);
        }
        Shape::Bytes(_) | Shape::List(..) => {
            let (address, count) = allocate(value, ty, lower)?;
            bytes[..4].copy_from_slice(&address.to_le_bytes());
            bytes[4..].copy_from_slice(&count.to_le_bytes());
        }
        Shape::Record(fields, values) => {
            for (field, (name, value)) in fields.iter().zip(values) {
                store_value(value, &field.ty, part(bytes, field.offset, &field.ty), lower)
                    .map_err(|stopped| stopped.within(name))?;
            }
        }
        Shape::Tuple(items, values) => {
            for (index, ((ty, offset), value)) in items.iter().zip(values).enumerate() {
                store_value(value, ty, part(bytes, *offset, ty), lower)
                    .map_err(|stopped| stopped.within(index))?;
            }
        }
        Shape::Case(chosen) => {
            let cases = Cases::of(ty).expect("a value with a case is of a type with cases");
            let tag_bytes = cases.tag_bytes as usize;
            bytes[..tag_bytes].copy_from_slice(&chosen.tag.to_le_bytes()[..tag_bytes]);
            if let Some((payload, ty)) = chosen.payload {
                store_value(payload, ty, part(bytes, cases.payload_offset, ty), lower)
                    .map_err(|stopped| stopped.within(chosen.name))?;
            }
        }
    }
    Ok(())
}

/// Puts a string or list where `lower`, if any, says: its address, and its length in bytes or
/// items.
pub(crate) fn allocate<L: Lower>(
    value: &Value,
    ty: &Type,
    lower: &mut Option<&mut L>,
) -> Result<(u32, u32), Stopped<L::Error>> {
    let Some(target) = lower else {
        return Err(Fault::mismatch("a value of a fixed size: use a method", value).into());
    };
    let (items, item_type) = match shape(value, ty)? {
        Shape::Bytes(content) => {
            let count = length(content.len(), 1)?;
            let address = target.allocate(count, 1).map_err(Stopped::Lower)?;
            target.write(address, content).map_err(Stopped::Lower)?;
            return Ok((address, count));
        }
        Shape::List(items, item_type) => (items, item_type),
        _ => return Err(Fault::mismatch("a string or list", value).into()),
    };
    let layout = item_type.layout();
    let count = length(items.len(), layout.size)?;
    let size = layout.size as usize;
    let address = target.allocate(count * layout.size, layout.align).map_err(Stopped::Lower)?;
    let mut bytes = vec![0; items.len() * size];
    for (index, item) in items.iter().enumerate() {
        store_value(item, item_type, &mut bytes[index * size..][..size], lower)
            .map_err(|stopped| stopped.within(index))?;
    }
    let target = lower.as_mut().expect("there was a target above");
    target.write(address, &bytes).map_err(Stopped::Lower)?;
    Ok((address, count))
}

/// The number of items, if they fit in an address space.
fn length(count: usize, size: u32) -> Result<u32, Fault> {
    let fits = u32::try_from(count).ok().filter(|count| count.checked_mul(size).is_some());
    fits.ok_or_else(|| Fault::new("a list that fits in memory", format_args!("{count} items")))
}

fn part<'a>(bytes: &'a mut [u8], offset: u32, ty: &Type) -> &'a mut [u8] {
    &mut bytes[offset as usize..][..ty.layout().size as usize]
}

/// The absence of a memory.
enum Nowhere {}

impl Lower for Nowhere {
    type Error = Error;

    fn allocate(&mut self, _: u32, _: u32) -> Result<u32> {
        match *self {}
    }

    fn write(&mut self, _: u32, _: &[u8]) -> Result<()> {
        match *self {}
    }
}
