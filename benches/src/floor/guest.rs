//! A module without the engine's instrumentation: instantiated once and called from the host. It is
//! the one place of the figures that names the substrate, for comparison.
//!
//! This module does not know what the functions do.

use std::time::{Duration, Instant};

use anyhow::{Error, Result};
use wasmtime::{Engine, Instance, Linker, Module, Store, TypedFunc};

/// A module that runs by itself.
pub(crate) struct Guest {
    store: Store<()>,
    instance: Instance,
}

impl Guest {
    /// Compiles and instantiates a module. Its imports must not be called.
    pub(crate) fn new(wasm: &[u8]) -> Result<Guest> {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).map_err(failed)?;
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&module).map_err(failed)?;
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).map_err(failed)?;
        Ok(Guest { store, instance })
    }

    /// A function of one number, to be called again and again.
    pub(crate) fn function(&mut self, name: &str) -> Result<TypedFunc<u64, u64>> {
        self.instance.get_typed_func(&mut self.store, name).map_err(failed)
    }

    /// Calls a function.
    pub(crate) fn call(&mut self, function: &TypedFunc<u64, u64>, argument: u64) -> Result<u64> {
        function.call(&mut self.store, argument).map_err(failed)
    }

    /// Returns the result of one call of a function, and its time.
    pub(crate) fn time(&mut self, name: &str, argument: u64) -> Result<(u64, Duration)> {
        let function = self.function(name)?;
        let start = Instant::now();
        let result = self.call(&function, argument)?;
        Ok((result, start.elapsed()))
    }
}

fn failed(error: wasmtime::Error) -> Error {
    Error::msg(format!("the guest by itself: {error:#}"))
}
