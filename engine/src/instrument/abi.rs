//! Checks that a valid module keeps to the ABI of objects, version 1, or to that of guards, and
//! collects the facts about it.
//!
//! This module does not know WIT: the reader of the schema checks that methods have its types.
//!
//! Invariant: a module that passes imports only the host's functions and cannot reach or shadow
//! what the pass adds. None is both an object's code and a guard.

use super::error::{ModuleError, ModuleErrorKind};
use super::limits::Limits;
use super::names::{
    FunctionExport, INITIALIZE_EXPORT, RESERVED_PREFIX, SALT_EXPORT, SALT_SECTION, SCHEMA_SECTION,
};
use super::survey::{Survey, core_type, evaluate_i32};
use object::input::IMAGE_SALT_BYTES;
use wasmparser::{
    ConstExpr, DataKind, ElementItems, ElementKind, ExternalKind, Global, TypeRef, ValType,
};

use ModuleErrorKind as Kind;

/// The page that state starts on a multiple of.
const PAGE_BYTES: u32 = object::limits::PAGE_BYTES as u32;

/// The facts about a module that keeps to the ABI.
pub(super) struct Abi {
    pub(super) schema_text: String,
    pub(super) state_address: u32,
    pub(super) salt_address: Option<u32>,
    pub(super) stack_top: u32,
    pub(super) memory_pages_max: u32,
    pub(super) has_initialize: bool,
    pub(super) has_cycle: bool,
    pub(super) has_realloc: bool,
}

/// The role of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Object,
    Guard,
}

/// The function that a guard exports.
const ADMIT_EXPORT: &str = "admit";

/// The form of an address that a module exports.
const CONSTANT_ADDRESS: &str = "an immutable i32 global with a constant initialiser";

/// A function that the host offers to guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HostFunction {
    Now,
    Emit,
    Wake,
    Sleep,
    Send,
    /// The only one that guards are offered.
    Value,
}

impl HostFunction {
    pub(super) const MODULE: &'static str = "continuant";

    pub(super) fn named(name: &str) -> Option<HostFunction> {
        match name {
            "now" => Some(HostFunction::Now),
            "emit" => Some(HostFunction::Emit),
            "wake" => Some(HostFunction::Wake),
            "sleep" => Some(HostFunction::Sleep),
            "send" => Some(HostFunction::Send),
            "value" => Some(HostFunction::Value),
            _ => None,
        }
    }

    fn role(self) -> Role {
        match self {
            HostFunction::Value => Role::Guard,
            _ => Role::Object,
        }
    }

    fn signature(self) -> (&'static [ValType], &'static [ValType]) {
        use ValType::{I32, I64};
        match self {
            HostFunction::Now => (&[], &[I64]),
            HostFunction::Emit => (&[I32, I32, I32, I32], &[]),
            HostFunction::Wake => (&[I64], &[]),
            HostFunction::Sleep => (&[], &[]),
            HostFunction::Send => (&[I32, I32, I32, I32, I32], &[]),
            HostFunction::Value => (&[I32, I32, I32, I32], &[I32]),
        }
    }
}

/// Checks a survey against the ABI of objects.
pub(super) fn check(survey: &Survey<'_>, limits: &Limits) -> Result<Abi, ModuleError> {
    check_imports(survey, Role::Object)?;
    check_export_names(survey)?;
    let memory_pages_max = check_memory(survey, limits)?;
    let state_address = check_state(survey, memory_pages_max)?;
    let stack_top = check_stack(survey, state_address)?;
    let salt_address = check_salt(survey, state_address, stack_top)?;
    check_data(survey, stack_top)?;
    let has_initialize = has_initialize(survey);
    let has_cycle = check_function(survey, "cycle", &[], &[])?;
    let i32s = [ValType::I32; 4];
    let has_realloc = check_function(survey, "cabi_realloc", &i32s, &i32s[..1])?;
    let schema_text = check_schema(survey, limits)?;
    Ok(Abi {
        schema_text,
        state_address,
        salt_address,
        stack_top,
        memory_pages_max,
        has_initialize,
        has_cycle,
        has_realloc,
    })
}

