use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use natpmp_proto::client::{self, Ending, Event, MappingState};
use natpmp_proto::{Mapping, Protocol};

use crate::Error;
use crate::client::{Handle, ending};
use crate::driver::Awaited;

/// A mapping that is kept for as long as this handle exists: renewed, and asked for again after every failure.
///
/// Dropping it deletes the mapping without waiting; [`stop`](Self::stop) waits and says whether that came through.
#[must_use = "the mapping is deleted when this handle is dropped"]
pub struct KeptMapping {
    handle: Arc<Handle>,
    protocol: Protocol,
    internal_port: u16,
    owner: u64,
    is_stopped: bool,
}

/// Where a kept mapping stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptState {
    /// The mapping, while it is open.
    pub mapping: Option<Mapping>,
    /// When its lease ends unless it is renewed, while it is open.
    pub expires_in: Option<Duration>,
    /// When the gateway is asked next; `None` if it is being deleted or is gone.
    pub next_attempt_in: Option<Duration>,
    /// Why the last attempt failed; `None` once one has succeeded.
    pub last_error: Option<client::Error>,
    /// The gateway's external address; `None` if it was not asked, or has none.
    pub external_address: Option<Ipv4Addr>,
}

impl KeptMapping {
    pub(crate) fn new(handle: Arc<Handle>, protocol: Protocol, internal_port: u16, owner: u64) -> Self {
        Self { handle, protocol, internal_port, owner, is_stopped: false }
    }

    /// The protocol that is mapped.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The client's own port.
    #[must_use]
    pub const fn internal_port(&self) -> u16 {
        self.internal_port
    }

    /// Where it stands now. Asks nobody.
    #[must_use]
    pub fn state(&self) -> KeptState {
        self.handle.shared.look(|core, now| {
            let status = core.machine.mapping(self.protocol, self.internal_port);
            let state = status.map(|status| status.state);
            let (mapping, expires, next) = match state {
                Some(MappingState::Open { mapping, expires, renewal }) => (Some(mapping), Some(expires), renewal),
                Some(MappingState::Closed { next_attempt }) => (None, None, Some(next_attempt)),
                _ => (None, None, None),
            };
            KeptState {
                mapping,
                expires_in: expires.map(|at| at.saturating_since(now)),
                next_attempt_in: next.map(|at| at.saturating_since(now)),
                last_error: status.and_then(|status| status.last_error),
                external_address: core.machine.external_address(),
            }
        })
    }

    /// Waits until the mapping is open, for no longer than `timeout`; `None` if it is not open by then, or was unmapped by
    /// another call.
    #[must_use]
    pub fn wait_open(&self, timeout: Duration) -> Option<Mapping> {
        // Subscribed before looking, so that nothing is missed between.
        let mut events = self.handle.shared.command(|core, _| core.events.subscribe());
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let state = self.state();
            if state.mapping.is_some() || state.next_attempt_in.is_none() {
                return state.mapping;
            }
            match deadline {
                None => events.next()?,
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    events.next_timeout(left)?
                }
            };
        }
    }

    /// Renews it now, or tries again now to make it. It stays kept whatever the gateway says.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`], and
    /// [`Error::Interrupted`] if it was unmapped by another call.
    pub fn refresh(&self) -> Result<Mapping, Error> {
        self.handle.ask_for_mapping(Awaited::Mapping(self.protocol, self.internal_port), |core, now| {
            match core.machine.refresh(now, self.protocol, self.internal_port) {
                true => Ok(()),
                false => Err(Error::Interrupted),
            }
        })
    }

    /// Deletes it, and waits for the gateway's answer within the client's [goodbye](crate::Builder::goodbye).
    ///
    /// [`Ending::Unmapped`] if the gateway said yes or never had it; [`Ending::LeftToLapse`] for internal port 0, which
    /// cannot be deleted alone.
    ///
    /// # Errors
    /// [`Error::NoAnswer`], [`Error::PortUnreachable`], [`Error::Refused`], [`Error::NetworkDown`]: the mapping stays open
    /// at the gateway until its lease ends. After [`Error::NoAnswer`] its deletion is still tried as long as the client exists.
    pub fn stop(mut self) -> Result<Ending, Error> {
        self.is_stopped = true;
        let (protocol, port, owner) = (self.protocol, self.internal_port, self.owner);
        let mut is_gone = false;
        let result = self.handle.ask_to_end(Awaited::Ending(protocol, port), |core, now| {
            let is_owner = core.owners.remove(protocol, port, owner);
            if is_owner {
                core.callbacks.remove(protocol, port);
            }
            is_gone = !is_owner || core.machine.mapping(protocol, port).is_none();
            match is_gone {
                true => Err(Error::Interrupted),
                false => Ok(core.machine.unmap(now, protocol, port)?),
            }
        });
        // Another call has unmapped it before.
        if is_gone { Ok(Ending::Unmapped) } else { ending(result?) }
    }
}

impl Drop for KeptMapping {
    fn drop(&mut self) {
        if self.is_stopped {
            return;
        }
        let (protocol, port) = (self.protocol, self.internal_port);
        self.handle.shared.command(|core, now| {
            if core.owners.remove(protocol, port, self.owner) {
                core.callbacks.remove(protocol, port);
                // It has a slot, or is gone already: there is nothing to fail.
                let _ = core.machine.mapping(protocol, port).map(|_| core.machine.unmap(now, protocol, port));
            }
        });
    }
}

/// What it is known by, and its state.
impl fmt::Debug for KeptMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptMapping")
            .field("protocol", &self.protocol)
            .field("internal_port", &self.internal_port)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// Which handle owns which kept mapping.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    owners: Vec<(Protocol, u16, u64)>,
    last: u64,
}

impl Owners {
    pub(crate) fn owner(&self, protocol: Protocol, port: u16) -> Option<u64> {
        self.owners.iter().find(|owner| (owner.0, owner.1) == (protocol, port)).map(|owner| owner.2)
    }

    pub(crate) fn add(&mut self, protocol: Protocol, port: u16) -> u64 {
        self.last = self.last.saturating_add(1);
        self.owners.push((protocol, port, self.last));
        self.last
    }

    /// `false` if it is owned by another handle, or by none.
    pub(crate) fn remove(&mut self, protocol: Protocol, port: u16, owner: u64) -> bool {
        let before = self.owners.len();
        self.owners.retain(|&entry| entry != (protocol, port, owner));
        self.owners.len() < before
    }

    /// A mapping that is over has no owner.
    pub(crate) fn tell(&mut self, event: &Event) {
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.owners.retain(|owner| (owner.0, owner.1) != (protocol, internal_port));
        }
    }
}
