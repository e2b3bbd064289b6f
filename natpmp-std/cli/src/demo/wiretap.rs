//! Sits between client and gateway, passes on what they send, and says what it means.

use std::io;
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use natpmp_proto::wire::{Request, Response};
use natpmp_std::AddressKind;

use super::Timeline;
use crate::lines::name;

/// Its address is where the client sends its requests.
pub(super) struct Wiretap {
    address: SocketAddrV4,
}

impl Wiretap {
    /// It runs until the program ends.
    pub(super) fn start(gateway: SocketAddrV4, timeline: Timeline) -> io::Result<Self> {
        let towards_client = Arc::new(UdpSocket::bind((*gateway.ip(), 0))?);
        let towards_gateway = Arc::new(UdpSocket::bind((*gateway.ip(), 0))?);
        let SocketAddr::V4(address) = towards_client.local_addr()? else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let client: Arc<Mutex<Option<SocketAddr>>> = Arc::default();

        let (inside, outside) = (Arc::clone(&towards_client), Arc::clone(&towards_gateway));
        let (asker, requests) = (Arc::clone(&client), timeline.clone());
        thread::spawn(move || {
            pass_on(&inside, |from, request| {
                *asker.lock().unwrap_or_else(PoisonError::into_inner) = Some(from);
                requests.says("client -> gateway", &describe_request(request));
                outside.send_to(request, gateway)
            });
        });
        thread::spawn(move || {
            pass_on(&towards_gateway, |_, response| {
                timeline.says("gateway -> client", &describe_response(response));
                let client = *client.lock().unwrap_or_else(PoisonError::into_inner);
                client.map_or(Ok(0), |client| towards_client.send_to(response, client))
            });
        });
        Ok(Self { address })
    }

    /// Where the client is to send its requests.
    pub(super) const fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

fn pass_on(socket: &UdpSocket, mut pass: impl FnMut(SocketAddr, &[u8]) -> io::Result<usize>) {
    let mut buffer = [0; 1_100];
    // Port unreachable shows as an error: then what was passed on is lost, as packets are.
    loop {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = pass(from, buffer.get(..length).unwrap_or_default());
        }
    }
}

fn describe_request(bytes: &[u8]) -> String {
    match Request::decode(bytes) {
        Ok(Request::ExternalAddress) => "what is the external address?".to_owned(),
        Ok(Request::Map { protocol, internal_port, lifetime: 0, .. }) => {
            format!("delete my mapping of {} port {internal_port}", name(protocol))
        }
        Ok(Request::Map { protocol, internal_port, suggested_external_port, lifetime }) => format!(
            "map {} port {suggested_external_port} to my port {internal_port} for {lifetime} s, please",
            name(protocol)
        ),
        Err(error) => format!("{bytes:02x?}: {error}"),
    }
}

fn describe_response(bytes: &[u8]) -> String {
    match Response::decode(bytes) {
        Ok(Response::ExternalAddress { epoch, address }) => {
            let kind = if AddressKind::of(address).is_reachable() { "" } else { ", which the internet cannot reach" };
            format!("it is {address}{kind} (up for {epoch} s)")
        }
        Ok(Response::Map { protocol, internal_port, lifetime: 0, epoch, .. }) => {
            format!("{} port {internal_port} is not mapped any more (up for {epoch} s)", name(protocol))
        }
        Ok(Response::Map { protocol, internal_port, external_port, lifetime, epoch }) => format!(
            "{} port {external_port} leads to your port {internal_port} for {lifetime} s (up for {epoch} s)",
            name(protocol)
        ),
        Ok(Response::Failure(failure)) => format!("no: {}", failure.refusal),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("{bytes:02x?}: {error}"),
    }
}
