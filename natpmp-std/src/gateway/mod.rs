//! A NAT-PMP gateway on real sockets: the machine of [`natpmp_proto::gateway`], a NAT behind it, and a file for its state.
//!
//! ```no_run
//! # #[cfg(feature = "blocking")] {
//! use natpmp_std::gateway::nat::{Relay, RelayLimits};
//! use natpmp_std::gateway::{External, Internal, Server};
//!
//! let server = Server::builder(|_| Relay::start(RelayLimits::default()))
//!     .internal(Internal::Interface("lan0".into()))
//!     .external(External::Interface("wan0".into()))
//!     .start()?;
//! for event in server.events() {
//!     println!("{event:?}");
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[doc(hidden)]
pub mod adapter;
#[cfg(feature = "blocking")]
mod blocking;
mod error;
pub mod nat;
mod state;

pub use adapter::{CAPACITY, External, GatewayBuilder, Internal, Sides};
#[cfg(feature = "blocking")]
pub use blocking::{Server, ServerBuilder};
pub use error::ServerError;
pub use state::{State, StateError, StoredMapping};

pub use natpmp_proto::gateway::{
    CloseCause, Config, Event, Mapping, NatFailure, NatMapping, NatRequest, PortRange, TooManyRanges,
};
