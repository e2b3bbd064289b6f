//! What the NAT is asked, and what is answered when it is done.

use std::net::SocketAddrV4;

use natpmp_proto::Protocol;
use natpmp_proto::gateway::{NatFailure, NatMapping, NatRequest};

use super::machine::Run;
use super::row::{Asked, Asker, Awaited, Key, Row};
use super::{is_allowed, secs, socket};

/// An answer, and to whom.
pub(super) type Sent = (Asker, Vec<u8>);

impl Run {
    pub(super) fn ask_nat(&mut self) {
        for _ in 0..1_000 {
            let Some(request) = self.gateway.poll_nat() else {
                self.rows.iter().for_each(|(key, row)| assert!(!row.is_queued || row.asked.is_some(), "{key:?} waits"));
                return;
            };
            self.take_nat_request(request);
        }
        panic!("the NAT is asked without end");
    }

    pub(super) fn take_nat_request(&mut self, request: NatRequest) {
        let mapping = *request.mapping();
        let key = (*mapping.internal.ip(), mapping.protocol, mapping.internal.port());
        let is_install = matches!(request, NatRequest::Install(_));
        let row = self.rows.get(&key).unwrap_or_else(|| panic!("nobody asked for {request:?}"));
        assert_eq!(row.asked, None, "asked twice at once: {request:?}");
        match row.external {
            Some(port) => assert_eq!(port, mapping.external_port, "the port of a mapping does not change"),
            None => self.is_port_right(&key, row, mapping.external_port),
        }
        if !is_install {
            assert!(row.is_held, "the NAT is to remove what it does not have");
            // G16
            let has_ended = row.lease.is_some_and(|(since, lease)| self.now >= since + secs(lease));
            let is_on_its_way_out = !row.is_wanted || row.awaiting.is_some();
            assert!(is_on_its_way_out || has_ended && !row.is_static, "{key:?} is cut short");
        }
        let address = self.addresses;
        let row = self.rows.get_mut(&key).unwrap();
        if !is_install && row.awaiting.is_none_or(|(_, awaited)| awaited != Awaited::Mapping) {
            row.is_wanted = false;
        }
        row.external = Some(mapping.external_port);
        row.asked = Some(Asked { is_install, address });
        row.is_queued = false;
        self.due.push(request);
    }

    /// G09, G10
    pub(super) fn is_port_right(&self, key: &Key, row: &Row, port: u16) {
        assert!(is_allowed(port), "{port} is not for clients");
        assert!(self.is_free(port, key), "{port} is taken or reserved");
        assert!(row.must_be.is_none_or(|wished| wished == port), "{port} where {:?} was free", row.must_be);
    }

    /// The NAT has done or not done one of the things it was asked.
    pub(super) fn outcome(&mut self, number: usize, outcome: Result<(), NatFailure>) {
        if self.due.is_empty() {
            return;
        }
        let request = self.due.remove(number % self.due.len());
        self.gateway.handle_nat(self.now, &request, outcome);
        let mapping = request.mapping();
        let key = (*mapping.internal.ip(), mapping.protocol, mapping.internal.port());
        let allowed = self.judge_outcome(&key, outcome);
        let allowed = if self.is_on { allowed } else { vec![None] };
        let said = self.answered(&[]);
        assert!(allowed.contains(&said), "{request:?} is {outcome:?}: said {said:?}, allowed {allowed:?}");
        if self.is_eager {
            self.ask_nat();
        }
    }

