//! What holds for the gateway machine through any history, against a model of a correct gateway.
//!
//! The model is [`natpmp_testkit::model::gateway`]: after every step it says which answers are allowed, and what the NAT,
//! which it plays, holds.

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatFailure;
use natpmp_proto::wire::Request;
use natpmp_testkit::model::gateway::{HIGH, LOW, Step, When, run_steps};
use proptest::collection::vec;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// G04, G05, G07, G08, G09, G10, G12, G13, G14, G15, G16, G17, G18, G19, G20, G23
    #[test]
    fn the_machine_does_what_the_model_allows_and_the_nat_holds_what_the_table_says(
        seed: u64,
        is_eager: bool,
        steps in vec(step(), 1..120),
    ) {
        run_steps(seed, is_eager, &steps);
    }

    /// G01, G02, G03, G23, G24
    #[test]
    fn any_bytes_leave_every_invariant_standing(
        seed: u64,
        packets in vec((0u8..5, bytes(), when()), 1..80),
    ) {
        let steps: Vec<Step> = packets
            .into_iter()
            .flat_map(|(client, bytes, when)| [Step::Bytes(client, bytes), Step::Pass(when)])
            .collect();
        run_steps(seed, true, &steps);
    }

    /// G14, G15, G17: the NAT is slow and fails often, and everybody deletes and asks again.
    #[test]
    fn a_nat_that_is_slow_and_fails_leaves_nothing_behind(
        seed: u64,
        steps in vec(prop_oneof![4 => asking(), 2 => Just(Step::AskNat), 3 => outcome(3), 1 => address()], 1..150),
    ) {
        run_steps(seed, false, &steps);
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => asking(),
        3 => (0u8..5, bytes()).prop_map(|(client, bytes)| Step::Bytes(client, bytes)),
        12 => when().prop_map(Step::Pass),
        8 => Just(Step::AskNat),
        14 => outcome(6),
        2 => (0u8..5, protocol(), port(), external(), any::<bool>())
            .prop_map(|(client, protocol, port, external, ok)| Step::Bogus(client, protocol, port, external, ok)),
        2 => address(),
        1 => any::<bool>().prop_map(Step::Allow),
        1 => prop::bool::weighted(0.7).prop_map(Step::Switch),
        1 => Just(Step::Clear),
        1 => (0u8..5, protocol(), port(), external())
            .prop_map(|(client, protocol, port, external)| Step::AddStatic(client, protocol, port, external)),
        1 => (0u8..5, protocol(), port(), external(), lifetime())
            .prop_map(|(client, protocol, port, external, left)| Step::Restore(client, protocol, port, external, left)),
        1 => (0u8..5, protocol(), port()).prop_map(|(client, protocol, port)| Step::Remove(client, protocol, port)),
    ]
}

fn asking() -> impl Strategy<Value = Step> {
    let map = (protocol(), port(), external(), lifetime()).prop_map(|(protocol, internal_port, external, lifetime)| {
        Request::Map { protocol, internal_port, suggested_external_port: external, lifetime }
    });
    let request = prop_oneof![
        10 => map,
        4 => (protocol(), port()).prop_map(|(protocol, port)| Request::delete(protocol, port)),
        2 => protocol().prop_map(|protocol| Request::delete(protocol, 0)),
        1 => Just(Request::ExternalAddress),
    ];
    prop_oneof![8 => (0u8..5, request).prop_map(|(client, request)| Step::Ask(client, request)), 2 => Just(Step::Repeat)]
}

fn outcome(successes: u32) -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        successes => Just(Ok(())),
        1 => Just(Err(NatFailure::Network)),
        1 => Just(Err(NatFailure::Resources)),
    ];
    (0usize..8, outcome).prop_map(|(number, outcome)| Step::Outcome(number, outcome))
}

fn address() -> impl Strategy<Value = Step> {
    prop::option::weighted(0.8, 0u8..2).prop_map(Step::Address)
}

/// Relative to the next deadline, in microseconds, or from now on.
fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        6 => prop_oneof![Just(-1i64), Just(0), Just(1), 0i64..2_000_000].prop_map(When::AfterDeadline),
        3 => (0u64..15_000_000).prop_map(When::AfterNow),
        1 => (0u64..2_000_000_000).prop_map(When::AfterNow),
    ]
}

/// Any bytes, and bytes that are almost requests.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let almost =
        (prop_oneof![5 => Just(0u8), 1 => any::<u8>()], prop_oneof![4 => 0u8..5, 1 => any::<u8>()], 0usize..64)
            .prop_flat_map(|(version, opcode, length)| {
                vec(prop_oneof![2 => Just(0u8), 1 => any::<u8>()], length).prop_map(move |mut bytes| {
                    for (byte, value) in bytes.iter_mut().zip([version, opcode]) {
                        *byte = value;
                    }
                    bytes
                })
            });
    prop_oneof![3 => almost, 1 => vec(any::<u8>(), 0..64)]
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Udp), Just(Protocol::Tcp)]
}

/// Internal ports: few, so that requests meet; one that is not allowed outside; seldom 0.
fn port() -> impl Strategy<Value = u16> {
    prop_oneof![8 => LOW..LOW + 3, 2 => Just(80u16), 1 => Just(0u16)]
}

/// Few, so that they run out.
fn external() -> impl Strategy<Value = u16> {
    prop_oneof![6 => LOW..=HIGH, 2 => Just(0u16), 1 => Just(80u16)]
}

fn lifetime() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 1u32..30, 3 => 100u32..1_000, 1 => Just(0u32), 1 => Just(u32::MAX)]
}
