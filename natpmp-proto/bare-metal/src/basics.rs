//! Time, schedules, addresses, and what users ask for.

use core::net::Ipv4Addr;
use core::time::Duration;

use natpmp_proto::{AddressKind, Backoff, Epoch, Instant, MapRequest, Mapping, Protocol, Schedule};

use crate::exports;

exports! { "instant":
    fn from_micros(micros: u64) -> Instant { Instant::from_micros(micros) }
    fn from_millis(millis: u64) -> Instant { Instant::from_millis(millis) }
    fn from_secs(secs: u64) -> Instant { Instant::from_secs(secs) }
    fn as_micros(instant: Instant) -> u64 { instant.as_micros() }
    fn saturating_since(instant: Instant, earlier: Instant) -> Duration { instant.saturating_since(earlier) }
}

exports! { "schedule":
    fn within(patience: Duration) -> Schedule { Schedule::within(patience) }
    fn custom(first: Duration, longest: Duration, patience: Duration) -> Schedule {
        Schedule::custom(first, longest, patience)
    }
    fn wait_after(schedule: Schedule, send: u8) -> Option<Duration> { schedule.wait_after(send) }
    fn total(schedule: Schedule) -> Duration { schedule.total() }
}

exports! { "backoff":
    fn backoff_new(first: Duration, ceiling: Duration) -> Backoff { Backoff::new(first, ceiling) }
    fn pause(backoff: Backoff, failures: u8) -> Duration { backoff.pause(failures) }
}

exports! { "epoch":
    fn epoch_new(seconds: u32, heard_at: Instant) -> Epoch { Epoch::new(seconds, heard_at) }
    fn seconds(epoch: Epoch) -> u32 { epoch.seconds() }
    fn is_lost_by(epoch: Epoch, seconds: u32, now: Instant) -> bool { epoch.is_lost_by(seconds, now) }
}

exports! { "address":
    fn name(kind: AddressKind) -> &'static str { kind.name() }
    fn of(address: Ipv4Addr) -> AddressKind { AddressKind::of(address) }
    fn is_reachable(kind: AddressKind) -> bool { kind.is_reachable() }
}

exports! { "mapping":
    fn mapping_request(mapping: &Mapping) -> MapRequest { mapping.request() }
    fn request_new(protocol: Protocol, internal_port: u16) -> MapRequest { MapRequest::new(protocol, internal_port) }
    fn external_port(request: MapRequest, port: u16) -> MapRequest { request.external_port(port) }
    fn lifetime(request: MapRequest, seconds: u32) -> MapRequest { request.lifetime(seconds) }
    fn refresh_interval(request: MapRequest, seconds: u32) -> MapRequest { request.refresh_interval(seconds) }
    fn protocol(request: &MapRequest) -> Protocol { request.protocol() }
    fn internal_port(request: &MapRequest) -> u16 { request.internal_port() }
    fn suggested_external_port(request: &MapRequest) -> u16 { request.suggested_external_port() }
    fn requested_lifetime(request: &MapRequest) -> u32 { request.requested_lifetime() }
    fn chosen_refresh_interval(request: &MapRequest) -> Option<u32> { request.chosen_refresh_interval() }
}