/// Checks a survey against the ABI of guards. A guard needs no start function and no memory from an
/// earlier answer, so that nothing of it can fail before it is asked.
pub(super) fn check_guard(survey: &Survey<'_>, limits: &Limits) -> Result<Abi, ModuleError> {
    let sections = [(SCHEMA_SECTION, &survey.schemas), (SALT_SECTION, &survey.salts)];
    for (name, found) in sections {
        if let Some((offset, _)) = found.first() {
            let place = format!("custom section {name}");
            let (expected, found) = ("a guard, which has no such section", "the code of an object");
            return Err(ModuleError::new(Kind::Section, place, expected, found).at(*offset));
        }
    }
    check_imports(survey, Role::Guard)?;
    check_export_names(survey)?;
    let memory_pages_max = check_memory(survey, limits)?;
    if survey.start.is_some() {
        return Err(ModuleError::new(Kind::Start, "start", "no start function", "one"));
    }
    if !check_function(survey, ADMIT_EXPORT, &[], &[ValType::I32])? {
        let (place, expected) = (format!("export {ADMIT_EXPORT}"), signature(&[], &[ValType::I32]));
        return Err(ModuleError::new(Kind::Export, place, expected, "no such export"));
    }
    check_data(survey, 0)?;
    check_no_bulk(survey)?;
    check_segments(survey)?;
    Ok(Abi {
        schema_text: String::new(),
        state_address: 0,
        salt_address: None,
        stack_top: 0,
        memory_pages_max,
        has_initialize: false,
        has_cycle: false,
        has_realloc: false,
    })
}

/// Checks that a guard uses of bulk memory only `memory.copy` and `memory.fill`: guards are part of
/// the format.
fn check_no_bulk(survey: &Survey<'_>) -> Result<(), ModuleError> {
    let segments = survey.data.clone().into_iter().flatten();
    let mut segments = segments.filter_map(Result::ok);
    let has_passive = segments.any(|segment| matches!(segment.kind, DataKind::Passive));
    let found = match (survey.has_data_count, has_passive) {
        (true, _) => "a data count",
        (false, true) => "a passive segment",
        (false, false) => return Ok(()),
    };
    let expected = "a guard, which has no data count and no passive segments (asc --disable \
                    bulk-memory; wasm-opt --disable-bulk-memory; compile with -mno-bulk-memory)";
    Err(ModuleError::new(Kind::Feature, "module", expected, found))
}

/// Returns whether the module exports the function that toolchains rely on being called once,
/// before anything else. An export of that name with another type does not count.
fn has_initialize(survey: &Survey<'_>) -> bool {
    match find(survey, INITIALIZE_EXPORT) {
        Some((ExternalKind::Func, index)) => {
            let ty = survey.function_type(index);
            ty.params().is_empty() && ty.results().is_empty()
        }
        _ => false,
    }
}

/// Checks that every segment fits into the initial memory and table.
fn check_segments(survey: &Survey<'_>) -> Result<(), ModuleError> {
    let memory = survey.memories.first().map_or(0, |memory| memory.initial << 16);
    for segment in survey.data.clone().into_iter().flatten() {
        let segment = segment?;
        if let DataKind::Active { offset_expr, .. } = &segment.kind {
            check_segment("data segment", offset_expr, segment.data.len() as u64, memory)?;
        }
    }
    let mut tables = survey.tables.clone().into_iter().flatten();
    let table = tables.next().transpose()?.map_or(0, |table| table.ty.initial);
    for segment in survey.elements.clone().into_iter().flatten() {
        let segment = segment?;
        let count = match &segment.items {
            ElementItems::Functions(items) => items.count(),
            ElementItems::Expressions(_, items) => items.count(),
        };
        if let ElementKind::Active { offset_expr, .. } = &segment.kind {
            check_segment("element segment", offset_expr, count.into(), table)?;
        }
    }
    Ok(())
}

