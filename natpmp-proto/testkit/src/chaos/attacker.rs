//! A hostile host on the link, which can send from any address.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::Protocol;
use natpmp_proto::wire::Request;

use super::endpoints::GATEWAY;
use super::network::{Happening, Net};
use crate::gateway::Gateway as FieldGateway;

impl<const N: usize> Net<N> {
    /// It sends one datagram: to the gateway as somebody, or to a client as the gateway or somebody else.
    pub(super) fn forge(&mut self) {
        self.statistics.forged += 1;
        let victim = self.random.below(self.hosts.len() as u64) as usize;
        match self.random.below(10) {
            0..=3 => self.forge_request(victim),
            4..=6 => self.forge_answer(victim),
            7 => self.forge_announcement(victim),
            8 => self.put(self.now, Happening::Unreachable(victim)),
            _ => {
                let (from, bytes) = (self.sender(victim), self.noise());
                match self.random.below(3) {
                    0 => self.put(self.now, Happening::Request(from, bytes)),
                    1 => self.put(self.now, Happening::Answer(victim, GATEWAY, bytes)),
                    _ => self.put(self.now, Happening::Announcement(victim, GATEWAY, bytes)),
                }
            }
        }
    }

    fn forge_request(&mut self, victim: usize) {
        let protocol = Protocol::ALL[self.random.below(2) as usize];
        let internal_port = 4_000 + self.random.below(6) as u16;
        let request = match self.random.below(8) {
            0 => Request::ExternalAddress,
            1 => Request::delete(protocol, 0),
            2 | 3 => Request::delete(protocol, internal_port),
            _ => Request::Map {
                protocol,
                internal_port: if self.random.chance(50) { internal_port } else { self.random.bits() as u16 },
                suggested_external_port: self.random.bits() as u16,
                lifetime: self.random.bits() as u32 >> self.random.below(32),
            },
        };
        let from = self.sender(victim);
        self.put(self.now, Happening::Request(from, request.encode().to_vec()));
    }

    /// Something that its client may wait for.
    fn forge_answer(&mut self, victim: usize) {
        let ports: Vec<u16> = self.hosts[victim].wants.keys().map(|(_, port)| *port).collect();
        let port = ports.get(self.random.below(ports.len() as u64) as usize).copied().unwrap_or(4_000);
        let mut bytes = vec![0, 128 + self.random.below(3) as u8, 0];
        bytes.push(if self.random.chance(70) { 0 } else { self.random.below(7) as u8 });
        bytes.extend(self.forged_epoch().to_be_bytes());
        bytes.extend(port.to_be_bytes());
        bytes.extend(if self.random.chance(20) { 0 } else { self.random.bits() as u16 }.to_be_bytes());
        let lifetime = if self.random.chance(20) { 0 } else { self.random.bits() as u32 >> self.random.below(32) };
        bytes.extend(lifetime.to_be_bytes());
        let from = match self.random.below(4) {
            0 => self.sender(victim),
            1 => SocketAddrV4::new(*GATEWAY.ip(), 9),
            _ => GATEWAY,
        };
        self.put(self.now, Happening::Answer(victim, from, bytes));
    }

    /// To one host, or to all as by multicast.
    fn forge_announcement(&mut self, victim: usize) {
        let mut bytes = vec![0, 128, 0, 0];
        bytes.extend(self.forged_epoch().to_be_bytes());
        bytes.extend([11, 6, 6, 6]);
        if self.random.chance(40) {
            bytes = FieldGateway::PCP_ANNOUNCE.to_vec();
        }
        let from = if self.random.chance(20) { self.sender(victim) } else { GATEWAY };
        let hosts = if self.random.chance(50) { 0..self.hosts.len() } else { victim..victim + 1 };
        for host in hosts {
            self.put(self.now, Happening::Announcement(host, from, bytes.clone()));
        }
    }

    /// Its own address, that of the victim, or one where nobody is.
    fn sender(&mut self, victim: usize) -> SocketAddrV4 {
        match self.random.below(4) {
            0 => SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 66), 5_351),
            1 => SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, self.random.bits() as u8), self.random.bits() as u16),
            _ => self.hosts[victim].address,
        }
    }

    /// The true one, or any.
    fn forged_epoch(&mut self) -> u32 {
        if self.random.chance(50) { self.gateway.epoch(self.now) } else { self.random.bits() as u32 }
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.random.below(64);
        (0..length).map(|_| self.random.bits() as u8).collect()
    }
}
