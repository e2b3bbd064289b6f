//! The client machine on the virtual network, at a gateway whose faults are turned on and off.

mod steps;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::client::MappingState;
use natpmp_proto::wire::Request;
use natpmp_proto::{Event, Instant, MapRequest, Protocol};

use crate::gateway::{Announces, FailureForm, Faults, Gateway, Grant, Lease, Reach, VersionError, Vpn};
use crate::net::{Link, Punctuality, Sim};

/// What a mapping is known by.
pub type Key = (Protocol, u16);

/// Something that happens to a client, its network or its gateway.
#[derive(Clone, Debug)]
pub enum Step {
    /// A mapping is kept, with this external port suggested, for so many seconds.
    Keep(Key, u16, u32),
    /// The same, renewed at an interval of its own.
    KeepEvery(Key, u32),
    /// A mapping is made once, for so many seconds.
    Map(Key, u32),
    /// A mapping is deleted.
    Unmap(Key),
    /// All mappings of the protocol are deleted.
    UnmapAll(Protocol),
    /// What an earlier holder of the address left is deleted.
    Clear,
    /// A mapping is renewed at once.
    Refresh(Key),
    /// The external address is asked for.
    AskAddress,
    /// The external address is watched, or not any more.
    Watch(bool),
    /// The host's network changed.
    NetworkChanged,
    /// The client is told of the second gateway, or of the first one.
    Move(bool),
    /// There is not much time left for deletions.
    Hasten,
    /// Time passes.
    Run(Duration),
    /// Time passes to a moment relative to the next deadline, in microseconds.
    RunToDeadline(i64),
    /// The host sleeps.
    Sleep(Duration),
    /// A datagram comes to the socket for requests.
    Datagram(Sender, Vec<u8>),
    /// A datagram comes to the socket for announcements.
    Announcement(Sender, Vec<u8>),
    /// Something that may be the answer to the last request, with this result, epoch, external port and lifetime.
    Answer(Sender, u16, u32, u16, u32),
    /// The system tells of port unreachable.
    Unreachable,
    /// The system tells that the network is down.
    Down,
    /// A fault begins, or all end.
    Turn(Fault),
    /// The gateway loses its state.
    Restart,
    /// The gateway loses its state without a sign.
    DropMappings,
    /// The gateway's external address changes, or is lost.
    ChangeAddress(bool),
    /// The network behaves otherwise.
    Link(Link),
}

/// Where a datagram comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The first gateway, truly or not.
    Gateway,
    /// Its host, but from another port.
    OtherPort,
    /// The second gateway.
    Second,
    /// Somebody else.
    Stranger,
}

/// A fault of the gateway.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// None: all are over.
    None,
    /// It is silent or refuses, or is there again.
    Reach(Reach),
    /// It refuses everything with this result.
    Refuse(Option<u16>, FailureForm),
    /// It grants other lifetimes.
    Grant(Grant),
    /// Every renewal brings another port.
    MovesPorts,
    /// Its answers are late by so many milliseconds, repeated so often, and only every so many-th request has one.
    Late(u32, u32, u32),
    /// It speaks another version.
    Version(VersionError),
    /// It is as most people's.
    Miniupnpd,
    /// It announces itself, in this form.
    Announces(Announces),
}

/// Reads a seed and steps from any bytes, and runs them.
///
/// # Panics
/// If the client does what a correct one does not.
pub fn run(bytes: &[u8]) {
    let (setup, steps) = steps::read(bytes);
    run_steps(setup, &steps);
}

/// What does not change in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// Of all that is random.
    pub seed: u64,
    /// Announcements are handed to the client as such, and not mixed with answers.
    pub separate_announcements: bool,
    /// The client is polled just before, at, just after or far after its deadlines, and not exactly at them.
    pub is_unpunctual: bool,
}

/// Runs a client; at the end all faults end, and what is kept is to come back.
///
/// # Panics
/// If the client does what a correct one does not.
pub fn run_steps(setup: Setup, steps: &[Step]) {
    let mut run = Run::new(setup);
    steps.iter().for_each(|step| run.take(step));
    run.heal();
}

/// The network, the commands that the client got, and the events that it reported.
#[derive(Debug)]
pub struct Run {
    sim: Sim,
    wanted: BTreeSet<Key>,
    open_ports: OpenPorts,
    /// What the client sent last.
    last: Option<Request>,
}

