//! The catalog: the definitions and compiled code of a database's objects, each made once.
//!
//! This module does not know objects, nor where the bytes of a module or policy are kept.

use std::collections::HashMap;
use std::sync::Arc;

use object::hash::{BaseHash, CodeHash, PolicyHash};
use object::image::BaseImage;
use object::input::IMAGE_SALT_BYTES;
use object::limits::{PAGE_BYTES, WASM_PAGE_BYTES};
use object::memory::Tree;
use policy::definition::Definition;
use policy::{Guard, Law, Policy};
use schema::{MIGRATE, Type};
use storage::lock::Mutex;

use crate::error::{ErrorKind, Result, missing};
use crate::instrument::{
    CoreType, Instrumented, Limits, ModuleError, ModuleErrorKind, instrument, instrument_guard,
};
use crate::rank;
use crate::stack::DeepStack;
use crate::substrate::{Cache, Code, CodeError, Substrate, Trap};

/// Compiled code and definitions, by their hashes.
pub(crate) struct Catalog {
    substrate: Substrate,
    codes: Mutex<HashMap<CodeHash, Arc<Runnable>>, rank::Known>,
    guards: Mutex<HashMap<CodeHash, Arc<Runnable>>, rank::Known>,
    definitions: Mutex<HashMap<(CodeHash, PolicyHash), Arc<Definition>>, rank::Known>,
}

/// Code that can run, and the image that its objects start from.
#[derive(Debug)]
pub(crate) struct Runnable {
    pub(crate) code: Arc<Code>,
    pub(crate) base: Arc<BaseImage>,
    pub(crate) base_hash: BaseHash,
    /// The tree of the base image.
    pub(crate) tree: Tree,
}

impl Catalog {
    /// Returns an empty catalog, whose machine code is kept in `cache`, if there is one.
    pub(crate) fn new(cache: Option<Cache>) -> Result<Catalog> {
        let (codes, guards, definitions) = Default::default();
        Ok(Catalog { substrate: Substrate::new(cache)?, codes, guards, definitions })
    }

