//! The instrumented module, section by section: the guest's own, and the additions of the pass.
//!
//! This module does not know how a function's body is changed.
//!
//! Invariant: indices of the guest's types, globals and tables stay; only references to imported
//! functions change.

use super::abi::{Abi, HostFunction};
use super::added::{self, Added};
use super::body::{self, Target};
use super::emit::{GUEST_MEMORY, Meters};
use super::error::{ModuleError, ModuleErrorKind};
use super::names::{CARDS_EXPORT, FUEL_EXPORT, GLOBAL_EXPORT_PREFIX, STACK_EXPORT, START_EXPORT};
use super::survey::Survey;
use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, ExportKind,
    ExportSection, FunctionSection, GlobalSection, GlobalType, ImportSection, MemorySection,
    MemoryType, Module, TableSection, TypeSection, ValType,
};

/// Cards that fit in a page of the card memory, which is as many bytes.
const CARDS_PER_PAGE: u32 = object::limits::WASM_PAGE_BYTES as u32;
/// Cards of a 64 KiB page of the guest's memory.
const CARDS_PER_GUEST_PAGE: u32 =
    (object::limits::WASM_PAGE_BYTES / object::limits::PAGE_BYTES) as u32;

/// Writes the instrumented module.
pub(super) fn rewrite(wasm: &[u8], survey: &Survey<'_>, abi: &Abi) -> Result<Vec<u8>, ModuleError> {
    let count = |length: usize| u32::try_from(length).expect("a module is smaller than 4 GiB");
    let global_count = count(survey.globals.len());
    let mut writer = Writer {
        target: Target {
            wasm,
            added: Added::after(count(survey.imports.len()), count(survey.functions.len())),
            initialized: &survey.initialized,
            meters: Meters { fuel: global_count, stack: global_count + 1 },
        },
        survey,
        abi,
        module: Module::new(),
    };
    match writer.write() {
        Ok(()) => Ok(writer.module.finish()),
        Err(Error::ParseError(error)) => Err(error.into()),
        Err(error) => {
            let found = error.to_string();
            let expected = "a module that can be encoded again";
            Err(ModuleError::new(ModuleErrorKind::Invalid, "module", expected, found))
        }
    }
}

struct Writer<'a> {
    target: Target<'a>,
    survey: &'a Survey<'a>,
    abi: &'a Abi,
    module: Module,
}

