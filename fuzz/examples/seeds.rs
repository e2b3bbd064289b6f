//! Writes the inputs that the corpora began with: `cargo run -p natpmp-fuzz --example seeds`.
//!
//! The packets are those of RFC 6886, and what gateways and clients were seen to send; the kernel's bytes were recorded. `cargo fuzz cmin`
//! takes out again what the corpora have without them.
#![allow(clippy::unwrap_used, reason = "it is run by hand")]

use std::fs;
use std::io;
use std::path::Path;

use natpmp_testkit::recorded;

fn main() -> io::Result<()> {
    for (target, packets) in [("requests", REQUESTS), ("responses", RESPONSES)] {
        for (name, hex) in packets {
            write(target, name, &packet(hex))?;
        }
    }
    for (name, text) in STATES {
        write("state", name, text.as_bytes())?;
    }
    kernel()?;
    json()?;
    for (target, name, bytes) in MACHINES {
        write(target, name, bytes)?;
    }
    Ok(())
}

/// Requests: the RFC's own, then what real clients send, and what no gateway serves.
const REQUESTS: &[(&str, &str)] = &[
    ("external-address", "0000"),
    ("map-udp", "0001 0000 0fa0 0000 00000078"),
    ("map-tcp", "0002 0000 1f90 1f90 00001c20"),
    ("delete", "0001 0000 0fa0 0000 00000000"),
    ("delete-all", "0002 0000 0000 0000 00000000"),
    ("vpn", "0001 0000 0000 0001 0000003c"),
    ("longest", "0001 0000 0fa0 0000 ffffffff"),
    ("delete-with-port", "0002 0000 0fa0 1770 00000000"),
    ("address-with-zeros", "0000 0000000000000000"),
    ("opcode-3", "0003 0000 0fa0 0000 00000078"),
    ("opcode-127", "007f 0102 03"),
    ("version-1", "0101 0000 0fa0 0000 00000078"),
    ("pcp-announce", "0200 0000 00000000 00000000000000000000ffffc0a80102"),
    ("response", "0081 0000 00000009 0fa0 0fa0 00000078"),
    ("one-byte", "00"),
    ("cut", "0001 0000 0fa0 00"),
];

/// Answers: the RFC's own, then what miniupnpd, other routers and a VPN's gateways answer.
const RESPONSES: &[(&str, &str)] = &[
    ("external-address", "0080 0000 00000009 0b16212c"),
    ("mapped-udp", "0081 0000 00000009 0fa0 0fa0 00000078"),
    ("mapped-tcp", "0082 0000 00000009 1f90 2328 00001c20"),
    ("deleted", "0081 0000 00000009 0fa0 0000 00000000"),
    ("deleted-all", "0082 0000 00000009 0000 0000 00000000"),
    ("version", "0080 0001 00000009"),
    ("old-version", "0000 0001 00000009"),
    ("version-of-map", "0081 0001 00000009"),
    ("no-address", "0080 0003 00000009 00000000"),
    ("refused-echo", "0081 0002 00000009 1770 1770 00000258"),
    ("refused", "0082 0002 00000009 1770 0000 00000000"),
    ("full", "0081 0004 00000009 0fa0 0000 00000000"),
    ("opcode-8-bytes", "0083 0005 00000009"),
    ("opcode-whole", "0083 0005 0fa0 0000 00000078"),
    ("shortest-failure", "0081 0002"),
    ("pcp-under-version-0", "0080 0003 00000000000000000000000000000000000000000000"),
    ("pcp-announce", "0280 0000 00000000 0000000000000000000000000000000000"),
    ("unknown-result", "0081 ffff 00000009 0fa0 0000 00000000"),
    ("vpn-zero", "0081 0000 00000009 0000 c350 0000003c"),
    ("short-success", "0080 0000"),
    ("granted-nothing", "0081 0000 00000009 0fa0 0000 00000078"),
    ("unknown-opcode", "00fe 0000"),
    ("write-failure", "03810002 00000009 0fa0 0fa0 00000078"),
];

