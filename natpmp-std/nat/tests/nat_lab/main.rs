//! The kernel's NAT in the lab: clients, a router and the internet in network namespaces, with real packets through the
//! mappings.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a
//! failure.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![cfg(test)]
#![allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed")]

mod changed;
mod ending;
mod listing;
mod many;
mod passing;
mod restarting;
mod taken;
mod traffic;

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use natpmp_lab::{Host, Lab};
use natpmp_nat::{Nat, Nftables};
use natpmp_proto::Protocol;
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

/// A lab whose router has the NAT.
struct RouterLab {
    // Before the lab: it cleans up there.
    nat: Option<Nftables>,
    lab: Lab,
}

impl RouterLab {
    fn or_skip(clients: u8) -> Option<Self> {
        let lab = Lab::or_skip_with(clients, &["nft"])?;
        // What every box with a closed filter must bring.
        lab.router().nft("insert rule inet filter forward ct status dnat accept");
        let mut router_lab = Self { nat: None, lab };
        router_lab.start();
        let address = router_lab.lab.external_address();
        router_lab.set_external_address(Some(address));
        Some(router_lab)
    }

    /// A process on the router, as after a boot or a crash: without an external address.
    fn start(&mut self) {
        assert!(self.nat.is_none());
        self.nat = Some(self.router().within(|| Nftables::start(Some("wan0"), &["lan0"]).unwrap()));
    }

    /// What a process does that has no time for it.
    fn crash(&mut self) {
        self.nat.take().unwrap().detach();
    }

    fn end(&mut self) {
        let nat = self.nat.take();
        self.router().within(move || drop(nat));
    }

    fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
        self.within(|nat| nat.set_external_address(address));
    }

    /// As a server does: it settles when the results are handed on. What is to end has ended afterwards.
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let results = self.apply_only(requests);
        self.within(Nat::settle);
        std::thread::sleep(FLOWS_END_WITHIN);
        results
    }

    fn apply_only(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        self.within(|nat| nat.apply(requests))
    }

    /// The address that leads to this port of this client from now on.
    fn install(&mut self, mapping: NatMapping) -> SocketAddrV4 {
        assert_eq!(self.apply(&[NatRequest::Install(mapping)]), [Ok(())]);
        SocketAddrV4::new(self.lab.external_address(), mapping.external_port)
    }

    fn remove(&mut self, mapping: NatMapping) {
        assert_eq!(self.apply(&[NatRequest::Remove(mapping)]), [Ok(())]);
    }

    /// The mapping of a client's port.
    fn mapping(&self, client: usize, protocol: Protocol, port: u16, external_port: u16) -> NatMapping {
        let internal = SocketAddrV4::new(self.lab.clients()[client].address(), port);
        NatMapping { protocol, internal, external_port }
    }

    fn router(&self) -> &Host {
        self.lab.router().host()
    }

    fn internet(&self) -> &Host {
        self.lab.internet()
    }

    fn client(&self, number: usize) -> &Host {
        &self.lab.clients()[number]
    }

    /// What `nft ARGUMENTS` says on the router.
    fn nft(&self, arguments: &[&str]) -> String {
        let output = self.router().command("nft").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// How many flows the kernel could not enter, and dropped.
    fn failed_insertions(&self) -> u64 {
        let table = self.router().within(|| std::fs::read_to_string("/proc/net/stat/nf_conntrack").unwrap());
        let mut lines = table.lines();
        let column = lines.next().unwrap().split_whitespace().position(|name| name == "insert_failed").unwrap();
        lines.map(|line| u64::from_str_radix(line.split_whitespace().nth(column).unwrap(), 16).unwrap()).sum()
    }

    fn within<T: Send>(&mut self, work: impl FnOnce(&mut Nftables) -> T + Send) -> T {
        let nat = self.nat.as_mut().expect("it runs");
        self.lab.router().host().within(move || work(nat))
    }
}

impl Drop for RouterLab {
    fn drop(&mut self) {
        if self.nat.is_some() {
            self.end();
        }
    }
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    address
}

/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(5);
const FLOWS_END_WITHIN: Duration = Duration::from_millis(100);
