//! Typed views of states: fields of a version, read straight from its pages as the types that an
//! embedder's program gives them.
//!
//! ```text
//!            State::bind                  Bound::view               accessor
//!   schema -------------> Bound: offsets -------------> view: page ----------> value
//!            names, types                 same schema               a load
//! ```
//!
//! The types are those with `#[derive(State)]`; the derive emits nothing but calls of this module.
//! It does not know how pages were stored.
//!
//! Invariant: reading a scalar through a view allocates nothing and takes no lock.

mod at;
mod layout;
mod list;
mod mismatch;
mod types;

use std::fmt::{self, Debug};

use object::hash::SchemaHash;
use object::{ErrorKind, Result};
use policy::definition::Definition;
#[doc(hidden)]
pub use schema::{Layout, Record, Type};

pub use self::at::At;
pub use self::layout::{enumeration, sequence};
pub use self::list::List;
pub use self::mismatch::Mismatch;
use crate::snapshot::Snapshot;

/// A Rust type that a part of a state can be read as.
///
/// | Rust | WIT | read as |
/// |---|---|---|
/// | `u8` .. `u64`, `f32`, `f64`, `bool`, `char` | the same | itself |
/// | `i8` .. `i64` | `s8` .. `s64` | itself |
/// | `String` | `string` | `Cow<str>`, borrowed unless it crosses a page |
/// | `Vec<T>` | `list<T>` | [`List<T>`](List) |
/// | `Option<T>` | `option<T>` | `Option` of what `T` is read as |
/// | `[T; N]` | `tuple<T, T, ..>` | an array of what `T` is read as |
/// | a struct with `#[derive(State)]`, of all fields in their order | `record` | its view |
/// | an enum with `#[derive(State)]`, of all cases in their order | `enum` | itself |
///
/// Tuples of several types, `flags`, `variant` and `result` cannot be read: leave such fields of a
/// state out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a state is read as",
    label = "not a type of a state",
    note = "use an integer, float, bool, char, String, Vec, Option, array, or a struct or \
            fieldless enum with #[derive(State)]; fields of other types can be left out"
)]
pub trait Field: Sized + 'static {
    /// The type that a read returns.
    type Read<'a>;

    #[doc(hidden)]
    const LAYOUT: Layout;

    /// Checks that the type of a schema matches this one.
    #[doc(hidden)]
    fn check(ty: &Type) -> Result<(), Mismatch>;

    /// Reads the value at an address.
    #[doc(hidden)]
    fn read<'a>(at: At<'a>) -> Self::Read<'a>;

    /// Converts a read value into an owned one.
    #[doc(hidden)]
    fn own(read: Self::Read<'_>) -> Self;
}

/// A struct that mirrors an object's state. Implement it with `#[derive(State)]`.
///
/// It names the fields of the state that the program reads, in any order, and need not name all.
/// See the derive macro for an example.
pub trait State: Field {
    #[doc(hidden)]
    type Offsets: Copy + Debug + Send + Sync;

    /// Finds the fields in a record of a schema.
    #[doc(hidden)]
    fn offsets(record: &Record) -> Result<Self::Offsets, Mismatch>;

    /// Returns the view of a record at an address.
    #[doc(hidden)]
    fn view<'a>(at: At<'a>, offsets: Self::Offsets) -> Self::Read<'a>;

    /// Checks the fields against a schema, once for all objects that have it.
    ///
    /// # Errors
    ///
    /// [`Unknown`](ErrorKind::Unknown) for a field that the state does not have,
    /// [`Value`](ErrorKind::Value) for one of another type; both name it.
    fn bind(definition: &Definition) -> Result<Bound<Self>> {
        let offsets = Self::offsets(definition.schema.state())?;
        Ok(Bound { schema: definition.schema.hash(), offsets })
    }
}

/// A struct, checked against a schema.
pub struct Bound<S: State> {
    schema: SchemaHash,
    offsets: S::Offsets,
}

impl<S: State> Bound<S> {
    /// Returns a view of the version that `snapshot` holds.
    ///
    /// # Errors
    ///
    /// [`Mismatch`](ErrorKind::Mismatch) when its object has another schema: bind that one too.
    pub fn view<'a>(&self, snapshot: &'a Snapshot) -> Result<S::Read<'a>> {
        let found = snapshot.definition().schema.hash();
        if found != self.schema {
            let (expected, found) = (self.schema.to_string(), found.to_string());
            let (what, seq) = ("schema", snapshot.header().seq);
            return Err(ErrorKind::Mismatch { what, seq, expected, found }.into());
        }
        Ok(S::view(At::state(snapshot), self.offsets))
    }
}

impl<S: State> Copy for Bound<S> {}

impl<S: State> Clone for Bound<S> {
    fn clone(&self) -> Bound<S> {
        *self
    }
}

impl<S: State> Debug for Bound<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Bound { schema, offsets } = self;
        f.debug_struct("Bound").field("schema", schema).field("offsets", offsets).finish()
    }
}

impl Snapshot {
    /// Returns a typed view of the version, checked against its schema: see [`State`].
    ///
    /// For many versions or objects of one schema, check once, with [`State::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`State::bind`].
    pub fn view<S: State>(&self) -> Result<S::Read<'_>> {
        let offsets = S::offsets(self.definition().schema.state())?;
        Ok(S::view(At::state(self), offsets))
    }
}

/// Returns the offset of a field of a record.
#[doc(hidden)]
pub fn offset<F: Field>(record: &Record, name: &str) -> Result<u32, Mismatch> {
    let Some(field) = record.field(name) else {
        let known = record.fields.iter().map(|field| field.name.clone());
        return Err(Mismatch::unknown(name, known.collect()));
    };
    F::check(&field.ty).map_err(|mismatch| mismatch.within(name))?;
    assert_eq!(F::LAYOUT, field.ty.layout(), "a type has one layout");
    Ok(field.offset)
}

/// Checks that a type is the record with the fields of `S`, under these names, in their order and
/// no others.
#[doc(hidden)]
pub fn record<S: State>(ty: &Type, names: &[&str]) -> Result<(), Mismatch> {
    let list = |names: &[&str]| format!("record {{ {} }}", names.join(", "));
    let Type::Record(record) = ty else { return Err(Mismatch::new(list(names), ty)) };
    S::offsets(record)?;
    if record.fields.iter().map(|field| field.name.as_str()).ne(names.iter().copied()) {
        let found: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
        return Err(Mismatch::new(list(names), list(&found)));
    }
    Ok(())
}

/// Checks that a type is the enum with these cases, in this order.
#[doc(hidden)]
pub fn cases(ty: &Type, cases: &[&str]) -> Result<(), Mismatch> {
    let expected = || format!("enum {{ {} }}", cases.join(", "));
    match ty {
        Type::Enum(found) if found.cases == cases => Ok(()),
        Type::Enum(found) => {
            Err(Mismatch::new(expected(), format_args!("enum {{ {} }}", found.cases.join(", "))))
        }
        _ => Err(Mismatch::new(expected(), ty)),
    }
}
