use std::fmt::Debug;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use natpmp_proto::gateway;
use natpmp_std::server::nat::Nat;
use natpmp_std::server::{External, Internal, ServerError};

use crate::SubscriptionUnderTest;

/// A server that runs until it is dropped, which waits for its end: the methods are those of [`natpmp_std::server::Server`].
pub trait ServerUnderTest: Debug + Send + Sized + 'static {
    type Events: SubscriptionUnderTest<Item = gateway::Event>;

    fn start<N: Nat + 'static>(setup: ServerSetup<N>) -> Result<Self, ServerError>;

    fn addresses(&self) -> &[SocketAddrV4];
    fn events(&self) -> Self::Events;
    fn time_left(&self, mapping: &gateway::Mapping) -> Option<Duration>;
    fn mappings(&self) -> Vec<gateway::Mapping>;
    fn external_address(&self) -> Option<Ipv4Addr>;
    fn dropped_requests(&self) -> u64;
    fn set_external_address(&self, address: Option<Ipv4Addr>);
    fn allow_mapping(&self, is_allowed: bool);
    fn clear(&self);
}

/// What a server is built with. What is `None` is left to the builder.
pub struct ServerSetup<N> {
    pub start_nat: fn(N) -> io::Result<N>,
    pub nat: N,
    pub internal: Option<Internal>,
    pub external: Option<External>,
    pub config: Option<gateway::Config>,
    pub announce_to: Option<SocketAddrV4>,
    pub port: Option<u16>,
    pub state_file: Option<PathBuf>,
    /// `Some(None)` for any number.
    pub requests_per_second: Option<Option<u32>>,
}

impl<N> ServerSetup<N> {
    /// All defaults of the builder, on a port that the system chooses.
    pub const fn new(nat: N) -> Self {
        Self {
            start_nat: Ok,
            nat,
            internal: None,
            external: None,
            config: None,
            announce_to: None,
            port: Some(0),
            state_file: None,
            requests_per_second: None,
        }
    }
}

/// Passes a [`ServerSetup`] on to the builder of an adapter, whatever its type.
macro_rules! set_up_server {
    ($setup:expr, $server:ty) => {{
        let setup: $crate::ServerSetup<_> = $setup;
        let (start_nat, nat) = (setup.start_nat, setup.nat);
        let mut builder = <$server>::builder(move |_| start_nat(nat));
        $crate::client::set_if_given!(builder, setup, internal, external, config, announce_to, port, state_file);
        $crate::client::set_if_given!(builder, setup, requests_per_second);
        builder
    }};
}

pub(crate) use set_up_server;
