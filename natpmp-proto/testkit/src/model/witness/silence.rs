//! What the client does not do: nothing that is due is left undone, and it comes back in time for what will be.

use natpmp_proto::Instant;

use super::mapping::Life;
use super::window::Window;
use super::{Ask, Witness};

impl Witness {
    /// The client has nothing more to do at `now`, and waits until `deadline`.
    pub(super) fn is_quiet(&mut self, now: Instant, deadline: Option<Instant>) {
        self.is_all_told();
        assert!(
            deadline.is_none_or(|at| now < at),
            "a deadline that is due makes no progress: {deadline:?} at {now:?}"
        );
        let ends = self.mappings.values().filter_map(super::mapping::Mapping::ends_at).map(Window::at);
        let request: Option<Window> = match &self.flight {
            Some(flight) => Some(Window::at(flight.due)),
            None => {
                let agenda = self.agenda();
                if let Some(late) = agenda.iter().find(|(_, when)| when.must(now)) {
                    panic!("nothing is sent at {now:?}, and {late:?} is due");
                }
                agenda.into_iter().map(|(_, when)| when).reduce(Window::or_earlier)
            }
        };
        let expected = ends.chain(request).reduce(Window::or_earlier);
        let is_right = match (deadline, expected) {
            (Some(deadline), Some(expected)) => expected.has(deadline),
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "waits for {deadline:?} at {now:?}, not for {expected:?}: {self:?}");
    }

    /// All that is to be asked, and when, if nothing is in flight.
    pub(super) fn agenda(&self) -> Vec<(Ask, Window)> {
        let mut agenda = Vec::new();
        for (protocol, _) in self.all.iter().filter(|(_, all)| all.is_wanted()) {
            agenda.push((Ask::DeleteAll(*protocol), Window::ALWAYS));
        }
        for (key, mapping) in &self.mappings {
            if let Life::Closing { with_all: false, .. } = mapping.life {
                assert_ne!(key.1, 0, "C23: it would delete all");
                agenda.push((Ask::Delete(*key), Window::ALWAYS));
            }
            if let Some(due) = mapping.due() {
                agenda.push((Ask::Map(*key), due.or_later(self.quiet)));
            }
        }
        if let Some(question) = self.question {
            agenda.push((Ask::Address, Window::at(question)));
        }
        if let Some(due) = self.external.due() {
            agenda.push((Ask::Address, due.or_later(self.quiet)));
        }
        agenda
    }
}
