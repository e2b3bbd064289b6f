//! A lab: clients, a router and the internet in network namespaces, with the real `miniupnpd` and the kernel's own NAT.
//!
//! ```text
//!   client 1  192.168.1.11 ─┐            ┌──────────────────────┐
//!   client 2  192.168.1.12 ─┼─ bridge ── lan0  router  wan0 ──────── internet 11.22.33.1
//!   …                       ┘  192.168.1.1          11.22.33.44
//! ```
//!
//! The internet side has no route to the LAN, so what reaches a client came through a mapping. The external address looks
//! public because gateways refuse to map on one that does not; no packet leaves the namespaces.
//!
//! Each [`Lab`] has namespaces of its own, so tests run side by side with the same addresses. Dropping it removes the
//! namespaces, every process in them and its temporary directory. It takes root, `ip`, `nft` and `miniupnpd`; where these are missing a test
//! is skipped, or fails if the environment sets `NATPMP_REQUIRE_LAB=1`:
//!
//! ```no_run
//! use natpmp_lab::{Lab, Protocol, echo};
//!
//! let Some(lab) = Lab::or_skip() else { return };
//! let _gateway = lab.miniupnpd().start();
//! let _echo = echo(lab.client(), Protocol::Udp, 4000);
//! // … map UDP 4000 …
//! assert!(lab.internet().reaches(Protocol::Udp, (lab.external_address(), 4000)));
//! ```

#![cfg(target_os = "linux")]

mod forger;
mod host;
mod miniupnpd;
mod namespaces;
mod outage;
mod process;
mod router;
mod traffic;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

pub use forger::{Storm, forge_port_unreachable, storm};
pub use host::{Host, Unavailable};
pub use miniupnpd::{Daemon, Miniupnpd};
pub use outage::{Meter, Probe, back_within, wait_until};
pub use process::{Finished, Running};
pub use router::{GATEWAY, RequestCounts, Router};
/// A JSON value, as the command prints them.
pub use serde_json::Value;
pub use traffic::{Echo, Protocol, echo, echo_at, who_answers};

use namespaces::Namespaces;

/// The clients, the router and the internet of one test.
#[derive(Debug)]
pub struct Lab {
    clients: Vec<Host>,
    router: Router,
    internet: Host,
    directory: PathBuf,
    // Last: what is dropped last takes everything with it.
    _namespaces: Namespaces,
}

impl Lab {
    /// A lab with one client, or `None` after saying on standard output why there cannot be one here.
    ///
    /// # Panics
    /// With `NATPMP_REQUIRE_LAB=1` in the environment, if there cannot be one.
    #[must_use]
    pub fn or_skip() -> Option<Self> {
        Self::or_skip_with(1, &[])
    }

    /// The same with several clients, and for a test that also runs `programs`.
    ///
    /// # Panics
    /// As [`Lab::or_skip`].
    #[must_use]
    pub fn or_skip_with(clients: u8, programs: &[&str]) -> Option<Self> {
        Self::if_available(host::find_all(programs).and_then(|()| Self::new(clients)))
    }

    /// Two labs of one client each, as [`Lab::or_skip`] makes them: the second one's network is 192.168.2.0/24, and its external
    /// address 11.99.0.7. See [`Lab::connect`].
    ///
    /// # Panics
    /// As [`Lab::or_skip`].
    #[must_use]
    pub fn two_or_skip() -> Option<(Self, Self)> {
        let (first, second) = (Self::or_skip()?, Self::if_available(Self::on_network(2, 1))?);
        second.router().change_external_address(Ipv4Addr::new(11, 99, 0, 7));
        Some((first, second))
    }

    fn if_available(lab: Result<Self, Unavailable>) -> Option<Self> {
        let required = std::env::var("NATPMP_REQUIRE_LAB").is_ok_and(|value| value == "1");
        match lab {
            Ok(lab) => Some(lab),
            Err(reason) if required => panic!("the lab is required, and unavailable: {reason}"),
            Err(reason) => {
                // Not `println!`, which the test harness swallows: a test that did not run must not look like one that passed.
                let _ = writeln!(std::io::stdout(), "skipped: {reason}");
                None
            }
        }
    }

    /// A lab with `clients` clients (200 at most).
    ///
    /// # Errors
    /// [`Unavailable`], with the reason, on a machine that cannot have one.
    pub fn new(clients: u8) -> Result<Self, Unavailable> {
        Self::on_network(1, clients)
    }

    fn on_network(network: u8, clients: u8) -> Result<Self, Unavailable> {
        assert!((1..=200).contains(&clients), "1 to 200 clients");
        host::check_system()?;
        let namespaces = Namespaces::new()?;
        let (clients, router, internet) = namespaces.build(network, clients)?;
        let directory = namespaces.directory().to_owned();
        Ok(Self { clients, router, internet, directory, _namespaces: namespaces })
    }

    /// The first client.
    #[must_use]
    pub fn client(&self) -> &Host {
        &self.clients[0]
    }

    /// All clients.
    #[must_use]
    pub fn clients(&self) -> &[Host] {
        &self.clients
    }

    /// The router between the clients and the internet.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// A host on the internet.
    #[must_use]
    pub fn internet(&self) -> &Host {
        &self.internet
    }

    /// The router's external address as it is now.
    #[must_use]
    pub fn external_address(&self) -> Ipv4Addr {
        self.router.external_address()
    }

    /// Whether this port of the external address leads from the internet to an [`echo`] on the first client.
    #[must_use]
    pub fn leads_to_client(&self, protocol: Protocol, port: u16) -> bool {
        self.internet().who_answers(protocol, (self.external_address(), port)) == Some(self.client().address())
    }

    /// A `miniupnpd` for the router, to be configured and started.
    #[must_use]
    pub fn miniupnpd(&self) -> Miniupnpd {
        Miniupnpd::new(self.router.host().clone(), &self.directory)
    }

    /// A directory for the test's files, removed with the lab.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives the first client an interface into the LAN of `other`, which may be this lab, with this address there: a second uplink, or a
    /// VPN. Routes are for the test to add. One that was taken away and is made anew has another index.
    ///
    /// # Panics
    /// If `ip` refuses.
    pub fn connect(&self, other: &Self, interface: &str, address: Ipv4Addr) {
        let (client, router) = (self.client(), other.router().host());
        let end = format!("{interface}-end");
        client.ip(&["link", "add", interface, "type", "veth", "peer", "name", &end, "netns", router.namespace()]);
        router.ip(&["link", "set", &end, "master", "lan0", "up"]);
        client.ip(&["address", "add", &format!("{address}/24"), "dev", interface]);
        client.ip(&["link", "set", interface, "up"]);
    }

    /// Takes an interface away from the first client, with its addresses and routes.
    ///
    /// # Panics
    /// If `ip` refuses.
    pub fn disconnect(&self, interface: &str) {
        self.client().ip(&["link", "delete", interface]);
    }
}
