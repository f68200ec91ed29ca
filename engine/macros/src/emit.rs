//! The code of a view: what `continuant::state` asks of a type, and the methods that read fields.
//!
//! It does not know whether what was written is right: the model does.
//!
//! Invariant: names that are emitted beside a program's own are its view only.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use crate::model::{Field, Model, Parts};

/// The impls, and for a struct its view.
pub(crate) fn emit(model: &Model) -> TokenStream {
    match &model.parts {
        Parts::Fields(fields) => view(model, fields),
        Parts::Cases(cases) => enumeration(&model.ident, cases),
    }
}

fn view(model: &Model, fields: &[Field]) -> TokenStream {
    let Model { ident, visibility, .. } = model;
    let view = format_ident!("{ident}View");
    let about = format!("A [`{ident}`] in a version, read field by field where it is.");
    let accessors = fields.iter().map(accessor);
    let impls = [field_impls(ident, &view, fields), owned(ident, &view, fields)];
    quote! {
        #[doc = #about]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #view<'a> {
            at: ::continuant::state::At<'a>,
            places: <#ident as ::continuant::state::Field>::Places,
        }

        #[allow(dead_code, reason = "a program need not read every field")]
        impl<'a> #view<'a> {
            #(#accessors)*
        }

        const _: () = {
            #(#impls)*
        };
    }
}

/// The method that reads a field.
fn accessor(field: &Field) -> TokenStream {
    let Field { ident, name, visibility, ty } = field;
    let about = format!("Reads `{name}`.");
    quote_spanned! {ty.span()=>
        #[doc = #about]
        #[inline]
        #visibility fn #ident(&self) -> <#ty as ::continuant::state::Field>::Read<'a> {
            let (offset, places) = self.places.#ident;
            <#ty as ::continuant::state::Field>::read(self.at.forward(offset), places)
        }
    }
}

/// What makes a struct a state and a part of one.
fn field_impls(ident: &Ident, view: &Ident, fields: &[Field]) -> TokenStream {
    let found = fields.iter().map(|field| {
        let Field { ident, name, ty, .. } = field;
        quote_spanned!(ty.span()=> #ident: ::continuant::state::field::<#ty>(record, #name)?)
    });
    let places = fields.iter().map(|field| {
        let Field { ident, ty, .. } = field;
        quote_spanned!(ty.span()=> #ident: (u32, <#ty as ::continuant::state::Field>::Places))
    });
    quote! {
        /// Where the fields are: offsets, and places of their own parts.
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        pub struct Places {
            #(#places,)*
        }

        impl ::continuant::state::Field for #ident {
            type Read<'a> = #view<'a>;
            type Places = Places;

            fn places(
                ty: &::continuant::object::schema::Type,
            ) -> ::core::result::Result<Places, ::continuant::state::Mismatch> {
                <#ident as ::continuant::state::State>::fields(::continuant::state::record(ty)?)
            }

            #[inline]
            fn read<'a>(at: ::continuant::state::At<'a>, places: Places) -> #view<'a> {
                #view { at, places }
            }

            fn own(read: #view<'_>) -> #ident {
                ::core::convert::From::from(read)
            }
        }

        impl ::continuant::state::State for #ident {
            fn fields(
                record: &::continuant::object::schema::Record,
            ) -> ::core::result::Result<Places, ::continuant::state::Mismatch> {
                ::core::result::Result::Ok(Places {
                    #(#found,)*
                })
            }
        }
    }
}

/// The struct itself, of a view.
fn owned(ident: &Ident, view: &Ident, fields: &[Field]) -> TokenStream {
    let names: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let types = fields.iter().map(|field| &field.ty);
    quote! {
        impl ::core::convert::From<#view<'_>> for #ident {
            fn from(view: #view<'_>) -> #ident {
                #ident {
                    #(#names: <#types as ::continuant::state::Field>::own(view.#names()),)*
                }
            }
        }

        #[allow(dead_code, reason = "a program may use the view of the struct only")]
        fn fields_are_read(#ident { #(#names),* }: &#ident) {
            #(let _ = #names;)*
        }
    }
}

fn enumeration(ident: &Ident, cases: &[(Ident, String)]) -> TokenStream {
    let (idents, names): (Vec<_>, Vec<_>) = cases.iter().map(|(ident, name)| (ident, name)).unzip();
    let tags = 0..cases.len() as u32;
    // As the Canonical ABI has it, by the number of cases.
    let tag = match cases.len() {
        0..=0x100 => quote!(u8),
        0x101..=0x1_0000 => quote!(u16),
        _ => quote!(u32),
    };
    quote! {
        impl ::continuant::state::Field for #ident {
            type Read<'a> = #ident;
            type Places = ();

            fn places(
                ty: &::continuant::object::schema::Type,
            ) -> ::core::result::Result<(), ::continuant::state::Mismatch> {
                ::continuant::state::cases(ty, &[#(#names),*])
            }

            #[inline]
            fn read<'a>(at: ::continuant::state::At<'a>, (): ()) -> #ident {
                match #tag::from_le_bytes(at.bytes()) as u32 {
                    #(#tags => #ident::#idents,)*
                    _ => ::core::unreachable!("a tag of an admitted state is one of its enum"),
                }
            }

            fn own(read: #ident) -> #ident {
                read
            }
        }
    }
}
