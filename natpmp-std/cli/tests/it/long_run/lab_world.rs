//! A lab with two clients whose network and gateway fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use natpmp_lab::{Echo, GATEWAY, Host, Lab, Meter, Protocol, echo, wait_until, who_answers};
use natpmp_testkit::Random;

use super::kept::{Kept, port};
use super::router::{Gateway, Kind};
use super::run::{World, endure, seed};
use super::{BOUND, NATPMP, SOON};

pub(crate) struct LabWorld {
    // Before the lab, which would end it with its namespaces.
    gateway: Gateway,
    lab: Lab,
    /// As the internet knows it.
    external: Arc<Mutex<Ipv4Addr>>,
    /// When its epoch began last.
    reborn: Instant,
    restarts: u32,
}

impl LabWorld {
    /// Has a router of this kind fail for as long as the environment says.
    pub(crate) fn endure(kind: Kind) {
        let Some(lab) = Lab::or_skip_with(2, &[]) else { return };
        // With every other seed its epoch does not show that it was restarted.
        let hides_restarts = kind == Kind::Miniupnpd && seed() % 2 == 0;
        // A gateway makes mappings, and leaves it to the box what it forwards.
        lab.router().nft("insert rule inet filter forward ct status dnat accept");
        let rules = lab.router().rules();
        let gateway = Gateway::start_on(&lab, kind, hides_restarts);
        let external = Arc::new(Mutex::new(lab.external_address()));
        let mut world = Self { gateway, lab, external, reborn: Instant::now(), restarts: 0 };
        let (echoes, mut kept): (Vec<_>, Vec<_>) = KEPT.into_iter().map(|wanted| world.keep(wanted)).unzip();
        endure(&format!("{kind:?}"), &mut world, &mut kept);
        // Where they were in the beginning, both protocols on the same port.
        let ports = kept.iter().map(|kept| std::fs::read_to_string(&kept.port_file).unwrap());
        assert_eq!(ports.collect::<String>(), "4000\n4001\n5002\n6000\n");
        kept.into_iter().for_each(Kept::end);
        world.has_nothing_left(&rules);
        drop(echoes);
    }

    /// Starts a `natpmp keep`, with something that answers behind its ports and meters that ask for it.
    fn keep(&self, (client, arguments): (usize, &str)) -> (Vec<Echo>, Kept) {
        let host = &self.lab.clients()[client];
        let (protocols, internal_port) = protocols_and_port(arguments);
        let port_file = self.lab.directory().join(format!("port-{client}-{internal_port}"));
        let mut kept = Kept::start(host.command(NATPMP), arguments, port_file);
        let echoes = protocols.iter().map(|&protocol| {
            kept.watch(self.meter(host, protocol, kept.port_file.clone()));
            echo(host, protocol, internal_port)
        });
        (echoes.collect(), kept)
    }

    /// Asks from the internet, at the port that the port file tells; while that tells none it asks the one before.
    fn meter(&self, host: &Host, protocol: Protocol, port_file: PathBuf) -> Meter {
        let (external, expected) = (Arc::clone(&self.external), host.address());
        let mut known = 0;
        self.lab.internet().within(move || {
            Meter::start(move || {
                known = port(&port_file, protocol).unwrap_or(known);
                let target = SocketAddr::from((*external.lock().unwrap(), known));
                let answered = if known == 0 { None } else { who_answers(protocol, target) };
                assert!(answered.is_none_or(|host| host == expected), "packets for {expected} came to {answered:?}");
                answered.is_some()
            })
        })
    }

    fn has_nothing_left(mut self, rules: &str) {
        let is_empty = || self.gateway.mappings(&self.lab) == 0;
        assert!(wait_until(SOON, is_empty), "mappings are left\n{}", self.lab.router().rules());
        self.gateway.stop();
        assert_eq!(self.lab.router().rules(), rules);
        for host in self.lab.clients().iter().chain([self.lab.router().host(), self.lab.internet()]) {
            assert!(
                wait_until(SOON, || host.processes().is_empty()),
                "left on {}: {:?}",
                host.namespace(),
                host.processes()
            );
        }
        // What a gateway was writing when it was killed was replaced by those that came after it, as with a port file.
        let files = std::fs::read_dir(self.lab.directory()).unwrap().flatten().map(|entry| entry.file_name());
        let left: Vec<_> = files.filter(|name| name.to_string_lossy().ends_with(".new")).collect();
        assert!(left.is_empty(), "{left:?}");
    }

    /// Ends the gateway, without a warning or with one, and what it knew with it or not; starts it again some time later.
    fn restart(&mut self, random: &mut Random) -> String {
        let (is_crash, forgets) = (random.chance(60), random.chance(60));
        self.restart_so(random, is_crash, forgets);
        format!(
            "{} {}",
            if is_crash { "crash" } else { "restart" },
            if forgets { "without memory" } else { "with memory" }
        )
    }

