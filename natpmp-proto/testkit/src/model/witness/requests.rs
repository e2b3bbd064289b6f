//! What the client sends, and what it does not: nothing that is due is left undone, and it comes back in time for what will be.

use std::time::Duration;

use natpmp_proto::{Instant, Protocol, Transmit};

use super::flight::Flight;
use super::rules::Window;
use super::state::{Life, Mapping};
use super::{Ask, Witness};

impl Witness {
    pub(super) fn check_transmit(&mut self, now: Instant, transmit: &Transmit) {
        assert_eq!(transmit.to, self.gateway, "a datagram to somebody else than the gateway");
        self.count(now);
        let ask = read(&transmit.payload);
        match self.flight.as_ref().map(|flight| flight.ask) {
            None => self.begins(now, ask),
            Some(flying) => assert_eq!(flying, ask, "C02: a second request in flight at {now:?}"),
        }
        assert_eq!(self.form(ask), &transmit.payload[..], "C01, C13, C14: another form of {ask:?}");
        let sends = self.flight.as_ref().map_or(0, |flight| flight.sends);
        let wait = self.wait(ask, sends);
        let flight = self.flight.get_or_insert_with(|| Flight::new(now, ask));
        assert!(flight.due <= now, "C03: {ask:?} is sent at {now:?}, by the schedule at {:?}", flight.due);
        let wait = wait.unwrap_or_else(|| panic!("C03: {ask:?} is sent more often than the schedule has it"));
        assert_eq!(usize::from(transmit.resends()), flight.sends, "a send that was not counted");
        (flight.sends, flight.last, flight.due) = (flight.sends + 1, now, now + wait);
        flight.nothing = flight.nothing.map(|_| true);
        match ask {
            Ask::Map(key) => {
                if let Some(mapping) = self.mappings.get_mut(&key) {
                    mapping.is_unanswered = true;
                }
            }
            Ask::Address => {
                self.question_from = now + QUESTION_PAUSE;
                self.question = self.question.map(|question| question.max(self.question_from));
            }
            Ask::Delete(_) | Ask::DeleteAll(_) => {}
        }
    }

    /// A new request: there is a reason for it, and its time has come.
    fn begins(&self, now: Instant, ask: Ask) {
        let agenda = self.agenda();
        let mut reasons = agenda.iter().filter(|(due, _)| *due == ask).peekable();
        assert!(reasons.peek().is_some(), "{ask:?} is asked at {now:?}, and nobody wants it");
        assert!(reasons.any(|(_, when)| when.may(now)), "{ask:?} is asked at {now:?}, before it is due: {agenda:?}");
    }

    /// The packet, by the RFC's table.
    fn form(&self, ask: Ask) -> Vec<u8> {
        let (protocol, inside, outside, lifetime) = match ask {
            Ask::Address => return vec![0, 0],
            Ask::Delete((protocol, port)) => (protocol, port, 0, 0),
            Ask::DeleteAll(protocol) => (protocol, 0, 0, 0),
            Ask::Map(key) => {
                let mapping = &self.mappings[&key];
                assert!(matches!(mapping.life, Life::Closed { .. } | Life::Open { .. }), "nobody wants {mapping:?}");
                (key.0, key.1, mapping.port, mapping.lifetime)
            }
        };
        let mut bytes = vec![0, if protocol == Protocol::Udp { 1 } else { 2 }, 0, 0];
        bytes.extend(inside.to_be_bytes());
        bytes.extend(outside.to_be_bytes());
        bytes.extend(lifetime.to_be_bytes());
        bytes
    }

    /// A client that sends without end would run for ever in little time.
    fn count(&mut self, now: Instant) {
        if now.saturating_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        assert!(self.second.1 <= MOST_SENDS_IN_A_SECOND, "a storm of requests at {now:?}");
    }
}

impl Witness {
    /// The client has nothing more to do at `now`, and waits until `deadline`.
    pub(super) fn check_wait(&mut self, now: Instant, deadline: Option<Instant>) {
        self.check_all_reported();
        assert!(
            deadline.is_none_or(|at| now < at),
            "a deadline that is due makes no progress: {deadline:?} at {now:?}"
        );
        let ends = self.mappings.values().filter_map(Mapping::ends_at).map(Window::at);
        let request: Option<Window> = match &self.flight {
            Some(flight) => Some(Window::at(flight.due)),
            None => {
                let agenda = self.agenda();
                if let Some(late) = agenda.iter().find(|(_, when)| when.must(now)) {
                    panic!("nothing is sent at {now:?}, and {late:?} is due");
                }
                agenda.into_iter().map(|(_, when)| when).reduce(Window::or_earlier)
            }
        };
        let expected = ends.chain(request).reduce(Window::or_earlier);
        let is_right = match (deadline, expected) {
            (Some(deadline), Some(expected)) => expected.has(deadline),
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "waits for {deadline:?} at {now:?}, not for {expected:?}: {self:?}");
    }

    /// All that is to be asked, and when, if nothing is in flight.
    pub(super) fn agenda(&self) -> Vec<(Ask, Window)> {
        let mut agenda = Vec::new();
        for (protocol, _) in self.all.iter().filter(|(_, all)| all.is_wanted()) {
            agenda.push((Ask::DeleteAll(*protocol), Window::ALWAYS));
        }
        for (key, mapping) in &self.mappings {
            if let Life::Closing { with_all: false, .. } = mapping.life {
                assert_ne!(key.1, 0, "C23: it would delete all");
                agenda.push((Ask::Delete(*key), Window::ALWAYS));
            }
            if let Some(due) = mapping.due() {
                agenda.push((Ask::Map(*key), due.or_later(self.quiet)));
            }
        }
        if let Some(question) = self.question {
            agenda.push((Ask::Address, Window::at(question)));
        }
        if let Some(due) = self.external.due() {
            agenda.push((Ask::Address, due.or_later(self.quiet)));
        }
        agenda
    }
}

/// What a request asks for.
fn read(bytes: &[u8]) -> Ask {
    match *bytes {
        [0, 0] => Ask::Address,
        [0, opcode @ (1 | 2), 0, 0, a, b, _, _, c, d, e, f] => {
            let protocol = if opcode == 1 { Protocol::Udp } else { Protocol::Tcp };
            match (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f])) {
                (0, 0) => Ask::DeleteAll(protocol),
                (port, 0) => Ask::Delete((protocol, port)),
                (port, _) => Ask::Map((protocol, port)),
            }
        }
        _ => panic!("C01: {bytes:?} is no request of a client"),
    }
}

/// Questions are a second apart, however many announcements there are.
const QUESTION_PAUSE: Duration = Duration::from_secs(1);
const MOST_SENDS_IN_A_SECOND: u32 = 200;
