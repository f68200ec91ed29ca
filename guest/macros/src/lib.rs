//! The attribute of `continuant-guest`: from a module in Rust to an object's schema and exports.
//!
//! This crate does not know the host or the engine: it writes by the Canonical ABI and the ABI of
//! objects, `guest/ABI.md`.
//!
//! Invariant: the schema and the code agree, since both come from the same `model::Model`; a module
//! that cannot be an object gets errors with places, all of them.

mod emit;
mod model;
mod names;
#[cfg(test)]
mod tests;
mod types;
mod wit;

use proc_macro2::TokenStream;

/// Turns a module into an object. See `continuant_guest::object`.
#[proc_macro_attribute]
pub fn object(
    arguments: proc_macro::TokenStream,
    module: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    expand(arguments.into(), module.into()).into()
}

/// Returns the module with its exports, or errors.
fn expand(arguments: TokenStream, module: TokenStream) -> TokenStream {
    let options = syn::parse2(arguments);
    let module = syn::parse2(module);
    let expanded = options.and_then(|options| {
        let mut module: syn::ItemMod = module?;
        let model = model::read(&options, &module)?;
        Ok(emit::emit(&model, &mut module))
    });
    expanded.unwrap_or_else(syn::Error::into_compile_error)
}
