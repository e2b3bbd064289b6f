//! What the build was told; see `README.md`.

use core::net::Ipv4Addr;

use smoltcp::wire::Ipv4Cidr;

include!(concat!(env!("OUT_DIR"), "/settings.rs"));
