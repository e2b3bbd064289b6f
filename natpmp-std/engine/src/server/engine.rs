//! The engine of a server: an adapter calls it in turns, and waits in between.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use natpmp_proto::Instant;
use natpmp_proto::gateway::{Config, Event, Gateway, Output};

use super::admission::Admission;
use super::handle::{Command, SERVER_CAPACITY, ServerLifecycle, ServerShared, SharedState};
use super::interfaces::{InterfaceWatch, LocalAddress, local_addresses, resolve, sides};
use super::nat_thread::NatThread;
use super::saver::{Saver, save_within};
use super::sockets::{LONGEST_REQUEST, ServerInput, Sockets};
use super::unconfirmed::UnconfirmedMappings;
use super::{External, ServerError, ServerHandle, ServerOptions, StartNat, StoredState};
use crate::DatagramSocket;
use crate::events::{EventQueue, UNBOUNDED, event_queue};

/// Carries datagrams, outcomes of the NAT and time to the machine of one gateway. Dropping it takes the NAT down and saves the state,
/// waits for both, and ends the subscriptions.
pub struct ServerEngine<S: DatagramSocket> {
    shared: Arc<ServerShared>,
    /// From the handle. It ends with the handle, and the server with it.
    commands: EventQueue<Command>,
    sockets: Sockets<S>,
    nat: NatThread,
    saver: Option<Saver>,
    interfaces: InterfaceWatch,
    admission: Admission,
    unconfirmed: UnconfirmedMappings,
    /// What the machine has said in this step. The subscribers get all of it at its end.
    events: Vec<Event>,
    /// When the state is to be saved, because it has changed.
    save_at: Option<Instant>,
    /// Wakes whoever drives the engine at that time.
    waker: Waker,
}

/// What a turn of the engine came to, and what the adapter does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There is more to do. Let others have their turn, and call the engine again.
    Yield,
    /// Wait until a socket is readable or the waker is woken, and no longer than this; then call the engine again.
    Wait(Option<Duration>),
    /// The handle is gone, the NAT is down, and the state is in its file.
    End,
}

/// What a step under the lock came to.
enum ServerStep {
    /// There is more to read.
    Continue,
    /// Nothing to do before this moment.
    Wait(Option<Instant>),
    /// The end is under way on the threads of the NAT and of the state file, which wake the engine.
    WaitForThreads,
    End,
}

impl<S: DatagramSocket> ServerEngine<S> {
    /// Opens the sockets, reads the state, and then starts the NAT. `register` makes the adapter wait for a socket; the engine calls it
    /// at the start, and whenever it opens a socket later.
    ///
    /// # Errors
    /// See [`ServerError`]. Nothing is left running.
    pub fn start(
        options: ServerOptions,
        start_nat: StartNat,
        register: impl FnMut(UdpSocket) -> io::Result<S> + Send + 'static,
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
        let state = state_file.as_deref().map(StoredState::load).transpose()?.flatten();
        let mut state = state.unwrap_or_else(StoredState::now);
        if let Some(path) = &state_file {
            // A file that cannot be written fails the start, and not the first save.
            state.save(path)?;
        }
        let gateway = allocate_gateway(config.seed(RandomState::new().hash_one(port))).map_err(ServerError::System)?;
        let shared = ServerShared::new(gateway, sockets.addresses());
        let nat = start_nat(&sides(&served, &external, &locals)).map_err(ServerError::Nat)?;
        let epoch = state.epoch_now();
        if let Some(path) = &state_file {
            // Before anything is granted. A server that does not come as far as this has granted nothing.
            state.is_final = false;
            state.save(path)?;
        }
        let waker = shared.waker();
        let saver = state_file.map(|path| Saver::start(path, waker.clone())).transpose();
        let saver = saver.map_err(ServerError::System)?;
        let nat = NatThread::start(nat, waker.clone()).map_err(ServerError::System)?;
        let (sender, commands) = event_queue(UNBOUNDED);
        let handle = ServerHandle::new(Arc::clone(&shared), sender);
        let mut engine = Self {
            shared,
            commands,
            sockets,
            nat,
            saver,
            interfaces: InterfaceWatch::new(internal, external, &served),
            admission: Admission::new(requests_per_second, &locals),
            unconfirmed: UnconfirmedMappings::new(static_mappings, state.mappings),
            events: Vec::new(),
            save_at: None,
            waker,
        };
        engine.start_machine(&locals, epoch);
        Ok((engine, handle))
    }

