//! Recorded messages, damaged ones, and the kernel of a lab.

use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use natpmp_lab::Lab;
use natpmp_testkit::recorded;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, getsockname, send, sendto, socket_with};

use super::route::{Hop, Link, Route};
use super::watch::matters;
use super::{RouteSocket, RouteWatch};
use natpmp_netlink::{Attributes, Message, Messages, attribute, find, request};
use natpmp_netlink::{Outcome, read, receive};

#[test]
#[cfg(target_endian = "little")]
fn routes_are_read_as_the_kernel_tells_them() {
    let (outcome, routes) = routes_in(&recorded::bytes(recorded::ROUTES), 1);
    assert_eq!(outcome, Some(Outcome::Whole));
    assert_eq!(routes.len(), 19);

    let shown = |route: &Route| {
        let hops: Vec<_> = route
            .hops
            .iter()
            .map(|hop| (hop.interface, hop.gateway.map(|gateway| gateway.to_string()), hop.is_up()))
            .collect();
        (route.destination.to_string(), route.prefix, route.table, route.metric, hops)
    };
    let any = || "0.0.0.0".to_owned();
    let hop = |interface, gateway: &str, is_up| (interface, Some(gateway.to_owned()), is_up);
    let leaving: Vec<_> = routes.iter().filter(|route| route.is_unicast() && route.is_for_all()).collect();
    let expected = [
        (any(), 0, 51_820, 0, vec![(6, None, false)]),
        (any(), 1, 254, 0, vec![hop(6, "10.8.0.1", false)]),
        (any(), 0, 254, 100, vec![hop(3, "192.168.1.1", true)]),
        (any(), 0, 254, 300, vec![hop(3, "192.168.1.7", true), hop(5, "10.0.0.7", true)]),
        ("10.0.0.0".to_owned(), 24, 254, 0, vec![(5, None, true)]),
        ("10.8.0.0".to_owned(), 24, 254, 0, vec![(6, None, false)]),
        ("128.0.0.0".to_owned(), 1, 254, 0, vec![hop(6, "10.8.0.1", false)]),
        ("192.168.1.0".to_owned(), 24, 254, 0, vec![(3, None, true)]),
    ];
    assert_eq!(leaving.iter().map(|route| shown(route)).collect::<Vec<_>>(), expected);
    assert!(leaving.iter().all(|route| route.hops.iter().all(|hop| hop.has_router == hop.gateway.is_some())));

    let marked: Vec<_> = routes.iter().filter(|route| !route.is_for_all()).collect();
    assert!(marked.len() == 1 && marked[0].metric == 50, "{marked:?}");
    let unreachable = routes.iter().find(|route| route.metric == 9001).unwrap();
    assert!(!unreachable.is_unicast() && unreachable.hops.is_empty(), "{unreachable:?}");
}

#[test]
#[cfg(target_endian = "little")]
fn the_way_to_an_address_is_read_with_its_source() {
    let (outcome, routes) = routes_in(&recorded::bytes(recorded::WAY), 3);
    assert_eq!((outcome, routes.len()), (Some(Outcome::Whole), 1));
    let route = &routes[0];
    assert_eq!((route.table, route.source), (254, Some(Ipv4Addr::new(10, 8, 0, 2))));
    let hop = route.hops[0];
    assert_eq!((hop.interface, hop.gateway, hop.has_router), (6, Some(Ipv4Addr::new(10, 8, 0, 1)), true));

    let (_, routes) = routes_in(&recorded::bytes(recorded::WAY_ON_LINK), 3);
    let hop = routes[0].hops[0];
    assert_eq!((hop.interface, hop.gateway, hop.has_router), (3, None, false));
}

#[test]
#[cfg(target_endian = "little")]
fn a_refusal_is_told_with_its_number() {
    let (outcome, routes) = routes_in(&recorded::bytes(recorded::NO_WAY), 3);
    assert_eq!((outcome, routes.len()), (Some(Outcome::Refused(113)), 0));
    let error = Outcome::Refused(13).accepted().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
}

#[test]
#[cfg(target_endian = "little")]
fn a_link_is_read_with_its_name() {
    let bytes = recorded::bytes(recorded::LINK);
    let message = Messages::new(&bytes).next().unwrap();
    let link = Link::read(message.body).unwrap();
    assert_eq!((link.index, link.name.as_str(), link.is_up()), (6, "tun0", false));
}

