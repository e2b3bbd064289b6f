//! What there is to ask of the gateway, and the one request in flight.

use crate::retry::Schedule;
use crate::time::{Instant, Span};
use crate::wire::{Failure, FailureDetail, Protocol, Refusal, Response};

/// What a mapping is known by: answers carry no transaction id (section 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) protocol: Protocol,
    pub(super) internal_port: u16,
}

/// One kind of request, about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    ExternalAddress,
    Map(Key),
    Unmap(Key),
    UnmapAll(Protocol),
}

/// What a response means for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It answers another request.
    Other,
    /// A port of 0 and a lifetime of 0: the late answer to a deletion, or a gateway that grants nothing.
    NothingOrLate,
    /// Granted with a port or a lifetime of 0: no mapping.
    Nothing,
    /// Yes.
    Success,
    /// No.
    Refused(Refusal),
}

impl Ask {
    /// The mapping it is about, if it is about one.
    pub(super) fn key(self) -> Option<Key> {
        match self {
            Self::Map(key) | Self::Unmap(key) => Some(key),
            Self::ExternalAddress | Self::UnmapAll(_) => None,
        }
    }

    /// Matches a response by what it says: the opcode, the internal port, and whether it made or deleted.
    /// `is_taken` tells whether an internal port is that of another mapping.
    pub(super) fn meaning(self, response: &Response, is_taken: impl Fn(Protocol, u16) -> bool) -> Meaning {
        match (self, *response) {
            (_, Response::Failure(failure)) => self.meaning_of_failure(failure),
            (Self::ExternalAddress, Response::ExternalAddress { .. }) => Meaning::Success,
            (Self::Map(key), Response::Map { protocol, internal_port, external_port, lifetime, .. })
                if protocol == key.protocol =>
            {
                let is_same = internal_port == key.internal_port
                    // For internal port 0, a large VPN provider's gateways answer with the mapped port in both places.
                    || (key.internal_port == 0 && internal_port == external_port && !is_taken(protocol, internal_port));
                match (is_same, external_port, lifetime) {
                    (false, ..) => Meaning::Other,
                    (true, 0, 0) => Meaning::NothingOrLate,
                    (true, 0, _) | (true, _, 0) => Meaning::Nothing,
                    (true, ..) => Meaning::Success,
                }
            }
            (Self::Unmap(key), Response::Map { protocol, internal_port, lifetime: 0, .. })
                if protocol == key.protocol && internal_port == key.internal_port =>
            {
                Meaning::Success
            }
            (Self::UnmapAll(all), Response::Map { protocol, internal_port: 0, lifetime: 0, .. }) if protocol == all => {
                Meaning::Success
            }
            _ => Meaning::Other,
        }
    }

    fn meaning_of_failure(self, failure: Failure) -> Meaning {
        let asked_port = match self {
            Self::ExternalAddress => None,
            Self::Map(key) | Self::Unmap(key) => Some(key.internal_port),
            Self::UnmapAll(_) => Some(0),
        };
        let is_same_port = match failure.detail {
            Some(FailureDetail { internal_port: Some(port), .. }) => asked_port == Some(port),
            _ => true,
        };
        // Another version is answered with opcode 0, whatever was asked (section 3.5, erratum 3618).
        let is_about_version = failure.refusal == Refusal::UnsupportedVersion && failure.opcode == 0;
        if is_about_version || (failure.opcode == self.opcode() && is_same_port) {
            Meaning::Refused(failure.refusal)
        } else {
            Meaning::Other
        }
    }

    fn opcode(self) -> u8 {
        match self {
            Self::ExternalAddress => 0,
            Self::Map(key) | Self::Unmap(key) => key.protocol.opcode(),
            Self::UnmapAll(protocol) => protocol.opcode(),
        }
    }
}

/// The one request in flight (section 3.1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) ask: Ask,
    /// How often it was sent.
    sends: u8,
    /// A grant of nothing came that may be the late answer to a deletion.
    heard_nothing: bool,
    /// It was sent again since.
    asked_since: bool,
    /// The end of the schedule was met late once, as after a sleep, and the schedule began anew.
    is_forgiven: bool,
    /// A command or an announcement began the schedule anew, which may happen once: a silent gateway is to be given up,
    /// however often it is hoped for.
    is_hurried: bool,
    /// When it is sent again, or given up if it was sent for the last time.
    pub(super) deadline: Instant,
}

impl Exchange {
    pub(super) fn new(now: Instant, ask: Ask) -> Self {
        Self {
            ask,
            sends: 0,
            heard_nothing: false,
            asked_since: false,
            is_forgiven: false,
            is_hurried: false,
            deadline: now,
        }
    }

    /// Counts a send if one is due, and says how many there were before.
    pub(super) fn send(&mut self, now: Instant, schedule: &Schedule) -> Option<u8> {
        if now < self.deadline {
            return None;
        }
        let resends = self.sends;
        let send = resends.saturating_add(1);
        self.deadline = now + schedule.span_after(send)?;
        self.sends = send;
        self.asked_since = self.heard_nothing;
        Some(resends)
    }

    /// Whether the schedule has come to its end without an answer. A machine that slept through the end is given a
    /// second schedule, once: nobody was there to hear.
    pub(super) fn is_over(&mut self, now: Instant, schedule: &Schedule) -> bool {
        if now < self.deadline || schedule.span_after(self.sends.saturating_add(1)).is_some() {
            return false;
        }
        if self.is_forgiven || now.span_since(self.deadline) < SLEPT {
            return true;
        }
        self.start_over(now);
        self.is_forgiven = true;
        false
    }

    /// Begins the schedule anew, the first send at once.
    fn start_over(&mut self, now: Instant) {
        self.sends = 0;
        self.deadline = now;
    }

    /// It was sent more than once: the gateway is slow to answer, or silent.
    pub(super) fn is_waiting_long(&self) -> bool {
        self.sends > 1
    }

    /// It was sent once only.
    pub(super) fn is_fresh(&self) -> bool {
        self.sends == 1
    }

    /// There is reason to hope for an answer: begins the schedule anew, once, the first send no earlier than the first wait
    /// after the last one.
    pub(super) fn hurry(&mut self, now: Instant, schedule: &Schedule) {
        let wait = schedule.span_after(self.sends).unwrap_or(Span::ZERO);
        let first = schedule.span_after(1).unwrap_or(Span::ZERO);
        let left = self.deadline.span_since(now);
        let since_send = wait.saturating_sub(left);
        let soonest = now + first.saturating_sub(since_send);
        if !self.is_hurried && self.sends > 1 && soonest < self.deadline {
            self.is_hurried = true;
            self.sends = 0;
            self.deadline = soonest;
        }
    }

    /// The gateway seems to be there: as [`hurry`](Self::hurry), but only out of a long wait. Anybody can send announcements.
    pub(super) fn nudge(&mut self, now: Instant, schedule: &Schedule) {
        if self.deadline.span_since(now) > SHORT_WAIT {
            self.hurry(now, schedule);
        }
    }

    /// Notes a grant of nothing that may be the late answer to a deletion. A second one, after the request was sent
    /// again, settles it.
    pub(super) fn settles_as_nothing(&mut self) -> bool {
        self.heard_nothing = true;
        self.asked_since
    }

    /// Whether all that was heard is a grant of nothing.
    pub(super) fn heard_nothing_only(&self) -> bool {
        self.heard_nothing
    }
}

/// A deadline met so much too late means that the machine slept, or was stopped.
const SLEPT: Span = Span::from_secs(10);

/// A wait that need not be cut short.
const SHORT_WAIT: Span = Span::from_secs(1);
