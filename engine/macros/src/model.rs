//! The model of a type, as its program says it: a struct with the fields that are read, or an
//! enum's cases.
//!
//! This module does not know the resulting code.
//!
//! Invariant: a model's names are names of a schema; no field has a type that never is in a state.

use quote::ToTokens;
use syn::{Data, DataEnum, DeriveInput, Error, Fields, Ident, Result, Type, Visibility};

use crate::names;

pub(crate) struct Model {
    pub(crate) ident: Ident,
    pub(crate) visibility: Visibility,
    pub(crate) parts: Parts,
}

pub(crate) enum Parts {
    Fields(Vec<Field>),
    /// The cases, with their names in a schema.
    Cases(Vec<(Ident, String)>),
}

pub(crate) struct Field {
    pub(crate) ident: Ident,
    /// The name in a schema.
    pub(crate) name: String,
    pub(crate) visibility: Visibility,
    pub(crate) ty: Type,
}

/// Reads a type's definition.
pub(crate) fn read(item: &DeriveInput) -> Result<Model> {
    let mut errors = Errors::default();
    if !item.generics.params.is_empty() || item.generics.where_clause.is_some() {
        let message = "a type that states are read as has no parameters";
        errors.keep::<()>(Err(Error::new_spanned(&item.generics, message)));
    }
    let parts = match &item.data {
        Data::Struct(data) => fields(&item.ident, &data.fields, &mut errors).map(Parts::Fields),
        Data::Enum(data) => cases(&item.ident, data, &mut errors).map(Parts::Cases),
        Data::Union(data) => {
            let message = "a state is read as a struct with named fields, not as a union";
            Err(Error::new(data.union_token.span, message))
        }
    };
    let parts = errors.keep(parts);
    errors.finish()?;
    let parts = parts.expect("what is missing is an error");
    Ok(Model { ident: item.ident.clone(), visibility: item.vis.clone(), parts })
}

fn fields(ident: &Ident, fields: &Fields, errors: &mut Errors) -> Result<Vec<Field>> {
    let Fields::Named(named) = fields else {
        let message = "a struct that states are read as has named fields: they are the schema's";
        return Err(Error::new(ident.span(), message));
    };
    if named.named.is_empty() {
        let message = "a struct that states are read as has at least one field";
        return Err(Error::new(ident.span(), message));
    }
    let mut read = Vec::new();
    for field in &named.named {
        errors.keep(validate_type(&field.ty));
        let ident = field.ident.clone().expect("the fields are named");
        if let Some(name) = errors.keep(names::kebab(&ident)) {
            let (visibility, ty) = (field.vis.clone(), field.ty.clone());
            read.push(Field { ident, name, visibility, ty });
        }
    }
    Ok(read)
}

fn cases(ident: &Ident, data: &DataEnum, errors: &mut Errors) -> Result<Vec<(Ident, String)>> {
    if data.variants.is_empty() {
        let message = "an enum that states are read as has at least one case";
        return Err(Error::new(ident.span(), message));
    }
    let mut read = Vec::new();
    for variant in &data.variants {
        if !variant.fields.is_empty() || variant.discriminant.is_some() {
            let message = "a case here has no fields and no number of its own: a field whose type \
                           is a variant can be left out";
            errors.keep::<()>(Err(Error::new_spanned(variant, message)));
        } else if let Some(name) = errors.keep(names::kebab_of_pascal(&variant.ident)) {
            read.push((variant.ident.clone(), name));
        }
    }
    Ok(read)
}

/// Rejects a type that is never in a state, and says which type to use instead. For other types the
/// compiler says whether they can be read.
fn validate_type(ty: &Type) -> Result<()> {
    let text = ty.to_token_stream().to_string().replace(' ', "");
    let head = text.split('<').next().unwrap_or_default();
    let advice = match head {
        "usize" | "isize" => "a schema's integers have a size: use u32, u64, i32 or i64",
        "u128" | "i128" => "there is no such integer in WIT",
        "&str" | "&'staticstr" | "str" => "use String: it is read as a Cow<str>, borrowed",
        _ if matches!(ty, Type::Reference(_) | Type::Slice(_)) => {
            "use Vec: it is read as a List, in place"
        }
        _ if matches!(ty, Type::Tuple(_)) => {
            "use an array for a tuple of one type; others can be left out"
        }
        _ => return Ok(()),
    };
    Err(Error::new_spanned(ty, format!("a state is not read as this: {advice}")))
}

/// Errors found one after another.
#[derive(Default)]
struct Errors(Option<Error>);

impl Errors {
    /// Returns the value, or keeps the error.
    fn keep<T>(&mut self, found: Result<T>) -> Option<T> {
        match (found, &mut self.0) {
            (Ok(found), _) => return Some(found),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), errors) => *errors = Some(error),
        }
        None
    }

    fn finish(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
