//! Emits the code of a view: the traits that `continuant::state` asks of a type, and the methods
//! that read fields.
//!
//! This module does not know whether the input is right: the model does.
//!
//! Invariant: the only names emitted beside a program's own are those of its views.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::Ident;
use syn::spanned::Spanned;

use crate::model::{Field, Model, Parts};

/// Emits the impls, and for a struct its view.
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
    let count = fields.len();
    let accessors = fields.iter().enumerate().map(accessor);
    // Each line would repeat the error of a failed bound.
    let bounds = fields.iter().map(|field| {
        let ty = &field.ty;
        quote_spanned!(ty.span()=> #ty: ::continuant::state::Field)
    });
    let bounds = quote!(where #(#bounds),*);
    let impls = [field_impl(ident, &view, fields, &bounds), owned(ident, &view, fields, &bounds)];
    quote! {
        #[doc = #about]
        #[derive(::core::clone::Clone, ::core::marker::Copy, ::core::fmt::Debug)]
        #visibility struct #view<'a> {
            at: ::continuant::state::At<'a>,
            offsets: [u32; #count],
        }

        #[allow(dead_code, reason = "a program need not read every field")]
        #[allow(trivial_bounds, reason = "so that a wrong type is one error")]
        impl<'a> #view<'a> #bounds {
            #(#accessors)*
        }

        const _: () = {
            #(#impls)*
        };
    }
}

/// Emits the method that reads a field.
fn accessor((index, field): (usize, &Field)) -> TokenStream {
    let Field { ident, name, visibility, ty } = field;
    let about = format!("Reads `{name}`.");
    quote_spanned! {ty.span()=>
        #[doc = #about]
        #[inline]
        #visibility fn #ident(&self) -> <#ty as ::continuant::state::Field>::Read<'a> {
            <#ty as ::continuant::state::Field>::read(self.at.forward(self.offsets[#index]))
        }
    }
}

/// Emits the impls by which a struct is a state and a part of one.
fn field_impl(ident: &Ident, view: &Ident, fields: &[Field], bounds: &TokenStream) -> TokenStream {
    let count = fields.len();
    let names: Vec<_> = fields.iter().map(|field| &field.name).collect();
    let types: Vec<_> = fields.iter().map(|field| &field.ty).collect();
    quote! {
        #[allow(trivial_bounds, reason = "so that a wrong type is one error")]
        impl ::continuant::state::Field for #ident #bounds {
            type Read<'a> = #view<'a>;

            const LAYOUT: ::continuant::state::Layout =
                ::continuant::state::sequence([
                    #(<#types as ::continuant::state::Field>::LAYOUT),*
                ]).1;

            fn check(
                ty: &::continuant::state::Type,
            ) -> ::core::result::Result<(), ::continuant::state::Mismatch> {
                ::continuant::state::record::<#ident>(ty, &[#(#names),*])
            }

            #[inline]
            fn read<'a>(at: ::continuant::state::At<'a>) -> #view<'a> {
                let (offsets, _) = const {
                    ::continuant::state::sequence([
                        #(<#types as ::continuant::state::Field>::LAYOUT),*
                    ])
                };
                #view { at, offsets }
            }

            fn own(read: #view<'_>) -> #ident {
                ::core::convert::From::from(read)
            }
        }

        #[allow(trivial_bounds, reason = "so that a wrong type is one error")]
        impl ::continuant::state::State for #ident #bounds {
            type Offsets = [u32; #count];

            fn offsets(
                record: &::continuant::state::Record,
            ) -> ::core::result::Result<[u32; #count], ::continuant::state::Mismatch> {
                ::core::result::Result::Ok([
                    #(::continuant::state::offset::<#types>(record, #names)?),*
                ])
            }

            #[inline]
            fn view<'a>(at: ::continuant::state::At<'a>, offsets: [u32; #count]) -> #view<'a> {
                #view { at, offsets }
            }
        }
    }
}

/// Emits the conversion of a view into the struct itself.
fn owned(ident: &Ident, view: &Ident, fields: &[Field], bounds: &TokenStream) -> TokenStream {
    let names: Vec<_> = fields.iter().map(|field| &field.ident).collect();
    let types = fields.iter().map(|field| &field.ty);
    quote! {
        #[allow(trivial_bounds, reason = "so that a wrong type is one error")]
        impl ::core::convert::From<#view<'_>> for #ident #bounds {
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
    let count = cases.len();
    // The width of the tag, by the number of cases, as in the Canonical ABI.
    let tag = match count {
        0..=0x100 => quote!(u8),
        0x101..=0x1_0000 => quote!(u16),
        _ => quote!(u32),
    };
    quote! {
        impl ::continuant::state::Field for #ident {
            type Read<'a> = #ident;

            const LAYOUT: ::continuant::state::Layout =
                ::continuant::state::enumeration(#count);

            fn check(
                ty: &::continuant::state::Type,
            ) -> ::core::result::Result<(), ::continuant::state::Mismatch> {
                ::continuant::state::cases(ty, &[#(#names),*])
            }

            #[inline]
            fn read<'a>(at: ::continuant::state::At<'a>) -> #ident {
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
