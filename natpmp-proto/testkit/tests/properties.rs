//! What holds for any sequence of commands, faults, datagrams and moments.
//!
//! A witness ([`natpmp_testkit::model::witness`]) judges every send, every event and every silence by the checklist.

use std::time::Duration;

use natpmp_proto::{Event, MapRequest, Protocol};
use natpmp_testkit::gateway::{Announces, FailureForm, Faults, Gateway, Grant, Reach, VersionError};
use natpmp_testkit::model::client::{Fault, Key, Run, Sender, Setup, Step, run_steps};
use natpmp_testkit::net::{Link, Sim};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, max_shrink_iters: 500, ..ProptestConfig::default() })]

    /// C02, C03, C07, C16, C25, C26, C27
    #[test]
    fn a_kept_mapping_comes_back_after_any_finite_sequence_of_faults(
        seed: u64,
        separate_announcements: bool,
        is_unpunctual: bool,
        steps in vec(step(), 1..60),
    ) {
        run_steps(Setup { seed, separate_announcements, is_unpunctual }, &steps);
    }

    /// C15, C16
    #[test]
    fn any_bytes_from_the_gateway_leave_every_invariant_standing(
        seed: u64,
        packets in vec((any::<bool>(), packet(), 0u64..3_000), 1..100),
    ) {
        let mut run = Run::new(Setup { seed, separate_announcements: true, is_unpunctual: false });
        run.take(&Step::Keep((Protocol::Udp, 4_000), 4_000, 7_200));
        run.take(&Step::Turn(Fault::Reach(Reach::Silent)));
        run.take(&Step::Refresh((Protocol::Udp, 4_000)));
        for (is_announcement, bytes, pause) in packets {
            match is_announcement {
                true => run.take(&Step::Announcement(Sender::Gateway, bytes)),
                false => run.take(&Step::Datagram(Sender::Gateway, bytes)),
            }
            run.take(&Step::Run(Duration::from_millis(pause)));
        }
        run.heal();
    }

    /// C03, C16, C25
    #[test]
    fn a_bad_network_keeps_no_mapping_from_being_made_and_kept(seed: u64) {
        let mut run = Run::new(Setup { seed, separate_announcements: true, is_unpunctual: false });
        run.take(&Step::Link(Link::bad()));
        for port in 4_000..4_003 {
            run.take(&Step::Keep((Protocol::Tcp, port), 0, 600));
        }
        run.take(&Step::Run(Duration::from_secs(600)));
        let now = run.sim().now();
        prop_assert_eq!(run.sim().gateway().leases(now).len(), 3);
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
    for faults in [
        Faults { reach: Reach::Silent, ..Faults::default() },
        Faults { reach: Reach::Closed, ..Faults::default() },
        Faults { refuse_map: Some(2), ..Faults::default() },
    ] {
        let mut sim = Sim::new(Gateway::with(faults));
        sim.command(|client, now| client.keep(now, &MapRequest::new(Protocol::Udp, 4_000))).unwrap();
        for _ in 0..10 {
            sim.run_for(Duration::from_secs(86_400));
            sim.forget();
            // A machine that was off for half a year.
            sim.sleep(Duration::from_secs(182 * 86_400));
        }
        sim.gateway().faults = Faults::default();
        sim.run_for(Duration::from_secs(64 + 64));
        assert!(matches!(sim.events().last(), Some(Event::Mapped(_))));
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
        1 => (key(), prop_oneof![Just(7_200u32), 60u32..7_200]).prop_map(|(key, lifetime)| Step::Map(key, lifetime)),
        1 => (key(), prop_oneof![Just(30u32), 1_000u32..8_000]).prop_map(|(key, every)| Step::KeepEvery(key, every)),
        1 => key().prop_map(Step::Unmap),
        1 => protocol().prop_map(Step::UnmapAll),
        2 => key().prop_map(Step::Refresh),
        1 => Just(Step::AskAddress),
        1 => any::<bool>().prop_map(Step::Watch),
        1 => Just(Step::NetworkChanged),
        1 => any::<bool>().prop_map(Step::Move),
        1 => Just(Step::Down),
        1 => Just(Step::Clear),
        1 => Just(Step::Hasten),
        4 => duration.clone().prop_map(Step::Run),
        8 => deadline.prop_map(Step::RunToDeadline),
        1 => duration.prop_map(Step::Sleep),
        3 => (sender(), packet()).prop_map(|(sender, bytes)| Step::Datagram(sender, bytes)),
        2 => (sender(), packet()).prop_map(|(sender, bytes)| Step::Announcement(sender, bytes)),
        3 => (sender(), prop_oneof![3 => Just(0u16), 1 => 1u16..8], 0u32..20_000, external(), granted()).prop_map(
            |(sender, result, epoch, port, lifetime)| Step::Answer(sender, result, epoch, port, lifetime)
        ),
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
    let opcode = prop_oneof![Just(0x80u8), Just(0x81), Just(0x82), Just(0u8)];
    let answer = (opcode, prop_oneof![Just(0u16), 0u16..7], epoch, external(), external(), granted(), 0usize..20)
        .prop_map(|(opcode, result, epoch, internal, external, lifetime, length)| {
            let mut bytes = vec![0, opcode];
            bytes.extend(result.to_be_bytes());
            bytes.extend(epoch.to_be_bytes());
            bytes.extend(internal.to_be_bytes());
            bytes.extend(external.to_be_bytes());
            bytes.extend(lifetime.to_be_bytes());
            bytes.truncate(length.max(2));
            bytes
        });
    prop_oneof![4 => answer, 1 => vec(any::<u8>(), 0..64), 1 => Just(Gateway::PCP_ANNOUNCE.to_vec())]
}

fn sender() -> impl Strategy<Value = Sender> {
    prop_oneof![
        4 => Just(Sender::Gateway),
        1 => Just(Sender::OtherPort),
        1 => Just(Sender::Second),
        1 => Just(Sender::Stranger)
    ]
}

fn external() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0u16), 4_000u16..4_004]
}

fn granted() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0u32), 1u32..8_000, Just(u32::MAX)]
}

fn key() -> impl Strategy<Value = Key> {
    (protocol(), prop_oneof![8 => 4_000u16..4_003, 1 => Just(0u16)])
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)]
}