impl Run {
    /// One client at one gateway without faults.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut sim: Sim = Sim::with_rules(Gateway::new(), |rules| rules, setup.seed);
        sim.add_gateway(SECOND, Gateway::new());
        sim.separate_announcements(setup.separate_announcements);
        sim.set_punctuality(if setup.is_unpunctual { Punctuality::Drawn } else { Punctuality::Exact });
        Self { sim, wanted: BTreeSet::new(), open_ports: OpenPorts::default(), last: None }
    }

    /// The network.
    pub fn sim(&mut self) -> &mut Sim {
        &mut self.sim
    }

    /// Has one thing happen.
    ///
    /// # Panics
    /// If the client does what a correct one does not.
    pub fn take(&mut self, step: &Step) {
        let sim = &mut self.sim;
        match step.clone() {
            Step::Keep(key, suggested, lifetime) => {
                self.keep(MapRequest::new(key.0, key.1).external_port(suggested).lifetime(lifetime));
            }
            Step::KeepEvery(key, interval) => self.keep(MapRequest::new(key.0, key.1).refresh_interval(interval)),
            Step::Map(key, lifetime) => {
                let request = MapRequest::new(key.0, key.1).lifetime(lifetime);
                let _ = sim.command(|client, now| client.map(now, &request));
            }
            Step::Unmap(key) => {
                if sim.command(|client, now| client.unmap(now, key.0, key.1)).is_ok() {
                    self.wanted.remove(&key);
                }
            }
            Step::UnmapAll(protocol) => {
                sim.command(|client, now| client.unmap_all(now, protocol));
                self.wanted.retain(|key| key.0 != protocol);
            }
            Step::Clear => sim.command(|client, now| client.clear(now)),
            Step::Refresh(key) => {
                sim.command(|client, now| client.refresh(now, key.0, key.1));
            }
            Step::AskAddress => sim.command(|client, now| client.request_external_address(now)),
            Step::Watch(on) => sim.command(|client, now| client.watch_external_address(now, on)),
            Step::NetworkChanged => sim.command(|client, now| client.network_changed(now)),
            Step::Move(is_second) => {
                let gateway = if is_second { SECOND } else { Sim::<8>::GATEWAY };
                sim.command(|client, now| client.set_gateway(now, gateway));
            }
            Step::Hasten => sim.command(|client, now| client.hasten_deletions(now)),
            Step::Run(duration) => sim.run_for(duration),
            Step::RunToDeadline(offset) => {
                if let Some(deadline) = sim.client().poll_timeout() {
                    sim.run_until(Instant::from_micros(deadline.as_micros().saturating_add_signed(offset)));
                    sim.poke();
                }
            }
            Step::Sleep(duration) => sim.sleep(duration),
            Step::Datagram(sender, bytes) => sim.inject(sender.address(), &bytes),
            Step::Announcement(sender, bytes) => sim.inject_announcement(sender.address(), &bytes),
            Step::Answer(sender, result, epoch, port, lifetime) => {
                if let Some(bytes) = self.last.map(|last| answer(last, result, epoch, port, lifetime)) {
                    sim.inject(sender.address(), &bytes);
                }
            }
            Step::Unreachable => sim.inject_unreachable(),
            Step::Down => sim.command(|client, now| client.handle_network_down(now)),
            Step::Turn(fault) => sim.with_gateway(|gateway, _| fault.apply(&mut gateway.faults)),
            Step::Restart => sim.with_gateway(|gateway, now| gateway.restart(now)),
            Step::DropMappings => sim.with_gateway(|gateway, _| gateway.drop_mappings()),
            Step::ChangeAddress(some) => {
                let address = some.then_some([11, 9, 9, 9].into());
                sim.with_gateway(|gateway, now| gateway.change_address(now, address));
            }
            Step::Link(link) => sim.set_link(link),
        }
        self.read_events();
    }

    /// All faults end: what is wanted comes back, and client and gateway agree.
    ///
    /// # Panics
    /// If it does not.
    pub fn heal(&mut self) {
        self.sim.set_link(Link::perfect());
        self.sim.set_punctuality(Punctuality::Exact);
        if self.sim.client().gateway() == SECOND {
            self.take(&Step::Move(false));
        }
        self.sim.with_gateway(|gateway, now| {
            // Internal port 0 is wanted by VPNs only.
            gateway.faults = Faults { vpn: Some(Vpn::AnswersZero), ..Faults::default() };
            gateway.change_address(now, Some(Gateway::EXTERNAL));
        });
        self.sim.poke();
        // A loss without a sign is found by the next renewal: at an interval of its own, it may be at nearly two hours.
        self.sim.run_for(Duration::from_secs(7_200 + 200));
        self.read_events();
        for &(protocol, port) in &self.wanted {
            let state = self.sim.client().mapping(protocol, port).expect("what is wanted is held").state;
            let MappingState::Open { mapping, .. } = state else { panic!("{protocol} {port} is {state:?}") };
            assert_eq!(self.open_ports.port((protocol, port)), Some(mapping.external_port));
            let now = self.sim.now();
            let leases = self.sim.gateway().leases(now);
            let has = |lease: &Lease| {
                (lease.protocol, lease.internal_port, lease.external_port) == (protocol, port, mapping.external_port)
            };
            assert!(leases.iter().any(has), "{mapping:?} is not among {leases:?}");
        }
        self.sim.forget();
        // From now on there are renewals only.
        self.sim.run_for(Duration::from_secs(10_000));
        let told_nothing_else = |event: &Event| matches!(event, Event::Renewed(_) | Event::Ended { .. });
        assert!(self.sim.events().iter().all(told_nothing_else), "{:?}", self.sim.events());
    }

    fn keep(&mut self, request: MapRequest) {
        if self.sim.command(|client, now| client.keep(now, &request)).is_ok() {
            self.wanted.insert((request.protocol(), request.internal_port()));
        }
    }

    fn read_events(&mut self) {
        self.sim.events().iter().for_each(|event| self.open_ports.apply(event));
        self.last = self.sim.sent().last().map(|sent| sent.request).or(self.last);
        self.sim.forget();
    }
}

