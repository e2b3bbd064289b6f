//! The life of one mapping.
//!
//! ```text
//!            ask granted                    lease ends, gateway restarted or changed
//!  Closed ----------------> Open      Open ----------------> Closed (kept) or Ended (held once)
//!  Closed, Open --unmap--> Closing --answered, or nothing left to delete--> Ended --told--> (gone)
//!  Closed --failed, held once--> Ended
//! ```
//!
//! Each state carries its own deadlines. What events have told is remembered beside it (`told_port`, `news`), so that an
//! event can be derived at any time from what is and what was told.

use core::time::Duration;

use super::ask::Key;
use super::event::{Ending, Error, Event, LossCause};
use crate::mapping::{MapRequest, Mapping};
use crate::time::Instant;
use crate::wire::Request;

#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// To be suggested: the caller's wish at first, later the port that was assigned (section 3.3).
    pub(super) external_port: u16,
    /// Whether that port was assigned at any time.
    was_assigned: bool,
    /// The caller changed the wish while it was asked for: the answer will be to the old one.
    is_outdated: bool,
    /// The port that events have told as open; 0 if none.
    told_port: u16,
    /// In seconds, as asked for.
    pub(super) lifetime: u32,
    /// In seconds; 0 if renewal is left to the lifetime.
    interval: u32,
    pub(super) hold: Hold,
    pub(super) life: Life,
    /// Refusals in a row.
    pub(super) failures: u8,
    /// A request for it went out that was not answered: the gateway may have granted it, whatever was heard.
    pub(super) is_unanswered: bool,
    /// It waited for its deletion behind a silence: that is sent once, and given up.
    pub(super) is_last_try: bool,
    /// A renewal was asked for by the caller. What is kept is renewed anyway.
    refresh_wanted: bool,
    pub(super) news: News,
    /// Why the last attempt failed, until one succeeds.
    pub(super) error: Option<Error>,
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
pub(super) enum Life {
    /// Not open, and wanted: to be asked for at `ask_at`.
    Closed { ask_at: Instant, cause: LossCause },
    /// Open by the gateway's word, until `expires`.
    Open { lifetime: u32, expires: Instant, renew_at: Instant },
    /// Being deleted, and not pursued past the moment when it has lapsed anyway. `with_all`: by deleting all of its protocol.
    Closing { give_up_at: Instant, with_all: bool },
    /// Over; waits to be told.
    Ended(Ending),
}

/// What happened since the last event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct News {
    granted: bool,
    failed: bool,
}

impl Slot {
    pub(super) fn new(key: Key, life: Life) -> Self {
        Self {
            key,
            external_port: 0,
            was_assigned: false,
            is_outdated: false,
            told_port: 0,
            lifetime: MapRequest::LONGEST_LIFETIME,
            interval: 0,
            hold: Hold::Once,
            life,
            failures: 0,
            is_unanswered: false,
            is_last_try: false,
            refresh_wanted: false,
            news: News::default(),
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
            self.life = Life::Closed { ask_at: now, cause: LossCause::Unmapped };
        }
        self.ask_now(now);
    }

    /// Makes a renewal or the next attempt due at once.
    pub(super) fn ask_now(&mut self, now: Instant) {
        self.failures = 0;
        self.refresh_wanted = true;
        self.ask_by(now);
    }

    /// Makes a renewal or the next attempt due at `latest`, if it is not due earlier.
    pub(super) fn ask_by(&mut self, latest: Instant) {
        match &mut self.life {
            Life::Closed { ask_at: due, .. } | Life::Open { renew_at: due, .. } => *due = latest.min(*due),
            Life::Closing { .. } | Life::Ended(_) => {}
        }
    }

    /// Makes what is due wait until `at`.
    pub(super) fn put_off(&mut self, at: Instant) {
        if let Life::Closed { ask_at: due, .. } | Life::Open { renew_at: due, .. } = &mut self.life {
            *due = at.max(*due);
        }
    }

