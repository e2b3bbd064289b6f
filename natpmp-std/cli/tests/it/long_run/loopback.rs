//! The same on the loopback interface, for those without root: a gateway with faults, which has no NAT, and `natpmp serve` with its relay,
//! killed and started again.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use natpmp_lab::{Meter, Protocol, Running, echo_at, wait_until, who_answers};
use natpmp_testkit::Random;
use natpmp_testkit::gateway::{FailureForm, Faults, Gateway, Grant, Reach, Served, VersionError};

use super::kept::Kept;
use super::run::{World, endure};
use super::{Directory, NATPMP, SOON};

#[test]
fn keep_outlives_whatever_a_gateway_does_to_it() {
    let directory = Directory::new();
    let mut world = Faulty { served: Arc::new(Served::start(Gateway::new())), restarts: 0 };
    let gateway = world.served.address();
    let mut kept = Vec::from(WANTED.map(|(protocols, port, lifetime)| {
        let arguments = format!("{} {port} --lifetime {lifetime} --gateway {gateway}", words(protocols));
        let mut kept = Kept::start(Command::new(NATPMP), &arguments, directory.0.join(port.to_string()));
        for &protocol in protocols {
            let served = Arc::clone(&world.served);
            kept.watch(Meter::start(move || {
                served.with(|gateway, now| gateway.lease(now, of_machine(protocol), port).is_some())
            }));
        }
        kept
    }));
    endure("Faulty", &mut world, &mut kept);
    kept.into_iter().for_each(Kept::end);
    assert_eq!(world.open(), 0);
}

#[test]
fn keep_outlives_the_deaths_of_serve_with_a_relay() {
    let directory = Directory::new();
    let [gateway, outside, inside] = [1, 2, 3].map(own_address);
    let words = format!("serve --internal {gateway} --external {outside} --backend relay --json --state");
    let state = directory.0.join("state");
    let mut world = Killed { words, state, running: None, restarts: 0 };
    world.start();
    let mut echoes = Vec::new();
    let mut kept = Vec::from(WANTED.map(|(protocols, port, lifetime)| {
        let arguments =
            format!("{} {port} --lifetime {lifetime} --gateway {gateway} --bind {inside}", self::words(protocols));
        let mut kept = Kept::start(Command::new(NATPMP), &arguments, directory.0.join(port.to_string()));
        for &protocol in protocols {
            echoes.push(echo_at(protocol, SocketAddrV4::new(inside, port)));
            let there = SocketAddr::from((outside, port));
            kept.watch(Meter::start(move || who_answers(protocol, there) == Some(inside)));
        }
        kept
    }));
    endure("Relay on the loopback interface", &mut world, &mut kept);
    kept.into_iter().for_each(Kept::end);
    for (protocols, port, _) in WANTED {
        for &protocol in protocols {
            let there = SocketAddr::from((outside, port));
            assert!(wait_until(SOON, || who_answers(protocol, there).is_none()), "{protocol:?} {port} is open");
        }
    }
}

struct Faulty {
    served: Arc<Served>,
    restarts: u32,
}

impl Faulty {
    fn open(&self) -> usize {
        self.served.with(|gateway, now| gateway.leases(now).len())
    }
}

impl World for Faulty {
    fn inject_fault(&mut self, _: &[Kept], random: &mut Random) -> String {
        let (what, faults) = fault(random);
        let (forgets, epoch) = (random.chance(50), u32::try_from(random.below(4_000)).unwrap());
        self.served.with(|gateway, now| {
            gateway.faults = faults;
            match epoch % 4 {
                0 => gateway.drop_mappings(),
                1 => gateway.set_epoch(now, epoch),
                _ if forgets => gateway.restart(now),
                _ => {}
            }
        });
        self.restarts += u32::from(epoch % 4 == 0 || (epoch % 4 > 1 && forgets));
        std::thread::sleep(random.between(Duration::from_millis(50), Duration::from_secs(3)));
        self.served.with(|gateway, _| {
            gateway.faults = Faults::default();
            gateway.forget_received();
        });
        what.to_owned()
    }

