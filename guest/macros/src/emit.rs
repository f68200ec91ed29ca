//! Emits the code of an object: its module as it was written, in the layout of its schema, and the
//! exports that a host calls.
//!
//! This module does not know whether the input is right: the model does.
//!
//! Invariant: unsafe in emitted code only calls `continuant_guest::object` and names exports; the
//! reason why that is sound is given where it is emitted. Emitted names hide none of the module's.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Ident, Item, ItemMod};

use crate::model::{Method, Migrate, Model, here};
use crate::types::{Record, Type, sequence};
use crate::wit;

/// Emits the module with everything that makes it an object.
pub(crate) fn emit(model: &Model, module: &mut ItemMod) -> TokenStream {
    let added = [schema(model), fields(model), exports(model)];
    let (_, items) = module.content.get_or_insert_default();
    for item in items.iter_mut() {
        match item {
            Item::Struct(item) if is_record(model, &item.ident) => {
                item.attrs.push(syn::parse_quote!(#[repr(C)]));
            }
            Item::Enum(item) if model.enums.iter().any(|ty| ty.ident == item.ident) => {
                item.attrs.push(syn::parse_quote!(#[repr(u8)]));
            }
            _ => {}
        }
    }
    items.extend(added.map(Item::Verbatim));
    module.attrs.push(syn::parse_quote! {
        #[cfg_attr(
            not(target_arch = "wasm32"),
            allow(dead_code, reason = "what a host calls is exported in wasm32 only")
        )]
    });
    module.to_token_stream()
}

fn is_record(model: &Model, ident: &Ident) -> bool {
    model.records.iter().chain([&model.state]).any(|record| record.ident == *ident)
}

fn schema(model: &Model) -> TokenStream {
    let text = wit::print(model);
    quote! {
        /// The schema, as WIT.
        pub const WIT: &str = #text;
    }
}

/// Emits the initial values of the fields.
fn fields(model: &Model) -> TokenStream {
    let records = model.records.iter().chain([&model.state]).map(|record| {
        let (ident, names) = (&record.ident, record.fields.iter().map(|field| &field.ident));
        quote! {
            impl ::continuant_guest::Field for #ident {
                const INITIAL: #ident = #ident {
                    #(#names: ::continuant_guest::Field::INITIAL),*
                };
            }
        }
    });
    let enums = model.enums.iter().map(|ty| {
        let (ident, (first, _)) = (&ty.ident, &ty.cases[0]);
        quote! {
            impl ::continuant_guest::Field for #ident {
                const INITIAL: #ident = #ident::#first;
            }
        }
    });
    quote! { #(#records)* #(#enums)* }
}

/// Emits everything that only wasm32 has.
fn exports(model: &Model) -> TokenStream {
    let layout = layouts(model);
    let behind = behind(model);
    let methods = model.methods.iter().map(method);
    let cycle = model.has_cycle.then(|| {
        quote! {
            #[unsafe(export_name = "cycle")]
            extern "C" fn export_cycle() {
                enter(|state, _| State::cycle(state))
            }
        }
    });
    let migrate = model.migrate.as_ref().map(migrate);
    let realloc = model.needs_room().then(|| {
        quote! {
            #[unsafe(export_name = "cabi_realloc")]
            extern "C" fn export_cabi_realloc(
                _: *mut u8,
                _: usize,
                _: usize,
                bytes: usize,
            ) -> *mut u8 {
                enter(|_, behind| behind.arguments.allocate(bytes))
            }
        }
    });
    quote! {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #layout
            #behind

            #[unsafe(link_section = "continuant:schema")]
            static __SCHEMA: [u8; WIT.len()] = ::continuant_guest::object::bytes(WIT);

            #[unsafe(link_section = "continuant:salt")]
            static __SALT: [u8; 4] = ::continuant_guest::object::Object::<State, __Behind>::salt();

            #(#methods)*
            #cycle
            #migrate
            #realloc
        };
    }
}

