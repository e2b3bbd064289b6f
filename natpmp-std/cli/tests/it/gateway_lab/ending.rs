//! What `serve` says while it runs, and what it leaves when it ends.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use natpmp_lab::{GATEWAY, Protocol, Running, Value, echo, wait_until};

use super::SOON;
use super::packets::{EXTERNAL_ADDRESS, is_turned_away};
use super::peers::Peer;
use super::setup::{Nat, Setup};

with_each_nat!(
    its_end_leaves_nothing_open_and_the_rules_as_they_were,
    a_connection_ends_with_its_mapping,
    its_json_is_an_object_a_line_and_tells_what_happened,
);

/// By both signals that ask for it.
fn its_end_leaves_nothing_open_and_the_rules_as_they_were(nat: Nat) {
    let Some(mut setup) = Setup::empty_or_skip(nat, 1, &["natpmpc"]) else { return };
    let protocols = [Protocol::Udp, Protocol::Tcp];
    let _echoes = protocols.map(|protocol| echo(setup.client(0), protocol, 4000));
    let before = setup.lab.router().rules();
    for stop in [Running::interrupt, Running::terminate] {
        setup.start(&[]);
        for protocol in protocols {
            Peer::Natpmpc.map(setup.client(0), protocol, 4000, 5000, 600).unwrap();
            assert!(setup.leads_to(0, protocol, 5000));
        }
        stop(setup.serving());
        let finished = setup.finish();
        assert_eq!(finished.code, Some(0), "{finished}");
        assert!(protocols.iter().all(|&protocol| !setup.leads_to(0, protocol, 5000)));
        assert_eq!(setup.lab.router().rules(), before);
        assert!(is_turned_away(setup.client(0), GATEWAY, EXTERNAL_ADDRESS), "clients learn that nobody is there");
    }
}

/// G21.
fn a_connection_ends_with_its_mapping(nat: Nat) {
    let Some(setup) = Peer::Natpmpc.setup_or_skip(nat, 1, &[]) else { return };
    let listener = setup.client(0).within(|| TcpListener::bind(("0.0.0.0", 4000)).unwrap());
    Peer::Natpmpc.map(setup.client(0), Protocol::Tcp, 4000, 5000, 600).unwrap();
    let mut outer = setup.lab.internet().within(|| TcpStream::connect(setup.external(5000)).unwrap());
    let (mut inner, _) = listener.accept().unwrap();
    for stream in [&outer, &inner] {
        stream.set_read_timeout(Some(SOON)).unwrap();
    }
    let mut buffer = [0; 4];
    outer.write_all(b"ping").unwrap();
    inner.read_exact(&mut buffer).unwrap();
    inner.write_all(b"pong").unwrap();
    outer.read_exact(&mut buffer).unwrap();

    Peer::Natpmpc.unmap(setup.client(0), Protocol::Tcp, 4000).unwrap();
    for stream in [&mut outer, &mut inner] {
        // Idle ones may hear of it only when they next have something to say.
        let ends = || {
            let _ = stream.write_all(b"more");
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            match stream.read(&mut [0; 4]) {
                Ok(length) => length == 0,
                Err(error) => !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
            }
        };
        assert!(wait_until(SOON, ends), "{stream:?}");
    }
}

fn its_json_is_an_object_a_line_and_tells_what_happened(nat: Nat) {
    let Some(mut setup) = Peer::Natpmpc.setup_or_skip(nat, 1, &["--per-client", "2"]) else { return };
    let (client, address) = (setup.client(0).address().to_string(), setup.lab.external_address().to_string());
    let map = |protocol, internal, external, lifetime| {
        Peer::Natpmpc.map(setup.client(0), protocol, internal, external, lifetime)
    };
    map(Protocol::Udp, 4000, 5000, 600).unwrap();
    map(Protocol::Udp, 4000, 5000, 600).unwrap();
    map(Protocol::Tcp, 4001, 5001, 1).unwrap();
    assert_eq!(map(Protocol::Tcp, 4002, 5002, 600), Err(4));
    map(Protocol::Udp, 4000, 0, 0).unwrap();
    setup.serving().event_where(SOON, "unmapped", |event| event["protocol"] == "tcp");
    let finished = setup.stop();

    let events: Vec<Value> = finished
        .stdout
        .iter()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(events.iter().all(|event| event.is_object() && event["event"].is_string()), "{finished}");
    let reported = |protocol: &str, internal: u16| -> Vec<&str> {
        let of = events.iter().filter(|event| event["protocol"] == protocol && event["internal_port"] == internal);
        of.map(|event| event["event"].as_str().unwrap()).collect()
    };
    assert_eq!(reported("udp", 4000), ["mapped", "renewed", "unmapped"], "{finished}");
    assert_eq!(reported("tcp", 4001), ["mapped", "unmapped"], "{finished}");
    assert_eq!(reported("tcp", 4002), ["refused"], "{finished}");
    for event in events.iter().filter(|event| event["internal_port"].is_u64()) {
        assert_eq!(event["internal_address"], client, "{event}");
        if event["event"] == "refused" {
            assert!(event["error"].as_str().is_some_and(|error| error.contains("result 4")), "{event}");
        } else {
            assert_eq!(event["external_address"], address, "{event}");
            assert_eq!(event["external_port"].as_u64(), event["internal_port"].as_u64().map(|port| port + 1_000));
        }
    }
}
