#!/usr/bin/env bash
# Whether the committed object code is what its source compiles to, byte for byte.
#
# Exit codes: 0 it is, or it could not be checked, which is then said; 1 it is not.
set -euo pipefail
cd "$(dirname "$0")"

built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
status=0

check() {
    local kind=$1 code=0 why
    shift
    why=$(./build.sh --to "$built" "$kind" 2>&1) || code=$?
    case $code in
    0) ;;
    3)
        printf 'OBJECT CODE WAS NOT CHECKED: %s: %s\n' "$*" "${why##*$'\n'}" >&2
        return
        ;;
    *)
        printf '%s\nguest/check.sh: %s does not build\n' "$why" "$*" >&2
        status=1
        return
        ;;
    esac
    for object; do
        if cmp "objects/$object" "$built/$object"; then
            printf 'guest/objects/%s: as its source\n' "$object"
        else
            printf 'guest/check.sh: %s is not what its source compiles to: run guest/build.sh\n' \
                "$object" >&2
            status=1
        fi
        # What the crates have as bytes.
        local copy
        for copy in "../engine/samples/$object" "../cli/data/$object"; do
            if [[ -e $copy ]] && ! cmp "$copy" "$built/$object"; then
                printf 'guest/check.sh: %s is not: run guest/build.sh\n' "${copy#../}" >&2
                status=1
            fi
        done
    done
}

check rust aircraft.wasm counter.wasm parcel.wasm price.wasm purse.wasm tally.wasm vault.wasm
check c meter.wasm
check wat lamp.wasm vault-guard.wasm
exit $status
