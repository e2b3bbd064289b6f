//! The gateway machine.

use core::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::gateway::{
    Config, Event, Mapping, NatFailure, NatMapping, NatRequest, Output, PortRange, RateLimit, TooManyRanges,
};
use natpmp_proto::{Discard, Instant, Protocol, SocketId, Transmit};

use crate::exports;

macro_rules! gateway {
    ($module:ident, $prefix:literal, $n:literal) => {
        pub mod $module {
            use super::*;

            type Gateway = natpmp_proto::Gateway<$n>;

            exports! { $prefix:
                fn new(config: Config) -> Gateway { Gateway::new(config) }
                fn start(gateway: &mut Gateway, now: Instant, epoch: u32) { gateway.start(now, epoch); }
                fn restore(gateway: &mut Gateway, mapping: &NatMapping, lifetime: u32) -> bool {
                    gateway.restore(mapping, lifetime)
                }
                fn add_static(gateway: &mut Gateway, mapping: &NatMapping) -> bool { gateway.add_static(mapping) }
                fn remove(gateway: &mut Gateway, protocol: Protocol, internal: SocketAddrV4) -> bool {
                    gateway.remove(protocol, internal)
                }
                fn clear(gateway: &mut Gateway, now: Instant) { gateway.clear(now); }
                fn set_external_address(gateway: &mut Gateway, now: Instant, address: Option<Ipv4Addr>) {
                    gateway.set_external_address(now, address);
                }
                fn allow_mapping(gateway: &mut Gateway, is_allowed: bool) { gateway.allow_mapping(is_allowed); }
                fn switch(gateway: &mut Gateway, now: Instant, is_on: bool) { gateway.switch(now, is_on); }
                fn handle_datagram(
                    gateway: &mut Gateway,
                    now: Instant,
                    socket: SocketId,
                    from: SocketAddrV4,
                    bytes: &[u8],
                ) -> Result<(), Discard> {
                    gateway.handle_datagram(now, socket, from, bytes)
                }
                fn handle_nat(
                    gateway: &mut Gateway,
                    now: Instant,
                    request: &NatRequest,
                    outcome: Result<(), NatFailure>,
                ) {
                    gateway.handle_nat(now, request, outcome);
                }
                fn handle_timeout(gateway: &mut Gateway, now: Instant) { gateway.handle_timeout(now); }
                fn poll(gateway: &mut Gateway, now: Instant) -> Output { gateway.poll(now) }
                fn poll_nat(gateway: &mut Gateway) -> Option<NatRequest> { gateway.poll_nat() }
                fn poll_transmit(gateway: &mut Gateway, now: Instant) -> Option<Transmit> { gateway.poll_transmit(now) }
                fn poll_event(gateway: &mut Gateway) -> Option<Event> { gateway.poll_event() }
                fn poll_timeout(gateway: &Gateway) -> Option<Instant> { gateway.poll_timeout() }
                fn epoch(gateway: &Gateway, now: Instant) -> u32 { gateway.epoch(now) }
                fn external_address(gateway: &Gateway) -> Option<Ipv4Addr> { gateway.external_address() }
                fn mappings(gateway: &Gateway, into: &mut [Mapping]) {
                    for (to, from) in into.iter_mut().zip(gateway.mappings()) {
                        *to = from;
                    }
                }
                fn len(gateway: &Gateway) -> usize { gateway.len() }
                fn is_empty(gateway: &Gateway) -> bool { gateway.is_empty() }
                fn capacity(gateway: &Gateway) -> usize { gateway.capacity() }
            }
        }
    };
}

#[cfg(feature = "all")]
gateway!(one, "gateway1", 1);
gateway!(sixteen, "gateway16", 16);
#[cfg(feature = "all")]
gateway!(hundreds, "gateway256", 256);
#[cfg(feature = "all")]
gateway!(most, "gateway65534", 65_534);

exports! { "transmit":
    fn write<'b>(transmit: &Transmit, request: &[u8], buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        transmit.write(request, buffer)
    }
    fn request_mapping(request: &NatRequest) -> &NatMapping { request.mapping() }
}

exports! { "gateway_config":
    fn config_new() -> Config { Config::new() }
    fn longest_lifetime(config: Config, seconds: u32) -> Config { config.longest_lifetime(seconds) }
    fn shortest_lifetime(config: Config, seconds: u32) -> Config { config.shortest_lifetime(seconds) }
    fn ports(config: Config, ports: PortRange) -> Config { config.ports(ports) }
    fn deny(config: Config, range: PortRange) -> Result<Config, TooManyRanges> { config.deny(range) }
    fn per_client(config: Config, mappings: u16) -> Config { config.per_client(mappings) }
    fn seed(config: Config, seed: u64) -> Config { config.seed(seed) }
    fn range_new(low: u16, high: u16) -> Option<PortRange> { PortRange::new(low, high) }
    fn contains(range: PortRange, port: u16) -> bool { range.contains(port) }
    fn low(range: PortRange) -> u16 { range.low() }
    fn high(range: PortRange) -> u16 { range.high() }
}

exports! { "rate_limit":
    fn limit_new(per_second: u32, seed: u64) -> RateLimit<64> { RateLimit::new(per_second, seed) }
    fn admits(limit: &mut RateLimit<64>, now: Instant, client: Ipv4Addr) -> bool { limit.admits(now, client) }
    fn refused(limit: &RateLimit<64>) -> u64 { limit.refused() }
}
