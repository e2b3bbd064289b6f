use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use log::{debug, warn};
use natpmp_proto::client::{MappingState, MappingStatus};
use natpmp_proto::{Instant, Transmit};

use super::farewell::Farewell;
use super::sockets::{Received, Register, Sockets, Source};
use super::state::{Core, NetworkError, Step};
use super::{ClientOptions, ClientShared, Message};
use crate::os::network::{Network, NetworkChange, Routing, SystemRouting};
use crate::os::timer::Timer;

/// Carries datagrams and time to the machine of one client, however many mappings it has. Dropping it ends all calls that wait.
pub struct ClientEngine<R: Register> {
    shared: Arc<ClientShared>,
    sockets: Sockets<R>,
    alarm: Timer,
    network: Network,
    clears_on_new_address: bool,
    /// To gateways that were left.
    farewells: Vec<Farewell<R::Socket>>,
    /// A bit for each source that may have something to read. Most of the time there is none.
    readable: u8,
    buffer: Box<[u8]>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Wait for a socket, for a wake-up, and no longer than this.
    For(Option<Duration>),
    /// The client's last handle is gone, and there is nothing left to do.
    End,
}

impl<R: Register> ClientEngine<R> {
    /// Opens the sockets; those that cannot be had now are done without.
    ///
    /// # Errors
    /// If the system has no timer.
    pub fn new(settings: &ClientOptions, mut register: R) -> io::Result<Self> {
        let routing = SystemRouting::new(&settings.addresses, &mut register);
        Self::with_routing(settings, register, Box::new(routing))
    }

