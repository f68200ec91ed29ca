# What a developer runs. `just ci` is what CI runs.

# Everything CI checks.
ci:
    .ci/run

# The tests.
test:
    cargo test --workspace

# The library as an embedder builds it, without the features that the workspace turns on.
alone:
    cargo clippy -p continuant -- -D warnings

# The main job: a month of flights.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# The packages of the crates that people take, in target/package; nothing is published.
packages:
    cargo package --workspace --no-verify --exclude continuant-benches --exclude continuant-docs \
        --exclude continuant-fuzz --exclude continuant-schedules

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
