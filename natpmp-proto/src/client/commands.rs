//! Commands about mappings, the gateway and the network. Those about deletions and the external address are with their subjects.

use core::net::SocketAddrV4;

use super::Client;
use super::event::{LossCause, MapError, RequestError};
use super::exchange::{Ask, Key};
use super::slot::Hold;
use crate::mapping::MapRequest;
use crate::random::Random;
use crate::time::Instant;
use crate::wire::Protocol;

/// Commands.
impl<const N: usize> Client<N> {
    /// Asks for a mapping once: it is not renewed, and its end is reported by [`Event::Ended`](super::Event::Ended).
    /// The answer comes as [`Event::Mapped`](super::Event::Mapped), or as `Event::Ended` with
    /// [`Ending::NotMapped`](super::Ending::NotMapped).
    ///
    /// A mapping of the same protocol and internal port is asked for again, on the port it has if it is open; one that
    /// is kept stays kept.
    ///
    /// # Errors
    /// [`MapError::TableFull`], and [`MapError::ZeroLifetime`] or [`MapError::ZeroRefreshInterval`] for such a request.
    pub fn map(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        self.want(now, request, Hold::Once)
    }

    /// Keeps a mapping: asks for it, renews it at half of the lifetime granted (section 3.3) or at its own interval, asks again after
    /// every failure with a growing pause, and recreates it when the gateway has lost it, until
    /// [`unmap`](Self::unmap) or [`unmap_all`](Self::unmap_all).
    ///
    /// A mapping of the same protocol and internal port is asked for again, on the port it has if it is open, and kept from now on.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn keep(&mut self, now: Instant, request: &MapRequest) -> Result<(), MapError> {
        self.want(now, request, Hold::Kept)
    }

    /// Renews a mapping now, or tries again now to make it. The answer comes as [`Event::Renewed`](super::Event::Renewed),
    /// [`PortChanged`](super::Event::PortChanged), [`Mapped`](super::Event::Mapped), [`Failed`](super::Event::Failed) or
    /// [`Ended`](super::Event::Ended).
    ///
    /// `false` if the machine does not hold it, or is deleting it: then nothing happens.
    pub fn refresh(&mut self, now: Instant, protocol: Protocol, internal_port: u16) -> bool {
        let key = Key { protocol, internal_port };
        let Some(slot) = self.slot_mut(key).filter(|slot| slot.is_wanted()) else {
            return false;
        };
        slot.ask_now(now);
        self.wake(now);
        true
    }

    /// Replaces the seed of the randomness that spreads clients in time (section 3.7). It is for a client in a `static`, whose
    /// [`Config`](super::Config) is the same in every device that runs the image: call it at start, before any other command,
    /// with what differs from device to device. That is the hardware's randomness where there is some, or else a serial number or
    /// MAC address. What the machine has planned already stays planned.
    pub fn set_seed(&mut self, seed: u64) {
        self.random = Random::new(seed);
    }

    /// Turns to another gateway, as [`Event::GatewayChanged`](super::Event::GatewayChanged) reports. The machine asks for what is kept there. What was open stays
    /// open at the old gateway until its lease ends there; a mapping held once ends here. The same gateway again is a
    /// [`network_changed`](Self::network_changed).
    pub fn set_gateway(&mut self, now: Instant, gateway: SocketAddrV4) {
        if gateway != self.gateway {
            self.gateway = gateway;
            self.gateway_report.add_change();
            self.in_flight = None;
            // How soon what is announced is believed again was the old gateway's.
            self.round_at = None;
            self.external.forget();
            for slot in &mut self.slots {
                slot.lost(now, LossCause::GatewayChanged);
                slot.is_unanswered = false;
                if !slot.is_wanted() {
                    slot.failed(RequestError::GatewayChanged);
                }
            }
            self.end_unmap_all(RequestError::GatewayChanged);
        }
        self.network_changed(now);
    }

    /// Takes that the link, the own address or the routing changed: forgets what was learned about the gateway's silence and
    /// epoch (section 3.1), renews all that is kept now, and begins the schedule of the request in flight anew.
    pub fn network_changed(&mut self, now: Instant) {
        self.epoch = None;
        self.silences = 0;
        self.quiet_until = Instant::ZERO;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_kept()) {
            slot.ask_now(now);
        }
        // Before all that is due: who learns of a mapping is to know the address.
        self.external.ask_at = Instant::ZERO;
        if let Some(exchange) = &mut self.in_flight {
            exchange.restart_on_hint(now, &self.schedule);
        }
    }
}

impl<const N: usize> Client<N> {
    /// Takes on what the caller wants, and asks for it at once.
    fn want(&mut self, now: Instant, request: &MapRequest, hold: Hold) -> Result<(), MapError> {
        if request.requested_lifetime() == 0 {
            return Err(MapError::ZeroLifetime);
        }
        if request.chosen_refresh_interval() == Some(0) {
            return Err(MapError::ZeroRefreshInterval);
        }
        let key = Key { protocol: request.protocol(), internal_port: request.internal_port() };
        if self.slot(key).is_none() {
            self.push(key, now)?;
        }
        let is_asked = self.in_flight.is_some_and(|exchange| exchange.ask == Ask::Map(key));
        if let Some(slot) = self.slot_mut(key) {
            slot.want(now, request, hold, is_asked);
        }
        self.drop_exchange(Ask::Unmap(key));
        self.wake(now);
        Ok(())
    }

    /// Ends a pause and cuts a long wait to the first wait of the schedule, because the caller wants something.
    #[inline(never)] // many call it, and firmware has more time than flash
    pub(super) fn wake(&mut self, now: Instant) {
        self.quiet_until = Instant::ZERO;
        if let Some(exchange) = &mut self.in_flight {
            exchange.restart_on_hint(now, &self.schedule);
        }
    }
}
