//! The events of the client: what there is to report, once, and nothing else.

use natpmp_proto::client::{Ending, LossCause};
use natpmp_proto::{Event, Instant};

use super::state::{All, Life, PendingEvents};
use super::{Key, Witness};

impl Witness {
    pub(super) fn check_event(&mut self, event: &Event) {
        match *event {
            Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. } => {
                self.check_open((mapping.protocol, mapping.internal_port), event);
            }
            Event::Failed { protocol, internal_port, retry_at, .. } => {
                self.check_failed((protocol, internal_port), event, retry_at);
            }
            Event::Lost { protocol, internal_port, external_port, cause } => {
                self.check_lost((protocol, internal_port), external_port, cause);
            }
            Event::Ended { protocol, internal_port, external_port, ending } => {
                self.check_ended((protocol, internal_port), external_port, ending);
            }
            Event::UnmappedAll { protocol, result } => {
                assert_eq!(self.all.remove(&protocol), Some(All::Done(result)), "{event:?}");
            }
            Event::ExternalAddress(answer) => {
                if let Some(rumour) = self.external.rumour.take() {
                    self.external.learn(rumour);
                }
                assert_eq!(self.external.pending.take(), Some(answer), "{event:?}");
            }
            Event::GatewayRestarted => assert!(std::mem::take(&mut self.has_restarted), "C18: it did not"),
            Event::GatewayChanged(gateway) => {
                assert!(std::mem::take(&mut self.has_moved) && gateway == self.gateway, "{event:?}");
            }
            _ => panic!("{event:?} is not known here"),
        }
    }

    /// C24
    fn check_open(&mut self, key: Key, event: &Event) {
        let known = self.mappings.get_mut(&key).unwrap_or_else(|| panic!("{event:?}, and nobody wanted it"));
        let Life::Open { lifetime, .. } = known.life else { panic!("{event:?}, and it is {:?}", known.life) };
        assert!(std::mem::take(&mut known.pending.granted), "{event:?} without a grant, or twice");
        let (mapping, is_right) = match *event {
            Event::Mapped(mapping) => (mapping, known.reported_port.is_none()),
            Event::Renewed(mapping) => (mapping, known.reported_port == Some(known.port)),
            Event::PortChanged { mapping, previous_port } => {
                (mapping, known.reported_port == Some(previous_port) && previous_port != known.port)
            }
            _ => unreachable!("it opens"),
        };
        assert!(is_right, "{event:?}, and reported was {:?}", known.reported_port);
        assert_eq!((mapping.external_port, mapping.lifetime), (known.port, lifetime), "{event:?}");
        assert!(mapping.external_port != 0 && mapping.lifetime != 0, "C26: {event:?}");
        known.reported_port = Some(known.port);
    }

    /// C25
    fn check_failed(&mut self, key: Key, event: &Event, retry_at: Option<Instant>) {
        let Event::Failed { error, .. } = *event else { return };
        let known = self.mappings.get_mut(&key).unwrap_or_else(|| panic!("{event:?}, and nobody wanted it"));
        let failed = known.pending.failed.take().map(|(error, _)| error);
        assert_eq!(failed, Some(error), "{event:?}: {known:?}");
        let window = known.due().map(|due| due.or_later(self.quiet));
        let is_right = match (retry_at, window) {
            (Some(at), Some(window)) => window.has(at),
            (None, None) => true,
            _ => false,
        };
        assert!(is_right, "{event:?}, and it is due in {window:?}");
        assert!(retry_at.is_some() || !known.is_kept, "C25: {event:?} of what is kept");
    }

    fn check_lost(&mut self, key: Key, port: u16, cause: LossCause) {
        let known = self.mappings.get_mut(&key).expect("it is wanted");
        let Life::Closed { cause: expected, .. } = known.life else { panic!("lost, and {:?}", known.life) };
        assert_eq!((known.reported_port.take(), cause), (Some(port), expected), "{key:?} is lost");
    }

    fn check_ended(&mut self, key: Key, port: u16, ending: Ending) {
        let known = self.mappings.remove(&key).expect("it was wanted, or to be deleted");
        assert_eq!(known.life, Life::Ended(ending), "{key:?} ended");
        assert_eq!(port, if known.was_assigned { known.port } else { 0 }, "{key:?} ended");
    }

    /// Nothing is left to be reported.
    pub(super) fn check_all_reported(&mut self) {
        for (key, mapping) in &mut self.mappings {
            let is_reported = match mapping.life {
                Life::Ended(_) => false,
                Life::Closed { .. } => mapping.reported_port.is_none(),
                Life::Open { .. } => !mapping.pending.granted,
                Life::Closing { .. } => true,
            };
            let has_failed = mapping.pending.failed.is_some_and(|(_, is_certain)| is_certain);
            assert!(is_reported && !has_failed, "{key:?} is not reported: {mapping:?}");
            // What was not certain did not happen.
            mapping.pending = PendingEvents::default();
        }
        self.external.rumour = None;
        let is_all_reported = !self.has_restarted && !self.has_moved && self.external.pending.is_none();
        let is_deletion_reported = self.all.values().all(|all| all.is_wanted());
        assert!(is_all_reported && is_deletion_reported, "there is something to report: {self:?}");
    }
}
