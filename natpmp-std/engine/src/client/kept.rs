use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use natpmp_proto::client::{self, Ending, MappingState};
use natpmp_proto::{Mapping, Protocol};

use super::calls::Call;
use super::waiters::{Answer, Awaited};
use super::{ClientHandle, Error};

/// A mapping that is kept for as long as this exists. Dropping it deletes the mapping, and does not wait for it.
pub struct Kept {
    handle: Arc<ClientHandle>,
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
    pub last_error: Option<client::RequestError>,
    /// The gateway's external address; `None` if it was not asked, or has none.
    pub external_address: Option<Ipv4Addr>,
}

impl Kept {
    pub(crate) fn new(handle: Arc<ClientHandle>, protocol: Protocol, internal_port: u16, owner: u64) -> Self {
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

    /// Where it stands now.
    #[must_use]
    pub fn state(&self) -> KeptState {
        self.handle.shared.look(|core, now| {
            // Without a driver nobody knows.
            let status = core.machine.mapping(self.protocol, self.internal_port).filter(|_| !core.is_closed());
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

    /// Waits until the mapping is open, for no longer than `timeout`.
    pub fn wait_open(&self, timeout: Duration) -> Call<Mapping> {
        let awaited = Awaited::Open(self.protocol, self.internal_port);
        Call::begin(&self.handle, awaited, Some(timeout), Answer::mapping, |core, _| {
            if core.is_closed() {
                return Err(Error::Stopped);
            }
            match core.machine.mapping(self.protocol, self.internal_port).map(|status| status.state) {
                Some(MappingState::Open { mapping, .. }) => Ok(Some(mapping)),
                Some(MappingState::Closed { .. }) => Ok(None),
                _ => Err(Error::Interrupted),
            }
        })
    }

    /// Renews it now, or tries again now to make it.
    pub fn refresh(&self) -> Call<Mapping> {
        let awaited = Awaited::Mapping(self.protocol, self.internal_port);
        Call::begin(&self.handle, awaited, None, Answer::mapping, |core, now| {
            match core.machine.refresh(now, self.protocol, self.internal_port) {
                true => Ok(None),
                false => Err(Error::Interrupted),
            }
        })
    }

    /// Deletes it, and waits for the gateway's answer within the client's goodbye.
    pub fn stop(mut self) -> Call<Ending> {
        self.is_stopped = true;
        let (protocol, port, owner) = (self.protocol, self.internal_port, self.owner);
        let awaited = Awaited::Ending(protocol, port);
        Call::begin(&self.handle, awaited, Some(self.handle.goodbye), Answer::ending, |core, now| {
            let is_owner = core.owners.remove(protocol, port, owner);
            if is_owner {
                core.callbacks.remove(protocol, port);
                core.watch_address(now);
            }
            if !is_owner || core.machine.mapping(protocol, port).is_none() {
                // Another call has unmapped it before.
                return Ok(Some(Ending::Unmapped));
            }
            core.machine.unmap(now, protocol, port)?;
            Ok(None)
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.is_stopped {
            return;
        }
        let (protocol, port) = (self.protocol, self.internal_port);
        self.handle.shared.command(|core, now| {
            if core.owners.remove(protocol, port, self.owner) {
                core.callbacks.remove(protocol, port);
                core.watch_address(now);
                // It has a slot, or is gone already: there is nothing to fail.
                let _ = core.machine.mapping(protocol, port).map(|_| core.machine.unmap(now, protocol, port));
            }
        });
    }
}

/// What it is known by, and its state.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptMapping")
            .field("protocol", &self.protocol)
            .field("internal_port", &self.internal_port)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
