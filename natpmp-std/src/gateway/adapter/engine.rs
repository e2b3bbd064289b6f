//! The gateway's worker: carries datagrams, outcomes of the NAT and time to the machine.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll};
use natpmp_proto::Instant;
use natpmp_proto::gateway::{GatewayEvent, NatMapping, Reply};

use super::builder::External;
use super::interfaces::address_of;
use super::nat_thread::NatThread;
use super::server::{Command, Core, Shared};
use super::sockets::Sockets;
use super::state::{State, StoredMapping, unix_time};

pub(super) struct Worker {
    shared: Arc<Shared>,
    poll: Poll,
    sockets: Sockets,
    nat: NatThread,
    external: ExternalSource,
    state_file: Option<PathBuf>,
    /// To be taken up when there is an external address.
    before: Option<Before>,
    /// When the state is to be saved, since it has changed.
    save_at: Option<Instant>,
}

/// What is to stand from the start.
pub(super) struct Before {
    pub(super) statics: Vec<NatMapping>,
    pub(super) state: Option<State>,
}

/// Where the external address comes from.
pub(super) struct ExternalSource {
    external: External,
    look_at: Instant,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        poll: Poll,
        sockets: Sockets,
        nat: NatThread,
        external: ExternalSource,
        state_file: Option<PathBuf>,
        before: Before,
    ) -> Self {
        Self { shared, poll, sockets, nat, external, state_file, before: Some(before), save_at: None }
    }

    pub(super) fn run(mut self) {
        self.boot();
        let mut ready = Events::with_capacity(64);
        while let Some(wait) = self.drain() {
            if let Err(error) = self.poll.poll(&mut ready, wait) {
                if error.kind() != std::io::ErrorKind::Interrupted {
                    log::warn!("waiting for packets failed ({error}): the gateway ends");
                    break;
                }
            }
            for index in 0..self.sockets.len() {
                self.receive(index);
            }
            self.take_outcomes();
        }
        self.save();
        self.shared.lock().events = crate::subscription::Subscribers::new();
    }

    /// The epoch goes on if the state was kept, and begins anew if not.
    fn boot(&mut self) {
        let now = self.shared.now();
        let state = self.before.as_ref().and_then(|before| before.state.as_ref());
        let epoch = state.map_or(0, |state| {
            let away = unix_time().saturating_sub(state.saved_at);
            state.epoch.saturating_add(u32::try_from(away).unwrap_or(u32::MAX))
        });
        self.shared.lock().gateway.start(now, epoch);
        self.look_at_external(now);
        self.pass_on(&mut self.shared.lock());
        self.nat.begin();
    }

    /// Does all that is to be done now. The wait that follows; `None` at the end.
    fn drain(&mut self) -> Option<Option<Duration>> {
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        if self.external.is_due(now) {
            self.look_at_external(now);
        }
        let mut core = shared.lock();
        for command in std::mem::take(&mut core.commands) {
            self.carry_out(&mut core, now, command);
        }
        if core.is_stopped {
            return None;
        }
        core.gateway.handle_timeout(now);
        self.pass_on(&mut core);
        while let Some(announcement) = core.gateway.poll_transmit(now) {
            self.sockets.announce(&announcement);
        }
        self.tell(&mut core, now);
        let deadline = core.gateway.poll_timeout();
        drop(core);
        if self.save_at.is_some_and(|at| at <= now) {
            self.save();
        }
        let deadlines = [deadline, self.save_at, self.external.next_look()];
        let next = deadlines.into_iter().flatten().min();
        Some(next.map(|at| at.saturating_since(shared.now())))
    }

    fn receive(&mut self, index: usize) {
        let mut buffer = [0; LONGEST_REQUEST];
        let mut packet = [0; LONGEST_REQUEST];
        let shared = Arc::clone(&self.shared);
        for _ in 0..MOST_AT_ONCE {
            let Some((from, bytes)) = self.sockets.receive(index, &mut buffer) else { return };
            let mut core = shared.lock();
            let now = shared.now();
            let reply = core.gateway.handle_datagram(now, from, bytes);
            log::debug!("from {from}: {bytes:02x?}: {reply:?}");
            if let Ok(Reply::Now(answer)) = reply {
                if let Some(answer) = answer.write(&mut packet) {
                    self.sockets.answer(index, from, answer);
                }
            } else if let Ok(Reply::AfterNat) = reply {
                self.sockets.remember(from, index);
            }
            // Requests go to the NAT while more are read, so that it has them in one batch.
            self.pass_on(&mut core);
            self.tell(&mut core, now);
        }
        // The rest comes after the others have had their turn.
        self.shared.wake();
    }

    /// Asks the NAT for what the machine wants of it.
    fn pass_on(&self, core: &mut Core) {
        while let Some(request) = core.gateway.poll_nat() {
            self.nat.request(request);
        }
    }

    fn take_outcomes(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some((request, outcome)) = self.nat.outcome() {
            let mut core = shared.lock();
            let now = shared.now();
            if let Err(failure) = outcome {
                log::warn!("{request:?}: {failure}");
            }
            if let Some(answer) = core.gateway.handle_nat(now, &request, outcome) {
                self.sockets.answer_later(answer.to, &answer.payload);
            }
            self.tell(&mut core, now);
        }
    }

    fn carry_out(&mut self, core: &mut Core, now: Instant, command: Command) {
        match command {
            Command::ExternalAddress(address) => {
                self.external.fix();
                self.set_external(core, now, address);
            }
            Command::AllowMapping(is_allowed) => core.gateway.allow_mapping(is_allowed),
            Command::Clear => core.gateway.clear(now),
        }
    }

    fn look_at_external(&mut self, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let address = self.external.look(now);
        self.set_external(&mut shared.lock(), now, address);
    }

    fn set_external(&mut self, core: &mut Core, now: Instant, address: Option<Ipv4Addr>) {
        if core.gateway.external_address() == address {
            return;
        }
        log::debug!("the external address is {address:?}");
        // The NAT has to know before it is asked to bring its mappings up to date.
        self.nat.set_external_address(address);
        core.gateway.set_external_address(now, address);
        if address.is_some() {
            self.restore(core);
        }
        self.save_at = Some(now);
    }

    fn restore(&mut self, core: &mut Core) {
        let Some(Before { statics, state }) = self.before.take() else { return };
        for mapping in statics {
            if !core.gateway.add_static(&mapping) {
                log::warn!("{mapping:?} cannot be mapped: its port or its client's port is taken");
            }
        }
        let now = unix_time();
        for StoredMapping { mapping, expires_at } in state.map(|state| state.mappings).unwrap_or_default() {
            let left = u32::try_from(expires_at.saturating_sub(now)).unwrap_or(u32::MAX);
            if !core.gateway.restore(&mapping, left) {
                log::debug!("{mapping:?} is not taken up again");
            }
        }
    }

    fn tell(&mut self, core: &mut Core, now: Instant) {
        while let Some(event) = core.gateway.poll_event() {
            if !matches!(event, GatewayEvent::Refused { .. }) && self.save_at.is_none() {
                self.save_at = Some(now + SAVE_AFTER);
            }
            core.events.tell(&event);
        }
    }

    fn save(&mut self) {
        self.save_at = None;
        let Some(path) = &self.state_file else { return };
        // What was not taken up yet is not to be lost.
        if self.before.as_ref().is_some_and(|before| before.state.is_some()) {
            return;
        }
        let state = self.state();
        if let Err(error) = state.save(path) {
            log::warn!("{error}");
        }
    }

    fn state(&self) -> State {
        let (core, now, saved_at) = (self.shared.lock(), self.shared.now(), unix_time());
        let stored = core.gateway.mappings().filter_map(|open| {
            let left = open.expires?.saturating_since(now);
            Some(StoredMapping { mapping: open.mapping, expires_at: saved_at.saturating_add(left.as_secs()) })
        });
        State { saved_at, epoch: core.gateway.epoch(now), mappings: stored.collect() }
    }
}

impl ExternalSource {
    pub(super) const fn new(external: External) -> Self {
        Self { external, look_at: Instant::ZERO }
    }

    fn look(&mut self, now: Instant) -> Option<Ipv4Addr> {
        self.look_at = now + LOOK_INTERVAL;
        match &self.external {
            External::Address(address) => Some(*address),
            External::None => None,
            External::Interface(interface) => address_of(interface).unwrap_or_else(|error| {
                log::warn!("the address of {interface} cannot be learned: {error}");
                None
            }),
        }
    }

    /// From now on it is said, and not looked for.
    fn fix(&mut self) {
        self.external = External::None;
    }

    fn next_look(&self) -> Option<Instant> {
        matches!(self.external, External::Interface(_)).then_some(self.look_at)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_look().is_some_and(|at| at <= now)
    }
}

/// PCP's longest packet; an unknown request comes back whole.
const LONGEST_REQUEST: usize = 1_100;
const MOST_AT_ONCE: usize = 256;
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// A change is in the file within this time, and many changes make one write.
const SAVE_AFTER: Duration = Duration::from_millis(200);