    /// Sets who is woken when there is something to do.
    pub fn set_waker(&self, waker: &Waker) {
        self.shared.set_waker(waker);
    }

    /// The sockets that are to be waited for.
    pub fn sockets(&self) -> impl Iterator<Item = &S> {
        self.sockets.iter()
    }

    /// Does what there is to do now: carries out commands, answers requests, takes outcomes of the NAT, and does what is due.
    ///
    /// After the handle is gone that is to take the NAT down and to save the state; the end comes when both is done.
    #[must_use]
    pub fn turn(&mut self) -> Turn {
        let shared = Arc::clone(&self.shared);
        // Without the lock: the system may take a while, where interfaces are many.
        let mut locals = self.interfaces.read_if_due(shared.now(), local_addresses);
        let mut buffer = [0; LONGEST_REQUEST];
        for _ in 0..STEPS_IN_A_TURN {
            match shared.with(|state, now| self.step(state, now, locals.take(), &mut buffer)) {
                ServerStep::Continue => {}
                ServerStep::Wait(deadline) => {
                    let wait = deadline.map(|at| at.saturating_since(shared.now()).min(LONGEST_WAIT));
                    return Turn::Wait(wait);
                }
                ServerStep::WaitForThreads => return Turn::Wait(None),
                ServerStep::End => return Turn::End,
            }
        }
        Turn::Yield
    }

    /// The adapter cannot wait any more: the next turn begins the end.
    pub fn give_up(&self, error: &io::Error) {
        log::warn!("waiting for packets failed ({error}): the gateway ends");
        self.shared.with(|state, _| state.stop());
    }

    /// Starts the machine, and gives the NAT the mappings from before the start.
    fn start_machine(&mut self, locals: &[LocalAddress], epoch: u32) {
        let external = self.interfaces.external(locals);
        let shared = Arc::clone(&self.shared);
        shared.with(|state, now| {
            state.gateway.start(now, epoch);
            self.set_external_address(state, now, external);
            // Only these requests: the announcement and the events wait for the first turn.
            while let Some(request) = state.gateway.poll_nat() {
                self.nat.request(request, &mut state.pending_wakers);
            }
            self.nat.begin(&mut state.pending_wakers);
        });
    }

    /// A part of a turn, of bounded size, in which the engine holds the lock once. `locals` are the addresses of this host, if they
    /// have just been read.
    fn step(
        &mut self,
        state: &mut SharedState,
        now: Instant,
        locals: Option<Vec<LocalAddress>>,
        buffer: &mut [u8],
    ) -> ServerStep {
        if state.lifecycle == ServerLifecycle::Ending {
            return self.end_state();
        }
        // First, so that what the owner has asked for counts for a client that asks later.
        self.handle_commands(state, now);
        if let Some(locals) = locals {
            self.follow_interfaces(state, now, &locals);
        }
        let (deadline, has_more) = self.handle_inputs(state, now, buffer);
        state.events.push_all(&self.events, &mut state.pending_wakers);
        self.events.clear();
        if state.lifecycle == ServerLifecycle::Stopping {
            self.begin_end(state, now);
            return self.end_state();
        }
        if self.save_at.is_some_and(|at| at <= now) {
            self.save(state, now, false);
        }
        if has_more {
            return ServerStep::Continue;
        }
        ServerStep::Wait([deadline, self.save_at, self.interfaces.deadline()].into_iter().flatten().min())
    }

