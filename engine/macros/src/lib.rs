//! The derive macro of `continuant`: from a struct to a typed view of a state.
//!
//! It does not know schemas: what it emits compares names and types with one when a view is bound.
//!
//! Invariant: what cannot be a view is an error with a place, and all such errors of a type are
//! reported.

mod emit;
mod model;
mod names;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;

/// Makes a struct one as which states are read, and a fieldless enum a type of its fields.
#[proc_macro_derive(State)]
pub fn state(item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    expand(item.into()).into()
}

/// The view, or errors.
fn expand(item: TokenStream) -> TokenStream {
    let expanded = syn::parse2(item).and_then(|item| Ok(emit::emit(&model::read(&item)?)));
    expanded.unwrap_or_else(syn::Error::into_compile_error)
}
