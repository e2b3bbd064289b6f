//! `natpmp-proto` in firmware: what the two images, `client` and `gateway`, are made of.
//!
//! To be copied: [`natpmp_client`] and [`natpmp_gateway`], the glue between smoltcp and the two machines. They know nothing
//! of the board. The rest is what any firmware has: [`uplink`] (an address, by DHCP or fixed), [`nic`] and [`clock`] (drivers), [`board`]
//! (registers), [`console`].

#![no_std]

pub mod board;
pub mod clock;
pub mod console;
pub mod natpmp_client;
pub mod natpmp_gateway;
pub mod nic;
pub mod settings;
pub mod uplink;

#[cfg(test)]
mod tests;
