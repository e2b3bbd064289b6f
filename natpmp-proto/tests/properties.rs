//! What holds for any sequence of commands, faults, datagrams and moments.
//!
//! The virtual network itself asserts at every step that datagrams go to the gateway only, that one request is in
//! flight, that nothing is sent faster than the schedule, that a discarded datagram moves no deadline, and that the
//! client becomes quiet with its next deadline in the future.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test that panics has failed, as it should"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::client::MappingState;
use natpmp_proto::{Event, MapRequest, Protocol, Schedule};
use natpmp_testkit::gateway::{Announces, FailureForm, Gateway, Grant, Knobs, Reach, VersionError};
use natpmp_testkit::net::{Link, Punctuality, Sim};
use proptest::collection::vec;
use proptest::prelude::*;

const GATEWAY: SocketAddrV4 = Sim::<8>::GATEWAY;
type Key = (Protocol, u16);

#[derive(Clone, Debug)]
enum Step {
    Keep(Key, u16, u32),
    Map(Key),
    Unmap(Key),
    UnmapAll(Protocol),
    Refresh(Key),
    AskAddress,
    Watch(bool),
    NetworkChanged,
    Run(Duration),
    /// To a moment relative to the next deadline, in microseconds.
    RunToDeadline(i64),
    Sleep(Duration),
    Datagram(bool, Vec<u8>),
    Announcement(bool, Vec<u8>),
    Unreachable,
    Turn(Fault),
    Restart,
    DropMappings,
    ChangeAddress(bool),
    Link(Link),
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    None,
    Reach(Reach),
    Refuse(Option<u16>, FailureForm),
    Grant(Grant),
    MovesPorts,
    Late(u32, u32, u32),
    Version(VersionError),
    Miniupnpd,
    Announces(Announces),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]

    /// C02, C03, C07, C16, C25, C26, C27
    #[test]
    fn a_kept_mapping_comes_back_after_any_finite_sequence_of_faults(
        seed: u64,
        apart: bool,
        drawn: bool,
        steps in vec(step(), 1..60),
    ) {
        let mut run = Run::new(seed, apart, drawn);
        steps.iter().for_each(|step| run.take(step));
        run.heal();
    }

    /// C15, C16
    #[test]
    fn any_bytes_from_the_gateway_leave_every_invariant_standing(
        seed: u64,
        packets in vec((any::<bool>(), packet(), 0u64..3_000), 1..100),
    ) {
        let mut run = Run::new(seed, true, false);
        run.take(&Step::Keep((Protocol::Udp, 4_000), 4_000, 7_200));
        run.take(&Step::Turn(Fault::Reach(Reach::Silent)));
        run.take(&Step::Refresh((Protocol::Udp, 4_000)));
        for (is_announcement, bytes, pause) in packets {
            match is_announcement {
                true => run.take(&Step::Announcement(true, bytes)),
                false => run.take(&Step::Datagram(true, bytes)),
            }
            run.take(&Step::Run(Duration::from_millis(pause)));
        }
        run.heal();
    }

    /// C03, C16, C25
    #[test]
    fn a_bad_network_keeps_no_mapping_from_being_made_and_kept(seed: u64) {
        let mut run = Run::new(seed, true, false);
        run.take(&Step::Link(Link::bad()));
        for port in 4_000..4_003 {
            run.take(&Step::Keep((Protocol::Tcp, port), 0, 600));
        }
        run.take(&Step::Run(Duration::from_secs(600)));
        let now = run.sim.now();
        prop_assert_eq!(run.sim.gateway().leases(now).len(), 3);
        run.take(&Step::Run(Duration::from_secs(20_000)));
        run.heal();
    }
}

/// C28
#[test]
fn years_go_by_without_a_renewal_too_many_or_too_few() {
    let mut sim = Sim::new(Gateway::new());
    // The gateway's epoch wraps on the way.
    sim.with_gateway(|gateway, now| gateway.set_epoch(now, u32::MAX - 100 * 86_400));
    sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Udp, 4_000))).unwrap();
    for _ in 0..4 {
        sim.forget();
        sim.run_for(Duration::from_secs(365 * 86_400));
        assert!((8_759..=8_762).contains(&sim.sent().len()), "{} renewals in a year", sim.sent().len());
        let now = sim.now();
        assert!(sim.gateway().lease(now, Protocol::Udp, 4_000).is_some());
    }
}