    /// Does everything that the machine says, and gives it the next input whenever it has nothing more to say, within the bounds of a
    /// step. Returns when the machine has to be polled again, and whether there may be more input.
    fn handle_inputs(&mut self, state: &mut SharedState, now: Instant, buffer: &mut [u8]) -> (Option<Instant>, bool) {
        let mut left = InputsLeft { datagrams: INPUTS_IN_A_STEP, outcomes: INPUTS_IN_A_STEP, socket: 0 };
        // Of the request in the buffer.
        let mut length = 0;
        let deadline = loop {
            match state.gateway.poll(now) {
                Output::Transmit(transmit) => self.sockets.send(&transmit, buffer.get(..length).unwrap_or_default()),
                Output::Nat(request) => self.nat.request(request, &mut state.pending_wakers),
                Output::Event(event) => self.handle_event(state, now, event),
                Output::Wait(deadline) => {
                    if let Some(of_request) = self.handle_datagram(state, now, &mut left, buffer) {
                        length = of_request;
                    } else if !self.handle_outcome(state, now, &mut left) {
                        break deadline;
                    }
                }
            }
        };
        if left.datagrams == 0 {
            // A flood at this socket must not keep the engine from the others.
            self.sockets.rotate();
        }
        (deadline, left.datagrams == 0 || left.outcomes == 0)
    }

    /// Gives the machine the next datagram, and returns its length; `None` if there is none, or none more in this step.
    fn handle_datagram(
        &mut self,
        state: &mut SharedState,
        now: Instant,
        left: &mut InputsLeft,
        buffer: &mut [u8],
    ) -> Option<usize> {
        while left.datagrams > 0 && left.socket < self.sockets.len() {
            let (socket, from, bytes) = match self.sockets.receive(left.socket, buffer) {
                ServerInput::Datagram(socket, from, bytes) => (socket, from, bytes),
                ServerInput::Error => {
                    left.datagrams = left.datagrams.saturating_sub(1);
                    continue;
                }
                ServerInput::Nothing => {
                    left.socket = left.socket.saturating_add(1);
                    continue;
                }
            };
            left.datagrams = left.datagrams.saturating_sub(1);
            if self.admission.admits(now, self.sockets.local(left.socket), *from.ip(), &self.shared.dropped) {
                let result = state.gateway.handle_datagram(now, socket, from, bytes);
                log::debug!("from {from}: {bytes:02x?}: {result:?}");
                return Some(bytes.len());
            }
        }
        None
    }

    /// Gives the machine the next outcome of the NAT; `false` if there is none, or none more in this step.
    fn handle_outcome(&mut self, state: &mut SharedState, now: Instant, left: &mut InputsLeft) -> bool {
        if left.outcomes == 0 {
            return false;
        }
        let Some((request, outcome)) = self.nat.next_outcome() else { return false };
        left.outcomes = left.outcomes.saturating_sub(1);
        if let Err(failure) = outcome {
            log::warn!("{request:?}: {failure}");
        }
        self.unconfirmed.settle(request.mapping());
        state.gateway.handle_nat(now, &request, outcome);
        true
    }

    fn handle_commands(&mut self, state: &mut SharedState, now: Instant) {
        loop {
            // The handle writes commands under the lock: none is added while they are read.
            match self.commands.poll_next(&mut Context::from_waker(&self.waker)) {
                Poll::Ready(Some(command)) => self.handle_command(state, now, command),
                Poll::Ready(None) => return state.stop(),
                Poll::Pending => return,
            }
        }
    }

    fn handle_command(&mut self, state: &mut SharedState, now: Instant, command: Command) {
        match command {
            Command::SetExternalAddress(address) => {
                self.interfaces.stop_watching_external();
                self.set_external_address(state, now, address);
            }
            Command::AllowMapping(is_allowed) => state.gateway.allow_mapping(is_allowed),
            Command::Clear => {
                state.gateway.clear(now);
                self.unconfirmed.clear();
                self.save_at = Some(now);
            }
        }
    }

