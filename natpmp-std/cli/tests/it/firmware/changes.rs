//! The client's firmware while DHCP says one thing, then another, then nothing.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_lab::{Protocol, back_within, wait_until};
use natpmp_proto::Protocol as Mapped;
use natpmp_testkit::gateway::{Gateway, Served};

use super::SOON;
use super::client::{offer, open, said};
use super::dhcp::Dhcp;
use super::machine::{Firmware, replace};

#[test]
fn firmware_moves_its_port_to_the_router_that_dhcp_names() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _gateway = lab.miniupnpd().start();
    replace(lab.client());
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 3), 5351);
    lab.router().host().ip(&["address", "add", "192.168.1.3/24", "dev", "lan0"]);
    let served = lab.router().host().within(|| Served::start_at(Gateway::new(), other));

    let dhcp = Dhcp::start(lab.router().host(), offer(&lab, 4));
    let mut board = firmware.boot("client-dhcp", lab.client());
    open(&lab, &mut board);
    assert!(served.with(|gateway, now| gateway.lease(now, Mapped::Udp, 4000)).is_none());

    dhcp.change(|offer| offer.router = *other.ip());
    board.line(SOON, said("gateway: 192.168.1.3:5351"));
    board.line(SOON, said("lost: udp 4000: GatewayChanged"));
    board.line(SOON, said("mapped: udp 4000"));
    assert!(served.with(|gateway, now| gateway.lease(now, Mapped::Udp, 4000)).is_some());
}

/// A lease that is not renewed takes the address with it: nothing is asked then, and everything when there is one again.
#[test]
fn firmware_without_an_address_waits_for_one_and_renews() {
    let Some((firmware, lab)) = Firmware::with_lab_or_skip(&[]) else { return };
    let _gateway = lab.miniupnpd().start();
    replace(lab.client());
    let dhcp = Dhcp::start(lab.router().host(), offer(&lab, 4));
    let mut board = firmware.boot("client-dhcp", lab.client());
    open(&lab, &mut board);

    dhcp.change(|offer| offer.is_silent = true);
    board.line(SOON, said("address: none"));
    board.line(SOON, said("failed: udp 4000: the network is down"));
    assert!(!lab.leads_to_client(Protocol::Udp, 4000));
    lab.router().forget_mappings();
    let mend = || dhcp.change(|offer| offer.is_silent = false);
    let is_back = || lab.leads_to_client(Protocol::Udp, 4000);
    back_within(SOON, "firmware, a DHCP server that was gone", mend, is_back);
    assert!(wait_until(SOON, || lab.router().mappings().len() == 1));
}
