//! Typed views of states: fields of a version, read straight from its pages as the types that an
//! embedder's program gives them.
//!
//! ```text
//!            State::bind                  Bound::view               accessor
//!   schema -------------> Bound: offsets -------------> view: page ----------> value
//!            names, types                 same schema               a load
//! ```
//!
//! The types are those that `#[derive(State)]` is put on; it emits nothing but calls of what is
//! here. It does not know how pages were stored.
//!
//! Invariant: reading a scalar through a view allocates nothing and takes no lock.

mod at;
mod list;
mod mismatch;
mod types;

use std::fmt::{self, Debug};

use object::definition::Definition;
use object::hash::SchemaHash;
use object::schema::{Record, Type};
use object::{ErrorKind, Result};

pub use self::at::At;
pub use self::list::List;
pub use self::mismatch::Mismatch;
use crate::snapshot::Snapshot;

/// A type that a part of a state is read as.
///
/// | Rust | WIT | read as |
/// |---|---|---|
/// | `u8` .. `u64`, `f32`, `f64`, `bool`, `char` | the same | itself |
/// | `i8` .. `i64` | `s8` .. `s64` | itself |
/// | `String` | `string` | `Cow<str>`, borrowed unless it crosses a page |
/// | `Vec<T>` | `list<T>` | [`List<T>`](List) |
/// | `Option<T>` | `option<T>` | `Option` of what `T` is read as |
/// | `[T; N]` | `tuple<T, T, ..>` | an array of what `T` is read as |
/// | a struct with `#[derive(State)]` | `record` | its view |
/// | an enum with `#[derive(State)]` | `enum` | itself |
///
/// Nothing is read as a tuple of several types, `flags`, `variant` or `result`: leave such fields
/// out.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type that a state is read as",
    label = "not a type of a state",
    note = "use an integer, float, bool, char, String, Vec, Option, array, or a struct or \
            fieldless enum with #[derive(State)]; fields of other types can be left out"
)]
pub trait Field: Sized + 'static {
    /// What a read gives.
    type Read<'a>;

    /// Where the parts are that it is read from.
    #[doc(hidden)]
    type Places: Copy + Debug + Send + Sync;

    /// Finds the parts in a type of a schema.
    #[doc(hidden)]
    fn places(ty: &Type) -> Result<Self::Places, Mismatch>;

    /// Reads the value at an address.
    #[doc(hidden)]
    fn read<'a>(at: At<'a>, places: Self::Places) -> Self::Read<'a>;

    /// Makes what was read into a value of its own.
    #[doc(hidden)]
    fn own(read: Self::Read<'_>) -> Self;
}

/// A struct as which a state, or a record in it, is read: what `#[derive(State)]` makes of one.
///
/// The struct names the fields that the program wants, in any order, and need not name all. For a
/// struct `Plane` the derive makes a `PlaneView`, with a method for each field, which reads it, and
/// with `Plane::from`, which reads them all. Names are compared in the kebab-case of the schema, so
/// that `free_at` reads `free-at`; types are as [`Field`] has them.
pub trait State: Field {
    /// Finds the fields in a record of a schema.
    #[doc(hidden)]
    fn fields(record: &Record) -> Result<Self::Places, Mismatch>;

    /// Checks the fields against a schema, once for all objects that have it.
    ///
    /// # Errors
    ///
    /// [`Unknown`](ErrorKind::Unknown) for a field that the state does not have,
    /// [`Value`](ErrorKind::Value) for one of another type; both name it.
    fn bind(definition: &Definition) -> Result<Bound<Self>> {
        let places = Self::fields(definition.schema.state())?;
        Ok(Bound { schema: definition.schema.hash(), places })
    }
}

/// A struct and the schema that it was checked against.
pub struct Bound<S: State> {
    schema: SchemaHash,
    places: S::Places,
}

impl<S: State> Bound<S> {
    /// A view of the version that `snapshot` holds.
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
        Ok(S::read(At::state(snapshot), self.places))
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
        f.debug_struct("Bound").field("schema", &self.schema).field("places", &self.places).finish()
    }
}

impl Snapshot {
    /// A typed view of the version, checked against its schema: see [`State`].
    ///
    /// For many versions or objects of one schema, check once, with [`State::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`State::bind`].
    pub fn view<S: State>(&self) -> Result<S::Read<'_>> {
        let places = S::fields(self.definition().schema.state())?;
        Ok(S::read(At::state(self), places))
    }
}

/// The record that a type is.
#[doc(hidden)]
pub fn record(ty: &Type) -> Result<&Record, Mismatch> {
    match ty {
        Type::Record(record) => Ok(record),
        _ => Err(Mismatch::new("a record", ty)),
    }
}

/// A field of a record: its offset, and where its own parts are.
#[doc(hidden)]
pub fn field<F: Field>(record: &Record, name: &str) -> Result<(u32, F::Places), Mismatch> {
    let Some(field) = record.field(name) else {
        let known = record.fields.iter().map(|field| field.name.clone());
        return Err(Mismatch::unknown(name, known.collect()));
    };
    let places = F::places(&field.ty).map_err(|mismatch| mismatch.within(name))?;
    Ok((field.offset, places))
}

/// Whether a type is the enum with these cases, in this order.
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
