//! A client under the eyes of its witness.

use std::net::SocketAddrV4;
use std::ops::Deref;

use natpmp_proto::client::{MapError, Received, RequestError};
use natpmp_proto::{Client, Discard, Event, Instant, MapRequest, Output, Protocol, Transmit};

use super::{Rules, Witness};

/// A client that is driven as any other, and whose every step is judged. Getters are the client's own.
///
/// All of its methods panic where the client does what a correct one does not.
#[derive(Clone, Debug)]
pub struct Watched<const N: usize> {
    client: Client<N>,
    witness: Witness,
}

/// What a client did at one moment.
#[derive(Clone, Debug, Default)]
pub struct Drained {
    /// What is to be sent.
    pub transmits: Vec<Transmit>,
    /// Its events.
    pub events: Vec<Event>,
    /// Until when it waits.
    pub deadline: Option<Instant>,
}

/// Commands, as the client's.
impl<const N: usize> Watched<N> {
    /// A client that wants nothing yet.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { client: Client::new(rules.config()), witness: Witness::new(rules, N) }
    }

    /// [`Client::map`]
    ///
    /// # Errors
    /// As the client's.
    pub fn map(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        let result = self.client.map(now, request);
        assert_eq!(result, self.witness.want(now, request, false));
        result
    }

    /// [`Client::keep`]
    ///
    /// # Errors
    /// As the client's.
    pub fn keep(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        let result = self.client.keep(now, request);
        assert_eq!(result, self.witness.want(now, request, true));
        result
    }

    /// [`Client::unmap`]
    ///
    /// # Errors
    /// As the client's.
    pub fn unmap(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> Result<(), MapError> {
        let result = self.client.unmap(now, protocol, internal_port);
        assert_eq!(result, self.witness.unmap(now, (protocol, internal_port)));
        result
    }

    /// [`Client::unmap_all`]
    pub fn unmap_all(&mut self, now: Instant, protocol: Protocol) {
        self.client.unmap_all(now, protocol);
        self.witness.unmap_all(now, protocol);
    }

    /// [`Client::clear`]
    pub fn clear(&mut self, now: Instant) {
        self.client.clear(now);
        self.witness.clear(now);
    }

    /// [`Client::refresh`]
    pub fn refresh(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> bool {
        let is_held = self.client.refresh(now, protocol, internal_port);
        assert_eq!(is_held, self.witness.refresh(now, (protocol, internal_port)));
        is_held
    }

    /// [`Client::request_external_address`]
    pub fn request_external_address(&mut self, now: Instant) {
        self.client.request_external_address(now);
        self.witness.ask_address(now);
    }

    /// [`Client::watch_external_address`]
    pub fn watch_external_address(&mut self, now: Instant, is_watched: bool) {
        self.client.watch_external_address(now, is_watched);
        self.witness.watch(now, is_watched);
    }

    /// [`Client::hasten_deletions`]
    pub fn hasten_deletions(&mut self, now: Instant) {
        self.client.hasten_deletions(now);
        self.witness.hasten(now);
    }

    /// [`Client::set_gateway`]
    pub fn set_gateway(&mut self, now: Instant, gateway: SocketAddrV4) {
        self.client.set_gateway(now, gateway);
        self.witness.move_to(now, gateway);
    }

    /// [`Client::network_changed`]
    pub fn network_changed(&mut self, now: Instant) {
        self.client.network_changed(now);
        self.witness.network_changed(now);
    }
}

/// Inputs, as the client's, and outputs.
impl<const N: usize> Watched<N> {
    /// [`Client::handle_datagram`]
    ///
    /// # Errors
    /// As the client's.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Received, Discard> {
        let before = self.client.poll_timeout();
        let received = self.client.handle_datagram(now, from, bytes);
        self.judge(now, from, bytes, false, before, received)
    }

    /// [`Client::handle_announcement`]
    ///
    /// # Errors
    /// As the client's.
    pub fn handle_announcement(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8]) -> Result<Received, Discard> {
        let before = self.client.poll_timeout();
        let received = self.client.handle_announcement(now, from, bytes);
        self.judge(now, from, bytes, true, before, received)
    }

    /// [`Client::handle_unreachable`]
    pub fn handle_unreachable(&mut self, now: Instant) {
        self.client.handle_unreachable(now);
        self.witness.unreachable(now, RequestError::PortUnreachable);
    }

    /// [`Client::handle_network_down`]
    pub fn handle_network_down(&mut self, now: Instant) {
        self.client.handle_network_down(now);
        self.witness.unreachable(now, RequestError::NetworkDown);
    }

    /// Polls until there is nothing left to do at `now`.
    pub fn drain(&mut self, now: Instant) -> Drained {
        let mut drained = Drained::default();
        for _ in 0..LONGEST_DRAIN + 4 * N {
            match self.poll(now) {
                Output::Transmit(transmit) => drained.transmits.push(transmit),
                Output::Event(event) => drained.events.push(event),
                Output::Wait(deadline) => {
                    drained.deadline = deadline;
                    return drained;
                }
            }
        }
        panic!("the client never became quiet at {now:?}: {:?}", self.client)
    }

    fn poll(&mut self, now: Instant) -> Output {
        let output = self.client.poll(now);
        self.witness.pass(now);
        match &output {
            Output::Transmit(transmit) => self.witness.check_transmit(now, transmit),
            Output::Event(event) => self.witness.check_event(event),
            Output::Wait(deadline) => {
                assert_eq!(*deadline, self.client.poll_timeout(), "two answers to one question");
                self.witness.check_wait(now, *deadline);
            }
        }
        output
    }

    fn judge(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        bytes: &[u8],
        is_announcement: bool,
        before: Option<Instant>,
        received: Result<Received, Discard>,
    ) -> Result<Received, Discard> {
        let is_unmoved = before == self.client.poll_timeout();
        assert!(is_unmoved || received.is_ok(), "a discarded datagram ({received:?}) changed a wait");
        self.witness.check_datagram(now, from, bytes, is_announcement, &received);
        received
    }
}

impl<const N: usize> Deref for Watched<N> {
    type Target = Client<N>;

    fn deref(&self) -> &Client<N> {
        &self.client
    }
}

const LONGEST_DRAIN: usize = 64;
