//! Types: those that a field, a parameter or a result can have, from Rust's to the schema's.
//!
//! This module does not know fields or methods, only the place of a type.
//!
//! Invariant: a type from here can be laid out and passed; its layout is the Canonical ABI's.

use std::collections::HashMap;

use quote::ToTokens;
use syn::{
    Attribute, Error, Expr, ExprLit, Fields, GenericArgument, Generics, Ident, ItemEnum,
    ItemStruct, Lit, PathArguments, Result,
};

use crate::names;

/// The depth to which structs nest.
const DEPTH_MAX: usize = 8;
/// Items of an array.
const ITEMS_MAX: usize = 1024;
/// Cases of an enum: one byte distinguishes them.
const CASES_MAX: usize = 256;

/// The place of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A field of the state itself.
    State,
    /// A field of a struct, or an item, or a payload, in a state or result.
    Part,
    Parameter,
    /// A field of a struct that is a parameter.
    ParameterPart,
    Result,
}

#[derive(Debug, Clone)]
pub(crate) enum Type {
    Scalar(&'static Scalar),
    Enum(Enum),
    Record(Record),
    Array(Box<Type>, usize),
    /// `Maybe` in a state, `Option` in a call.
    Option(Box<Type>),
    /// A list: in a state with the number of bytes, in a call without.
    List(Option<Expr>),
    String(Option<Expr>),
    /// Texts: in a state with the number of items and of bytes of each, in a call without.
    Texts(Option<(Expr, Expr)>),
}

/// A type that is a core value.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub(crate) rust: &'static str,
    pub(crate) wit: &'static str,
    pub(crate) bytes: usize,
    /// The Rust type of the core value.
    pub(crate) core: &'static str,
}

const fn scalar(rust: &'static str, wit: &'static str, bytes: usize, core: &'static str) -> Scalar {
    Scalar { rust, wit, bytes, core }
}

static SCALARS: [Scalar; 12] = [
    scalar("u8", "u8", 1, "u32"),
    scalar("u16", "u16", 2, "u32"),
    scalar("u32", "u32", 4, "u32"),
    scalar("u64", "u64", 8, "u64"),
    scalar("i8", "s8", 1, "u32"),
    scalar("i16", "s16", 2, "u32"),
    scalar("i32", "s32", 4, "u32"),
    scalar("i64", "s64", 8, "u64"),
    scalar("f32", "f32", 4, "f32"),
    scalar("f64", "f64", 8, "f64"),
    scalar("bool", "bool", 1, "u32"),
    scalar("char", "char", 4, "u32"),
];

#[derive(Debug, Clone)]
pub(crate) struct Enum {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    /// The cases, with their names in the schema.
    pub(crate) cases: Vec<(Ident, String)>,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) ty: Type,
}

impl Type {
    /// Prints the type as WIT writes it.
    pub(crate) fn wit(&self) -> String {
        match self {
            Type::Scalar(scalar) => scalar.wit.to_string(),
            Type::Enum(ty) => names::escaped(&ty.name),
            Type::Record(ty) => names::escaped(&ty.name),
            Type::Array(item, count) => format!("tuple<{}>", vec![item.wit(); *count].join(", ")),
            Type::Option(payload) => format!("option<{}>", payload.wit()),
            Type::List(_) => "list<u8>".to_string(),
            Type::String(_) => "string".to_string(),
            Type::Texts(_) => "list<string>".to_string(),
        }
    }

    /// Returns the size and alignment in memory.
    pub(crate) fn layout(&self) -> (usize, usize) {
        let (size, align) = self.laid_out();
        assert!(align.is_power_of_two(), "an alignment is that of a scalar");
        assert!(size.is_multiple_of(align), "a size is a multiple of the alignment");
        (size, align)
    }

