//! **Invariant.** Whatever a gateway answers or announces, and whatever the routes are called: with `--json` the command prints lines that
//! are one JSON object each, of the events and fields that the README documents, with values in their range and no others; and it does not
//! panic.
//!
//! A client's machine takes the bytes, and the command's own reports say what comes of them.

mod check;
mod conversation;

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex};

use natpmp_cli::args::{Global, Keep, Mapping, Protocols};
use natpmp_cli::{Format, KeepReporter, Report};
use natpmp_engine::os::routes::RoutingTables;
use natpmp_proto::Protocol;

use crate::reader::Reader;
use conversation::Conversation;

pub use check::{EVENTS, FIELDS};

/// Reads options of the command, answers of a gateway, and routes from these bytes, at most 64 steps.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    for line in lines(bytes) {
        check::line(&line);
    }
}

/// What the command prints, unchecked.
#[must_use]
pub fn lines(bytes: &[u8]) -> Vec<String> {
    let mut choices = Reader::new(&bytes[..bytes.len().min(LONGEST)]);
    let (protocol, protocols) =
        [(Protocol::Udp, Protocols::Udp), (Protocol::Tcp, Protocols::Tcp), (Protocol::Udp, Protocols::Both)]
            [usize::from(choices.u8() % 3)];
    let mapping = Mapping {
        protocol: protocols,
        internal_port: [4_000, 0][usize::from(choices.bit())],
        external: None,
        lifetime: choices.u16().max(1).into(),
    };
    let global = Global { gateway: None, bind: None, interface: None, json: true, timeout: None, verbose: false };
    let keep = Keep { mapping, refresh_interval: None, on_change: None, port_file: None, clear_on_new_address: false };
    let output = Output::default();
    let report = || Report::new(Format::Json, output.clone(), io::sink());
    let (mut kept, mut once) = (report(), report());
    if choices.bit() {
        let (devices, table) = (choices.part(), choices.part());
        let text = [devices, table].map(String::from_utf8_lossy);
        once.candidates(&RoutingTables::from_proc(&text[1], &text[0]).candidates());
    }
    once.gateway(GATEWAY);
    let mut keeper = KeepReporter::new(&global, &keep, &mut kept, GATEWAY);
    let mut conversation = Conversation::new(&keep, protocol);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        conversation.step(&mut choices, &mut keeper, &mut once);
    }
    output.lines()
}

/// Standard output of both reports, line by line in their order.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5351);
const LONGEST: usize = 1_024;
const MOST_STEPS: usize = 64;
