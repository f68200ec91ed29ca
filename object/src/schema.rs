//! The schema of an object: its state and its methods, as a WIT package with a `state` record and
//! one function per method.
//!
//! From the one text come the layout of the state in memory (the component model's Canonical ABI),
//! the bytes of a method's arguments, the core values of a call, and the JSON shape of all of them.
//! A schema does not know how a method runs, nor who may call it.
//!
//! Invariant: a `Schema` is within every limit of [`crate::limits`], so nothing that walks its
//! types runs long or recurses deep; no text, payload, memory or JSON makes anything here panic.

mod excerpt;
mod fault;
mod json;
mod layout;
mod lower;
mod migrate;
mod parse;
mod payload;
mod place;
mod read;
mod scalar;
mod scan;
mod shape;
mod store;
mod transcribe;
mod types;
mod value;

use std::sync::Arc;

pub(crate) use excerpt::{Most, Selection};
pub use layout::Layout;
pub use lower::{CoreType, CoreValue, Lower, lift_result, lower_args, lower_value};
pub(crate) use payload::skip_value;
pub use payload::{decode_args, decode_value, encode_args, encode_value};
pub use place::{Place, Scalar};
pub use read::read_value;
pub(crate) use scalar::{from_bytes as scalar_bits, width as scalar_width};
pub use store::store;
pub use transcribe::Unread;
pub(crate) use transcribe::{Sink, is_named};
pub(crate) use types::option as option_layout;
pub use types::{Case, Enum, Field, Flags, Record, ResultType, Tuple, Type, Variant};
pub use value::Value;

use crate::diagnostic::in_text;
use crate::error::{ErrorKind, Result};
use crate::hash::SchemaHash;
use crate::memory::Memory;

/// The name of the method that runs once, when an object is made.
pub const CREATE: &str = "create";
/// The name of the function that makes a new state from that of the old code, in an upgrade.
pub const MIGRATE: &str = "migrate";

/// A schema. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    text: String,
    hash: SchemaHash,
    package: String,
    state: Arc<Record>,
    methods: Vec<Method>,
    create: Option<Method>,
    migrate: Option<Type>,
}

/// The parts that parsing yields.
pub(crate) struct Parts {
    package: String,
    state: Arc<Record>,
    /// The constructor too, if there is one.
    methods: Vec<Method>,
    /// The record that the function `migrate` takes, if there is one.
    migrate: Option<Type>,
}

/// A function of an object.
#[derive(Debug, Clone)]
pub struct Method {
    /// Kebab-case name, also the name of the module's export.
    pub name: String,
    /// The parameters in the order of the text.
    pub params: Vec<Param>,
    /// The type of the result.
    pub result: Option<Type>,
}

/// A parameter of a method.
#[derive(Debug, Clone)]
pub struct Param {
    /// Kebab-case name.
    pub name: String,
    /// The parameter's type.
    pub ty: Type,
}

impl Schema {
    /// Parses a WIT package.
    ///
    /// # Errors
    ///
    /// `Schema`, with everything that is wrong: all that is not allowed, or the first place where
    /// the text is no WIT.
    ///
    /// # Examples
    ///
    /// ```
    /// use continuant_object::schema::Schema;
    ///
    /// let schema = Schema::parse(
    ///     "package airport:gates;
    ///      interface gate {
    ///          record state { open: bool, boarded: u32 }
    ///          board: func(passengers: u32);
    ///      }",
    /// )?;
    /// assert_eq!(schema.resolve("boarded")?.ty().to_string(), "u32");
    /// # Ok::<(), continuant_object::Error>(())
    /// ```
    pub fn parse(wit: &str) -> Result<Schema> {
        let parts = parse::parse(wit);
        let parts = parts.map_err(|found| ErrorKind::Schema(in_text(found, wit)))?;
        let Parts { package, state, mut methods, migrate } = parts;
        let create = methods.iter().position(|method| method.name == CREATE);
        let create = create.map(|index| methods.remove(index));
        let (text, hash) = (wit.to_string(), SchemaHash::of(wit.as_bytes()));
        Ok(Schema(Arc::new(Inner { text, hash, package, state, methods, create, migrate })))
    }

    /// The WIT text, as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The hash of the text.
    pub fn hash(&self) -> SchemaHash {
        self.0.hash
    }

    /// The package's name, such as `airport:gates@1.0.0`.
    pub fn package(&self) -> &str {
        &self.0.package
    }

    /// The record that an object keeps.
    pub fn state(&self) -> &Record {
        &self.0.state
    }

    /// The methods that can be called, in the order of the text: all but the constructor.
    pub fn methods(&self) -> &[Method] {
        &self.0.methods
    }

    /// The method of that name, unless it is the constructor.
    pub fn method(&self, name: &str) -> Option<&Method> {
        self.0.methods.iter().find(|method| method.name == name)
    }

