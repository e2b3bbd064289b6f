//! Every public function of `natpmp-proto`, exported for a linker.
//!
//! Whoever panics or allocates here calls a function that nobody defines. So if these exports link, no path through any of
//! them leads to a panic or to an allocation: the optimiser has seen that for every argument and every state of a machine,
//! since it knows neither. `README.md` says what is done with them.
//!
//! The features `wire`, `client` and `gateway` export one part in one size, whose bytes are counted.

#![no_std]
#![allow(improper_ctypes_definitions, reason = "nobody calls this: the linker is the only caller")]
#![allow(missing_docs, reason = "each function is named for the one that it calls")]

#[cfg(feature = "all")]
mod basics;
#[cfg(any(feature = "all", feature = "client"))]
mod client;
#[cfg(feature = "all")]
mod derived;
#[cfg(any(feature = "all", feature = "gateway"))]
mod gateway;
#[cfg(any(feature = "all", feature = "wire"))]
mod wire;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

/// Functions that the linker is to find, each one named for its prefix and its name.
macro_rules! exports {
    ($prefix:literal: $(fn $name:ident $(<$lifetime:lifetime>)? ($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {
        $(
            #[unsafe(export_name = concat!("natpmp_", $prefix, "_", stringify!($name)))]
            pub extern "C" fn $name $(<$lifetime>)? ($($argument: $type),*) $(-> $result)? $body
        )*
    };
}
use exports;

unsafe extern "C" {
    /// Defined nowhere: a reference to it is a path to a panic.
    safe fn path_to_a_panic() -> !;
    /// Defined nowhere: a reference to it is a path to an allocation. It returns, or the optimiser would take any allocation
    /// for one that fails.
    safe fn path_to_an_allocation(bytes: usize) -> *mut u8;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    path_to_a_panic()
}

struct Unlinkable;

unsafe impl GlobalAlloc for Unlinkable {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        path_to_an_allocation(layout.size())
    }

    unsafe fn dealloc(&self, _: *mut u8, layout: Layout) {
        path_to_an_allocation(layout.size());
    }
}

#[global_allocator]
static ALLOCATOR: Unlinkable = Unlinkable;

extern crate alloc;

/// Linked with the rest, each of these must fail.
#[unsafe(no_mangle)]
pub extern "C" fn control_panic(bytes: &[u8], at: usize) -> u8 {
    bytes[at]
}

#[unsafe(no_mangle)]
pub extern "C" fn control_allocation() -> *mut u8 {
    unsafe { alloc::alloc::alloc(Layout::new::<u32>()) }
}

/// Memory that a type takes, as the size of a symbol.
macro_rules! memory {
    ($($name:ident: $type:ty;)*) => { $(
        #[unsafe(no_mangle)]
        pub static $name: [u8; size_of::<$type>()] = [0; size_of::<$type>()];
    )* };
}

memory! {
    MEMORY_OF_CLIENT_1: natpmp_proto::Client<1>;
    MEMORY_OF_CLIENT_8: natpmp_proto::Client<8>;
    MEMORY_OF_GATEWAY_16: natpmp_proto::Gateway<16>;
    MEMORY_OF_GATEWAY_256: natpmp_proto::Gateway<256>;
}
