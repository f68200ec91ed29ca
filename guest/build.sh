#!/usr/bin/env bash
# Builds the example objects: build.sh [--to DIRECTORY] [rust] [c] [wat]
#
# Into guest/objects, and all of them, unless it is said otherwise. The bytes are the same on every
# machine, because the compilers are: they are named below, and others are not used. Nothing of
# Rust's library is left in the modules but what is compiled with them (they neither panic with a
# message nor allocate), so that it makes no difference whether that library comes with rustup's
# target or is built here from its source.
#
# Exit codes: 0 built, 1 failed, 3 a compiler or the library's source is not to be had here.
set -euo pipefail
cd "$(dirname "$0")"

RUST=1.95.0
# Debian's package of that library's source, and the suite that has it.
RUST_SOURCE=1.95.0+dfsg1-2~bpo13+1
RUST_SOURCE_SUITE=trixie-backports
CLANG=14

to=$PWD/objects
# The objects that the crate `continuant` has as bytes, or its examples in documentation: the same
# files.
samples=(counter tally lamp parcel purse)
if [[ ${1-} == --to ]]; then
    to=$(mkdir -p "$2" && cd "$2" && pwd)
    shift 2
fi
[[ $# -gt 0 ]] || set -- rust c wat

# What a caller's environment may say of compiling is not part of how these are compiled.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
target=$PWD/examples/target

not_here() {
    printf 'guest/build.sh: %s\n' "$*" >&2
    exit 3
}

# The library of wasm32 in source, for a toolchain that does not have it in binary: sets `source`.
find_rust_source() {
    source=${CONTINUANT_RUST_SRC-}
    if [[ -n $source ]]; then
        [[ -f $source/core/Cargo.toml ]] || not_here "CONTINUANT_RUST_SRC has no core/Cargo.toml"
        return
    fi
    source=$target/rust-source/usr/src/rustc-$RUST/library
    [[ -f $source/core/Cargo.toml ]] && return
    local advice="run 'rustup target add wasm32-unknown-unknown', or set CONTINUANT_RUST_SRC to \
the folder library/ of the source of Rust $RUST"
    if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
        not_here "no library for wasm32: $advice"
    fi
    # The machine's own Debian registry, for a suite that it need not have itself.
    local uri keys=/usr/share/keyrings/debian-archive-keyring.gpg
    # shellcheck disable=SC2016 # apt's own variable
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' |
        grep -m1 '/debian/$') ||
        not_here "no library for wasm32, and no Debian registry among apt's sources: $advice"
    local work=$target/rust-source.apt
    rm -rf "$work" && mkdir -p "$work/lists/partial" "$work/archives/partial"
    {
        printf 'Types: deb\nURIs: %s\nSuites: %s\n' "$uri" "$RUST_SOURCE_SUITE"
        printf 'Components: main\n'
        [[ ! -f $keys ]] || printf 'Signed-By: %s\n' "$keys"
    } >"$work/debian.sources"
    local apt=(apt-get -qq -o "Dir::Etc::sourcelist=$work/debian.sources"
        -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work"
        -o "APT::Sandbox::User=$(id -un)")
    (cd "$work" && "${apt[@]}" update && "${apt[@]}" download "rust-src=$RUST_SOURCE") >&2 ||
        not_here "no library for wasm32, and $RUST_SOURCE_SUITE has no rust-src $RUST_SOURCE \
(any more?): $advice"
    dpkg-deb -x "$work"/rust-src_*.deb "$target/rust-source"
    rm -rf "$work"
}

build_rust() {
    local found sysroot
    found=$(cd examples && rustc --version | cut -d' ' -f2) || not_here "no rustc"
    [[ $found == "$RUST" ]] || not_here "the objects in Rust are of rustc $RUST, here is $found"
    sysroot=$(cd examples && rustc --print sysroot)
    local build=(cargo build --quiet --locked --release --target wasm32-unknown-unknown)
    if [[ ! -d $sysroot/lib/rustlib/wasm32-unknown-unknown ]]; then
        find_rust_source
        local place=$sysroot/lib/rustlib/src/rust/library
        if [[ ! -e $place ]]; then
            { mkdir -p "${place%/*}" && ln -sfn "$source" "$place"; } ||
                not_here "cannot link the library's source to $place"
            # shellcheck disable=SC2064 # the place is known now
            trap "rm -f '$place'" EXIT
        fi
        build+=("-Zbuild-std=core,compiler_builtins")
        export RUSTC_BOOTSTRAP=1
    fi
    (cd examples && CARGO_TARGET_DIR=$target "${build[@]}")
    for object in aircraft counter parcel price purse tally vault; do
        install -m 644 "$target/wasm32-unknown-unknown/release/$object.wasm" "$to/"
    done
    unset RUSTC_BOOTSTRAP
}

build_c() {
    if ! command -v "clang-$CLANG" "wasm-ld-$CLANG" >/dev/null; then
        if ! command -v apt-get >/dev/null || [[ $(id -u) != 0 ]]; then
            not_here "the object in C is of clang-$CLANG and lld-$CLANG, which are not installed"
        fi
        (apt-get -qq update && apt-get -qq install --no-install-recommends \
            "clang-$CLANG" "lld-$CLANG") >&2 </dev/null ||
            not_here "Debian here has no clang-$CLANG and lld-$CLANG"
    fi
    (cd examples/c && "clang-$CLANG" --target=wasm32 -std=c11 -Os -Wall -Wextra -Werror \
        -mbulk-memory -mmutable-globals -nostdlib "-fuse-ld=$(command -v "wasm-ld-$CLANG")" \
        -Wl,--no-entry,--strip-all,--stack-first,-zstack-size=8192 \
        -Wl,--initial-memory=65536,--max-memory=65536 \
        -Wl,--export=state,--export=__stack_pointer -o "$to/meter.wasm" meter.c)
    chmod 644 "$to/meter.wasm"
}

build_wat() {
    local assemble=(cargo run --quiet --package continuant-guest --example assemble --)
    "${assemble[@]}" examples/wat/lamp.wat "$to/lamp.wasm"
    "${assemble[@]}" examples/vault/guard.wat "$to/vault-guard.wasm"
}

for kind; do
    case $kind in
    rust | c | wat) "build_$kind" ;;
    *)
        printf 'guest/build.sh: expected rust, c or wat, found %s\n' "$kind" >&2
        exit 1
        ;;
    esac
done

if [[ $to == "$PWD/objects" ]]; then
    for sample in "${samples[@]}"; do
        install -m 644 "objects/$sample.wasm" ../engine/samples/
    done
    install -m 644 examples/counter/policy.cedar ../engine/samples/counter.cedar
    install -m 644 examples/wat/policy.cedar ../engine/samples/lamp.cedar
    install -m 644 examples/purse/policy.cedar ../engine/samples/purse.cedar
    # The demo's, in the package of the command line.
    install -m 644 objects/aircraft.wasm ../cli/data/
    install -m 644 examples/aircraft/policy.cedar ../cli/data/aircraft.cedar
fi
