//! What the administrator allows.

use natpmp_lab::Protocol;

use super::peers::{Granted, Peer};
use super::setup::{Nat, Setup};

/// Peers that ask, each in its turn.
const PEERS: [Peer; 2] = [Peer::Natpmpc, Peer::Python];

fn each_peer(clients: u8, options: &[&str], check: impl Fn(Peer, &Setup)) {
    for peer in PEERS {
        // The rules are the machine's, whatever does the NAT.
        let Some(setup) = peer.setup_or_skip(Nat::Relay, clients, options) else { continue };
        check(peer, &setup);
    }
}

fn port(granted: Result<Granted, u16>) -> u16 {
    granted.unwrap().external_port
}

/// G10.
#[test]
fn a_denied_port_is_not_given_and_another_one_is() {
    each_peer(1, &["--deny-ports", "5000-5099", "--deny-ports", "5200"], |peer, setup| {
        for (internal, denied) in [(4000, 5000), (4001, 5050), (4002, 5099), (4003, 5200), (4004, 80)] {
            let got = port(peer.map(setup.client(0), Protocol::Udp, internal, denied, 600));
            assert!(got >= 1024 && !(5000..5100).contains(&got) && got != 5200, "{denied}: {got}");
        }
        assert_eq!(port(peer.map(setup.client(0), Protocol::Udp, 4005, 5100, 600)), 5100);
    });
}

/// G10, G17: what is left of the range is given to the last port, and then there is no more.
#[test]
fn ports_are_given_from_the_range_until_it_is_used_up() {
    each_peer(1, &["--ports", "5000-5003", "--deny-ports", "5001"], |peer, setup| {
        let map = |internal| peer.map(setup.client(0), Protocol::Tcp, internal, 9000, 600);
        let mut got = [port(map(4000)), port(map(4001)), port(map(4002))];
        got.sort_unstable();
        assert_eq!(got, [5000, 5002, 5003]);
        assert_eq!(map(4003), Err(4), "out of resources");
        peer.unmap(setup.client(0), Protocol::Tcp, 4001).unwrap();
        assert!(map(4003).is_ok(), "one has become free");
    });
}

/// G09.
#[test]
fn the_same_port_of_the_other_protocol_is_kept_for_the_client_that_has_one() {
    each_peer(2, &[], |peer, setup| {
        let [owner, other] = [setup.client(0), setup.client(1)];
        assert_eq!(port(peer.map(owner, Protocol::Udp, 4000, 5000, 600)), 5000);
        assert_ne!(port(peer.map(other, Protocol::Tcp, 4000, 5000, 600)), 5000, "it is reserved");
        assert_eq!(port(peer.map(owner, Protocol::Tcp, 4000, 5000, 600)), 5000, "for this one");
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            peer.unmap(owner, protocol, 4000).unwrap();
        }
        assert_eq!(port(peer.map(other, Protocol::Tcp, 4001, 5000, 600)), 5000, "it is free again");
    });
}

/// G17, G23: and the limit is of one client, not of all.
#[test]
fn a_client_above_its_limit_is_refused_until_it_gives_one_back() {
    each_peer(2, &["--per-client", "2"], |peer, setup| {
        let map = |client: usize, internal| peer.map(setup.client(client), Protocol::Udp, internal, internal, 600);
        assert!(map(0, 4000).is_ok() && map(0, 4001).is_ok());
        assert_eq!(map(0, 4002), Err(4), "out of resources");
        assert!(map(0, 4000).is_ok(), "what it has may be renewed");
        assert!(map(1, 4002).is_ok(), "another client has its own limit");
        peer.unmap(setup.client(0), Protocol::Udp, 4001).unwrap();
        assert!(map(0, 4002).is_ok());
    });
}

/// G12.
#[test]
fn a_lease_is_never_longer_than_asked_for_nor_than_the_longest() {
    each_peer(1, &["--max-lifetime", "600"], |peer, setup| {
        for (asked, granted) in [(30, 30), (600, 600), (601, 600), (86_400, 600), (2_147_483_647, 600)] {
            let got = peer.map(setup.client(0), Protocol::Udp, 4000, 5000, asked).unwrap();
            assert_eq!(got, Granted { external_port: 5000, lifetime: granted }, "{asked} asked for");
        }
    });
}
