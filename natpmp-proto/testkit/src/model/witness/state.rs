//! What the witness holds of each mapping, of each deletion of all, and of the external address.

use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_proto::client::{Ending, LossCause, RequestError};
use natpmp_proto::{Instant, MapRequest};

use super::Key;
use super::rules::{Rules, Window};

/// The life of one mapping.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    pub(super) key: Key,
    /// To be suggested: what was wished for, or the port that was assigned (C13).
    pub(super) port: u16,
    pub(super) was_assigned: bool,
    /// In seconds, as asked for.
    pub(super) lifetime: u32,
    interval: Option<u32>,
    pub(super) is_kept: bool,
    pub(super) life: Life,
    /// Refusals in a row.
    failures: u32,
    /// Something was sent for it that was not answered: the gateway may have it.
    pub(super) is_unanswered: bool,
    /// Its deletion waited behind a silence: it is sent once.
    pub(super) is_last_try: bool,
    /// The caller asked for a renewal of what is held once.
    wants_refresh: bool,
    /// The wish changed while it was asked for: the answer is to the old one.
    is_outdated: bool,
    /// The port that the last event gave as open.
    pub(super) reported_port: Option<u16>,
    pub(super) pending: PendingEvents,
}

/// What is to be reported by an event.
#[derive(Clone, Debug, Default)]
pub(super) struct PendingEvents {
    pub(super) granted: bool,
    /// An attempt failed. Not certainly, if it is not known whether it was due already.
    pub(super) failed: Option<(RequestError, bool)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Life {
    Closed { ask: Window, cause: LossCause },
    Open { until: Instant, lifetime: u32, renew: Window },
    Closing { until: Instant, with_all: bool },
    Ended(Ending),
}

impl Mapping {
    pub(super) fn new(now: Instant, key: Key) -> Self {
        Self {
            key,
            port: 0,
            was_assigned: false,
            lifetime: MapRequest::LONGEST_LIFETIME,
            interval: None,
            is_kept: false,
            life: Life::Closed { ask: Window::at(now), cause: LossCause::Expired },
            failures: 0,
            is_unanswered: false,
            is_last_try: false,
            wants_refresh: false,
            is_outdated: false,
            reported_port: None,
            pending: PendingEvents::default(),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.life, Life::Closed { .. } | Life::Open { .. })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept && self.is_wanted()
    }

    /// When it is asked for, but for pauses.
    pub(super) fn due(&self) -> Option<Window> {
        match self.life {
            Life::Closed { ask, .. } => Some(ask),
            Life::Open { renew, .. } => (self.is_kept || self.wants_refresh).then_some(renew),
            Life::Closing { .. } | Life::Ended(_) => None,
        }
    }

    pub(super) fn set_due(&mut self, change: impl FnOnce(Window) -> Window) {
        if let Life::Closed { ask: due, .. } | Life::Open { renew: due, .. } = &mut self.life {
            *due = change(*due);
        }
    }

