//! Our gateway, `natpmp serve`, on the router of the lab, with clients that others wrote: `natpmpc` of libnatpmp, and `NAT-PMP` for Python.
//!
//! Without root or the programs that a lab takes, each test says why it is skipped; `NATPMP_REQUIRE_LAB=1` makes that a failure.
//! The Python client is where `PYTHONPATH` leads to: `pip install --no-deps --target DIRECTORY NAT-PMP==1.3.2`.

/// Each of these functions is a test for each of the NATs.
macro_rules! with_each_nat {
    ($($name:ident),+ $(,)?) => {
        mod relay {
            $(#[test] fn $name() { super::$name(crate::gateway_lab::setup::Nat::Relay); })+
        }
        mod nftables {
            $(#[test] fn $name() { super::$name(crate::gateway_lab::setup::Nat::Nftables); })+
        }
    };
}

mod addresses;
mod attacks;
mod ending;
mod interfaces;
mod load;
mod mapping;
mod packets;
mod peers;
mod policy;
mod restarting;
mod setup;
mod usage;

use super::{NATPMP, SOON};
