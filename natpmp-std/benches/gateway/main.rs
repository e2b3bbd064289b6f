//! What the gateway does per second beside its limit, a bare UDP echo loop, and beside `miniupnpd`, by the number of live mappings.
//! Takes some four minutes, on Linux; the part with the kernel's NAT and `miniupnpd` takes root and what the lab takes
//! (`natpmp_lab`), and is left out with the reason where that is missing.
//!
//! `cargo bench -p natpmp-std --features relay,nftables --bench gateway`
//!
//! Prints the tables, and writes them into `GATEWAY.md` and the plot into `gateway.svg` beside it. `NATPMP_BENCH_PATIENCE` says how
//! many seconds `miniupnpd` may take to fill its table with 5,000 mappings; 60 by default, which is not enough.
//!
//! Each server is a process of its own on the first processor, and its load comes from the second one. What it costs is read from
//! outside, under `/proc`, as time on the processor: that counts what the kernel does for it as well, and not what others do on
//! the same machine.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a benchmark whose assumptions fail should end"
)]

#[cfg(target_os = "linux")]
mod echo;
#[cfg(target_os = "linux")]
mod kernel;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod plot;
#[cfg(target_os = "linux")]
mod process;
#[cfg(target_os = "linux")]
mod report;
#[cfg(target_os = "linux")]
mod server;
#[cfg(target_os = "linux")]
mod user_space;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        #[cfg(target_os = "linux")]
        ["serve", role, rest @ ..] => server::serve(role, rest),
        // `cargo test --benches` only wants to see it start.
        words if !words.contains(&"--bench") => {}
        #[cfg(target_os = "linux")]
        _ => measure(),
        #[cfg(not(target_os = "linux"))]
        _ => println!("skipped: what a process costs is read from Linux's /proc"),
    }
}

#[cfg(target_os = "linux")]
fn measure() {
    process::pin(None, 1);
    let user_space = user_space::measure();
    let kernel = match natpmp_lab::Lab::new(1) {
        Ok(lab) => Ok(kernel::measure(&lab)),
        Err(reason) => Err(reason.to_string()),
    };
    let plot = plot::draw(&user_space, kernel.as_ref().ok());
    report::write(&user_space, kernel.as_ref().map_err(String::as_str), &plot);
}
