//! What a client can do and what it meets, for scenarios that are written once and run on every adapter.
//!
//! An adapter implements [`World`] over its client and a [`gateway::Served`](crate::gateway::Served), and runs
//! [`scenarios::all`]:
//!
//! ```
//! use natpmp_testkit::world::{VirtualWorld, scenarios};
//!
//! for (name, run) in scenarios::all::<VirtualWorld>() {
//!     println!("{name}");
//!     run(&mut VirtualWorld::new(1));
//! }
//! ```

pub mod scenarios;
mod virtual_world;

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Mutex;
use std::time::Duration;

use natpmp_proto::client::RequestError;
use natpmp_proto::{Backoff, Event, Instant, MapRequest, Mapping, Protocol, Schedule};

use crate::gateway::Gateway;

pub use virtual_world::VirtualWorld;

/// One client at one gateway, fresh for each scenario. The gateway's faults are turned on by [`World::gateway`].
///
/// Announcements of the gateway reach the client, on whatever socket.
pub trait World {
    /// The scale of time that the client was made with.
    fn scale(&self) -> Scale;

    /// Looks at the gateway or changes it. What it then announces is on its way when this returns, and
    /// [`Reach`](crate::gateway::Reach) is in force.
    fn gateway<T>(&mut self, work: impl FnOnce(&mut Gateway, Instant) -> T) -> T;

    /// Somebody else than the gateway sends a datagram to the socket that requests are sent from.
    fn forge(&mut self, bytes: &[u8]);

    /// Asks for the external address, and waits.
    ///
    /// # Errors
    /// As the client says.
    fn external_address(&mut self) -> Result<Ipv4Addr, RequestError>;

    /// Asks for a mapping once, and waits.
    ///
    /// # Errors
    /// As the client says.
    fn map(&mut self, request: &MapRequest) -> Result<Mapping, RequestError>;

    /// Deletes a mapping that is not kept, and waits.
    ///
    /// # Errors
    /// As the client says.
    fn unmap(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError>;

    /// Deletes all mappings of a protocol, and waits.
    ///
    /// # Errors
    /// As the client says.
    fn unmap_all(&mut self, protocol: Protocol) -> Result<(), RequestError>;

    /// Begins to keep a mapping, and returns at once. The world holds the handle, if there is one.
    fn keep(&mut self, request: &MapRequest);

    /// The kept mapping as it is open now.
    fn kept(&mut self, protocol: Protocol, internal_port: u16) -> Option<Mapping>;

    /// Renews a kept mapping now, without waiting.
    fn refresh(&mut self, protocol: Protocol, internal_port: u16);

    /// Stops keeping a mapping: deletes it, and waits.
    ///
    /// # Errors
    /// As the client says.
    fn stop(&mut self, protocol: Protocol, internal_port: u16) -> Result<(), RequestError>;

    /// The next event, waiting for `limit` at most. Events of the calls that wait may come here as well, or not.
    fn next_event(&mut self, limit: Duration) -> Option<Event>;
}

/// A scale of time: virtual worlds take the RFC's, worlds with real sockets take a short one.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// How patient the client is.
    pub schedule: Schedule,
    /// How it paces what failed.
    pub backoff: Backoff,
    /// The lifetime to ask for where a scenario waits for a renewal or an expiry, in seconds.
    pub lifetime: u32,
    /// The longest that a scenario waits for an event.
    pub patience: Duration,
    /// Time is virtual: the moments of sends are asserted, and silence is.
    pub is_exact: bool,
}

impl Scale {
    /// The RFC's scale, in virtual time.
    #[must_use]
    pub const fn exact() -> Self {
        Self {
            schedule: Schedule::RFC,
            backoff: Backoff::DEFAULT,
            lifetime: 7_200,
            patience: Duration::from_secs(24 * 3_600),
            is_exact: true,
        }
    }

    /// For real sockets on one host: three sends in 0.7 s, leases of 2 s.
    #[must_use]
    pub const fn real() -> Self {
        Self {
            schedule: Schedule::custom(
                Duration::from_millis(100),
                Duration::from_millis(400),
                Duration::from_millis(700),
            ),
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_millis(800)),
            lifetime: 2,
            patience: Duration::from_secs(30),
            is_exact: false,
        }
    }
}

/// Builds a client that hears announcements on a port of the loopback interface that nobody else has, and returns that
/// address too. `build` is `None` if the client cannot listen there.
///
/// The port is found by letting the system choose one. Should somebody else get it in the moment before the client opens
/// it, another is tried.
///
/// # Panics
/// If there is none.
pub fn listening<C>(mut build: impl FnMut(SocketAddrV4) -> Option<C>) -> (C, SocketAddrV4) {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    for _ in 0..100 {
        let address = free_address();
        // A client shares its port with whoever allows it, so that another client of these tests would not be noticed.
        if !GIVEN.lock().unwrap().get_or_insert_default().insert(address.port()) {
            continue;
        }
        if let Some(client) = build(address) {
            return (client, address);
        }
    }
    panic!("no port for announcements could be had");
}

fn free_address() -> SocketAddrV4 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    match socket.local_addr().unwrap() {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(address) => panic!("{address} is not of IPv4"),
    }
}
