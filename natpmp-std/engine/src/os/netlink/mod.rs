//! The kernel's routes and links, and changes of them.
//!
//! Whatever bytes come, reading them ends and does not panic: what is not understood is passed over.

mod route;
mod watch;

pub use route::{Hop, Link, Route, RouteSocket};
pub use watch::{RouteWatch, matters};

#[cfg(test)]
mod tests;
