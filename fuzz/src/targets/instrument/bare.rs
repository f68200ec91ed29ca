//! A module run under wasmtime without the pass: its behaviour by itself.
//!
//! It is outside of `engine/src/substrate` because it is compared with that. The freedom that the
//! standard leaves for NaNs is settled by the compiler here and by the pass there.
//!
//! This module does not know objects.

use std::sync::OnceLock;

use wasmtime::{Config, Engine, Instance, Module, Store, Trap, Val};

/// Fuel of a call: far more than the pass lets a step have.
const FUEL: u64 = 4_000_000_000;
/// Bytes of native stack, of the runner's.
const STACK_BYTES: usize = 8 << 20;

/// An instance, whose memory is exported.
pub(super) struct Bare {
    store: Store<()>,
    instance: Instance,
}

/// A cause that ends a call early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// The code traps.
    Trap,
    /// The call takes more stack or fuel than this instance has.
    Exhausted,
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut config = Config::new();
        config.cranelift_nan_canonicalization(true).consume_fuel(true);
        config.max_wasm_stack(STACK_BYTES).async_stack_size(2 * STACK_BYTES);
        Engine::new(&config).expect("wasmtime runs on this machine")
    })
}

impl Bare {
    /// Instantiates and starts a module without imports.
    pub(super) fn new(wasm: &[u8]) -> Result<Bare, Ended> {
        let module = Module::new(engine(), wasm).expect("the pass took the module");
        let mut store = Store::new(engine(), ());
        store.set_fuel(FUEL).expect("fuel is consumed");
        let instance = Instance::new(&mut store, &module, &[]).map_err(|it| ended(&it))?;
        Ok(Bare { store, instance })
    }

    /// Calls an exported function with the bits of its arguments; the bits of its result.
    pub(super) fn call(&mut self, name: &str, arguments: &[Val]) -> Result<Option<u64>, Ended> {
        let function = self.instance.get_func(&mut self.store, name).expect("it is exported");
        self.store.set_fuel(FUEL).expect("fuel is consumed");
        let count = function.ty(&self.store).results().len();
        let mut results = vec![Val::I32(0); count];
        function.call(&mut self.store, arguments, &mut results).map_err(|it| ended(&it))?;
        Ok(results.first().map(bits))
    }

    /// The memory.
    pub(super) fn memory(&mut self) -> &[u8] {
        let memory = self.instance.get_memory(&mut self.store, "memory");
        memory.expect("it is exported").data(&self.store)
    }
}

fn ended(error: &wasmtime::Error) -> Ended {
    match error.downcast_ref::<Trap>() {
        Some(Trap::OutOfFuel | Trap::StackOverflow) => Ended::Exhausted,
        _ => Ended::Trap,
    }
}

/// The bits of a number, extended with zeros.
fn bits(value: &Val) -> u64 {
    match value {
        Val::I32(value) => u64::from(value.cast_unsigned()),
        Val::I64(value) => value.cast_unsigned(),
        Val::F32(bits) => u64::from(*bits),
        Val::F64(bits) => *bits,
        _ => unreachable!("functions without reference types give numbers"),
    }
}
