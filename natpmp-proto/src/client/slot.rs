//! The life of one mapping.
//!
//! ```text
//!            ask granted                    lease ends, gateway restarted or changed
//!  Closed ----------------> Open      Open ----------------> Closed (kept) or Ended (held once)
//!  Closed, Open --unmap--> Closing --answered, or nothing left to delete--> Ended --reported--> (gone)
//!  Closed --failed, held once--> Ended
//! ```
//!
//! [`Life`] says what the deadlines mean. They lie beside it, in one place whatever the state is, which keeps the code small. The slot
//! also remembers what events have reported (`reported_port`) and what they have not (`pending_report`), so that it can derive the
//! next event at any time from what is and what was reported.

use core::num::{NonZeroU16, NonZeroU32};

use super::event::{Ending, Event, LossCause, MappingState, MappingStatus, RequestError};
use super::exchange::{Ask, Key};
use crate::mapping::{MapRequest, Mapping};
use crate::time::{Instant, Span};
use crate::wire::Request;

/// One mapping that is wanted, or is being deleted.
#[derive(Clone, Debug)]
#[repr(C)] // small things first: a small processor has shorter instructions for what is near
pub(super) struct Slot {
    hold: Hold,
    /// Refusals in a row.
    pub(super) failures: u8,
    /// The caller changed the wish while it was asked for: the answer will be to the old one.
    is_outdated: bool,
    /// A request for it went out that was not answered: the gateway may have granted it, whatever was received.
    pub(super) is_unanswered: bool,
    pending_report: PendingReport,
    pub(super) key: Key,
    external_port: ExternalPort,
    /// The port that events have reported as open.
    reported_port: Option<NonZeroU16>,
    /// Why the last attempt failed, until one succeeds.
    error: Option<RequestError>,
    pub(super) life: Life,
    /// In seconds, as asked for.
    lifetime: u32,
    /// In seconds; `None`: renewal is left to the lifetime.
    interval: Option<NonZeroU32>,
    /// When the gateway is asked next, while it is `Closed` or `Open`.
    due: Instant,
    /// When the lease ends, while it is `Open`; when its deletion has become pointless, while it is `Closing`.
    ends: Instant,
}

/// Who owns a mapping says how it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Renewed, recreated and retried for ever. `Slot::due`: the next renewal or attempt.
    Kept,
    /// Asked for once, and its end reported. `Slot::due`: the attempt, while it is `Closed`; nothing is due once it is `Open`.
    Once,
    /// The same, and the caller asked for a renewal. `Slot::due`: the attempt or that renewal, which turns it into `Once`.
    OnceAndRefresh,
}

/// Where a mapping stands. Each variant names what `Slot::due` and `Slot::ends` mean in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)] // a tag of its own: one hidden in what `Ended` holds takes more code than it saves memory
pub(super) enum Life {
    /// Not open, and wanted. `due`: the next attempt.
    Closed(LossCause),
    /// Open by the gateway's word. `lifetime`: in seconds, as granted. `ends`: the end of the lease. `due`: the renewal, unless
    /// it is held `Once`.
    Open { lifetime: u32 },
    /// Being deleted. Each variant of [`Deletion`] names its deadline.
    Closing(Deletion),
    /// Over. It has no deadline: the next poll reports it and frees the slot.
    Ended(Ending),
}

/// How one mapping is being deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// By a request of its own, sent by the schedule. Deadline: `Slot::ends`, when the mapping has lapsed anyway.
    BySchedule,
    /// By a request of its own that is sent once, since it waited behind a silence or the caller has no time. Deadline: as in
    /// `BySchedule`.
    LastTry,
    /// With all mappings of its protocol. It has no deadline of its own: `UnmapAll` ends it.
    WithAll,
}

/// The external port to suggest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExternalPort {
    /// The caller's wish; 0 for any.
    Suggested(u16),
    /// The one that the gateway assigned last (section 3.3).
    Assigned(u16),
}

/// What happened to the mapping since the last event. No variant has a deadline: the next poll reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum PendingReport {
    Nothing,
    Grant,
    Failure,
    /// Granted, and a later attempt failed.
    GrantThenFailure,
}

