//! Layout and flattening, against the WIT library's own as the oracle.

use schema::{CoreType, Schema, Type};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Resolve, SizeAlign, TypeDefKind};

use crate::generate::wit;
use crate::source::Source;

fn core(ty: &WasmType) -> CoreType {
    match ty {
        WasmType::I32 | WasmType::Pointer | WasmType::Length => CoreType::I32,
        WasmType::I64 | WasmType::PointerOrI64 => CoreType::I64,
        WasmType::F32 => CoreType::F32,
        WasmType::F64 => CoreType::F64,
    }
}

fn assert_same(ours: &Type, oracle: &wit_parser::Type, sizes: &SizeAlign, text: &str) {
    let layout = ours.layout();
    assert_eq!(layout.size as usize, sizes.size(oracle).size_wasm32(), "{ours} of {text}");
    assert_eq!(layout.align as usize, sizes.align(oracle).align_wasm32(), "{ours} of {text}");
}

#[test]
fn layout_and_flattening_are_the_canonical_abi() {
    let mut source = Source::random();
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..400 {
        let text = wit(&mut source);
        let mut resolve = Resolve::default();
        resolve.push_source("oracle.wit", &text).unwrap();
        let mut sizes = SizeAlign::default();
        sizes.fill(&resolve).unwrap();
        let (_, interface) = resolve.interfaces.iter().next().unwrap();
        let signature = |name: &str| {
            resolve.wasm_signature(AbiVariant::GuestExport, &interface.functions[name])
        };
        let too_many = interface.functions.keys().any(|name| signature(name).indirect_params);
        let schema = match Schema::parse(&text) {
            Ok(schema) => schema,
            Err(error) if error.to_string().contains("parts: at most") => continue,
            Err(error) => {
                assert!(too_many && error.to_string().contains("16 core values"), "{error}");
                refused += 1;
                continue;
            }
        };
        assert!(!too_many, "{text}");
        accepted += 1;
        let TypeDefKind::Record(state) = &resolve.types[interface.types["state"]].kind else {
            panic!("state is a record");
        };
        let offsets = sizes.field_offsets(state.fields.iter().map(|field| &field.ty));
        for (field, (offset, ty)) in schema.state().fields.iter().zip(offsets) {
            assert_eq!(field.offset as usize, offset.size_wasm32(), "{} of {text}", field.name);
            assert_same(&field.ty, ty, &sizes, &text);
        }
        for method in schema.methods() {
            let signature = signature(&method.name);
            let expected = signature.params.iter().map(core).collect::<Vec<_>>();
            assert_eq!(method.core_params(), expected, "{} of {text}", method.name);
            let expected = signature.results.iter().map(core).collect::<Vec<_>>();
            assert_eq!(method.core_results(), expected, "{} of {text}", method.name);
            let function = &interface.functions[&method.name];
            for (ours, oracle) in method.params.iter().zip(&function.params) {
                assert_same(&ours.ty, &oracle.ty, &sizes, &text);
            }
            if let (Some(ours), Some(oracle)) = (&method.result, &function.result) {
                assert_same(ours, oracle, &sizes, &text);
            }
        }
    }
    assert!(accepted > 50 && refused > 0, "{accepted} accepted, {refused} refused");
}