#[test]
fn a_link_is_up_if_it_is_switched_on_and_has_a_carrier() {
    for (flags, is_up) in
        [(0u32, false), (0x1, false), (0x1_0000, false), (0x41, false), (0x1_0001, true), (0x1_1043, true)]
    {
        let name = attribute(3, b"eth0\0");
        let body = [&[0; 4][..], &7u32.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 4], &name].concat();
        assert_eq!(Link::read(&body).unwrap().is_up(), is_up, "{flags:x}");
    }
}

#[test]
fn answers_to_other_questions_are_passed_over() {
    let mut bytes = answer(24, 0, 8, &route_to_everything(&[]));
    bytes.extend(answer(3, 0, 8, &[0; 4]));
    assert_eq!(routes_in(&bytes, 9), (None, vec![]));
    bytes.extend(answer(24, 0, 9, &route_to_everything(&[])));
    let (outcome, routes) = routes_in(&bytes, 9);
    assert_eq!((outcome, routes.len()), (None, 1), "the last one is still to come");
    bytes.extend(answer(3, 0, 9, &[0; 4]));
    assert_eq!(routes_in(&bytes, 9).0, Some(Outcome::Whole));
}

#[test]
fn a_list_that_changed_meanwhile_is_known_for_one() {
    let mut bytes = answer(24, 2 | 0x10, 9, &route_to_everything(&[]));
    bytes.extend(answer(3, 2, 9, &[0; 4]));
    assert_eq!(routes_in(&bytes, 9).0, Some(Outcome::Interrupted));
    bytes[6] = 2;
    bytes[7] = 0;
    if cfg!(target_endian = "little") {
        assert_eq!(routes_in(&bytes, 9).0, Some(Outcome::Whole));
    }
}

#[test]
fn a_gateway_of_another_address_family_is_a_router_without_an_address() {
    let via =
        attribute(18, &[&10u16.to_ne_bytes()[..], &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]].concat());
    let route = Route::read(&route_to_everything(&[attribute(4, &3u32.to_ne_bytes()), via])).unwrap();
    let [Hop { interface: 3, gateway: None, has_router: true, .. }] = route.hops[..] else { panic!("{route:?}") };
}

#[test]
fn a_route_of_ipv6_is_none_of_ipv4() {
    let mut body = route_to_everything(&[]);
    body[0] = 10;
    assert_eq!(Route::read(&body), None);
}

#[test]
fn the_table_of_the_header_counts_where_there_is_no_other() {
    let route = Route::read(&route_to_everything(&[])).unwrap();
    assert_eq!(route.table, 254);
    let route = Route::read(&route_to_everything(&[attribute(15, &51_820u32.to_ne_bytes())])).unwrap();
    assert_eq!(route.table, 51_820);
}

#[test]
fn attributes_are_found_by_their_kind_and_without_what_fills_them_up() {
    let mut bytes = [attribute(1, &[1]), attribute(2 | 0x8000, &[2, 3]), attribute(1, &[4])].concat();
    assert_eq!(bytes.len(), 24);
    assert_eq!(find(&bytes, 1), Some(&[1][..]), "the first one");
    assert_eq!(find(&bytes, 2), Some(&[2, 3][..]), "whatever its flags");
    assert_eq!(find(&bytes, 3), None);
    // The last one may not be filled up.
    bytes.truncate(14);
    assert_eq!(find(&bytes, 2), Some(&[2, 3][..]));
}

#[test]
fn a_request_has_its_length_kind_flags_and_sequence() {
    let bytes = request(26, 0x300, 7, &[1, 2, 3, 4]);
    assert_eq!(bytes[..4], 20u32.to_ne_bytes());
    let message = Messages::new(&bytes).next().unwrap();
    assert_eq!(message, Message { kind: 26, flags: 0x301, sequence: 7, port: 0, body: &[1, 2, 3, 4] });
}

/// Whatever the bytes say of their lengths: reading ends, and what is told is no longer than the bytes.
#[test]
fn messages_cut_off_anywhere_do_no_harm() {
    for hex in [recorded::ROUTES, recorded::LINK, recorded::WAY, recorded::NO_WAY] {
        let bytes = recorded::bytes(hex);
        let whole = read_all(&bytes);
        for end in 0..bytes.len() {
            assert!(read_all(&bytes[..end]) <= whole, "{end}");
        }
    }
}

