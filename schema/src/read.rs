//! Values in place: reading them out of a linear memory, and validating that they can be read.
//!
//! It does not know who wrote the memory, and trusts none of it.
//!
//! Invariant: validating and reading are one walk, so a state is valid exactly when it can be read;
//! the walk visits at most `STATE_BYTES_MAX` bytes behind pointers and `STATE_VALUES_MAX` values,
//! and validating allocates nothing.

use object::Result;
use object::limits::{MEMORY_BYTES_MAX, PAGE_BYTES, STATE_BYTES_MAX, STATE_VALUES_MAX};
use object::memory::Memory;

use crate::fault::{Fault, Result as FaultResult};
use crate::scalar;
use crate::shape::Cases;
use crate::types::{Record, Type};
use crate::value::Value;

/// Reads a value at an address.
///
/// # Errors
///
/// `State` when memory does not hold a value of the type there.
pub fn read_value(memory: &(impl Memory + ?Sized), address: u32, ty: &Type) -> Result<Value> {
    let mut walk = Walk::new(memory);
    walk.validate_range(address, 1, ty)
        .and_then(|()| walk.value(address, ty))
        .map_err(Fault::in_memory)
}

/// A result of reading: the values themselves, or nothing for validation alone.
pub(crate) trait Lift: Sized {
    /// Converts a value.
    fn of(value: impl FnOnce() -> Value) -> Self;

    /// Combines the results for a value's parts.
    fn group(parts: Vec<Self>, value: impl FnOnce(Vec<Value>) -> Value) -> Self;

    /// True if values are built at all.
    const MADE: bool;
}

impl Lift for Value {
    fn of(value: impl FnOnce() -> Value) -> Value {
        value()
    }

    fn group(parts: Vec<Value>, value: impl FnOnce(Vec<Value>) -> Value) -> Value {
        value(parts)
    }

    const MADE: bool = true;
}

impl Lift for () {
    fn of(_: impl FnOnce() -> Value) {}

    fn group(_: Vec<()>, _: impl FnOnce(Vec<Value>) -> Value) {}

    const MADE: bool = false;
}

/// Reads or validates the state record at `address`, a whole page's.
pub(crate) fn state<T: Lift>(
    memory: &(impl Memory + ?Sized),
    address: u32,
    record: &Record,
) -> Result<T> {
    let mut walk = Walk::new(memory);
    let whole_page = if (address as usize).is_multiple_of(PAGE_BYTES) {
        walk.validate_bytes(address, record.layout().size.into())
    } else {
        let expected = format_args!("an address that is a multiple of {PAGE_BYTES}");
        Err(Fault::new(expected, address))
    };
    whole_page
        .and_then(|()| walk.record(address, record))
        .map_err(|fault| fault.within("state").in_memory())
}

/// The bits of `width` bytes at an address that is a multiple of `width`, inside memory.
pub(crate) fn bits(memory: &(impl Memory + ?Sized), address: u32, width: u32) -> u64 {
    let page = memory.page(address / PAGE_BYTES as u32);
    let at = address as usize % PAGE_BYTES;
    debug_assert!(at + width as usize <= PAGE_BYTES, "a scalar is aligned, so it is in one page");
    scalar::from_bytes(&page[at..at + width as usize])
}

/// A walk over values in memory.
pub(crate) struct Walk<'a, M: ?Sized> {
    memory: &'a M,
    /// Bytes behind pointers that may still be visited.
    left: u64,
    /// Values that may still be met.
    values: u64,
}

impl<'a, M: Memory + ?Sized> Walk<'a, M> {
    pub(crate) fn new(memory: &'a M) -> Walk<'a, M> {
        Walk { memory, left: STATE_BYTES_MAX, values: STATE_VALUES_MAX }
    }

    pub(crate) fn memory(&self) -> &'a M {
        self.memory
    }

    /// Checks that `count` values of a type may be at an address.
    pub(crate) fn validate_range(&self, address: u32, count: u32, ty: &Type) -> FaultResult<()> {
        let layout = ty.layout();
        if !address.is_multiple_of(layout.align) {
            let expected = format_args!("an address that is a multiple of {}", layout.align);
            return Err(Fault::new(expected, address));
        }
        self.validate_bytes(address, u64::from(count) * u64::from(layout.size))
    }

    /// Checks that memory has `bytes` bytes at an address.
    pub(crate) fn validate_bytes(&self, address: u32, bytes: u64) -> FaultResult<()> {
        // No object has more; so no sum of an address and a length overflows below.
        let memory = self.memory.bytes_count().min(MEMORY_BYTES_MAX);
        if u64::from(address).saturating_add(bytes) <= memory {
            return Ok(());
        }
        let expected = format_args!("bytes within the {memory} of memory");
        Err(Fault::new(expected, format_args!("{bytes} at {address}")))
    }

    /// Takes `values` from the number of values that may be visited.
    fn spend(&mut self, values: u32) -> FaultResult<()> {
        self.values = self
            .values
            .checked_sub(values.into())
            .ok_or_else(|| Fault::new(format_args!("at most {STATE_VALUES_MAX} values"), "more"))?;
        Ok(())
    }

