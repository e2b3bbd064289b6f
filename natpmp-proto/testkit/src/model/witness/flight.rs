//! The one request in flight (section 3.1), and what comes with time alone: the ends of leases, and the end of the schedule.

use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::client::RequestError;

use super::rules::Window;
use super::state::{All, Life};
use super::{Ask, Witness};

#[derive(Clone, Debug)]
pub(super) struct Flight {
    pub(super) ask: Ask,
    /// In the present run of the schedule.
    pub(super) sends: usize,
    pub(super) last: Instant,
    /// When it is sent again, or given up if it was sent for the last time.
    pub(super) due: Instant,
    /// The schedule began anew, for a reason to hope; it may once.
    pub(super) is_hurried: bool,
    /// It began anew since nobody was there to hear its end; it may once.
    pub(super) is_forgiven: bool,
    /// A grant of nothing came, and whether it was sent again since.
    pub(super) nothing: Option<bool>,
}

impl Flight {
    pub(super) fn new(now: Instant, ask: Ask) -> Self {
        Self { ask, sends: 0, last: now, due: now, is_hurried: false, is_forgiven: false, nothing: None }
    }

    /// A grant of nothing may be the late answer to a deletion; a second one, after another send, settles it.
    pub(super) fn settles_as_nothing(&mut self) -> bool {
        *self.nothing.get_or_insert(false)
    }
}

impl Witness {
    /// How long this is waited for after it was sent so often before and once more, as things are now; `None` if it is not sent again.
    pub(super) fn wait(&self, ask: Ask, sends: usize) -> Option<Duration> {
        let is_sent_once = match ask {
            Ask::Address if !self.external.is_asked => return self.short_waits.get(sends).copied(),
            Ask::Address | Ask::Map(_) => false,
            Ask::Delete(key) => self.mappings.get(&key).is_some_and(|mapping| mapping.is_last_try),
            Ask::DeleteAll(protocol) => self.all.get(&protocol).is_some_and(|all| all.is_sent_once()),
        };
        self.waits.get(sends).copied().filter(|_| sends == 0 || !is_sent_once)
    }

    /// The caller wants something: what waits for an answer for long begins anew, once, the first wait after its last send.
    pub(super) fn hurry(&mut self, now: Instant) {
        let first = self.waits[0];
        let Some(flight) = &mut self.flight else { return };
        let soonest = now.max(flight.last + first);
        if !flight.is_hurried && flight.sends > 1 && soonest < flight.due {
            flight.is_hurried = true;
            flight.sends = 0;
            flight.due = soonest;
        }
    }

    /// The gateway seems to be there. Anybody can send announcements: only a wait of more than a second is cut short.
    pub(super) fn nudge(&mut self, now: Instant) {
        if self.flight.as_ref().is_some_and(|flight| flight.due.saturating_since(now) > Duration::from_secs(1)) {
            self.hurry(now);
        }
    }

    /// A command ends a pause.
    pub(super) fn end_pause(&mut self, now: Instant) {
        self.quiet = Window::ALWAYS;
        self.hurry(now);
    }

    /// Nobody waits for an answer to this any more.
    pub(super) fn withdraw(&mut self, is_withdrawn: impl Fn(&Flight) -> bool) {
        if self.flight.as_ref().is_some_and(is_withdrawn) {
            self.flight = None;
        }
    }

    /// A deletion does not wait behind a request that finds no answer.
    pub(super) fn preempt_for_deletion(&mut self) {
        self.withdraw(|flight| flight.sends > 1 && !flight.ask.is_deletion());
    }
}

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
        let was_granted_nothing = flight.nothing.is_some();
        match ask {
            Ask::Address if !self.external.is_asked => self.leave_question(now),
            Ask::DeleteAll(protocol) if self.all.get(&protocol) == Some(&All::Clearing) => {
                self.finish_silent(now, ask, RequestError::NoAnswer);
            }
            Ask::Map(_) if was_granted_nothing => self.finish_silent(now, ask, RequestError::GrantedNothing),
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
            self.delay_address_until(self.quiet);
        }
        self.question = None;
    }

    /// Nobody waits for that answer: its silence is no verdict.
    fn leave_question(&mut self, now: Instant) {
        (self.flight, self.question) = (None, None);
        let pause = self.rules.pause_from(now, self.silences);
        self.silences += 1;
        self.delay_address_until(pause);
        if self.external.is_watched {
            self.external.learn(Err(RequestError::NoAnswer));
        }
    }

    /// A gateway that grants mappings and does not tell its address is not pestered for it.
    fn delay_address_until(&mut self, until: Window) {
        let is_alive = self.mappings.values().any(|mapping| matches!(mapping.life, Life::Open { .. }));
        self.external.ask_at = if is_alive { until.later_by(MINUTE) } else { until };
    }
}

const SLEPT: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);
