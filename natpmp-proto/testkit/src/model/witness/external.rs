//! The external address: who waits for it, and what was told.

use std::net::Ipv4Addr;

use natpmp_proto::Instant;
use natpmp_proto::client::RequestError;

use super::window::Window;

pub(super) type Learned = Result<Ipv4Addr, RequestError>;

#[derive(Clone, Debug)]
pub(super) struct External {
    /// The caller waits for an answer.
    pub(super) is_asked: bool,
    pub(super) is_watched: bool,
    /// The next answer is told, whatever was known.
    pub(super) is_first: bool,
    /// When it is asked for next while it is watched.
    pub(super) ask_at: Window,
    pub(super) known: Option<Learned>,
    /// To be told.
    pub(super) news: Option<Learned>,
    /// Was learned if it is told, and was not if it is not: whether it was due is not known.
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
            news: None,
            rumour: None,
        }
    }
}

impl External {
    pub(super) fn learn(&mut self, answer: Learned) {
        if self.is_asked || self.is_watched && (self.is_first || self.known != Some(answer)) {
            self.news = Some(answer);
        }
        self.known = Some(answer);
        (self.is_asked, self.is_first) = (false, false);
    }

    /// When it is asked for, but for pauses.
    pub(super) fn due(&self) -> Option<Window> {
        if self.is_asked { Some(Window::ALWAYS) } else { self.is_watched.then_some(self.ask_at) }
    }
}
