//! Calls as core WebAssembly sees them: arguments down to core values, a result up from one.
//!
//! It does not know an engine: memory is allocated and written through [`Lower`]. The rules are
//! the Canonical ABI's for a synchronous export.
//!
//! Invariant: lowered arguments are as many core values as `flatten_params` says, in its order.

use object::Result;
use object::memory::Memory;

use crate::fault::{Fault, Result as FaultResult};
use crate::method::{Method, Param};
use crate::payload::validate_count;
use crate::read::read_value;
use crate::scalar;
use crate::shape::{Shape, shape};
use crate::store::{self, Lower, Stopped};
use crate::types::Type;
use crate::value::Value;

/// A type of core WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreType {
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `f32`
    F32,
    /// `f64`
    F64,
}

/// A value of core WebAssembly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CoreValue {
    /// An `i32`, as its bits.
    I32(u32),
    /// An `i64`, as its bits.
    I64(u64),
    /// An `f32`, as its bits.
    F32(u32),
    /// An `f64`, as its bits.
    F64(u64),
}

/// Lowers a method's arguments to core values.
///
/// # Errors
///
/// `Value` when the arguments are not of the parameters' types; the errors of `lower`.
pub fn lower_args<L: Lower>(
    args: &[Value],
    params: &[Param],
    lower: &mut L,
) -> Result<Vec<CoreValue>, L::Error> {
    validate_count(args, params)?;
    let mut flat = Vec::new();
    let mut lower = Some(lower);
    for (arg, param) in args.iter().zip(params) {
        lower_flat(arg, &param.ty, &mut flat, &mut lower).map_err(|stopped| {
            stopped.within(&param.name).within("input").into_error(Fault::in_value)
        })?;
    }
    if cfg!(debug_assertions) {
        let types = flatten_params(params);
        let is_whole = types.len() <= object::limits::FLAT_PARAMS_MAX;
        let is_same = flat.iter().map(|value| type_of(*value)).eq(types);
        assert!(!is_whole || is_same, "arguments are passed as the parameters are declared");
    }
    Ok(flat)
}

fn lower_flat<L: Lower>(
    value: &Value,
    ty: &Type,
    flat: &mut Vec<CoreValue>,
    lower: &mut Option<&mut L>,
) -> Result<(), Stopped<L::Error>> {
    match shape(value, ty)? {
        Shape::Scalar(bits, _) => flat.push(core(bits, scalar_type(ty))),
        Shape::Bytes(_) | Shape::List(..) => {
            let (address, count) = store::allocate(value, ty, lower)?;
            flat.extend([CoreValue::I32(address), CoreValue::I32(count)]);
        }
        Shape::Record(fields, values) => {
            for (field, (name, value)) in fields.iter().zip(values) {
                lower_flat(value, &field.ty, flat, lower)
                    .map_err(|stopped| stopped.within(name))?;
            }
        }
        Shape::Tuple(items, values) => {
            for (index, ((ty, _), value)) in items.iter().zip(values).enumerate() {
                lower_flat(value, ty, flat, lower).map_err(|stopped| stopped.within(index))?;
            }
        }
        Shape::Case(chosen) => {
            let Type::Option(payload_type) = ty else {
                return Err(Fault::mismatch("no variant or result in an argument", value).into());
            };
            flat.push(CoreValue::I32(chosen.tag));
            match chosen.payload {
                Some((payload, ty)) => lower_flat(payload, ty, flat, lower)
                    .map_err(|stopped| stopped.within(chosen.name))?,
                None => {
                    let mut types = Vec::new();
                    flatten(payload_type, &mut types);
                    flat.extend(types.into_iter().map(|ty| core(0, ty)));
                }
            }
        }
    }
    Ok(())
}

/// Stores a value as memory holds it, at an address that `lower` allocates, and returns the
/// address.
///
/// # Errors
///
/// `Value` when the value is not of the type; the errors of `lower`.
pub fn lower_value<L: Lower>(value: &Value, ty: &Type, lower: &mut L) -> Result<u32, L::Error> {
    let layout = ty.layout();
    let address = lower.allocate(layout.size, layout.align)?;
    let mut bytes = vec![0; layout.size as usize];
    let mut lower = Some(lower);
    store::store_value(value, ty, &mut bytes, &mut lower)
        .map_err(|stopped| stopped.into_error(Fault::in_value))?;
    lower.expect("it was just put there").write(address, &bytes)?;
    Ok(address)
}

/// Lifts a method's result: from the core value itself when it is one, else from memory at the
/// address in the core value. Returns `None` for a method without a result.
///
/// # Errors
///
/// `State` when the core value or the memory does not hold such a result.
pub fn lift_result(
    method: &Method,
    core: Option<CoreValue>,
    memory: &(impl Memory + ?Sized),
) -> Result<Option<Value>> {
    let fail = |expected: &str| Fault::new(expected, format_args!("{core:?}")).within("result");
    let Some(ty) = &method.result else {
        return match core {
            None => Ok(None),
            Some(_) => Err(fail("nothing").in_memory()),
        };
    };
    let Some(core) = core else {
        return Err(fail("a core value").in_memory());
    };
    match (single(ty), core) {
        (None, CoreValue::I32(address)) => read_value(memory, address, ty).map(Some),
        (Some(_), core) if type_of(core) == single(ty).unwrap_or(CoreType::I32) => {
            let bits = match core {
                CoreValue::I32(bits) | CoreValue::F32(bits) => u64::from(bits),
                CoreValue::I64(bits) | CoreValue::F64(bits) => bits,
            };
            let value = lift(bits, ty).map_err(|fault| fault.within("result").in_memory());
            value.map(Some)
        }
        _ => Err(fail("a core value of the method's type").in_memory()),
    }
}