/// Whole files, and what lacks its first and last line only.
const STATES: &[(&str, &str)] = &[
    ("header", "natpmp gateway state 1\nsaved 1700000000 epoch 77\n"),
    ("empty", "saved 1700000000 epoch 77"),
    ("final", "saved 1700000000 epoch 77 final"),
    ("other-end", "saved 1700000000 epoch 77 final final\nudp 192.168.1.2:4000 4000 1800000000"),
    (
        "mappings",
        "saved 1700000000 epoch 77\nudp 192.168.1.2:4000 4000 1800000000\ntcp 192.168.1.2:4000 5000 1800000000",
    ),
    ("zero-port", "saved 0 epoch 0\nudp 192.168.1.2:4000 0 1"),
    ("no-address", "saved 0 epoch 4294967295\ntcp 0.0.0.0:1 1 18446744073709551615"),
    ("odd-number", "saved 01 epoch +7"),
    ("more", "saved 1 epoch 1\nend 0 0000000000000000\nudp 10.0.0.1:1 1 1"),
];

/// The first byte says how the rest is read.
fn kernel() -> io::Result<()> {
    for (name, hex) in [
        ("routes", recorded::ROUTES),
        ("link", recorded::LINK),
        ("way", recorded::WAY),
        ("on-link", recorded::WAY_ON_LINK),
        ("no-way", recorded::NO_WAY),
    ] {
        write("kernel", name, &[vec![0], recorded::bytes(hex)].concat())?;
    }
    let [link, way, routes] = [recorded::LINK, recorded::WAY, recorded::ROUTES].map(recorded::bytes);
    write("kernel", "chosen", &[vec![1], part(&way), part(&way), part(&link), routes].concat())?;
    for (name, table) in [
        (
            "table",
            "eth0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\nppp0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n",
        ),
        (
            "halves",
            "tun0\t00000000\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\ntun0\t00000080\t0100080A\t0003\t0\t0\t0\t00000080\t0\t0\t0\n",
        ),
        ("rejected", "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n"),
    ] {
        let devices = b"Inter-|   Receive\n face |bytes\n    lo: 1 1\n  eth0:1 1\n";
        write("kernel", name, &[&[2][..], &part(devices), table.as_bytes()].concat())?;
    }
    write("kernel", "flow", &[vec![3], flow()].concat())?;
    write("kernel", "leftover", &[vec![4], leftover()].concat())
}

/// Port 4000 leads to 192.168.1.11:4000, and port 5000 to 192.168.1.12:4001.
fn leftover() -> Vec<u8> {
    let element = |external: u16, client: u8, port: u16| {
        let to = [&[192, 168, 1, client][..], &port.to_be_bytes(), &[0; 2]].concat();
        let [key, data] = [external.to_be_bytes().to_vec(), to].map(|value| attribute(1, &value));
        attribute(1, &[attribute(1, &key), attribute(2, &data)].concat())
    };
    let list = [element(4000, 11, 4000), element(5000, 12, 4001)].concat();
    [vec![2, 0, 0, 0], attribute(1, b"natpmp\0"), attribute(2, b"udp_in\0"), attribute(3, &list)].concat()
}

