#!/bin/sh
# Debian's cargo, which builds `core` for the board from Debian's sources: debian-cargo.sh build --release
#
# It takes the packages rustc-web, cargo-web, rust-web-src and lld-22, and leaves a toolchain of rustup alone.
exec env -u RUSTUP_TOOLCHAIN PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc \
    RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=core CARGO_TARGET_THUMBV7M_NONE_EABI_LINKER=ld.lld-22 \
    /usr/bin/cargo "$@"
