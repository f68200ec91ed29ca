//! The Canonical ABI read from its specification, for the part that objects may use: the WIT
//! library says where the parts of a type are; their meaning is written down here independently.
//!
//! This module does not know our types.

use object::limits::PAGE_BYTES;
use schema::{CoreValue, Value};
pub(super) use wit_parser::Type as Wit;
use wit_parser::{Flags, Function, Int, Resolve, SizeAlign, TypeDefKind};

use crate::generate::placed::STATE;
use crate::outcome::must;

/// Bytes and values that are read before the reader gives up: a changed length may be long. Fewer
/// than a state may have.
const READ_MAX: usize = 2_000_000;

/// A schema as the WIT library has it.
pub(super) struct Oracle {
    resolve: Resolve,
    sizes: SizeAlign,
}

/// Names, and what each carries.
type Cases = Vec<(String, Option<Wit>)>;

/// The reason for having no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Bad {
    /// The bytes are no value of the type.
    Invalid,
    /// The value is too large to be worth reading.
    TooMuch,
}

/// A memory that is read.
struct Reader<'a> {
    memory: &'a [u8],
    left: usize,
}

impl Oracle {
    pub(super) fn new(text: &str) -> Result<Oracle, String> {
        let (mut resolve, mut sizes) = (Resolve::default(), SizeAlign::default());
        must("parsing", resolve.push_source("oracle.wit", text))?;
        must("sizes", sizes.fill(&resolve))?;
        Ok(Oracle { resolve, sizes })
    }

    pub(super) fn resolve(&self) -> &Resolve {
        &self.resolve
    }

    /// The state record.
    pub(super) fn state(&self) -> Wit {
        let (_, interface) = self.resolve.interfaces.iter().next().expect("there is an interface");
        Wit::Id(interface.types["state"])
    }

    pub(super) fn function(&self, name: &str) -> &Function {
        let (_, interface) = self.resolve.interfaces.iter().next().expect("there is an interface");
        &interface.functions[name]
    }

    /// Size and alignment.
    pub(super) fn layout(&self, ty: &Wit) -> (usize, usize) {
        (self.sizes.size(ty).size_wasm32(), self.sizes.align(ty).align_wasm32())
    }

