use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use log::{debug, warn};
use natpmp_proto::Instant;
use natpmp_proto::client::{MappingState, MappingStatus, Transmit};

use super::alarm::Alarm;
use super::core::{Core, Step};
use super::farewell::Farewell;
use super::network::{Network, Routing, SystemRouting};
use super::sockets::{Received, Register, Sockets, Which};
use super::{Message, Settings, Shared};

/// Carries datagrams and time to the machine of one client, however many mappings it has. Dropping it ends all calls that wait.
pub struct Engine<R: Register> {
    shared: Arc<Shared>,
    sockets: Sockets<R>,
    alarm: Alarm,
    network: Network,
    clears_on_new_address: bool,
    /// To a gateway that was left.
    farewell: Option<Farewell<R::Socket>>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for a socket, for a wake-up, and no longer than this.
    For(Option<Duration>),
    /// The client's last handle is gone, and there is nothing left to do.
    End,
}

impl<R: Register> Engine<R> {
    /// Opens the sockets; those that cannot be had now are done without.
    ///
    /// # Errors
    /// If the system has no timer.
    pub fn new(settings: &Settings, mut register: R) -> io::Result<Self> {
        let routing = SystemRouting::new(&settings.addresses, &mut register);
        Self::with_routing(settings, register, Box::new(routing))
    }

    pub(crate) fn with_routing(settings: &Settings, mut register: R, routing: Box<dyn Routing>) -> io::Result<Self> {
        let alarm = Alarm::new(&mut register)?;
        let gateway = settings.config.gateway();
        let (sockets, announcements) = Sockets::new(register, settings.addresses.clone(), gateway);
        let network = Network::new(routing, gateway, settings.is_discovered);
        match &announcements {
            Err(error) if network.has_path() => {
                warn!("announcements of the gateway cannot be heard ({error}): a restart of it is noticed later");
            }
            // They are tried again when there is a way to the gateway.
            Err(error) => debug!("announcements of the gateway cannot be heard yet: {error}"),
            Ok(()) => {}
        }
        Ok(Self {
            shared: Shared::new(settings, announcements.err()),
            sockets,
            alarm,
            network,
            clears_on_new_address: settings.clears_on_new_address,
            farewell: None,
        })
    }

    /// What it shares with the handles of its client.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The sockets that are open at present: all of them are to be waited for.
    pub fn sockets(&self) -> impl Iterator<Item = &R::Socket> {
        let sockets = [Which::Request, Which::Announcements].map(|which| self.sockets.socket(which));
        sockets.into_iter().flatten().chain(self.farewell.as_ref().map(|farewell| &farewell.socket))
    }

    /// Does all that the machine has to do now.
    pub fn drain(&mut self) -> Wait {
        let shared = Arc::clone(&self.shared);
        let step = shared.with(|core, now| {
            self.look_at_network(core, now);
            if std::mem::take(&mut core.is_socket_stale) {
                self.sockets.set_gateway(core.machine.gateway());
            }
            loop {
                let now = shared.now();
                match core.step(now) {
                    Step::Send(transmit) => self.send(core, now, &transmit),
                    Step::Wait(deadline) => return Some(deadline),
                    Step::End => return None,
                }
            }
        });
        let farewell = self.farewell.as_mut().and_then(|farewell| farewell.drain(shared.now()));
        if farewell.is_none() {
            self.farewell = None;
        }
        let deadline = match (step, farewell) {
            (None, None) => {
                // The engine may live on; nobody waits for it in vain.
                shared.with(|core, _| core.close());
                return Wait::End;
            }
            (deadline, farewell) => {
                [deadline.flatten(), farewell, self.network.poll_timeout()].into_iter().flatten().min()
            }
        };
        Wait::For(self.alarm.set(shared.now(), deadline))
    }

    /// How the adapter waits.
    pub fn register(&self) -> &R {
        &self.sockets.register
    }

