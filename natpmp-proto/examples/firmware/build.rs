//! The linker's scripts, and what the build is told about the network.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=memory.x");
    println!("cargo::rustc-link-search={}", env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rustc-link-arg-bins=-Tlink.x");
    if env::var_os("CARGO_FEATURE_DEFMT").is_some() {
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    }
    let directory = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(directory.join("settings.rs"), settings()).expect("the directory is the build's own");
}

/// Constants, so that a wrong address fails the build and not the device.
fn settings() -> String {
    let mut text = String::new();
    let fixed = setting("NATPMP_ADDRESS").map(|text| {
        let (address, length) = text.split_once('/').unwrap_or_else(|| panic!("NATPMP_ADDRESS={text}: no /LENGTH"));
        let router = setting("NATPMP_ROUTER").map_or("None".to_owned(), |text| format!("Some({})", address_of(&text)));
        let length: u8 = length.parse().unwrap_or_else(|error| panic!("NATPMP_ADDRESS={text}: {error}"));
        assert!(length <= 32, "NATPMP_ADDRESS={text}: a prefix has 32 bits at most");
        format!("Some((Ipv4Cidr::new({}, {length}), {router}))", address_of(address))
    });
    let external = setting("NATPMP_EXTERNAL_ADDRESS").unwrap_or_else(|| "11.22.33.44".to_owned());
    let lifetime = setting("NATPMP_LIFETIME").map_or(7_200, |text| text.parse::<u32>().expect("NATPMP_LIFETIME"));
    let _ = writeln!(
        text,
        "/// The address, its network and the router; `None`: DHCP says.\n\
         pub const FIXED_ADDRESS: Option<(Ipv4Cidr, Option<Ipv4Addr>)> = {};\n\
         /// What the gateway takes for its external address.\n\
         pub const EXTERNAL_ADDRESS: Ipv4Addr = {};\n\
         /// What the client asks for, in seconds.\n\
         pub const LIFETIME: u32 = {lifetime};",
        fixed.unwrap_or_else(|| "None".to_owned()),
        address_of(&external),
    );
    text
}

fn setting(name: &str) -> Option<String> {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn address_of(text: &str) -> String {
    let address: Ipv4Addr = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    let [a, b, c, d] = address.octets();
    format!("Ipv4Addr::new({a}, {b}, {c}, {d})")
}