    /// Returns the number of modules that were compiled, and of those whose machine code was
    /// cached.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.substrate.counts()
    }

    /// The definition of a module and an encoded policy.
    pub(crate) fn definition(
        &self,
        stack: DeepStack,
        hashes: (CodeHash, PolicyHash),
        read: impl FnOnce() -> Result<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Arc<Definition>> {
        if let Some(known) = self.known(hashes) {
            return Ok(known);
        }
        let (wasm, policy) = read()?;
        Ok(self.share(stack, Arc::new(Definition::decode(&wasm, &policy)?)))
    }

    /// Returns the definition of a module and of the sources of a policy, whose guard must be
    /// valid.
    pub(crate) fn define(
        &self,
        stack: DeepStack,
        wasm: &[u8],
        law: Law<'_>,
    ) -> Result<Arc<Definition>> {
        let hashes = (CodeHash::of(wasm), Policy::hash_of(law));
        if let Some(known) = self.known(hashes) {
            // It may be known from a record.
            known.policy.validate()?;
            return Ok(known);
        }
        let definition = Definition::new(wasm, law)?;
        validate_guard(&definition.policy)?;
        Ok(self.share(stack, Arc::new(definition)))
    }

    /// The one definition of its code and policy: this one, if there was none.
    ///
    /// To drop one that was there takes as much stack as to parse it.
    pub(crate) fn share(&self, _: DeepStack, definition: Arc<Definition>) -> Arc<Definition> {
        let parts = definition.parts();
        let hashes = (parts.code, parts.policy);
        Arc::clone(self.definitions.lock().entry(hashes).or_insert(definition))
    }

    /// A definition that is known already.
    pub(crate) fn known(&self, hashes: (CodeHash, PolicyHash)) -> Option<Arc<Definition>> {
        self.definitions.lock().get(&hashes).cloned()
    }

    /// Returns the parts of an upgrade to this code and policy, which its caller has made known.
    pub(crate) fn upgrade(
        &self,
        hashes: (CodeHash, PolicyHash),
    ) -> Result<(Arc<Definition>, Arc<Runnable>)> {
        let runnable = self.codes.lock().get(&hashes.0).cloned();
        let known = self.known(hashes).zip(runnable);
        known.ok_or_else(|| missing("code", hashes.0))
    }

    /// Returns the code of a definition, compiled, if it declares at most this much memory.
    pub(crate) fn runnable(
        &self,
        stack: DeepStack,
        definition: &Definition,
        memory_bytes_max: u64,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Arc<Runnable>> {
        let hash = definition.code.hash;
        let known = self.codes.lock().get(&hash).cloned();
        if let Some(known) = known {
            check_memory(known.code.about(), memory_bytes_max)?;
            return Ok(known);
        }
        let module = instrument(&read()?, &Limits::default())?;
        check_memory(&module, memory_bytes_max)?;
        check_exports(definition, &module)?;
        let runnable = self.compile(stack, module, ErrorKind::Module)?;
        Ok(Arc::clone(self.codes.lock().entry(hash).or_insert(runnable)))
    }

    /// A guard, compiled.
    pub(crate) fn guard(&self, stack: DeepStack, guard: &Guard) -> Result<Arc<Runnable>> {
        let known = self.guards.lock().get(&guard.hash()).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let module = instrument_guard(guard.wasm()).map_err(ErrorKind::Guard)?;
        let runnable = self.compile(stack, module, ErrorKind::Guard)?;
        Ok(Arc::clone(self.guards.lock().entry(guard.hash()).or_insert(runnable)))
    }

    /// Compiles a module, and runs its start function.
    fn compile(
        &self,
        _: DeepStack,
        module: Instrumented,
        wrong: fn(ModuleError) -> ErrorKind,
    ) -> Result<Arc<Runnable>> {
        let code = self.substrate.compile(module).map_err(|error| match error {
            CodeError::Start(trap) => wrong(not_started(trap)),
            CodeError::Host(failure) => ErrorKind::Substrate(failure.to_string()),
        })?;
        let base = code.base();
        let mut memory = vec![0; base.memory_bytes as usize];
        for (index, page) in &base.pages {
            let start = *index as usize * PAGE_BYTES;
            memory[start..start + PAGE_BYTES].copy_from_slice(&page[..]);
        }
        let tree = Tree::of(&memory[..]);
        let base = Arc::new(BaseImage::new(&memory, base.globals.clone())?);
        Ok(Arc::new(Runnable { base_hash: base.hash(), code, base, tree }))
    }
}

/// Validates that the guard of a policy, if it carries one, is a module that can be asked.
///
/// # Errors
///
/// [`Guard`](ErrorKind::Guard).
pub(crate) fn validate_guard(policy: &Policy) -> Result<()> {
    let guard = policy.guard().map(|guard| instrument_guard(guard.wasm()));
    guard.transpose().map(drop).map_err(|error| ErrorKind::Guard(error).into())
}

/// The memory's declared maximum is one that the database takes.
fn check_memory(module: &Instrumented, max: u64) -> Result<()> {
    let found = u64::from(module.memory_pages_max) * WASM_PAGE_BYTES as u64;
    let what = "memory_bytes_max";
    if found > max { Err(ErrorKind::Limit { what, max, found }.into()) } else { Ok(()) }
}

/// Checks that every method of the schema is exported, with the core types that its WIT flattens
/// to, and so is the allocator for its arguments.
fn check_exports(definition: &Definition, module: &Instrumented) -> Result<()> {
    let schema = &definition.schema;
    // The state before is passed by its address, in room that the code makes.
    let migrate = schema.migrate().map(|_| (MIGRATE, vec![CoreType::I32]));
    let refuse = |name: &str, expected: String, found: String| {
        Err(ModuleError::new(ModuleErrorKind::Export, name, expected, found).into())
    };
    let check = |name: &str, expected: (Vec<CoreType>, Vec<CoreType>)| {
        let export = module.functions.iter().find(|export| export.name == name);
        let found = export.map(|export| (export.params.clone(), export.results.clone()));
        if found.as_ref() != Some(&expected) {
            let found = found.as_ref().map_or("no such export".to_string(), signature);
            return refuse(name, signature(&expected), found);
        }
        Ok(())
    };
    if let Some((name, params)) = migrate {
        check(name, (params, Vec::new()))?;
        if !module.has_realloc {
            let expected =
                "an export that allocates room for the state before the upgrade".to_string();
            return refuse("cabi_realloc", expected, "no such export".to_string());
        }
    }
    let state = u64::from(module.state_address);
    let state_end = state + u64::from(schema.state().layout().size);
    if let Some(salt) = module.salt_address.map(u64::from)
        && salt < state_end
        && salt + IMAGE_SALT_BYTES as u64 > state
    {
        let expected = "32 bytes beside the state record".to_string();
        return refuse("salt", expected, salt.to_string());
    }
    for method in schema.methods().iter().chain(schema.create()) {
        check(&method.name, (method.core_params(), method.core_results()))?;
        let unbounded = method.params.iter().find(|param| !has_fixed_size(&param.ty));
        if let Some(param) = unbounded.filter(|_| !module.has_realloc) {
            let parameter = format!("the parameter {} of {}", param.name, method.name);
            let expected = format!("an export that allocates room for {parameter}");
            return refuse("cabi_realloc", expected, "no such export".to_string());
        }
    }
    Ok(())
}

/// Returns whether values of the type are core values only, without anything in memory.
fn has_fixed_size(ty: &Type) -> bool {
    match ty {
        Type::String | Type::List(_) => false,
        Type::Option(ty) => has_fixed_size(ty),
        Type::Record(record) => record.fields.iter().all(|field| has_fixed_size(&field.ty)),
        Type::Tuple(tuple) => tuple.items.iter().all(|(ty, _)| has_fixed_size(ty)),
        // No parameter has a variant or a result in it.
        _ => true,
    }
}

fn signature((params, results): &(Vec<CoreType>, Vec<CoreType>)) -> String {
    format!("{params:?} -> {results:?}")
}

fn not_started(trap: Trap) -> ModuleError {
    let expected = "segments that fit and a start function that returns";
    ModuleError::new(ModuleErrorKind::Start, "start", expected, trap.to_string())
}
