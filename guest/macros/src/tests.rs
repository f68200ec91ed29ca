//! Expansions of modules: the schema, or the errors and their places.
//!
//! The tests call the expansion as a plain function. The committed objects' tests show that the
//! code works.

use proc_macro2::TokenStream;

use crate::{emit, expand, model, wit};

fn parse(arguments: &str, module: &str) -> (model::Options, syn::ItemMod) {
    (syn::parse_str(arguments).unwrap(), syn::parse_str(module).unwrap())
}

/// Checks the schema of a module.
#[track_caller]
fn check_wit(arguments: &str, module: &str, expected: &str) {
    let (options, module) = parse(arguments, module);
    let model = model::read(&options, &module).unwrap();
    assert_eq!(wit::print(&model), expected);
}

/// Checks all errors in a module.
#[track_caller]
fn check_errors(module: &str, expected: &[&str]) {
    let (options, module) = parse("", module);
    let Err(errors) = model::read(&options, &module) else { panic!("it is an object") };
    let found: Vec<String> = errors.into_iter().map(|error| error.to_string()).collect();
    assert_eq!(found, expected);
}

/// Checks the error about a field of a state.
#[track_caller]
fn check_field(ty: &str, advice: &str) {
    let module = format!("mod a {{ pub struct State {{ field: {ty} }} }}");
    check_errors(&module, &[&format!("{ty} is not a type of a schema here: {advice}")]);
}

/// Checks the error about a method, given from its name on.
#[track_caller]
fn check_method(method: &str, error: &str) {
    let module =
        format!("mod a {{ pub struct State {{ a: u8 }} impl State {{ pub fn {method} {{}} }} }}");
    check_errors(&module, &[error]);
}

#[test]
fn every_scalar_has_its_type_in_wit() {
    check_wit(
        "",
        "mod scalars {
            pub struct State {
                a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: i32, h: i64,
                i: f32, j: f64, k: bool, l: char, m: Maybe<u64>, n: [u16; 3],
            }
        }",
        "package object:scalars;\n\ninterface scalars {\n    record state {\n        \
            a: u8,\n        b: u16,\n        c: u32,\n        d: u64,\n        \
            e: s8,\n        f: s16,\n        g: s32,\n        h: s64,\n        \
            i: f32,\n        j: f64,\n        k: bool,\n        l: char,\n        \
            m: option<u64>,\n        n: tuple<u16, u16, u16>,\n    }\n}\n",
    );
}

#[test]
fn names_are_kebab_case_and_words_of_wit_are_escaped() {
    check_wit(
        r#"package = "fleet:air-craft@1.0.0", arguments = 64"#,
        "mod air_craft {
            pub struct State {
                minutes_since_inspection: u64,
                r#type: Bytes<{ 2 * SIZE }>,
                list: continuant_guest::Text<SIZE>,
            }
            impl State {
                pub fn create(&mut self, operator: &[u8], r#use: &str) {}
                pub fn record(&self) -> Option<u64> { None }
                pub fn cycle(&mut self) {}
                fn helper(x: Vec<usize>) -> usize { 0 }
                pub(crate) fn other<T>(x: T) {}
            }
            impl Drop for State { fn drop(&mut self) {} }
            struct Private { any: Vec<usize> }
        }",
        "package fleet:air-craft@1.0.0;\n\ninterface air-craft {\n    record state {\n        \
            minutes-since-inspection: u64,\n        %type: list<u8>,\n        %list: string,\n    \
            }\n    create: func(operator: list<u8>, %use: string);\n    \
            %record: func() -> option<u64>;\n}\n",
    );
}

#[test]
fn structs_and_enums_that_are_used_are_part_of_the_schema() {
    check_wit(
        "",
        "mod ship {
            pub struct State { place: Position, mode: Mode, last: Maybe<Position> }
            pub struct Position { latitude: f64, longitude: f64 }
            pub enum Mode { InPort, UnderWay }
            pub enum Unused { A }
            impl State {
                pub fn steer(&mut self, to: Position, mode: Option<Mode>) -> Position { to }
                pub fn now_in(&self) -> Mode { self.mode }
                pub fn name(&self) -> &str { \"\" }
            }
        }",
        "package object:ship;\n\ninterface ship {\n    enum mode {\n        in-port,\n        \
            under-way,\n    }\n    record position {\n        latitude: f64,\n        \
            longitude: f64,\n    }\n    record state {\n        place: position,\n        \
            mode: mode,\n        last: option<position>,\n    }\n    \
            steer: func(to: position, mode: option<mode>) -> position;\n    \
            now-in: func() -> mode;\n    name: func() -> string;\n}\n",
    );
}