    fn laid_out(&self) -> (usize, usize) {
        match self {
            Type::Scalar(scalar) => (scalar.bytes, scalar.bytes),
            Type::Enum(_) => (1, 1),
            Type::Record(record) => {
                let (_, layout) = sequence(record.fields.iter().map(|field| &field.ty));
                layout
            }
            Type::Array(item, count) => {
                let (size, align) = item.layout();
                (size * count, align)
            }
            Type::Option(payload) => {
                let (size, align) = payload.layout();
                ((align + size).next_multiple_of(align), align)
            }
            Type::List(_) | Type::String(_) | Type::Texts(_) => (8, 4),
        }
    }

    /// Returns the number of core values that pass the type.
    pub(crate) fn flat_count(&self) -> usize {
        match self {
            Type::Scalar(_) | Type::Enum(_) => 1,
            Type::Record(record) => record.fields.iter().map(|field| field.ty.flat_count()).sum(),
            Type::Array(item, count) => item.flat_count() * count,
            Type::Option(payload) => 1 + payload.flat_count(),
            Type::List(_) | Type::String(_) | Type::Texts(_) => 2,
        }
    }
}

/// Returns the offsets of types one behind the other, and the layout of the whole.
pub(crate) fn sequence<'a>(types: impl Iterator<Item = &'a Type>) -> (Vec<usize>, (usize, usize)) {
    let (mut offsets, mut end, mut align) = (Vec::new(), 0_usize, 1);
    for ty in types {
        let (part_size, part_align) = ty.layout();
        let offset = end.next_multiple_of(part_align);
        offsets.push(offset);
        end = offset + part_size;
        align = align.max(part_align);
    }
    (offsets, (end.next_multiple_of(align), align))
}

/// The types that a module defines.
#[derive(Default)]
pub(crate) struct Definitions<'a> {
    pub(crate) structs: HashMap<String, &'a ItemStruct>,
    pub(crate) enums: HashMap<String, &'a ItemEnum>,
}

