//! Features of WebAssembly that objects may not use: their names, and the options that turn them
//! off in toolchains that use them unasked.
//!
//! This module does not know where in a module they are.

use wasmparser::{Validator, WasmFeatures};

/// The features that objects may use: Lime1, and of bulk memory the segments that `memory.init`
/// reads. The rest of bulk memory, which changes tables and drops segments, is refused instruction
/// by instruction.
pub(super) const TAKEN: WasmFeatures = WasmFeatures::LIME1.union(WasmFeatures::BULK_MEMORY);

/// A feature that objects may not use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Feature {
    bits: WasmFeatures,
    name: &'static str,
    off: &'static str,
}

const fn feature(bits: WasmFeatures, name: &'static str, off: &'static str) -> Feature {
    Feature { bits, name, off }
}

/// The features, those first that take others with them.
const FEATURES: &[Feature] = &[
    feature(
        WasmFeatures::COMPONENT_MODEL,
        "components",
        "build a core module, such as Rust's target wasm32-unknown-unknown does",
    ),
    feature(
        WasmFeatures::RELAXED_SIMD,
        "relaxed SIMD",
        "compile without -mrelaxed-simd; asc --disable relaxed-simd",
    ),
    feature(
        WasmFeatures::SIMD,
        "SIMD",
        "compile without -msimd128; Rust -C target-feature=-simd128; asc --disable simd",
    ),
    feature(
        WasmFeatures::SHARED_EVERYTHING_THREADS,
        "shared-everything threads",
        "compile for one thread",
    ),
    feature(
        WasmFeatures::THREADS,
        "threads",
        "link without --shared-memory and compile without -pthread and -matomics; \
         asc --disable threads",
    ),
    feature(
        WasmFeatures::LEGACY_EXCEPTIONS,
        "exceptions",
        "compile with -fno-exceptions; Rust panic = \"abort\"; asc --disable exception-handling",
    ),
    feature(
        WasmFeatures::EXCEPTIONS,
        "exceptions",
        "compile with -fno-exceptions; Rust panic = \"abort\"; asc --disable exception-handling",
    ),
    feature(
        WasmFeatures::TAIL_CALL,
        "tail calls",
        "compile without -mtail-call; asc --disable tail-calls",
    ),
    feature(WasmFeatures::STACK_SWITCHING, "stack switching", "compile without it"),
    feature(
        WasmFeatures::CUSTOM_DESCRIPTORS,
        "custom descriptors",
        "compile without garbage collection",
    ),
    feature(
        WasmFeatures::GC.union(WasmFeatures::GC_TYPES),
        "garbage collection",
        "compile for linear memory; asc --disable gc",
    ),
    feature(
        WasmFeatures::FUNCTION_REFERENCES,
        "function references",
        "compile without garbage collection",
    ),
    feature(
        WasmFeatures::REFERENCE_TYPES,
        "reference types",
        "compile with -mno-reference-types; Rust -C target-feature=-reference-types; \
         asc --disable reference-types",
    ),
    feature(
        WasmFeatures::MULTI_MEMORY,
        "more than one memory",
        "compile without -mmultimemory; wasm-opt --disable-multimemory",
    ),
    feature(WasmFeatures::MEMORY64, "64-bit memory", "compile for wasm32 instead of wasm64"),
    feature(
        WasmFeatures::CUSTOM_PAGE_SIZES,
        "custom page sizes",
        "link without --page-size; pages are 64 KiB",
    ),
    feature(WasmFeatures::MEMORY_CONTROL, "memory control", "compile without it"),
    feature(
        WasmFeatures::WIDE_ARITHMETIC,
        "wide arithmetic",
        "compile without -mwide-arithmetic; Rust -C target-feature=-wide-arithmetic",
    ),
    feature(WasmFeatures::COMPACT_IMPORTS, "compact imports", "link without --compact-imports"),
];

impl Feature {
    /// The feature that these bits are of.
    pub(super) fn of(bits: WasmFeatures) -> Option<Feature> {
        FEATURES.iter().copied().find(|feature| feature.beyond().intersects(bits))
    }

    /// The first feature that a module is valid with, beside the others, and not without; none when
    /// it is not valid with all of them.
    pub(super) fn used(wasm: &[u8]) -> Option<Feature> {
        let is_valid = |features| Validator::new_with_features(features).validate_all(wasm).is_ok();
        let all = WasmFeatures::all();
        if !is_valid(all) {
            return None;
        }
        let is_used = |feature: &Feature| !is_valid(all.difference(feature.beyond()));
        FEATURES.iter().copied().find(is_used)
    }

    /// Returns its bits, without those that objects may use.
    fn beyond(self) -> WasmFeatures {
        self.bits.difference(TAKEN)
    }

    /// Describes the acceptable module, and the options that make it.
    pub(super) fn instead(self) -> String {
        format!("WebAssembly without {} ({})", self.name, self.off)
    }
}
