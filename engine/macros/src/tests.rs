//! Expansions of types: the view, or the errors.
//!
//! The tests call the expansion as a plain function. The engine's tests show that the code works.

use proc_macro2::TokenStream;

use crate::{expand, model};

/// Checks all errors in a type.
#[track_caller]
fn check_errors(item: &str, expected: &[&str]) {
    let Err(errors) = model::read(&syn::parse_str(item).unwrap()) else { panic!("it is a view") };
    let found: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    assert_eq!(found, expected);
}

/// Checks the error about a field's type.
#[track_caller]
fn check_field(ty: &str, advice: &str) {
    let message = format!("a state is not read as this: {advice}");
    check_errors(&format!("struct A {{ field: {ty} }}"), &[&message]);
}

fn expanded(item: &str) -> String {
    expand(item.parse::<TokenStream>().unwrap()).to_string()
}

#[test]
fn a_struct_has_a_view_with_a_method_for_each_field_as_visible_as_the_field() {
    let text = expanded("pub(crate) struct Plane { pub free_at: u64, r#type: Option<String> }");
    for present in [
        "pub (crate) struct PlaneView < 'a >",
        "pub fn free_at (& self) -> < u64 as :: continuant :: state :: Field > :: Read < 'a >",
        "fn r#type (& self)",
        "\"free-at\"",
        "\"type\"",
        "for Plane",
    ] {
        assert!(text.contains(present), "{present} is not in {text}");
    }
    assert!(!text.contains("compile_error"), "{text}");
}

#[test]
fn an_enum_is_read_as_itself_by_its_tag() {
    let text = expanded("enum Stage { Packed, UnderWay }");
    for present in ["[\"packed\" , \"under-way\"]", "1u32 => Stage :: UnderWay", "u8 :: from_le"] {
        assert!(text.contains(present), "{present} is not in {text}");
    }
    assert!(!text.contains("View"), "{text}");
    let many: Vec<String> = (0..257).map(|index| format!("C{index}")).collect();
    assert!(expanded(&format!("enum Many {{ {} }}", many.join(", "))).contains("u16 :: from_le"));
}

#[test]
fn a_field_is_of_a_type_that_a_state_has() {
    check_field("usize", "a schema's integers have a size: use u32, u64, i32 or i64");
    check_field("i128", "there is no such integer in WIT");
    check_field("&'static str", "use String: it is read as a Cow<str>, borrowed");
    check_field("&'static [u8]", "use Vec: it is read as a List, in place");
    check_field("(u8, u16)", "use an array for a tuple of one type; others can be left out");
}

#[test]
fn what_is_no_view_says_so() {
    let named = "a struct that states are read as has named fields: they are the schema's";
    check_errors("struct A(u64);", &[named]);
    check_errors("struct A;", &[named]);
    let empty = "a struct that states are read as has at least one field";
    check_errors("struct A {}", &[empty]);
    let no_case = "an enum that states are read as has at least one case";
    check_errors("enum A {}", &[no_case]);
    let union = "a state is read as a struct with named fields, not as a union";
    check_errors("union A { a: u8 }", &[union]);
    let parameters = "a type that states are read as has no parameters";
    check_errors("struct A<T> { a: T }", &[parameters]);
    check_errors("struct A<'a> { a: u8 }", &[parameters]);
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    let name = "a name in a schema is in snake_case, of ASCII letters and digits, and every word \
                of it starts with a letter";
    let size = "a state is not read as this: a schema's integers have a size: use u32, u64, i32 \
                or i64";
    check_errors("struct A { Total: u64, count: isize, of_2: u8 }", &[name, size, name]);
    let payload = "a case here has no fields and no number of its own: a field whose type is a \
                   variant can be left out";
    let case = "a type or case in a schema is in PascalCase, of ASCII letters and digits";
    check_errors("enum A { B, C(u8), D = 4, E_F }", &[payload, payload, case]);
    assert!(expanded("struct A { Total: u64 }").contains("compile_error"));
}
