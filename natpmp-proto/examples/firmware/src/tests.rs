//! What needs no board, on the host.

use core::net::Ipv4Addr;
use core::time::Duration;

use natpmp_proto::gateway::{Config, NatFailure, NatRequest, RateLimit};
use natpmp_proto::{Gateway, Instant};
use smoltcp::iface::{SocketSet, SocketStorage};
use smoltcp::wire::Ipv4Cidr;

use crate::natpmp_client::Next;
use crate::natpmp_gateway::{Nat, NatPmpGateway, Storage};

#[test]
fn a_gateway_that_loses_its_address_while_it_announces_lets_the_main_loop_sleep() {
    let (mut places, mut storage) = ([SocketStorage::EMPTY; 1], Storage::new());
    let mut sockets = SocketSet::new(&mut places[..]);
    let mut gateway: Gateway<8> = Gateway::new(Config::new());
    let mut natpmp = NatPmpGateway::new(&mut gateway, RateLimit::new(10, 7), &mut sockets, &mut storage);
    natpmp.set_internal_address(Some(Ipv4Cidr::new(Ipv4Addr::new(192, 168, 1, 2), 24)));
    natpmp.gateway.start(Instant::ZERO, 0);
    natpmp.gateway.set_external_address(Instant::ZERO, Some(Ipv4Addr::new(11, 22, 33, 44)));
    let mut wake = natpmp.poll(Instant::ZERO, &mut sockets, &mut NoNat);
    assert_eq!(wake, Next::Wait(Some(Instant::from_millis(250))), "the second announcement");

    natpmp.set_internal_address(None);
    let mut now = Instant::ZERO;
    while let Next::Wait(Some(at)) = wake {
        assert!(at > now, "at {now:?} it would be polled again at once");
        // A timer is never early.
        now = at + Duration::from_millis(1);
        wake = natpmp.poll(now, &mut sockets, &mut NoNat);
    }
    assert_eq!(wake, Next::Wait(None), "there is nothing more to announce");
}

/// Nobody asks it for anything.
struct NoNat;

impl Nat for NoNat {
    fn apply(&mut self, _: Instant, _: &NatRequest) -> Result<(), NatFailure> {
        Err(NatFailure::Network)
    }
}