    /// The addresses of this host are these now.
    fn follow_interfaces(&mut self, state: &mut SharedState, now: Instant, locals: &[LocalAddress]) {
        self.admission.update_addresses(locals);
        if let Some(internal) = self.interfaces.internal(locals) {
            self.sockets.update_addresses(&internal);
        }
        if self.interfaces.is_external_watched() {
            let address = self.interfaces.external(locals);
            self.set_external_address(state, now, address);
        }
    }

    fn set_external_address(&mut self, state: &mut SharedState, now: Instant, address: Option<Ipv4Addr>) {
        if state.gateway.external_address() == address {
            return;
        }
        log::debug!("the external address is {address:?}");
        // The NAT has to know it before the machine asks for the mappings on it.
        self.nat.set_external_address(address, &mut state.pending_wakers);
        state.gateway.set_external_address(now, address);
        if address.is_some() {
            self.unconfirmed.restore(state);
        }
        self.save_at = Some(now);
    }

    /// Notes what the subscribers are to get at the end of the step, and when the file is to have it.
    fn handle_event(&mut self, state: &SharedState, now: Instant, event: Event) {
        if let Some(time) = save_within(&event, state.gateway.len()) {
            self.save_at = Some(self.save_at.map_or(now + time, |at| at.min(now + time)));
        }
        self.events.push(event);
    }

    /// Has the state written, unless it is kept in no file.
    fn save(&mut self, state: &mut SharedState, now: Instant, is_final: bool) {
        self.save_at = None;
        if let Some(saver) = &self.saver {
            let stored = StoredState { is_final, ..self.unconfirmed.to_stored(state, now) };
            saver.save(stored, &mut state.pending_wakers);
        }
    }

    /// Closes the sockets, saves the state, and has the NAT taken down, once.
    fn begin_end(&mut self, state: &mut SharedState, now: Instant) {
        if matches!(state.lifecycle, ServerLifecycle::Ending | ServerLifecycle::Over) {
            return;
        }
        state.lifecycle = ServerLifecycle::Ending;
        self.sockets.close();
        // Final, since nothing is granted any more.
        self.save(state, now, true);
        self.saver.iter_mut().for_each(Saver::end);
        self.nat.end();
    }

    /// What a step comes to while the end is under way.
    fn end_state(&mut self) -> ServerStep {
        let is_over = self.nat.is_over() && self.saver.as_mut().is_none_or(Saver::is_over);
        if is_over { ServerStep::End } else { ServerStep::WaitForThreads }
    }
}

/// How many inputs a step still takes, and the place of the socket that it reads.
struct InputsLeft {
    datagrams: usize,
    outcomes: usize,
    socket: usize,
}

impl<S: DatagramSocket> Drop for ServerEngine<S> {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.with(|state, now| self.begin_end(state, now));
        self.nat.join();
        self.saver.iter_mut().for_each(Saver::join);
        shared.close();
    }
}

/// Makes the machine on a thread with a large stack: the table is too large for an ordinary one, also on its way to the heap where
/// the compiler does not see through it.
fn allocate_gateway(config: Config) -> io::Result<Box<Gateway<SERVER_CAPACITY>>> {
    let thread = thread::Builder::new().stack_size(STACK_SIZE).spawn(move || Box::new(Gateway::new(config)))?;
    thread.join().map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))
}

const STACK_SIZE: usize = 32 << 20;
/// So often the engine takes the lock in a turn, each time for so many datagrams and so many outcomes: whoever else wants the lock
/// comes in between.
const STEPS_IN_A_TURN: usize = 8;
const INPUTS_IN_A_STEP: usize = 32;
/// The machine's clock goes on while the host sleeps, and the timers of an adapter may not.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
