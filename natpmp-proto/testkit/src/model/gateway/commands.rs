//! What the administrator does.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatMapping;

use super::machine::Run;
use super::row::{Key, Row};
use super::{CAPACITY, LONGEST, is_allowed, socket};

impl Run {
    pub(super) fn set_address(&mut self, address: Option<u8>) {
        let address = address.map(|number| Ipv4Addr::new(11, 22, 33, number));
        self.gateway.set_external_address(self.now, address);
        if address.is_some() && address != self.address {
            self.addresses += 1;
            self.begin_row();
            for row in self.rows.values_mut().filter(|row| row.is_held && row.asked.is_none()) {
                row.is_queued = true;
            }
        }
        self.address = address;
        self.after_command();
    }

    pub(super) fn allow(&mut self, is_allowed: bool) {
        self.gateway.allow_mapping(is_allowed);
        self.is_allowed = is_allowed;
    }

    pub(super) fn switch(&mut self, is_on: bool) {
        self.gateway.switch(self.now, is_on);
        if is_on && !self.is_on {
            self.begin_row();
        }
        self.is_on = is_on;
    }

    pub(super) fn clear(&mut self) {
        self.gateway.clear(self.now);
        self.epoch = (self.now, 0);
        self.begin_row();
        self.rows.values_mut().filter(|row| !row.is_static).for_each(Row::mark_for_removal);
        self.after_command();
    }

    pub(super) fn add_static(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let is_added = self.gateway.add_static(&NatMapping { protocol, internal, external_port });
        self.judge_added(&(*internal.ip(), protocol, port), external_port, is_added, true, LONGEST);
    }

    pub(super) fn restore(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16, lifetime: u32) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let is_added = self.gateway.restore(&NatMapping { protocol, internal, external_port }, lifetime);
        let is_possible = lifetime > 0 && is_allowed(external_port);
        assert!(is_possible || !is_added);
        if is_possible {
            self.judge_added(&(*internal.ip(), protocol, port), external_port, is_added, false, lifetime.min(LONGEST));
        }
    }

    pub(super) fn judge_added(&mut self, key: &Key, external: u16, is_added: bool, is_static: bool, lifetime: u32) {
        let all_known = self.rows.values().all(|row| row.external.is_some());
        let is_possible = external != 0
            && key.2 != 0
            && self.rows.len() < CAPACITY
            && !self.rows.contains_key(key)
            && self.is_free(external, key);
        assert!(is_possible || !is_added, "taken, full, or no port");
        assert!(is_added || !is_possible || !all_known, "there is nothing against it");
        if is_added {
            let row = Row { external: Some(external), is_static, is_queued: true, ..Row::new(lifetime) };
            self.rows.insert(*key, row);
        }
        self.after_command();
    }

    pub(super) fn remove(&mut self, client: u8, protocol: Protocol, port: u16) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let key = (*internal.ip(), protocol, port);
        assert_eq!(self.gateway.remove(protocol, internal), self.rows.contains_key(&key));
        if let Some(row) = self.rows.get_mut(&key) {
            row.is_static = false;
            row.mark_for_removal();
        }
        self.after_command();
    }

    pub(super) fn after_command(&mut self) {
        if self.is_eager {
            self.ask_nat();
        }
    }
}