impl Writer<'_> {
    fn write(&mut self) -> Result<(), Error> {
        self.write_types()?;
        self.write_imports()?;
        self.write_functions();
        if let Some(tables) = &self.survey.tables {
            let mut section = TableSection::new();
            self.target.parse_table_section(&mut section, tables.clone())?;
            self.module.section(&section);
        }
        self.write_memories()?;
        self.write_globals()?;
        self.write_exports()?;
        if let Some(elements) = &self.survey.elements {
            let mut section = ElementSection::new();
            self.target.parse_element_section(&mut section, elements.clone())?;
            self.module.section(&section);
        }
        if let Some(data) = self.survey.data.as_ref().filter(|_| self.needs_data_count()) {
            self.module.section(&DataCountSection { count: data.count() });
        }
        self.write_code()?;
        if let Some(data) = &self.survey.data {
            let mut section = DataSection::new();
            self.target.parse_data_section(&mut section, data.clone())?;
            self.module.section(&section);
        }
        Ok(())
    }

    /// Returns whether code names data segments, so that their count has to come before it.
    fn needs_data_count(&self) -> bool {
        !self.survey.initialized.is_empty()
    }

    fn write_types(&mut self) -> Result<(), Error> {
        let mut section = TypeSection::new();
        for ty in &self.survey.types {
            let ty = self.target.func_type(ty.clone())?;
            section.ty().func_type(&ty);
        }
        section.ty().function([ValType::I32; 3], []);
        section.ty().function([ValType::I32], [ValType::I32]);
        self.module.section(&section);
        Ok(())
    }

    fn write_imports(&mut self) -> Result<(), Error> {
        let mut section = ImportSection::new();
        for (_, import) in &self.survey.imports {
            section.import(import.module, import.name, self.target.entity_type(import.ty)?);
        }
        self.module.section(&section);
        Ok(())
    }

    fn write_functions(&mut self) {
        let mut section = FunctionSection::new();
        for &ty in &self.survey.functions {
            section.function(ty);
        }
        for (_, import) in &self.survey.imports {
            if let wasmparser::TypeRef::Func(ty) = import.ty {
                section.function(ty);
            }
        }
        let bulk = u32::try_from(self.survey.types.len()).expect("validated type count");
        for ty in [bulk, bulk, bulk + 1] {
            section.function(ty);
        }
        for _ in &self.survey.initialized {
            section.function(bulk);
        }
        self.module.section(&section);
    }

    fn write_memories(&mut self) -> Result<(), Error> {
        let mut section = MemorySection::new();
        for &memory in &self.survey.memories {
            section.memory(self.target.memory_type(memory)?);
        }
        let cards = self.abi.memory_pages_max * CARDS_PER_GUEST_PAGE;
        let pages = u64::from(cards.div_ceil(CARDS_PER_PAGE));
        section.memory(MemoryType {
            minimum: pages,
            maximum: Some(pages),
            memory64: false,
            shared: false,
            page_size_log2: None,
        });
        self.module.section(&section);
        Ok(())
    }

    fn write_globals(&mut self) -> Result<(), Error> {
        let mut section = GlobalSection::new();
        for global in &self.survey.globals {
            self.target.parse_global(&mut section, global.clone())?;
        }
        let meter = |val_type| GlobalType { val_type, mutable: true, shared: false };
        section.global(meter(ValType::I64), &ConstExpr::i64_const(0));
        section.global(meter(ValType::I32), &ConstExpr::i32_const(0));
        self.module.section(&section);
        Ok(())
    }

    fn write_exports(&mut self) -> Result<(), Error> {
        let mut section = ExportSection::new();
        for (_, export) in &self.survey.exports {
            self.target.parse_export(&mut section, *export)?;
        }
        let meters = self.target.meters;
        section.export(CARDS_EXPORT, ExportKind::Memory, GUEST_MEMORY + 1);
        section.export(FUEL_EXPORT, ExportKind::Global, meters.fuel);
        section.export(STACK_EXPORT, ExportKind::Global, meters.stack);
        for (ordinal, index) in mutable_globals(self.survey).enumerate() {
            let name = format!("{GLOBAL_EXPORT_PREFIX}{ordinal}");
            section.export(&name, ExportKind::Global, index);
        }
        if let Some(start) = self.survey.start {
            section.export(START_EXPORT, ExportKind::Func, self.target.added.remap(start));
        }
        self.module.section(&section);
        Ok(())
    }

    fn write_code(&mut self) -> Result<(), Error> {
        let mut section = CodeSection::new();
        for body in &self.survey.bodies {
            section.function(&body::instrument(&mut self.target, body)?);
        }
        let meters = self.target.meters;
        for (index, (_, import)) in (0..).zip(&self.survey.imports) {
            let host = HostFunction::named(import.name).expect("the ABI admitted the import");
            let params = self.survey.function_type(index).params().len();
            let params = u32::try_from(params).expect("a host function has few parameters");
            section.function(&added::host(host, index, params, meters));
        }
        section.function(&added::copy(meters));
        section.function(&added::fill(meters));
        section.function(&added::grow(meters, self.abi.memory_pages_max));
        for &segment in &self.survey.initialized {
            section.function(&added::init(meters, segment));
        }
        self.module.section(&section);
        Ok(())
    }
}

/// Indices of the guest's mutable globals, in order.
pub(super) fn mutable_globals(survey: &Survey<'_>) -> impl Iterator<Item = u32> {
    let globals = (0..).zip(&survey.globals);
    globals.filter(|(_, global)| global.ty.mutable).map(|(index, _)| index)
}
