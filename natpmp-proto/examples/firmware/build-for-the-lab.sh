#!/bin/sh
# Builds the images that natpmp-std/tests/firmware runs, with Debian's compiler: build-for-the-lab.sh DIRECTORY
#
# It takes the packages rustc-web, cargo-web, rust-web-src and lld-22: they bring the sources of `core`, which is built for the board.
set -eu
mkdir -p "$1"
images=$(cd "$1" && pwd)
cd "$(dirname "$0")"
unset RUSTUP_TOOLCHAIN
export PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER=ld.lld-22

# build IMAGE NAME [SETTING]...
build() {
    image=$1 name=$2
    shift 2
    env "$@" /usr/bin/cargo build --locked --release -Zbuild-std=core --bin "$image"
    cp "${CARGO_TARGET_DIR:-target}/thumbv7m-none-eabi/release/$image" "$images/$name"
}
build client client-dhcp NATPMP_LIFETIME=4
build client client-static NATPMP_ADDRESS=192.168.1.11/24 NATPMP_ROUTER=192.168.1.1
build gateway gateway NATPMP_ADDRESS=192.168.1.2/24