#[test]
fn messages_damaged_anywhere_do_no_harm() {
    for hex in [recorded::ROUTES, recorded::LINK, recorded::WAY, recorded::NO_WAY] {
        let bytes = recorded::bytes(hex);
        for place in 0..bytes.len() {
            // All values where there are few bytes.
            let step = if bytes.len() < 200 { 1 } else { 51 };
            for value in (0..=u8::MAX).step_by(step).chain([1, 2, 3, 4, 5, 7, 8, 9, 12, 16]) {
                let mut damaged = bytes.clone();
                damaged[place] = value;
                assert!(read_all(&damaged) <= bytes.len(), "{place} {value}");
            }
        }
    }
}

/// Lengths of less than their own header would lead nowhere.
#[test]
fn hops_of_any_length_come_to_an_end() {
    let gateway = attribute(5, &[10, 0, 0, 7]);
    for length in 0..=u16::MAX {
        let hop = [&length.to_ne_bytes()[..], &[0, 0], &3u32.to_ne_bytes(), &gateway].concat();
        let hops = [&hop[..], &hop].concat();
        let route = Route::read(&route_to_everything(&[attribute(9, &hops)])).unwrap();
        let most = if (8..=32).contains(&length) { 4 } else { 0 };
        assert!(route.hops.len() <= most, "{length}: {route:?}");
    }
}

#[test]
fn of_what_the_kernel_reports_unasked_only_links_and_ipv4_matter() {
    let wireless = [&[0; 16][..], &attribute(11, &[0; 8])].concat();
    for (kind, body, does_matter) in [
        (16, vec![0; 16], true),
        (17, vec![0; 16], true),
        (16, [vec![7], vec![0; 15]].concat(), false),
        (16, wireless, false),
        (20, vec![2, 0, 0, 0, 0, 0, 0, 0], true),
        (21, vec![2, 0, 0, 0, 0, 0, 0, 0], true),
        (20, vec![10, 0, 0, 0, 0, 0, 0, 0], false),
        (24, vec![2; 12], true),
        (25, vec![2; 12], true),
        (25, vec![10; 12], false),
        (28, vec![2; 12], false),
        (24, vec![], false),
    ] {
        let bytes = answer(kind, 0, 0, &body);
        assert_eq!(matters(&bytes), does_matter, "{kind} {body:?}");
        // Behind another one too.
        assert_eq!(matters(&[answer(3, 0, 0, &[]), bytes].concat()), does_matter, "{kind} {body:?}");
    }
    assert!(!matters(&[]));
}

#[test]
fn what_does_not_fit_is_not_read_as_if_it_were_whole() {
    let (socket, _) = bound();
    send(&socket, &request(18, 0x300, 1, &[0; 16]), SendFlags::empty()).unwrap();
    assert_eq!(receive(&socket, &mut [MaybeUninit::uninit(); 32]), Err(rustix::io::Errno::MSGSIZE));
}

/// Root may send as if it were the kernel; it has another port.
#[test]
fn what_other_processes_send_is_passed_over() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.client().within(|| {
        let (socket, to) = bound();
        let watch = RouteWatch::open().unwrap();
        let (other, _) = bound();
        let forged = answer(24, 0, 0, &route_to_everything(&[]));
        sendto(&other, &forged, SendFlags::empty(), &to).unwrap();
        assert_eq!(receive(&socket, &mut [MaybeUninit::uninit(); 4096]), Ok(&[][..]));

        let to = SocketAddrNetlink::try_from(getsockname(&watch).unwrap()).unwrap();
        sendto(&other, &forged, SendFlags::empty(), &to).unwrap();
        assert!(!watch.take_changes());
    });
}

