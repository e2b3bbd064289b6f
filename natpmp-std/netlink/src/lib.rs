//! Frames and sockets of Linux netlink, as much as the natpmp crates need: questions to the kernel with their answers,
//! transactions of netfilter, the kernel's changes, and the messages and attributes in whatever bytes the kernel sends.
//!
//! Whatever bytes come, reading them ends and does not panic: what is not understood is passed over. On other systems than Linux
//! this crate is empty.
#![cfg(target_os = "linux")]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "a test whose numbers overflow has failed"))]

mod batch;
mod message;
pub mod netfilter;
mod socket;
mod subscription;
mod write;

pub use batch::{Batch, BatchAnswers, BatchSocket, Refusal};
pub use message::{
    Attributes, Message, Messages, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP, NLM_F_ECHO, after, array,
    attribute, find, request,
};
pub use socket::{Outcome, Socket, read, receive};
pub use subscription::Subscription;
pub use write::AttributeWriter;
