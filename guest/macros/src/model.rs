//! The model of an object, as its module says it: the state, and the methods with their parameters
//! and results.
//!
//! This module does not know the resulting WIT or code.
//!
//! Invariant: a model has a state, names that WIT accepts, and methods that a host can call.

use std::collections::HashSet;

use proc_macro2::Span;
use syn::parse::{Parse, ParseStream};
use syn::{
    Error, FnArg, Ident, ImplItem, ImplItemFn, Item, ItemMod, LitInt, LitStr, Pat, ReceiverKind,
    Result, ReturnType, Safety, Token, Visibility,
};

use crate::names;
use crate::types::{Definitions, Enum, Errors, Place, Record, Type, validate_attributes};

/// Core values that a method's parameters can be passed as.
const FLAT_PARAMETERS_MAX: usize = 16;
/// Bytes that the strings and lists of a call can have together, by default.
const ARGUMENT_BYTES: usize = 4096;

/// The arguments of the attribute.
#[derive(Default)]
pub(crate) struct Options {
    package: Option<LitStr>,
    arguments: Option<LitInt>,
}

impl Parse for Options {
    fn parse(input: ParseStream<'_>) -> Result<Options> {
        let mut options = Options::default();
        while !input.is_empty() {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            match key.to_string().as_str() {
                "package" => options.package = Some(input.parse()?),
                "arguments" => options.arguments = Some(input.parse()?),
                _ => return Err(Error::new(key.span(), "expected package or arguments")),
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(options)
    }
}

pub(crate) struct Model {
    pub(crate) package: String,
    pub(crate) interface: String,
    pub(crate) argument_bytes: usize,
    pub(crate) state: Record,
    /// Structs and enums that the state and the methods use, each once.
    pub(crate) records: Vec<Record>,
    pub(crate) enums: Vec<Enum>,
    pub(crate) methods: Vec<Method>,
    pub(crate) has_cycle: bool,
    pub(crate) migrate: Option<Migrate>,
}

/// The function that makes a state from that of the old code.
pub(crate) struct Migrate {
    pub(crate) ident: Ident,
    /// The parameter's name.
    pub(crate) name: String,
    /// The type of the old state.
    pub(crate) before: Record,
}

pub(crate) struct Method {
    pub(crate) ident: Ident,
    pub(crate) name: String,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) result: Option<Type>,
}

pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) ty: Type,
}

impl Model {
    /// Returns whether the host has to put anything into memory.
    pub(crate) fn needs_room(&self) -> bool {
        self.migrate.is_some() || self.methods.iter().any(Method::needs_room)
    }
}

impl Method {
    /// Returns whether the host has to put arguments into memory.
    pub(crate) fn needs_room(&self) -> bool {
        let needs = |ty: &Type| matches!(ty, Type::List(_) | Type::String(_) | Type::Texts(_));
        self.parameters.iter().any(|it| needs(&it.ty))
    }
}