#[test]
fn texts_are_a_list_of_strings_in_a_state_and_in_a_call() {
    check_wit(
        "",
        "mod club {
            pub struct State { members: Texts<MEMBERS, 64>, count: u8 }
            impl State { pub fn create(&mut self, members: &[Str], count: u8) {} }
        }",
        "package object:club;\n\ninterface club {\n    record state {\n        \
            members: list<string>,\n        count: u8,\n    }\n    \
            create: func(members: list<string>, count: u8);\n}\n",
    );
    let inside = "bytes and text are fields of the state itself, not inside of something";
    check_errors(
        "mod a {
            pub struct State { field: Maybe<Texts<2, 8>> }
            impl State {
                pub fn take(&self, texts: Texts<2, 8>) {}
                pub fn give(&self) -> &[Str] { &[] }
            }
        }",
        &[
            &format!("Texts<2,8> is not a type of a schema here: {inside}"),
            "Texts<2,8> is not a type of a schema here: use &[Str]",
            &format!("&[Str] is not a type of a schema here: {inside}"),
        ],
    );
}

#[test]
fn a_state_before_has_what_a_state_can_have_and_is_passed_by_its_address() {
    let module = "mod b {
        pub struct Before { name: Text<8>, marks: Maybe<Mark>, keys: Texts<2, 64> }
        pub struct Mark { at: u64, by: u8 }
        pub struct State { total: u64 }
        impl State {
            pub fn migrate(&mut self, r#use: &Before) {}
            pub fn add(&mut self, by: u64) {}
        }
    }";
    check_wit(
        "",
        module,
        "package object:b;\n\ninterface b {\n    record mark {\n        at: u64,\n        \
            by: u8,\n    }\n    record before {\n        name: string,\n        \
            marks: option<mark>,\n        keys: list<string>,\n    }\n    \
            record state {\n        total: u64,\n    }\n    add: func(by: u64);\n    \
            migrate: func(%use: before);\n}\n",
    );
    let (options, module) = parse("", module);
    let model = model::read(&options, &module).unwrap();
    let text = emit::emit(&model, &mut module.clone()).to_string();
    for present in ["\"migrate\"", "cabi_realloc", "before : * const Before"] {
        assert!(text.contains(present), "{present} is not in {text}");
    }
}

#[test]
fn a_migration_takes_a_struct_of_the_module() {
    let advice = "migrate takes &mut self and a reference to a struct of this module, the state \
                  before, and gives nothing back";
    for function in [
        "migrate(&mut self)",
        "migrate(&mut self, before: Before)",
        "migrate(&mut self, before: &mut Before)",
        "migrate(&mut self, before: &State)",
        "migrate(&mut self, before: &Elsewhere)",
        "migrate(&mut self, before: &Before, more: u8)",
        "migrate(&mut self, before: &Before) -> u8",
    ] {
        check_errors(
            &format!(
                "mod a {{
                    pub struct State {{ a: u8 }}
                    pub struct Before {{ a: u8 }}
                    impl State {{ pub fn {function} {{}} }}
                }}"
            ),
            &[advice],
        );
    }
    check_errors(
        "mod a {
            pub struct State { a: u8 }
            pub struct Migrate { a: u8 }
            impl State { pub fn migrate(&mut self, before: &Migrate) {} }
        }",
        &["migrate is also the name of a type of the schema"],
    );
}

#[test]
fn layouts_are_those_of_the_canonical_abi() {
    let (options, module) = parse(
        "",
        "mod a {
            pub struct State {
                a: u8, b: Maybe<u64>, c: Bytes<3>, d: Maybe<u8>, e: [R; 2], f: Maybe<char>, g: u8,
            }
            pub struct R { a: u16, b: u8 }
        }",
    );
    let model = model::read(&options, &module).unwrap();
    let fields = model.state.fields.iter().map(|field| &field.ty);
    let (offsets, layout) = crate::types::sequence(fields);
    assert_eq!((offsets, layout), (vec![0, 8, 24, 32, 34, 44, 52], (56, 8)));
}

#[test]
fn an_object_exports_no_more_than_it_needs() {
    let (options, module) = parse(
        "",
        "mod a {
            pub struct State { a: u64 }
            impl State { pub fn add_up(&mut self, by: u8) -> i16 { 0 } }
        }",
    );
    let model = model::read(&options, &module).unwrap();
    let text = emit::emit(&model, &mut module.clone()).to_string();
    for present in ["\"add-up\"", "\"state\"", "\"continuant:schema\"", "repr (C)"] {
        assert!(text.contains(present), "{present} is not in {text}");
    }
    for absent in ["cabi_realloc", "\"cycle\"", "Buffer"] {
        assert!(!text.contains(absent), "{absent} is in {text}");
    }
}

