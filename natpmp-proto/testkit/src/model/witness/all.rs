//! The deletion of all mappings of a protocol.

use natpmp_proto::client::RequestError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum All {
    /// To be deleted, by the schedule.
    Wanted,
    /// The gateway was found silent, or there is no time left: once more.
    LastTry,
    /// Of an earlier holder of the address: once, and its silence is no verdict.
    Clearing,
    /// To be told.
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
