//! The subcommand `demo`: a gateway, a client, a mapping and bytes through it, on this machine's loopback.

mod traffic;
mod wiretap;

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use natpmp_std::server::nat::{Relay, RelayLimits};
use natpmp_std::server::{External, Internal, Server};
use natpmp_std::{Client, Ending, Event, KeptMapping, MapRequest, Mapping, Protocol, Schedule, Subscription};

use crate::failure::Failure;
use crate::lines::{Line, endpoint, name};
use crate::report::{Report, Results};

use traffic::Services;
use wiretap::Wiretap;

/// Shows it all, and fails if a step does not bring what it should.
pub(crate) fn demo(report: &mut Report) -> Result<(), Failure> {
    let timeline = Timeline::new(report);
    timeline.chapter("A gateway starts. Its inside is 127.0.0.1, its outside 127.0.0.2.");
    let announcements = free_port(INSIDE).map_err(failed("find a free port"))?;
    let gateway = start_gateway(0, announcements)?;
    let port = gateway.addresses().first().map_or(0, SocketAddrV4::port);
    timeline.says("gateway", &format!("serving NAT-PMP on 127.0.0.1 port {port}, with the relay as its NAT"));

    timeline.chapter("A client behind it asks how the world sees it.");
    let wiretap =
        Wiretap::start(SocketAddrV4::new(INSIDE, port), timeline.clone()).map_err(failed("start the wiretap"))?;
    let client = client(wiretap.address(), announcements)?;
    follow_announcements(&client, &timeline);
    let address =
        client.external_address().map_err(|error| Failure::new("cannot learn the external address", &error))?;
    check(address == OUTSIDE, "the gateway's own address was to come", format!("{address} came"))?;

    timeline.chapter("It runs a TCP and a UDP service, and keeps a port open for each.");
    let services = Services::start(INSIDE).map_err(failed("start the services"))?;
    let mut events = client.events();
    let wish = free_port(OUTSIDE).map_err(failed("find a free port"))?;
    let kept = keep_both(&client, &services, wish)?;
    let mapped = wait_mapped(&mut events, &timeline, address)?;
    check_bytes(&timeline, address, &mapped)?;

    timeline.chapter("Some time goes by. (A restart shows in the gateway's clock, if that has run for some seconds.)");
    thread::sleep(UPTIME);
    timeline.chapter("The gateway restarts and has forgotten everything. It announces itself; the client notices.");
    drop(gateway);
    timeline.says("gateway", "down; its ports are closed");
    check_closed(&timeline, address, &mapped)?;
    let gateway = start_gateway(port, announcements)?;
    timeline.says("gateway", "up again, with an empty table and its epoch at 0");
    let again = wait_mapped(&mut events, &timeline, address)?;
    check(ports(&again) == ports(&mapped), "the same ports were to come", format!("{:?} came", ports(&again)))?;
    check_bytes(&timeline, address, &again)?;

    timeline.chapter("The client is done, and deletes its mappings.");
    for kept in kept {
        let ending = kept.stop().map_err(|error| Failure::new("cannot delete a mapping", &error))?;
        check(ending == Ending::Unmapped, "a deletion was to come", format!("{ending:?} came"))?;
    }
    check_closed(&timeline, address, &again)?;
    check(gateway.mappings().is_empty(), "the table was to be empty", format!("{:?} is left", gateway.mappings()))?;
    timeline.chapter("Every step held.");
    Ok(())
}

/// Says what happens as it happens, and when. Clones write to the same place.
#[derive(Clone)]
struct Timeline {
    start: Instant,
    results: Results,
}

impl Timeline {
    fn new(report: &Report) -> Self {
        Self { start: Instant::now(), results: report.results() }
    }

    /// What is to come.
    fn chapter(&self, text: &str) {
        self.write("demo", text, &format!("\n{text}"));
    }

    /// What somebody did or sent.
    fn says(&self, who: &str, text: &str) {
        self.write(who, text, &format!("{:7.3} s  {who:<17} {text}", self.start.elapsed().as_secs_f64()));
    }

    fn write(&self, who: &str, text: &str, line: &str) {
        let json = Line { event: "demo", who: Some(who.to_owned()), text: Some(text.to_owned()), ..Line::default() };
        // Whoever read it is gone: the demonstration goes on for its exit code.
        let _ = self.results.write(&json, line);
    }
}

fn start_gateway(port: u16, announcements: u16) -> Result<Server, Failure> {
    Server::builder(|_| Relay::start(RelayLimits::default()))
        .internal(Internal::Address(INSIDE))
        .external(External::Address(OUTSIDE))
        .port(port)
        .announce_to(SocketAddrV4::new(INSIDE, announcements))
        .build()
        .map_err(failed("start the gateway"))
}

