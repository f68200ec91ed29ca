//! What the objects of a database are made of: definitions and compiled code, each made once.
//!
//! It does not know objects, nor where the bytes of a module or policy are kept.

use std::collections::HashMap;
use std::sync::Arc;

use object::definition::Definition;
use object::hash::{CodeHash, PolicyHash};
use object::image::BaseImage;
use object::limits::PAGE_BYTES;
use parking_lot::Mutex;

use crate::error::{ErrorKind, Result};
use crate::instrument::{FunctionExport, Limits, ModuleError, instrument};
use crate::substrate::{Code, CodeError, Substrate};

/// Compiled code and definitions, by their hashes.
pub(crate) struct Catalog {
    substrate: Substrate,
    codes: Mutex<HashMap<CodeHash, Runnable>>,
    definitions: Mutex<HashMap<(CodeHash, PolicyHash), Arc<Definition>>>,
}

/// Code that can run, and the image that its objects start from.
#[derive(Clone)]
pub(crate) struct Runnable {
    pub(crate) code: Arc<Code>,
    pub(crate) base: Arc<BaseImage>,
}

impl Catalog {
    pub(crate) fn new() -> Result<Catalog> {
        let (codes, definitions) = Default::default();
        Ok(Catalog { substrate: Substrate::new()?, codes, definitions })
    }

    /// The definition of a module and an encoded policy. Call it on a worker.
    pub(crate) fn definition(
        &self,
        hashes: (CodeHash, PolicyHash),
        read: impl FnOnce() -> Result<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Arc<Definition>> {
        if let Some(known) = self.definitions.lock().get(&hashes) {
            return Ok(Arc::clone(known));
        }
        let (wasm, policy) = read()?;
        let definition = Arc::new(Definition::decode(&wasm, &policy)?);
        self.insert(&definition);
        Ok(definition)
    }

    /// Takes a definition as known.
    pub(crate) fn insert(&self, definition: &Arc<Definition>) {
        let parts = definition.parts();
        let hashes = (parts.code, parts.policy);
        self.definitions.lock().insert(hashes, Arc::clone(definition));
    }

    /// A definition that is known already.
    pub(crate) fn known(&self, hashes: (CodeHash, PolicyHash)) -> Option<Arc<Definition>> {
        self.definitions.lock().get(&hashes).cloned()
    }

    /// The code of a definition, compiled. Call it on a worker.
    pub(crate) fn runnable(
        &self,
        definition: &Definition,
        read: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Runnable> {
        let hash = definition.code.hash;
        if let Some(known) = self.codes.lock().get(&hash) {
            return Ok(known.clone());
        }
        let module = instrument(&read()?, &Limits::default())?;
        check_exports(definition, &module.functions)?;
        let code = Code::compile(&self.substrate, module).map_err(|error| match error {
            CodeError::Start(trap) => ErrorKind::Module(ModuleError::start(trap.to_string())),
            CodeError::Host(failure) => ErrorKind::Substrate(failure.to_string()),
        })?;
        let base = code.base();
        let mut memory = vec![0; base.memory_bytes as usize];
        for (index, page) in &base.pages {
            let start = *index as usize * PAGE_BYTES;
            memory[start..start + PAGE_BYTES].copy_from_slice(&page[..]);
        }
        let base = Arc::new(BaseImage::new(&memory, base.globals.clone())?);
        let runnable = Runnable { code, base };
        self.codes.lock().insert(hash, runnable.clone());
        Ok(runnable)
    }
}

/// Every method of the schema is exported, with the core types that its WIT flattens to.
fn check_exports(definition: &Definition, exports: &[FunctionExport]) -> Result<()> {
    let schema = &definition.schema;
    for method in schema.methods().iter().chain(schema.create()) {
        let export = exports.iter().find(|export| export.name == method.name);
        let expected = (method.core_params(), method.core_results());
        let found = export.map(|export| (export.params.clone(), export.results.clone()));
        if found.as_ref() != Some(&expected) {
            let signature = |(params, results): &(Vec<_>, Vec<_>)| format!("{params:?} -> {results:?}");
            let expected = signature(&expected);
            let found = found.as_ref().map_or("no such export".to_string(), signature);
            return Err(ModuleError::export(&method.name, expected, found).into());
        }
    }
    Ok(())
}
