//! What client, gateway and NAT are to agree on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::MappingState;
use natpmp_proto::gateway::Mapping;
use natpmp_proto::{Instant, Protocol};

use super::network::Net;

/// A mapping that is wanted and is not as it should be.
type Trouble = (usize, Protocol, u16, String);

impl<const N: usize> Net<N> {
    /// What `host` keeps is open, and the client, the table and the NAT agree on it; the external port, if so.
    ///
    /// # Errors
    /// Who does not agree.
    pub fn agreed(&self, host: usize, protocol: Protocol, port: u16) -> Result<u16, String> {
        self.agreed_by(&self.table(), host, protocol, port)
    }

    /// All that is kept is open and agreed on within `limit`.
    ///
    /// # Panics
    /// If it is not.
    pub fn converges(&mut self, limit: Duration) {
        let (began, end) = (self.now, self.now + limit);
        loop {
            let trouble = self.trouble();
            if trouble.is_empty() {
                let took = self.now.saturating_since(began);
                self.statistics.peaces += 1;
                self.statistics.longest_peace = self.statistics.longest_peace.max(took);
                return;
            }
            assert!(self.now < end, "not agreed on after {limit:?}, at {:?}: {trouble:?}", self.now);
            self.run_for(Duration::from_millis(500));
        }
    }

    /// After all leases there is nothing open but what is kept.
    ///
    /// # Panics
    /// If there is.
    pub fn nothing_else_is_open(&mut self, lease: Duration) {
        self.run_for(lease + Duration::from_secs(30));
        self.converges(Duration::from_secs(300));
        let kept: usize = self.hosts.iter().map(|host| host.wants.len()).sum();
        assert_eq!(self.nat.held.len(), kept, "open, and nobody wants it: {:?}", self.nat.held);
        assert_eq!(self.gateway.len(), kept);
    }

    /// What holds at any time, whatever happens.
    ///
    /// # Panics
    /// If it does not.
    pub fn holds(&self, most_for_one: usize) {
        let mut shares: BTreeMap<Ipv4Addr, usize> = BTreeMap::new();
        let listed: BTreeSet<_> = self.table().into_keys().map(|(protocol, _, port)| (protocol, port)).collect();
        for open in self.gateway.mappings() {
            let mapping = open.mapping;
            let held = self.nat.held.get(&(mapping.protocol, mapping.external_port));
            assert_eq!(held, Some(&mapping.internal), "said to be open, but the NAT has it not");
            *shares.entry(*mapping.internal.ip()).or_default() += 1;
        }
        assert!(shares.values().all(|&share| share <= most_for_one), "G23: more than its share: {shares:?}");
        // What the NAT has and the gateway does not list is on its way in or out.
        let unlisted = self.nat.held.keys().filter(|id| !listed.contains(*id)).count();
        assert!(listed.len() + unlisted <= self.gateway.len(), "the NAT has what the gateway forgot");
    }

    fn trouble(&self) -> Vec<Trouble> {
        let table = self.table();
        let awake = self.hosts.iter().enumerate().filter(|(_, host)| !host.is_asleep);
        let wanted =
            awake.flat_map(|(number, host)| host.wants.keys().map(move |&(protocol, port)| (number, protocol, port)));
        wanted
            .filter_map(|(host, protocol, port)| {
                self.agreed_by(&table, host, protocol, port).err().map(|why| (host, protocol, port, why))
            })
            .collect()
    }

    fn agreed_by(&self, table: &Table, number: usize, protocol: Protocol, port: u16) -> Result<u16, String> {
        let host = &self.hosts[number];
        let status = host.client.mapping(protocol, port);
        let Some(MappingState::Open { mapping, expires, .. }) = status.map(|status| status.state) else {
            return Err(format!("the client has it as {status:?}"));
        };
        let internal = SocketAddrV4::new(*host.address.ip(), port);
        let Some(ends) = table.get(&(protocol, internal, mapping.external_port)) else {
            return Err(format!("the gateway has no {mapping:?}"));
        };
        if self.nat.held.get(&(protocol, mapping.external_port)) != Some(&internal) {
            return Err(format!("the NAT has no {mapping:?}"));
        }
        // An answer is on its way for a second at most: by so much the client may believe it longer.
        let believed = host.moment(expires);
        match *ends {
            Some(end) if end + Duration::from_secs(1) < believed => Err(format!("cut short: {end:?}, {believed:?}")),
            _ => Ok(mapping.external_port),
        }
    }

    fn table(&self) -> Table {
        let id = |open: &Mapping| (open.mapping.protocol, open.mapping.internal, open.mapping.external_port);
        self.gateway.mappings().map(|open| (id(&open), open.expires)).collect()
    }
}

/// What the gateway has, and until when.
type Table = BTreeMap<(Protocol, SocketAddrV4, u16), Option<Instant>>;
