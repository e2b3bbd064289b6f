//! The life of one mapping.
//!
//! ```text
//!            ask granted                    lease ends, gateway restarted or changed
//!  Closed ----------------> Open      Open ----------------> Closed (kept) or Ended (held once)
//!  Closed, Open --unmap--> Closing --answered, or nothing left to delete--> Ended --told--> (gone)
//!  Closed --failed, held once--> Ended
//! ```
//!
//! The state says what the deadlines mean; they lie beside it, in one place whatever it is, which keeps the code small. What
//! events have told is remembered there too (`told_port`, `news`), so that an event can be derived at any time from what is
//! and what was told.

use super::ask::Key;
use super::event::{Ending, Error, Event, LossCause};
use crate::mapping::{MapRequest, Mapping};
use crate::time::{Instant, Span};
use crate::wire::Request;

#[derive(Clone, Debug)]
#[repr(C)] // small things first: a small processor has shorter instructions for what is near
pub(super) struct Slot {
    pub(super) hold: Hold,
    /// Refusals in a row.
    pub(super) failures: u8,
    /// Whether the external port was assigned at any time.
    was_assigned: bool,
    /// The caller changed the wish while it was asked for: the answer will be to the old one.
    is_outdated: bool,
    /// A request for it went out that was not answered: the gateway may have granted it, whatever was heard.
    pub(super) is_unanswered: bool,
    /// It waited for its deletion behind a silence: that is sent once, and given up.
    pub(super) is_last_try: bool,
    /// A renewal was asked for by the caller. What is kept is renewed anyway.
    refresh_wanted: bool,
    pub(super) news: News,
    pub(super) key: Key,
    /// To be suggested: the caller's wish at first, later the port that was assigned (section 3.3).
    pub(super) external_port: u16,
    /// The port that events have told as open; 0 if none.
    told_port: u16,
    /// Why the last attempt failed, until one succeeds.
    pub(super) error: Option<Error>,
    pub(super) life: Life,
    /// In seconds, as asked for.
    pub(super) lifetime: u32,
    /// In seconds; 0 if renewal is left to the lifetime.
    interval: u32,
    /// When the gateway is asked next, while it is `Closed` or `Open`.
    pub(super) due: Instant,
    /// When the lease ends, while it is `Open`; when its deletion has become pointless, while it is `Closing`.
    pub(super) ends: Instant,
}

/// Who owns a mapping says how it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// Renewed, recreated and retried for ever.
    Kept,
    /// Asked for once, and reported when it ends.
    Once,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)] // a tag of its own: one hidden in what `Ended` holds takes more code than it saves memory
pub(super) enum Life {
    /// Not open, and wanted.
    Closed(LossCause),
    /// Open by the gateway's word. `lifetime`: in seconds, as granted.
    Open { lifetime: u32 },
    /// Being deleted, and not pursued past the moment when it has lapsed anyway. `with_all`: by deleting all of its protocol.
    Closing { with_all: bool },
    /// Over; waits to be told.
    Ended(Ending),
}

/// What happened since the last event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct News {
    granted: bool,
    failed: bool,
}

impl News {
    const NONE: Self = Self { granted: false, failed: false };
}

impl Slot {
    /// A mapping that is wanted, to be asked for at `due`.
    pub(super) const fn new(key: Key, due: Instant) -> Self {
        Self {
            key,
            external_port: 0,
            was_assigned: false,
            is_outdated: false,
            told_port: 0,
            lifetime: MapRequest::LONGEST_LIFETIME,
            interval: 0,
            hold: Hold::Once,
            life: Life::Closed(LossCause::Expired),
            due,
            ends: due,
            failures: 0,
            is_unanswered: false,
            is_last_try: false,
            refresh_wanted: false,
            news: News::NONE,
            error: None,
        }
    }

