//! Converts WIT text into a schema's parts, and reports everything in the text that a schema may
//! not have.
//!
//! It is the one place that names the WIT library; it does not know values or memory.
//!
//! Invariant: types come out in the order in which they are built from each other, so nothing here
//! recurses, and a refused type is reported once, not again at each use.

use std::sync::Arc;

use object::Diagnostic;
use object::limits::{
    FIELDS_MAX, FLAGS_MAX, FLAT_PARAMS_MAX, METHODS_MAX, NAME_BYTES_MAX, TYPE_DEPTH_MAX,
    TYPE_PARTS_MAX,
};
use wit_parser::{FunctionKind, Resolve, SourceMap, Span, TypeDef, TypeDefKind};

use crate::lower;
use crate::method::{MIGRATE, Method, Param, Parts};
use crate::scan;
use crate::types::{Case, Enum, Flags, Record, ResultType, Tuple, Type, Variant};

/// Names that mean something else to an object, and so may not name a method.
const RESERVED: [&str; 10] =
    ["cycle", "advance", "write", "read", "amend", "upgrade", "delete", "memory", "state", "salt"];

/// Parses WIT text.
pub(crate) fn parse(text: &str) -> Result<Parts, Vec<Diagnostic>> {
    let findings = scan::scan(text);
    if !findings.is_empty() {
        return Err(findings);
    }
    let mut sources = SourceMap::new();
    sources.push_str("schema.wit", text);
    let group = match sources.parse() {
        Ok(group) => group,
        Err((_, error)) => return Err(vec![not_wit(text, error.kind().span(), &error)]),
    };
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    if let Err(error) = resolve.push_group(group) {
        return Err(vec![not_wit(text, error.kind().span(), &error)]);
    }
    let (types, findings) = (Vec::new(), Vec::new());
    let mut converter = Converter { text, resolve: &resolve, types, findings };
    converter.convert_types();
    match converter.package() {
        Some(parts) if converter.findings.is_empty() => Ok(parts),
        _ => Err(converter.findings),
    }
}

/// Joins the lines of the WIT library's message.
fn one_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Converts a parse error of the WIT library into a finding.
fn not_wit(text: &str, span: Span, error: &dyn std::error::Error) -> Diagnostic {
    let mut finding = at(text, span, one_line(error));
    // The library's message about an invalid character is written for its own developers.
    if finding.message.contains("odepoint") || finding.message.contains("Control code") {
        let start = finding.span.as_ref().map_or(0, |span| span.start);
        let refused = text[start..].chars().find(|letter| !letter.is_ascii_graphic());
        let refused = refused.map_or(String::new(), |letter| format!(" U+{:04X}", letter as u32));
        finding.message = format!("the character{refused}, which WIT text may not have");
    }
    finding
}

/// A finding, with its place in whole characters where the WIT library knows it.
fn at(text: &str, span: Span, message: impl Into<String>) -> Diagnostic {
    if span.is_known() {
        let start = text.floor_char_boundary(span.start() as usize);
        let end = text.ceil_char_boundary(span.end() as usize);
        Diagnostic::at(start..end.max(start), message)
    } else {
        Diagnostic::whole(message)
    }
}

struct Converter<'a> {
    text: &'a str,
    resolve: &'a Resolve,
    /// Types by the index of their ids: `None` for a type that was refused.
    types: Vec<Option<Measured>>,
    findings: Vec<Diagnostic>,
}

/// A type, and the measures that limits bound.
#[derive(Clone)]
struct Measured {
    ty: Type,
    depth: usize,
    parts: usize,
    /// True if a variant or result is in the type.
    has_cases: bool,
}

