//! What events tell of mappings, as a story that makes sense.

use std::collections::BTreeMap;

use natpmp_proto::Event;

use super::Key;

/// The external ports that were told as open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    open: BTreeMap<Key, u16>,
}

impl Story {
    /// Nothing is renewed or lost that is not open, nothing is opened twice.
    pub(crate) fn told(&mut self, event: &Event) {
        match *event {
            Event::Mapped(mapping) => {
                let before = self.open.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                assert_eq!(before, None, "opened twice: {mapping:?}");
                assert!(mapping.external_port != 0 && mapping.lifetime != 0, "{mapping:?}");
            }
            Event::Renewed(mapping) => {
                assert_eq!(self.port((mapping.protocol, mapping.internal_port)), Some(mapping.external_port));
            }
            Event::PortChanged { mapping, previous_port } => {
                let before = self.open.insert((mapping.protocol, mapping.internal_port), mapping.external_port);
                assert_eq!(before, Some(previous_port));
                assert_ne!(mapping.external_port, previous_port);
            }
            Event::Lost { protocol, internal_port, external_port, .. } => {
                assert_eq!(self.open.remove(&(protocol, internal_port)), Some(external_port));
            }
            Event::Ended { protocol, internal_port, .. } => {
                self.open.remove(&(protocol, internal_port));
            }
            _ => {}
        }
    }

    /// The port that was told as open.
    pub(crate) fn port(&self, key: Key) -> Option<u16> {
        self.open.get(&key).copied()
    }
}