impl Sender {
    fn address(self) -> SocketAddrV4 {
        match self {
            Self::Gateway => Sim::<8>::GATEWAY,
            Self::OtherPort => SocketAddrV4::new(*Sim::<8>::GATEWAY.ip(), 5_352),
            Self::Second => SECOND,
            Self::Stranger => SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 66), 5_351),
        }
    }
}

impl Fault {
    /// Turns it on at a gateway.
    fn apply(self, faults: &mut Faults) {
        match self {
            Self::None => *faults = Faults::default(),
            Self::Reach(reach) => faults.reach = reach,
            Self::Refuse(code, form) => {
                (faults.refuse_map, faults.refuse_unmap, faults.refuse_address) = (code, code, code);
                faults.failure_form = form;
            }
            Self::Grant(grant) => faults.grant = grant,
            Self::MovesPorts => faults.moves_ports = true,
            Self::Late(delay, repeats, answers_every) => {
                faults.delay = Duration::from_millis(delay.into());
                (faults.repeats, faults.answers_every) = (repeats, answers_every);
            }
            Self::Version(form) => faults.version_error = Some(form),
            Self::Miniupnpd => *faults = Faults::miniupnpd(),
            Self::Announces(announces) => faults.announces = announces,
        }
    }
}

/// The external ports that events say are open.
#[derive(Clone, Debug, Default)]
struct OpenPorts {
    open: BTreeMap<Key, u16>,
}

impl OpenPorts {
    /// Nothing is renewed or lost that is not open, nothing is opened twice.
    fn apply(&mut self, event: &Event) {
        match *event {
            Event::Mapped(mapping) => {
                let before = self.open.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                assert_eq!(before, None, "opened twice: {mapping:?}");
                assert!(mapping.external_port != 0 && mapping.lifetime != 0, "{mapping:?}");
            }
            Event::Renewed(mapping) => {
                assert_eq!(self.port((mapping.protocol, mapping.internal_port)), Some(mapping.external_port));
            }
            Event::PortChanged { mapping, previous_port } => {
                let before = self.open.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                assert_eq!(before, Some(previous_port));
                assert_ne!(mapping.external_port, previous_port);
            }
            Event::Lost { protocol, internal_port, external_port, .. } => {
                assert_eq!(self.open.remove(&(protocol, internal_port)), Some(external_port));
            }
            Event::Ended { protocol, internal_port, .. } => {
                self.open.remove(&(protocol, internal_port));
            }
            _ => {}
        }
    }

    /// The port that is open.
    fn port(&self, key: Key) -> Option<u16> {
        self.open.get(&key).copied()
    }
}

fn answer(request: Request, result: u16, epoch: u32, port: u16, lifetime: u32) -> Vec<u8> {
    let mut bytes = vec![0, 128 + request.opcode()];
    bytes.extend(result.to_be_bytes());
    bytes.extend(epoch.to_be_bytes());
    if let Request::Map { internal_port, .. } = request {
        bytes.extend(internal_port.to_be_bytes());
        bytes.extend(port.to_be_bytes());
    }
    bytes.extend(lifetime.to_be_bytes());
    bytes
}

const SECOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 5351);