    fn kind(&self, ty: &Wit) -> Option<&TypeDefKind> {
        let Wit::Id(id) = ty else { return None };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(alias) => self.kind(alias),
            kind => Some(kind),
        }
    }

    /// A type that is another's name, as that other.
    fn plain(&self, ty: &Wit) -> Wit {
        let Wit::Id(id) = ty else { return *ty };
        match &self.resolve.types[*id].kind {
            TypeDefKind::Type(alias) => self.plain(alias),
            _ => *ty,
        }
    }

    /// The types in a type.
    pub(super) fn parts(&self, ty: &Wit) -> Vec<Wit> {
        match self.kind(ty) {
            Some(TypeDefKind::Record(record)) => record.fields.iter().map(|it| it.ty).collect(),
            Some(TypeDefKind::Tuple(tuple)) => tuple.types.clone(),
            Some(TypeDefKind::List(item) | TypeDefKind::Option(item)) => vec![*item],
            Some(TypeDefKind::Variant(variant)) => {
                variant.cases.iter().filter_map(|case| case.ty).collect()
            }
            Some(TypeDefKind::Result(result)) => {
                result.ok.iter().chain(&result.err).copied().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The offsets of the fields or items of a type.
    pub(super) fn offsets(&self, ty: &Wit) -> Vec<(usize, Wit)> {
        let parts = self.parts(ty);
        let offsets = self.sizes.field_offsets(&parts);
        offsets.into_iter().map(|(offset, ty)| (offset.size_wasm32(), *ty)).collect()
    }

    /// The cases of a type, how wide its discriminant is, and where the payload is.
    fn cases(&self, kind: &TypeDefKind) -> Option<(Cases, usize, usize)> {
        let named = |name: &str, ty: Option<Wit>| (name.to_string(), ty);
        let (cases, tag) = match kind {
            TypeDefKind::Option(ty) => {
                (vec![named("none", None), named("some", Some(*ty))], Int::U8)
            }
            TypeDefKind::Result(it) => (vec![named("ok", it.ok), named("error", it.err)], Int::U8),
            TypeDefKind::Variant(it) => {
                (it.cases.iter().map(|case| named(&case.name, case.ty)).collect(), it.tag())
            }
            TypeDefKind::Enum(it) => {
                (it.cases.iter().map(|case| named(&case.name, None)).collect(), it.tag())
            }
            _ => return None,
        };
        let offset = self.sizes.payload_offset(tag, cases.iter().map(|case| case.1.as_ref()));
        let width = match tag {
            Int::U8 => 1,
            Int::U16 => 2,
            Int::U32 => 4,
            Int::U64 => 8,
        };
        Some((cases, width, offset.size_wasm32()))
    }

    /// The value of a type at an address.
    pub(super) fn read(&self, memory: &[u8], at: usize, ty: &Wit) -> Result<Value, Bad> {
        let memory = &memory[..memory.len() - memory.len() % PAGE_BYTES];
        let mut reader = Reader { memory, left: READ_MAX };
        reader.range(at, self.layout(ty).0)?;
        self.value(&mut reader, at, ty)
    }

    fn value(&self, reader: &mut Reader<'_>, at: usize, ty: &Wit) -> Result<Value, Bad> {
        reader.spend(1)?;
        let Some(kind) = self.kind(ty) else {
            let plain = self.plain(ty);
            return match plain {
                Wit::String => {
                    let text = reader.pointed(at, (1, 1))?.0;
                    String::from_utf8(text).map(Value::String).map_err(|_| Bad::Invalid)
                }
                ty => scalar(reader.number(at, self.layout(&ty).0), &ty).ok_or(Bad::Invalid),
            };
        };
        if let Some((cases, width, offset)) = self.cases(kind) {
            let tag = reader.number(at, width) as usize;
            let (name, payload) = cases.get(tag).ok_or(Bad::Invalid)?;
            let payload = payload.as_ref().map(|ty| self.value(reader, at + offset, ty));
            return Ok(case(kind, name, payload.transpose()?));
        }
        let mut all = |offsets: Vec<(usize, Wit)>| {
            let values = offsets.iter().map(|(offset, ty)| self.value(reader, at + offset, ty));
            values.collect::<Result<Vec<Value>, Bad>>()
        };
        Ok(match kind {
            TypeDefKind::Record(record) => {
                let names = record.fields.iter().map(|field| field.name.clone());
                Value::Record(names.zip(all(self.offsets(ty))?).collect())
            }
            TypeDefKind::Tuple(_) => Value::Tuple(all(self.offsets(ty))?),
            TypeDefKind::Flags(flags) => {
                let bits = reader.number(at, self.layout(ty).0);
                flagged(flags, bits).ok_or(Bad::Invalid)?
            }
            TypeDefKind::List(item) => {
                let (size, align) = self.layout(item);
                let (bytes, start) = reader.pointed(at, (size, align))?;
                if self.plain(item) == Wit::U8 {
                    return Ok(Value::Bytes(bytes));
                }
                let count = bytes.len() / size;
                let items = (0..count).map(|index| self.value(reader, start + index * size, item));
                Value::List(items.collect::<Result<_, _>>()?)
            }
            other => unreachable!("no object has a type like {other:?}"),
        })
    }

    /// A memory of whole pages with a value where states are.
    pub(super) fn place(&self, value: &Value, ty: &Wit) -> Vec<u8> {
        let start = STATE as usize;
        let mut memory = vec![0; start + self.layout(ty).0];
        self.write(&mut memory, start, ty, value);
        memory.resize(memory.len().next_multiple_of(PAGE_BYTES), 0);
        memory
    }

    fn write(&self, memory: &mut Vec<u8>, at: usize, ty: &Wit, value: &Value) {
        let kind = self.kind(ty);
        let mut number = |at: usize, number: u64, width: usize| {
            memory[at..at + width].copy_from_slice(&number.to_le_bytes()[..width]);
        };
        match (kind, value) {
            (None, Value::String(text)) => self.point(memory, at, 1, text.as_bytes()),
            (None, value) => number(at, bits(value), self.layout(ty).0),
            (Some(TypeDefKind::Flags(flags)), Value::Flags(set)) => {
                number(at, raised(flags, set), self.layout(ty).0);
            }
            (Some(TypeDefKind::List(_)), Value::Bytes(bytes)) => self.point(memory, at, 1, bytes),
            (Some(TypeDefKind::List(item)), Value::List(values)) => {
                let (size, align) = self.layout(item);
                self.point(memory, at, align, &vec![0; size * values.len()]);
                let start = u32::from_le_bytes(memory[at..at + 4].try_into().expect("4 bytes"));
                // The count is one of items.
                memory[at + 4..at + 8].copy_from_slice(&(values.len() as u32).to_le_bytes());
                for (index, value) in values.iter().enumerate() {
                    self.write(memory, start as usize + index * size, item, value);
                }
            }
            (_, Value::Record(fields)) => {
                for ((offset, ty), (_, value)) in self.offsets(ty).iter().zip(fields) {
                    self.write(memory, at + offset, ty, value);
                }
            }
            (_, Value::Tuple(values)) => {
                for ((offset, ty), value) in self.offsets(ty).iter().zip(values) {
                    self.write(memory, at + offset, ty, value);
                }
            }
            (Some(kind), value) => {
                let (cases, width, offset) = self.cases(kind).expect("every other type has cases");
                let (name, payload) = chosen(value);
                let tag = cases.iter().position(|case| case.0 == name).expect("the case is there");
                number(at, tag as u64, width);
                if let (Some(value), Some(ty)) = (payload, &cases[tag].1) {
                    self.write(memory, at + offset, ty, value);
                }
            }
        }
    }

    /// Puts bytes at the end of the memory, and their address and count at `at`.
    fn point(&self, memory: &mut Vec<u8>, at: usize, align: usize, bytes: &[u8]) {
        let start = memory.len().next_multiple_of(align);
        memory.resize(start, 0);
        memory.extend_from_slice(bytes);
        memory[at..at + 4].copy_from_slice(&(start as u32).to_le_bytes());
        memory[at + 4..at + 8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
    }

    /// The value that core values are.
    pub(super) fn lift(
        &self,
        flat: &mut impl Iterator<Item = CoreValue>,
        memory: &[u8],
        ty: &Wit,
    ) -> Result<Value, Bad> {
        match self.kind(ty) {
            Some(TypeDefKind::Record(record)) => {
                let fields = record.fields.iter();
                let values =
                    fields.map(|it| Ok((it.name.clone(), self.lift(flat, memory, &it.ty)?)));
                values.collect::<Result<_, _>>().map(Value::Record)
            }
            Some(TypeDefKind::Tuple(tuple)) => {
                let values = tuple.types.iter().map(|ty| self.lift(flat, memory, ty));
                values.collect::<Result<_, _>>().map(Value::Tuple)
            }
            Some(TypeDefKind::Option(payload)) => {
                let tag = core_bits(flat.next().ok_or(Bad::Invalid)?);
                // An absent payload is passed as zeros, which are a valid value of any parameter.
                let value = self.lift(flat, memory, payload)?;
                Ok(Value::Option((tag == 1).then(|| Box::new(value))))
            }
            Some(TypeDefKind::List(_)) => self.lift_pointer(flat, memory, ty),
            None if self.plain(ty) == Wit::String => self.lift_pointer(flat, memory, ty),
            Some(TypeDefKind::Flags(flags)) => {
                let bits = core_bits(flat.next().ok_or(Bad::Invalid)?);
                flagged(flags, bits).ok_or(Bad::Invalid)
            }
            Some(kind) => {
                let (cases, ..) = self.cases(kind).ok_or(Bad::Invalid)?;
                let tag = core_bits(flat.next().ok_or(Bad::Invalid)?);
                let (name, _) = cases.get(tag as usize).ok_or(Bad::Invalid)?;
                Ok(case(kind, name, None))
            }
            None => {
                let bits = core_bits(flat.next().ok_or(Bad::Invalid)?);
                let width = self.layout(ty).0 * 8;
                let bits = if width < 64 { bits & ((1 << width) - 1) } else { bits };
                scalar(bits, &self.plain(ty)).ok_or(Bad::Invalid)
            }
        }
    }

    fn lift_pointer(
        &self,
        flat: &mut impl Iterator<Item = CoreValue>,
        memory: &[u8],
        ty: &Wit,
    ) -> Result<Value, Bad> {
        let mut pair = Vec::from(memory);
        let at = pair.len().next_multiple_of(PAGE_BYTES);
        pair.resize(at + PAGE_BYTES, 0);
        for offset in [0, 4] {
            let bits = core_bits(flat.next().ok_or(Bad::Invalid)?) as u32;
            pair[at + offset..at + offset + 4].copy_from_slice(&bits.to_le_bytes());
        }
        // With a count of zero nothing is read, even where the address points to zeros.
        self.read(&pair, at, ty)
    }

    /// The one core value that a value is passed as.
    pub(super) fn lower(&self, value: &Value, ty: &Wit) -> CoreValue {
        match (self.kind(ty), value) {
            (_, Value::Record(fields)) => self.lower(&fields[0].1, &self.parts(ty)[0]),
            (_, Value::Tuple(items)) => self.lower(&items[0], &self.parts(ty)[0]),
            (Some(TypeDefKind::Flags(flags)), Value::Flags(set)) => {
                CoreValue::I32(raised(flags, set) as u32)
            }
            (Some(kind), value) => {
                let (cases, ..) = self.cases(kind).expect("a core value is a case");
                let name = chosen(value).0;
                let tag = cases.iter().position(|case| case.0 == name).expect("the case is there");
                CoreValue::I32(tag as u32)
            }
            (None, Value::U64(_) | Value::S64(_)) => CoreValue::I64(bits(value)),
            (None, Value::F32(_)) => CoreValue::F32(bits(value) as u32),
            (None, Value::F64(_)) => CoreValue::F64(bits(value)),
            (None, _) => CoreValue::I32(bits(value) as u32),
        }
    }
}

impl Reader<'_> {
    fn spend(&mut self, count: usize) -> Result<(), Bad> {
        self.left = self.left.checked_sub(count).ok_or(Bad::TooMuch)?;
        Ok(())
    }

    fn range(&self, at: usize, count: usize) -> Result<(), Bad> {
        if at.saturating_add(count) <= self.memory.len() { Ok(()) } else { Err(Bad::Invalid) }
    }

    /// A little-endian number in a range that is known to be there.
    fn number(&self, at: usize, width: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(&self.memory[at..at + width]);
        u64::from_le_bytes(bytes)
    }

    /// The bytes that an address and a count point to, and the address.
    fn pointed(
        &mut self,
        at: usize,
        (size, align): (usize, usize),
    ) -> Result<(Vec<u8>, usize), Bad> {
        let (start, count) = (self.number(at, 4) as usize, self.number(at + 4, 4) as usize);
        let bytes = count.saturating_mul(size);
        if start % align != 0 {
            return Err(Bad::Invalid);
        }
        self.range(start, bytes)?;
        self.spend(bytes)?;
        Ok((self.memory[start..start + bytes].to_vec(), start))
    }
}

/// The value of a scalar type that some bits are.
fn scalar(bits: u64, ty: &Wit) -> Option<Value> {
    Some(match ty {
        Wit::Bool => Value::Bool(match bits {
            0 => false,
            1 => true,
            _ => return None,
        }),
        Wit::U8 => Value::U8(bits as u8),
        Wit::U16 => Value::U16(bits as u16),
        Wit::U32 => Value::U32(bits as u32),
        Wit::U64 => Value::U64(bits),
        Wit::S8 => Value::S8(bits as i8),
        Wit::S16 => Value::S16(bits as i16),
        Wit::S32 => Value::S32(bits as i32),
        Wit::S64 => Value::S64(bits as i64),
        Wit::F32 => Value::F32(f32::from_bits(bits as u32)),
        Wit::F64 => Value::F64(f64::from_bits(bits)),
        Wit::Char => Value::Char(char::from_u32(bits as u32)?),
        other => unreachable!("{other:?} is no scalar"),
    })
}

/// The bits that a scalar value is.
fn bits(value: &Value) -> u64 {
    match *value {
        Value::Bool(value) => u64::from(value),
        Value::U8(value) => u64::from(value),
        Value::U16(value) => u64::from(value),
        Value::U32(value) => u64::from(value),
        Value::U64(value) => value,
        Value::S8(value) => value as u64,
        Value::S16(value) => value as u64,
        Value::S32(value) => value as u64,
        Value::S64(value) => value as u64,
        Value::F32(value) => u64::from(value.to_bits()),
        Value::F64(value) => value.to_bits(),
        Value::Char(value) => u64::from(u32::from(value)),
        ref other => unreachable!("{other:?} is no scalar"),
    }
}

fn core_bits(core: CoreValue) -> u64 {
    match core {
        CoreValue::I32(bits) | CoreValue::F32(bits) => u64::from(bits),
        CoreValue::I64(bits) | CoreValue::F64(bits) => bits,
    }
}

fn flagged(flags: &Flags, bits: u64) -> Option<Value> {
    let names = flags.flags.iter().enumerate();
    let set = names.filter(|(index, _)| bits >> index & 1 == 1).map(|(_, it)| it.name.clone());
    (bits >> flags.flags.len() == 0).then(|| Value::Flags(set.collect()))
}

fn raised(flags: &Flags, set: &[String]) -> u64 {
    let bit = |name: &String| flags.flags.iter().position(|flag| flag.name == *name);
    set.iter().map(|name| 1 << bit(name).expect("the flag is there")).sum()
}

/// The value of a case.
fn case(kind: &TypeDefKind, name: &str, payload: Option<Value>) -> Value {
    let payload = payload.map(Box::new);
    match kind {
        TypeDefKind::Option(_) => Value::Option(payload),
        TypeDefKind::Result(_) if name == "ok" => Value::Result(Ok(payload)),
        TypeDefKind::Result(_) => Value::Result(Err(payload)),
        TypeDefKind::Enum(_) => Value::Enum(name.to_string()),
        _ => Value::Variant(name.to_string(), payload),
    }
}

/// Returns the case of a value, and its payload.
fn chosen(value: &Value) -> (&str, Option<&Value>) {
    match value {
        Value::Option(None) => ("none", None),
        Value::Option(Some(payload)) => ("some", Some(payload)),
        Value::Result(Ok(payload)) => ("ok", payload.as_deref()),
        Value::Result(Err(payload)) => ("error", payload.as_deref()),
        Value::Enum(name) => (name, None),
        Value::Variant(name, payload) => (name, payload.as_deref()),
        other => unreachable!("{other:?} is no case"),
    }
}
