//! A NAT-PMP gateway on real sockets: the machine of [`natpmp_proto::gateway`], a NAT behind it, and a file for its state.
//!
//! A server comes with a [`ServerDriver`], a future that you spawn where you like. It serves all clients on that one task. What may
//! block has threads of its own: the NAT one, so that a slow NAT delays nobody else's answer, and the file with the
//! state another one.
//!
//! ```no_run
//! use natpmp_smol::gateway::nat::{Relay, RelayLimits};
//! use natpmp_smol::gateway::{External, Internal, Server};
//! use smol::stream::StreamExt;
//!
//! # async fn example() -> Result<(), natpmp_smol::gateway::ServerError> {
//! let (server, driver) = Server::builder(|_| Relay::start(RelayLimits::default()))
//!     .internal(Internal::Interface("lan0".into()))
//!     .external(External::Interface("wan0".into()))
//!     .start()?;
//! let driver = smol::spawn(driver);
//! let mut events = server.events();
//! while let Some(event) = events.next().await {
//!     println!("{event:?}");
//! }
//! // The end: the NAT is taken down, and the state is in its file.
//! drop(server);
//! driver.await;
//! # Ok(())
//! # }
//! ```

mod driver;
mod server;

pub use driver::ServerDriver;
pub use server::{Server, ServerBuilder};

pub use natpmp_std::gateway::{
    CAPACITY, CloseCause, Config, Event, External, GatewayBuilder, Internal, Mapping, NatFailure, NatMapping,
    NatRequest, PortRange, ServerError, Sides, State, StateError, StoredMapping, TooManyRanges, nat,
};
