//! `natpmp watch`.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use natpmp_lab::Running;
use natpmp_testkit::gateway::Gateway;
use serde_json::json;

use super::{SOON, command};

/// C09, C10: where another program has the port for itself, that is said instead.
#[test]
fn announcements_are_printed_as_they_come_and_those_of_others_are_not() {
    let announcing = Announcing::start();
    let from = announcing.from;
    let mut running = Running::spawn(command(GATEWAY, &["watch", "--json"]));
    let Some(_) = running.try_event(SOON, "announcement") else {
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(1), "{finished}");
        assert!(finished.stderr.join("\n").contains("5350"), "{finished}");
        println!("skipped: port 5350 cannot be had here\n{finished}");
        return;
    };
    let by_nat_pmp = json!({
        "event": "announcement",
        "external_address": "11.22.33.44",
        "epoch": 7,
        "gateway": from.to_string(),
    });
    let by_pcp = json!({ "event": "announcement", "gateway": from.to_string() });
    running.event_where(SOON, "announcement", |received| *received == by_nat_pmp);
    running.event_where(SOON, "announcement", |received| *received == by_pcp);
    running.interrupt();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    assert!(finished.events("announcement").all(|received| received == by_nat_pmp || received == by_pcp), "{finished}");
    assert_eq!(finished.stderr, ["listening for announcements of 127.53.50.2"]);

    let mut running = Running::spawn(command(GATEWAY, &["watch"]));
    let expected = "127.53.50.2 announces: external address 11.22.33.44, 7 s since it lost its mappings";
    running.line(SOON, |line| line == expected);
    running.line(SOON, |line| line == "127.53.50.2 announces that it restarted (by PCP)");
    running.terminate();
    let finished = running.finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
}

/// Announces to the group over and over, as the gateway and as somebody else: when the command begins to listen is not known.
struct Announcing {
    from: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Announcing {
    fn start() -> Self {
        let gateway = UdpSocket::bind((*GATEWAY.ip(), 0)).unwrap();
        let stranger = UdpSocket::bind((Ipv4Addr::new(127, 53, 50, 66), 0)).unwrap();
        let from = gateway.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !flag.load(Ordering::Relaxed) {
                for (socket, bytes) in [
                    (&stranger, &[0, 128, 0, 0, 0, 0, 0, 9, 11, 99, 0, 7][..]),
                    (&gateway, &[0, 128, 0, 0, 0, 0, 0, 7, 11, 22, 33, 44]),
                    (&gateway, &Gateway::PCP_ANNOUNCE),
                ] {
                    socket.send_to(bytes, ("224.0.0.1", 5350)).unwrap();
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
        Self { from, is_over, thread: Some(thread) }
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An address of the loopback interface that no other test's gateway has.
const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 53, 50, 2), 5351);