impl Definitions<'_> {
    /// Reads a type that stands at `place`.
    pub(crate) fn read(&self, ty: &syn::Type, place: Place) -> Result<Type> {
        self.read_within(ty, place, 0)
    }

    fn read_within(&self, ty: &syn::Type, place: Place, depth: usize) -> Result<Type> {
        if depth > DEPTH_MAX {
            return Err(Error::new_spanned(ty, format!("types nest at most {DEPTH_MAX} deep")));
        }
        match ty {
            syn::Type::Path(path) if path.qself.is_none() => {
                let Some(last) = path.path.segments.last() else { return Err(unknown(ty, place)) };
                match &last.arguments {
                    PathArguments::None => self.read_named(ty, &last.ident, place, depth),
                    PathArguments::AngleBracketed(arguments) if arguments.args.len() == 1 => {
                        self.read_generic(ty, &last.ident, &arguments.args[0], place, depth)
                    }
                    PathArguments::AngleBracketed(arguments)
                        if arguments.args.len() == 2
                            && last.ident == "Texts"
                            && place == Place::State =>
                    {
                        let [items, bytes] = [0, 1].map(|it| capacity(&arguments.args[it]));
                        Ok(Type::Texts(Some((items?, bytes?))))
                    }
                    _ => Err(unknown(ty, place)),
                }
            }
            syn::Type::Array(array) if matches!(place, Place::State | Place::Part) => {
                let count = length(&array.len)?;
                let item = self.read_within(&array.elem, Place::Part, depth + 1)?;
                Ok(Type::Array(Box::new(item), count))
            }
            syn::Type::Reference(reference)
                if matches!(place, Place::Parameter | Place::Result)
                    && reference.mutability.is_none()
                    && reference.lifetime.is_none() =>
            {
                match reference.elem.to_token_stream().to_string().as_str() {
                    "str" => Ok(Type::String(None)),
                    "[u8]" | "[u8 ]" | "[ u8 ]" => Ok(Type::List(None)),
                    "[Str]" | "[Str ]" | "[ Str ]" if place == Place::Parameter => {
                        Ok(Type::Texts(None))
                    }
                    _ => Err(unknown(ty, place)),
                }
            }
            _ => Err(unknown(ty, place)),
        }
    }

    fn read_named(
        &self,
        ty: &syn::Type,
        ident: &Ident,
        place: Place,
        depth: usize,
    ) -> Result<Type> {
        let name = ident.to_string();
        if let Some(item) = self.structs.get(&name).filter(|_| name != "State") {
            let part = match place {
                Place::State | Place::Part | Place::Result => Place::Part,
                Place::Parameter | Place::ParameterPart => Place::ParameterPart,
            };
            let record = self.record(item, part, depth + 1)?;
            if place == Place::Result && record.fields.len() == 1 {
                let message = "a result of one field: return the field itself";
                return Err(Error::new_spanned(ty, message));
            }
            return Ok(Type::Record(record));
        }
        if let Some(item) = self.enums.get(&name) {
            return enumeration(item).map(Type::Enum);
        }
        let scalar = SCALARS.iter().find(|scalar| scalar.rust == name);
        scalar.map(Type::Scalar).ok_or_else(|| unknown(ty, place))
    }

    fn read_generic(
        &self,
        ty: &syn::Type,
        ident: &Ident,
        argument: &GenericArgument,
        place: Place,
        depth: usize,
    ) -> Result<Type> {
        let payload = |place| match argument {
            GenericArgument::Type(payload) => {
                self.read_within(payload, place, depth + 1).map(|ty| Type::Option(Box::new(ty)))
            }
            _ => Err(unknown(ty, place)),
        };
        match (ident.to_string().as_str(), place) {
            ("Maybe", Place::State | Place::Part) => payload(Place::Part),
            ("Option", Place::Parameter) => payload(Place::ParameterPart),
            ("Option", Place::Result) => payload(Place::Part),
            ("Bytes", Place::State) => Ok(Type::List(Some(capacity(argument)?))),
            ("Text", Place::State) => Ok(Type::String(Some(capacity(argument)?))),
            _ => Err(unknown(ty, place)),
        }
    }

    /// Reads a struct, whose fields stand at `place`.
    pub(crate) fn record(&self, item: &ItemStruct, place: Place, depth: usize) -> Result<Record> {
        validate_item(&item.attrs, &item.generics)?;
        let Fields::Named(named) = &item.fields else {
            let message = "a struct of a schema has named fields";
            return Err(Error::new(item.ident.span(), message));
        };
        if named.named.is_empty() {
            let message = "a struct of a schema has at least one field";
            return Err(Error::new(item.ident.span(), message));
        }
        let name = names::kebab_of_pascal(&item.ident)?;
        let mut errors = Errors::default();
        let mut fields = Vec::new();
        for field in &named.named {
            let read = || {
                validate_attributes(&field.attrs)?;
                let ident = field.ident.clone().expect("the fields are named");
                let name = names::kebab(&ident)?;
                Ok(Field { ident, name, ty: self.read_within(&field.ty, place, depth)? })
            };
            fields.extend(errors.keep(read()));
        }
        errors.finish()?;
        Ok(Record { ident: item.ident.clone(), name, fields })
    }
}

fn enumeration(item: &ItemEnum) -> Result<Enum> {
    validate_item(&item.attrs, &item.generics)?;
    let found = item.variants.len();
    if found == 0 || found > CASES_MAX {
        let message = format!("an enum of a schema has 1 to {CASES_MAX} cases, not {found}");
        return Err(Error::new(item.ident.span(), message));
    }
    let mut cases = Vec::new();
    for variant in &item.variants {
        validate_attributes(&variant.attrs)?;
        if !variant.fields.is_empty() || variant.discriminant.is_some() {
            let message = "a case of a schema's enum has no fields and no number of its own";
            return Err(Error::new_spanned(variant, message));
        }
        cases.push((variant.ident.clone(), names::kebab_of_pascal(&variant.ident)?));
    }
    Ok(Enum { ident: item.ident.clone(), name: names::kebab_of_pascal(&item.ident)?, cases })
}

fn length(length: &Expr) -> Result<usize> {
    let literal = match length {
        Expr::Lit(ExprLit { lit: Lit::Int(literal), .. }) => literal.base10_parse().ok(),
        _ => None,
    };
    literal.filter(|count| (1..=ITEMS_MAX).contains(count)).ok_or_else(|| {
        let message = format!("an array in a schema has 1 to {ITEMS_MAX} items, in digits");
        Error::new_spanned(length, message)
    })
}

