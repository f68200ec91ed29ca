//! The derive macro of `continuant`: from a struct to a typed view of a state.
//!
//! It does not know schemas: the emitted code compares names and types with one when a view is
//! bound.
//!
//! Invariant: a type that cannot be a view gets errors with places, all of them.

mod emit;
mod model;
mod names;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

/// Derives a typed view of an object's state: fields are checked against the schema once, then read
/// in place. On a fieldless enum, derives a type that fields can have.
#[proc_macro_derive(State)]
pub fn state(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(item.into()).into()
}

/// Returns the emitted code, or errors.
fn expand(item: TokenStream) -> TokenStream {
    let expanded = syn::parse2(item).and_then(|item| Ok(emit::emit(&model::read(&item)?)));
    expanded.unwrap_or_else(syn::Error::into_compile_error)
}
