//! What the caller wants.

use std::net::SocketAddrV4;

use natpmp_proto::client::{LossCause, MapError, RequestError};
use natpmp_proto::{Instant, MapRequest, Protocol};

use super::rules::Window;
use super::state::{All, Mapping};
use super::{Ask, Key, Witness};

impl Witness {
    pub(super) fn want(&mut self, now: Instant, request: &MapRequest, keep: bool) -> Result<(), MapError> {
        if request.requested_lifetime() == 0 {
            return Err(MapError::ZeroLifetime);
        }
        if request.chosen_refresh_interval() == Some(0) {
            return Err(MapError::ZeroRefreshInterval);
        }
        let key = (request.protocol(), request.internal_port());
        self.has_room(key)?;
        let is_asked = self.flight.as_ref().is_some_and(|flight| flight.ask == Ask::Map(key));
        let mapping = self.mappings.entry(key).or_insert_with(|| Mapping::new(now, key));
        mapping.want(now, request, keep, is_asked);
        self.withdraw(|flight| flight.ask == Ask::Delete(key));
        self.end_pause(now);
        Ok(())
    }

    pub(super) fn unmap(&mut self, now: Instant, key: Key) -> Result<(), MapError> {
        self.has_room(key)?;
        let is_known = self.mappings.contains_key(&key);
        let mapping = self.mappings.entry(key).or_insert_with(|| Mapping::new(now, key));
        // What is not known here may be from an earlier life.
        mapping.is_unanswered |= !is_known;
        mapping.delete(now, false);
        self.withdraw(|flight| flight.ask == Ask::Map(key));
        self.preempt_for_deletion();
        self.end_pause(now);
        Ok(())
    }

    pub(super) fn unmap_all(&mut self, now: Instant, protocol: Protocol) {
        for mapping in self.mappings.values_mut().filter(|mapping| mapping.key.0 == protocol) {
            mapping.delete(now, true);
        }
        self.withdraw(|flight| flight.ask.key().is_some_and(|key| key.0 == protocol));
        self.all.insert(protocol, All::Wanted);
        self.preempt_for_deletion();
        self.end_pause(now);
    }

    /// C22
    pub(super) fn clear(&mut self, now: Instant) {
        self.all = Protocol::ALL.into_iter().map(|protocol| (protocol, All::Clearing)).collect();
        self.preempt_for_deletion();
        self.end_pause(now);
    }

    pub(super) fn refresh(&mut self, now: Instant, key: Key) -> bool {
        let Some(mapping) = self.mappings.get_mut(&key).filter(|mapping| mapping.is_wanted()) else { return false };
        mapping.ask_now(now);
        self.end_pause(now);
        true
    }

    pub(super) fn ask_address(&mut self, now: Instant) {
        self.external.is_asked = true;
        self.end_pause(now);
    }

    pub(super) fn watch(&mut self, now: Instant, is_watched: bool) {
        let was_due = if self.external.is_watched { self.external.ask_at } else { Window::at(now) };
        self.external.is_watched = is_watched;
        self.external.ask_at = was_due.or_earlier(Window::at(now));
        if is_watched {
            self.external.is_first = true;
            self.end_pause(now);
        }
    }

    pub(super) fn hasten(&mut self, now: Instant) {
        self.mappings.values_mut().for_each(|mapping| mapping.is_last_try = true);
        self.all.values_mut().for_each(All::hasten);
        self.flight = None;
        self.end_pause(now);
    }

    /// C05
    pub(super) fn move_to(&mut self, now: Instant, gateway: SocketAddrV4) {
        if gateway != self.gateway {
            self.gateway = gateway;
            self.has_moved = true;
            self.flight = None;
            self.round = None;
            self.external.known = None;
            self.external.is_asked |= self.external.pending.take().is_some();
            for mapping in self.mappings.values_mut() {
                mapping.lost(Window::at(now), LossCause::GatewayChanged);
                mapping.is_unanswered = false;
                if !mapping.is_wanted() {
                    mapping.failed(RequestError::GatewayChanged, true);
                }
            }
            self.all.values_mut().for_each(|all| all.end(Err(RequestError::GatewayChanged)));
        }
        self.network_changed(now);
    }

    /// C05
    pub(super) fn network_changed(&mut self, now: Instant) {
        (self.epoch, self.silences, self.quiet) = (None, 0, Window::ALWAYS);
        for mapping in self.mappings.values_mut().filter(|mapping| mapping.is_kept()) {
            mapping.ask_now(now);
        }
        self.external.ask_at = Window::ALWAYS;
        self.hurry(now);
    }

    fn has_room(&self, key: Key) -> Result<(), MapError> {
        let is_full = !self.mappings.contains_key(&key) && self.mappings.len() >= self.capacity;
        if is_full { Err(MapError::TableFull { capacity: self.capacity }) } else { Ok(()) }
    }
}