impl Converter<'_> {
    fn report(&mut self, span: Span, message: impl Into<String>) {
        self.findings.push(at(self.text, span, message));
    }

    fn convert_types(&mut self) {
        for (id, def) in self.resolve.types.iter() {
            assert_eq!(id.index(), self.types.len(), "a type comes after those it is made of");
            let converted = self.convert(def);
            self.types.push(converted);
        }
    }

    /// Converts a definition; its parts are converted already.
    fn convert(&mut self, def: &TypeDef) -> Option<Measured> {
        if let TypeDefKind::Type(ty) = &def.kind {
            return self.lookup(ty);
        }
        let name = def.name.clone().unwrap_or_default();
        let within = self.validate_shape(def, &name);
        let children = children(&def.kind)
            .into_iter()
            .map(|ty| self.lookup(ty))
            .collect::<Option<Vec<Measured>>>()?;
        if !within {
            return None;
        }
        let depth = 1 + children.iter().map(|child| child.depth).max().unwrap_or(0);
        let parts = children.iter().fold(1, |sum: usize, child| sum.saturating_add(child.parts));
        let is_cases = matches!(def.kind, TypeDefKind::Variant(_) | TypeDefKind::Result(_));
        let has_cases = is_cases || children.iter().any(|child| child.has_cases);
        if depth > TYPE_DEPTH_MAX {
            let message = format!("types nested {depth} deep: at most {TYPE_DEPTH_MAX}");
            self.report(def.span, message);
            return None;
        }
        if parts > TYPE_PARTS_MAX {
            let message = format!("a type of {parts} parts: at most {TYPE_PARTS_MAX}");
            self.report(def.span, message);
            return None;
        }
        let ty = build(&def.kind, name, children.into_iter().map(|child| child.ty))?;
        Some(Measured { ty, depth, parts, has_cases })
    }

    /// Returns whether a schema may have the definition by itself; reports why not.
    fn validate_shape(&mut self, def: &TypeDef, name: &str) -> bool {
        let before = self.findings.len();
        let (count, max) = match &def.kind {
            TypeDefKind::Record(record) => (record.fields.len(), FIELDS_MAX),
            TypeDefKind::Tuple(tuple) => (tuple.types.len(), FIELDS_MAX),
            TypeDefKind::Enum(ty) => (ty.cases.len(), FIELDS_MAX),
            TypeDefKind::Variant(variant) => (variant.cases.len(), FIELDS_MAX),
            TypeDefKind::Flags(flags) => (flags.flags.len(), FLAGS_MAX),
            TypeDefKind::Option(_) | TypeDefKind::Result(_) | TypeDefKind::List(_) => (1, 1),
            TypeDefKind::Type(_) => (1, 1),
            other => {
                let kind = other.as_str();
                self.report(def.span, format!("{kind} is not a type that an object can keep"));
                return false;
            }
        };
        let kind = def.kind.as_str();
        if count == 0 {
            self.report(def.span, format!("{kind} {name} is empty"));
        }
        if count > max {
            self.report(def.span, format!("{kind} {name} has {count} parts: at most {max}"));
        }
        self.validate_name(def.span, name);
        for (name, span) in names(&def.kind) {
            self.validate_name(span, name);
        }
        self.findings.len() == before
    }

    fn validate_name(&mut self, span: Span, name: &str) {
        if name.len() > NAME_BYTES_MAX {
            let found = name.len();
            self.report(span, format!("a name of {found} bytes: at most {NAME_BYTES_MAX}"));
        }
    }

    fn lookup(&mut self, ty: &wit_parser::Type) -> Option<Measured> {
        let scalar = match ty {
            wit_parser::Type::Id(id) => return self.types[id.index()].clone(),
            wit_parser::Type::Bool => Type::Bool,
            wit_parser::Type::U8 => Type::U8,
            wit_parser::Type::U16 => Type::U16,
            wit_parser::Type::U32 => Type::U32,
            wit_parser::Type::U64 => Type::U64,
            wit_parser::Type::S8 => Type::S8,
            wit_parser::Type::S16 => Type::S16,
            wit_parser::Type::S32 => Type::S32,
            wit_parser::Type::S64 => Type::S64,
            wit_parser::Type::F32 => Type::F32,
            wit_parser::Type::F64 => Type::F64,
            wit_parser::Type::Char => Type::Char,
            wit_parser::Type::String => Type::String,
            wit_parser::Type::ErrorContext => {
                let message = "error-context is not a type that an object can keep";
                self.findings.push(Diagnostic::whole(message));
                return None;
            }
        };
        Some(Measured { ty: scalar, depth: 1, parts: 1, has_cases: false })
    }

    fn package(&mut self) -> Option<Parts> {
        let resolve = self.resolve;
        if resolve.packages.len() != 1 {
            let found = resolve.packages.len();
            self.findings.push(Diagnostic::whole(format!("{found} packages: a schema is one")));
        }
        for (_, world) in resolve.worlds.iter() {
            self.report(world.span, "a world: an object's schema is one interface");
        }
        let mut interfaces = resolve.interfaces.iter();
        let Some((_, interface)) = interfaces.next() else {
            self.findings.push(Diagnostic::whole("no interface: an object's schema is one"));
            return None;
        };
        for (_, another) in interfaces {
            self.report(another.span, "another interface: an object's schema is one");
        }
        let state = self.state(interface);
        let mut methods = Vec::new();
        if interface.functions.len() > METHODS_MAX {
            let found = interface.functions.len();
            self.report(interface.span, format!("{found} methods: at most {METHODS_MAX}"));
        }
        let mut migrate = None;
        for function in interface.functions.values() {
            match function.name == MIGRATE {
                true => migrate = self.migrate(function),
                false => methods.extend(self.method(function)),
            }
        }
        let (_, package) = resolve.packages.iter().next()?;
        Some(Parts { package: package.name.to_string(), state: state?, methods, migrate })
    }

    fn state(&mut self, interface: &wit_parser::Interface) -> Option<Arc<Record>> {
        let Some(id) = interface.types.get("state") else {
            self.report(interface.span, "no record named state: an object needs one");
            return None;
        };
        let converted = &self.types[id.index()].as_ref()?.ty;
        if let Type::Record(record) = converted {
            return Some(record.clone());
        }
        self.report(self.resolve.types[*id].span, "state must be a record");
        None
    }

    fn method(&mut self, function: &wit_parser::Function) -> Option<Method> {
        let (name, span) = (&function.name, function.span);
        let before = self.findings.len();
        if function.kind != FunctionKind::Freestanding {
            self.report(span, format!("{name} is not a plain func"));
        }
        if RESERVED.contains(&name.as_str()) {
            self.report(span, format!("the name {name} is reserved"));
        }
        self.validate_name(span, name);
        let params = self.params(function);
        let result = match &function.result {
            Some(ty) => Some(self.lookup(ty)?.ty),
            None => None,
        };
        let method = Method { name: name.clone(), params: params?, result };
        let flat = lower::flatten_params(&method.params).len();
        if flat > FLAT_PARAMS_MAX {
            let many = format!("the parameters of {name} take more than {FLAT_PARAMS_MAX}");
            let message = format!("{many} core values: put some in a list");
            self.report(span, message);
        }
        (self.findings.len() == before).then_some(method)
    }

    /// Returns the parameter of `migrate`. It is passed by its address, so that any record will do.
    fn migrate(&mut self, function: &wit_parser::Function) -> Option<Type> {
        let is_plain = function.kind == FunctionKind::Freestanding && function.result.is_none();
        let taken = match &function.params[..] {
            [param] => self.lookup(&param.ty)?.ty,
            _ => Type::Bool,
        };
        if !is_plain || !matches!(taken, Type::Record(_)) {
            let message = "migrate is a plain func of one record, the state before, and no result";
            self.report(function.span, message);
            return None;
        }
        Some(taken)
    }

    fn params(&mut self, function: &wit_parser::Function) -> Option<Vec<Param>> {
        if function.params.len() > FIELDS_MAX {
            let found = function.params.len();
            self.report(function.span, format!("{found} parameters: at most {FIELDS_MAX}"));
            return None;
        }
        let mut params = Vec::new();
        for param in &function.params {
            self.validate_name(param.span, &param.name);
            let Some(converted) = self.lookup(&param.ty) else { continue };
            if converted.has_cases {
                let (name, ty) = (&param.name, &converted.ty);
                let message = format!("{name} is {ty}: a parameter has no variant or result in it");
                self.report(param.span, message);
            }
            params.push(Param { name: param.name.clone(), ty: converted.ty });
        }
        (params.len() == function.params.len()).then_some(params)
    }
}