    fn is_right(&self) -> bool {
        self.open() == WANTED.iter().map(|(protocols, ..)| protocols.len()).sum::<usize>()
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }
}

fn fault(random: &mut Random) -> (&'static str, Faults) {
    let good = Faults::default();
    match random.below(13) {
        0 => ("silence", Faults { reach: Reach::Silent, ..good }),
        1 => ("port unreachable", Faults { reach: Reach::Closed, ..good }),
        2 => ("refusals", Faults { refuse_map: Some(2), ..good }),
        3 => ("short refusals", Faults { refuse_map: Some(4), failure_form: FailureForm::Shortest, ..good }),
        4 => ("unknown results", Faults { refuse_map: Some(4_711), failure_form: FailureForm::Echo, ..good }),
        5 => ("no network", Faults { refuse_address: Some(3), refuse_map: Some(3), ..good }),
        6 => ("another version", Faults { version_error: Some(VersionError::PcpUnderVersion0), ..good }),
        7 => ("grants of nothing", Faults { grant: Grant::Exactly(0), ..good }),
        8 => ("grants of a second", Faults { grant: Grant::Exactly(1), ..good }),
        9 => ("ports that are 0", Faults { grants_port_zero: true, ..good }),
        10 => ("two of three requests lost", Faults { answers_every: 3, ..good }),
        11 => ("late answers, many times", Faults { delay: Duration::from_millis(700), repeats: 3, ..good }),
        _ => ("ports that move", Faults { moves_ports: true, ..good }),
    }
}

struct Killed {
    words: String,
    state: PathBuf,
    running: Option<Running>,
    restarts: u32,
}

impl Killed {
    fn start(&mut self) {
        let mut command = Command::new(NATPMP);
        command.args(self.words.split(' ')).arg(&self.state);
        let running = self.running.insert(Running::spawn(command));
        let serves = || running.complaints().iter().any(|line| line.starts_with("serving NAT-PMP"));
        assert!(wait_until(SOON, serves), "it does not serve\n{}", running.last_words());
    }
}

impl World for Killed {
    fn inject_fault(&mut self, kept: &[Kept], random: &mut Random) -> String {
        let (is_crash, forgets, sleeps) = (random.chance(60), random.chance(50), random.chance(25));
        let running = self.running.take().unwrap();
        if sleeps {
            kept.iter().for_each(|kept| kept.program.suspend());
        }
        if is_crash {
            drop(running);
        } else {
            running.terminate();
            assert_eq!(running.finish(SOON).code, Some(0));
        }
        if forgets {
            let _ = fs::remove_file(&self.state);
        }
        std::thread::sleep(random.between(Duration::ZERO, Duration::from_secs(2)));
        self.start();
        self.restarts += 1;
        if sleeps {
            std::thread::sleep(random.between(Duration::ZERO, Duration::from_secs(2)));
            kept.iter().for_each(|kept| kept.program.resume());
        }
        let what = if is_crash { "crash" } else { "restart" };
        let memory = if forgets { "without memory" } else { "with memory" };
        format!("{what} {memory}{}", if sleeps { ", clients asleep" } else { "" })
    }

    /// The packets tell.
    fn is_right(&self) -> bool {
        true
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }
}

/// Another one for each process that runs this.
fn own_address(last: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, last)
}

fn words(protocols: &[Protocol]) -> &'static str {
    match protocols {
        [Protocol::Udp] => "udp",
        [Protocol::Tcp] => "tcp",
        _ => "both",
    }
}

fn of_machine(protocol: Protocol) -> natpmp_std::Protocol {
    match protocol {
        Protocol::Udp => natpmp_std::Protocol::Udp,
        Protocol::Tcp => natpmp_std::Protocol::Tcp,
    }
}

/// Protocols, internal port, and lifetime in seconds.
const WANTED: [(&[Protocol], u16, u32); 3] =
    [(&[Protocol::Udp], 4_000, 3), (&[Protocol::Tcp], 4_001, 6), (&[Protocol::Udp, Protocol::Tcp], 4_002, 4)];
