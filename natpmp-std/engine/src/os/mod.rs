//! What the system knows: time that counts sleep, the routes, and changes of them.

pub(crate) mod clock;
#[cfg(target_os = "linux")]
pub mod netlink;
pub(crate) mod network;
pub mod routes;