impl ExternalPort {
    const fn number(self) -> u16 {
        let (Self::Suggested(port) | Self::Assigned(port)) = self;
        port
    }
}

impl PendingReport {
    /// Adds that an attempt failed.
    fn add_failure(&mut self) {
        let is_alone = matches!(self, Self::Nothing | Self::Failure);
        *self = if is_alone { Self::Failure } else { Self::GrantThenFailure };
    }

    /// Takes out that it was granted; returns whether it was.
    fn take_grant(&mut self) -> bool {
        let (rest, was_granted) = match *self {
            Self::Nothing => (Self::Nothing, false),
            Self::Failure => (Self::Failure, false),
            Self::Grant => (Self::Nothing, true),
            Self::GrantThenFailure => (Self::Failure, true),
        };
        *self = rest;
        was_granted
    }
}

impl Slot {
    /// A mapping that is wanted, to be asked for at `due`.
    pub(super) const fn new(key: Key, due: Instant) -> Self {
        Self {
            key,
            external_port: ExternalPort::Suggested(0),
            is_outdated: false,
            reported_port: None,
            lifetime: MapRequest::LONGEST_LIFETIME,
            interval: None,
            hold: Hold::Once,
            life: Life::Closed(LossCause::Expired),
            due,
            ends: due,
            failures: 0,
            is_unanswered: false,
            pending_report: PendingReport::Nothing,
            error: None,
        }
    }

    /// Takes on what the caller wants, to be asked for at once. What was kept stays kept. `is_asked`: a request for it is
    /// in flight.
    pub(super) fn want(&mut self, now: Instant, request: &MapRequest, hold: Hold, is_asked: bool) {
        let before = (self.external_port.number(), self.lifetime);
        self.lifetime = request.requested_lifetime();
        self.interval = request.chosen_refresh_interval().and_then(NonZeroU32::new);
        let is_kept = self.hold == Hold::Kept && self.is_wanted();
        self.hold = if is_kept { Hold::Kept } else { hold };
        if !matches!(self.life, Life::Open { .. }) {
            self.external_port = ExternalPort::Suggested(request.suggested_external_port());
        }
        self.is_outdated |= is_asked && before != (self.external_port.number(), self.lifetime);
        if !self.is_wanted() {
            (self.life, self.due) = (Life::Closed(LossCause::Unmapped), now);
        }
        self.ask_now(now);
    }