    /// When it ends by itself.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self.life {
            Life::Open { until, .. } | Life::Closing { until, with_all: false } => Some(until),
            Life::Closing { .. } | Life::Closed { .. } | Life::Ended(_) => None,
        }
    }

    pub(super) fn want(&mut self, now: Instant, request: &MapRequest, keep: bool, is_asked: bool) {
        let before = (self.port, self.lifetime);
        self.lifetime = request.requested_lifetime();
        self.interval = request.chosen_refresh_interval();
        self.is_kept = keep || self.is_kept();
        if !matches!(self.life, Life::Open { .. }) {
            (self.port, self.was_assigned) = (request.suggested_external_port(), false);
        }
        self.is_outdated |= is_asked && before != (self.port, self.lifetime);
        if !self.is_wanted() {
            self.life = Life::Closed { ask: Window::at(now), cause: LossCause::Unmapped };
        }
        self.ask_now(now);
    }

    pub(super) fn ask_now(&mut self, now: Instant) {
        (self.failures, self.wants_refresh) = (0, true);
        self.set_due(|due| due.or_earlier(Window::at(now)));
    }

    /// C12, C26
    pub(super) fn granted(&mut self, now: Instant, port: u16, granted: u32) {
        // Not longer than was asked for, whatever the gateway says.
        let lifetime = granted.min(self.lifetime);
        let half = Duration::from_secs(lifetime.into()) / 2;
        let own = self.interval.filter(|&own| own < lifetime).map(|own| Duration::from_secs(own.into()));
        let until = now + Duration::from_secs(lifetime.into());
        self.life = Life::Open { until, lifetime, renew: Window::at(now + own.unwrap_or(half)) };
        (self.port, self.was_assigned) = (port, true);
        (self.failures, self.is_unanswered, self.wants_refresh) = (0, false, false);
        self.pending.failed = self.pending.failed.filter(|_| self.is_outdated);
        if self.is_outdated {
            self.is_outdated = false;
            self.ask_now(now);
        } else {
            self.pending.granted = true;
        }
    }

    /// C12, C25
    pub(super) fn refused(&mut self, now: Instant, error: RequestError, rules: &Rules) {
        let pause = rules.pause(self.failures);
        self.failures += 1;
        self.is_unanswered = false;
        match &mut self.life {
            Life::Closed { ask, .. } => *ask = Window::after(now, pause.0, pause.1),
            Life::Open { until, renew, .. } => {
                let half_of_rest = until.saturating_since(now) / 2;
                let [from, by] = [pause.0, pause.1].map(|pause| pause.min(half_of_rest).max(rules.shortest_pause()));
                *renew = Window::after(now, from, by);
            }
            Life::Closing { .. } | Life::Ended(_) => {}
        }
        self.failed(error, true);
    }

    pub(super) fn failed(&mut self, error: RequestError, is_certain: bool) {
        self.wants_refresh = false;
        match self.life {
            Life::Closed { .. } if !self.is_kept => self.life = Life::Ended(Ending::NotMapped(error)),
            Life::Closing { .. } => self.life = Life::Ended(Ending::NotUnmapped(error)),
            Life::Closed { .. } | Life::Open { .. } => self.pending.failed = Some((error, is_certain)),
            Life::Ended(_) => {}
        }
    }

    pub(super) fn deleted(&mut self, result: Result<(), RequestError>) {
        match result {
            Ok(()) => self.life = Life::Ended(Ending::Unmapped),
            Err(error) => self.failed(error, true),
        }
    }

    pub(super) fn lost(&mut self, ask: Window, cause: LossCause) {
        let Life::Open { .. } = self.life else { return };
        self.life = match (self.is_kept, cause) {
            (true, _) => Life::Closed { ask, cause },
            (false, LossCause::GatewayRestarted) => Life::Ended(Ending::GatewayRestarted),
            (false, LossCause::GatewayChanged) => Life::Ended(Ending::GatewayChanged),
            (false, _) => Life::Ended(Ending::Expired),
        };
    }

    /// C19: what is kept is recreated within this time.
    pub(super) fn recreate(&mut self, within: Window) {
        self.lost(within, LossCause::GatewayRestarted);
        if self.is_kept() {
            (self.failures, self.is_unanswered) = (0, false);
            self.set_due(|due| due.or_earlier(within));
        }
    }

    /// C06
    pub(super) fn lapse(&mut self, now: Instant) {
        if self.ends_at().is_none_or(|end| now < end) {
            return;
        }
        match self.life {
            Life::Open { renew, .. } => self.lost(renew, LossCause::Expired),
            Life::Closing { .. } => self.life = Life::Ended(Ending::ExpiredUnmapping),
            Life::Closed { .. } | Life::Ended(_) => {}
        }
    }

    /// C06, C23
    pub(super) fn delete(&mut self, now: Instant, with_all: bool) {
        self.pending = PendingEvents::default();
        self.is_last_try = false;
        // What was asked for may have been granted a moment ago.
        let longest = now + Duration::from_secs(self.lifetime.into());
        let until = match self.life {
            Life::Ended(_) => return,
            Life::Open { until, .. } if !self.is_unanswered => until,
            Life::Open { .. } | Life::Closed { .. } => longest,
            Life::Closing { until, .. } => until,
        };
        let is_nowhere = matches!(self.life, Life::Closed { .. }) && !self.is_unanswered;
        self.life = match (with_all, self.key.1) {
            (true, _) => Life::Closing { until, with_all },
            (false, 0) => Life::Ended(Ending::LeftToLapse),
            (false, _) if is_nowhere => Life::Ended(Ending::Unmapped),
            (false, _) => Life::Closing { until, with_all },
        };
    }
}

/// The deletion of all mappings of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum All {
    /// To be deleted, by the schedule.
    Wanted,
    /// The gateway was found silent, or there is no time left: once more.
    LastTry,
    /// Of an earlier holder of the address: once, and its silence is no verdict.
    Clearing,
    /// To be reported.
    Done(Result<(), RequestError>),
}

impl All {
    pub(super) fn is_wanted(self) -> bool {
        !matches!(self, Self::Done(_))
    }

    pub(super) fn is_sent_once(self) -> bool {
        matches!(self, Self::LastTry | Self::Clearing)
    }

    pub(super) fn end(&mut self, result: Result<(), RequestError>) {
        if self.is_wanted() {
            *self = Self::Done(result);
        }
    }

    /// There is one try left, or none.
    pub(super) fn hasten(&mut self) {
        if *self == Self::Wanted {
            *self = Self::LastTry;
        }
    }
}

/// An answer to the question for the external address.
pub(super) type Learned = Result<Ipv4Addr, RequestError>;

/// The external address: who waits for it, and what was reported.
#[derive(Clone, Debug)]
pub(super) struct External {
    /// The caller waits for an answer.
    pub(super) is_asked: bool,
    pub(super) is_watched: bool,
    /// The next answer is reported, whatever was known.
    pub(super) is_first: bool,
    /// When it is asked for next while it is watched.
    pub(super) ask_at: Window,
    pub(super) known: Option<Learned>,
    /// To be reported.
    pub(super) pending: Option<Learned>,
    /// Was learned if it is reported, and was not if it is not: whether it was due is not known.
    pub(super) rumour: Option<Learned>,
}

impl Default for External {
    fn default() -> Self {
        Self {
            is_asked: false,
            is_watched: false,
            is_first: false,
            ask_at: Window::at(Instant::ZERO),
            known: None,
            pending: None,
            rumour: None,
        }
    }
}

impl External {
    pub(super) fn learn(&mut self, answer: Learned) {
        if self.is_asked || self.is_watched && (self.is_first || self.known != Some(answer)) {
            self.pending = Some(answer);
        }
        self.known = Some(answer);
        (self.is_asked, self.is_first) = (false, false);
    }

    /// When it is asked for, but for pauses.
    pub(super) fn due(&self) -> Option<Window> {
        if self.is_asked { Some(Window::ALWAYS) } else { self.is_watched.then_some(self.ask_at) }
    }
}