    fn restart_so(&mut self, random: &mut Random, is_crash: bool, forgets: bool) {
        // In the first seconds of an epoch nobody can tell that another one begins (RFC 6886, section 3.6).
        let is_young = || self.reborn.elapsed() < Duration::from_secs(4);
        assert!(!(forgets || is_crash) || wait_until(SOON, || !is_young()));
        self.restarts += 1;
        if is_crash {
            self.gateway.crash();
        } else {
            self.gateway.stop();
        }
        if forgets {
            self.gateway.forget(&self.lab);
        }
        pause(random, 2_000);
        self.gateway.start();
        self.reborn = Instant::now();
    }

    /// Breaks something that is between the clients and the gateway, or in the clients.
    fn interrupt(&self, fault: u64, kept: &[Kept]) -> &'static str {
        let router = self.lab.router();
        match fault {
            0 => self.lab.client().ip(&["link", "set", "eth0", "down"]),
            1 => router.host().ip(&["link", "set", "port0", "down"]),
            2 => router.drop_requests(),
            3 => router.drop_answers(),
            4 => router.lose_every_other_request(),
            _ => kept.iter().for_each(|kept| kept.program.suspend()),
        }
        INTERRUPTIONS[usize::try_from(fault).unwrap()]
    }

    fn mend(&self, fault: u64, kept: &[Kept]) {
        let router = self.lab.router();
        match fault {
            0 => {
                self.lab.client().ip(&["link", "set", "eth0", "up"]);
                self.lab.client().ip(&["route", "add", "default", "via", &GATEWAY.ip().to_string()]);
            }
            1 => router.host().ip(&["link", "set", "port0", "up"]),
            2..=4 => router.let_requests_through(),
            _ => kept.iter().for_each(|kept| kept.program.resume()),
        }
    }

    fn change_address(&mut self, random: &mut Random) {
        let address = Ipv4Addr::new(11, 22, 33, 50 + u8::try_from(random.below(150)).unwrap());
        self.lab.router().change_external_address(address);
        *self.external.lock().unwrap() = address;
        self.gateway.announce();
        self.reborn = Instant::now();
    }
}

impl World for LabWorld {
    fn inject_fault(&mut self, kept: &[Kept], random: &mut Random) -> String {
        let fault = random.below(INTERRUPTIONS.len() as u64);
        match random.below(10) {
            0..4 => self.restart(random),
            4 => {
                for _ in 0..2 + random.below(3) {
                    let is_crash = random.chance(60);
                    self.restart_so(random, is_crash, false);
                }
                "several restarts with memory".to_owned()
            }
            5 => {
                self.change_address(random);
                "another external address".to_owned()
            }
            6 | 7 => {
                let what = self.interrupt(fault, kept);
                pause(random, 4_000);
                self.mend(fault, kept);
                what.to_owned()
            }
            // Where its announcement is lost nothing tells of the restart before the next renewal, an hour away.
            _ if fault == ANSWERS => {
                let what = self.interrupt(fault, kept);
                self.change_address(random);
                pause(random, 2_000);
                self.mend(fault, kept);
                format!("{what}, another external address meanwhile")
            }
            _ => {
                let what = self.interrupt(fault, kept);
                let restart = self.restart(random);
                pause(random, 2_000);
                self.mend(fault, kept);
                format!("{what}, {restart} meanwhile")
            }
        }
    }

    fn is_right(&self) -> bool {
        let expected = KEPT.into_iter().map(|(_, arguments)| protocols_and_port(arguments).0.len()).sum::<usize>();
        self.gateway.mappings(&self.lab) == expected
    }

    fn bound(&self) -> Duration {
        match self.gateway {
            // It announces itself once, and not in NAT-PMP: that is believed once a minute, and what a client asks then may be lost, or may not
            // show the restart.
            Gateway::Miniupnpd(_) => BOUND + Duration::from_secs(60),
            Gateway::Serve(_) => BOUND,
        }
    }

    fn restarts(&self) -> u32 {
        self.restarts
    }
}

fn protocols_and_port(arguments: &str) -> (&'static [Protocol], u16) {
    let mut words = arguments.split(' ');
    let protocols: &[Protocol] = match words.next() {
        Some("udp") => &[Protocol::Udp],
        Some("tcp") => &[Protocol::Tcp],
        _ => &[Protocol::Udp, Protocol::Tcp],
    };
    (protocols, words.next().unwrap().parse().unwrap())
}

fn pause(random: &mut Random, most: u64) {
    std::thread::sleep(random.between(Duration::from_millis(50), Duration::from_millis(most)));
}

/// Which client keeps what. With the lifetime that everybody has, which one of them asks for, nothing is renewed for an hour.
const KEPT: [(usize, &str); 4] = [
    (0, "udp 4000 --lifetime 4"),
    (0, "tcp 4001 --lifetime 7"),
    (0, "both 4002 --external 5002"),
    (1, "both 4000 --external 6000 --lifetime 10"),
];
const INTERRUPTIONS: [&str; 6] =
    ["link down", "cable pulled", "requests lost", "answers lost", "every other request lost", "clients asleep"];
const ANSWERS: u64 = 3;
