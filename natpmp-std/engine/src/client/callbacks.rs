//! Callbacks of kept mappings. A [`CallbackRunner`] calls them, without any lock: they may call the client.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use log::warn;
use natpmp_proto::client::Event;
use natpmp_proto::{AddressKind, Mapping, Protocol};

use crate::events::{EventQueue, EventSender, UNBOUNDED, event_queue};

/// How a kept mapping can be reached now. A callback gets it whenever that has changed, the first time too.
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

/// What each callback was called with last, and the way to the runner that has the callbacks.
pub(crate) struct Callbacks {
    reported: Vec<Change>,
    tasks: EventSender<CallbackTask>,
}

impl Callbacks {
    pub(crate) fn new() -> (Self, CallbackRunner) {
        // A callback that was handed over is not to be lost.
        let (sender, queue) = event_queue(UNBOUNDED);
        (Self { reported: Vec::new(), tasks: sender }, CallbackRunner { tasks: queue, callbacks: HashMap::new() })
    }

    /// From now on `callback` is called when this mapping changes.
    pub(crate) fn add(
        &mut self,
        protocol: Protocol,
        internal_port: u16,
        callback: Callback,
        pending_wakers: &mut Vec<Waker>,
    ) {
        self.remove(protocol, internal_port, pending_wakers);
        self.reported.push(Change { protocol, internal_port, mapping: None, external_address: None });
        self.tasks.push(CallbackTask::Add((protocol, internal_port), callback), pending_wakers);
    }

    /// The callback of this mapping is not called any more.
    pub(crate) fn remove(&mut self, protocol: Protocol, internal_port: u16, pending_wakers: &mut Vec<Waker>) {
        let before = self.reported.len();
        self.reported.retain(|change| (change.protocol, change.internal_port) != (protocol, internal_port));
        if self.reported.len() < before {
            self.tasks.push(CallbackTask::Remove((protocol, internal_port)), pending_wakers);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reported.is_empty()
    }

    /// Has each callback called for which the event changed something.
    pub(crate) fn dispatch_event(
        &mut self,
        event: &Event,
        external_address: Option<Ipv4Addr>,
        pending_wakers: &mut Vec<Waker>,
    ) {
        for reported in &mut self.reported {
            let is_about = event.mapping_key() == Some((reported.protocol, reported.internal_port));
            // After the loss of a mapping the address may be known already that only the events to come report.
            if !is_about && !matches!(event, Event::ExternalAddress(_)) {
                continue;
            }
            let mapping = match *event {
                Event::Mapped(mapping) | Event::Renewed(mapping) | Event::PortChanged { mapping, .. } if is_about => {
                    Some(mapping)
                }
                Event::Lost { .. } | Event::Ended { .. } if is_about => None,
                _ => reported.mapping,
            };
            let port = |mapping: Option<Mapping>| mapping.map(|mapping| mapping.external_port);
            let has_changed = port(mapping) != port(reported.mapping)
                || (mapping.is_some() && external_address != reported.external_address);
            (reported.mapping, reported.external_address) = (mapping, external_address);
            if has_changed {
                self.tasks.push(CallbackTask::Call(*reported), pending_wakers);
            }
        }
        // With its mapping a callback comes to its end, whoever unmapped it.
        if let Event::Ended { protocol, internal_port, .. } = *event {
            self.remove(protocol, internal_port, pending_wakers);
        }
    }

    /// No task follows: the runner ends after those that wait.
    pub(crate) fn close(&self, pending_wakers: &mut Vec<Waker>) {
        self.tasks.close(pending_wakers);
    }
}

enum CallbackTask {
    Add((Protocol, u16), Callback),
    Remove((Protocol, u16)),
    Call(Change),
}

/// Has the callbacks of a client, and calls them where the adapter runs it. A panic of a callback ends that call of it and
/// nothing else.
pub struct CallbackRunner {
    tasks: EventQueue<CallbackTask>,
    callbacks: HashMap<(Protocol, u16), Callback>,
}

impl CallbackRunner {
    /// Whether there is nothing to do at present.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Makes the calls that wait, and returns. More come only from commands and from [`ClientEngine`](super::ClientEngine)'s turns, so
    /// that a driver which runs it after each turn misses none.
    pub fn run_waiting(&mut self) {
        while let Some(task) = self.tasks.try_next() {
            self.run(task);
        }
    }

    /// Makes all calls as they come, on this thread, until the client has ended.
    pub fn run_to_end(mut self) {
        while let Some(task) = self.tasks.wait_next(None) {
            self.run(task);
        }
    }

    fn run(&mut self, task: CallbackTask) {
        match task {
            CallbackTask::Add(key, callback) => catch_panic(|| drop(self.callbacks.insert(key, callback))),
            // What a callback has captured may panic when it is dropped.
            CallbackTask::Remove(key) => catch_panic(|| drop(self.callbacks.remove(&key))),
            CallbackTask::Call(change) => {
                if let Some(callback) = self.callbacks.get_mut(&(change.protocol, change.internal_port)) {
                    catch_panic(|| callback(&change));
                }
            }
        }
    }
}

/// Each callback is dropped, whatever another one does, and those that the runner never took as well.
impl Drop for CallbackRunner {
    fn drop(&mut self) {
        while let Some(task) = self.tasks.try_next() {
            catch_panic(|| drop(task));
        }
        for (_, callback) in self.callbacks.drain() {
            catch_panic(|| drop(callback));
        }
    }
}

fn catch_panic(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        warn!("a callback panicked; it will be called again at the next change");
    }
}