/// Reads a module.
pub(crate) fn read(options: &Options, module: &ItemMod) -> Result<Model> {
    let Some((_, items)) = &module.content else {
        return Err(Error::new_spanned(module, "an object's module has its content in place"));
    };
    let interface = names::kebab(&module.ident)?;
    let package = package(options, &interface)?;
    let argument_bytes = match &options.arguments {
        Some(bytes) => bytes.base10_parse()?,
        None => ARGUMENT_BYTES,
    };
    let mut definitions = Definitions::default();
    for item in items {
        match item {
            Item::Struct(item) => drop(definitions.structs.insert(item.ident.to_string(), item)),
            Item::Enum(item) => drop(definitions.enums.insert(item.ident.to_string(), item)),
            _ => {}
        }
    }
    let Some(state) = definitions.structs.get("State") else {
        let message = "an object's module has a `struct State`";
        return Err(Error::new(module.ident.span(), message));
    };
    let mut errors = Errors::default();
    let state = errors.keep(definitions.record(state, Place::State, 0));
    let (mut methods, mut has_cycle, mut migrate) = (Vec::new(), false, None);
    for function in functions(items) {
        match function.sig.ident.to_string().as_str() {
            "cycle" => has_cycle = errors.keep(validate_cycle(function)).is_some(),
            "migrate" => migrate = errors.keep(migration(&definitions, function)),
            _ => methods.extend(errors.keep(method(&definitions, function))),
        }
    }
    errors.finish()?;
    let state = state.expect("without an error there is a state");
    let mut used = Used::default();
    state.fields.iter().for_each(|field| used.visit(&field.ty));
    for method in &methods {
        method.parameters.iter().for_each(|it| used.visit(&it.ty));
        method.result.iter().for_each(|ty| used.visit(ty));
    }
    migrate.iter().for_each(|it| used.visit(&Type::Record(it.before.clone())));
    let Used { records, enums, .. } = used;
    let types = records.iter().map(|ty| &ty.name).chain(enums.iter().map(|ty| &ty.name));
    let functions = methods.iter().map(|method| &method.ident);
    validate_apart(&types.collect(), functions.chain(migrate.iter().map(|it| &it.ident)))?;
    Ok(Model {
        package,
        interface,
        argument_bytes,
        state,
        records,
        enums,
        methods,
        has_cycle,
        migrate,
    })
}

/// Returns the object's functions: public, in an `impl` of the state itself.
fn functions(items: &[Item]) -> impl Iterator<Item = &ImplItemFn> {
    let blocks = items.iter().filter_map(|item| match item {
        Item::Impl(block) if block.trait_.is_none() => match &*block.self_ty {
            syn::Type::Path(path) if path.path.is_ident("State") => Some(block),
            _ => None,
        },
        _ => None,
    });
    blocks.flat_map(|block| &block.items).filter_map(|item| match item {
        ImplItem::Fn(function) if matches!(function.vis, Visibility::Public(_)) => Some(function),
        _ => None,
    })
}

/// Checks that types and methods have different names: WIT has one namespace for both.
fn validate_apart<'a>(
    types: &HashSet<&String>,
    functions: impl Iterator<Item = &'a Ident>,
) -> Result<()> {
    let mut errors = Errors::default();
    for function in functions {
        let name = names::kebab(function)?;
        if types.contains(&name) {
            let message = format!("{name} is also the name of a type of the schema");
            errors.keep::<()>(Err(Error::new(function.span(), message)));
        }
    }
    errors.finish()
}

fn package(options: &Options, interface: &str) -> Result<String> {
    let Some(literal) = &options.package else { return Ok(format!("object:{interface}")) };
    let text = literal.value();
    let (names, version) = match text.split_once('@') {
        Some((names, version)) => (names, Some(version)),
        None => (text.as_str(), None),
    };
    let of = |text: &str, more: &[char]| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(&c))
    };
    let named =
        names.split_once(':').is_some_and(|(space, name)| of(space, &['-']) && of(name, &['-']));
    let versioned = version
        .is_none_or(|version| of(version, &['.', '-', '+']) && version.split('.').count() >= 3);
    if named && versioned {
        return Ok(text);
    }
    let message = "a package is a space and a name in kebab-case, and may have a version, \
                   as in \"fleet:aircraft@1.0.0\"";
    Err(Error::new_spanned(literal, message))
}

fn validate_cycle(function: &ImplItemFn) -> Result<()> {
    validate_signature(function)?;
    let signature = &function.sig;
    if signature.inputs.len() == 1 && matches!(signature.output, ReturnType::Default) {
        return Ok(());
    }
    Err(Error::new_spanned(signature, "a cycle takes nothing but self, and gives nothing back"))
}