    /// The method called `name`.
    ///
    /// # Errors
    ///
    /// [`Unknown`](ErrorKind::Unknown) with the names that there are.
    pub fn require_method(&self, name: &str) -> Result<&Method> {
        self.method(name).ok_or_else(|| {
            let known = self.methods().iter().map(|method| method.name.clone()).collect();
            ErrorKind::Unknown { what: "method", name: name.to_string(), known }.into()
        })
    }

    /// The constructor.
    pub fn create(&self) -> Option<&Method> {
        self.0.create.as_ref()
    }

    /// Returns the parameter of the function `migrate`: the old code's state, a record.
    pub fn migrate(&self) -> Option<&Type> {
        self.0.migrate.as_ref()
    }

    /// Returns the parameter of the function `migrate`, if it accepts the states of `before`.
    ///
    /// # Errors
    ///
    /// [`Unknown`](ErrorKind::Unknown) when there is no such function, [`Value`](ErrorKind::Value)
    /// at the first difference: expected is the parameter's part.
    pub fn require_migration(&self, before: &Schema) -> Result<&Type> {
        let unknown =
            ErrorKind::Unknown { what: "function", name: MIGRATE.to_string(), known: Vec::new() };
        let taken = self.migrate().ok_or(unknown)?;
        let state = Type::Record(Arc::clone(&before.0.state));
        migrate::validate(taken, &state).map_err(|fault| fault.within("state").in_value())?;
        Ok(taken)
    }

    /// Finds a field of the state: `open`, `minutes-since-inspection` (or with `_`), and further
    /// into records by name, and into tuples and lists by index, as `items.0.name`.
    ///
    /// # Errors
    ///
    /// `Unknown` when the state has no such field.
    pub fn resolve(&self, path: &str) -> Result<Place> {
        place::resolve(&self.0.state, path)
    }

    /// The field of the state record that a path begins with.
    ///
    /// # Errors
    ///
    /// `Unknown` when the state has no such field.
    pub fn field(&self, path: &str) -> Result<&Field> {
        place::first(&self.0.state, path)
    }

    /// Reads a field of the state record at `state`, an address in memory.
    ///
    /// # Errors
    ///
    /// `Unknown` when the state has no such field, `State` when memory does not hold it.
    pub fn read(&self, memory: &(impl Memory + ?Sized), state: u32, path: &str) -> Result<Value> {
        self.resolve(path)?.read(memory, state)
    }

    /// Reads a scalar of the state record at `state`, an address in memory. Allocates nothing.
    ///
    /// # Errors
    ///
    /// `Unknown` when the state has no such field, `Value` when it is of another type, `State` when
    /// memory does not hold it.
    pub fn get<T: Scalar>(
        &self,
        memory: &(impl Memory + ?Sized),
        state: u32,
        path: &str,
    ) -> Result<T> {
        place::get(memory, state, &self.0.state, path)
    }

    /// Reads the state record at `state`, an address in memory.
    ///
    /// # Errors
    ///
    /// `State` as for [`Schema::validate_state`].
    pub fn read_state(&self, memory: &(impl Memory + ?Sized), state: u32) -> Result<Value> {
        read::state(memory, state, &self.0.state)
    }

    /// Reads the selected fields of a valid state record; every other field is `none`.
    pub(crate) fn excerpt(
        &self,
        memory: &(impl Memory + ?Sized),
        state: u32,
        selection: &Selection,
        most: Most,
    ) -> Result<Value> {
        excerpt::excerpt(memory, state, &self.0.state, selection, most)
    }

    /// Appends the value at `path` in a valid state record, or the whole record, as payload bytes.
    pub(crate) fn transcribe(
        &self,
        memory: &(impl Memory + ?Sized),
        state: u32,
        path: Option<&str>,
        sink: &mut Sink<'_>,
    ) -> Result<bool, Unread> {
        transcribe::transcribe(memory, state, &self.0.state, path, sink)
    }

    /// Validates the state record at `state`, an address in memory: that it is page-aligned and in
    /// bounds, and that every field can be read. Allocates nothing when it is valid.
    ///
    /// # Errors
    ///
    /// `State`, with the first field that cannot be read.
    pub fn validate_state(&self, memory: &(impl Memory + ?Sized), state: u32) -> Result<()> {
        read::state(memory, state, &self.0.state)
    }
}

impl Method {
    /// The parameters of the module's export.
    pub fn core_params(&self) -> Vec<CoreType> {
        lower::flatten_params(&self.params)
    }

    /// The results of the module's export: none, the result itself when it is one core value, or
    /// its address in memory.
    pub fn core_results(&self) -> Vec<CoreType> {
        let result = self.result.as_ref();
        result.map(|ty| lower::single(ty).unwrap_or(CoreType::I32)).into_iter().collect()
    }
}
