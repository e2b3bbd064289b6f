//! The state is written on a thread of its own: a disk may take its time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::task::Waker;
use std::time::Duration;

use natpmp_proto::gateway::GatewayEvent;

use super::helper::Helper;
use crate::gateway::State;

/// The way to the file. Dropping it waits until the last state is in it.
#[derive(Debug)]
pub(super) struct Saver {
    states: Option<Sender<State>>,
    helper: Helper,
}

impl Saver {
    /// Wakes `waker` when the last state is in the file.
    pub(super) fn start(path: PathBuf, waker: Waker) -> io::Result<Self> {
        let (states, receiver) = mpsc::channel();
        let helper = Helper::start("natpmp state", waker, move || run(&path, &receiver))?;
        Ok(Self { states: Some(states), helper })
    }

    pub(super) fn save(&self, state: State) {
        if let Some(states) = &self.states {
            // The thread ends when this sender is dropped, and not before.
            let _ = states.send(state);
        }
    }

    /// No state follows.
    pub(super) fn end(&mut self) {
        self.states = None;
    }

    /// Whether the last state is in the file.
    pub(super) fn is_over(&self) -> bool {
        self.helper.is_over()
    }

    /// Ends, and waits until it is over.
    pub(super) fn join(&mut self) {
        self.end();
        self.helper.join();
    }
}

/// Within which time an event is to be in the file, of so many mappings.
pub(super) fn save_within(event: &GatewayEvent, mappings: usize) -> Option<Duration> {
    match event {
        GatewayEvent::Refused { .. } => None,
        // A power failure may take of it that a lease which runs anyway ends later: not worth writing a large file many times a
        // second for. An orderly end takes nothing.
        GatewayEvent::Renewed(_) => {
            let mappings = u32::try_from(mappings).unwrap_or(u32::MAX);
            Some(CHANGE.saturating_add(RENEWAL_EACH.saturating_mul(mappings)))
        }
        _ => Some(CHANGE),
    }
}

fn run(path: &Path, states: &Receiver<State>) {
    while let Ok(state) = states.recv() {
        // Only the last one counts.
        let state = states.try_iter().last().unwrap_or(state);
        if let Err(error) = state.save(path) {
            log::warn!("{error}");
        }
    }
}

/// A change is in the file within this time, and many changes make one write.
const CHANGE: Duration = Duration::from_millis(200);
/// A renewal within this much more for each mapping: 3.2 s for 60,000.
const RENEWAL_EACH: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use natpmp_proto::Protocol;
    use natpmp_proto::gateway::{CloseCause, GatewayMapping, NatMapping};
    use natpmp_proto::wire::Refusal;

    use super::*;
    use crate::gateway::StoredMapping;

    #[test]
    fn a_change_is_saved_soon_and_a_renewal_the_later_the_larger_the_file() {
        let internal = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 4000);
        let mapping = NatMapping { protocol: Protocol::Udp, internal, external_port: 4000 };
        let mapping = GatewayMapping { mapping, expires: None };
        let renewed = GatewayEvent::Renewed(mapping);
        let closed = GatewayEvent::Closed { mapping, cause: CloseCause::Removed };
        let refused = GatewayEvent::Refused {
            client: *internal.ip(),
            protocol: Protocol::Udp,
            internal_port: 4000,
            refusal: Refusal::NotAuthorized,
        };
        for mappings in [1, 60_000] {
            assert_eq!(save_within(&closed, mappings), Some(CHANGE));
            assert_eq!(save_within(&GatewayEvent::Missed, mappings), Some(CHANGE), "it may have been a change");
            assert_eq!(save_within(&refused, mappings), None);
        }
        assert_eq!(save_within(&renewed, 0), Some(CHANGE));
        assert_eq!(save_within(&renewed, 60_000), Some(CHANGE + Duration::from_secs(3)));
    }

    /// Large ones, so that writing takes longer than nothing.
    #[test]
    fn when_it_is_joined_the_last_of_many_states_is_in_the_file() {
        let directory = std::env::temp_dir().join(format!("natpmp-saver-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("state");
        let mapping = |port| NatMapping {
            protocol: Protocol::Udp,
            internal: SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), port),
            external_port: port,
        };
        let mappings: Vec<_> =
            (1..30_000).map(|port| StoredMapping { mapping: mapping(port), expires_at: 1_800_000_000 }).collect();
        let mut saver = Saver::start(path.clone(), Waker::noop().clone()).unwrap();
        for epoch in 0..10 {
            saver.save(State { saved_at: 1_700_000_000, epoch, mappings: mappings.clone() });
        }
        saver.join();
        assert!(saver.is_over());
        let stored = State::load(&path).unwrap().unwrap();
        assert_eq!((stored.epoch, stored.mappings.len()), (9, mappings.len()));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
