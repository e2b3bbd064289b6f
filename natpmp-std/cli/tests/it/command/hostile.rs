//! A gateway that sends what it likes: none of it is more than a number to whoever reads the output, the file or the environment.

use std::net::{SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_lab::{Finished, Running};
use natpmp_proto::wire::{Request, Response};

use super::{Directory, NATPMP, SOON, eventually, read};

/// Escape sequences for the terminal, commands for the shell, words for the service manager, quotes for JSON.
#[test]
fn bytes_of_the_gateway_reach_neither_the_terminal_nor_the_shell() {
    let directory = Directory::new();
    let gateway = Hostile::start();
    let (trap, log, port_file) = (directory.file("trap"), directory.file("log"), directory.file("port"));
    // The shell reads what it is given once: what it finds there is not read again.
    let hook = format!("env | grep ^NATPMP_ >> {log}; : ${{NATPMP_EXTERNAL_PORT:+there}}");
    let mut command = Command::new(NATPMP);
    // What the tests themselves are told by variables is not the gateway's.
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.args(["keep", "udp", "4000", "--refresh-interval", "1", "--verbose", "--json"]).env("TRAP", &trap);
    command.args(["--gateway", &gateway.address.to_string(), "--on-change", &hook, "--port-file", &port_file]);
    let mut running = Running::spawn(command);
    for _ in 0..3 {
        running.event(SOON, "changed");
        let port = read(&port_file);
        assert!(port.trim_end().parse::<u16>().is_ok() && port.ends_with('\n'), "{port:?}");
    }
    running.interrupt();
    let finished = running.finish(SOON);
    assert!(finished.stderr.len() > 10, "it says what it receives\n{finished}");
    is_clean(&finished);
    for line in read(&log).lines() {
        let (name, value) = line.split_once('=').unwrap();
        let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase() || byte == b'.');
        assert!(is_plain && name.starts_with("NATPMP_"), "{line:?}");
    }
    assert!(read(&log).contains("NATPMP_EXTERNAL_PORT="), "the hook has run");
    assert!(!std::path::Path::new(&trap).exists());
}

/// The one-shot commands as well, as text.
#[test]
fn no_command_prints_what_the_gateway_sent() {
    let gateway = Hostile::start();
    for arguments in
        [&["external-address"][..], &["map", "udp", "4000"], &["unmap", "tcp", "4000"], &["unmap-all", "udp"]]
    {
        let mut command = Command::new(NATPMP);
        command.args(arguments).args(["--verbose", "--timeout", "2", "--gateway", &gateway.address.to_string()]);
        is_clean(&Running::spawn(command).finish(SOON));
    }
}

/// A storm on the port that the client asks from: it is heard, dropped, and costs the mapping nothing.
#[test]
fn a_flood_in_the_name_of_the_gateway_leaves_the_client_alive_and_small() {
    let gateway = Hostile::start();
    gateway.floods.store(true, Ordering::Relaxed);
    let mut command = Command::new(NATPMP);
    command.args([
        "keep",
        "udp",
        "4000",
        "--refresh-interval",
        "1",
        "--json",
        "--gateway",
        &gateway.address.to_string(),
    ]);
    let mut running = Running::spawn(command);
    running.event(SOON, "mapped");
    for _ in 0..3 {
        running.event(SOON, "changed");
    }
    let memory = running.resident_kib().unwrap();
    assert!(memory < MOST_MEMORY_KIB, "{memory} KiB");
    running.interrupt();
    eventually("it ends", || !running.is_running());
}

fn is_clean(finished: &Finished) {
    for line in finished.stdout.iter().chain(&finished.stderr) {
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        assert!(!line.contains("TRAP") && !line.contains("READY=1"), "{line:?}");
    }
}

/// Answers each request with much that is none, and then with an answer: another port every time, an epoch that jumps.
struct Hostile {
    address: SocketAddr,
    floods: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Hostile {
    fn start() -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let address = socket.local_addr().unwrap();
        let [floods, is_over] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
        let (is_flooding, flag) = (Arc::clone(&floods), Arc::clone(&is_over));
        let serve = move || {
            let (mut buffer, mut count, mut asker) = ([0; 64], 0_u16, None);
            while !flag.load(Ordering::Relaxed) {
                if let (true, Some(asker)) = (is_flooding.load(Ordering::Relaxed), asker) {
                    for payload in PAYLOADS.iter().cycle().take(200) {
                        let _ = socket.send_to(payload, asker);
                    }
                }
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                asker = Some(from);
                count += 1;
                for payload in PAYLOADS {
                    let _ = socket.send_to(payload, from);
                }
                if let Some(answer) = answer(&buffer[..length], count) {
                    let _ = socket.send_to(&answer.encode(), from);
                }
            }
        };
        let thread = Some(std::thread::spawn(serve));
        Self { address, floods, is_over, thread }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(request: &[u8], count: u16) -> Option<Response> {
    // What is printable in it may come through as bytes.
    let epoch = u32::from_be_bytes(*b"\x1b[2J");
    Some(match Request::decode(request).ok()? {
        Request::ExternalAddress => Response::ExternalAddress { epoch, address: [b'`', b'$', b'(', b'\n'].into() },
        Request::Map { protocol, internal_port, lifetime, .. } if lifetime > 0 => {
            let external_port = u16::from_be_bytes([b'$', b'(']).wrapping_add(count);
            Response::Map { protocol, epoch, internal_port, external_port, lifetime: u32::MAX }
        }
        Request::Map { protocol, internal_port, .. } => {
            Response::Map { protocol, epoch, internal_port, external_port: 0, lifetime: 0 }
        }
    })
}

const PAYLOADS: [&[u8]; 6] = [
    b"\x1b]0;owned\x07\x1b[2J\x1b[31m",
    b"$(touch $TRAP)`touch $TRAP`;touch $TRAP\n",
    b"\",\"event\":\"mapped\"}\n{\"event\":\"",
    b"READY=1\nSTATUS=owned\nMAINPID=1\n",
    b"\x00\x80\x00\x09\x1b[2J\x1b[2J",
    b"\x02\x80\x00\x00\x1b[2J\x1b[2J\x1b[2J\x1b[2J\x1b[2J",
];
const MOST_MEMORY_KIB: u64 = 32 * 1_024;