/// C25, C28
#[test]
fn years_of_failure_do_not_end_the_tries() {
    for knobs in [
        Knobs { reach: Reach::Silent, ..Knobs::default() },
        Knobs { reach: Reach::Closed, ..Knobs::default() },
        Knobs { refuse_map: Some(2), ..Knobs::default() },
    ] {
        let mut sim = Sim::new(Gateway::with(knobs));
        sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Udp, 4_000))).unwrap();
        for _ in 0..10 {
            sim.run_for(Duration::from_secs(86_400));
            sim.forget();
            // A machine that was off for half a year.
            sim.sleep(Duration::from_secs(182 * 86_400));
        }
        sim.gateway().knobs = Knobs::default();
        sim.run_for(Duration::from_secs(64 + 64));
        assert!(matches!(sim.events().last(), Some(Event::Mapped(_))));
    }
}

/// The network, with what was asked of the client and what it told.
struct Run {
    sim: Sim,
    wanted: BTreeSet<Key>,
    told: BTreeMap<Key, u16>,
}

impl Run {
    fn new(seed: u64, apart: bool, drawn: bool) -> Self {
        let mut sim: Sim = Sim::with_config(Gateway::new(), |config| config, Schedule::RFC, seed);
        sim.hear_announcements_apart(apart);
        sim.set_punctuality(if drawn { Punctuality::Drawn } else { Punctuality::Exact });
        Self { sim, wanted: BTreeSet::new(), told: BTreeMap::new() }
    }

    fn take(&mut self, step: &Step) {
        let sim = &mut self.sim;
        match step.clone() {
            Step::Keep(key, suggested, lifetime) => {
                let request = MapRequest::new(key.0, key.1).external_port(suggested).lifetime(lifetime);
                sim.command(|client, now| client.keep(now, &request)).unwrap();
                self.wanted.insert(key);
            }
            Step::Map(key) => {
                sim.command(|client, now| client.map(now, &MapRequest::new(key.0, key.1))).unwrap();
            }
            Step::Unmap(key) => {
                sim.command(|client, now| client.unmap(now, key.0, key.1)).unwrap();
                self.wanted.remove(&key);
            }
            Step::UnmapAll(protocol) => {
                sim.command(|client, now| client.unmap_all(now, protocol));
                self.wanted.retain(|key| key.0 != protocol);
            }
            Step::Refresh(key) => {
                sim.command(|client, now| client.refresh(now, key.0, key.1));
            }
            Step::AskAddress => sim.command(|client, now| client.request_external_address(now)),
            Step::Watch(on) => sim.command(|client, now| client.watch_external_address(now, on)),
            Step::NetworkChanged => sim.command(|client, now| client.network_changed(now)),
            Step::Run(duration) => sim.run_for(duration),
            Step::RunToDeadline(offset) => {
                if let Some(deadline) = sim.client().poll_timeout() {
                    let at = natpmp_proto::Instant::from_micros(deadline.as_micros().saturating_add_signed(offset));
                    sim.run_until(at);
                    sim.poke();
                }
            }
            Step::Sleep(duration) => sim.sleep(duration),
            Step::Datagram(genuine, bytes) => sim.inject(sender(genuine), &bytes),
            Step::Announcement(genuine, bytes) => sim.inject_announcement(sender(genuine), &bytes),
            Step::Unreachable => sim.inject_unreachable(),
            Step::Turn(fault) => sim.with_gateway(|gateway, _| turn(&mut gateway.knobs, fault)),
            Step::Restart => sim.with_gateway(|gateway, now| gateway.restart(now)),
            Step::DropMappings => sim.with_gateway(|gateway, _| gateway.drop_mappings()),
            Step::ChangeAddress(some) => {
                let address = some.then_some([11, 9, 9, 9].into());
                sim.with_gateway(|gateway, now| gateway.change_address(now, address));
            }
            Step::Link(link) => sim.set_link(link),
        }
        self.check_events();
    }

