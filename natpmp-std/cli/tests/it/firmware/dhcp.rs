//! A DHCP server of a few lines (RFC 2131), which gives one address, and does what a test wants of it.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use natpmp_lab::Host;
use socket2::{Domain, Socket, Type};

/// A running server; ended when dropped.
pub(crate) struct Dhcp {
    offer: Arc<Mutex<Offer>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What it gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) address: Ipv4Addr,
    pub(crate) router: Ipv4Addr,
    /// In seconds.
    pub(crate) lease: u32,
    pub(crate) is_silent: bool,
}

impl Dhcp {
    /// Serves the LAN of this router.
    pub(crate) fn start(router: &Host, offer: Offer) -> Self {
        let server = router.address();
        let socket: UdpSocket = router.within(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.bind_device(Some(b"lan0")).unwrap();
            socket.set_broadcast(true).unwrap();
            socket.bind(&SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 67).into()).unwrap();
            socket.into()
        });
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (offer, stop) = (Arc::new(Mutex::new(offer)), Arc::new(AtomicBool::new(false)));
        let (offered, stopped) = (Arc::clone(&offer), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 1_500];
            while !stopped.load(Ordering::Relaxed) {
                let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                let offer = *offered.lock().unwrap();
                if let Some(reply) = reply(&buffer[..length], server, offer).filter(|_| !offer.is_silent) {
                    socket.send_to(&reply, (Ipv4Addr::BROADCAST, 68)).unwrap();
                }
            }
        });
        Self { offer, stop, thread: Some(thread) }
    }

    /// Has it give something else from now on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Offer)) {
        change(&mut self.offer.lock().unwrap());
    }
}

impl Drop for Dhcp {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The answer to a DISCOVER is an OFFER, to a REQUEST an ACK; all else is not answered.
fn reply(request: &[u8], server: Ipv4Addr, offer: Offer) -> Option<Vec<u8>> {
    let kind = match option(request.get(OPTIONS..)?, MESSAGE_TYPE)? {
        [1] => 2,
        [3] => 5,
        _ => return None,
    };
    let mut reply = request[..OPTIONS].to_vec();
    reply[0] = 2;
    reply[16..20].copy_from_slice(&offer.address.octets());
    reply[20..24].copy_from_slice(&server.octets());
    let mut add = |code: u8, value: &[u8]| {
        reply.extend([code, u8::try_from(value.len()).unwrap()]);
        reply.extend(value);
    };
    add(MESSAGE_TYPE, &[kind]);
    add(54, &server.octets());
    add(51, &offer.lease.to_be_bytes());
    add(1, &[255, 255, 255, 0]);
    add(3, &offer.router.octets());
    reply.push(255);
    Some(reply)
}

fn option(mut options: &[u8], wanted: u8) -> Option<&[u8]> {
    while let [code, length, rest @ ..] = options {
        let (value, rest) = rest.split_at_checked(usize::from(*length))?;
        if *code == wanted {
            return Some(value);
        }
        options = rest;
    }
    None
}

/// After the fixed fields and the magic cookie.
const OPTIONS: usize = 240;
const MESSAGE_TYPE: u8 = 53;
