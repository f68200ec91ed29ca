//! Excerpts of a state: selected fields, with long lists and texts cut to just beyond the length at
//! which a reader rejects them.
//!
//! A decision looks at a few fields of a state that may be many mebibytes. This module does not
//! know who selects the fields, nor why.
//!
//! Invariant: an excerpt's size is bounded by the selection and the limits given, not by the
//! memory.

use object::Result;
use object::memory::Memory;

use crate::fault::Result as FaultResult;
use crate::read::{Walk, bits};
use crate::shape::Cases;
use crate::types::{Record, Type};
use crate::value::Value;

/// The selected fields of a record, by index; for a field that is a record or an option of one,
/// also a selection of its own fields.
#[derive(Debug, Clone, Default)]
pub struct Selection(pub Vec<(usize, Option<Selection>)>);

/// The lengths of lists and texts up to which they are read; an excerpt holds a little more.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Items of a list.
    pub items: u32,
    /// Bytes of a text.
    pub text_bytes: u32,
}

/// Reads the selected fields of the valid state record at `address`. Every other field is `none`.
///
/// # Errors
///
/// `State` when memory does not hold it.
pub(crate) fn excerpt(
    memory: &(impl Memory + ?Sized),
    address: u32,
    record: &Record,
    selection: &Selection,
    most: Most,
) -> Result<Value> {
    let mut reader = Reader { walk: Walk::new(memory), most };
    let read = reader
        .walk
        .validate_bytes(address, record.layout().size.into())
        .and_then(|()| reader.record(address, record, selection));
    read.map_err(|fault| fault.within("state").in_memory())
}

struct Reader<'a, M: ?Sized> {
    walk: Walk<'a, M>,
    most: Most,
}

impl<M: Memory + ?Sized> Reader<'_, M> {
    fn record(&mut self, at: u32, record: &Record, wanted: &Selection) -> FaultResult<Value> {
        let unread = |name: &String| (name.clone(), Value::Option(None));
        let mut values: Vec<(String, Value)> =
            record.fields.iter().map(|field| unread(&field.name)).collect();
        for (index, inner) in &wanted.0 {
            let field = &record.fields[*index];
            let value = self.value(at + field.offset, &field.ty, inner.as_ref());
            values[*index].1 = value.map_err(|fault| fault.within(&field.name))?;
        }
        Ok(Value::Record(values))
    }

    fn value(&mut self, at: u32, ty: &Type, inner: Option<&Selection>) -> FaultResult<Value> {
        match (ty, inner) {
            (Type::Record(record), Some(inner)) => self.record(at, record, inner),
            (Type::Option(payload), _) => {
                let cases = Cases::of(ty).expect("an option has cases");
                let tag = bits(self.walk.memory(), at, cases.tag_bytes) as u32;
                cases.case(tag)?;
                let payload = match tag {
                    0 => None,
                    _ => Some(self.value(at + cases.payload_offset, payload, inner)?),
                };
                Ok(cases.value(tag, payload))
            }
            (Type::List(item), _) if !matches!(**item, Type::U8) => {
                let (start, count) = self.walk.pointer(at, item)?;
                let size = item.layout().size;
                let shown = 0..count.min(self.most.items.saturating_add(1));
                let items = shown.map(|index| {
                    let item = self.value(start + index * size, item, None);
                    item.map_err(|fault| fault.within(index))
                });
                Ok(Value::List(items.collect::<FaultResult<_>>()?))
            }
            (Type::String | Type::List(_), _) => {
                let (start, count) = self.walk.pointer(at, &Type::U8)?;
                // One character more, so that a cut text is still too long.
                let shown =
                    self.walk.copy(start, count.min(self.most.text_bytes.saturating_add(4)));
                Ok(match ty {
                    Type::String => Value::String(String::from_utf8_lossy(&shown).into_owned()),
                    _ => Value::Bytes(shown),
                })
            }
            _ => self.walk.value(at, ty),
        }
    }
}
