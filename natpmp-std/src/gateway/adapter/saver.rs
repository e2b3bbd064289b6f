//! The state is written on a thread of its own: a disk may take its time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use natpmp_proto::gateway::Event;

use super::helper::Helper;
use crate::gateway::State;

/// The way to the file. Dropping it waits until the last state is in it.
///
/// A state that waits gives way to a later one: a disk that hangs does not fill the memory.
#[derive(Debug)]
pub(super) struct Saver {
    latest: Arc<Latest>,
    helper: Helper,
}

impl Saver {
    /// Wakes `waker` when the last state is in the file.
    pub(super) fn start(path: PathBuf, waker: Waker) -> io::Result<Self> {
        let latest = Arc::new(Latest::default());
        let waiting = Arc::clone(&latest);
        let helper = Helper::start("natpmp state", waker, move || run(&path, &waiting))?;
        Ok(Self { latest, helper })
    }

    pub(super) fn save(&self, state: State) {
        self.latest.change(|waiting| waiting.state = Some(state));
    }

    /// No state follows.
    pub(super) fn end(&mut self) {
        self.latest.change(|waiting| waiting.is_over = true);
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
pub(super) fn save_within(event: &Event, mappings: usize) -> Option<Duration> {
    match event {
        Event::Refused { .. } => None,
        // A power failure may take of it that a lease which runs anyway ends later, until its client learns of the restart: not worth
        // writing a large file many times a second for. An orderly end takes nothing.
        Event::Renewed(_) => {
            let mappings = u32::try_from(mappings).unwrap_or(u32::MAX);
            Some(CHANGE.saturating_add(RENEWAL_EACH.saturating_mul(mappings)))
        }
        _ => Some(CHANGE),
    }
}

impl Drop for Saver {
    fn drop(&mut self) {
        self.end();
    }
}

/// The state that is to be written next, if there is one.
#[derive(Debug, Default)]
struct Latest {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    state: Option<State>,
    is_over: bool,
}

impl Latest {
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    /// The next one, as soon as there is one; `None` at the end.
    fn take(&self) -> Option<State> {
        let is_idle = |waiting: &mut Waiting| waiting.state.is_none() && !waiting.is_over;
        let waiting = self.changed.wait_while(self.lock(), is_idle);
        waiting.unwrap_or_else(PoisonError::into_inner).state.take()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn run(path: &Path, states: &Latest) {
    while let Some(state) = states.take() {
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
    use natpmp_proto::gateway::{CloseCause, Mapping, NatMapping};
    use natpmp_proto::wire::Refusal;

    use super::*;
    use crate::gateway::StoredMapping;

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
            saver.save(State { epoch, mappings: mappings.clone(), ..State::default() });
        }
        saver.join();
        assert!(saver.is_over());
        let stored = State::load(&path).unwrap().unwrap();
        assert_eq!((stored.epoch, stored.mappings.len()), (9, mappings.len()));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn of_the_states_that_wait_for_a_slow_disk_only_the_last_is_kept() {
        let latest = Latest::default();
        for epoch in 0..1_000 {
            latest.change(|waiting| waiting.state = Some(State { epoch, ..State::default() }));
        }
        latest.change(|waiting| waiting.is_over = true);
        let taken: Vec<u32> = std::iter::from_fn(|| latest.take()).map(|state| state.epoch).collect();
        assert_eq!(taken, [999]);
    }
}
