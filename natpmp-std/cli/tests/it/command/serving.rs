//! What `natpmp serve` says by itself; what it does is for the labs.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;

use natpmp_lab::Running;

use super::{NATPMP, SOON, eventually};

#[test]
fn what_was_dropped_for_its_rate_is_counted_in_the_log_and_at_the_end() {
    for (rate, asked) in [("1", 50), ("0", 50)] {
        let mut command = Command::new(NATPMP);
        command.args(["serve", "--internal", &GATEWAY.to_string(), "--external", "127.53.51.12", "--backend", "relay"]);
        command.args(["--requests-per-second", rate]);
        let running = Running::spawn(command);
        eventually("it serves", || running.complaints().iter().any(|line| line.starts_with("serving NAT-PMP on ")));
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect((GATEWAY, 5351)).unwrap();
        client.set_read_timeout(Some(SOON)).unwrap();
        for _ in 0..asked {
            client.send(&[0, 0]).unwrap();
        }
        client.recv(&mut [0; 16]).unwrap();
        let is_warned = || running.complaints().iter().any(|line| line.contains("dropped so far: "));
        if rate == "1" {
            eventually("it warns", is_warned);
        }
        running.interrupt();
        let finished = running.finish(SOON);
        assert_eq!(finished.code, Some(0), "{finished}");
        let totals = finished.stderr.iter().filter(|line| line.contains(" dropped: more than --requests-per-second"));
        assert_eq!(totals.count(), usize::from(rate == "1"), "{finished}");
    }
}

const GATEWAY: Ipv4Addr = Ipv4Addr::new(127, 53, 51, 11);
