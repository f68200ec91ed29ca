//! The facts that a module carries about its object: its schema and the address of its state.
//!
//! They are read straight from the module's sections, so that a verifier can bind both to the hash
//! of the code without running it. The instrumentation decides whether the module as a whole is fit
//! to run.

use object::Diagnostic;
use object::hash::CodeHash;
use object::limits::{CODE_BYTES_MAX, PAGE_BYTES};
use object::{Error, ErrorKind, Result};
use wasmparser::{Encoding, ExternalKind, Operator, Parser, Payload};

/// The custom section that holds the WIT text.
pub const SCHEMA_SECTION: &str = "continuant:schema";
/// The exported global that holds the address of the state record.
pub const STATE_EXPORT: &str = "state";

/// A module's schema text and state address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFacts {
    /// The WIT text.
    pub schema_text: String,
    /// The address of the state record: a multiple of the page size.
    pub state_address: u32,
    /// The hash of the module.
    pub hash: CodeHash,
}

/// Reads the schema and the state's address from the module `wasm`.
///
/// # Errors
///
/// [`Schema`](ErrorKind::Schema) when there is not exactly one schema section of UTF-8 text or not
/// one `state` address; [`Decode`](ErrorKind::Decode) when the bytes are no module;
/// [`Limit`](ErrorKind::Limit) when they are too many.
pub fn read(wasm: &[u8]) -> Result<CodeFacts> {
    if wasm.len() > CODE_BYTES_MAX {
        let (max, found) = (CODE_BYTES_MAX as u64, wasm.len() as u64);
        return Err(ErrorKind::Limit { what: "code bytes", max, found }.into());
    }
    let mut texts = Vec::new();
    let mut globals = Vec::new();
    let mut imported = 0;
    let mut state = None;
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.map_err(malformed)? {
            Payload::Version { encoding: Encoding::Component, range, .. } => {
                let (expected, found) = ("a core module", "a component");
                return Err(Error::decode("module", range.start, expected, found));
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.map_err(malformed)?;
                    imported += usize::from(matches!(import.ty, wasmparser::TypeRef::Global(_)));
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    globals.push(constant(&global.map_err(malformed)?)?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export.map_err(malformed)?;
                    if export.name == STATE_EXPORT && export.kind == ExternalKind::Global {
                        state = Some(export.index as usize);
                    }
                }
            }
            Payload::CustomSection(section) if section.name() == SCHEMA_SECTION => {
                texts.push(section.data());
            }
            _ => {}
        }
    }
    let address = state.and_then(|index| *globals.get(index.checked_sub(imported)?)?);
    let state_address = address.filter(|address| (*address as usize).is_multiple_of(PAGE_BYTES));
    let state_address = state_address.ok_or_else(|| {
        let expected = "an exported immutable i32 global `state` with a multiple of 4096";
        let found = address.map_or("none".to_string(), |address| address.to_string());
        finding(format!("expected {expected}, found {found}"))
    })?;
    let [text] = texts[..] else {
        let found = texts.len();
        return Err(finding(format!("expected one section {SCHEMA_SECTION:?}, found {found}")));
    };
    let text = str::from_utf8(text);
    let text = text.map_err(|_| finding(format!("section {SCHEMA_SECTION:?} is not UTF-8")))?;
    let hash = CodeHash::of(wasm);
    Ok(CodeFacts { schema_text: text.to_string(), state_address, hash })
}

/// The value of an immutable i32 global with a constant initialiser.
fn constant(global: &wasmparser::Global<'_>) -> Result<Option<u32>> {
    let mut operators = global.init_expr.get_operators_reader();
    let first = operators.read().map_err(malformed)?;
    let last = operators.read().map_err(malformed)?;
    Ok(match (first, last) {
        (Operator::I32Const { value }, Operator::End) if !global.ty.mutable => {
            Some(value.cast_unsigned())
        }
        _ => None,
    })
}

fn finding(message: String) -> Error {
    ErrorKind::Schema(vec![Diagnostic::whole(message)]).into()
}

fn malformed(error: wasmparser::BinaryReaderError) -> Error {
    // Some of its messages are several lines.
    let found: Vec<&str> = error.message().split_whitespace().collect();
    Error::decode("module", error.offset(), "a WebAssembly module", found.join(" "))
}
