//! Seeded random WIT packages, values of their types, and a memory that grows as it is asked.

use object::Error;
use object::limits::PAGE_BYTES;
use schema::{CoreValue, Lower, Param, Record, Schema, Type, Value, lower_args};
use std::sync::Arc;

use crate::source::Source;

const SCALARS: [&str; 13] =
    ["bool", "u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "f32", "f64", "char", "string"];

/// Generates a package with some named types, a state and some methods with results of any type,
/// within the limits of a type's size.
pub(super) fn wit(source: &mut Source) -> String {
    loop {
        let text = draw(source);
        let refused = Schema::parse(&text).err().map(|error| error.to_string());
        if !refused.is_some_and(|why| why.contains("types nested") || why.contains("a type of")) {
            return text;
        }
    }
}

fn draw(source: &mut Source) -> String {
    let mut named = Vec::new();
    let mut params = vec!["string".to_string()];
    let mut text = String::from("package fleet:random@1.2.3;\n\ninterface thing {\n");
    for index in 0..source.below(8) {
        let name = format!("ty{index}");
        let (definition, is_param) = definition(source, &name, &named);
        text += &definition;
        if is_param {
            params.push(name.clone());
        }
        named.push(name);
    }
    text += "    record state {\n";
    for index in 0..1 + source.below(12) {
        text += &format!("        field-{index}: {},\n", expression(source, &named, 3));
    }
    text += "    }\n";
    for index in 0..source.below(5) {
        let names = (0..source.below(9)).map(|at| format!("p{at}: {}", param(source, &params, 2)));
        let names = names.collect::<Vec<_>>().join(", ");
        let result = match source.below(3) {
            0 => String::new(),
            _ => format!(" -> {}", expression(source, &named, 2)),
        };
        text += &format!("    m{index}: func({names}){result};\n");
    }
    text + "}\n"
}

/// A named type, and whether it may be a parameter.
fn definition(source: &mut Source, name: &str, named: &[String]) -> (String, bool) {
    let count = 1 + source.below(5);
    let many = if source.below(20) == 0 { 257 + source.below(60) } else { count };
    let cases = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>().join(", ");
    match source.below(5) {
        0 => {
            let scalars = (0..count).map(|at| format!("f{at}: {}", SCALARS[source.below(13)]));
            let fields = scalars.collect::<Vec<_>>().join(", ");
            (format!("    record {name} {{ {fields} }}\n"), true)
        }
        1 => {
            let fields = (0..count).map(|at| format!("f{at}: {}", expression(source, named, 2)));
            let fields = fields.collect::<Vec<_>>().join(", ");
            (format!("    record {name} {{ {fields} }}\n"), false)
        }
        2 => (format!("    enum {name} {{ {} }}\n", cases(many)), true),
        3 => (format!("    flags {name} {{ {} }}\n", cases(1 + source.below(32))), true),
        _ => {
            let cases = (0..many).map(|at| match source.below(3) {
                0 => format!("c{at}"),
                _ => format!("c{at}({})", expression(source, named, 2)),
            });
            let cases = cases.collect::<Vec<_>>().join(", ");
            (format!("    variant {name} {{ {cases} }}\n"), false)
        }
    }
}

fn expression(source: &mut Source, named: &[String], depth: usize) -> String {
    let choice = if depth == 0 { source.below(6) } else { source.below(12) };
    let mut inner = || expression(source, named, depth.saturating_sub(1));
    match choice {
        6 => format!("list<{}>", inner()),
        7 => format!("option<{}>", inner()),
        8 => format!("tuple<{}, {}>", inner(), inner()),
        9 => format!("result<{}, {}>", inner(), inner()),
        10 => format!("result<_, {}>", inner()),
        11 => "result".to_string(),
        0..3 if !named.is_empty() => named[source.below(named.len())].clone(),
        _ => SCALARS[source.below(SCALARS.len())].to_string(),
    }
}

fn param(source: &mut Source, named: &[String], depth: usize) -> String {
    let choice = if depth == 0 { source.below(6) } else { source.below(9) };
    let mut inner = || param(source, named, depth.saturating_sub(1));
    match choice {
        6 => format!("list<{}>", inner()),
        7 => format!("option<{}>", inner()),
        8 => format!("tuple<{}, {}>", inner(), inner()),
        0..3 => named[source.below(named.len())].clone(),
        _ => SCALARS[source.below(SCALARS.len())].to_string(),
    }
}

/// A value of a type; never a NaN, which would not equal itself.
pub(crate) fn value(source: &mut Source, ty: &Type) -> Value {
    let bits = source.bits() >> (source.below(4) * 16);
    match ty {
        Type::Bool => Value::Bool(bits & 1 == 1),
        Type::U8 => Value::U8(bits as u8),
        Type::U16 => Value::U16(bits as u16),
        Type::U32 => Value::U32(bits as u32),
        Type::U64 => Value::U64(bits),
        Type::S8 => Value::S8(bits as i8),
        Type::S16 => Value::S16(bits as i16),
        Type::S32 => Value::S32(bits as i32),
        Type::S64 => Value::S64(bits as i64),
        Type::F32 => {
            let float = f32::from_bits(bits as u32);
            Value::F32(if float.is_nan() { 0.1 } else { float })
        }
        Type::F64 => {
            let float = f64::from_bits(bits);
            Value::F64(if float.is_nan() { 0.1 } else { float })
        }
        Type::Char => Value::Char(character(source)),
        Type::String => {
            let count = source.below(12);
            Value::String((0..count).map(|_| character(source)).collect())
        }
        Type::List(item) if matches!(**item, Type::U8) => {
            let count = source.below(12);
            Value::Bytes((0..count).map(|_| source.bits() as u8).collect())
        }
        Type::List(item) => {
            let count = source.below(4);
            Value::List((0..count).map(|_| value(source, item)).collect())
        }
        Type::Option(payload) => {
            Value::Option((bits & 1 == 1).then(|| Box::new(value(source, payload))))
        }
        Type::Record(record) => Value::Record(
            record.fields.iter().map(|it| (it.name.clone(), value(source, &it.ty))).collect(),
        ),
        Type::Tuple(tuple) => {
            Value::Tuple(tuple.items.iter().map(|(ty, _)| value(source, ty)).collect())
        }
        Type::Enum(ty) => Value::Enum(ty.cases[source.below(ty.cases.len())].clone()),
        Type::Flags(ty) => {
            let set = ty.flags.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
            Value::Flags(set.map(|(_, name)| name.clone()).collect())
        }
        Type::Variant(ty) => {
            let case = &ty.cases[source.below(ty.cases.len())];
            let payload = case.payload.as_ref().map(|ty| Box::new(value(source, ty)));
            Value::Variant(case.name.clone(), payload)
        }
        Type::Result(ty) => {
            let mut payload = |ty: &Option<Type>| ty.as_ref().map(|ty| Box::new(value(source, ty)));
            Value::Result(if bits & 1 == 1 { Ok(payload(&ty.ok)) } else { Err(payload(&ty.err)) })
        }
    }
}

fn character(source: &mut Source) -> char {
    let most = [0x80, 0x800, 0x1_0000, 0x11_0000][source.below(4)];
    char::from_u32(source.below(most) as u32).unwrap_or('\u{feff}')
}

/// All types of a schema's state and methods.
pub(super) fn types(schema: &schema::Schema) -> Vec<Type> {
    let fields = schema.state().fields.iter().map(|field| &field.ty);
    let params = schema.methods().iter().flat_map(|it| it.params.iter().map(|param| &param.ty));
    let results = schema.methods().iter().filter_map(|method| method.result.as_ref());
    fields.chain(params).chain(results).cloned().collect()
}

/// A flat image that hands out its bytes in order, from some odd address on.
pub(crate) struct Arena {
    pub(crate) image: Vec<u8>,
    end: usize,
}

impl Arena {
    pub(crate) fn new(start: usize) -> Arena {
        Arena { image: vec![0xAA; start.next_multiple_of(PAGE_BYTES)], end: start }
    }

    /// Puts a value in memory and returns its address, at the start of a page.
    pub(super) fn place(&mut self, value: Value, ty: Type) -> u32 {
        self.end = self.end.next_multiple_of(PAGE_BYTES);
        let ty = Type::List(Arc::new(ty));
        let params = [Param { name: "it".to_string(), ty }];
        let list = match value {
            Value::U8(byte) => Value::Bytes(vec![byte]),
            value => Value::List(vec![value]),
        };
        let flat = lower_args(&[list], &params, self).unwrap();
        let [CoreValue::I32(address), CoreValue::I32(1)] = flat[..] else { panic!("{flat:?}") };
        address
    }

    pub(crate) fn place_state(&mut self, value: Value, record: &Record) -> u32 {
        self.place(value, Type::Record(Arc::new(record.clone())))
    }
}

impl Lower for Arena {
    type Error = Error;

    fn allocate(&mut self, bytes: u32, align: u32) -> Result<u32, Error> {
        let start = self.end.next_multiple_of(align as usize);
        self.end = start + bytes as usize;
        self.image.resize(self.end.next_multiple_of(PAGE_BYTES), 0xAA);
        Ok(start as u32)
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Error> {
        self.image[address as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}
