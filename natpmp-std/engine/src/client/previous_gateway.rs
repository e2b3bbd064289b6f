use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::Duration;

use log::debug;
use natpmp_proto::client::{Client as Machine, Config, Ending, Event, RequestError};
use natpmp_proto::{Instant, Protocol, Schedule};

use super::state::CLIENT_CAPACITY;
use crate::DatagramSocket;

/// Deletes, at the gateway that was asked before, what is kept at another one by now. It gives up at the first deletion that is not
/// answered.
pub(crate) struct PreviousGateway<S> {
    machine: Box<Machine<CLIENT_CAPACITY>>,
    pub(crate) socket: S,
    is_over: bool,
}

impl<S: DatagramSocket> PreviousGateway<S> {
    pub(crate) fn new(now: Instant, gateway: SocketAddrV4, mappings: &[(Protocol, u16)], socket: S) -> Self {
        let mut machine = Box::new(Machine::new(Config::for_gateway(gateway).schedule(TWICE)));
        for &(protocol, port) in mappings {
            // There are no more than the machine can hold.
            let _ = machine.unmap(now, protocol, port);
        }
        Self { machine, socket, is_over: false }
    }

    /// The gateway that is asked for the deletions.
    pub(crate) fn address(&self) -> SocketAddrV4 {
        self.machine.gateway()
    }

    /// Does what is to be done now. Returns when there is more to do; `None` at the end.
    pub(crate) fn drain(&mut self, now: Instant) -> Option<Instant> {
        self.machine.handle_timeout(now);
        // A failure is noticed before the next deletion is sent.
        while let Some(event) = self.machine.poll_event() {
            // A refusal is of one mapping only.
            self.is_over |= matches!(
                event,
                Event::Ended {
                    ending: Ending::NotUnmapped(
                        RequestError::NoAnswer | RequestError::PortUnreachable | RequestError::NetworkDown
                    ),
                    ..
                }
            );
        }
        if self.is_over {
            return None;
        }
        if let Some(transmit) = self.machine.poll_transmit(now) {
            debug!("to the previous gateway {}: {:?}", transmit.to, transmit.payload);
            if self.socket.send(&transmit.payload).is_err() {
                return None;
            }
        }
        self.machine.poll_timeout().filter(|_| self.machine.mappings().next().is_some())
    }

    /// Reads what the gateway answers. `true` if there may be more.
    pub(crate) fn receive(&mut self, now: Instant) -> bool {
        let mut buffer = [0; LONGEST_DATAGRAM];
        match self.socket.receive(&mut buffer) {
            Ok((length, SocketAddr::V4(from))) => {
                let datagram = buffer.get(..length).unwrap_or_default();
                let result = self.machine.handle_datagram(now, from, datagram);
                debug!("from the previous gateway {from}: {result:?}");
                true
            }
            Ok(_) => true,
            Err(error) => {
                let is_interrupted = error.kind() == io::ErrorKind::Interrupted;
                self.is_over |= !is_interrupted && error.kind() != io::ErrorKind::WouldBlock;
                is_interrupted
            }
        }
    }
}

const LONGEST_DATAGRAM: usize = 64;
/// Each deletion is sent twice within 750 ms.
const TWICE: Schedule =
    Schedule::custom(Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(750));