/// Returns the types that a definition consists of, in order.
fn children(kind: &TypeDefKind) -> Vec<&wit_parser::Type> {
    match kind {
        TypeDefKind::Record(record) => record.fields.iter().map(|field| &field.ty).collect(),
        TypeDefKind::Tuple(tuple) => tuple.types.iter().collect(),
        TypeDefKind::Variant(variant) => {
            variant.cases.iter().filter_map(|case| case.ty.as_ref()).collect()
        }
        TypeDefKind::Option(ty) | TypeDefKind::List(ty) => vec![ty],
        TypeDefKind::Result(result) => result.ok.iter().chain(&result.err).collect(),
        _ => Vec::new(),
    }
}

/// The names inside a definition, with their places.
fn names(kind: &TypeDefKind) -> Vec<(&str, Span)> {
    match kind {
        TypeDefKind::Record(ty) => ty.fields.iter().map(|it| (&*it.name, it.span)).collect(),
        TypeDefKind::Variant(ty) => ty.cases.iter().map(|it| (&*it.name, it.span)).collect(),
        TypeDefKind::Enum(ty) => ty.cases.iter().map(|it| (&*it.name, it.span)).collect(),
        TypeDefKind::Flags(ty) => ty.flags.iter().map(|it| (&*it.name, it.span)).collect(),
        _ => Vec::new(),
    }
}

/// Builds a type of a valid shape from its converted children, which are as many as it has.
fn build(
    kind: &TypeDefKind,
    name: String,
    mut children: impl Iterator<Item = Type>,
) -> Option<Type> {
    Some(match kind {
        TypeDefKind::Record(record) => {
            let fields = record.fields.iter().map(|field| field.name.clone());
            Type::Record(Arc::new(Record::new(name, fields.zip(children).collect())))
        }
        TypeDefKind::Tuple(_) => Type::Tuple(Arc::new(Tuple::new(children.collect()))),
        TypeDefKind::Variant(variant) => {
            let cases = variant.cases.iter().map(|case| {
                let payload = case.ty.and_then(|_| children.next());
                Case { name: case.name.clone(), payload }
            });
            Type::Variant(Arc::new(Variant::new(name, cases.collect())))
        }
        TypeDefKind::Enum(ty) => {
            let cases = ty.cases.iter().map(|case| case.name.clone()).collect();
            Type::Enum(Arc::new(Enum { name, cases }))
        }
        TypeDefKind::Flags(ty) => {
            let flags = ty.flags.iter().map(|flag| flag.name.clone()).collect();
            Type::Flags(Arc::new(Flags { name, flags }))
        }
        TypeDefKind::Option(_) => Type::Option(Arc::new(children.next()?)),
        TypeDefKind::List(_) => Type::List(Arc::new(children.next()?)),
        TypeDefKind::Result(result) => {
            let ok = result.ok.and_then(|_| children.next());
            let err = result.err.and_then(|_| children.next());
            Type::Result(Arc::new(ResultType::new(ok, err)))
        }
        _ => return None,
    })
}