    /// Hands what the sockets have to the machine. `true` if there may be more: others are to have their turn first.
    #[must_use]
    pub fn receive(&mut self) -> bool {
        let now = self.shared.now();
        let is_farewell_answered = self.farewell.as_mut().is_some_and(|farewell| farewell.receive(now));
        let more = [Which::Request, Which::Announcements].map(|which| self.receive_on(which));
        more.contains(&true) || is_farewell_answered
    }

    /// What is to be passed to the [`Runner`](super::Runner) of the callbacks, in this order.
    #[must_use]
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.shared.with(|core, _| core.callbacks.take_messages())
    }

    fn receive_on(&mut self, which: Which) -> bool {
        let mut buffer = [0; LONGEST_DATAGRAM];
        let shared = Arc::clone(&self.shared);
        for _ in 0..MOST_AT_ONCE {
            let received = self.sockets.receive(which, &mut buffer);
            if matches!(received, Received::Nothing) {
                return false;
            }
            shared.with(|core, now| match received {
                Received::Nothing => {}
                Received::Unreachable => core.machine.handle_unreachable(now),
                Received::Down(error) => core.network_down(now, &error),
                Received::Datagram(from, bytes) => core.hear(now, which, from, bytes),
            });
        }
        true
    }

    /// Follows the routes.
    fn look_at_network(&mut self, core: &mut Core, now: Instant) {
        if std::mem::take(&mut core.is_gateway_set) {
            self.network.fix();
        }
        self.network.listen(now, std::mem::take(&mut core.is_network_doubtful));
        let before = core.machine.gateway();
        let Some(change) = self.network.handle_timeout(now, before) else { return };
        debug!("{change:?}");
        if change.is_old_on_link {
            self.take_leave(core, now, before);
        }
        if let Some(gateway) = change.gateway {
            self.sockets.set_gateway(gateway);
            core.machine.set_gateway(now, gateway);
        } else {
            core.machine.network_changed(now);
        }
        self.sockets.reopen();
        if change.is_new_address && self.clears_on_new_address {
            core.machine.clear(now);
        }
    }

    /// Has what is kept at this gateway deleted there.
    fn take_leave(&mut self, core: &Core, now: Instant, gateway: SocketAddrV4) {
        let is_there =
            |status: &MappingStatus| matches!(status.state, MappingState::Open { .. } | MappingState::Closing);
        let mappings = core.machine.mappings().filter(is_there).map(|status| (status.protocol, status.internal_port));
        let mappings: Vec<_> = mappings.collect();
        self.farewell = match self.sockets.connect(gateway) {
            Ok(socket) if !mappings.is_empty() => Some(Farewell::new(now, gateway, &mappings, socket)),
            _ => None,
        };
    }

    fn send(&mut self, core: &mut Core, now: Instant, transmit: &Transmit) {
        debug!("to {}: {:?} (resends: {})", transmit.to, transmit.payload, transmit.resends);
        let Err(error) = self.sockets.send(now, &transmit.payload, transmit.resends) else { return };
        debug!("sending failed: {error}");
        if error.kind() == io::ErrorKind::ConnectionRefused {
            core.machine.handle_unreachable(now);
        } else {
            core.network_down(now, &error);
        }
        self.sockets.forget_request();
    }
}

/// Whoever still waits is told that nobody will answer, however the engine ends.
impl<R: Register> Drop for Engine<R> {
    fn drop(&mut self) {
        let left = self.shared.with(|core, _| {
            core.close();
            std::mem::take(&mut core.callbacks).take_messages()
        });
        // They are dropped without the lock.
        let mut runner = super::Runner::default();
        left.into_iter().for_each(|message| runner.run(message));
    }
}

/// Longer ones are cut; NAT-PMP has 16 bytes at most, and PCP 1,100.
const LONGEST_DATAGRAM: usize = 1_100;
/// A flood on one socket keeps neither the machine from sending nor the other socket from being heard.
const MOST_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests;
