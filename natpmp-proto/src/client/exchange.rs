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
    /// `is_taken` says whether an internal port is that of another mapping.
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
    /// How often it was sent in the present run of the schedule; 0 while the first send of the run is still to come.
    sends: u8,
    empty_grant: EmptyGrant,
    restarts: Restarts,
    /// When it is sent again, or given up if it was sent for the last time.
    pub(super) deadline: Instant,
}

/// Whether the gateway granted nothing (port 0, lifetime 0), which may also be the late answer to a deletion. The request
/// goes on in each of these states, so that `Exchange::deadline` stays the only deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmptyGrant {
    /// No such answer came. `Exchange::deadline`: as for any request.
    NotSeen,
    /// One came, and the request was not sent again since. `Exchange::deadline`: the next send, after which another such
    /// answer cannot be late, or the end, which then reports that the gateway granted nothing.
    Seen,
    /// One came, and the request was sent again since: another one is the gateway's answer. `Exchange::deadline`: as in `Seen`.
    SeenBeforeResend,
}

/// What has begun the schedule anew so far. Each reason counts once: a silent gateway is given up, however often somebody hopes for
/// it. `Exchange::deadline` in each: that of the schedule as it was begun last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Restarts {
    None,
    /// The machine met the end of the schedule late, as after a sleep: nobody was there to receive.
    Slept,
    /// A command or an announcement gave reason to hope for an answer.
    Hint,
    SleptAndHint,
}

impl Exchange {
    pub(super) const fn new(now: Instant, ask: Ask) -> Self {
        Self { ask, sends: 0, empty_grant: EmptyGrant::NotSeen, restarts: Restarts::None, deadline: now }
    }

    /// Counts a send if one is due, and returns how many there were before.
    pub(super) fn send(&mut self, now: Instant, schedule: &Schedule) -> Option<u8> {
        if now < self.deadline {
            return None;
        }
        let resends = self.sends;
        let send = resends.saturating_add(1);
        self.deadline = now + schedule.span_after(send)?;
        self.sends = send;
        if self.empty_grant == EmptyGrant::Seen {
            self.empty_grant = EmptyGrant::SeenBeforeResend;
        }
        Some(resends)
    }

    /// Whether the schedule has come to its end without an answer. A machine that slept through the end is given a
    /// second schedule, once.
    pub(super) fn is_over(&mut self, now: Instant, schedule: &Schedule) -> bool {
        if now < self.deadline || schedule.span_after(self.sends.saturating_add(1)).is_some() {
            return false;
        }
        if now.span_since(self.deadline) < SLEPT {
            return true;
        }
        self.restarts = match self.restarts {
            Restarts::None => Restarts::Slept,
            Restarts::Hint => Restarts::SleptAndHint,
            Restarts::Slept | Restarts::SleptAndHint => return true,
        };
        self.restart(now);
        false
    }

    /// Begins the schedule anew, the first send at `first_send`.
    fn restart(&mut self, first_send: Instant) {
        self.sends = 0;
        self.deadline = first_send;
    }

    /// Whether it was sent more than once: the gateway is slow to answer, or silent.
    pub(super) const fn is_waiting_long(&self) -> bool {
        self.sends > 1
    }

    /// Whether it was sent once only.
    pub(super) const fn is_fresh(&self) -> bool {
        self.sends == 1
    }

    /// Begins the schedule anew, once, because there is reason to hope for an answer: the first send no earlier than the
    /// first wait after the last one.
    pub(super) fn restart_on_hint(&mut self, now: Instant, schedule: &Schedule) {
        let wait = schedule.span_after(self.sends).unwrap_or(Span::ZERO);
        let first = schedule.span_after(1).unwrap_or(Span::ZERO);
        let left = self.deadline.span_since(now);
        let since_send = wait.saturating_sub(left);
        let soonest = now + first.saturating_sub(since_send);
        if self.sends > 1 && soonest < self.deadline {
            self.restarts = match self.restarts {
                Restarts::None => Restarts::Hint,
                Restarts::Slept => Restarts::SleptAndHint,
                Restarts::Hint | Restarts::SleptAndHint => return,
            };
            self.restart(soonest);
        }
    }

    /// As [`restart_on_hint`](Self::restart_on_hint), but only out of a long wait: anybody can send announcements.
    pub(super) fn restart_on_announcement(&mut self, now: Instant, schedule: &Schedule) {
        if self.deadline.span_since(now) > SHORT_WAIT {
            self.restart_on_hint(now, schedule);
        }
    }

    /// Notes a grant of nothing that may be the late answer to a deletion. Returns whether it is the gateway's answer: the
    /// second one, after the request was sent again.
    pub(super) fn is_settled_by_empty_grant(&mut self) -> bool {
        if self.empty_grant == EmptyGrant::SeenBeforeResend {
            return true;
        }
        self.empty_grant = EmptyGrant::Seen;
        false
    }

    /// Whether the only answer was a grant of nothing.
    pub(super) fn has_empty_grant(&self) -> bool {
        self.empty_grant != EmptyGrant::NotSeen
    }
}

/// A deadline met so much too late means that the machine slept, or was stopped.
const SLEPT: Span = Span::from_secs(10);

/// A wait that need not be cut short.
const SHORT_WAIT: Span = Span::from_secs(1);
