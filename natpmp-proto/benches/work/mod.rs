//! What is measured, for those who take the time and those who count instructions.

#![allow(dead_code, reason = "each benchmark takes its part")]

pub(crate) mod client;
pub(crate) mod gateway;
pub(crate) mod wire;
