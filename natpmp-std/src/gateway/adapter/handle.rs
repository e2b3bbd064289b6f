use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_proto::gateway::{Event, Mapping};

use super::Shared;
use super::shared::Command;
use crate::adapter::News;

/// A server as its owner has it. When it is dropped the driver ends.
pub struct Handle {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

impl Handle {
    /// `worker`: the thread that is to be waited for at the end, if there is one.
    #[must_use]
    pub const fn new(shared: Arc<Shared>, worker: Option<JoinHandle<()>>) -> Self {
        Self { shared, worker }
    }

    /// Where requests are heard, as of the start.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddrV4] {
        &self.shared.addresses
    }

    /// What happens from now on. The first call tells of all since the start.
    #[must_use]
    pub fn events(&self) -> News<Event> {
        self.shared.with(|core, _| core.first_events.take().unwrap_or_else(|| core.events.subscribe()))
    }

    /// What is left of the lease of a mapping; `None` if the administrator made it.
    #[must_use]
    pub fn time_left(&self, mapping: &Mapping) -> Option<Duration> {
        mapping.expires.map(|expires| expires.saturating_since(self.shared.now()))
    }

    /// All mappings that the NAT has; none when the driver is gone.
    #[must_use]
    pub fn mappings(&self) -> Vec<Mapping> {
        self.shared.with(|core, _| if core.is_over { Vec::new() } else { core.gateway.mappings().collect() })
    }

    /// The external address; none when the driver is gone.
    #[must_use]
    pub fn external_address(&self) -> Option<Ipv4Addr> {
        self.shared.with(|core, _| core.gateway.external_address().filter(|_| !core.is_over))
    }

    /// How many requests were dropped, since their clients asked too often.
    #[must_use]
    pub fn dropped_requests(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Another external address from now on, or none.
    pub fn set_external_address(&self, address: Option<Ipv4Addr>) {
        self.command(Command::ExternalAddress(address));
    }

    /// Whether clients may make mappings.
    pub fn allow_mapping(&self, is_allowed: bool) {
        self.command(Command::AllowMapping(is_allowed));
    }

    /// Removes all mappings; the epoch begins again at 0.
    pub fn clear(&self) {
        self.command(Command::Clear);
    }

    fn command(&self, command: Command) {
        self.shared.command(|core| core.commands.push(command));
    }
}

/// A worker's end is waited for.
impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has nothing more to say.
            let _ = worker.join();
        }
    }
}
