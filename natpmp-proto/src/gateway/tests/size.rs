//! How large the machine is, and where it can live.

use std::sync::Mutex;

use super::*;

/// Of 3 MB, which no thread's stack has room for twice: if `new` or the lock went through the stack, this would overflow.
const LARGEST: usize = 65_534;
static SHARED: Mutex<Gateway<LARGEST>> = Mutex::new(Gateway::new(CONFIG));
const CONFIG: Config = Config::new().seed(7).longest_lifetime(600);
const SMALL: Gateway<2> = Gateway::new(CONFIG);

#[test]
fn a_gateway_can_be_a_constant() {
    let mut gateway = SMALL;
    gateway.start(Instant::ZERO, 0);
    assert_eq!((gateway.capacity(), gateway.len(), gateway.is_empty()), (2, 0, true));
}

#[test]
fn the_largest_gateway_lives_in_a_static_and_never_crosses_the_stack() {
    let thread = std::thread::Builder::new().stack_size(128 * 1024);
    let work = || {
        let mut gateway = SHARED.lock().unwrap();
        gateway.start(Instant::ZERO, 0);
        gateway.set_external_address(Instant::ZERO, Some(ADDRESS));
        let request = map(UDP, 4000, 0, 120).encode();
        assert!(gateway.poll_transmit(Instant::ZERO).is_some(), "an announcement");
        assert_eq!(gateway.handle_datagram(Instant::ZERO, SOCKET, client(2), &request), Ok(()));
        let asked = gateway.poll_nat().unwrap();
        gateway.handle_nat(Instant::ZERO, &asked, Ok(()));
        assert!(gateway.poll_transmit(Instant::ZERO).is_some());
        gateway.clear(Instant::ZERO);
        gateway.handle_timeout(Instant::from_secs(1_000));
        assert_eq!(gateway.capacity(), LARGEST);
    };
    thread.spawn(work).unwrap().join().unwrap();
}

/// Raise these numbers knowingly, or not at all.
#[test]
fn a_mapping_takes_no_more_than_48_bytes_and_a_gateway_some_hundreds_more() {
    let sizes = [size_of::<Gateway<1>>(), size_of::<Gateway<16>>(), size_of::<Gateway<256>>()];
    let large = [size_of::<Gateway<4096>>(), size_of::<Gateway<LARGEST>>()];
    std::println!("bytes of a gateway for 1, 16, 256 mappings: {sizes:?}; 4096, 65534: {large:?}");
    let growth = size_of::<Gateway<LARGEST>>() - size_of::<Gateway<16>>();
    std::println!("bytes a mapping: {}", growth as f64 / (LARGEST - 16) as f64);
    assert!(growth <= 48 * (LARGEST - 16));
    assert!(size_of::<Gateway<16>>() <= 16 * 48 + 768, "{sizes:?}");
}

#[test]
fn a_gateway_can_be_moved_to_and_shared_with_any_thread() {
    fn needs<T: Send + Sync + Unpin + 'static>() {}
    needs::<Gateway<1>>();
    needs::<Gateway<LARGEST>>();
}
