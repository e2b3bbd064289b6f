//! Netlink: the kernel's routes and links, news of them, and the frame that connection tracking shares.
//!
//! A module of our own and no crate, because it takes four questions and their answers. Whatever bytes come, reading
//! them ends and does not panic: what is not understood is passed over.

pub(crate) mod message;
mod route;
mod routes;
mod socket;
mod watch;

pub(crate) use route::{Hop, Link, Route};
pub(crate) use routes::RouteSocket;
#[cfg(feature = "gateway")]
pub(crate) use socket::Socket;
pub(crate) use socket::read;
pub use watch::RouteWatch;
pub(crate) use watch::matters;

#[cfg(test)]
mod tests;
