use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use crate::DatagramSocket;
use natpmp_proto::Instant;
use natpmp_proto::gateway::{Config, Gateway};

use super::admission::Admission;
use super::handle::{Command, Lifecycle, SERVER_CAPACITY, ServerShared, SharedState};
use super::interfaces::{InterfaceWatch, LocalAddress, local_addresses, resolve, sides};
use super::nat_thread::NatThread;
use super::saver::{Saver, save_within};
use super::sockets::{LONGEST_REQUEST, Received, Sockets};
use super::unconfirmed::UnconfirmedMappings;
use super::{External, ServerHandle, ServerOptions, StartNat, Wait};
use super::{ServerError, State};

/// Carries datagrams, outcomes of the NAT and time to the machine. Dropping it takes the NAT down and saves the state, waits for
/// both, and ends the subscriptions.
pub struct ServerEngine<L: DatagramSocket> {
    shared: Arc<ServerShared>,
    sockets: Sockets<L>,
    nat: NatThread,
    saver: Option<Saver>,
    interfaces: InterfaceWatch,
    admission: Admission,
    unconfirmed: UnconfirmedMappings,
    /// When the state is to be saved, since it has changed.
    save_at: Option<Instant>,
    is_ending: bool,
}

impl<L: DatagramSocket> ServerEngine<L> {
    /// Opens the sockets, reads the state, and then starts the NAT. `register` makes the adapter wait for a socket, at the start
    /// and whenever one is opened anew.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    pub fn start(
        options: ServerOptions,
        start_nat: StartNat,
        register: impl FnMut(UdpSocket) -> io::Result<L> + Send + 'static,
    ) -> Result<(Self, ServerHandle), ServerError> {
        let ServerOptions {
            internal,
            external,
            config,
            static_mappings,
            port,
            announce_to,
            state_file,
            requests_per_second,
        } = options;
        let locals = local_addresses().map_err(ServerError::System)?;
        let served = resolve(&internal, &locals)?;
        let sockets = Sockets::open(&served, port, announce_to, register)?;
        if served.iter().any(|local| external == External::Address(local.address)) {
            return Err(ServerError::SameSides);
        }
        let state = state_file.as_deref().map(State::load).transpose()?.flatten();
        let mut state = state.unwrap_or_else(State::now);
        if let Some(path) = &state_file {
            // Better now than when there is something to lose.
            state.save(path)?;
        }
        let gateway = boxed(config.seed(RandomState::new().hash_one(port))).map_err(ServerError::System)?;
        let shared = ServerShared::new(gateway, sockets.addresses());
        let nat = start_nat(&sides(&served, &external, &locals)).map_err(ServerError::Nat)?;
        let epoch = state.epoch_now();
        if let Some(path) = &state_file {
            // Before anything is granted. A server that does not come as far as this has granted nothing.
            state.is_final = false;
            state.save(path)?;
        }
        let saver = state_file.map(|path| Saver::start(path, shared.waker())).transpose();
        let saver = saver.map_err(ServerError::System)?;
        let nat = NatThread::start(nat, shared.waker()).map_err(ServerError::System)?;
        let admission = Admission::new(requests_per_second, &locals);
        let unconfirmed = UnconfirmedMappings::new(static_mappings, state.mappings);
        let interfaces = InterfaceWatch::new(internal, external, &served);
        let (save_at, is_ending) = (None, false);
        let mut engine = Self { shared, sockets, nat, saver, interfaces, admission, unconfirmed, save_at, is_ending };
        engine.boot(&locals, epoch);
        let handle = ServerHandle::new(Arc::clone(&engine.shared));
        Ok((engine, handle))
    }

    /// Sets who is woken when there is something to do.
    pub fn set_waker(&self, waker: &Waker) {
        self.shared.set_waker(waker);
    }

    /// The sockets that are to be waited for.
    pub fn sockets(&self) -> impl Iterator<Item = &L> {
        self.sockets.iter()
    }

    /// Hands what the owner, the sockets and the NAT have to the machine. `true` if there may be more: others are to have their turn first.
    ///
    /// To be called before [`drain`](Self::drain), and that before the wait.
    #[must_use]
    pub fn receive(&mut self) -> bool {
        if self.is_ending {
            return false;
        }
        // What the owner said before a client asked counts for that client.
        self.carry_out_commands();
        let mut has_more = false;
        for index in 0..self.sockets.len() {
            has_more |= self.receive_on(index);
        }
        self.take_outcomes() || has_more
    }

    /// Does all that is to be done now. When the server is gone, that is to take the NAT down and to save the state; the end comes
    /// when both is done.
    pub fn drain(&mut self) -> Wait {
        let now = self.shared.now();
        if self.interfaces.is_due(now) && !self.is_ending {
            self.look(now);
        }
        if self.carry_out_commands() {
            self.end();
            let is_over = self.nat.is_over() && self.saver.as_mut().is_none_or(Saver::is_over);
            return if is_over { Wait::End } else { Wait::For(None) };
        }
        let shared = Arc::clone(&self.shared);
        let deadline = shared.with(|core, now| {
            core.gateway.handle_timeout(now);
            self.pass_on(core);
            self.send(core, now, &[]);
            self.tell(core, now);
            core.gateway.poll_timeout()
        });
        if self.save_at.is_some_and(|at| at <= now) {
            self.save();
        }
        let next = [deadline, self.save_at, self.interfaces.deadline()].into_iter().flatten().min();
        Wait::For(next.map(|at| at.saturating_since(shared.now()).min(LONGEST_WAIT)))
    }

    /// The adapter cannot wait any more.
    pub fn give_up(&self, error: &io::Error) {
        log::warn!("waiting for packets failed ({error}): the gateway ends");
        self.shared.stop();
    }

    fn boot(&mut self, locals: &[LocalAddress], epoch: u32) {
        let shared = Arc::clone(&self.shared);
        shared.with(|core, now| core.gateway.start(now, epoch));
        let external = self.interfaces.external(locals);
        shared.with(|core, now| {
            self.set_external(core, now, external);
            self.pass_on(core);
        });
        self.nat.begin();
    }

    fn receive_on(&mut self, index: usize) -> bool {
        let mut buffer = [0; LONGEST_REQUEST];
        let shared = Arc::clone(&self.shared);
        // The rest comes after the others have had their turn.
        (0..TURNS_AT_ONCE).all(|_| {
            shared.with(|core, now| {
                let has_more = (0..LONGEST_TURN).all(|_| self.receive_one(core, now, index, &mut buffer));
                // Requests go to the NAT while more are read, so that it has them in few batches.
                self.pass_on(core);
                has_more
            })
        })
    }

    /// Hears one datagram and answers it, if there is one.
    fn receive_one(&mut self, core: &mut SharedState, now: Instant, index: usize, buffer: &mut [u8]) -> bool {
        let (socket, from, bytes) = match self.sockets.receive(index, buffer) {
            Received::Datagram(socket, from, bytes) => (socket, from, bytes),
            Received::Error => return true,
            Received::Nothing => return false,
        };
        if !self.admission.admits(now, self.sockets.local(index), *from.ip(), &self.shared.dropped) {
            return true;
        }
        let taken = core.gateway.handle_datagram(now, socket, from, bytes);
        log::debug!("from {from}: {bytes:02x?}: {taken:?}");
        self.send(core, now, bytes);
        self.tell(core, now);
        true
    }

    /// Sends what the machine has to send; an answer to this request may be among it.
    fn send(&self, core: &mut SharedState, now: Instant, request: &[u8]) {
        while let Some(transmit) = core.gateway.poll_transmit(now) {
            log::debug!("to {}: {:?}: {:?}", transmit.to, transmit.kind, transmit.payload);
            self.sockets.send(&transmit, request);
        }
    }

    /// Asks the NAT for what the machine wants of it.
    fn pass_on(&mut self, core: &mut SharedState) {
        while let Some(request) = core.gateway.poll_nat() {
            self.nat.request(request);
        }
    }

    fn take_outcomes(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        (0..TURNS_AT_ONCE).all(|_| {
            shared.with(|core, now| {
                let has_more = (0..LONGEST_TURN).all(|_| self.take_outcome(core, now));
                self.pass_on(core);
                has_more
            })
        })
    }

    fn take_outcome(&mut self, core: &mut SharedState, now: Instant) -> bool {
        let Some((request, outcome)) = self.nat.next_outcome() else { return false };
        if let Err(failure) = outcome {
            log::warn!("{request:?}: {failure}");
        }
        self.unconfirmed.settle(request.mapping());
        core.gateway.handle_nat(now, &request, outcome);
        self.send(core, now, &[]);
        self.tell(core, now);
        true
    }

    /// Whether they end with the server itself.
    fn carry_out_commands(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        shared.with(|core, now| {
            for command in std::mem::take(&mut core.commands) {
                self.carry_out(core, now, command);
            }
            core.lifecycle == Lifecycle::Stopping
        })
    }

    fn carry_out(&mut self, core: &mut SharedState, now: Instant, command: Command) {
        match command {
            Command::ExternalAddress(address) => {
                self.interfaces.stop_watching_external();
                self.set_external(core, now, address);
            }
            Command::AllowMapping(is_allowed) => core.gateway.allow_mapping(is_allowed),
            Command::Clear => {
                core.gateway.clear(now);
                self.unconfirmed.clear();
                self.save_at = Some(now);
            }
        }
    }

    /// Follows the interfaces of both sides.
    fn look(&mut self, now: Instant) {
        let Some(locals) = self.interfaces.read(now, local_addresses) else { return };
        self.admission.update_addresses(&locals);
        if let Some(internal) = self.interfaces.internal(&locals) {
            self.sockets.follow(&internal);
        }
        if self.interfaces.is_external_watched() {
            let address = self.interfaces.external(&locals);
            let shared = Arc::clone(&self.shared);
            shared.with(|core, now| self.set_external(core, now, address));
        }
    }

    fn set_external(&mut self, core: &mut SharedState, now: Instant, address: Option<Ipv4Addr>) {
        if core.gateway.external_address() == address {
            return;
        }
        log::debug!("the external address is {address:?}");
        // The NAT has to know before it is asked to bring its mappings up to date.
        self.nat.set_external_address(address);
        core.gateway.set_external_address(now, address);
        if address.is_some() {
            self.unconfirmed.restore(core);
        }
        self.save_at = Some(now);
    }

    fn tell(&mut self, core: &mut SharedState, now: Instant) {
        while let Some(event) = core.gateway.poll_event() {
            if let Some(time) = save_within(&event, core.gateway.len()) {
                self.save_at = Some(self.save_at.map_or(now + time, |at| at.min(now + time)));
            }
            core.events.push(&event, &mut core.pending_wakers);
        }
    }

    fn save(&mut self) {
        self.save_at = None;
        let Some(saver) = &self.saver else { return };
        let state = self.shared.with(|core, now| self.unconfirmed.to_stored(core, now));
        // Once it ends nothing is granted any more.
        saver.save(State { is_final: self.is_ending, ..state });
    }

    /// Hears nothing any more, saves the state, and has the NAT taken down, once.
    fn end(&mut self) {
        if std::mem::replace(&mut self.is_ending, true) {
            return;
        }
        self.sockets.close();
        self.save();
        self.saver.iter_mut().for_each(Saver::end);
        self.nat.end();
    }
}

impl<L: DatagramSocket> Drop for ServerEngine<L> {
    fn drop(&mut self) {
        self.end();
        self.nat.join();
        self.saver.iter_mut().for_each(Saver::join);
        self.shared.close();
    }
}

/// The table is too large for an ordinary stack, also on its way to the heap where the compiler does not see through it.
fn boxed(config: Config) -> io::Result<Box<Gateway<SERVER_CAPACITY>>> {
    let thread = thread::Builder::new().stack_size(ROOM).spawn(move || Box::new(Gateway::new(config)))?;
    thread.join().map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
}

const ROOM: usize = 32 << 20;
/// So often is the core had, one time after the other, for so many datagrams or outcomes: whoever else wants it comes in between.
const TURNS_AT_ONCE: usize = 8;
const LONGEST_TURN: usize = 32;
/// The machine's clock goes on while the host sleeps, and the timers of an adapter may not.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
