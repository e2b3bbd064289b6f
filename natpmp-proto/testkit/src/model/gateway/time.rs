//! What comes with time: announcements and the ends of leases; and what holds after every step.

use std::collections::BTreeMap;
use std::time::Duration;

use natpmp_proto::gateway::NatMapping;
use natpmp_proto::wire::Response;
use natpmp_proto::{Instant, Transmit};

use super::machine::Run;
use super::row::Key;
use super::{When, secs};

impl Run {
    pub(super) fn pass(&mut self, when: When) {
        let at = match when {
            When::AfterNow(micros) => self.now + Duration::from_micros(micros),
            When::AfterDeadline(micros) => match self.gateway.poll_timeout() {
                Some(at) => Instant::from_micros(at.as_micros().saturating_add_signed(micros)),
                None => self.now + Duration::from_secs(1),
            },
        };
        self.go_to(at.max(self.now));
    }

    pub(super) fn go_to(&mut self, at: Instant) {
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

    pub(super) fn begin_row(&mut self) {
        self.announced = 0;
        self.announce_at = self.now;
    }

    pub(super) fn judge_announcement(&mut self, transmit: &Transmit) {
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
    pub(super) fn check(&mut self) {
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
    pub(super) fn heal(&mut self) {
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

    pub(super) fn let_all_leases_end(&mut self) {
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
}