    pub(crate) fn with_routing(
        settings: &ClientOptions,
        mut register: R,
        routing: Box<dyn Routing>,
    ) -> io::Result<Self> {
        let alarm = Timer::new(&mut register)?;
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
            shared: ClientShared::new(settings, announcements.err().as_ref().map(NetworkError::of)),
            sockets,
            alarm,
            network,
            clears_on_new_address: settings.clears_on_new_address,
            farewells: Vec::new(),
            readable: 0,
            buffer: vec![0; LONGEST_DATAGRAM].into(),
        })
    }

    /// What it shares with the handles of its client.
    #[must_use]
    pub fn shared(&self) -> &Arc<ClientShared> {
        &self.shared
    }

    /// The sockets of this source that are open at present: all of them are to be waited for.
    pub fn sockets(&self, source: Source) -> impl Iterator<Item = &R::Socket> {
        let farewells: &[_] = if source == Source::Farewells { &self.farewells } else { &[] };
        self.sockets.socket(source).into_iter().chain(farewells.iter().map(|farewell| &farewell.socket))
    }

    /// There may be something to read there. Nothing is read where that was not said, and it is remembered until all is read.
    pub const fn note_readable(&mut self, source: Source) {
        self.readable |= bit(source);
    }

    /// Does all that the machine has to do now.
    pub fn drain(&mut self) -> Wait {
        let shared = Arc::clone(&self.shared);
        self.look_at_network();
        let step = shared.with(|core, _| {
            // What is asked for there from now on is not to be deleted.
            self.end_farewells(|farewell| farewell.gateway() == core.machine.gateway());
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
        self.sockets.clear_left();
        let mut farewell: Option<Instant> = None;
        self.farewells.retain_mut(|each| {
            let deadline = each.drain(shared.now());
            farewell = [farewell, deadline].into_iter().flatten().min();
            deadline.is_some()
        });
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

    /// Hands what the sockets that are readable have to the machine. `true` if there may be more: others are to have their turn first.
    #[must_use]
    pub fn receive(&mut self) -> bool {
        let has_more = [Source::Request, Source::Announcements].map(|source| self.receive_on(source)).contains(&true);
        has_more | self.receive_farewells()
    }

    /// Packets cannot be waited for: whoever waits is told that nobody will answer.
    pub fn give_up(&mut self, error: &io::Error) {
        warn!("waiting for packets failed ({error}): the client ends");
        self.shared.with(|core, _| core.close());
    }

    /// What is to be passed to the [`Runner`](super::Runner) of the callbacks, in this order.
    #[must_use]
    pub fn take_messages(&mut self) -> Vec<Message> {
        self.shared.with(|core, _| core.callbacks.take_messages())
    }

    fn receive_on(&mut self, source: Source) -> bool {
        if !self.take_readable(source) {
            return false;
        }
        let shared = Arc::clone(&self.shared);
        for _ in 0..MOST_AT_ONCE {
            let received = self.sockets.receive(source, &mut self.buffer);
            match received {
                Received::Nothing => return false,
                Received::Later => {
                    self.note_readable(source);
                    return false;
                }
                Received::Unreachable => shared.with(|core, now| core.machine.handle_unreachable(now)),
                Received::Down(error) => shared.with(|core, now| core.network_down(now, &error)),
                Received::Datagram(from, bytes) => shared.with(|core, now| core.hear(now, source, from, bytes)),
            }
        }
        self.note_readable(source);
        true
    }

    fn receive_farewells(&mut self) -> bool {
        if !self.take_readable(Source::Farewells) {
            return false;
        }
        let now = self.shared.now();
        let answered = self.farewells.iter_mut().filter_map(|each| each.receive(now).then_some(())).count();
        if answered > 0 {
            self.note_readable(Source::Farewells);
        }
        answered > 0
    }

    const fn take_readable(&mut self, source: Source) -> bool {
        let was_readable = self.readable & bit(source) != 0;
        self.readable &= !bit(source);
        was_readable
    }

    /// Follows the routes. The system is asked without the lock: it may take a while, where routes are many.
    fn look_at_network(&mut self) {
        let shared = Arc::clone(&self.shared);
        let (gateway, is_set, is_changed, is_doubtful) = shared.with(|core, _| {
            let gateway = core.machine.gateway();
            let flags = [&mut core.is_gateway_set, &mut core.is_network_changed, &mut core.is_network_doubtful];
            let [is_set, is_changed, is_doubtful] = flags.map(std::mem::take);
            (gateway, is_set, is_changed, is_doubtful)
        });
        let now = shared.now();
        if is_set {
            self.network.fix(gateway);
        }
        if is_changed {
            self.network.look_now(now);
        }
        let is_told = self.take_readable(Source::Routes);
        self.network.listen(now, is_told, is_doubtful, gateway);
        let Some(change) = self.network.handle_timeout(now, gateway) else { return };
        debug!("{change:?}");
        shared.with(|core, now| {
            // Unless the caller has set another one meanwhile.
            if core.machine.gateway() == gateway {
                self.follow(core, now, change);
            }
        });
    }

    fn follow(&mut self, core: &mut Core, now: Instant, change: NetworkChange) {
        if change.is_old_on_link {
            self.take_leave(core, now, core.machine.gateway());
        }
        if let Some(gateway) = change.gateway {
            self.sockets.set_gateway(gateway);
            core.machine.set_gateway(now, gateway);
        } else {
            core.machine.network_changed(now);
        }
        core.announcement_error = self.sockets.reopen().err().as_ref().map(NetworkError::of);
        if change.is_new_address && self.clears_on_new_address {
            core.machine.clear(now);
        }
    }

    /// Has what is kept at this gateway deleted there.
    fn take_leave(&mut self, core: &Core, now: Instant, gateway: SocketAddrV4) {
        // What was made once is its maker's, and outlives the client; what is kept may have been granted without an answer.
        let is_there = |status: &MappingStatus| status.is_kept || status.state == MappingState::Closing;
        let mappings = core.machine.mappings().filter(is_there).map(|status| (status.protocol, status.internal_port));
        let mappings: Vec<_> = mappings.collect();
        if mappings.is_empty() || self.farewells.len() >= MOST_FAREWELLS {
            return;
        }
        if let Ok(socket) = self.sockets.connect(Source::Farewells, gateway) {
            self.farewells.push(Farewell::new(now, gateway, &mappings, socket));
        }
    }

    fn end_farewells(&mut self, which: impl Fn(&Farewell<R::Socket>) -> bool) {
        while let Some(index) = self.farewells.iter().position(&which) {
            self.sockets.leave(self.farewells.remove(index).socket);
        }
    }

    fn send(&mut self, core: &mut Core, now: Instant, transmit: &Transmit) {
        debug!("to {}: {:?} (resends: {})", transmit.to, transmit.payload, transmit.resends());
        let Err(error) = self.sockets.send(now, &transmit.payload, transmit.resends()) else { return };
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
impl<R: Register> Drop for ClientEngine<R> {
    fn drop(&mut self) {
        self.shared.set_waker(Waker::noop());
        let left = self.shared.with(|core, _| {
            core.close();
            std::mem::take(&mut core.callbacks).take_messages()
        });
        // They are dropped without the lock.
        let mut runner = super::Runner::default();
        left.into_iter().for_each(|message| runner.run(message));
    }
}

const fn bit(source: Source) -> u8 {
    1 << source as u8
}

/// Longer ones are cut; NAT-PMP has 16 bytes at most, and PCP 1,100.
const LONGEST_DATAGRAM: usize = 1_100;
/// A flood on one socket keeps neither the machine from sending nor the other socket from being heard.
/// Networks that come and go leave no more behind.
const MOST_FAREWELLS: usize = 4;
const MOST_AT_ONCE: usize = 32;

#[cfg(test)]
mod tests;
