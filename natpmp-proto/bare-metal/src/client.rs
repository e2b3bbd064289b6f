//! The client machine.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use natpmp_proto::client::{MapError, MappingStatus, Received, RequestError};
use natpmp_proto::{Backoff, Config, Discard, Event, Instant, MapRequest, Output, Protocol, Schedule, Transmit};

use crate::exports;

macro_rules! client {
    ($module:ident, $prefix:literal, $n:literal) => {
        pub mod $module {
            use super::*;

            type Client = natpmp_proto::Client<$n>;

            exports! { $prefix:
                fn new(config: Config) -> Client { Client::new(config) }
                fn map(client: &mut Client, now: Instant, request: &MapRequest) -> Result<(), MapError> {
                    client.map(now, request)
                }
                fn keep(client: &mut Client, now: Instant, request: &MapRequest) -> Result<(), MapError> {
                    client.keep(now, request)
                }
                fn unmap(client: &mut Client, now: Instant, protocol: Protocol, port: u16) -> Result<(), MapError> {
                    client.unmap(now, protocol, port)
                }
                fn unmap_all(client: &mut Client, now: Instant, protocol: Protocol) { client.unmap_all(now, protocol); }
                fn clear(client: &mut Client, now: Instant) { client.clear(now); }
                fn refresh(client: &mut Client, now: Instant, protocol: Protocol, port: u16) -> bool {
                    client.refresh(now, protocol, port)
                }
                fn request_external_address(client: &mut Client, now: Instant) { client.request_external_address(now); }
                fn hasten_deletions(client: &mut Client, now: Instant) { client.hasten_deletions(now); }
                fn watch_external_address(client: &mut Client, now: Instant, is_watched: bool) {
                    client.watch_external_address(now, is_watched);
                }
                fn set_seed(client: &mut Client, seed: u64) { client.set_seed(seed); }
                fn set_gateway(client: &mut Client, now: Instant, gateway: SocketAddrV4) {
                    client.set_gateway(now, gateway);
                }
                fn network_changed(client: &mut Client, now: Instant) { client.network_changed(now); }
                fn handle_datagram(
                    client: &mut Client,
                    now: Instant,
                    from: SocketAddrV4,
                    bytes: &[u8],
                ) -> Result<Received, Discard> {
                    client.handle_datagram(now, from, bytes)
                }
                fn handle_announcement(
                    client: &mut Client,
                    now: Instant,
                    from: SocketAddrV4,
                    bytes: &[u8],
                ) -> Result<Received, Discard> {
                    client.handle_announcement(now, from, bytes)
                }
                fn handle_unreachable(client: &mut Client, now: Instant) { client.handle_unreachable(now); }
                fn handle_network_down(client: &mut Client, now: Instant) { client.handle_network_down(now); }
                fn handle_timeout(client: &mut Client, now: Instant) { client.handle_timeout(now); }
                fn poll(client: &mut Client, now: Instant) -> Output { client.poll(now) }
                fn poll_transmit(client: &mut Client, now: Instant) -> Option<Transmit> { client.poll_transmit(now) }
                fn poll_event(client: &mut Client) -> Option<Event> { client.poll_event() }
                fn poll_timeout(client: &Client) -> Option<Instant> { client.poll_timeout() }
                fn gateway(client: &Client) -> SocketAddrV4 { client.gateway() }
                fn external_address(client: &Client) -> Option<Ipv4Addr> { client.external_address() }
                fn mapping(client: &Client, protocol: Protocol, port: u16) -> Option<MappingStatus> {
                    client.mapping(protocol, port)
                }
                fn mappings(client: &Client, into: &mut [MappingStatus]) {
                    for (to, from) in into.iter_mut().zip(client.mappings()) {
                        *to = from;
                    }
                }
                fn capacity(client: &Client) -> usize { client.capacity() }
            }
        }
    };
}

#[cfg(feature = "all")]
client!(one, "client1", 1);
client!(eight, "client8", 8);

exports! { "config":
    fn config_new(address: Ipv4Addr) -> Config { Config::new(address) }
    fn for_gateway(gateway: SocketAddrV4) -> Config { Config::for_gateway(gateway) }
    fn schedule(config: Config, schedule: Schedule) -> Config { config.schedule(schedule) }
    fn backoff(config: Config, backoff: Backoff) -> Config { config.backoff(backoff) }
    fn external_address_interval(config: Config, interval: Duration) -> Config {
        config.external_address_interval(interval)
    }
    fn seed(config: Config, seed: u64) -> Config { config.seed(seed) }
    fn config_gateway(config: &Config) -> SocketAddrV4 { config.gateway() }
}

exports! { "event":
    fn mapping_key(event: &Event) -> Option<(Protocol, u16)> { event.mapping_key() }
    fn is_unsupported(error: RequestError) -> bool { error.is_unsupported() }
}

exports! { "transmit":
    fn resends(transmit: &Transmit) -> u8 { transmit.resends() }
}