#[test]
fn reports_that_the_kernel_had_to_drop_matter() {
    let Some(lab) = Lab::or_skip() else { return };
    let client = lab.client();
    let watch = client.within(|| {
        let watch = RouteWatch::open().unwrap();
        // Filled up with what does not matter.
        set_socket_recv_buffer_size(watch.as_fd(), 1).unwrap();
        let to = SocketAddrNetlink::try_from(getsockname(&watch).unwrap()).unwrap();
        let (other, _) = bound();
        while sendto(&other, &[0; 1024], SendFlags::DONTWAIT, &to).is_ok() {}
        watch
    });
    let mut poll = mio::Poll::new().unwrap();
    let mut ready = mio::Events::with_capacity(1);
    let mut descriptor = mio::unix::SourceFd(&watch.as_fd().as_raw_fd());
    poll.registry().register(&mut descriptor, mio::Token(0), mio::Interest::READABLE).unwrap();
    for _ in 0..2 {
        poll.poll(&mut ready, Some(std::time::Duration::from_secs(10))).unwrap();
        assert!(!ready.is_empty(), "also to those who have not read what came before");
        client.ip(&["link", "set", "eth0", "down"]);
    }
    assert!(watch.take_changes());
    assert!(!watch.take_changes(), "all is read");
}

#[test]
fn the_kernel_is_asked_in_the_namespace_of_the_thread() {
    let Some(lab) = Lab::or_skip() else { return };
    lab.client().within(|| {
        let mut kernel = RouteSocket::open().unwrap();
        let names: Vec<_> = kernel.links().unwrap().into_iter().map(|link| link.name).collect();
        assert_eq!(names, ["lo", "eth0"]);
        let eth0 = kernel.link_named("eth0").unwrap().unwrap();
        assert!(eth0.is_up());
        assert_eq!(kernel.link(eth0.index).unwrap(), Some(eth0.clone()));
        assert_eq!(kernel.link_named("eth7").unwrap(), None);
        assert_eq!(kernel.link_named("a name that is longer than any can be").unwrap(), None);
        assert_eq!(kernel.link(4_000_000_000).unwrap(), None);

        let to = |octets: [u8; 4]| Ipv4Addr::from(octets);
        let route = kernel.lookup(to([8, 8, 8, 8]), None, None).unwrap().unwrap();
        assert_eq!((route.table, route.source), (254, Some(to([192, 168, 1, 11]))));
        assert_eq!(route.hops[0].gateway, Some(to([192, 168, 1, 1])));
        let route = kernel.lookup(to([192, 168, 1, 1]), Some(eth0.index), Some(to([192, 168, 1, 11]))).unwrap();
        assert_eq!(route.unwrap().hops[0].interface, eth0.index);
        assert_eq!(
            kernel.lookup(to([192, 168, 1, 1]), None, Some(to([10, 9, 9, 9]))).unwrap(),
            None,
            "not our address"
        );
        assert_eq!(kernel.lookup(to([192, 168, 1, 1]), Some(77), None).unwrap(), None, "no such interface");

        let routes = kernel.routes(|route| route.prefix == 0).unwrap();
        assert_eq!(routes.len(), 1, "{routes:?}");
    });
}

/// How many things were found.
fn read_all(bytes: &[u8]) -> usize {
    let mut count = 0;
    for message in Messages::new(bytes) {
        count += 1 + Attributes::new(message.body).count();
        let _ = Link::read(message.body);
        count += Route::read(message.body).map_or(0, |route| route.hops.len());
    }
    let _ = matters(bytes);
    for sequence in 1..=3 {
        let mut was_interrupted = false;
        let _ = read(bytes, sequence, &mut was_interrupted, |_| {});
    }
    count
}

fn routes_in(bytes: &[u8], sequence: u32) -> (Option<Outcome>, Vec<Route>) {
    let (mut routes, mut was_interrupted) = (Vec::new(), false);
    let outcome = read(bytes, sequence, &mut was_interrupted, |message| routes.extend(Route::read(message.body)));
    (outcome, routes)
}

/// Of the main table.
fn route_to_everything(attributes: &[Vec<u8>]) -> Vec<u8> {
    [vec![2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0], attributes.concat()].concat()
}

fn answer(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = request(kind, flags, sequence, body);
    bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
    bytes
}

/// A socket with a port of its own.
fn bound() -> (OwnedFd, SocketAddrNetlink) {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None).unwrap();
    bind(&socket, &SocketAddrNetlink::new(0, 0)).unwrap();
    let address = SocketAddrNetlink::try_from(getsockname(&socket).unwrap()).unwrap();
    (socket, address)
}