/// TCP from 11.22.33.1:7000 to 11.22.33.44:5000, which leads to 192.168.1.11:4000.
fn flow() -> Vec<u8> {
    let tuple = |kind: u16, from: [u8; 4], from_port: u16, to: [u8; 4], to_port: u16| {
        let ip = [attribute(1, &from), attribute(2, &to)].concat();
        let ports =
            [attribute(1, &[6]), attribute(2, &from_port.to_be_bytes()), attribute(3, &to_port.to_be_bytes())].concat();
        attribute(kind, &[attribute(1, &ip), attribute(2, &ports)].concat())
    };
    [
        vec![2, 0, 0, 0],
        tuple(1, [11, 22, 33, 1], 7_000, [11, 22, 33, 44], 5_000),
        tuple(2, [192, 168, 1, 11], 4_000, [11, 22, 33, 1], 7_000),
        attribute(3, &0x1ae_u32.to_be_bytes()),
        attribute(12, &0x0102_0304_u32.to_be_bytes()),
    ]
    .concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().saturating_add(4);
    let mut attribute = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// Options, routes, and what the gateway does: steps as `natpmp_fuzz::json` reads them.
fn json() -> io::Result<()> {
    let options = [0, 0, 0x1c, 0x20, 0];
    // Result 0, epoch, then an address, or a port and a lifetime.
    let granted = [0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0, 0, 0, 120];
    let address = [0, 0, 0, 0, 0, 9, 11, 22, 33, 44];
    let restarted = [0, 0, 0, 0, 0, 0, 0x13, 0x88, 0, 0, 0, 120];
    let refused = [0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0];
    for (name, steps) in [
        ("mapped", [&granted[..], &address].concat()),
        ("refused", [&refused[..], &address, &[9], &refused].concat()),
        ("renewed", [&granted[..], &address, &[9], &granted, &[9], &restarted, &[9], &restarted].concat()),
        ("silent", vec![9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9]),
        ("unreachable", vec![12, 0, 12, 1, 12, 2, 12, 3]),
        ("unmapped", [&granted[..], &address, &[13], &granted, &[14], &granted].concat()),
        ("announced", vec![7, 0, 0, 0, 9, 11, 22, 33, 44, 8, 24, 2, 0x80, 0, 0, 0, 0, 0, 0]),
        ("failures", vec![15, b'e', b't', b'h', b'0', b'"', b'\\', b'\n', 0, 0, 6]),
    ] {
        write("json", name, &[&options[..], &steps].concat())?;
    }
    let table = "e\"\\0\t00000000\t0101A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
    write("json", "routes", &[&[2, 0, 0x1c, 0x20, 1][..], &part(b"\"eth0\\: 1\n"), &part(table.as_bytes())].concat())
}

/// Histories of the machines, as the readers of the test kit read them.
const MACHINES: &[(&str, &str, &[u8])] = &[
    // Kept, run, the gateway restarts, run to the deadline.
    ("client", "kept", &[1, 0, 0, 0, 0, 0, 1, 0, 13, 1, 40, 28, 14, 1, 13, 2, 255, 255]),
    // A watched address, silence, peace, a deletion.
    ("client", "silence", &[1, 1, 1, 10, 1, 0, 1, 1, 1, 0, 26, 2, 1, 13, 1, 200, 26, 0, 5, 1, 1, 13, 1, 9]),
    // Two clients ask for one port, the NAT does it, the lease ends.
    ("gateway", "asked", &[1, 1, 0, 0, 4, 0, 0, 2, 5, 20, 0, 1, 4, 0, 0, 2, 5, 20, 7, 0, 0, 7, 0, 2, 4, 1, 4, 1]),
    // The table is cleared and the address lost.
    ("gateway", "cleared", &[1, 0, 0, 0, 4, 1, 0, 3, 2, 200, 6, 7, 0, 0, 13, 10, 0, 4, 1, 10, 1, 2]),
    // Three hosts keep a port, the network is bad, the gateway restarts.
    (
        "network",
        "restart",
        &[1, 1, 0, 0, 0, 0, 9, 0, 1, 1, 1, 0, 9, 1, 2, 2, 0, 0, 9, 2, 0, 12, 1, 0, 14, 60, 0, 6, 3, 1, 0, 15, 9],
    ),
];

fn packet(hex: &str) -> Vec<u8> {
    recorded::bytes(&hex.replace(' ', ""))
}

/// With its length before it.
fn part(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn write(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&directory)?;
    fs::write(directory.join(name), bytes)
}
