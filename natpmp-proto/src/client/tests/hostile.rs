//! A gateway that says what it likes: how much it can make the client do.

use super::*;

/// A gateway whose answers come within a millisecond, each with an epoch that says that all was lost since the last one.
#[test]
fn a_gateway_that_loses_its_state_with_every_answer_is_asked_for_everything_every_few_seconds_at_most() {
    for kept in [1, 2, 16, 64] {
        let config = Config::for_gateway(GATEWAY).seed(7);
        let mut rig: Rig<64> = Rig::with(config);
        for port in 1..=kept {
            rig.keep(MapRequest::new(UDP, 4000 + port));
        }
        rig.client.watch_external_address(Instant::ZERO, true);
        let (mut requests, mut epoch) = (0, 1_000_000_000);
        while rig.now < 600_000 {
            match rig.client.poll(rig.now()) {
                Output::Transmit(transmit) => {
                    requests += 1;
                    rig.now += 1;
                    epoch -= 1_000;
                    let answer = match Request::decode(&transmit.payload).unwrap() {
                        Request::ExternalAddress => Response::ExternalAddress { epoch, address: ADDRESS },
                        Request::Map { protocol, internal_port, lifetime, .. } => {
                            mapped(epoch, protocol, internal_port, internal_port, lifetime)
                        }
                    };
                    assert_eq!(rig.receives(answer), Ok(Received::Answer));
                }
                Output::Event(_) => {}
                Output::Wait(deadline) => rig.now = deadline.unwrap().as_micros().div_ceil(1000),
            }
        }
        std::println!("{kept} kept: {requests} requests in 600 s");
        assert!(requests <= 300 * (u32::from(kept) + 2), "{kept} kept: {requests} requests in 600 s");
    }
}

/// Whatever is granted: nothing, a second, more than there is.
#[test]
fn no_lifetime_that_is_granted_makes_the_client_ask_more_than_twice_a_second() {
    for lifetime in [0, 1, 2, 7_200, u32::MAX] {
        let mut rig = Rig::new();
        rig.keep(MapRequest::new(UDP, 4000));
        let mut requests = 0;
        while rig.now < 60_000 {
            match rig.client.poll(rig.now()) {
                Output::Transmit(_) => {
                    requests += 1;
                    rig.now += 1;
                    let _ = rig.receives(mapped(rig.epoch(), UDP, 4000, 4000, lifetime));
                }
                Output::Event(_) => {}
                Output::Wait(deadline) => rig.now = deadline.unwrap().as_micros().div_ceil(1000),
            }
        }
        assert!((1..=121).contains(&requests), "{lifetime} s granted: {requests} requests in a minute");
    }
}

/// Of what a pause held up, that which was due first goes first: the one that was tried last comes last.
#[test]
fn a_mapping_that_is_never_answered_does_not_starve_another() {
    let mut rig: Rig = Rig::with(Config::for_gateway(GATEWAY).seed(7).schedule(Schedule::QUICK));
    rig.keep(MapRequest::new(UDP, 4000));
    rig.keep(MapRequest::new(UDP, 4001));
    let mut open = false;
    while !open {
        assert!(rig.now < 60_000, "the other one is never asked for");
        match rig.client.poll(rig.now()) {
            Output::Transmit(transmit) => {
                if is_for(&Request::decode(&transmit.payload).unwrap(), UDP, 4001) {
                    let answer = mapped(rig.epoch(), UDP, 4001, 4001, 7200);
                    assert_eq!(rig.receives(answer), Ok(Received::Answer));
                }
            }
            Output::Event(event) => open = matches!(event, Event::Mapped(_)),
            Output::Wait(deadline) => rig.now = deadline.unwrap().as_micros().div_ceil(1000),
        }
    }
}