    /// Walks the value at a validated address. Recurses as deep as the type nests.
    pub(crate) fn value<T: Lift>(&mut self, address: u32, ty: &Type) -> FaultResult<T> {
        self.spend(1)?;
        if let Some(width) = scalar::width(ty) {
            let bits = bits(self.memory, address, width);
            scalar::validate(bits, ty)?;
            return Ok(T::of(|| scalar::decode(bits, ty).expect("validated above")));
        }
        match ty {
            Type::String => self.string(address),
            Type::List(item) => self.list(address, item),
            Type::Record(record) => self.record(address, record),
            Type::Tuple(tuple) => {
                let mut items = Vec::new();
                for (index, (ty, offset)) in tuple.items.iter().enumerate() {
                    let item = self.value::<T>(address + offset, ty);
                    items.push(item.map_err(|fault| fault.within(index))?);
                }
                Ok(T::group(items, Value::Tuple))
            }
            ty => {
                let cases = Cases::of(ty).expect("every other type is handled above");
                let tag = bits(self.memory, address, cases.tag_bytes) as u32;
                let (name, payload) = cases.case(tag)?;
                let mut parts = Vec::new();
                if let Some(ty) = payload {
                    let payload = self.value::<T>(address + cases.payload_offset, ty);
                    parts.push(payload.map_err(|fault| fault.within(name))?);
                }
                Ok(T::group(parts, |mut parts| cases.value(tag, parts.pop())))
            }
        }
    }

    fn record<T: Lift>(&mut self, address: u32, record: &Record) -> FaultResult<T> {
        let mut values = Vec::new();
        for field in &record.fields {
            if !T::MADE && field.ty.any_bits() {
                self.spend(1).map_err(|fault| fault.within(&field.name))?;
                continue;
            }
            let value = self.value::<T>(address + field.offset, &field.ty);
            values.push(value.map_err(|fault| fault.within(&field.name))?);
        }
        let named = |values: Vec<Value>| {
            let names = record.fields.iter().map(|field| field.name.clone());
            Value::Record(names.zip(values).collect())
        };
        Ok(T::group(values, named))
    }

    fn list<T: Lift>(&mut self, address: u32, item: &Type) -> FaultResult<T> {
        let (start, count) = self.pointer(address, item)?;
        if matches!(item, Type::U8) {
            return Ok(T::of(|| Value::Bytes(self.copy(start, count))));
        }
        if item.any_bits() && u64::from(count) > self.values {
            self.values = 0;
            self.spend(1)?;
        }
        if !T::MADE && item.any_bits() {
            self.spend(count)?;
            return Ok(T::group(Vec::new(), Value::List));
        }
        let size = item.layout().size;
        let mut items = Vec::new();
        for index in 0..count {
            let value = self.value::<T>(start + index * size, item);
            items.push(value.map_err(|fault| fault.within(index))?);
        }
        Ok(T::group(items, Value::List))
    }

    fn string<T: Lift>(&mut self, address: u32) -> FaultResult<T> {
        let (start, count) = self.pointer(address, &Type::U8)?;
        self.validate_text(start, count)?;
        Ok(T::of(|| {
            let text = String::from_utf8(self.copy(start, count));
            Value::String(text.expect("validated above"))
        }))
    }

    /// The address and length that a string or list of `item` has at a validated address.
    pub(crate) fn pointer(&mut self, address: u32, item: &Type) -> FaultResult<(u32, u32)> {
        let pair = bits(self.memory, address, 4) | bits(self.memory, address + 4, 4) << 32;
        let (start, count) = (pair as u32, (pair >> 32) as u32);
        self.validate_range(start, count, item)?;
        let bytes = u64::from(count) * u64::from(item.layout().size);
        self.left = self.left.checked_sub(bytes).ok_or_else(|| {
            let expected = format_args!("at most {STATE_BYTES_MAX} bytes in strings and lists");
            Fault::new(expected, format_args!("{bytes} more bytes"))
        })?;
        Ok((start, count))
    }

    /// The pieces that a validated range has in the pages it lies in.
    pub(crate) fn pieces(&self, start: u32, count: u32) -> impl Iterator<Item = &'a [u8]> {
        let memory = self.memory;
        let (mut at, mut left) = (start as usize, count as usize);
        std::iter::from_fn(move || {
            let offset = at % PAGE_BYTES;
            let piece = left.min(PAGE_BYTES - offset);
            if piece == 0 {
                return None;
            }
            let page = memory.page((at / PAGE_BYTES) as u32);
            (at, left) = (at + piece, left - piece);
            Some(&page[offset..offset + piece])
        })
    }

    /// The bytes of a validated range.
    pub(crate) fn copy(&self, start: u32, count: u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count as usize);
        self.pieces(start, count).for_each(|piece| bytes.extend_from_slice(piece));
        debug_assert_eq!(bytes.len(), count as usize, "pieces are as long as what they are of");
        bytes
    }

    /// Checks that a validated range is UTF-8, without joining its pieces.
    fn validate_text(&self, start: u32, count: u32) -> FaultResult<()> {
        let fail = || Fault::new("UTF-8", format_args!("other bytes among {count} at {start}"));
        // The start of a character that continues in the next piece.
        let (mut open, mut open_bytes) = ([0u8; 4], 0);
        for mut piece in self.pieces(start, count) {
            while open_bytes > 0 && !piece.is_empty() {
                (open[open_bytes], open_bytes) = (piece[0], open_bytes + 1);
                piece = &piece[1..];
                match std::str::from_utf8(&open[..open_bytes]) {
                    Ok(_) => open_bytes = 0,
                    Err(error) if error.error_len().is_some() => return Err(fail()),
                    Err(_) => {}
                }
            }
            if let Err(error) = std::str::from_utf8(piece) {
                if error.error_len().is_some() {
                    return Err(fail());
                }
                let rest = &piece[error.valid_up_to()..];
                open_bytes = rest.len();
                open[..open_bytes].copy_from_slice(rest);
            }
        }
        if open_bytes > 0 { Err(fail()) } else { Ok(()) }
    }
}
