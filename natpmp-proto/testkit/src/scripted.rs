//! A gateway that answers as a test says, request by request.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use natpmp_proto::wire::{Request, Response};

/// A gateway on the loopback interface, which ends when it is dropped.
pub struct Scripted {
    address: SocketAddrV4,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// Serves on a port of the loopback interface; `answer` says what each request gets, and `None` is silence.
    ///
    /// # Panics
    /// If there is no socket to be had.
    pub fn start(mut answer: impl FnMut(Request) -> Option<Response> + Send + 'static) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("bound to an IPv4 address") };
        let is_over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut buffer = [0; 64];
            while !flag.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
                if let Some(response) = answer(Request::decode(&buffer[..length]).unwrap()) {
                    // Whoever asked may be gone.
                    let _ = socket.send_to(&response.encode(), from);
                }
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }

    /// Where it is asked.
    #[must_use]
    pub const fn address(&self) -> SocketAddrV4 {
        self.address
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The answer that grants a mapping as asked, on the internal port's number, or deletes it.
#[must_use]
pub fn granted(request: Request) -> Option<Response> {
    match request {
        Request::ExternalAddress => None,
        Request::Map { protocol, internal_port, lifetime, .. } => {
            let external_port = if lifetime == 0 { 0 } else { internal_port };
            Some(Response::Map { protocol, epoch: 1_000, internal_port, external_port, lifetime })
        }
    }
}