fn migration(definitions: &Definitions<'_>, function: &ImplItemFn) -> Result<Migrate> {
    validate_signature(function)?;
    let signature = &function.sig;
    let inputs: Vec<_> = signature.inputs.iter().collect();
    let read = || {
        let [FnArg::Receiver(_), FnArg::Typed(input)] = inputs[..] else { return None };
        let (Pat::Ident(pattern), syn::Type::Reference(ty)) = (&*input.pat, &*input.ty) else {
            return None;
        };
        let syn::Type::Path(path) = &*ty.elem else { return None };
        let name = path.path.get_ident().filter(|_| ty.mutability.is_none())?.to_string();
        let item = definitions.structs.get(&name).filter(|_| name != "State")?;
        Some((&pattern.ident, item))
    };
    match read() {
        Some((name, item)) if matches!(signature.output, ReturnType::Default) => Ok(Migrate {
            ident: signature.ident.clone(),
            name: names::kebab(name)?,
            before: definitions.record(item, Place::State, 0)?,
        }),
        _ => {
            let message = "migrate takes &mut self and a reference to a struct of this module, \
                           the state before, and gives nothing back";
            Err(Error::new_spanned(signature, message))
        }
    }
}

fn validate_signature(function: &ImplItemFn) -> Result<()> {
    validate_attributes(&function.attrs)?;
    let signature = &function.sig;
    let special = signature.asyncness.is_some()
        || !matches!(signature.safety, Safety::Default)
        || signature.abi.is_some()
        || signature.variadic.is_some()
        || !signature.generics.params.is_empty()
        || signature.generics.where_clause.is_some();
    if special {
        let message = "a method of an object is a plain function, without parameters of type";
        return Err(Error::new_spanned(signature, message));
    }
    let by_reference = signature
        .receiver()
        .is_some_and(|receiver| matches!(receiver.kind, ReceiverKind::Reference(_, None, _)));
    if by_reference {
        return Ok(());
    }
    let message = "a method of an object takes &self or &mut self; what is for other code only \
                   is not pub";
    Err(Error::new(signature.ident.span(), message))
}

fn method(definitions: &Definitions<'_>, function: &ImplItemFn) -> Result<Method> {
    validate_signature(function)?;
    let signature = &function.sig;
    let name = names::validate_method(&signature.ident)?;
    let mut errors = Errors::default();
    let mut parameters = Vec::new();
    for input in &signature.inputs {
        if let FnArg::Typed(input) = input {
            let read = || {
                validate_attributes(&input.attrs)?;
                let Pat::Ident(pattern) = &*input.pat else {
                    return Err(Error::new_spanned(
                        &input.pat,
                        "a parameter of a method has a name",
                    ));
                };
                let name = names::kebab(&pattern.ident)?;
                Ok(Parameter { name, ty: definitions.read(&input.ty, Place::Parameter)? })
            };
            parameters.extend(errors.keep(read()));
        }
    }
    let result = match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => errors.keep(definitions.read(ty, Place::Result)),
    };
    errors.finish()?;
    let flat: usize = parameters.iter().map(|it| it.ty.flat_count()).sum();
    if flat > FLAT_PARAMETERS_MAX {
        let message = format!(
            "the parameters are {flat} core values, and can be {FLAT_PARAMETERS_MAX}: a number is \
             one, a string, a list and an option of a number are two"
        );
        return Err(Error::new_spanned(&signature.inputs, message));
    }
    if name == "create" && result.is_some() {
        return Err(Error::new_spanned(&signature.output, "create gives nothing back"));
    }
    Ok(Method { ident: signature.ident.clone(), name, parameters, result })
}

/// Collects definitions, each once.
#[derive(Default)]
struct Used {
    seen: HashSet<String>,
    records: Vec<Record>,
    enums: Vec<Enum>,
}

impl Used {
    fn visit(&mut self, ty: &Type) {
        match ty {
            Type::Scalar(_) | Type::List(_) | Type::String(_) | Type::Texts(_) => {}
            Type::Array(ty, _) | Type::Option(ty) => self.visit(ty),
            Type::Enum(ty) => {
                if self.seen.insert(ty.ident.to_string()) {
                    self.enums.push(ty.clone());
                }
            }
            Type::Record(ty) => {
                if self.seen.insert(ty.ident.to_string()) {
                    ty.fields.iter().for_each(|field| self.visit(&field.ty));
                    self.records.push(ty.clone());
                }
            }
        }
    }
}

/// The span of generated code.
pub(crate) fn here() -> Span {
    Span::mixed_site()
}
