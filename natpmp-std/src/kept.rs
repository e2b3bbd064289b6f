use std::fmt;
use std::time::Duration;

use natpmp_proto::client::Ending;
use natpmp_proto::{Mapping, Protocol};

use crate::Error;
use crate::worker::wait;
use natpmp_engine::client::{Kept, KeptState};

/// A mapping that is kept for as long as this handle exists: renewed, and asked for again after every failure.
///
/// Dropping it deletes the mapping without waiting; [`stop`](Self::stop) waits and says whether that came through.
#[must_use = "the mapping is deleted when this handle is dropped"]
pub struct KeptMapping(Kept);

impl KeptMapping {
    pub(crate) const fn new(kept: Kept) -> Self {
        Self(kept)
    }

    /// The protocol that is mapped.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.0.protocol()
    }

    /// The client's own port.
    #[must_use]
    pub const fn internal_port(&self) -> u16 {
        self.0.internal_port()
    }

    /// Where it stands now. Asks nobody.
    #[must_use]
    pub fn state(&self) -> KeptState {
        self.0.state()
    }

    /// Waits until the mapping is open, for no longer than `timeout`; `None` if it is not open by then, or was unmapped by
    /// another call.
    #[must_use]
    pub fn wait_open(&self, timeout: Duration) -> Option<Mapping> {
        wait(self.0.wait_open(timeout)).ok()
    }

    /// Renews it now, or tries again now to make it. It stays kept whatever the gateway says.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`], and
    /// [`Error::Interrupted`] if it was unmapped by another call.
    pub fn refresh(&self) -> Result<Mapping, Error> {
        wait(self.0.refresh())
    }

    /// Deletes it, and waits for the gateway's answer within the client's [goodbye](crate::Builder::goodbye).
    ///
    /// [`Ending::Unmapped`] if the gateway said yes or never had it; [`Ending::LeftToLapse`] for internal port 0, which
    /// cannot be deleted alone.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`]: the mapping stays open
    /// at the gateway until its lease ends. After [`Error::NoAnswer`] its deletion is still tried as long as the client exists.
    pub fn stop(self) -> Result<Ending, Error> {
        wait(self.0.stop())
    }
}

/// What it is known by, and its state.
impl fmt::Debug for KeptMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