    /// All faults end: what is wanted comes back, and client and gateway agree.
    fn heal(&mut self) {
        self.sim.set_link(Link::perfect());
        self.sim.set_punctuality(Punctuality::Exact);
        self.sim.with_gateway(|gateway, now| {
            gateway.knobs = Knobs::default();
            gateway.change_address(now, Some(Gateway::EXTERNAL));
        });
        self.sim.poke();
        // A loss without a sign is found by the next renewal, at half of two hours.
        self.sim.run_for(Duration::from_secs(3_600 + 200));
        self.check_events();
        for &(protocol, port) in &self.wanted {
            let state = self.sim.client().mapping(protocol, port).expect("what is wanted is held").state;
            let MappingState::Open { mapping, .. } = state else { panic!("{protocol} {port} is {state:?}") };
            assert_eq!(self.told.get(&(protocol, port)), Some(&mapping.external_port));
            let now = self.sim.now();
            let leases = self.sim.gateway().leases(now);
            let has = |lease: &natpmp_testkit::gateway::Lease| {
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

    /// Events tell a story that makes sense: nothing is renewed or lost that is not open, nothing is opened twice.
    fn check_events(&mut self) {
        for event in self.sim.events() {
            match event {
                Event::Mapped(mapping) => {
                    let before = self.told.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                    assert_eq!(before, None, "opened twice: {mapping:?}");
                    assert!(mapping.external_port != 0 && mapping.lifetime != 0, "{mapping:?}");
                }
                Event::Renewed(mapping) => {
                    let told = self.told.get(&(mapping.protocol, mapping.internal_port));
                    assert_eq!(told, Some(&mapping.external_port));
                }
                Event::PortChanged { mapping, previous_port } => {
                    let before = self.told.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                    assert_eq!(before, Some(previous_port));
                    assert_ne!(mapping.external_port, previous_port);
                }
                Event::Lost { protocol, internal_port, external_port, .. } => {
                    assert_eq!(self.told.remove(&(protocol, internal_port)), Some(external_port));
                }
                Event::Ended { protocol, internal_port, .. } => {
                    self.told.remove(&(protocol, internal_port));
                }
                _ => {}
            }
        }
        self.sim.forget();
    }
}

fn sender(genuine: bool) -> SocketAddrV4 {
    if genuine { GATEWAY } else { "192.168.1.66:5351".parse().unwrap() }
}

fn turn(knobs: &mut Knobs, fault: Fault) {
    match fault {
        Fault::None => *knobs = Knobs::default(),
        Fault::Reach(reach) => knobs.reach = reach,
        Fault::Refuse(code, form) => {
            (knobs.refuse_map, knobs.refuse_unmap, knobs.refuse_address) = (code, code, code);
            knobs.failure_form = form;
        }
        Fault::Grant(grant) => knobs.grant = grant,
        Fault::MovesPorts => knobs.moves_ports = true,
        Fault::Late(delay, repeats, answers_every) => {
            knobs.delay = Duration::from_millis(delay.into());
            (knobs.repeats, knobs.answers_every) = (repeats, answers_every);
        }
        Fault::Version(form) => knobs.version_error = Some(form),
        Fault::Miniupnpd => *knobs = Knobs::miniupnpd(),
        Fault::Announces(announces) => knobs.announces = announces,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let duration = prop_oneof![
        (0u64..3_000).prop_map(Duration::from_millis),
        (0u64..600).prop_map(Duration::from_secs),
        (0u64..20_000).prop_map(Duration::from_secs),
    ];
    let deadline = prop_oneof![Just(-1), Just(0), Just(1), 0i64..1_000_000, 0i64..20_000_000_000];
    prop_oneof![
        3 => (key(), prop_oneof![Just(0u16), 4_000u16..4_003], prop_oneof![Just(7_200u32), 60u32..7_200])
            .prop_map(|(key, suggested, lifetime)| Step::Keep(key, suggested, lifetime)),
        1 => key().prop_map(Step::Map),
        1 => key().prop_map(Step::Unmap),
        1 => protocol().prop_map(Step::UnmapAll),
        2 => key().prop_map(Step::Refresh),
        1 => Just(Step::AskAddress),
        1 => any::<bool>().prop_map(Step::Watch),
        1 => Just(Step::NetworkChanged),
        4 => duration.clone().prop_map(Step::Run),
        8 => deadline.prop_map(Step::RunToDeadline),
        1 => duration.prop_map(Step::Sleep),
        3 => (any::<bool>(), packet()).prop_map(|(genuine, bytes)| Step::Datagram(genuine, bytes)),
        2 => (any::<bool>(), packet()).prop_map(|(genuine, bytes)| Step::Announcement(genuine, bytes)),
        1 => Just(Step::Unreachable),
        5 => fault().prop_map(Step::Turn),
        2 => Just(Step::Restart),
        1 => Just(Step::DropMappings),
        1 => any::<bool>().prop_map(Step::ChangeAddress),
        1 => prop_oneof![Just(Link::perfect()), Just(Link::bad()), Just(Link::DEAD)].prop_map(Step::Link),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let form = prop_oneof![
        Just(FailureForm::Full),
        Just(FailureForm::Echo),
        Just(FailureForm::Short),
        Just(FailureForm::Shortest)
    ];
    prop_oneof![
        2 => Just(Fault::None),
        2 => prop_oneof![Just(Reach::Open), Just(Reach::Silent), Just(Reach::Closed)].prop_map(Fault::Reach),
        1 => (proptest::option::of(1u16..8), form).prop_map(|(code, form)| Fault::Refuse(code, form)),
        1 => prop_oneof![
            prop_oneof![1 => Just(1u32), 8 => 30u32..100].prop_map(Grant::AtMost),
            Just(Grant::Exactly(0)),
            Just(Grant::Exactly(u32::MAX))
        ].prop_map(Fault::Grant),
        1 => Just(Fault::MovesPorts),
        1 => (0u32..2_000, 0u32..3, 1u32..5).prop_map(|(delay, repeats, every)| Fault::Late(delay, repeats, every)),
        1 => prop_oneof![
            Just(VersionError::Opcode0),
            Just(VersionError::Opcode128Plus),
            Just(VersionError::PcpUnderVersion0),
            Just(VersionError::Pcp)
        ].prop_map(Fault::Version),
        1 => Just(Fault::Miniupnpd),
        1 => prop_oneof![Just(Announces::NatPmp), Just(Announces::Pcp)].prop_map(Fault::Announces),
    ]
}

/// Any bytes, and bytes that are almost answers.
fn packet() -> impl Strategy<Value = Vec<u8>> {
    let epoch = prop_oneof![any::<u32>(), 0u32..20_000];
    let port = || prop_oneof![Just(0u16), 4_000u16..4_004];
    let lifetime = prop_oneof![Just(0u32), 1u32..8_000, Just(u32::MAX)];
    let opcode = prop_oneof![Just(0x80u8), Just(0x81), Just(0x82), Just(0u8)];
    let answer = (opcode, prop_oneof![Just(0u16), 0u16..7], epoch, port(), port(), lifetime, 0usize..20).prop_map(
        |(opcode, result, epoch, internal, external, lifetime, length)| {
            let mut bytes = vec![0, opcode];
            bytes.extend(result.to_be_bytes());
            bytes.extend(epoch.to_be_bytes());
            bytes.extend(internal.to_be_bytes());
            bytes.extend(external.to_be_bytes());
            bytes.extend(lifetime.to_be_bytes());
            bytes.truncate(length.max(2));
            bytes
        },
    );
    prop_oneof![4 => answer, 1 => vec(any::<u8>(), 0..64), 1 => Just(Gateway::PCP_ANNOUNCE.to_vec())]
}

fn key() -> impl Strategy<Value = Key> {
    (protocol(), 4_000u16..4_003)
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)]
}
