//! Callbacks of kept mappings. They are run by a [`Runner`], without any lock: they may call the client.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use log::warn;
use natpmp_proto::client::Event;
use natpmp_proto::{AddressKind, Mapping, Protocol};

/// How a kept mapping can be reached now: what a callback is told when that changed, the first time too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Of the mapping.
    pub protocol: Protocol,
    /// Of the mapping.
    pub internal_port: u16,
    /// The mapping as it is open now; `None` if it was lost, and is asked for again.
    pub mapping: Option<Mapping>,
    /// The gateway's external address; `None` if it is not known.
    pub external_address: Option<Ipv4Addr>,
}

impl Change {
    /// Whether the internet can reach the external address; `None` if that is not known.
    #[must_use]
    pub fn address_kind(&self) -> Option<AddressKind> {
        self.external_address.map(AddressKind::of)
    }
}

pub(crate) type Callback = Box<dyn FnMut(&Change) + Send>;

/// What each callback was told last, and what is to be passed on to the runner.
#[derive(Default)]
pub(crate) struct Callbacks {
    told: Vec<Change>,
    messages: Vec<Message>,
}

impl Callbacks {
    /// From now on `callback` is told of changes of this mapping.
    pub(crate) fn add(&mut self, protocol: Protocol, internal_port: u16, callback: Callback) {
        self.remove(protocol, internal_port);
        self.told.push(Change { protocol, internal_port, mapping: None, external_address: None });
        self.messages.push(Message(What::Add((protocol, internal_port), callback)));
    }

    /// Its callback is not told anything more.
    pub(crate) fn remove(&mut self, protocol: Protocol, internal_port: u16) {
        let before = self.told.len();
        self.told.retain(|change| (change.protocol, change.internal_port) != (protocol, internal_port));
        if self.told.len() < before {
            self.messages.push(Message(What::Remove((protocol, internal_port))));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Tells the callbacks what the event changed for them.
    pub(crate) fn tell(&mut self, event: &Event, external_address: Option<Ipv4Addr>) {
        for told in &mut self.told {
            let is_about = event.mapping_key() == Some((told.protocol, told.internal_port));
            // The address may be news already that the events to come will tell, after the loss of the mapping.
            if !is_about && !matches!(event, Event::ExternalAddress(_)) {
                continue;
            }
            let mapping = match *event {
                Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. } if is_about => {
                    Some(mapping)
                }
                Event::Lost { .. } | Event::Ended { .. } if is_about => None,
                _ => told.mapping,
            };
            let port = |mapping: Option<Mapping>| mapping.map(|mapping| mapping.external_port);
            let has_changed =
                port(mapping) != port(told.mapping) || (mapping.is_some() && external_address != told.external_address);
            (told.mapping, told.external_address) = (mapping, external_address);
            if has_changed {
                self.messages.push(Message(What::Tell(*told)));
            }
        }
        // With its mapping a callback comes to its end, whoever unmapped it.
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.remove(protocol, internal_port);
        }
    }

    pub(crate) fn take_messages(&mut self) -> Vec<Message> {
        std::mem::take(&mut self.messages)
    }
}

/// Something for a [`Runner`].
pub struct Message(What);

enum What {
    Add((Protocol, u16), Callback),
    Remove((Protocol, u16)),
    Tell(Change),
}

/// Has the callbacks, and calls them.
#[derive(Default)]
pub struct Runner {
    callbacks: HashMap<(Protocol, u16), Callback>,
}

impl Runner {
    /// Takes a callback, drops one, or calls one. A panic of a callback ends this call of it and nothing else.
    pub fn run(&mut self, message: Message) {
        match message.0 {
            What::Add(key, callback) => survive(|| drop(self.callbacks.insert(key, callback))),
            // What a callback has captured may panic when it is dropped.
            What::Remove(key) => survive(|| drop(self.callbacks.remove(&key))),
            What::Tell(change) => {
                if let Some(callback) = self.callbacks.get_mut(&(change.protocol, change.internal_port)) {
                    survive(|| callback(&change));
                }
            }
        }
    }
}

/// Each callback is dropped, whatever another one does.
impl Drop for Runner {
    fn drop(&mut self) {
        for (_, callback) in self.callbacks.drain() {
            survive(|| drop(callback));
        }
    }
}

fn survive(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        warn!("a callback panicked; it will be called again at the next change");
    }
}
