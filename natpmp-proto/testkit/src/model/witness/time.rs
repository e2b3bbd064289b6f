//! What comes with time alone: the ends of leases, and the end of the schedule.

use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::client::RequestError;

use super::all::All;
use super::mapping::Life;
use super::window::Window;
use super::{Ask, Witness};

impl Witness {
    pub(super) fn pass(&mut self, now: Instant) {
        self.mappings.values_mut().for_each(|mapping| mapping.lapse(now));
        let mappings = &self.mappings;
        let is_pointless = self
            .flight
            .as_ref()
            .and_then(|flight| flight.ask.key())
            .is_some_and(|key| mappings.get(&key).is_none_or(|mapping| matches!(mapping.life, Life::Ended(_))));
        if is_pointless {
            self.flight = None;
        }
        let Some((ask, sends)) = self.flight.as_ref().map(|flight| (flight.ask, flight.sends)) else { return };
        let is_sent_again = self.wait(ask, sends).is_some();
        let Some(flight) = self.flight.as_mut().filter(|flight| flight.due <= now && !is_sent_again) else { return };
        // C27: a host that slept through the end did not hear.
        if !flight.is_forgiven && now.saturating_since(flight.due) >= SLEPT {
            (flight.is_forgiven, flight.sends, flight.due) = (true, 0, now);
            return;
        }
        let has_heard_nothing_only = flight.nothing.is_some();
        match ask {
            Ask::Address if !self.external.is_asked => self.leave_question(now),
            Ask::DeleteAll(protocol) if self.all.get(&protocol) == Some(&All::Clearing) => {
                self.finish_silent(now, ask, RequestError::NoAnswer);
            }
            Ask::Map(_) if has_heard_nothing_only => self.finish_silent(now, ask, RequestError::GrantedNothing),
            _ => self.give_up(now, RequestError::NoAnswer),
        }
    }

    /// Silence, port unreachable, or a network that is down: a verdict on the gateway, which all share that wait for it.
    pub(super) fn give_up(&mut self, now: Instant, error: RequestError) {
        let Some(flight) = self.flight.take() else { return };
        let is_unsent = flight.sends == 1 && error != RequestError::NoAnswer;
        self.quiet = self.rules.pause_from(now, self.silences);
        self.silences += 1;
        for (key, mapping) in &mut self.mappings {
            let is_asked = match mapping.life {
                Life::Closing { with_all: true, .. } => flight.ask == Ask::DeleteAll(key.0),
                _ => flight.ask.key() == Some(*key),
            };
            let due = mapping.due();
            if is_asked || due.is_some_and(|due| due.may(now)) {
                mapping.failed(error, is_asked || due.is_some_and(|due| due.must(now)));
            }
            if is_asked {
                mapping.is_unanswered &= !is_unsent;
                mapping.set_due(|due| due.or_later(self.quiet));
            }
            mapping.is_last_try = true;
        }
        for (protocol, all) in &mut self.all {
            if flight.ask == Ask::DeleteAll(*protocol) {
                all.end(Err(error));
            }
            all.hasten();
        }
        if self.external.is_asked || self.external.is_watched && self.external.ask_at.must(now) {
            self.external.learn(Err(error));
        } else if self.external.is_watched && self.external.ask_at.may(now) {
            self.external.rumour = Some(Err(error));
        }
        if flight.ask == Ask::Address {
            self.put_off_address(self.quiet);
        }
        self.question = None;
    }

    /// Nobody waits for that answer: its silence is no verdict.
    fn leave_question(&mut self, now: Instant) {
        (self.flight, self.question) = (None, None);
        let pause = self.rules.pause_from(now, self.silences);
        self.silences += 1;
        self.put_off_address(pause);
        if self.external.is_watched {
            self.external.learn(Err(RequestError::NoAnswer));
        }
    }

    /// A gateway that grants mappings and does not tell its address is not pestered for it.
    fn put_off_address(&mut self, until: Window) {
        let is_alive = self.mappings.values().any(|mapping| matches!(mapping.life, Life::Open { .. }));
        self.external.ask_at = if is_alive { until.later_by(MINUTE) } else { until };
    }
}

const SLEPT: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
