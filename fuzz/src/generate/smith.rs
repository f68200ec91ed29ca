//! Modules that `wasm-smith` draws from the features that objects may use, turned into objects:
//! their memory is exported, and their functions are the methods of a schema drawn from their
//! types.
//!
//! This module knows the binary format as far as sections, counts and function types go, and not
//! what code does.

use arbitrary::Unstructured;
use rand::RngExt;
use rand::rngs::StdRng;
use wasm_smith::{Config, MemoryOffsetChoices, Module};

/// The memory's maximum, in bytes.
const MEMORY_BYTES_MAX: u64 = 4 << 16;
/// Parameters that a method may have.
const PARAMS_MAX: usize = 16;
/// The address of the state: one number, for which any bytes are valid.
const STATE: i64 = 4096;
/// Sections, in the order in which they stand.
const TYPE: u8 = 1;
const FUNCTION: u8 = 3;
const MEMORY: u8 = 5;
const GLOBAL: u8 = 6;
const EXPORT: u8 = 7;
const ORDER: [u8; 13] = [1, 2, 3, 4, 5, 13, 6, 7, 8, 9, 12, 10, 11];

/// A module, and its exports beside its memory and its state.
#[derive(Clone, Debug)]
pub(crate) struct Smith {
    pub(crate) wasm: Vec<u8>,
    pub(crate) methods: Vec<Method>,
}

/// A function that is a method.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    pub(crate) name: String,
    pub(crate) params: Vec<Type>,
    pub(crate) result: Option<Type>,
}

/// A type of a parameter or a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Type {
    U32,
    U64,
    F32,
    F64,
}