    /// Makes a renewal or the next attempt due at once.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn ask_now(&mut self, now: Instant) {
        self.failures = 0;
        if self.hold == Hold::Once {
            self.hold = Hold::OnceAndRefresh;
        }
        self.ask_by(now);
    }

    /// Makes a renewal or the next attempt due at `latest`, if it is not due earlier.
    #[inline(never)]
    pub(super) fn ask_by(&mut self, latest: Instant) {
        self.due = self.due.min(latest);
    }

    /// Makes what is due wait until `at`.
    pub(super) fn delay_until(&mut self, at: Instant) {
        self.due = self.due.max(at);
    }

    /// When the gateway is to be asked for it, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_due = match self.life {
            Life::Closed(_) => true,
            Life::Open { .. } => self.hold != Hold::Once,
            Life::Closing(_) | Life::Ended(_) => false,
        };
        is_due.then_some(self.due)
    }

    /// When it ends by itself.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        matches!(self.life, Life::Open { .. } | Life::Closing(Deletion::BySchedule | Deletion::LastTry))
            .then_some(self.ends)
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.life, Life::Closed(_) | Life::Open { .. })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.hold == Hold::Kept && self.is_wanted()
    }

    /// Whether it is being deleted by a request of its own.
    pub(super) fn has_own_deletion(&self) -> bool {
        matches!(self.life, Life::Closing(Deletion::BySchedule | Deletion::LastTry))
    }

    /// Whether a request is for this mapping, or for the deletion of all that it waits for.
    pub(super) fn is_asked_by(&self, ask: Ask) -> bool {
        match self.life {
            Life::Closing(Deletion::WithAll) => ask == Ask::UnmapAll(self.key.protocol),
            _ => ask.key() == Some(self.key),
        }
    }

    /// The request for it, which counts as sent.
    pub(super) fn request(&mut self) -> Request {
        self.is_unanswered = true;
        Request::Map {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            suggested_external_port: self.external_port.number(),
            lifetime: self.lifetime,
        }
    }

    /// Opens it, since the gateway granted it.
    pub(super) fn granted(&mut self, now: Instant, external_port: u16, lifetime: u32) {
        // A lease longer than asked for is not trusted.
        let lifetime = lifetime.min(self.lifetime);
        let length = Span::from_secs(lifetime);
        let pause = match self.interval {
            Some(interval) if interval.get() < lifetime => Span::from_secs(interval.get()),
            _ => length.halved(1),
        };
        self.life = Life::Open { lifetime };
        self.ends = now + length;
        self.due = now + pause;
        self.external_port = ExternalPort::Assigned(external_port);
        self.failures = 0;
        self.is_unanswered = false;
        self.end_refresh();
        self.error = None;
        if core::mem::take(&mut self.is_outdated) {
            self.ask_now(now);
        } else {
            self.pending_report = PendingReport::Grant;
        }
    }

    /// Takes that an attempt failed. A kept mapping is tried again after `pause`, or earlier if the lease ends earlier: at half of
    /// what is left of it, as DHCP does, but never earlier than after `shortest`.
    pub(super) fn refused(&mut self, now: Instant, error: RequestError, pause: Span, shortest: Span) {
        self.failures = self.failures.saturating_add(1);
        self.is_unanswered = false;
        let pause = match self.life {
            Life::Open { .. } => pause.min(self.ends.span_since(now).halved(1)).max(shortest),
            Life::Closed(_) | Life::Closing(_) | Life::Ended(_) => pause,
        };
        self.due = now + pause;
        self.failed(error);
    }

    /// Takes that an attempt failed, and with it all that there was to be tried for a mapping held once.
    #[inline(never)]
    pub(super) fn failed(&mut self, error: RequestError) {
        self.error = Some(error);
        self.end_refresh();
        match self.life {
            Life::Closed(_) if self.hold == Hold::Once => self.life = Life::Ended(Ending::NotMapped(error)),
            Life::Closing(_) => self.life = Life::Ended(Ending::NotUnmapped(error)),
            Life::Closed(_) | Life::Open { .. } => self.pending_report.add_failure(),
            Life::Ended(_) => {}
        }
    }

    /// The renewal that the caller asked for has come to its end.
    fn end_refresh(&mut self) {
        if self.hold == Hold::OnceAndRefresh {
            self.hold = Hold::Once;
        }
    }

    /// Takes the gateway's answer to its deletion.
    pub(super) fn unmapped(&mut self, result: Result<(), RequestError>) {
        match result {
            Ok(()) => self.life = Life::Ended(Ending::Unmapped),
            Err(error) => self.failed(error),
        }
    }

    /// Closes it, since the gateway does not have it any more: the machine asks again at `ask_at` if it is kept, and it is over if
    /// it was held once.
    #[inline(never)]
    pub(super) fn lost(&mut self, ask_at: Instant, cause: LossCause) {
        let Life::Open { .. } = self.life else { return };
        self.due = ask_at;
        self.life = match self.hold {
            Hold::Kept => Life::Closed(cause),
            Hold::Once | Hold::OnceAndRefresh => Life::Ended(match cause {
                LossCause::Expired | LossCause::Unmapped => Ending::Expired,
                LossCause::GatewayRestarted => Ending::GatewayRestarted,
                LossCause::GatewayChanged => Ending::GatewayChanged,
            }),
        };
    }

    /// Ends what has lapsed by `now`.
    pub(super) fn lapse(&mut self, now: Instant) {
        if self.ends_at().is_none_or(|end| now < end) {
            return;
        }
        match self.life {
            Life::Open { .. } => self.lost(self.due, LossCause::Expired),
            Life::Closing(_) => self.life = Life::Ended(Ending::ExpiredUnmapping),
            Life::Closed(_) | Life::Ended(_) => {}
        }
    }

    /// Deletes it, by a request of its own or with all of its protocol. Only a mapping that the gateway may have takes a request.
    #[inline(never)]
    pub(super) fn unmap(&mut self, now: Instant, by: Deletion) {
        self.pending_report = PendingReport::Nothing;
        match self.life {
            Life::Open { .. } if !self.is_unanswered => {}
            Life::Open { .. } | Life::Closed(_) => self.ends = now + Span::from_secs(self.lifetime),
            Life::Closing(_) => {}
            Life::Ended(_) => return,
        }
        self.life = if by == Deletion::WithAll {
            Life::Closing(by)
        } else if self.key.internal_port == 0 {
            // Its deletion would read as "delete all" (section 3.4).
            Life::Ended(Ending::LeftToLapse)
        } else if matches!(self.life, Life::Closed(_)) && !self.is_unanswered {
            Life::Ended(Ending::Unmapped)
        } else {
            Life::Closing(by)
        };
    }

    /// Sends the deletion once more and gives it up, if it is being deleted by a request of its own.
    pub(super) fn shorten_deletion(&mut self) {
        if self.life == Life::Closing(Deletion::BySchedule) {
            self.life = Life::Closing(Deletion::LastTry);
        }
    }

    /// The mapping, while it is open.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        let Life::Open { lifetime } = self.life else { return None };
        Some(Mapping {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            external_port: self.external_port.number(),
            lifetime,
        })
    }

    /// The next event, if there is one. Once returned it counts as reported.
    /// No attempt is made before `quiet_until`, whatever is due.
    pub(super) fn take_event(&mut self, quiet_until: Instant) -> Option<Event> {
        let Key { protocol, internal_port } = self.key;
        match self.life {
            Life::Ended(ending) => {
                let external_port = match self.external_port {
                    ExternalPort::Assigned(port) => port,
                    ExternalPort::Suggested(_) => 0,
                };
                return Some(Event::Ended { protocol, internal_port, external_port, ending });
            }
            Life::Closed(cause) => {
                if let Some(port) = self.reported_port.take() {
                    return Some(Event::Lost { protocol, internal_port, external_port: port.get(), cause });
                }
            }
            Life::Open { .. } | Life::Closing(_) => {}
        }
        // Nearly always, for nearly all of many slots.
        if self.pending_report == PendingReport::Nothing {
            return None;
        }
        let was_granted = self.pending_report.take_grant();
        if let Some(mapping) = self.mapping().filter(|_| was_granted) {
            let previous = core::mem::replace(&mut self.reported_port, NonZeroU16::new(mapping.external_port));
            return Some(match previous.map(NonZeroU16::get) {
                None => Event::Mapped(mapping),
                Some(port) if port == mapping.external_port => Event::Renewed(mapping),
                Some(previous_port) => Event::PortChanged { mapping, previous_port },
            });
        }
        let has_failed = core::mem::replace(&mut self.pending_report, PendingReport::Nothing) == PendingReport::Failure;
        let error = self.error.filter(|_| has_failed)?;
        let retry_at = self.due().map(|due| due.max(quiet_until));
        Some(Event::Failed { protocol, internal_port, error, retry_at })
    }

    /// The mapping as the caller sees it. No attempt is made before `quiet_until`, whatever is due.
    pub(super) fn status(&self, quiet_until: Instant) -> MappingStatus {
        MappingStatus {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            is_kept: self.hold == Hold::Kept,
            state: self.state(quiet_until),
            last_error: self.error,
        }
    }

    fn state(&self, quiet_until: Instant) -> MappingState {
        match (self.life, self.mapping()) {
            (Life::Open { .. }, Some(mapping)) => {
                let expires = self.ends;
                let renewal = self.due().map(|due| due.max(quiet_until));
                MappingState::Open { mapping, expires, renewal }
            }
            (Life::Closed(_), _) => MappingState::Closed { next_attempt: self.due.max(quiet_until) },
            (Life::Closing(_), _) => MappingState::Closing,
            (Life::Ended(_) | Life::Open { .. }, _) => MappingState::Ended,
        }
    }
    /// Whether it is over, and may be forgotten once that is reported.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }
}
