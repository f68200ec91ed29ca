//! A schema: the types and functions that a WIT text has, and the state of an object by it.
//!
//! It does not know how a text is parsed.

use std::sync::Arc;

use object::hash::SchemaHash;
use object::in_text;
use object::memory::Memory;
use object::{ErrorKind, Result};

use crate::excerpt::{self, Most, Selection};
use crate::method::{CREATE, MIGRATE, Method, Parts};
use crate::place::{self, Place, Scalar};
use crate::transcribe::{self, Sink, Unread};
use crate::types::{Field, Record, Type};
use crate::value::Value;
use crate::{migrate, parse, read};

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
    /// use continuant_schema::Schema;
    ///
    /// let schema = Schema::parse(
    ///     "package airport:gates;
    ///      interface gate {
    ///          record state { open: bool, boarded: u32 }
    ///          board: func(passengers: u32);
    ///      }",
    /// )?;
    /// assert_eq!(schema.resolve("boarded")?.ty().to_string(), "u32");
    /// # Ok::<(), object::Error>(())
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
    ///
    /// # Errors
    ///
    /// `State` when memory does not hold it.
    pub fn excerpt(
        &self,
        memory: &(impl Memory + ?Sized),
        state: u32,
        selection: &Selection,
        most: Most,
    ) -> Result<Value> {
        excerpt::excerpt(memory, state, &self.0.state, selection, most)
    }

    /// Appends the value at `path` in a valid state record, or the whole record, as payload bytes.
    ///
    /// # Errors
    ///
    /// [`Unread`].
    pub fn transcribe(
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