fn check_segment(
    place: &str,
    offset: &ConstExpr<'_>,
    length: u64,
    max: u64,
) -> Result<(), ModuleError> {
    let start = evaluate_i32(offset).map(u64::from);
    match start.map(|start| start + length) {
        Some(end) if end <= max => Ok(()),
        end => {
            let found =
                end.map_or("a place that is not constant".to_string(), |end| end.to_string());
            Err(ModuleError::new(Kind::Start, place, format!("an end of at most {max}"), found))
        }
    }
}

fn check_imports(survey: &Survey<'_>, role: Role) -> Result<(), ModuleError> {
    for (offset, import) in &survey.imports {
        let place = format!("import {}.{}", import.module, import.name);
        let refuse = |expected: String, found: String| {
            Err(ModuleError::new(Kind::Import, place.as_str(), expected, found).at(*offset))
        };
        let host = match import.module {
            HostFunction::MODULE => HostFunction::named(import.name),
            _ => None,
        };
        let Some(host) = host.filter(|host| host.role() == role) else {
            let offered = match role {
                Role::Object => "now, emit, send, wake or sleep of continuant",
                Role::Guard => "value of continuant",
            };
            let how = avoided(import.module, import.name);
            let how = how.map_or(String::new(), |how| format!(" ({how})"));
            return refuse(format!("{offered}{how}"), format!("{}.{}", import.module, import.name));
        };
        let (params, results) = host.signature();
        let expected = signature(params, results);
        let TypeRef::Func(index) = import.ty else {
            return refuse(expected, "an import that is not a function".into());
        };
        let ty = &survey.types[index as usize];
        if ty.params() != params || ty.results() != results {
            return refuse(expected, signature(ty.params(), ty.results()));
        }
    }
    Ok(())
}

/// Returns how to keep a toolchain from adding an import unasked.
fn avoided(module: &str, name: &str) -> Option<&'static str> {
    Some(match (module, name) {
        ("env", "abort") => "asc --use abort=",
        ("env", "memory") => "link without --import-memory; asc without --importMemory",
        ("env", "memcpy" | "memmove" | "memset" | "memcmp") => {
            "compile with -mbulk-memory, or link what has it"
        }
        _ if module.starts_with("wasi") => {
            "build for wasm32-unknown-unknown or freestanding: there is no WASI"
        }
        _ => return None,
    })
}

fn check_export_names(survey: &Survey<'_>) -> Result<(), ModuleError> {
    for (offset, export) in &survey.exports {
        if export.name.starts_with(RESERVED_PREFIX) {
            let expected = format!("a name that does not start with {RESERVED_PREFIX}");
            return Err(ModuleError::new(Kind::Export, "export", expected, export.name).at(*offset));
        }
    }
    Ok(())
}

fn check_memory(survey: &Survey<'_>, limits: &Limits) -> Result<u32, ModuleError> {
    let expected = "one defined memory exported as memory";
    let [memory] = survey.memories.as_slice() else {
        return Err(ModuleError::new(Kind::Memory, "memory", expected, "none"));
    };
    match find(survey, "memory") {
        Some((ExternalKind::Memory, _)) => {}
        Some(_) => {
            let found = "an export of that name that is not a memory";
            return Err(ModuleError::new(Kind::Memory, "memory", expected, found));
        }
        None => {
            let found = "a memory that is not exported";
            return Err(ModuleError::new(Kind::Memory, "memory", expected, found));
        }
    }
    let Some(maximum) = memory.maximum else {
        let expected =
            "a declared maximum (declare one: link with --max-memory; asc --maximumMemory)";
        return Err(ModuleError::new(Kind::Memory, "memory", expected, "no maximum"));
    };
    match u32::try_from(maximum) {
        Ok(maximum) if maximum <= limits.memory_pages_max => Ok(maximum),
        _ => {
            let max = limits.memory_pages_max.into();
            Err(ModuleError::limit("memory maximum in 64 KiB pages", max, maximum))
        }
    }
}