fn capacity(argument: &GenericArgument) -> Result<Expr> {
    match argument {
        GenericArgument::Const(count) => Ok(count.clone()),
        // A constant by name reads as a type.
        GenericArgument::Type(syn::Type::Path(path)) => Ok(syn::parse_quote!(#path)),
        other => Err(Error::new_spanned(other, "expected how many bytes there may be")),
    }
}

fn validate_item(attributes: &[Attribute], generics: &Generics) -> Result<()> {
    if !generics.params.is_empty() || generics.where_clause.is_some() {
        return Err(Error::new_spanned(generics, "a type of a schema has no parameters"));
    }
    validate_attributes(attributes)
}

/// Refuses attributes that would make the schema depend on how the code is compiled.
pub(crate) fn validate_attributes(attributes: &[Attribute]) -> Result<()> {
    let conditional = |attribute: &&Attribute| {
        attribute.path().is_ident("cfg") || attribute.path().is_ident("cfg_attr")
    };
    match attributes.iter().find(conditional) {
        Some(attribute) => {
            Err(Error::new_spanned(attribute, "a part of a schema cannot be conditional"))
        }
        None => Ok(()),
    }
}

/// Returns the error for a type that a schema does not have, with advice for its place.
fn unknown(ty: &syn::Type, place: Place) -> Error {
    let text = ty.to_token_stream().to_string().replace(' ', "");
    let head = text.split('<').next().unwrap_or_default();
    let in_state = matches!(place, Place::State | Place::Part);
    let advice = match head {
        "usize" | "isize" => "it is not of the same size everywhere: use u32, u64, i32 or i64",
        "u128" | "i128" => "there is no such integer in WIT: use [u64; 2]",
        "Option" if in_state => "its layout is only this compiler's: use Maybe",
        "Option" => "an option stands by itself, not inside of something",
        "Maybe" => "use Option: Maybe is for what is kept",
        "Result" => "a step that fails traps: use continuant_guest::trap",
        "String" | "&str" if place == Place::State => {
            "use Text<N>, with the bytes that it may have"
        }
        "Vec" | "&[u8]" if place == Place::State => "use Bytes<N>, with how many there may be",
        "&[Str]" if place == Place::State => {
            "use Texts<N, B>, with how many there may be and the bytes that each may have"
        }
        "Texts" if place == Place::Parameter => "use &[Str]",
        "String" | "Text" if !in_state => "use &str",
        "Vec" | "Bytes" if !in_state => "use &[u8]",
        "String" | "&str" | "Text" | "Vec" | "&[u8]" | "Bytes" | "&[Str]" | "Texts" => {
            "bytes and text are fields of the state itself, not inside of something"
        }
        _ => match place {
            Place::State | Place::Part => {
                "use an integer, float, bool, char, array, Maybe, or a struct or fieldless enum of \
                 this module; Bytes<N>, Text<N> and Texts<N, B> in the state itself"
            }
            Place::Parameter | Place::ParameterPart => {
                "use an integer, float, bool, char, &str, &[u8], &[Str], Option, or a struct of \
                 such or a fieldless enum of this module"
            }
            Place::Result => {
                "use an integer, float, bool, char, &str, &[u8], Option, or a struct or fieldless \
                 enum of this module"
            }
        },
    };
    Error::new_spanned(ty, format!("{text} is not a type of a schema here: {advice}"))
}

/// Errors found one after another.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    /// Returns the value, or keeps the error.
    pub(crate) fn keep<T>(&mut self, found: Result<T>) -> Option<T> {
        match found {
            Ok(found) => Some(found),
            Err(error) => {
                match &mut self.0 {
                    Some(errors) => errors.combine(error),
                    None => self.0 = Some(error),
                }
                None
            }
        }
    }

    /// Returns all errors together, if there are any.
    pub(crate) fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
