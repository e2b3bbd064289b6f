use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use log::{debug, warn};
use natpmp_proto::client::{MappingState, MappingStatus};
use natpmp_proto::{Instant, Transmit};

use super::previous_gateway::PreviousGateway;
use super::sockets::{ClientInput, Register, Sockets, Source};
use super::state::{ClientState, ClientStep, NetworkError};
use super::{CallbackRunner, ClientConfig, ClientShared};
use crate::os::clock::Timer;
use crate::os::network::{Network, NetworkChange, Routing, SystemRouting};

/// Carries datagrams and time to the machine of one client, however many mappings it has. Dropping it ends all calls that wait.
pub struct ClientEngine<R: Register> {
    shared: Arc<ClientShared>,
    sockets: Sockets<R>,
    timer: Timer,
    network: Network,
    clears_on_new_address: bool,
    /// To gateways that were left.
    previous_gateways: Vec<PreviousGateway<R::Socket>>,
    /// A bit for each source that may have something to read. Most of the time there is none.
    readable: u8,
    buffer: Box<[u8]>,
}

/// What an adapter does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for a socket, for a wake-up, and no longer than this.
    For(Option<Duration>),
    /// The client's last handle is gone, and there is nothing left to do.
    End,
}

impl<R: Register> ClientEngine<R> {
    /// Opens the sockets, and does without those that cannot be had now. The adapter runs the callbacks where it likes.
    ///
    /// # Errors
    /// If the system has no timer.
    pub fn new(config: &ClientConfig, mut register: R) -> io::Result<(Self, CallbackRunner)> {
        let routing = SystemRouting::new(&config.addresses, &mut register);
        Self::with_routing(config, register, Box::new(routing))
    }

    pub(crate) fn with_routing(
        config: &ClientConfig,
        mut register: R,
        routing: Box<dyn Routing>,
    ) -> io::Result<(Self, CallbackRunner)> {
        let timer = Timer::new(&mut register)?;
        let gateway = config.machine.gateway();
        let (sockets, announcements) = Sockets::new(register, config.addresses.clone(), gateway);
        let network = Network::new(routing, gateway, config.origin);
        match &announcements {
            Err(error) if network.has_path() => {
                warn!("announcements of the gateway cannot be heard ({error}): a restart of it is noticed later");
            }
            // They are tried again when there is a way to the gateway.
            Err(error) => debug!("announcements of the gateway cannot be heard yet: {error}"),
            Ok(()) => {}
        }
        let (shared, callbacks) = ClientShared::new(config, announcements.err().as_ref().map(NetworkError::of));
        let engine = Self {
            shared,
            sockets,
            timer,
            network,
            clears_on_new_address: config.clears_on_new_address,
            previous_gateways: Vec::new(),
            readable: 0,
            buffer: vec![0; LONGEST_DATAGRAM].into(),
        };
        Ok((engine, callbacks))
    }

    /// Returns what the engine shares with the handles of its client.
    #[must_use]
    pub fn shared(&self) -> &Arc<ClientShared> {
        &self.shared
    }

    /// Lists the sockets of this source that are open at present; the adapter waits for all of them.
    pub fn sockets(&self, source: Source) -> impl Iterator<Item = &R::Socket> {
        let previous_gateways: &[_] = if source == Source::PreviousGateways { &self.previous_gateways } else { &[] };
        self.sockets.socket(source).into_iter().chain(previous_gateways.iter().map(|previous| &previous.socket))
    }

    /// Notes that a source may have something to read. The engine reads only from noted sources, and forgets the note when it has
    /// read all.
    pub const fn note_readable(&mut self, source: Source) {
        self.readable |= bit(source);
    }

    /// Does all that the machine has to do now: checks the network if there is a reason, sends what is due, and dispatches events.
    pub fn drain(&mut self) -> Wait {
        let shared = Arc::clone(&self.shared);
        self.check_network();
        let step = shared.with(|state, now| {
            if state.network_check.is_command() {
                // It came while the system was asked: the next turn begins with it, and nothing goes the old way before.
                return Some(Some(now));
            }
            // What is asked for there from now on is not to be deleted.
            self.stop_deleting_at(state.machine.gateway());
            loop {
                let now = shared.now();
                match state.step(now) {
                    ClientStep::Send(transmit) => self.send(state, now, &transmit),
                    ClientStep::Wait(deadline) => return Some(deadline),
                    ClientStep::End => return None,
                }
            }
        });
        self.sockets.drop_retired();
        let mut deletions: Option<Instant> = None;
        self.previous_gateways.retain_mut(|each| {
            let deadline = each.drain(shared.now());
            deletions = [deletions, deadline].into_iter().flatten().min();
            deadline.is_some()
        });
        let deadline = match (step, deletions) {
            (None, None) => {
                // The engine may live on; nobody waits for it in vain.
                shared.with(|state, _| state.close());
                return Wait::End;
            }
            (deadline, deletions) => {
                [deadline.flatten(), deletions, self.network.poll_timeout()].into_iter().flatten().min()
            }
        };
        Wait::For(self.timer.set(shared.now(), deadline))
    }

    /// Returns the adapter's register.
    pub fn register(&self) -> &R {
        &self.sockets.register
    }

    /// Reads the sockets that are readable, and hands the machine what they have. `true` if there may be more: others are to have
    /// their turn first.
    #[must_use]
    pub fn receive(&mut self) -> bool {
        let has_more = [Source::Request, Source::Announcements].map(|source| self.receive_on(source)).contains(&true);
        has_more | self.receive_from_previous_gateways()
    }