    /// What may be answered after an outcome.
    pub(super) fn judge_outcome(&mut self, key: &Key, outcome: Result<(), NatFailure>) -> Vec<Option<Sent>> {
        let mut row = self.rows.remove(key).expect("it was asked about");
        let asked = row.asked.take().expect("it was asked about");
        match (asked.is_install, outcome) {
            (true, Ok(())) => {
                let was_held = core::mem::replace(&mut row.is_held, true);
                row.made_for = asked.address;
                if !row.is_wanted {
                    row.is_queued = true;
                    self.rows.insert(*key, row);
                    return vec![None];
                }
                if asked.address != self.addresses {
                    // It is to be brought up to date first. Its client waits, or goes on with what it has.
                    row.is_queued = true;
                    row.is_held = was_held;
                    self.rows.insert(*key, row);
                    return vec![None];
                }
                let answer = self.open(key, &mut row, was_held);
                self.rows.insert(*key, row);
                vec![answer]
            }
            (true, Err(failure)) => {
                let code = if failure == NatFailure::Network { 3 } else { 4 };
                match row.awaiting {
                    Some((to, Awaited::Mapping)) => {
                        let refusal = Some((to, self.refusal(key, code)));
                        if row.is_wanted { vec![refusal] } else { vec![None, refusal] }
                    }
                    Some((to, Awaited::Deletion)) => vec![Some((to, self.deletion(key)))],
                    // Nobody can have an answer about a static one that never was.
                    None if row.is_wanted && row.is_static && !row.is_held => vec![None],
                    None if row.is_wanted => {
                        // G06, G19: its client is not there to be answered.
                        self.epoch = (self.now, 0);
                        self.begin_row();
                        vec![None]
                    }
                    None => vec![self.settle_deletion_of_all(key, false)],
                }
            }
            (false, Ok(())) => {
                row.is_held = false;
                if row.is_wanted {
                    row.is_queued = true;
                    self.rows.insert(*key, row);
                    return vec![None];
                }
                match row.awaiting {
                    Some((to, Awaited::Deletion)) => vec![Some((to, self.deletion(key)))],
                    Some((_, Awaited::Mapping)) => vec![None],
                    None => vec![self.settle_deletion_of_all(key, false)],
                }
            }
            (false, Err(_)) => {
                if row.is_wanted {
                    // It stands, but may have been made for another address: it is brought up to date.
                    row.is_queued = true;
                    self.rows.insert(*key, row);
                    return vec![None];
                }
                let answer = match row.awaiting.take() {
                    Some((to, Awaited::Deletion)) => Some((to, self.refusal(key, 3))),
                    Some((_, Awaited::Mapping)) => None,
                    None => self.settle_deletion_of_all(key, true),
                };
                row.lease = None;
                self.rows.insert(*key, row);
                vec![answer]
            }
        }
    }

    /// It is open as its client wants it.
    pub(super) fn open(&self, key: &Key, row: &mut Row, was_held: bool) -> Option<Sent> {
        let awaiting = row.awaiting.take();
        if !row.is_static && (awaiting.is_some() || !was_held) {
            row.lease = Some((self.now, row.lifetime));
        }
        let (to, awaited) = awaiting?;
        assert_eq!(awaited, Awaited::Mapping);
        Some((to, self.grant(key, row.external.unwrap(), row.lifetime)))
    }

    pub(super) fn settle_deletion_of_all(&mut self, key: &Key, has_failed: bool) -> Option<Sent> {
        let id = (key.0, key.1);
        let all = self.deletions.get_mut(&id)?;
        if !all.left.remove(key) {
            return None;
        }
        all.has_failed |= has_failed;
        if !all.left.is_empty() {
            return None;
        }
        let all = self.deletions.remove(&id)?;
        Some((all.to, self.deletion_of_all(key.1, &all)))
    }

    /// It is wanted again: it has had its part.
    pub(super) fn take_from_deletion_of_all(&mut self, key: &Key) {
        let _ = self.settle_deletion_of_all(key, false);
    }

    pub(super) fn bogus(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16, is_ok: bool) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let mapping = NatMapping { protocol, internal, external_port };
        for request in [NatRequest::Install(mapping), NatRequest::Remove(mapping)] {
            if !self.due.contains(&request) {
                let outcome = if is_ok { Ok(()) } else { Err(NatFailure::Network) };
                self.gateway.handle_nat(self.now, &request, outcome);
                assert_eq!(self.answered(&[]), None);
            }
        }
    }
}
