//! The thread that writes the state file: a disk may take its time.

use std::io;
use std::path::{Path, PathBuf};
use std::task::Waker;
use std::time::Duration;

use natpmp_proto::gateway::Event;

use super::StoredState;
use super::nat_thread::WorkerThread;
use crate::events::{EventQueue, EventSender, event_queue};

/// The engine's end of the thread. Dropping it waits until the last state is in the file.
///
/// A later state replaces one that waits, so that a disk that hangs does not fill the memory.
#[derive(Debug)]
pub(super) struct Saver {
    // Dropped before the thread, which ends with it.
    states: Option<EventSender<StoredState>>,
    thread: WorkerThread,
}

impl Saver {
    /// Starts the thread, which wakes `waker` when the last state is in the file.
    pub(super) fn start(path: PathBuf, waker: Waker) -> io::Result<Self> {
        let (states, mut waiting) = event_queue(LATEST);
        let thread = WorkerThread::start("natpmp state", waker, move || run(&path, &mut waiting))?;
        Ok(Self { states: Some(states), thread })
    }

    /// Has a state written, in place of one that still waits.
    pub(super) fn save(&self, state: StoredState, pending_wakers: &mut Vec<Waker>) {
        if let Some(states) = &self.states {
            states.push(state, pending_wakers);
        }
    }

    /// No state follows the one that was given last.
    pub(super) fn end(&mut self) {
        self.states = None;
    }

    /// Whether the last state is in the file.
    pub(super) fn is_over(&mut self) -> bool {
        self.thread.is_over()
    }

    /// Ends the thread, and waits until the last state is in the file.
    pub(super) fn join(&mut self) {
        self.end();
        self.thread.join();
    }
}

/// How soon the file is to have what an event changes, with so many mappings in it; `None` if it changes nothing.
pub(super) fn save_within(event: &Event, mappings: usize) -> Option<Duration> {
    match event {
        Event::Refused { .. } => None,
        // A power failure before that shortens a lease, until its client learns of the restart. That is not worth writing a large file
        // many times a second for. An orderly end saves all.
        Event::Renewed(_) => {
            let mappings = u32::try_from(mappings).unwrap_or(u32::MAX);
            Some(CHANGE.saturating_add(RENEWAL_EACH.saturating_mul(mappings)))
        }
        _ => Some(CHANGE),
    }
}

fn run(path: &Path, states: &mut EventQueue<StoredState>) {
    while let Some(state) = states.wait_next(None) {
        if let Err(error) = state.save(path) {
            log::warn!("{error}");
        }
    }
}

/// How many states wait: the latest replaces one that the thread has not begun to write.
const LATEST: usize = 1;
/// The file has a change within this time, and many changes make one write.
const CHANGE: Duration = Duration::from_millis(200);
/// The file has a renewal within this much more for each mapping in it: 3.2 s for 60,000.
const RENEWAL_EACH: Duration = Duration::from_micros(50);

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use natpmp_proto::Protocol;
    use natpmp_proto::gateway::{CloseCause, Mapping, NatMapping};
    use natpmp_proto::wire::Refusal;

    use super::*;
    use crate::server::StoredMapping;

    #[test]
    fn a_change_is_saved_soon_and_a_renewal_the_later_the_larger_the_file() {
        let internal = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 4000);
        let mapping = NatMapping { protocol: Protocol::Udp, internal, external_port: 4000 };
        let mapping = Mapping { mapping, expires: None };
        let renewed = Event::Renewed(mapping);
        let closed = Event::Closed { mapping, cause: CloseCause::Removed };
        let refused = Event::Refused {
            client: *internal.ip(),
            protocol: Protocol::Udp,
            internal_port: 4000,
            refusal: Refusal::NotAuthorized,
        };
        for mappings in [1, 60_000] {
            assert_eq!(save_within(&closed, mappings), Some(CHANGE));
            assert_eq!(save_within(&Event::Missed, mappings), Some(CHANGE), "it may have been a change");
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
            let mut wakers = Vec::new();
            saver.save(StoredState { epoch, mappings: mappings.clone(), ..StoredState::default() }, &mut wakers);
            wakers.into_iter().for_each(Waker::wake);
        }
        saver.join();
        assert!(saver.is_over());
        let stored = StoredState::load(&path).unwrap().unwrap();
        assert_eq!((stored.epoch, stored.mappings.len()), (9, mappings.len()));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn of_the_states_that_wait_for_a_slow_disk_only_the_last_is_kept() {
        let (states, mut waiting) = event_queue(LATEST);
        for epoch in 0..1_000 {
            states.send(StoredState { epoch, ..StoredState::default() });
        }
        drop(states);
        let taken: Vec<u32> = std::iter::from_fn(|| waiting.wait_next(None)).map(|state| state.epoch).collect();
        assert_eq!(taken, [999]);
    }
}