/// Emits assertions that the compiler's layout is the schema's.
fn layouts(model: &Model) -> TokenStream {
    let records = model.records.iter().chain([&model.state]).map(|record| {
        let (offsets, (size, _)) = sequence(record.fields.iter().map(|field| &field.ty));
        let (ident, names) = (&record.ident, record.fields.iter().map(|field| &field.ident));
        quote! {
            assert!(::core::mem::size_of::<#ident>() == #size);
            #(assert!(::core::mem::offset_of!(#ident, #names) == #offsets);)*
        }
    });
    quote! {
        const _: () = { #(#records)* };
    }
}

/// Emits the object itself, and the only function that enters it.
fn behind(model: &Model) -> TokenStream {
    let buffers = model.state.fields.iter().filter_map(|field| {
        buffer(&field.ty).map(|ty| (&field.ident, (format_ident!("of_{}", field.ident), ty)))
    });
    let (names, (places, types)): (Vec<_>, (Vec<_>, Vec<_>)) = buffers.unzip();
    let argument_bytes = match model.needs_room() {
        true => model.argument_bytes,
        false => 0,
    };
    let result_bytes = model.methods.iter().filter_map(|method| method.result.as_ref());
    let result_bytes = result_bytes.filter(|ty| !is_core(ty)).map(|ty| ty.layout().0);
    let result_bytes = result_bytes.max().unwrap_or(0);
    quote! {
        #[repr(C)]
        struct __Behind {
            #(#places: #types,)*
            results: ::continuant_guest::object::Results<#result_bytes>,
            arguments: ::continuant_guest::object::Arguments<#argument_bytes>,
        }

        #[unsafe(export_name = "state")]
        static __STATE: ::continuant_guest::object::Object<State, __Behind> =
            ::continuant_guest::object::Object::new(
                <State as ::continuant_guest::Field>::INITIAL,
                __Behind {
                    #(#places: <#types>::new(),)*
                    results: ::continuant_guest::object::Results::new(),
                    arguments: ::continuant_guest::object::Arguments::new(),
                },
            );

        fn enter<R>(run: impl FnOnce(&mut State, &mut __Behind) -> R) -> R {
            // SAFETY: only exports call this, no export calls another, and a host runs one export
            // at a time. Each buffer belongs to one field, always the same.
            unsafe {
                __STATE.enter(|state, behind| {
                    #(state.#names.anchor(&behind.#places);)*
                    run(state, behind)
                })
            }
        }
    }
}

/// Returns the type of the buffer of a state's field, for fields that have one.
fn buffer(ty: &Type) -> Option<TokenStream> {
    match ty {
        Type::List(Some(count)) | Type::String(Some(count)) => {
            Some(quote!(::continuant_guest::object::Buffer<{ #count }>))
        }
        Type::Texts(Some((items, bytes))) => {
            Some(quote!(::continuant_guest::object::Room<{ #items }, { #bytes }>))
        }
        _ => None,
    }
}

/// Emits an export that takes core values, calls the method, and returns a core value.
fn method(method: &Method) -> TokenStream {
    let (ident, name) = (&method.ident, &method.name);
    let export = format_ident!("export_{ident}");
    let mut inputs = Vec::new();
    let arguments: Vec<TokenStream> =
        method.parameters.iter().map(|it| lift(&it.ty, &mut inputs)).collect();
    let call = quote_spanned!(ident.span()=> State::#ident(state, #(#arguments),*));
    let (output, lowered) = lower(method.result.as_ref(), &call);
    let clear = method.needs_room().then(|| quote!(behind.arguments.clear();));
    quote! {
        #[unsafe(export_name = #name)]
        #[allow(clippy::too_many_arguments, reason = "as many as the schema says")]
        extern "C" fn #export(#(#inputs),*) #output {
            enter(|state, behind| {
                let result = #lowered;
                #clear
                result
            })
        }
    }
}

/// Emits the export that takes the address of an old state.
fn migrate(migrate: &Migrate) -> TokenStream {
    let (ident, before) = (&migrate.ident, &migrate.before.ident);
    let call = quote_spanned!(ident.span()=> State::#ident(state, before));
    quote! {
        #[unsafe(export_name = "migrate")]
        extern "C" fn export_migrate(before: *const #before) {
            enter(|state, behind| {
                // SAFETY: the host wrote a record there, which stays until `clear`.
                let before: &#before = unsafe { &*before };
                #call;
                behind.arguments.clear();
            })
        }
    }
}

/// Emits the value of a type from core values, which are added to `inputs`.
fn lift(ty: &Type, inputs: &mut Vec<TokenStream>) -> TokenStream {
    let mut input = |core: TokenStream| {
        let name = Ident::new(&format!("core_{}", inputs.len()), here());
        inputs.push(quote!(#name: #core));
        name
    };
    match ty {
        Type::Scalar(scalar) => {
            let (rust, core) = (Ident::new(scalar.rust, here()), Ident::new(scalar.core, here()));
            let raw = input(core.to_token_stream());
            match scalar.rust {
                "bool" => quote!(#raw != 0),
                "char" => quote! {
                    match ::core::primitive::char::from_u32(#raw) {
                        ::core::option::Option::Some(found) => found,
                        ::core::option::Option::None => ::continuant_guest::trap(),
                    }
                },
                same if same == scalar.core => quote!(#raw),
                _ => quote!(#raw as #rust),
            }
        }
        Type::Enum(ty) => {
            let raw = input(quote!(u32));
            let (ident, cases) = (&ty.ident, ty.cases.iter().map(|(case, _)| case));
            let tags = 0..ty.cases.len() as u32;
            quote! {
                match #raw {
                    #(#tags => #ident::#cases,)*
                    _ => ::continuant_guest::trap(),
                }
            }
        }
        Type::Record(Record { ident, fields, .. }) => {
            let names = fields.iter().map(|field| &field.ident);
            let values: Vec<_> = fields.iter().map(|field| lift(&field.ty, inputs)).collect();
            quote!(#ident { #(#names: #values),* })
        }
        Type::Option(payload) => {
            let tag = input(quote!(u32));
            let payload = lift(payload, inputs);
            quote! {
                if #tag == 0 {
                    ::core::option::Option::None
                } else {
                    ::core::option::Option::Some(#payload)
                }
            }
        }
        Type::List(_) | Type::String(_) | Type::Texts(_) => {
            let address = input(quote!(*const u8));
            let count = input(quote!(usize));
            let lift = match ty {
                Type::List(_) => "list",
                Type::String(_) => "string",
                _ => "texts",
            };
            let lift = Ident::new(lift, here());
            // SAFETY: the host wrote the argument there, and it stays until `clear`.
            quote!(unsafe { ::continuant_guest::object::#lift(#address, #count) })
        }
        Type::Array(..) => unreachable!("no array is a parameter"),
    }
}

/// Emits an export's return type, and the expression that calls the method and returns it.
fn lower(result: Option<&Type>, call: &TokenStream) -> (TokenStream, TokenStream) {
    let Some(ty) = result else { return (TokenStream::new(), call.clone()) };
    let put = |ty: TokenStream, value: TokenStream| {
        (quote!(-> *const #ty), quote!(behind.results.put::<#ty>(#value)))
    };
    match ty {
        Type::Scalar(scalar) if scalar.rust == scalar.core => {
            let core = Ident::new(scalar.core, here());
            (quote!(-> #core), call.clone())
        }
        Type::Scalar(scalar) => {
            let core = Ident::new(scalar.core, here());
            (quote!(-> #core), quote!(#call as #core))
        }
        Type::Enum(_) => (quote!(-> u32), quote!(#call as u32)),
        Type::Record(record) => put(record.ident.to_token_stream(), call.clone()),
        Type::Option(payload) => {
            let payload = in_state(payload);
            let ty = quote!(::continuant_guest::Maybe<#payload>);
            put(ty, quote!(::core::convert::From::from(#call)))
        }
        Type::List(_) | Type::String(_) => {
            let ty = quote!(::continuant_guest::object::Slice);
            put(ty, quote!(::core::convert::From::from(#call)))
        }
        Type::Array(..) | Type::Texts(_) => unreachable!("no array or list of texts is a result"),
    }
}

/// Returns whether a result is a core value.
fn is_core(ty: &Type) -> bool {
    matches!(ty, Type::Scalar(_) | Type::Enum(_))
}

/// Returns the Rust type that memory holds.
fn in_state(ty: &Type) -> TokenStream {
    match ty {
        Type::Scalar(scalar) => Ident::new(scalar.rust, here()).to_token_stream(),
        Type::Enum(ty) => ty.ident.to_token_stream(),
        Type::Record(ty) => ty.ident.to_token_stream(),
        Type::Array(item, count) => {
            let item = in_state(item);
            quote!([#item; #count])
        }
        Type::Option(payload) => {
            let payload = in_state(payload);
            quote!(::continuant_guest::Maybe<#payload>)
        }
        Type::List(_) | Type::String(_) | Type::Texts(_) => {
            unreachable!("bytes and text are not inside of it")
        }
    }
}