fn check_state(survey: &Survey<'_>, memory_pages_max: u32) -> Result<u32, ModuleError> {
    let refuse = |expected: &str, found: String| refuse_address("state", expected, found);
    let Some(address) = exported_address(survey, "state")? else {
        let expected = format!("{CONSTANT_ADDRESS} (link with --export=state)");
        return refuse(&expected, "none".into());
    };
    if !address.is_multiple_of(PAGE_BYTES) {
        return refuse("a multiple of 4096 (align the record to it)", address.to_string());
    }
    if u64::from(address) >= u64::from(memory_pages_max) << 16 {
        return refuse("an address within the memory's maximum", address.to_string());
    }
    Ok(address)
}

/// The address of the memory's salt, if the module has a place for it.
fn check_salt(
    survey: &Survey<'_>,
    state_address: u32,
    stack_top: u32,
) -> Result<Option<u32>, ModuleError> {
    let exported = exported_address(survey, SALT_EXPORT)?;
    let (kind, place, address) = match (exported, salt_offset(survey)?) {
        (None, None) => return Ok(None),
        (Some(address), None) => {
            (Kind::Export, format!("export {SALT_EXPORT}"), u64::from(address))
        }
        (None, Some(offset)) => {
            let address = u64::from(state_address) + u64::from(offset);
            (Kind::Section, format!("custom section {SALT_SECTION}"), address)
        }
        (Some(_), Some(_)) => {
            let (place, found) = (format!("custom section {SALT_SECTION}"), "both");
            let expected = format!("it or the export {SALT_EXPORT}");
            return Err(ModuleError::new(Kind::Section, place, expected, found));
        }
    };
    let refuse =
        |expected: &str| Err(ModuleError::new(kind, place.clone(), expected, address.to_string()));
    let bytes = survey.memories.first().map_or(0, |memory| memory.initial << 16);
    if address + IMAGE_SALT_BYTES as u64 > bytes {
        return refuse("32 bytes within the initial memory");
    }
    if address < u64::from(stack_top) {
        return refuse(&format!("an address of at least {stack_top}, the top of the stack"));
    }
    Ok(Some(u32::try_from(address).expect("a memory has no more bytes than 32 bits can name")))
}

/// Returns the offset of the salt from the start of the state, if a section says it.
fn salt_offset(survey: &Survey<'_>) -> Result<Option<u32>, ModuleError> {
    let refuse = |offset: u64, expected: &str, found: String| {
        let place = format!("custom section {SALT_SECTION}");
        Err(ModuleError::new(Kind::Section, place, expected, found).at(offset))
    };
    match *survey.salts.as_slice() {
        [] => Ok(None),
        [(offset, bytes)] => match bytes.try_into() {
            Ok(bytes) => Ok(Some(u32::from_le_bytes(bytes))),
            Err(_) => refuse(offset, "4 bytes", format!("{} bytes", bytes.len())),
        },
        [_, (offset, _), ..] => refuse(offset, "one such section", "another one".into()),
    }
}

/// The address that an immutable global exports, if the module has an export of this name.
fn exported_address(survey: &Survey<'_>, name: &str) -> Result<Option<u32>, ModuleError> {
    let refuse = |found: String| refuse_address(name, CONSTANT_ADDRESS, found);
    let Some((kind, index)) = find(survey, name) else { return Ok(None) };
    if kind != ExternalKind::Global {
        return refuse("an export that is not a global".into());
    }
    let global = &survey.globals[index as usize];
    if global.ty.mutable {
        return refuse("a mutable global".into());
    }
    let Some(address) = i32_value(global) else {
        return refuse(format!("a global of {}", global.ty.content_type));
    };
    Ok(Some(address))
}

fn refuse_address<T>(name: &str, expected: &str, found: String) -> Result<T, ModuleError> {
    Err(ModuleError::new(Kind::Export, format!("export {name}"), expected, found))
}

/// The address below which memory is dead at rest, or 0 when the module promises none.
fn check_stack(survey: &Survey<'_>, state_address: u32) -> Result<u32, ModuleError> {
    let Some((kind, index)) = find(survey, "__stack_pointer") else {
        return Ok(0);
    };
    let expected = "a mutable i32 global with a constant initialiser";
    let global = match kind {
        ExternalKind::Global => survey.globals.get(index as usize),
        _ => None,
    };
    let value = global.filter(|global| global.ty.mutable).and_then(i32_value);
    match value {
        Some(value) if value <= state_address => Ok(value),
        Some(_) => Ok(0),
        None => {
            let place = "export __stack_pointer";
            Err(ModuleError::new(Kind::Export, place, expected, "something else"))
        }
    }
}

