use natpmp_proto::Protocol;
use natpmp_proto::client::Event;

/// Which handle owns which kept mapping, and which mappings nobody knows of.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    owners: Vec<(Protocol, u16, u64)>,
    last: u64,
    /// Asked for by calls that have not heard of them yet, and may be given up before they do.
    unheard: Vec<(Protocol, u16)>,
}

impl Owners {
    pub(crate) fn owner(&self, protocol: Protocol, port: u16) -> Option<u64> {
        self.owners.iter().find(|owner| (owner.0, owner.1) == (protocol, port)).map(|owner| owner.2)
    }

    pub(crate) fn add(&mut self, protocol: Protocol, port: u16) -> u64 {
        self.last = self.last.saturating_add(1);
        self.owners.push((protocol, port, self.last));
        self.last
    }

    /// `false` if it is owned by another handle, or by none.
    pub(crate) fn remove(&mut self, protocol: Protocol, port: u16, owner: u64) -> bool {
        let before = self.owners.len();
        self.owners.retain(|&entry| entry != (protocol, port, owner));
        self.owners.len() < before
    }

    /// A call asks for this mapping, which nobody holds.
    pub(crate) fn add_unheard(&mut self, protocol: Protocol, port: u16) {
        self.hear(protocol, port);
        self.unheard.push((protocol, port));
    }

    /// Somebody knows of this mapping now.
    pub(crate) fn hear(&mut self, protocol: Protocol, port: u16) {
        self.unheard.retain(|&unheard| unheard != (protocol, port));
    }

    /// When nobody can hear any more: the mappings that nobody knows of.
    pub(crate) fn take_unheard(&mut self) -> Vec<(Protocol, u16)> {
        std::mem::take(&mut self.unheard)
    }

    /// A mapping that is over has no owner.
    pub(crate) fn tell(&mut self, event: &Event) {
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.owners.retain(|owner| (owner.0, owner.1) != (protocol, internal_port));
            self.hear(protocol, internal_port);
        }
    }
}