fn client(gateway: SocketAddrV4, announcements: u16) -> Result<Client, Failure> {
    Client::builder()
        .gateway(gateway)
        .schedule(Schedule::QUICK)
        .announcement_address(SocketAddrV4::new(INSIDE, announcements))
        .build()
        .map_err(|error| Failure::new("cannot start the client", &error))
}

fn keep_both(client: &Client, services: &Services, wish: u16) -> Result<Vec<KeptMapping>, Failure> {
    let keep = |(protocol, port)| {
        let request = MapRequest::new(protocol, port).external_port(wish).lifetime(600);
        client.keep(&request).map_err(|error| Failure::new("cannot keep a mapping", &error))
    };
    services.ports().into_iter().map(keep).collect()
}

/// Says what the gateway announces, which does not pass the wiretap.
fn follow_announcements(client: &Client, timeline: &Timeline) {
    let (announcements, timeline) = (client.announcements(), timeline.clone());
    thread::spawn(move || {
        for announcement in announcements {
            if let (Some(address), Some(epoch)) = (announcement.external_address, announcement.epoch) {
                timeline.says("gateway -> all", &format!("my external address is {address} (up for {epoch} s)"));
            }
        }
    });
}

/// Waits until both mappings are open, and says so.
fn wait_mapped(
    events: &mut Subscription<Event>,
    timeline: &Timeline,
    address: Ipv4Addr,
) -> Result<Vec<Mapping>, Failure> {
    let mut open: Vec<Mapping> = Vec::new();
    while open.len() < Protocol::ALL.len() {
        let event = events.next_timeout(PATIENCE).ok_or_else(|| {
            Failure::other("the demonstration failed", format!("no mapping within {} s", PATIENCE.as_secs()), "")
        })?;
        match event {
            Event::Mapped(mapping) => {
                let at = endpoint(Some(address), mapping.external_port);
                let (protocol, port) = (name(mapping.protocol), mapping.internal_port);
                timeline.says("client", &format!("{protocol} {port} is open at {at} for {} s", mapping.lifetime));
                open.push(mapping);
            }
            Event::GatewayRestarted => {
                timeline.says("client", "its clock went back: the gateway has lost my mappings");
                timeline.says("client", "waits up to 5 s, at random, so that not all clients of a gateway ask at once");
            }
            Event::Lost { protocol, .. } => open.retain(|mapping| mapping.protocol != protocol),
            _ => {}
        }
    }
    open.sort_by_key(|mapping| mapping.protocol);
    Ok(open)
}

/// Real bytes go from outside through each mapping to the service and back.
fn check_bytes(timeline: &Timeline, address: Ipv4Addr, mappings: &[Mapping]) -> Result<(), Failure> {
    for mapping in mappings {
        let target = SocketAddrV4::new(address, mapping.external_port);
        let protocol = name(mapping.protocol);
        let answer = traffic::ask(mapping.protocol, target).map_err(failed("reach the service from outside"))?;
        timeline
            .says("outside", &format!("{protocol} {target}: sent \"{}\", got \"{answer}\" back", traffic::GREETING));
        check(answer == traffic::GREETING, "the same bytes were to come back", format!("\"{answer}\" came"))?;
    }
    Ok(())
}

fn check_closed(timeline: &Timeline, address: Ipv4Addr, mappings: &[Mapping]) -> Result<(), Failure> {
    for mapping in mappings {
        let target = SocketAddrV4::new(address, mapping.external_port);
        let protocol = name(mapping.protocol);
        match traffic::ask(mapping.protocol, target) {
            Ok(answer) => {
                check(false, "nothing was to come back", format!("\"{answer}\" came from {protocol} {target}"))?
            }
            Err(error) => timeline.says("outside", &format!("{protocol} {target}: refused ({})", error.kind())),
        }
    }
    Ok(())
}

fn check(holds: bool, expected: &str, found: String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::other("the demonstration failed", format!("{expected}, and {found}"), "")) }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| {
        Failure::other(
            format!("cannot {what}"),
            error,
            "The demonstration takes 127.0.0.1 and 127.0.0.2 on the loopback interface.",
        )
    }
}

fn ports(mappings: &[Mapping]) -> Vec<u16> {
    mappings.iter().map(|mapping| mapping.external_port).collect()
}

/// A port of this address that nobody uses.
fn free_port(address: Ipv4Addr) -> std::io::Result<u16> {
    Ok(UdpSocket::bind((address, 0))?.local_addr()?.port())
}

const INSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Two seconds of grace, an eighth for clocks that differ (RFC 6886, section 3.6), and one for the epoch being whole seconds.
const UPTIME: Duration = Duration::from_millis(4_500);
const PATIENCE: Duration = Duration::from_secs(15);
