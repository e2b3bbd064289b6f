//! What the machine says at once to a datagram.

use std::collections::BTreeSet;

use natpmp_proto::wire::Request;
use natpmp_proto::{Discard, Protocol, SocketId};

use super::answers::Said;
use super::machine::Run;
use super::row::{All, Asker, Awaited, Key, Row};
use super::{CAPACITY, HIGH, LIMIT, LONGEST, LOW, is_allowed, secs, socket};

impl Run {
    pub(super) fn ask(&mut self, client: u8, request: &Request) {
        self.bytes(client, &request.encode());
    }

    /// A datagram, whatever it is.
    pub(super) fn bytes(&mut self, client: u8, bytes: &[u8]) {
        // Two programs of each client ask in turns, so that repetitions come from elsewhere.
        self.datagrams += 1;
        let from = std::net::SocketAddrV4::new(*socket(client).ip(), socket(client).port() + self.datagrams % 2);
        // By ever other sockets as well.
        let from = Asker { address: from, socket: SocketId(self.datagrams % 3) };
        let said = match self.gateway.handle_datagram(self.now, from.socket, from.address, bytes) {
            Ok(()) => match self.answered(bytes) {
                Some((to, answer)) => {
                    assert_eq!(to, from, "an answer goes back the way its request came");
                    Said::Answer(answer)
                }
                None => Said::AfterNat,
            },
            Err(discard) => Said::Nothing(discard),
        };
        self.judge(from, bytes, said);
        if self.is_eager {
            self.ask_nat();
        }
    }

    /// What the machine said at once to a datagram, against sections 3.2 to 3.5.
    pub(super) fn judge(&mut self, from: Asker, bytes: &[u8], said: Said) {
        let epoch = self.epoch().to_be_bytes();
        if !self.is_on {
            return assert_eq!(said, Said::Nothing(Discard::SwitchedOff), "G20");
        }
        match *bytes {
            [] | [_] | [_, 128..=255, ..] => said.is_silence(),
            [1..=255, _, ..] => said.is(&[&[0, 128, 0, 1], &epoch[..]].concat()),
            [0, 0, ..] => match self.address {
                Some(address) => said.is(&[&[0, 128, 0, 0], &epoch[..], &address.octets()[..]].concat()),
                None => said.is(&[&[0, 128, 0, 3], &epoch[..], &[0; 4][..]].concat()),
            },
            [0, opcode @ (1 | 2), _, _, a, b, c, d, e, f, g, h, ..] => {
                let protocol = if opcode == 1 { Protocol::Udp } else { Protocol::Tcp };
                let [internal, external] = [[a, b], [c, d]].map(u16::from_be_bytes);
                let key = (*from.ip(), protocol, internal);
                match (internal, external, u32::from_be_bytes([e, f, g, h])) {
                    (0, 0, 0) => self.judge_deletion_of_all(from, protocol, &said),
                    (0, ..) => self.is_refusal(&said, &key, 2),
                    (_, _, 0) => self.judge_deletion(from, &key, &said),
                    (_, _, lifetime) => self.judge_mapping(from, &key, external, lifetime, &said),
                }
            }
            [0, 1 | 2, ..] => said.is_silence(),
            [0, opcode, _, _, ref rest @ ..] => said.is(&[&[0, opcode | 128, 0, 5], rest].concat()),
            _ => said.is_silence(),
        }
    }

    pub(super) fn judge_mapping(&mut self, from: Asker, key: &Key, suggested: u16, lifetime: u32, said: &Said) {
        if !self.is_allowed {
            return self.is_refusal(said, key, 2);
        }
        if self.address.is_none() {
            return self.is_refusal(said, key, 3);
        }
        let lifetime = lifetime.min(LONGEST);
        let Some(row) = self.rows.get(key).cloned() else {
            return self.judge_new_mapping(from, key, suggested, lifetime, said);
        };
        // G08
        let mut row = Row { is_wanted: true, ..row };
        if *said == Said::AfterNat {
            let may_have_ended = row.lease.is_some_and(|(since, lease)| self.now >= since + secs(lease));
            let is_quiet = row.is_held && row.asked.is_none() && !row.is_queued && self.rows[key].is_wanted;
            assert!(!is_quiet || may_have_ended, "it is open, and there is nothing to wait for");
            row.awaiting = Some((from, Awaited::Mapping));
            row.lifetime = lifetime;
            if row.is_held && row.asked.is_none() {
                row.is_queued = true;
            }
            self.take_from_deletion_of_all(key);
        } else {
            assert!(row.is_held && row.asked.is_none(), "granted before the NAT has it");
            assert!(row.awaiting.is_none());
            said.is(&self.grant(key, row.external.expect("it is open"), lifetime));
            if !row.is_static {
                row.lease = Some((self.now, lifetime));
            }
        }
        self.rows.insert(*key, row);
    }

    pub(super) fn judge_new_mapping(&mut self, from: Asker, key: &Key, suggested: u16, lifetime: u32, said: &Said) {
        let free: Vec<u16> = (LOW..=HIGH).filter(|&port| is_allowed(port) && self.is_free(port, key)).collect();
        let all_known = self.rows.values().all(|row| row.external.is_some());
        let mine = self.rows.keys().filter(|(client, ..)| *client == key.0).count();
        let has_room = self.rows.len() < CAPACITY && mine < LIMIT;
        if *said == Said::AfterNat {
            assert!(has_room, "G23: beyond the table or the client's limit");
            assert!(!free.is_empty(), "G10: no port is free");
            let must_be = (all_known && free.contains(&suggested)).then_some(suggested);
            let awaiting = Some((from, Awaited::Mapping));
            self.rows.insert(*key, Row { must_be, awaiting, is_queued: true, ..Row::new(lifetime) });
        } else {
            assert!(!has_room || free.is_empty() || !all_known, "G10: there is a free port, and room");
            self.is_refusal(said, key, 4);
        }
    }

    pub(super) fn judge_deletion(&mut self, from: Asker, key: &Key, said: &Said) {
        let Some(row) = self.rows.get_mut(key) else {
            return said.is(&self.deletion(key)); // G13
        };
        if row.is_static {
            return self.is_refusal(said, key, 2); // G15
        }
        assert_eq!(*said, Said::AfterNat, "G13: success before the NAT has removed it");
        let is_part_of_all = self.deletions.values().any(|all| all.left.contains(key));
        row.awaiting = (!is_part_of_all).then_some((from, Awaited::Deletion));
        row.mark_for_removal();
    }

    pub(super) fn judge_deletion_of_all(&mut self, from: Asker, protocol: Protocol, said: &Said) {
        let (client, id) = (*from.ip(), (*from.ip(), protocol));
        if *said == Said::Nothing(Discard::Busy) {
            return assert!(self.deletions.len() >= 8 && !self.deletions.contains_key(&id), "it is not busy");
        }
        let before = self.deletions.remove(&id);
        let (mut left, has_failed) = before.map_or((BTreeSet::new(), false), |all| (all.left, all.has_failed));
        let mut has_static = false;
        for (key, row) in self.rows.iter_mut().filter(|(key, _)| (key.0, key.1) == (client, protocol)) {
            if row.is_static {
                has_static = true;
            } else {
                left.insert(*key);
                row.awaiting = None;
                row.mark_for_removal();
            }
        }
        let all = All { to: from, left, has_static, has_failed };
        if all.left.is_empty() {
            let answer = self.deletion_of_all(protocol, &all);
            return said.is(&answer);
        }
        assert_eq!(*said, Said::AfterNat, "G14: success before the NAT has removed them");
        self.deletions.insert(id, all);
    }
}
