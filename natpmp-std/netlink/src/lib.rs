//! Frames and sockets of Linux netlink, as much as the natpmp crates need: questions to the kernel with their answers, and the
//! messages and attributes in whatever bytes the kernel sends.
//!
//! Whatever bytes come, reading them ends and does not panic: what is not understood is passed over. On other systems than Linux
//! this crate is empty.
#![cfg(target_os = "linux")]

mod message;
mod socket;

pub use message::{Attributes, Message, Messages, NLM_F_ACK, NLM_F_DUMP, after, array, attribute, find, request};
pub use socket::{Outcome, Socket, read, receive};
