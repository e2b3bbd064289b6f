//! Interfaces of the first client that come and go.

use std::net::Ipv4Addr;

use super::Lab;

impl Lab {
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