    /// When the gateway is to be asked for it, if it is.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.life {
            Life::Closed { ask_at, .. } => Some(ask_at),
            Life::Open { renew_at, .. } => (self.hold == Hold::Kept || self.refresh_wanted).then_some(renew_at),
            Life::Closing { .. } | Life::Ended(_) => None,
        }
    }

    /// When it ends by itself.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        match self.life {
            Life::Open { expires, .. } => Some(expires),
            Life::Closing { give_up_at, with_all: false } => Some(give_up_at),
            Life::Closing { .. } | Life::Closed { .. } | Life::Ended(_) => None,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        matches!(self.life, Life::Closed { .. } | Life::Open { .. })
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
        let half = Duration::from_millis(u64::from(lifetime).saturating_mul(500));
        let pause = match self.interval {
            interval if (1..lifetime).contains(&interval) => Duration::from_secs(interval.into()),
            _ => half,
        };
        let expires = now + Duration::from_secs(lifetime.into());
        self.life = Life::Open { lifetime, expires, renew_at: now + pause };
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
    pub(super) fn refused(&mut self, now: Instant, error: Error, pause: Duration, shortest: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.is_unanswered = false;
        match &mut self.life {
            Life::Closed { ask_at, .. } => *ask_at = now + pause,
            Life::Open { expires, renew_at, .. } => {
                let half_of_rest = expires.saturating_since(now) / 2;
                *renew_at = now + pause.min(half_of_rest).max(shortest);
            }
            Life::Closing { .. } | Life::Ended(_) => {}
        }
        self.failed(error);
    }

    /// An attempt failed, and with it all that there was to be tried for a mapping held once.
    pub(super) fn failed(&mut self, error: Error) {
        self.error = Some(error);
        self.refresh_wanted = false;
        match self.life {
            Life::Closed { .. } if self.hold == Hold::Once => self.life = Life::Ended(Ending::NotMapped(error)),
            Life::Closing { .. } => self.life = Life::Ended(Ending::NotUnmapped(error)),
            Life::Closed { .. } | Life::Open { .. } => self.news.failed = true,
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
    pub(super) fn lost(&mut self, ask_at: Instant, cause: LossCause) {
        let Life::Open { .. } = self.life else { return };
        self.life = match self.hold {
            Hold::Kept => Life::Closed { ask_at, cause },
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
            Life::Open { renew_at, .. } => self.lost(renew_at, LossCause::Expired),
            Life::Closing { .. } => self.life = Life::Ended(Ending::ExpiredUnmapping),
            Life::Closed { .. } | Life::Ended(_) => {}
        }
    }

    /// It is to be deleted.
    pub(super) fn unmap(&mut self, now: Instant, with_all: bool) {
        self.news = News::default();
        self.is_last_try = false;
        let longest = now + Duration::from_secs(self.lifetime.into());
        let give_up_at = match self.life {
            Life::Open { expires, .. } if !self.is_unanswered => expires,
            Life::Open { .. } | Life::Closed { .. } => longest,
            Life::Closing { give_up_at, .. } => give_up_at,
            Life::Ended(_) => return,
        };
        self.life = if with_all {
            Life::Closing { give_up_at, with_all }
        } else if self.key.internal_port == 0 {
            // Its deletion would read as "delete all" (section 3.4).
            Life::Ended(Ending::LeftToLapse)
        } else if matches!(self.life, Life::Closed { .. }) && !self.is_unanswered {
            Life::Ended(Ending::Unmapped)
        } else {
            Life::Closing { give_up_at, with_all }
        };
    }

    /// The mapping, while it is open.
    pub(super) fn mapping(&self) -> Option<Mapping> {
        let Life::Open { lifetime, .. } = self.life else { return None };
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
            Life::Closed { cause, .. } if told_port != 0 => {
                self.told_port = 0;
                return Some(Event::Lost { protocol, internal_port, external_port: told_port, cause });
            }
            _ => {}
        }
        // Nearly always, for nearly all of many slots.
        if self.news == News::default() {
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
