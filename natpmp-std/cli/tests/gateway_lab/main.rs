//! Our gateway, `natpmp serve`, on the router of the lab, with clients that others wrote: `natpmpc` of libnatpmp, and `NAT-PMP` for Python.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
//! The Python client is where `PYTHONPATH` leads to: `pip install --no-deps --target DIRECTORY NAT-PMP==1.3.2`.
#![cfg(target_os = "linux")]
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "in a test a broken assumption should end the test at once"
)]

/// Each of these functions is a test for each of the NATs.
macro_rules! with_each_nat {
    ($($name:ident),+ $(,)?) => {
        mod relay {
            $(#[test] fn $name() { super::$name(crate::house::Nat::Relay); })+
        }
        mod nftables {
            $(#[test] fn $name() { super::$name(crate::house::Nat::Nftables); })+
        }
    };
}

mod addresses;
mod attacks;
mod ending;
mod house;
mod interfaces;
mod load;
mod mapping;
mod packets;
mod peers;
mod policy;
mod restarting;
mod usage;

use std::time::Duration;

const NATPMP: &str = env!("CARGO_BIN_EXE_natpmp");
/// Long enough for anything that is not meant to wait.
const SOON: Duration = Duration::from_secs(10);