impl Type {
    fn read(byte: u8) -> Option<Type> {
        Some(match byte {
            0x7f => Type::U32,
            0x7e => Type::U64,
            0x7d => Type::F32,
            0x7c => Type::F64,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Type::U32 => "u32",
            Type::U64 => "u64",
            Type::F32 => "f32",
            Type::F64 => "f64",
        }
    }
}

/// Draws a module with at least one method; returns none when the drawn one has none.
pub(crate) fn smith(rng: &mut StdRng) -> Option<Smith> {
    let bytes: Vec<u8> = (0..rng.random_range(200..3000)).map(|_| rng.random()).collect();
    let mut module = Module::new(config(rng), &mut Unstructured::new(&bytes)).ok()?;
    // Most modules would else run until their fuel is gone, which takes long and shows little.
    module.ensure_termination(rng.random_range(1..5000)).ok()?;
    assemble(&module.to_bytes())
}

fn config(rng: &mut StdRng) -> Config {
    Config {
        allow_start_export: rng.random_bool(0.2),
        // Some of what this adds is nothing that objects may use.
        bulk_memory_enabled: rng.random_bool(0.4),
        canonicalize_nans: false,
        // A module that traps at once shows little of its other behaviour.
        disallow_traps: rng.random_bool(0.8),
        exceptions_enabled: false,
        extended_const_enabled: true,
        gc_enabled: false,
        custom_page_sizes_enabled: false,
        max_imports: 0,
        max_exports: 0,
        max_funcs: 8,
        min_funcs: 1,
        max_globals: 6,
        max_data_segments: 4,
        max_element_segments: 4,
        max_elements: 8,
        max_instructions: 120,
        max_memory32_bytes: MEMORY_BYTES_MAX,
        max_table_elements: 16,
        max_tables: 1,
        min_memories: 1,
        max_memories: 1,
        memory64_enabled: false,
        memory_max_size_required: true,
        memory_offset_choices: MemoryOffsetChoices(95, 4, 1),
        multi_value_enabled: true,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        shared_everything_threads_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// The module as an object: with exports of its memory, its state and its functions, and a schema.
fn assemble(bytes: &[u8]) -> Option<Smith> {
    let mut sections = sections(bytes)?;
    let types = types(find(&sections, TYPE)?)?;
    let mut functions = Reader(find(&sections, FUNCTION)?);
    let mut methods = Vec::new();
    let mut exports = Vec::new();
    for index in 0..functions.number()? {
        let (params, results) = types.get(functions.number()? as usize)?;
        if params.len() > PARAMS_MAX || results.len() > 1 {
            continue;
        }
        let name = format!("m{index}");
        exports.push(export(&name, 0, index));
        let (params, result) = (params.clone(), results.first().copied());
        methods.push(Method { name, params, result });
    }
    if methods.is_empty() {
        return None;
    }
    // The state is the last of the globals: the numbers of the others stay as they are.
    let globals = find(&sections, GLOBAL).unwrap_or(&[0]).to_vec();
    let mut globals = Reader(&globals);
    let count = globals.number()?;
    let mut state = vec![0x7f, 0, 0x41];
    signed(&mut state, STATE);
    state.push(0x0b);
    let globals = vector(count + 1, &[globals.0, &state]);
    let memory = memory(find(&sections, MEMORY)?)?;
    exports.push(export("memory", 2, 0));
    exports.push(export("state", 3, count));
    let exports =
        vector(exports.len() as u64, &exports.iter().map(|it| &it[..]).collect::<Vec<_>>());
    sections.retain(|(id, _)| ![MEMORY, GLOBAL, EXPORT].contains(id));
    sections.extend([(MEMORY, memory), (GLOBAL, globals), (EXPORT, exports)]);
    sections.sort_by_key(|(id, _)| ORDER.iter().position(|known| known == id));
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    sections.iter().for_each(|(id, body)| section(&mut wasm, *id, body));
    let mut custom = Vec::new();
    text(&mut custom, "continuant:schema");
    custom.extend_from_slice(schema(&methods).as_bytes());
    section(&mut wasm, 0, &custom);
    Some(Smith { wasm, methods })
}

/// The memory's section, with room for the state from the start.
fn memory(section: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader(section);
    if (reader.number()?, reader.bytes(1)?) != (1, &[1]) {
        return None;
    }
    let (least, most) = (reader.number()?.max(1), reader.number()?.max(1));
    let mut limits = vec![1];
    unsigned(&mut limits, least);
    unsigned(&mut limits, most);
    Some(vector(1, &[&limits]))
}

fn schema(methods: &[Method]) -> String {
    let methods = methods.iter().map(|method| {
        let params = method.params.iter().enumerate();
        let params = params.map(|(index, ty)| format!("p{index}: {}", ty.name()));
        let result = method.result.map_or(String::new(), |ty| format!(" -> {}", ty.name()));
        format!("{}: func({}){result};\n", method.name, params.collect::<Vec<_>>().join(", "))
    });
    let methods: String = methods.collect();
    format!("package a:b; interface c {{ record state {{ count: u64 }}\n{methods}}}")
}

/// The sections of a module, but for custom ones.
fn sections(bytes: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut reader = Reader(bytes.get(8..)?);
    let mut sections = Vec::new();
    while !reader.0.is_empty() {
        let id = reader.bytes(1)?[0];
        let length = reader.number()? as usize;
        let body = reader.bytes(length)?.to_vec();
        if id != 0 {
            sections.push((id, body));
        }
    }
    Some(sections)
}

fn find(sections: &[(u8, Vec<u8>)], id: u8) -> Option<&[u8]> {
    sections.iter().find(|section| section.0 == id).map(|section| &section.1[..])
}

/// The parameters and results of each type.
fn types(section: &[u8]) -> Option<Vec<(Vec<Type>, Vec<Type>)>> {
    let mut reader = Reader(section);
    let count = reader.number()?;
    let mut types = Vec::new();
    for _ in 0..count {
        if reader.bytes(1)? != [0x60] {
            return None;
        }
        types.push((reader.types()?, reader.types()?));
    }
    Some(types)
}

fn export(name: &str, kind: u8, index: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    text(&mut bytes, name);
    bytes.push(kind);
    unsigned(&mut bytes, index);
    bytes
}

fn vector(count: u64, items: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    unsigned(&mut bytes, count);
    items.iter().for_each(|item| bytes.extend_from_slice(item));
    bytes
}

fn section(wasm: &mut Vec<u8>, id: u8, body: &[u8]) {
    wasm.push(id);
    unsigned(wasm, body.len() as u64);
    wasm.extend_from_slice(body);
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    unsigned(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

/// Writes LEB128.
fn unsigned(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Writes signed LEB128.
fn signed(bytes: &mut Vec<u8>, mut number: i64) {
    while !(-64..64).contains(&number) {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8 & 0x7f);
}

/// Bytes that are left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(first)
    }

    /// Reads LEB128.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..63).step_by(7) {
            let byte = self.bytes(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn types(&mut self) -> Option<Vec<Type>> {
        let count = self.number()? as usize;
        self.bytes(count)?.iter().map(|&byte| Type::read(byte)).collect()
    }
}