#[test]
fn a_field_is_of_a_type_that_a_schema_has() {
    check_field("usize", "it is not of the same size everywhere: use u32, u64, i32 or i64");
    check_field("u128", "there is no such integer in WIT: use [u64; 2]");
    check_field("Option<u64>", "its layout is only this compiler's: use Maybe");
    check_field("String", "use Text<N>, with the bytes that it may have");
    check_field("Vec<u8>", "use Bytes<N>, with how many there may be");
    check_field("&str", "use Text<N>, with the bytes that it may have");
    let texts = "use Texts<N, B>, with how many there may be and the bytes that each may have";
    check_field("&[Str]", texts);
    let inside = "bytes and text are fields of the state itself, not inside of something";
    check_errors(
        "mod a { pub struct State { field: [Text<8>; 2] } }",
        &[&format!("Text<8> is not a type of a schema here: {inside}")],
    );
    let others = "use an integer, float, bool, char, array, Maybe, or a struct or fieldless enum \
                  of this module; Bytes<N>, Text<N> and Texts<N, B> in the state itself";
    check_field("(u8,u8)", others);
    check_field("Elsewhere", others);
    check_field("State", others);
}

#[test]
fn everything_that_is_wrong_is_reported_at_once() {
    check_errors(
        "mod a {
            pub struct State { count: usize, Total: u64, part: Part, mode: Mode, wide: [u8; 0] }
            pub struct Part { name: Text<4> }
            pub enum Mode { A, B(u8) }
            impl State {
                pub fn set(&mut self, to: Maybe<u64>) -> Result<u8, u8> { Ok(1) }
                pub fn state(&mut self) {}
            }
        }",
        &[
            "usize is not a type of a schema here: it is not of the same size everywhere: \
             use u32, u64, i32 or i64",
            "a name in a schema is in snake_case, of ASCII letters and digits, and every \
             word of it starts with a letter",
            "Text<4> is not a type of a schema here: bytes and text are fields of the \
             state itself, not inside of something",
            "a case of a schema's enum has no fields and no number of its own",
            "an array in a schema has 1 to 1024 items, in digits",
            "Maybe<u64> is not a type of a schema here: use Option: Maybe is for what \
             is kept",
            "Result<u8,u8> is not a type of a schema here: a step that fails \
             traps: use continuant_guest::trap",
            "the name state is reserved",
        ],
    );
}

#[test]
fn a_method_is_one_that_a_host_can_call() {
    let receiver = "a method of an object takes &self or &mut self; what is for other code only \
                    is not pub";
    check_method("go()", receiver);
    check_method("go(self)", receiver);
    let plain = "a method of an object is a plain function, without parameters of type";
    check_method("go<T>(&self, it: T)", plain);
    check_method("go(&self, (a, b): u8)", "a parameter of a method has a name");
    let cycle = "a cycle takes nothing but self, and gives nothing back";
    check_method("cycle(&mut self, at: u64)", cycle);
    check_method("create(&mut self) -> u8", "create gives nothing back");
    check_method(
        "go(&self, a: &str, b: &str, c: &str, d: &str, e: &str, f: &str, g: &str, h: &str, i: u8)",
        "the parameters are 17 core values, and can be 16: a number is one, a string, a list and \
         an option of a number are two",
    );
}

#[test]
fn a_method_is_not_called_as_a_type() {
    check_errors(
        "mod a {
            pub struct State { mode: Mode }
            pub enum Mode { A }
            impl State { pub fn mode(&self) {} }
        }",
        &["mode is also the name of a type of the schema"],
    );
}

#[test]
fn a_schema_does_not_depend_on_how_it_is_compiled() {
    check_errors(
        "mod a { pub struct State { #[cfg(unix)] a: u8 } }",
        &["a part of a schema cannot be conditional"],
    );
}

#[test]
fn a_module_needs_a_state_and_the_attribute_known_arguments() {
    check_errors("mod a {}", &["an object's module has a `struct State`"]);
    check_errors("mod a { pub struct State; }", &["a struct of a schema has named fields"]);
    check_errors("mod a { pub struct State {} }", &["a struct of a schema has at least one field"]);
    let expand = |arguments: &str, module: &str| {
        let parse = |text: &str| text.parse::<TokenStream>().unwrap();
        expand(parse(arguments), parse(module)).to_string()
    };
    let object = "mod a { pub struct State { a: u8 } }";
    assert!(!expand("", object).contains("compile_error"));
    assert!(expand("packages = \"a:b\"", object).contains("expected package or arguments"));
    for package in ["a", "A:b", "a:b@1", "a:b:c", ":b", "a:b@1.0.0\\n}"] {
        let expanded = expand(&format!("package = \"{package}\""), object);
        assert!(expanded.contains("kebab-case"), "{package}");
    }
    assert!(expand("", "struct State { a: u8 }").contains("compile_error"));
}
