//! How often a client is answered.

use core::time::Duration;

use super::*;

#[test]
fn a_client_is_answered_as_often_as_the_rate_says_and_saves_up_two_seconds() {
    let mut limit: RateLimit<8> = RateLimit::new(100, 7);
    let start = Instant::from_secs(5);
    assert_eq!(admitted(&mut limit, start, 2, 1_000), 200);
    assert_eq!(admitted(&mut limit, start + Duration::from_millis(10), 2, 1_000), 1);
    assert_eq!(admitted(&mut limit, start + Duration::from_millis(19), 2, 1_000), 0);
    assert_eq!(admitted(&mut limit, start + Duration::from_millis(510), 2, 1_000), 50);
    assert_eq!(admitted(&mut limit, start + Duration::from_secs(3_600), 2, 1_000), 200, "and no more than that");
    assert_eq!(limit.refused(), 800 + 999 + 1_000 + 950 + 800);
}

#[test]
fn who_keeps_to_the_rate_is_always_answered() {
    let mut limit: RateLimit<8> = RateLimit::new(100, 7);
    for number in 0..10_000 {
        let now = Instant::from_millis(number * 10);
        assert_eq!(admitted(&mut limit, now, 2, 1), 1);
        // Of the others each asks now and then.
        assert_eq!(admitted(&mut limit, now, 3 + u8::try_from(number % 100).unwrap(), 1), 1);
    }
    assert_eq!(limit.refused(), 0);
}

#[test]
fn a_client_that_is_held_back_holds_back_nobody_else() {
    let mut limit: RateLimit<8> = RateLimit::new(10, 7);
    for number in 0..20 {
        let now = Instant::from_millis(number * 100);
        let _ = admitted(&mut limit, now, 2, 1_000);
        for other in 3..20 {
            assert_eq!(admitted(&mut limit, now, other, 1), 1);
        }
    }
}

/// Whoever sends in the names of others cannot have one of them answered more often by that.
#[test]
fn a_flood_from_a_thousand_addresses_does_not_make_the_gateway_forget_who_is_held_back() {
    for seed in 0..20 {
        let mut limit: RateLimit<64> = RateLimit::new(10, seed);
        let mut answers = 0;
        for number in 0..100 {
            let now = Instant::from_millis(number * 100);
            answers += admitted(&mut limit, now, 2, 100);
            for forged in 0..1_000_u32 {
                let _ = limit.admits(now, Ipv4Addr::from_bits(0x0a00_0000 + forged * 7));
            }
        }
        assert_eq!(answers, 20 + 99, "seed {seed}: two seconds' worth at once, and the rate from then on");
    }
}

#[test]
fn many_clients_are_remembered_side_by_side() {
    let mut limit: RateLimit<1024> = RateLimit::new(1, 7);
    let clients = || (0..256_u32).map(|number| Ipv4Addr::from_bits(0xc0a8_0000 + number));
    for client in clients() {
        assert!(limit.admits(Instant::ZERO, client) && limit.admits(Instant::ZERO, client));
    }
    let again = clients().filter(|client| limit.admits(Instant::ZERO, *client)).count();
    assert!(again <= 2, "{again} of 256 were forgotten");
}

#[test]
fn any_rate_will_do() {
    let mut never: RateLimit<8> = RateLimit::new(0, 7);
    assert_eq!(admitted(&mut never, Instant::ZERO, 2, 10), 2, "as one a second");
    let mut fast: RateLimit<8> = RateLimit::new(u32::MAX, 7);
    assert_eq!(admitted(&mut fast, Instant::ZERO, 2, 10_000), 10_000);
    let mut late: RateLimit<8> = RateLimit::new(1, 7);
    // At the end of time nothing overflows.
    let _ = admitted(&mut late, Instant::from_micros(u64::MAX), 2, 10);
    assert_eq!(size_of::<RateLimit<1024>>() - size_of::<RateLimit<512>>(), 512 * 12);
}

fn admitted<const N: usize>(limit: &mut RateLimit<N>, now: Instant, number: u8, requests: u32) -> u32 {
    let mut admitted = 0;
    for _ in 0..requests {
        admitted += u32::from(limit.admits(now, *client(number).ip()));
    }
    admitted
}

#[test]
fn a_limit_shows_what_it_is_and_what_it_refused_and_no_client() {
    let mut limit: RateLimit<8> = RateLimit::new(4, 7);
    let client = Ipv4Addr::new(192, 168, 1, 2);
    while limit.admits(Instant::ZERO, client) {}
    assert_eq!(std::format!("{limit:?}"), "RateLimit { cost: 250ms, refused: 1, .. }");
}
