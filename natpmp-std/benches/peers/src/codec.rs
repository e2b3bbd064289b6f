//! Answers read from memory: no network, no system call.
//!
//! No peer has a parser that can be called by itself. `natpmp` can be given a socket of one's own: an exchange through one
//! that has the answer already is compared with an exchange of the machine of `natpmp-proto`. Those of `crab_nat` and
//! `libnatpmp` run with their sockets only: see the calls.

use std::future::Future;
use std::hint::black_box;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use natpmp::{AsyncUdpSocket, NatpmpAsync, new_natpmp_async_with};
use natpmp_proto::wire::Response;
use natpmp_proto::{Client, Config, MapRequest, Output, Protocol};

use crate::Scale;
use crate::peers::Peers;
use crate::report::{Cell, Report, Table, median};

/// What is done in memory; the names are also those for [`run`].
pub const DECODER: &str = "natpmp-proto, `Response::decode`";
pub const MACHINE: &str = "natpmp-proto, an exchange of `Client`";
pub const NATPMP: &str = "natpmp, an exchange of `NatpmpAsync`";

pub fn measure(scale: &Scale, _: &Peers, report: &mut Report) {
    let count = if scale.is_quick { 10_000 } else { 2_000_000 };
    let mut table = Table::new(
        "Reading an answer, in memory",
        &["external address", "mapping"],
        "Wall time for one; the median of several runs. An exchange makes the request and takes the answer. No peer's parser can be \
         called by itself: `natpmp` can at least be given a socket of one's own, and boxes its futures; the others can only \
         be measured with their sockets, below.",
    );
    for name in [MACHINE, DECODER, NATPMP] {
        let cell = |answer: &[u8]| {
            let times = (0..scale.repeats).map(|_| exchange(name, answer, count)).collect();
            let cell = Cell::seconds(median(times).expect("there are some").as_secs_f64() / count as f64);
            // A part of the exchange, that no peer has by itself.
            if name == DECODER { Cell::text(cell.to_string()) } else { cell }
        };
        table.row(name, vec![cell(&ADDRESS), cell(&MAPPING)]);
    }
    report.add(table);
}

/// Does it so often, for those who count instructions.
pub fn run(name: &str, count: usize) {
    black_box(exchange(name, &MAPPING, count));
}

fn exchange(name: &str, answer: &[u8], count: usize) -> Duration {
    let begun = Instant::now();
    match name {
        DECODER => (0..count).for_each(|_| {
            black_box(Response::decode(black_box(answer)).expect("an answer"));
        }),
        MACHINE => by_machine(answer, count),
        NATPMP => by_natpmp(answer, count),
        _ => panic!("not done in memory: {name}"),
    }
    begun.elapsed()
}

fn by_machine(answer: &[u8], count: usize) {
    let gateway = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5351);
    let mut client: Client = Client::new(Config::for_gateway(gateway));
    let now = natpmp_proto::Instant::from_secs(1);
    let is_mapping = answer.len() == MAPPING.len();
    let request = MapRequest::new(Protocol::Udp, 4_000);
    for _ in 0..count {
        if is_mapping {
            client.map(now, &request).expect("there is room");
        } else {
            client.request_external_address(now);
        }
        assert!(matches!(black_box(client.poll(now)), Output::Transmit(_)));
        client.handle_datagram(now, gateway, black_box(answer)).expect("it is the answer");
        assert!(matches!(black_box(client.poll(now)), Output::Event(_)));
    }
}

fn by_natpmp(answer: &[u8], count: usize) {
    let is_mapping = answer.len() == MAPPING.len();
    let socket = Memory { answer: answer.to_vec() };
    let mut client: NatpmpAsync<Memory> = new_natpmp_async_with(socket, Ipv4Addr::LOCALHOST);
    for _ in 0..count {
        at_once(async {
            if is_mapping {
                client.send_port_mapping_request(natpmp::Protocol::UDP, 4_000, 0, 7_200).await.expect("it is sent");
            } else {
                client.send_public_address_request().await.expect("it is sent");
            }
            black_box(client.read_response_or_retry().await.expect("an answer"));
        });
    }
}

/// A socket that has the answer before it is asked.
struct Memory {
    answer: Vec<u8>,
}

#[async_trait::async_trait]
impl AsyncUdpSocket for Memory {
    async fn connect(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    async fn send(&self, buffer: &[u8]) -> io::Result<usize> {
        Ok(black_box(buffer).len())
    }

    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer[..self.answer.len()].copy_from_slice(&self.answer);
        Ok(self.answer.len())
    }
}

fn at_once(work: impl Future<Output = ()>) {
    let Poll::Ready(()) = pin!(work).poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("nothing is waited for")
    };
}

const ADDRESS: [u8; 12] = [0, 128, 0, 0, 0, 0, 0, 9, 11, 22, 33, 44];
const MAPPING: [u8; 16] = [0, 129, 0, 0, 0, 0, 0, 9, 0x0f, 0xa0, 0x0f, 0xa0, 0, 0, 0x1c, 0x20];
