//! Mappings from their request to their end, with packets through them.

use std::path::Path;
use std::time::{Duration, Instant};

use natpmp_lab::{Protocol, echo, wait_until};

use super::SOON;
use super::peers::{CLOSED, Granted, Peer};
use super::setup::{Nat, Setup};

with_each_nat!(
    natpmpc_maps_sends_and_unmaps,
    the_client_for_python_maps_sends_and_unmaps,
    a_lease_that_nobody_renews_ends_and_its_port_closes,
    two_clients_that_want_the_same_port_get_one_each,
    a_client_reaches_another_and_itself_by_the_external_address,
    deleting_all_of_a_protocol_leaves_the_other_one_and_other_clients_alone,
    our_own_keep_holds_and_leaves_nothing_behind,
);

fn natpmpc_maps_sends_and_unmaps(nat: Nat) {
    a_peer_maps_sends_and_unmaps(nat, Peer::Natpmpc);
}

fn the_client_for_python_maps_sends_and_unmaps(nat: Nat) {
    a_peer_maps_sends_and_unmaps(nat, Peer::Python);
}

/// G04, G07, G08, G13: the address, and mappings of both protocols that are open from their request to their deletion.
fn a_peer_maps_sends_and_unmaps(nat: Nat, peer: Peer) {
    let Some(setup) = peer.setup_or_skip(nat, 1, &[]) else { return };
    let client = setup.client(0);
    assert_eq!(peer.external_address(client), Ok(setup.lab.external_address()));
    let _echoes = [Protocol::Udp, Protocol::Tcp].map(|protocol| echo(client, protocol, 4000));
    for (protocol, other, port) in [(Protocol::Udp, Protocol::Tcp, 5000), (Protocol::Tcp, Protocol::Udp, 5001)] {
        assert!(!setup.leads_to(0, protocol, port), "closed before it is asked for");
        let granted = Granted { external_port: port, lifetime: 600 };
        assert_eq!(peer.map(client, protocol, 4000, port, 600), Ok(granted));
        assert!(setup.leads_to(0, protocol, port), "{protocol:?}");
        assert!(!setup.leads_to(0, other, port), "the other protocol is not opened along with it");
        // Asked again, and for another port: the answer may have been lost (section 3.3).
        assert_eq!(peer.map(client, protocol, 4000, port, 600), Ok(granted));
        assert_eq!(peer.map(client, protocol, 4000, 5009, 600), Ok(granted));
        assert!(setup.leads_to(0, protocol, port), "{protocol:?}");
        assert_eq!(peer.unmap(client, protocol, 4000), Ok(CLOSED));
        assert!(!setup.leads_to(0, protocol, port), "closed after its deletion");
        assert_eq!(peer.unmap(client, protocol, 4000), Ok(CLOSED), "it is gone already");
    }
}

/// G16.
fn a_lease_that_nobody_renews_ends_and_its_port_closes(nat: Nat) {
    let Some(mut setup) = Peer::Natpmpc.setup_or_skip(nat, 1, &[]) else { return };
    let _echoes = [Protocol::Udp, Protocol::Tcp].map(|protocol| echo(setup.client(0), protocol, 4000));
    let asked = Instant::now();
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let granted = Granted { external_port: 5000, lifetime: 2 };
        assert_eq!(Peer::Natpmpc.map(setup.client(0), protocol, 4000, 5000, 2), Ok(granted));
        assert!(setup.leads_to(0, protocol, 5000));
    }
    for _ in 0..2 {
        setup.serving().event(SOON, "unmapped");
    }
    assert!(asked.elapsed() >= Duration::from_secs(2), "a lease is not cut short");
    assert!(asked.elapsed() < Duration::from_secs(4), "nor stretched");
    assert!(!setup.leads_to(0, Protocol::Udp, 5000));
    assert!(!setup.leads_to(0, Protocol::Tcp, 5000));
}

