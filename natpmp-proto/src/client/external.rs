//! The external address: why it is asked for, what is known of it, and what is to be reported.
//!
//! The question for it also checks announcements: its answer brings the gateway's epoch.

use core::net::Ipv4Addr;
use core::time::Duration;

use super::Client;
use super::event::RequestError;
use super::exchange::Ask;
use crate::retry::millis;
use crate::time::{Instant, Span};
use crate::wire::Response;

/// The external address, and why it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct External {
    /// As the gateway said it last. Its silence does not take it away, a refusal does.
    address: Option<Ipv4Addr>,
    /// Why the last question failed, until one succeeds.
    error: Option<RequestError>,
    pub(super) inquiry: Inquiry,
    watch: Watch,
    /// What the next poll reports.
    pub(super) pending_report: Option<Result<Ipv4Addr, RequestError>>,
    /// In milliseconds, while it is watched.
    interval_ms: u32,
    /// When to ask next, while it is watched.
    pub(super) ask_at: Instant,
    /// When an announcement may be checked next.
    pub(super) check_at: Instant,
}

/// Why the gateway is to be asked once, apart from the watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inquiry {
    /// There is no reason, and no deadline.
    None,
    /// An announcement is to be checked. Deadline: `External::check_at`, whatever pause there is.
    Announcement,
    /// The caller waits for the answer, which checks announcements as well. Deadline: at once.
    Request,
}

/// Whether changes are to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    /// No, and there is no deadline.
    Off,
    /// Yes, and the next answer in any case. Deadline: `External::ask_at`, but not before the end of the pause.
    FirstAnswer,
    /// Yes. Deadline: as in `FirstAnswer`.
    Changes,
}

impl<const N: usize> Client<N> {
    /// Asks for the external address (section 3.2). The answer comes as [`Event::ExternalAddress`](super::Event::ExternalAddress).
    pub fn request_external_address(&mut self, now: Instant) {
        self.external.inquiry = Inquiry::Request;
        self.wake(now);
    }

    /// Whether to report changes of the external address as [`Event::ExternalAddress`](super::Event::ExternalAddress): the machine
    /// asks for it now, after every announcement, and at the interval of the [`Config`](super::Config).
    pub fn watch_external_address(&mut self, now: Instant, is_watched: bool) {
        let was_due = if self.external.is_watched() { self.external.ask_at } else { now };
        self.external.ask_at = now.min(was_due);
        if is_watched {
            self.external.watch = Watch::FirstAnswer;
            self.wake(now);
        } else {
            self.external.watch = Watch::Off;
        }
    }

    /// The external address, as the gateway said it last; `None` if it was not asked since it was set or since
    /// [`watch_external_address`](Self::watch_external_address) was switched on, or has none.
    #[must_use]
    pub const fn external_address(&self) -> Option<Ipv4Addr> {
        self.external.address
    }

    /// Checks an announcement by a question to the gateway, unless nothing here depends on it.
    pub(super) fn check_announcement(&mut self, now: Instant) {
        if !self.external.is_watched() && !self.slots.iter().any(|slot| slot.is_kept()) {
            return;
        }
        if self.external.inquiry == Inquiry::None {
            self.external.inquiry = Inquiry::Announcement;
        }
        if let Some(exchange) = &mut self.in_flight {
            exchange.restart_on_announcement(now, &self.schedule);
        }
    }

    /// Takes the gateway's answer to the question.
    pub(super) fn finish_external_address(&mut self, now: Instant, result: Result<&Response, RequestError>) {
        self.external.ask_at = now + Span::from_millis(self.external.interval_ms);
        match result {
            Ok(Response::ExternalAddress { address, .. }) => self.external.learn(*address),
            Ok(_) => {}
            Err(error) => {
                self.external.address = None;
                self.external.fail(error);
            }
        }
    }

    /// Gives up a question that nobody waits for. That is no verdict on the gateway: it was not pursued for long, and
    /// a forged announcement may have caused it.
    pub(super) fn give_up_check(&mut self, now: Instant) {
        self.in_flight = None;
        let pause = self.pause(self.silences);
        self.silences = self.silences.saturating_add(1);
        self.delay_question_until(now + pause);
        self.external.inquiry = Inquiry::None;
        if self.external.is_watched() {
            self.external.fail(RequestError::NoAnswer);
        }
    }

    /// Fails the question, if it waits for a gateway that cannot be asked anything at present.
    pub(super) fn fail_external_address(&mut self, now: Instant, asked: Option<Ask>, error: RequestError) {
        let is_watched = self.external.is_watched() && self.external.ask_at <= now;
        if self.external.inquiry == Inquiry::Request || is_watched {
            self.external.fail(error);
        }
        if asked == Some(Ask::ExternalAddress) {
            self.delay_question_until(self.quiet_until);
        }
        self.external.inquiry = Inquiry::None;
    }

    fn delay_question_until(&mut self, at: Instant) {
        let is_alive = self.slots.iter().any(|slot| slot.mapping().is_some());
        self.external.ask_at = at + if is_alive { ADDRESS_PAUSE } else { Span::ZERO };
    }
}

impl External {
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            address: None,
            error: None,
            inquiry: Inquiry::None,
            watch: Watch::Off,
            pending_report: None,
            interval_ms: at_least_a_second(millis(interval)),
            ask_at: Instant::ZERO,
            check_at: Instant::ZERO,
        }
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watch != Watch::Off
    }

    /// Forgets what another gateway said. What was to be reported is no answer any more, and is asked for again.
    pub(super) fn forget(&mut self) {
        self.address = None;
        self.error = None;
        if self.pending_report.take().is_some() {
            self.inquiry = Inquiry::Request;
        }
    }

    /// Takes the address that the gateway said.
    fn learn(&mut self, address: Ipv4Addr) {
        let is_new = self.error.take().is_some() || self.address != Some(address);
        self.address = Some(address);
        if self.end_question(is_new) {
            self.pending_report = Some(Ok(address));
        }
    }

    /// Takes the failure of a question.
    fn fail(&mut self, error: RequestError) {
        let is_new = self.error != Some(error);
        self.error = Some(error);
        if self.end_question(is_new) {
            self.pending_report = Some(Err(error));
        }
    }

    /// Ends the question. Returns whether to report its outcome: if the caller waits for it, or watches and it is new.
    #[inline(never)]
    fn end_question(&mut self, is_new: bool) -> bool {
        let is_requested = core::mem::replace(&mut self.inquiry, Inquiry::None) == Inquiry::Request;
        let is_watched_for = match self.watch {
            Watch::Off => false,
            Watch::FirstAnswer => {
                self.watch = Watch::Changes;
                true
            }
            Watch::Changes => is_new,
        };
        is_requested || is_watched_for
    }
}

/// Milliseconds, a second of them at least.
const fn at_least_a_second(millis: u32) -> u32 {
    if millis < 1_000 { 1_000 } else { millis }
}

/// One question in this time checks all announcements.
pub(super) const CHECK_PAUSE: Span = Span::from_secs(1);

/// How much longer than the pause the question waits at a gateway that grants mappings and does not say its address.
const ADDRESS_PAUSE: Span = Span::from_secs(60);
