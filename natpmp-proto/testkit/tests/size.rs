//! How large the client machine is, and where it can live.

use std::mem::size_of;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use natpmp_proto::{Client, Config, Instant, MapRequest, Output, Protocol, Schedule};

const CONFIG: Config = Config::new(Ipv4Addr::new(192, 168, 1, 1)).schedule(Schedule::QUICK).seed(7);
const IDLE: Client<2> = Client::new(CONFIG);
static SHARED: Mutex<Client> = Mutex::new(Client::new(CONFIG));

#[test]
fn eight_mappings_take_less_than_768_bytes() {
    let sizes = [size_of::<Client<1>>(), size_of::<Client<2>>(), size_of::<Client<8>>()];
    println!("bytes of a client for 1, 2 and 8 mappings: {sizes:?}");
    assert!(size_of::<Client<8>>() < 768, "{sizes:?}");
    assert_eq!(size_of::<Client>(), size_of::<Client<8>>());
}

/// Raise these numbers knowingly, or not at all.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_client_has_160_bytes_and_56_more_for_each_mapping() {
    assert!(size_of::<Client<0>>() <= 160, "{}", size_of::<Client<0>>());
    assert!(size_of::<Client<1>>() <= 216, "{}", size_of::<Client<1>>());
    assert!(size_of::<Client<9>>() - size_of::<Client<8>>() <= 56);
}

#[test]
fn a_client_can_be_a_constant_and_live_in_a_static() {
    let mut client = IDLE;
    assert_eq!(client.poll(Instant::ZERO), Output::Wait(None));
    let mut shared = SHARED.lock().unwrap();
    shared.set_seed(0x5eed);
    assert_eq!(shared.capacity(), 8);
    shared.keep(Instant::ZERO, &MapRequest::new(Protocol::Udp, 4000)).unwrap();
    assert!(matches!(shared.poll(Instant::ZERO), Output::Transmit(_)));
}

#[test]
fn a_client_can_be_moved_to_and_shared_with_any_thread() {
    fn needs<T: Send + Sync + Unpin + 'static>() {}
    needs::<Client>();
    needs::<Client<0>>();
    needs::<Client<1000>>();
}