/// G07, G10, G13: and neither can close the port of the other.
fn two_clients_that_want_the_same_port_get_one_each(nat: Nat) {
    let Some(setup) = Peer::Natpmpc.setup_or_skip(nat, 2, &[]) else { return };
    let _echoes = setup.lab.clients().iter().map(|client| echo(client, Protocol::Udp, 4000)).collect::<Vec<_>>();
    let map = |client: usize| Peer::Natpmpc.map(setup.client(client), Protocol::Udp, 4000, 5000, 600).unwrap();
    let (first, second) = (map(0).external_port, map(1).external_port);
    assert_eq!(first, 5000);
    assert!(second != first && second >= 1024, "{second}");
    assert!(setup.leads_to(0, Protocol::Udp, first));
    assert!(setup.leads_to(1, Protocol::Udp, second));
    assert_eq!(Peer::Natpmpc.unmap(setup.client(1), Protocol::Udp, 4000), Ok(CLOSED));
    assert!(setup.leads_to(0, Protocol::Udp, first), "it is of another client");
    assert!(!setup.leads_to(1, Protocol::Udp, second));
}

/// G22.
fn a_client_reaches_another_and_itself_by_the_external_address(nat: Nat) {
    let Some(setup) = Peer::Natpmpc.setup_or_skip(nat, 2, &[]) else { return };
    // A bridge that filters turns packets round by itself, but never back to the port they came from.
    setup.lab.router().host().within(|| {
        let filter = Path::new("/proc/sys/net/bridge/bridge-nf-call-iptables");
        if filter.exists() {
            std::fs::write(filter, "0").unwrap();
        }
    });
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let _echo = echo(setup.client(0), protocol, 4000);
        Peer::Natpmpc.map(setup.client(0), protocol, 4000, 5000, 600).unwrap();
        for asking in setup.lab.clients() {
            let answered = asking.who_answers(protocol, setup.external(5000));
            assert_eq!(answered, Some(setup.client(0).address()), "{protocol:?}, asked by {}", asking.address());
        }
    }
}

/// G14.
fn deleting_all_of_a_protocol_leaves_the_other_one_and_other_clients_alone(nat: Nat) {
    let Some(setup) = Peer::Natpmpc.setup_or_skip(nat, 2, &[]) else { return };
    let _echoes = [
        echo(setup.client(0), Protocol::Udp, 4000),
        echo(setup.client(0), Protocol::Udp, 4001),
        echo(setup.client(0), Protocol::Tcp, 4000),
        echo(setup.client(1), Protocol::Udp, 4002),
    ];
    let mapped =
        [(0, Protocol::Udp, 4000), (0, Protocol::Udp, 4001), (0, Protocol::Tcp, 4000), (1, Protocol::Udp, 4002)];
    for (client, protocol, port) in mapped {
        Peer::Natpmpc.map(setup.client(client), protocol, port, port, 600).unwrap();
    }
    let open = || mapped.map(|(client, protocol, port)| setup.leads_to(client, protocol, port));
    assert_eq!(open(), [true; 4]);
    assert_eq!(Peer::Natpmpc.unmap(setup.client(0), Protocol::Udp, 0), Ok(CLOSED));
    assert_eq!(open(), [false, false, true, true]);
}

/// Our own client and our own gateway: renewed for several leases, deleted at the end.
fn our_own_keep_holds_and_leaves_nothing_behind(nat: Nat) {
    let Some(mut setup) = Setup::or_skip(nat, 1, &[]) else { return };
    let _echo = echo(setup.client(0), Protocol::Tcp, 4000);
    let (mut kept, mapped) = setup.keep(&["tcp", "4000", "--external", "5000", "--lifetime", "2"]);
    assert_eq!((&mapped["external_port"], &mapped["lifetime"]), (&5000.into(), &2.into()));
    for _ in 0..3 {
        assert_eq!(kept.event(SOON, "renewed")["external_port"], 5000);
        assert!(setup.leads_to(0, Protocol::Tcp, 5000));
    }
    kept.interrupt();
    let finished = kept.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    setup.serving().event(SOON, "unmapped");
    assert!(wait_until(SOON, || !setup.leads_to(0, Protocol::Tcp, 5000)));
}
