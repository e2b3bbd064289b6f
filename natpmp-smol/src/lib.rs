//! NAT-PMP (RFC 6886) for async programs on smol and async-io.
//!
//! This crate holds nothing yet: use `natpmp-std` from a thread, or drive `natpmp-proto` in a loop of your own.