    /// Takes on what the caller wants, to be asked for at once. What was kept stays kept. `is_asked`: a request for it is
    /// in flight.
    pub(super) fn want(&mut self, now: Instant, request: &MapRequest, hold: Hold, is_asked: bool) {
        let before = (self.external_port, self.lifetime);
        self.lifetime = request.requested_lifetime();
        self.interval = request.chosen_refresh_interval().unwrap_or(0);
        let is_kept = self.hold == Hold::Kept && self.is_wanted();
        self.hold = if is_kept { Hold::Kept } else { hold };
        if !matches!(self.life, Life::Open { .. }) {
            self.external_port = request.suggested_external_port();
            self.was_assigned = false;
        }
        self.is_outdated |= is_asked && before != (self.external_port, self.lifetime);
        if !self.is_wanted() {
            (self.life, self.due) = (Life::Closed(LossCause::Unmapped), now);
        }
        self.ask_now(now);
    }

    /// Makes a renewal or the next attempt due at once.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn ask_now(&mut self, now: Instant) {
        self.failures = 0;
        self.refresh_wanted = true;
        self.ask_by(now);
    }

    /// Makes a renewal or the next attempt due at `latest`, if it is not due earlier.
    #[inline(never)]
    pub(super) fn ask_by(&mut self, latest: Instant) {
        self.due = self.due.min(latest);
    }

    /// Makes what is due wait until `at`.
    pub(super) fn put_off(&mut self, at: Instant) {
        self.due = self.due.max(at);
    }

    /// When the gateway is to be asked for it, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        let is_due = match self.life {
            Life::Closed(_) => true,
            Life::Open { .. } => self.hold == Hold::Kept || self.refresh_wanted,
            Life::Closing { .. } | Life::Ended(_) => false,
        };
        is_due.then_some(self.due)
    }

    /// When it ends by itself.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        matches!(self.life, Life::Open { .. } | Life::Closing { with_all: false }).then_some(self.ends)
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.life, Life::Closed(_) | Life::Open { .. })
    }

    pub(super) fn is_kept(&self) -> bool {
        self.hold == Hold::Kept && self.is_wanted()
    }

    /// The request for it, which counts as sent.
    pub(super) fn request(&mut self) -> Request {
        self.is_unanswered = true;
        Request::Map {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            suggested_external_port: self.external_port,
            lifetime: self.lifetime,
        }
    }

    /// The gateway granted it.
    pub(super) fn granted(&mut self, now: Instant, external_port: u16, lifetime: u32) {
        // A lease longer than asked for is not trusted.
        let lifetime = lifetime.min(self.lifetime);
        let length = Span::from_secs(lifetime);
        let pause = match self.interval {
            interval if (1..lifetime).contains(&interval) => Span::from_secs(interval),
            _ => length.halved(1),
        };
        self.life = Life::Open { lifetime };
        self.ends = now + length;
        self.due = now + pause;
        self.external_port = external_port;
        self.was_assigned = true;
        self.failures = 0;
        self.is_unanswered = false;
        self.refresh_wanted = false;
        self.error = None;
        if core::mem::take(&mut self.is_outdated) {
            self.ask_now(now);
        } else {
            self.news = News { granted: true, failed: false };
        }
    }

    /// An attempt failed; a kept mapping is tried again after `pause`, or earlier if the lease ends earlier: at half of
    /// what is left of it, as DHCP does, but never earlier than after `shortest`.
    pub(super) fn refused(&mut self, now: Instant, error: Error, pause: Span, shortest: Span) {
        self.failures = self.failures.saturating_add(1);
        self.is_unanswered = false;
        let pause = match self.life {
            Life::Open { .. } => pause.min(self.ends.span_since(now).halved(1)).max(shortest),
            Life::Closed(_) | Life::Closing { .. } | Life::Ended(_) => pause,
        };
        self.due = now + pause;
        self.failed(error);
    }

    /// An attempt failed, and with it all that there was to be tried for a mapping held once.
    #[inline(never)]
    pub(super) fn failed(&mut self, error: Error) {
        self.error = Some(error);
        self.refresh_wanted = false;
        match self.life {
            Life::Closed(_) if self.hold == Hold::Once => self.life = Life::Ended(Ending::NotMapped(error)),
            Life::Closing { .. } => self.life = Life::Ended(Ending::NotUnmapped(error)),
            Life::Closed(_) | Life::Open { .. } => self.news.failed = true,
            Life::Ended(_) => {}
        }
    }

    /// The gateway has answered the deletion.
    pub(super) fn unmapped(&mut self, result: Result<(), Error>) {
        match result {
            Ok(()) => self.life = Life::Ended(Ending::Unmapped),
            Err(error) => self.failed(error),
        }
    }

    /// The gateway does not have it any more: asked for again at `ask_at` if it is kept, over if it was held once.
    #[inline(never)]
    pub(super) fn lost(&mut self, ask_at: Instant, cause: LossCause) {
        let Life::Open { .. } = self.life else { return };
        self.due = ask_at;
        self.life = match self.hold {
            Hold::Kept => Life::Closed(cause),
            Hold::Once => Life::Ended(match cause {
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
            Life::Closing { .. } => self.life = Life::Ended(Ending::ExpiredUnmapping),
            Life::Closed(_) | Life::Ended(_) => {}
        }
    }

    /// It is to be deleted.
    #[inline(never)]
    pub(super) fn unmap(&mut self, now: Instant, with_all: bool) {
        self.news = News::NONE;
        self.is_last_try = false;
        match self.life {
            Life::Open { .. } if !self.is_unanswered => {}
            Life::Open { .. } | Life::Closed(_) => self.ends = now + Span::from_secs(self.lifetime),
            Life::Closing { .. } => {}
            Life::Ended(_) => return,
        }
        self.life = if with_all {
            Life::Closing { with_all }
        } else if self.key.internal_port == 0 {
            // Its deletion would read as "delete all" (section 3.4).
            Life::Ended(Ending::LeftToLapse)
        } else if matches!(self.life, Life::Closed(_)) && !self.is_unanswered {
            Life::Ended(Ending::Unmapped)
        } else {
            Life::Closing { with_all }
        };
    }

    /// The mapping, while it is open.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        let Life::Open { lifetime } = self.life else { return None };
        Some(Mapping {
            protocol: self.key.protocol,
            internal_port: self.key.internal_port,
            external_port: self.external_port,
            lifetime,
        })
    }

    /// The next thing to tell, if there is any. What is told counts as told.
    /// No attempt is made before `quiet_until`, whatever is due.
    pub(super) fn take_event(&mut self, quiet_until: Instant) -> Option<Event> {
        let Key { protocol, internal_port } = self.key;
        let told_port = self.told_port;
        match self.life {
            Life::Ended(ending) => {
                let external_port = if self.was_assigned { self.external_port } else { 0 };
                return Some(Event::Ended { protocol, internal_port, external_port, ending });
            }
            Life::Closed(cause) if told_port != 0 => {
                self.told_port = 0;
                return Some(Event::Lost { protocol, internal_port, external_port: told_port, cause });
            }
            _ => {}
        }
        // Nearly always, for nearly all of many slots.
        if self.news == News::NONE {
            return None;
        }
        let granted = core::mem::take(&mut self.news.granted);
        if let Some(mapping) = self.mapping().filter(|_| granted) {
            self.told_port = mapping.external_port;
            return Some(match told_port {
                0 => Event::Mapped(mapping),
                port if port == mapping.external_port => Event::Renewed(mapping),
                previous_port => Event::PortChanged { mapping, previous_port },
            });
        }
        let failed = core::mem::take(&mut self.news.failed);
        let error = self.error.filter(|_| failed)?;
        let retry_at = self.due().map(|due| due.max(quiet_until));
        Some(Event::Failed { protocol, internal_port, error, retry_at })
    }

    /// It is over and may be forgotten once that was told.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }
}
