//! What SECURITY.md says of real sockets, on the loopback interface.
#![cfg(target_os = "linux")]

mod client;
mod gateway;
