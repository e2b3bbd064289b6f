//! The one request in flight (section 3.1).

use std::time::Duration;

use natpmp_proto::Instant;

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
    pub(super) fn attend(&mut self, now: Instant) {
        self.quiet = super::Window::ALWAYS;
        self.hurry(now);
    }

    /// Nobody waits for an answer to this any more.
    pub(super) fn withdraw(&mut self, is_withdrawn: impl Fn(&Flight) -> bool) {
        if self.flight.as_ref().is_some_and(is_withdrawn) {
            self.flight = None;
        }
    }

    /// A deletion does not wait behind a request that finds no answer.
    pub(super) fn make_way(&mut self) {
        self.withdraw(|flight| flight.sends > 1 && !flight.ask.is_deletion());
    }
}
