//! A host with one client, and the record of what it did.

use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::wire::Request;
use natpmp_proto::{Discard, Event, Instant};

use crate::Random;
use crate::model::witness::{Rules, Watched};

/// A request that a client sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// When.
    pub at: Instant,
    /// What.
    pub request: Request,
    /// How often it was sent before.
    pub resends: u8,
}

/// An event, and when a client reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedEvent {
    /// When.
    pub at: Instant,
    /// What.
    pub event: Event,
}

/// When a host polls its client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Punctuality {
    /// At the deadline.
    #[default]
    Exact,
    /// Sometimes just before it and again after, at it, just after it, or far after it.
    Drawn,
}

#[derive(Debug)]
pub(super) struct Host<const N: usize> {
    pub(super) address: SocketAddrV4,
    pub(super) client: Watched<N>,
    /// It has a socket for announcements, and so tells them from answers.
    pub(super) has_announcement_socket: bool,
    pub(super) punctuality: Punctuality,
    /// When the client is polled next.
    pub(super) wake_at: Option<Instant>,
    pub(super) sent: Vec<Sent>,
    pub(super) events: Vec<TimedEvent>,
    pub(super) discarded: Vec<Discard>,
    pub(super) unread: VecDeque<TimedEvent>,
}

impl<const N: usize> Host<N> {
    pub(super) fn new(address: SocketAddrV4, rules: Rules) -> Self {
        Self {
            address,
            client: Watched::new(rules),
            has_announcement_socket: true,
            punctuality: Punctuality::Exact,
            wake_at: None,
            sent: Vec::new(),
            events: Vec::new(),
            discarded: Vec::new(),
            unread: VecDeque::new(),
        }
    }

    pub(super) fn receive(&mut self, now: Instant, from: SocketAddrV4, bytes: &[u8], is_announcement: bool) {
        let result = if is_announcement && self.has_announcement_socket {
            self.client.handle_announcement(now, from, bytes)
        } else {
            self.client.handle_datagram(now, from, bytes)
        };
        self.discarded.extend(result.err());
    }

    /// Polls until there is nothing left to do at `now`, and returns what is to be sent.
    pub(super) fn drain(&mut self, now: Instant, random: &mut Random) -> Vec<(SocketAddrV4, Vec<u8>)> {
        let drained = self.client.drain(now);
        for event in drained.events {
            self.events.push(TimedEvent { at: now, event });
            self.unread.push_back(TimedEvent { at: now, event });
        }
        self.wake_at = drained.deadline.map(|deadline| self.punctuality.wake(now, deadline, random));
        let mut datagrams = Vec::new();
        for transmit in drained.transmits {
            let request = Request::decode(&transmit.payload).expect("clients send requests");
            self.sent.push(Sent { at: now, request, resends: transmit.resends() });
            datagrams.push((transmit.to, transmit.payload.to_vec()));
        }
        datagrams
    }
}

impl Punctuality {
    /// When a client is polled that waits for `deadline`.
    pub(crate) fn wake(self, now: Instant, deadline: Instant, random: &mut Random) -> Instant {
        if self == Self::Exact {
            return deadline;
        }
        let just_before = Instant::from_micros(deadline.as_micros() - 1);
        match random.below(16) {
            0..=4 if now < just_before => just_before,
            0..=8 => deadline,
            9..=12 => deadline + Duration::from_micros(1),
            13..=14 => deadline + random.between(Duration::ZERO, Duration::from_secs(3)),
            _ => deadline + random.between(Duration::ZERO, Duration::from_secs(3_600)),
        }
    }
}
