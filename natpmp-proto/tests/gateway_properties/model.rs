//! A model of a correct gateway, the NAT behind it, and the machine that is compared with both.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::gateway::{
    Discard, Gateway, GatewayConfig, NatFailure, NatMapping, NatRequest, PortRange, Reply, Transmit,
};
use natpmp_proto::wire::{Refusal, Request, Response};
use natpmp_proto::{Instant, Protocol};

/// The external ports that clients may have, but for [`DENIED`].
pub(crate) const LOW: u16 = 4_000;
pub(crate) const HIGH: u16 = 4_011;
const DENIED: [u16; 2] = [4_005, 4_006];
const LIMIT: usize = 4;
const LONGEST: u32 = 600;
const CAPACITY: usize = 12;

/// A client, a protocol and the client's port: what a mapping is known by (section 3.3).
type Key = (Ipv4Addr, Protocol, u16);

/// A moment to go to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// In microseconds.
    AfterNow(u64),
    /// In microseconds, before it if negative.
    AfterDeadline(i64),
}

/// A mapping that is wanted, or still on its way out.
#[derive(Clone, Debug)]
struct Row {
    /// Unknown until the NAT is asked for it.
    external: Option<u16>,
    /// What it must be, if that was clear when it was made.
    must_be: Option<u16>,
    is_wanted: bool,
    is_static: bool,
    /// The NAT has it.
    is_held: bool,
    /// The NAT is being asked.
    asked: Option<Asked>,
    /// The machine has something to ask the NAT about it.
    is_queued: bool,
    /// Who waits for an answer, and for which.
    awaiting: Option<(SocketAddrV4, Awaited)>,
    /// To be granted when the NAT has it, in seconds.
    lifetime: u32,
    /// Since when, and for how many seconds.
    lease: Option<(Instant, u32)>,
    /// Which external address it was installed for.
    made_for: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Asked {
    is_install: bool,
    /// Which external address there was.
    address: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Awaited {
    Mapping,
    Deletion,
}

/// A deletion of all mappings of a client and protocol.
#[derive(Clone, Debug)]
struct All {
    to: SocketAddrV4,
    left: BTreeSet<Key>,
    has_static: bool,
    has_failed: bool,
}

pub(crate) struct Run {
    gateway: Box<Gateway<CAPACITY>>,
    now: Instant,
    rows: BTreeMap<Key, Row>,
    deletions: BTreeMap<(Ipv4Addr, Protocol), All>,
    /// What the NAT was asked and has not answered.
    due: Vec<NatRequest>,
    is_eager: bool,
    is_on: bool,
    is_allowed: bool,
    address: Option<Ipv4Addr>,
    /// Counts the external addresses.
    addresses: u32,
    epoch: (Instant, u32),
    /// How many of the present row, and when the next is due.
    announced: u32,
    announce_at: Instant,
    datagrams: u16,
}

impl Run {
    pub(crate) fn new(seed: u64, is_eager: bool) -> Self {
        let config = GatewayConfig::new()
            .seed(seed)
            .longest_lifetime(LONGEST)
            .per_client(LIMIT as u16)
            .ports(PortRange::new(LOW, HIGH).unwrap())
            .deny(PortRange::new(DENIED[0], DENIED[1]).unwrap())
            .unwrap();
        let mut run = Self {
            gateway: Box::new(Gateway::new(config)),
            now: Instant::from_secs(1_000),
            rows: BTreeMap::new(),
            deletions: BTreeMap::new(),
            due: Vec::new(),
            is_eager,
            is_on: true,
            is_allowed: true,
            address: None,
            addresses: 0,
            epoch: (Instant::from_secs(1_000), 0),
            announced: 0,
            announce_at: Instant::from_secs(1_000),
            datagrams: 0,
        };
        run.gateway.start(run.now, 0);
        run.set_address(Some(0));
        run
    }

    pub(crate) fn ask(&mut self, client: u8, request: &Request) {
        self.bytes(client, &request.encode());
    }

    /// A datagram, whatever it is.
    pub(crate) fn bytes(&mut self, client: u8, bytes: &[u8]) {
        // Two programs of each client ask in turns, so that repetitions come from elsewhere.
        self.datagrams += 1;
        let from = SocketAddrV4::new(*socket(client).ip(), socket(client).port() + self.datagrams % 2);
        let reply = self.gateway.handle_datagram(self.now, from, bytes);
        let answer = match reply {
            Ok(Reply::Now(answer)) => {
                let mut buffer = vec![0; bytes.len().max(16)];
                Said::Answer(answer.write(&mut buffer).expect("16 bytes or the request's size").to_vec())
            }
            Ok(Reply::AfterNat) => Said::AfterNat,
            Err(discard) => Said::Nothing(discard),
        };
        self.judge(from, bytes, answer);
        if self.is_eager {
            self.ask_nat();
        }
    }

    /// What the machine said at once to a datagram, against sections 3.2 to 3.5.
    fn judge(&mut self, from: SocketAddrV4, bytes: &[u8], said: Said) {
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

    fn judge_mapping(&mut self, from: SocketAddrV4, key: &Key, suggested: u16, lifetime: u32, said: &Said) {
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

    fn judge_new_mapping(&mut self, from: SocketAddrV4, key: &Key, suggested: u16, lifetime: u32, said: &Said) {
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

    fn judge_deletion(&mut self, from: SocketAddrV4, key: &Key, said: &Said) {
        let Some(row) = self.rows.get_mut(key) else {
            return said.is(&self.deletion(key)); // G13
        };
        if row.is_static {
            return self.is_refusal(said, key, 2); // G15
        }
        assert_eq!(*said, Said::AfterNat, "G13: success before the NAT has removed it");
        let is_part_of_all = self.deletions.values().any(|all| all.left.contains(key));
        row.awaiting = (!is_part_of_all).then_some((from, Awaited::Deletion));
        row.doom();
    }

    fn judge_deletion_of_all(&mut self, from: SocketAddrV4, protocol: Protocol, said: &Said) {
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
                row.doom();
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

    pub(crate) fn ask_nat(&mut self) {
        for _ in 0..1_000 {
            let Some(request) = self.gateway.poll_nat() else {
                self.rows.iter().for_each(|(key, row)| assert!(!row.is_queued || row.asked.is_some(), "{key:?} waits"));
                return;
            };
            self.take_nat_request(request);
        }
        panic!("the NAT is asked without end");
    }

    fn take_nat_request(&mut self, request: NatRequest) {
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
    fn is_port_right(&self, key: &Key, row: &Row, port: u16) {
        assert!(is_allowed(port), "{port} is not for clients");
        assert!(self.is_free(port, key), "{port} is taken or reserved");
        assert!(row.must_be.is_none_or(|wished| wished == port), "{port} where {:?} was free", row.must_be);
    }

    /// The NAT has done or not done one of the things it was asked.
    pub(crate) fn outcome(&mut self, number: usize, outcome: Result<(), NatFailure>) {
        if self.due.is_empty() {
            return;
        }
        let request = self.due.remove(number % self.due.len());
        let transmit = self.gateway.handle_nat(self.now, &request, outcome);
        let mapping = request.mapping();
        let key = (*mapping.internal.ip(), mapping.protocol, mapping.internal.port());
        let allowed = self.judge_outcome(&key, outcome);
        let allowed = if self.is_on { allowed } else { vec![None] };
        let said = transmit.map(|Transmit { to, payload }| (to, payload.to_vec()));
        assert!(allowed.contains(&said), "{request:?} is {outcome:?}: said {said:?}, allowed {allowed:?}");
        if self.is_eager {
            self.ask_nat();
        }
    }

    /// What may be answered after an outcome.
    fn judge_outcome(&mut self, key: &Key, outcome: Result<(), NatFailure>) -> Vec<Option<Sent>> {
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
                    // Nobody can have been told of a static one that never was.
                    None if row.is_wanted && row.is_static && !row.is_held => vec![None],
                    None if row.is_wanted => {
                        // G06, G19: its client is not there to be told.
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
    fn open(&self, key: &Key, row: &mut Row, was_held: bool) -> Option<Sent> {
        let awaiting = row.awaiting.take();
        if !row.is_static && (awaiting.is_some() || !was_held) {
            row.lease = Some((self.now, row.lifetime));
        }
        let (to, awaited) = awaiting?;
        assert_eq!(awaited, Awaited::Mapping);
        Some((to, self.grant(key, row.external.unwrap(), row.lifetime)))
    }

    fn settle_deletion_of_all(&mut self, key: &Key, has_failed: bool) -> Option<Sent> {
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
    fn take_from_deletion_of_all(&mut self, key: &Key) {
        let _ = self.settle_deletion_of_all(key, false);
    }

    pub(crate) fn bogus(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16, is_ok: bool) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let mapping = NatMapping { protocol, internal, external_port };
        for request in [NatRequest::Install(mapping), NatRequest::Remove(mapping)] {
            if !self.due.contains(&request) {
                let outcome = if is_ok { Ok(()) } else { Err(NatFailure::Network) };
                assert_eq!(self.gateway.handle_nat(self.now, &request, outcome), None);
            }
        }
    }

    pub(crate) fn set_address(&mut self, address: Option<u8>) {
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

    pub(crate) fn allow(&mut self, is_allowed: bool) {
        self.gateway.allow_mapping(is_allowed);
        self.is_allowed = is_allowed;
    }

    pub(crate) fn switch(&mut self, is_on: bool) {
        self.gateway.switch(self.now, is_on);
        if is_on && !self.is_on {
            self.begin_row();
        }
        self.is_on = is_on;
    }

    pub(crate) fn clear(&mut self) {
        self.gateway.clear(self.now);
        self.epoch = (self.now, 0);
        self.begin_row();
        self.rows.values_mut().filter(|row| !row.is_static).for_each(Row::doom);
        self.after_command();
    }

    pub(crate) fn add_static(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let is_added = self.gateway.add_static(&NatMapping { protocol, internal, external_port });
        self.judge_added(&(*internal.ip(), protocol, port), external_port, is_added, true, LONGEST);
    }

    pub(crate) fn restore(&mut self, client: u8, protocol: Protocol, port: u16, external_port: u16, lifetime: u32) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let is_added = self.gateway.restore(&NatMapping { protocol, internal, external_port }, lifetime);
        let is_possible = lifetime > 0 && is_allowed(external_port);
        assert!(is_possible || !is_added);
        if is_possible {
            self.judge_added(&(*internal.ip(), protocol, port), external_port, is_added, false, lifetime.min(LONGEST));
        }
    }

    fn judge_added(&mut self, key: &Key, external: u16, is_added: bool, is_static: bool, lifetime: u32) {
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

    pub(crate) fn remove(&mut self, client: u8, protocol: Protocol, port: u16) {
        let internal = SocketAddrV4::new(*socket(client).ip(), port);
        let key = (*internal.ip(), protocol, port);
        assert_eq!(self.gateway.remove(protocol, internal), self.rows.contains_key(&key));
        if let Some(row) = self.rows.get_mut(&key) {
            row.is_static = false;
            row.doom();
        }
        self.after_command();
    }

    fn after_command(&mut self) {
        if self.is_eager {
            self.ask_nat();
        }
    }

    pub(crate) fn pass(&mut self, when: When) {
        let at = match when {
            When::AfterNow(micros) => self.now + Duration::from_micros(micros),
            When::AfterDeadline(micros) => match self.gateway.poll_timeout() {
                Some(at) => Instant::from_micros(at.as_micros().saturating_add_signed(micros)),
                None => self.now + Duration::from_secs(1),
            },
        };
        self.go_to(at.max(self.now));
    }

    fn go_to(&mut self, at: Instant) {
        self.now = at;
        self.gateway.handle_timeout(at);
        while let Some(transmit) = self.gateway.poll_transmit(at) {
            self.judge_announcement(&transmit);
        }
        let is_announcing = self.is_on && self.address.is_some() && self.announced < 10;
        assert!(!is_announcing || self.announce_at > at, "G06: number {} is late", self.announced + 1);
        let next = self.gateway.poll_timeout();
        assert!(!is_announcing || next.is_some_and(|next| next <= self.announce_at), "G06: it is not waited for");
        assert!(next.is_none_or(|next| next > at), "a deadline that is due makes progress: {next:?} at {at:?}");
        self.after_command();
        if self.is_eager {
            for (key, row) in &self.rows {
                let is_over = row.lease.is_some_and(|(since, lease)| at >= since + secs(lease) + secs(1));
                assert!(!is_over || row.asked.is_some(), "G16: {key:?} goes on after its lease: {row:?}");
            }
        }
    }

    fn begin_row(&mut self) {
        self.announced = 0;
        self.announce_at = self.now;
    }

    fn judge_announcement(&mut self, transmit: &Transmit) {
        assert!(self.is_on, "G20");
        self.announced += 1;
        assert!(self.announced <= 10, "G06");
        assert!(self.announce_at <= self.now, "G06: early");
        let gap = Duration::from_millis(250 << (self.announced - 1));
        self.announce_at = self.announce_at.max(self.now) + gap;
        assert_eq!(transmit.to, "224.0.0.1:5350".parse().unwrap());
        let address = self.address.expect("there is something to announce");
        let expected = Response::ExternalAddress { epoch: self.epoch(), address };
        assert_eq!(Response::decode(&transmit.payload), Ok(expected), "G06");
    }

    /// What holds after every step.
    pub(crate) fn check(&mut self) {
        while self.gateway.poll_event().is_some() {}
        assert_eq!(self.gateway.len(), self.rows.len(), "the table has what the model has");
        let listed: BTreeMap<Key, u16> = self
            .gateway
            .mappings()
            .map(|open| {
                let NatMapping { protocol, internal, external_port } = open.mapping;
                ((*internal.ip(), protocol, internal.port()), external_port)
            })
            .collect();
        for (key, port) in &listed {
            let row = &self.rows[key];
            assert!(row.is_held && row.external == Some(*port), "{key:?} is said to be open, but the NAT has it not");
        }
        for (key, row) in &self.rows {
            let is_removed = row.asked.is_some_and(|asked| !asked.is_install);
            let may_have_ended = row.lease.is_some_and(|(since, lease)| self.now >= since + secs(lease));
            let is_plainly_open = row.is_held && row.is_wanted && !row.is_queued && !is_removed && !may_have_ended;
            assert!(!is_plainly_open || listed.contains_key(key), "{key:?} is open, but not listed");
        }
        // G09: what the NAT holds is nobody else's, in neither protocol.
        let held: Vec<(&Key, u16)> =
            self.rows.iter().filter(|(_, row)| row.is_held).map(|(key, row)| (key, row.external.unwrap())).collect();
        for (number, (one, port)) in held.iter().enumerate() {
            for (other, other_port) in &held[number + 1..] {
                let is_companion = one.0 == other.0 && one.1 != other.1;
                assert!(port != other_port || is_companion, "{one:?} and {other:?} share {port}");
            }
        }
    }

    /// The NAT works from now on: everything is settled, and only what is wanted is open.
    pub(crate) fn heal(&mut self) {
        self.switch(true);
        for _ in 0..100 {
            self.ask_nat();
            while !self.due.is_empty() {
                self.outcome(0, Ok(()));
            }
            self.check();
            self.ask_nat();
            if self.due.is_empty() && self.rows.values().all(|row| row.is_wanted && row.is_held) {
                break;
            }
            if self.due.is_empty() {
                self.go_to(self.now + Duration::from_secs(1));
            }
        }
        for (key, row) in &self.rows {
            assert!(row.is_wanted && row.is_held && row.awaiting.is_none(), "{key:?} is not settled: {row:?}");
            assert_eq!(row.made_for, self.addresses, "{key:?} was made for an address that is gone");
        }
        assert!(self.deletions.is_empty(), "a deletion of all was never answered");
    }

    pub(crate) fn let_all_leases_end(&mut self) {
        for _ in 0..200 {
            let Some(at) = self.gateway.poll_timeout() else { break };
            self.go_to(at.max(self.now));
            self.ask_nat();
            while !self.due.is_empty() {
                self.outcome(0, Ok(()));
            }
            self.check();
        }
        assert_eq!(self.gateway.poll_timeout(), None, "it becomes quiet");
        assert!(self.rows.values().all(|row| row.is_static), "open, and nobody wants it: {:?}", self.rows);
    }

    fn is_free(&self, port: u16, key: &Key) -> bool {
        self.rows
            .iter()
            .all(|(other, row)| row.external != Some(port) || other == key || (other.0 == key.0 && other.1 != key.1))
    }

    fn epoch(&self) -> u32 {
        self.epoch.1 + self.now.saturating_since(self.epoch.0).as_secs() as u32
    }

    fn grant(&self, key: &Key, external_port: u16, lifetime: u32) -> Vec<u8> {
        let mut bytes = vec![0, 128 + key.1.opcode(), 0, 0];
        bytes.extend(self.epoch().to_be_bytes());
        bytes.extend(key.2.to_be_bytes());
        bytes.extend(external_port.to_be_bytes());
        bytes.extend(lifetime.to_be_bytes());
        bytes
    }

    fn deletion(&self, key: &Key) -> Vec<u8> {
        self.grant(key, 0, 0)
    }

    fn deletion_of_all(&self, protocol: Protocol, all: &All) -> Vec<u8> {
        let key = (*all.to.ip(), protocol, 0);
        match all {
            All { has_failed: true, .. } => self.refusal(&key, 3),
            All { has_static: true, .. } => self.refusal(&key, 2),
            _ => self.deletion(&key),
        }
    }

    /// G17
    fn refusal(&self, key: &Key, code: u8) -> Vec<u8> {
        let mut bytes = self.deletion(key);
        bytes[3] = code;
        bytes
    }

    fn is_refusal(&self, said: &Said, key: &Key, code: u8) {
        assert_ne!(Refusal::from_code(code.into()), None);
        said.is(&self.refusal(key, code));
    }
}

impl Row {
    fn new(lifetime: u32) -> Self {
        Self {
            external: None,
            must_be: None,
            is_wanted: true,
            is_static: false,
            is_held: false,
            asked: None,
            is_queued: false,
            awaiting: None,
            lifetime,
            lease: None,
            made_for: 0,
        }
    }

    fn doom(&mut self) {
        self.is_wanted = false;
        if self.asked.is_none() {
            self.is_queued = true;
        }
    }
}

type Sent = (SocketAddrV4, Vec<u8>);

/// What the machine said to a datagram.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Answer(Vec<u8>),
    AfterNat,
    Nothing(Discard),
}

impl Said {
    #[track_caller]
    fn is(&self, bytes: &[u8]) {
        assert_eq!(*self, Self::Answer(bytes.to_vec()));
    }

    #[track_caller]
    fn is_silence(&self) {
        assert!(matches!(self, Self::Nothing(Discard::Unanswerable(_))), "{self:?} where nothing is to be said");
    }
}

fn is_allowed(port: u16) -> bool {
    (LOW..=HIGH).contains(&port) && !(DENIED[0]..=DENIED[1]).contains(&port)
}

fn socket(client: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100 + client), 50_000)
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
