# What a developer runs. `just ci` is what CI runs.

# Everything CI checks.
ci:
    .ci/run

# The tests.
test:
    cargo test --workspace

# The main job: a month of flights.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Formats the tree.
fmt:
    cargo fmt --all

# Rebuilds the example objects' .wasm files, byte for byte.
guests:
    guest/build.sh

# Whether the committed .wasm files match their source.
guests-check:
    guest/check.sh

# The figures, beside their floors.
report *ARGS:
    cargo run --release -p continuant-benches -- report {{ARGS}}
