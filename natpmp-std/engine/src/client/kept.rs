use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use natpmp_proto::client::{self, Ending, MappingState, MappingStatus};
use natpmp_proto::{Instant, Mapping, Protocol};

use super::calls::Call;
use super::waiters::{Answer, Awaited};
use super::{ClientHandle, Error};

/// A mapping that is kept for as long as this exists. Dropping it deletes the mapping, and does not wait for it.
pub struct KeptHandle {
    handle: Arc<ClientHandle>,
    protocol: Protocol,
    internal_port: u16,
    owner: u64,
    is_stopped: bool,
}

/// Where a mapping stands, with times from the moment of the report on.
///
/// A mapping that is open has a `mapping` and `expires_in`; one that is not, but is asked for again, has `next_attempt_in`; one that is
/// being deleted or is gone has none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MappingReport {
    /// The protocol that is mapped.
    pub protocol: Protocol,
    /// The client's own port.
    pub internal_port: u16,
    /// Whether it is kept, or was asked for once.
    pub is_kept: bool,
    /// The mapping, while it is open.
    pub mapping: Option<Mapping>,
    /// When its lease ends unless it is renewed, while it is open.
    pub expires_in: Option<Duration>,
    /// When the gateway is asked next; `None` if it is not, or not any more.
    pub next_attempt_in: Option<Duration>,
    /// Why the last attempt failed; `None` once one has succeeded.
    pub last_error: Option<client::RequestError>,
    /// The gateway's external address; `None` if it was not asked, or has none.
    pub external_address: Option<Ipv4Addr>,
}

impl MappingReport {
    pub(crate) fn of(status: &MappingStatus, now: Instant, external_address: Option<Ipv4Addr>) -> Self {
        let (mapping, expires, next) = match status.state {
            MappingState::Open { mapping, expires, renewal } => (Some(mapping), Some(expires), renewal),
            MappingState::Closed { next_attempt } => (None, None, Some(next_attempt)),
            _ => (None, None, None),
        };
        Self {
            protocol: status.protocol,
            internal_port: status.internal_port,
            is_kept: status.is_kept,
            mapping,
            expires_in: expires.map(|at| at.saturating_since(now)),
            next_attempt_in: next.map(|at| at.saturating_since(now)),
            last_error: status.last_error,
            external_address,
        }
    }

    /// Of a mapping that the client does not hold any more.
    const fn gone(protocol: Protocol, internal_port: u16, external_address: Option<Ipv4Addr>) -> Self {
        Self {
            protocol,
            internal_port,
            is_kept: false,
            mapping: None,
            expires_in: None,
            next_attempt_in: None,
            last_error: None,
            external_address,
        }
    }
}

impl KeptHandle {
    pub(crate) fn new(handle: Arc<ClientHandle>, protocol: Protocol, internal_port: u16, owner: u64) -> Self {
        Self { handle, protocol, internal_port, owner, is_stopped: false }
    }

    /// Says which protocol is mapped.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Says which of the client's own ports is mapped.
    #[must_use]
    pub const fn internal_port(&self) -> u16 {
        self.internal_port
    }

    /// Reports where the mapping stands now. Asks nobody.
    #[must_use]
    pub fn state(&self) -> MappingReport {
        self.handle.shared.read(|state, now| {
            // Without a driver nobody knows.
            let status = state.machine.mapping(self.protocol, self.internal_port).filter(|_| !state.is_closed());
            let external_address = state.machine.external_address();
            match status {
                Some(status) => MappingReport::of(&status, now, external_address),
                None => MappingReport::gone(self.protocol, self.internal_port, external_address),
            }
        })
    }

    /// Waits until the mapping is open, for no longer than `timeout`.
    pub fn wait_open(&self, timeout: Duration) -> Call<Mapping> {
        let awaited = Awaited::Open(self.protocol, self.internal_port);
        Call::begin(&self.handle, awaited, Some(timeout), Answer::mapping, |state, _| {
            if state.is_closed() {
                return Err(Error::Stopped);
            }
            match state.machine.mapping(self.protocol, self.internal_port).map(|status| status.state) {
                Some(MappingState::Open { mapping, .. }) => Ok(Some(mapping)),
                Some(MappingState::Closed { .. }) => Ok(None),
                _ => Err(Error::Interrupted),
            }
        })
    }

    /// Renews it now, or tries again now to make it.
    pub fn refresh(&self) -> Call<Mapping> {
        let awaited = Awaited::Mapping(self.protocol, self.internal_port);
        Call::begin(&self.handle, awaited, None, Answer::mapping, |state, now| {
            match state.machine.refresh(now, self.protocol, self.internal_port) {
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
        Call::begin(&self.handle, awaited, Some(self.handle.goodbye), Answer::ending, |state, now| {
            let is_owner = state.owners.remove(protocol, port, owner);
            if is_owner {
                state.callbacks.remove(protocol, port, &mut state.pending_wakers);
                state.update_address_watch(now);
            }
            if !is_owner || state.machine.mapping(protocol, port).is_none() {
                // Another call has unmapped it before.
                return Ok(Some(Ending::Unmapped));
            }
            state.machine.unmap(now, protocol, port)?;
            Ok(None)
        })
    }
}

impl Drop for KeptHandle {
    fn drop(&mut self) {
        if self.is_stopped {
            return;
        }
        let (protocol, port) = (self.protocol, self.internal_port);
        self.handle.shared.command(|state, now| {
            if state.owners.remove(protocol, port, self.owner) {
                state.callbacks.remove(protocol, port, &mut state.pending_wakers);
                state.update_address_watch(now);
                // It has a slot, or is gone already: there is nothing to fail.
                let _ = state.machine.mapping(protocol, port).map(|_| state.machine.unmap(now, protocol, port));
            }
        });
    }
}

/// What it is known by, and its state.
impl fmt::Debug for KeptHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptMapping")
            .field("protocol", &self.protocol)
            .field("internal_port", &self.internal_port)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
