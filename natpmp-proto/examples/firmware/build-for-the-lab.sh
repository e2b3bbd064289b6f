#!/bin/sh
# Builds the images that natpmp-std/cli/tests/it/firmware runs, with Debian's compiler: build-for-the-lab.sh DIRECTORY
set -eu
mkdir -p "$1"
images=$(cd "$1" && pwd)
cd "$(dirname "$0")"

# build BIN [ASSIGNMENT]...
build() {
    bin=$1
    shift
    env "$@" sh debian-cargo.sh build --locked --release --bin "$bin" --features "$features"
}
# image BIN NAME [ASSIGNMENT]...
image() {
    bin=$1 name=$2
    shift 2
    build "$bin" "$@"
    cp "${CARGO_TARGET_DIR:-target}/thumbv7m-none-eabi/release/$bin" "$images/$name"
}
features=
image client client-dhcp NATPMP_LIFETIME=4
image client client-static NATPMP_ADDRESS=192.168.1.11/24 NATPMP_ROUTER=192.168.1.1
image gateway gateway NATPMP_ADDRESS=192.168.1.2/24
# Logging with defmt is linked, and not run.
features=defmt
build client
