//! Callbacks of kept mappings, run on a thread of their own, so that a slow one delays no renewal, and one that calls the
//! client does not wait for itself. The thread is started with the first callback.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::{io, thread};

use log::warn;
use natpmp_proto::client::Event;
use natpmp_proto::{Mapping, Protocol};

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

pub(crate) type Callback = Box<dyn FnMut(&Change) + Send>;

/// What each callback was told last.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    told: Vec<Change>,
    runner: Option<Sender<Message>>,
}

impl Callbacks {
    /// From now on `callback` is told of changes of this mapping.
    pub(crate) fn add(&mut self, protocol: Protocol, internal_port: u16, callback: Callback) -> io::Result<()> {
        let runner = match self.runner.take() {
            Some(runner) => runner,
            None => start()?,
        };
        self.remove(protocol, internal_port);
        self.told.push(Change { protocol, internal_port, mapping: None, external_address: None });
        // The runner lives as long as its sender.
        let _ = runner.send(Message::Add((protocol, internal_port), callback));
        self.runner = Some(runner);
        Ok(())
    }

    /// Its callback is not told anything more.
    pub(crate) fn remove(&mut self, protocol: Protocol, internal_port: u16) {
        self.told.retain(|change| (change.protocol, change.internal_port) != (protocol, internal_port));
        if let Some(runner) = &self.runner {
            let _ = runner.send(Message::Remove((protocol, internal_port)));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Tells the callbacks what the event changed for them.
    pub(crate) fn tell(&mut self, event: &Event, external_address: Option<Ipv4Addr>) {
        let Some(runner) = &self.runner else { return };
        for told in &mut self.told {
            let is_about = event.mapping_key() == Some((told.protocol, told.internal_port));
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
                let _ = runner.send(Message::Tell(*told));
            }
        }
        // With its mapping a callback comes to its end, whoever unmapped it.
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.remove(protocol, internal_port);
        }
    }
}

enum Message {
    Add((Protocol, u16), Callback),
    Remove((Protocol, u16)),
    Tell(Change),
}

fn start() -> io::Result<Sender<Message>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("natpmp callbacks".into()).spawn(move || run(&receiver))?;
    Ok(sender)
}

fn run(messages: &Receiver<Message>) {
    let mut callbacks: HashMap<(Protocol, u16), Callback> = HashMap::new();
    for message in messages {
        match message {
            Message::Add(key, callback) => survive(|| drop(callbacks.insert(key, callback))),
            // What a callback has captured may panic when it is dropped.
            Message::Remove(key) => survive(|| drop(callbacks.remove(&key))),
            Message::Tell(change) => {
                if let Some(callback) = callbacks.get_mut(&(change.protocol, change.internal_port)) {
                    survive(|| callback(&change));
                }
            }
        }
    }
}

/// A panic of a callback ends this call of it and nothing else.
fn survive(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        warn!("a callback panicked; it will be called again at the next change");
    }
}