fn check_data(survey: &Survey<'_>, stack_top: u32) -> Result<(), ModuleError> {
    let Some(data) = &survey.data else { return Ok(()) };
    for segment in data.clone().into_iter_with_offsets() {
        let (offset, segment) = segment?;
        let refuse = |expected: String, found: String| {
            Err(ModuleError::new(Kind::Data, "data segment", expected, found).at(offset))
        };
        let address = match &segment.kind {
            DataKind::Active { offset_expr, .. } => evaluate_i32(offset_expr),
            // It is nowhere until `memory.init` puts it somewhere.
            DataKind::Passive => continue,
        };
        let Some(address) = address else {
            return refuse("a constant address".into(), "an address that is not".into());
        };
        if address < stack_top && !segment.data.is_empty() {
            let expected = format!("an address of at least {stack_top}, the top of the stack");
            return refuse(expected, address.to_string());
        }
    }
    Ok(())
}

fn check_function(
    survey: &Survey<'_>,
    name: &str,
    params: &[ValType],
    results: &[ValType],
) -> Result<bool, ModuleError> {
    let Some((kind, index)) = find(survey, name) else { return Ok(false) };
    let found = match kind {
        ExternalKind::Func => {
            let ty = survey.function_type(index);
            if ty.params() == params && ty.results() == results {
                return Ok(true);
            }
            signature(ty.params(), ty.results())
        }
        _ => "an export that is not a function".into(),
    };
    let expected = signature(params, results);
    Err(ModuleError::new(Kind::Export, format!("export {name}"), expected, found))
}

fn check_schema(survey: &Survey<'_>, limits: &Limits) -> Result<String, ModuleError> {
    let place = format!("custom section {SCHEMA_SECTION}");
    let (offset, bytes) = match survey.schemas.as_slice() {
        [schema] => *schema,
        [] => {
            let expected = "WIT text";
            return Err(ModuleError::new(Kind::Section, place, expected, "no such section"));
        }
        [_, (offset, _), ..] => {
            let error = ModuleError::new(Kind::Section, place, "one such section", "another one");
            return Err(error.at(*offset));
        }
    };
    let found = bytes.len() as u64;
    if found > limits.schema_bytes_max.into() {
        return Err(ModuleError::limit("schema bytes", limits.schema_bytes_max.into(), found));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let offset = offset + error.valid_up_to() as u64;
            let refused = ModuleError::new(Kind::Section, place, "UTF-8 text", "other bytes");
            Err(refused.at(offset))
        }
    }
}

/// The exported functions, in the order of the export section.
pub(super) fn exported_functions(survey: &Survey<'_>) -> Vec<FunctionExport> {
    let core = |types: &[ValType]| types.iter().copied().map(core_type).collect();
    let functions = survey.exports.iter().filter(|(_, export)| export.kind == ExternalKind::Func);
    functions
        .map(|(_, export)| {
            let ty = survey.function_type(export.index);
            let name = export.name.to_owned();
            FunctionExport { name, params: core(ty.params()), results: core(ty.results()) }
        })
        .collect()
}

fn find(survey: &Survey<'_>, name: &str) -> Option<(ExternalKind, u32)> {
    let found = survey.exports.iter().find(|(_, export)| export.name == name);
    found.map(|(_, export)| (export.kind, export.index))
}

fn i32_value(global: &Global<'_>) -> Option<u32> {
    match global.ty.content_type {
        ValType::I32 => evaluate_i32(&global.init_expr),
        _ => None,
    }
}

fn signature(params: &[ValType], results: &[ValType]) -> String {
    let list = |types: &[ValType]| {
        let names: Vec<String> = types.iter().map(ValType::to_string).collect();
        names.join(", ")
    };
    format!("func({}) -> ({})", list(params), list(results))
}
