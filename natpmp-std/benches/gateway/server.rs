//! What a process does that is measured: until its standard input ends.

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use natpmp_std::server::nat::{Nat, Nftables, Verdict};
use natpmp_std::server::{Config, External, Internal, NatFailure, NatRequest, Server};

use super::{echo, process};

/// `ROLE [ADDRESS] [STATE FILE]`, on the first processor.
pub(crate) fn serve(role: &str, arguments: &[&str]) {
    process::pin(None, 0);
    let local = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
    let address = arguments.first().map_or(local, |address| address.parse().unwrap());
    let file = arguments.get(1).map(Path::new);
    let batches = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&batches);
    let _server = match role {
        "echo" => return until_the_end_beside(move || echo::one_by_one(address)),
        "echo-many" => return until_the_end_beside(move || echo::many_at_once(address)),
        "yes" => gateway(address, External::Address(EXTERNAL), Counted(Yes, counter), file),
        "nftables" => {
            let nat = Nftables::start(Some("wan0"), &["lan0"]).unwrap();
            gateway(address, External::Interface("wan0".into()), Counted(nat, counter), file)
        }
        _ => panic!("{role}"),
    };
    for _ in io::stdin().lock().lines() {
        println!("{}", batches.load(Ordering::Relaxed));
    }
}

fn gateway(address: SocketAddrV4, external: External, nat: impl Nat + 'static, file: Option<&Path>) -> Server {
    // One client stands for all: what it may have is not what is measured.
    let config = Config::new().per_client(u16::MAX);
    let mut builder = Server::builder(|_| Ok(nat))
        .internal(Internal::Address(*address.ip()))
        .external(external)
        .port(address.port())
        .config(config)
        .requests_per_second(None);
    if address.ip().is_loopback() {
        builder = builder.announce_to(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
    }
    if let Some(file) = file {
        builder = builder.state_file(file);
    }
    let server = builder.build().unwrap();
    println!("{}", server.addresses()[0]);
    server
}

fn until_the_end_beside(work: impl FnOnce() + Send + 'static) {
    thread::spawn(work);
    let _ = io::stdin().lock().lines().last();
}

/// Counts how often it is asked.
struct Counted<N>(N, Arc<AtomicU64>);

impl<N: Nat> Nat for Counted<N> {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        self.1.fetch_add(u64::from(!requests.is_empty()), Ordering::Relaxed);
        self.0.apply(requests)
    }

    fn settle(&mut self) {
        self.0.settle();
    }

    fn set_external_address(&mut self, address: Option<Ipv4Addr>) {
        self.0.set_external_address(address);
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        self.0.changes()
    }

    fn verify(&mut self) -> Verdict {
        self.0.verify()
    }

    fn end(&mut self) {
        self.0.end();
    }
}

/// A NAT that has nothing to do.
struct Yes;

impl Nat for Yes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        vec![Ok(()); requests.len()]
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {}
}

const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