    /// Ends all calls that wait, because packets cannot be waited for any more.
    pub fn give_up(&mut self, error: &io::Error) {
        warn!("waiting for packets failed ({error}): the client ends");
        self.shared.with(|state, _| state.close());
    }

    /// Each input and the events that follow from it are one step under the lock, so that no command comes between: a call would
    /// get the answer to an earlier one.
    fn receive_on(&mut self, source: Source) -> bool {
        if !self.take_readable(source) {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        shared.with(|state, _| {
            for _ in 0..MOST_AT_ONCE {
                let received = self.sockets.receive(source, &mut self.buffer);
                let now = shared.now();
                match received {
                    ClientInput::Nothing => return false,
                    ClientInput::Later => {
                        self.note_readable(source);
                        return false;
                    }
                    ClientInput::Unreachable => state.machine.handle_unreachable(now),
                    ClientInput::Down(error) => state.handle_network_down(now, &error),
                    ClientInput::Datagram(from, bytes) => state.handle_datagram(now, source, from, bytes),
                }
                state.dispatch_events(now);
            }
            self.note_readable(source);
            true
        })
    }

    fn receive_from_previous_gateways(&mut self) -> bool {
        if !self.take_readable(Source::PreviousGateways) {
            return false;
        }
        let now = self.shared.now();
        let answered = self.previous_gateways.iter_mut().filter_map(|each| each.receive(now).then_some(())).count();
        if answered > 0 {
            self.note_readable(Source::PreviousGateways);
        }
        answered > 0
    }

    const fn take_readable(&mut self, source: Source) -> bool {
        let was_readable = self.readable & bit(source) != 0;
        self.readable &= !bit(source);
        was_readable
    }

    /// Follows the routes. The system is asked without the lock: it may take a while, where routes are many.
    fn check_network(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (gateway, requested) = shared.with(|state, _| {
            let (gateway, requested) = (state.machine.gateway(), std::mem::take(&mut state.network_check));
            if requested.is_command() {
                self.sockets.set_gateway(gateway);
            }
            (gateway, requested)
        });
        let now = shared.now();
        let is_readable = self.take_readable(Source::Routes);
        self.network.note_reasons(now, gateway, requested, is_readable);
        let Some(change) = self.network.handle_timeout(now, gateway) else { return };
        debug!("{change:?}");
        shared.with(|state, now| {
            // Unless the caller has set another one meanwhile.
            if state.machine.gateway() == gateway {
                self.apply_network_change(state, now, change);
                state.dispatch_events(now);
            }
        });
    }

    fn apply_network_change(&mut self, state: &mut ClientState, now: Instant, change: NetworkChange) {
        let is_new_address = match change {
            NetworkChange::Path { is_new_address } => {
                state.machine.network_changed(now);
                is_new_address
            }
            NetworkChange::Gateway { gateway, is_previous_on_link, is_new_address } => {
                if is_previous_on_link {
                    self.delete_at_previous_gateway(state, now);
                }
                self.sockets.set_gateway(gateway);
                state.machine.set_gateway(now, gateway);
                is_new_address
            }
        };
        state.announcement_error = self.sockets.reopen().err().as_ref().map(NetworkError::of);
        if is_new_address && self.clears_on_new_address {
            state.machine.clear(now);
        }
    }

    /// Has what is kept deleted at the gateway that is about to be left.
    fn delete_at_previous_gateway(&mut self, state: &ClientState, now: Instant) {
        let gateway = state.machine.gateway();
        // What was made once is its maker's, and outlives the client; what is kept may have been granted without an answer.
        let is_there = |status: &MappingStatus| status.is_kept || status.state == MappingState::Closing;
        let mappings = state.machine.mappings().filter(is_there).map(|status| (status.protocol, status.internal_port));
        let mappings: Vec<_> = mappings.collect();
        if mappings.is_empty() || self.previous_gateways.len() >= MOST_PREVIOUS_GATEWAYS {
            return;
        }
        if let Ok(socket) = self.sockets.connect(Source::PreviousGateways, gateway) {
            self.previous_gateways.push(PreviousGateway::new(now, gateway, &mappings, socket));
        }
    }

    fn stop_deleting_at(&mut self, gateway: SocketAddrV4) {
        while let Some(index) = self.previous_gateways.iter().position(|previous| previous.address() == gateway) {
            self.sockets.retire(self.previous_gateways.remove(index).socket);
        }
    }

    fn send(&mut self, state: &mut ClientState, now: Instant, transmit: &Transmit) {
        debug!("to {}: {:?} (resends: {})", transmit.to, transmit.payload, transmit.resends());
        let Err(error) = self.sockets.send(now, &transmit.payload, transmit.resends()) else { return };
        debug!("sending failed: {error}");
        if error.kind() == io::ErrorKind::ConnectionRefused {
            state.machine.handle_unreachable(now);
        } else {
            state.handle_network_down(now, &error);
        }
        self.sockets.forget_request();
    }
}

/// Ends all calls that wait, however the engine ends.
impl<R: Register> Drop for ClientEngine<R> {
    fn drop(&mut self) {
        self.shared.set_waker(Waker::noop());
        self.shared.with(|state, _| state.close());
    }
}

const fn bit(source: Source) -> u8 {
    1 << source as u8
}

/// Longer ones are cut; NAT-PMP has 16 bytes at most, and PCP 1,100.
const LONGEST_DATAGRAM: usize = 1_100;
/// Networks that come and go leave no more behind.
const MOST_PREVIOUS_GATEWAYS: usize = 4;
/// A flood on one socket keeps neither the machine from sending nor the other socket from being read.
const MOST_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests;
