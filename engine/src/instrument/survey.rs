//! A survey: one reading of a module, which validates it and keeps readers over its bytes for the
//! other files of this folder.
//!
//! This module does not know the ABI of objects beyond the WebAssembly features that they may use.
//!
//! Invariant: a survey is of a valid module within the limits, so reading it again cannot fail for
//! a reason in the module.

use super::cost;
use super::error::{ModuleError, ModuleErrorKind};
use super::feature::{self, Feature};
use super::limits::Limits;
use super::names::{SALT_SECTION, SCHEMA_SECTION};
use schema::CoreType;
use std::collections::BTreeSet;
use wasmparser::{
    ConstExpr, CustomSectionReader, DataSectionReader, ElementKind, ElementSectionReader, Export,
    FuncToValidate, FuncType, FuncValidatorAllocations, FunctionBody, Global, Import, MemoryType,
    Operator, Parser, Payload, TableSectionReader, TypeRef, ValType, ValidPayload, Validator,
    ValidatorResources,
};

/// A validated module, section by section.
#[derive(Default)]
pub(super) struct Survey<'a> {
    pub(super) types: Vec<FuncType>,
    /// Imports with their byte offset.
    pub(super) imports: Vec<(u64, Import<'a>)>,
    /// Type index of each function that the module defines.
    pub(super) functions: Vec<u32>,
    pub(super) tables: Option<TableSectionReader<'a>>,
    pub(super) memories: Vec<MemoryType>,
    pub(super) globals: Vec<Global<'a>>,
    /// Exports with their byte offset.
    pub(super) exports: Vec<(u64, Export<'a>)>,
    pub(super) start: Option<u32>,
    pub(super) elements: Option<ElementSectionReader<'a>>,
    pub(super) data: Option<DataSectionReader<'a>>,
    /// True if the module has a count of its data segments.
    pub(super) has_data_count: bool,
    /// The data segments that `memory.init` reads.
    pub(super) initialized: BTreeSet<u32>,
    pub(super) bodies: Vec<Body<'a>>,
    /// Contents of the schema sections with their byte offset.
    pub(super) schemas: Vec<(u64, &'a [u8])>,
    /// Sections with the place of a salt, each with its offset.
    pub(super) salts: Vec<(u64, &'a [u8])>,
}

/// A function's body and its measures from validation.
pub(super) struct Body<'a> {
    pub(super) code: FunctionBody<'a>,
    /// Parameters and locals.
    pub(super) locals: u32,
    /// Stack units of a frame.
    pub(super) frame_cost: u32,
}

impl<'a> Survey<'a> {
    /// Reads and validates `wasm`.
    pub(super) fn read(wasm: &'a [u8], limits: &Limits) -> Result<Survey<'a>, ModuleError> {
        let bytes = wasm.len() as u64;
        if bytes > limits.module_bytes_max {
            return Err(ModuleError::limit("module bytes", limits.module_bytes_max, bytes));
        }
        Survey::read_whole(wasm, limits).map_err(|error| match error.kind() {
            // For some modules that lack a feature, the error does not say so.
            ModuleErrorKind::Invalid => match Feature::used(wasm) {
                Some(feature) => error.for_want_of(feature),
                None => error,
            },
            _ => error,
        })
    }

    fn read_whole(wasm: &'a [u8], limits: &Limits) -> Result<Survey<'a>, ModuleError> {
        let mut parser = Parser::new(0);
        parser.set_features(feature::TAKEN);
        let mut validator = Validator::new_with_features(feature::TAKEN);
        let mut allocations = FuncValidatorAllocations::default();
        let mut survey = Survey::default();
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, code) = validator.payload(&payload)? {
                let initialized = &mut survey.initialized;
                let body = measure(function, code, &mut allocations, initialized, limits)?;
                survey.bodies.push(body);
            }
            survey.keep(payload, limits)?;
        }
        Ok(survey)
    }

    fn keep(&mut self, payload: Payload<'a>, limits: &Limits) -> Result<(), ModuleError> {
        match payload {
            Payload::TypeSection(section) => {
                for function in section.into_iter_err_on_gc_types() {
                    self.types.push(function?);
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    self.imports.push(import?);
                }
            }
            Payload::FunctionSection(section) => {
                limit("functions", limits.functions_max, section.count())?;
                for index in section {
                    self.functions.push(index?);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let found = table?.ty.initial;
                    if found > limits.table_elements_max.into() {
                        let max = limits.table_elements_max.into();
                        return Err(ModuleError::limit("table elements", max, found));
                    }
                }
                self.tables = Some(section);
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory?);
                }
            }
            Payload::GlobalSection(section) => {
                limit("globals", limits.globals_max, section.count())?;
                for global in section {
                    self.globals.push(global?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section.into_iter_with_offsets() {
                    self.exports.push(export?);
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::DataCountSection { .. } => self.has_data_count = true,
            Payload::ElementSection(section) => {
                check_elements(&section)?;
                self.elements = Some(section);
            }
            Payload::DataSection(section) => self.data = Some(section),
            Payload::CustomSection(section) => self.keep_custom(&section)?,
            _ => {}
        }
        Ok(())
    }

    fn keep_custom(&mut self, section: &CustomSectionReader<'a>) -> Result<(), ModuleError> {
        if section.name() == SCHEMA_SECTION {
            self.schemas.push((section.data_offset(), section.data()));
        } else if section.name() == SALT_SECTION {
            self.salts.push((section.data_offset(), section.data()));
        } else if section.name().starts_with("continuant") {
            let expected =
                format!("{SCHEMA_SECTION} or {SALT_SECTION}, the only sections of that prefix");
            let error = ModuleError::new(
                ModuleErrorKind::Section,
                "custom section",
                expected,
                section.name(),
            );
            return Err(error.at(section.data_offset()));
        }
        Ok(())
    }

    /// The type of the function at an index of the module's function index space.
    pub(super) fn function_type(&self, function: u32) -> &FuncType {
        let function = function as usize;
        let index = match self.imports.get(function).map(|(_, import)| import.ty) {
            Some(TypeRef::Func(index)) => index,
            Some(_) => unreachable!("the ABI has only functions for imports"),
            None => self.functions[function - self.imports.len()],
        };
        &self.types[index as usize]
    }
}

/// Validates one function and measures its frame, and its cost to a compiler.
fn measure<'a>(
    function: FuncToValidate<ValidatorResources>,
    code: FunctionBody<'a>,
    allocations: &mut FuncValidatorAllocations,
    initialized: &mut BTreeSet<u32>,
    limits: &Limits,
) -> Result<Body<'a>, ModuleError> {
    let start = code.range().start;
    let at = |error: ModuleError| error.at(start);
    let bytes = u32::try_from(code.as_bytes().len()).unwrap_or(u32::MAX);
    limit("function bytes", limits.function_bytes_max, bytes).map_err(at)?;
    let mut validator = function.into_validator(std::mem::take(allocations));
    for local in code.get_locals_reader()? {
        let (count, ty) = local?;
        validator.define_locals(start, count, ty)?;
    }
    let locals = validator.len_locals();
    limit("locals", limits.locals_max, locals).map_err(at)?;
    let (mut operands, mut operators) = (0, 0);
    let mut blocks = Blocks::default();
    let mut reader = code.get_operators_reader()?;
    while !reader.eof() {
        let (operator, offset) = reader.read_with_offset()?;
        validator.op(offset, &operator)?;
        check_bulk(&operator).map_err(|error| error.at(offset))?;
        if let Operator::MemoryInit { data_index, .. } = operator {
            initialized.insert(data_index);
        }
        operands = operands.max(validator.operand_stack_height());
        blocks.pass(&operator);
        operators += 1;
    }
    reader.finish()?;
    *allocations = validator.into_allocations();
    limit("blocks", limits.blocks_max, blocks.count).map_err(at)?;
    limit("nesting of loops", limits.loop_nesting_max, blocks.loop_nesting).map_err(at)?;
    let merges = blocks.count.saturating_mul(locals);
    limit("blocks times locals", limits.merges_max, merges).map_err(at)?;
    match u32::try_from(cost::frame(locals, operands, operators)).unwrap_or(u32::MAX) {
        frame_cost if frame_cost <= cost::STACK_BUDGET => Ok(Body { code, locals, frame_cost }),
        found => {
            let max = cost::STACK_BUDGET.into();
            Err(at(ModuleError::limit("stack units of a frame", max, found.into())))
        }
    }
}

/// The options that turn off the parts of bulk memory that objects may not use.
const NO_BULK_MEMORY: &str = "asc --disable bulk-memory; wasm-opt --disable-bulk-memory; \
                              compile with -mno-bulk-memory";

/// Refuses instructions of bulk memory that change a table or drop a segment: neither is part of an
/// object.
fn check_bulk(operator: &Operator<'_>) -> Result<(), ModuleError> {
    let (found, what, off) = match operator {
        Operator::DataDrop { .. } => {
            ("data.drop", "drops a segment", "link without --shared-memory; ")
        }
        Operator::ElemDrop { .. } => ("elem.drop", "drops a segment", ""),
        Operator::TableInit { .. } => ("table.init", "changes a table", ""),
        Operator::TableCopy { .. } => ("table.copy", "changes a table", ""),
        _ => return Ok(()),
    };
    let expected = format!("bulk memory that never {what} ({off}{NO_BULK_MEMORY})");
    Err(ModuleError::new(ModuleErrorKind::Feature, "module", expected, found))
}

/// Checks element segments: tables never change, so every segment is active.
fn check_elements(section: &ElementSectionReader<'_>) -> Result<(), ModuleError> {
    for element in section.clone().into_iter_with_offsets() {
        let (offset, element) = element?;
        let found = match element.kind {
            ElementKind::Active { .. } => continue,
            ElementKind::Passive => "a passive one",
            ElementKind::Declared => "a declared one",
        };
        let expected = format!("active element segments ({NO_BULK_MEMORY})");
        let error = ModuleError::new(ModuleErrorKind::Feature, "module", expected, found);
        return Err(error.at(offset));
    }
    Ok(())
}

/// The shape of a function's control.
#[derive(Default)]
struct Blocks {
    /// Each open block: true if it is a loop.
    open: Vec<bool>,
    open_loops: u32,
    /// Deepest nesting of loops so far.
    loop_nesting: u32,
    /// Blocks so far.
    count: u32,
}

impl Blocks {
    fn pass(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { .. } | Operator::If { .. } => self.open.push(false),
            Operator::Loop { .. } => {
                self.open.push(true);
                self.open_loops += 1;
                self.loop_nesting = self.loop_nesting.max(self.open_loops);
            }
            Operator::End => {
                self.open_loops -= u32::from(self.open.pop() == Some(true));
                return;
            }
            _ => return,
        }
        self.count += 1;
    }
}

fn limit(what: &str, max: u32, found: u32) -> Result<(), ModuleError> {
    if found > max {
        return Err(ModuleError::limit(what, max.into(), found.into()));
    }
    Ok(())
}

/// The value of a constant `i32` expression; none when it is of another type.
pub(super) fn evaluate_i32(expression: &ConstExpr<'_>) -> Option<u32> {
    let mut stack: Vec<u32> = Vec::new();
    for operator in expression.get_operators_reader() {
        let value = match operator.ok()? {
            Operator::I32Const { value } => value.cast_unsigned(),
            Operator::I32Add => stack.pop()?.wrapping_add(stack.pop()?),
            Operator::I32Mul => stack.pop()?.wrapping_mul(stack.pop()?),
            Operator::I32Sub => {
                let right = stack.pop()?;
                stack.pop()?.wrapping_sub(right)
            }
            Operator::End => break,
            _ => return None,
        };
        stack.push(value);
    }
    stack.pop()
}

/// A value type of Lime1.
pub(super) fn core_type(ty: ValType) -> CoreType {
    match ty {
        ValType::I32 => CoreType::I32,
        ValType::I64 => CoreType::I64,
        ValType::F32 => CoreType::F32,
        ValType::F64 => CoreType::F64,
        ValType::V128 | ValType::Ref(_) => unreachable!("validation admits only numbers"),
    }
}
