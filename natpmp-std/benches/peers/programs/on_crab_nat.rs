//! The gateway is an argument: `crab_nat` does not find it.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use crab_nat::{InternetProtocol, PortMappingOptions};

fn main() {
    let gateway: Ipv4Addr = std::env::args().nth(1).expect("a gateway").parse().expect("an address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let port = NonZeroU16::new(8080).expect("a port");
    let options = PortMappingOptions::default();
    let mapping = crab_nat::natpmp::port_mapping(gateway.into(), InternetProtocol::Tcp, port, options);
    let mapping = runtime.block_on(mapping).expect("a mapping");
    println!("{}", mapping.external_port());
}