/// The value of a type that flattens to a single core value, out of that value's bits.
fn lift(bits: u64, ty: &Type) -> FaultResult<Value> {
    Ok(match ty {
        Type::Record(record) => {
            debug_assert_eq!(record.fields.len(), 1, "other records do not fit into a core value");
            let field = &record.fields[0];
            let value = lift(bits, &field.ty).map_err(|fault| fault.within(&field.name))?;
            Value::Record(vec![(field.name.clone(), value)])
        }
        Type::Tuple(tuple) => {
            debug_assert_eq!(tuple.items.len(), 1, "other tuples do not fit into a core value");
            let value = lift(bits, &tuple.items[0].0).map_err(|fault| fault.within(0))?;
            Value::Tuple(vec![value])
        }
        Type::Bool => Value::Bool(bits != 0),
        ty => match crate::shape::Cases::of(ty) {
            Some(cases) => {
                let tag = bits as u32;
                cases.case(tag)?;
                cases.value(tag, None)
            }
            // Bits beyond a narrow integer or the flags do not count.
            None => scalar::decode(bits & mask(ty), ty)?,
        },
    })
}

fn mask(ty: &Type) -> u64 {
    match ty {
        Type::U8 | Type::S8 => 0xff,
        Type::U16 | Type::S16 => 0xffff,
        Type::Flags(ty) => (1 << ty.flags.len()) - 1,
        _ => u64::MAX,
    }
}

/// The core types of some parameters; cut short once they are more than a call can pass.
/// Without meaning for a parameter with a variant or result in it, which no schema has.
pub(crate) fn flatten_params(params: &[Param]) -> Vec<CoreType> {
    let mut flat = Vec::new();
    params.iter().for_each(|param| flatten(&param.ty, &mut flat));
    flat
}

fn flatten(ty: &Type, flat: &mut Vec<CoreType>) {
    if flat.len() > object::limits::FLAT_PARAMS_MAX {
        return;
    }
    match ty {
        Type::String | Type::List(_) => flat.extend([CoreType::I32; 2]),
        Type::Record(record) => record.fields.iter().for_each(|field| flatten(&field.ty, flat)),
        Type::Tuple(tuple) => tuple.items.iter().for_each(|(item, _)| flatten(item, flat)),
        Type::Option(payload) => {
            flat.push(CoreType::I32);
            flatten(payload, flat);
        }
        scalar => flat.push(scalar_type(scalar)),
    }
}

/// The core type of a type that flattens to a single one.
pub(crate) fn single(ty: &Type) -> Option<CoreType> {
    match ty {
        Type::String | Type::List(_) | Type::Option(_) => None,
        Type::Record(record) if record.fields.len() == 1 => single(&record.fields[0].ty),
        Type::Tuple(tuple) if tuple.items.len() == 1 => single(&tuple.items[0].0),
        Type::Record(_) | Type::Tuple(_) => None,
        Type::Variant(variant) => {
            variant.cases.iter().all(|case| case.payload.is_none()).then_some(CoreType::I32)
        }
        Type::Result(result) => {
            (result.ok.is_none() && result.err.is_none()).then_some(CoreType::I32)
        }
        scalar => Some(scalar_type(scalar)),
    }
}

/// The core type of a type that has a width.
fn scalar_type(ty: &Type) -> CoreType {
    match ty {
        Type::U64 | Type::S64 => CoreType::I64,
        Type::F32 => CoreType::F32,
        Type::F64 => CoreType::F64,
        _ => CoreType::I32,
    }
}

fn core(bits: u64, ty: CoreType) -> CoreValue {
    match ty {
        CoreType::I32 => CoreValue::I32(bits as u32),
        CoreType::I64 => CoreValue::I64(bits),
        CoreType::F32 => CoreValue::F32(bits as u32),
        CoreType::F64 => CoreValue::F64(bits),
    }
}

fn type_of(core: CoreValue) -> CoreType {
    match core {
        CoreValue::I32(_) => CoreType::I32,
        CoreValue::I64(_) => CoreType::I64,
        CoreValue::F32(_) => CoreType::F32,
        CoreValue::F64(_) => CoreType::F64,
    }
}

impl Method {
    /// The parameters of the module's export.
    pub fn core_params(&self) -> Vec<CoreType> {
        flatten_params(&self.params)
    }

    /// The results of the module's export: none, the result itself when it is one core value, or
    /// its address in memory.
    pub fn core_results(&self) -> Vec<CoreType> {
        let result = self.result.as_ref();
        result.map(|ty| single(ty).unwrap_or(CoreType::I32)).into_iter().collect()
    }
}
