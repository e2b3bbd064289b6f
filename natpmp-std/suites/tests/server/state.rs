//! The file with the state, across ends and starts.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use natpmp_proto::gateway;
use natpmp_std::server::{External, NatMapping, StoredMapping, StoredState};
use natpmp_std::{Ending, Event, MapRequest, Protocol};
use natpmp_suites::{Adapter, ClientUnderTest, ServerSetup, ServerUnderTest, SubscriptionUnderTest, on_each_adapter};
use natpmp_testkit::waiting::{SOON, begin, eventually, in_time};

use super::notes::{Manner, Notes};
use super::{Asker, client, inside, setup, start};

on_each_adapter!(
    a_restart_with_its_state_is_none_to_its_clients,
    after_a_crash_the_leases_stand_and_the_epoch_begins_anew,
    without_an_external_address_an_end_is_in_order_too,
    what_the_nat_does_not_have_yet_stays_in_the_state,
    what_is_not_taken_up_again_leaves_the_state,
    what_was_taken_up_and_is_deleted_leaves_the_state,
    dropping_the_server_takes_the_nat_down_and_saves_the_state_and_ends_the_events,
    a_change_is_in_the_file_while_the_server_runs,
);

/// G19: after an end in order, the epoch and the mappings go on.
fn a_restart_with_its_state_is_none_to_its_clients<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    // As if it had run for a while.
    StoredState { mappings: Vec::new(), ..state_with_a_mapping() }.save(&path).unwrap();
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    let address = server.addresses()[0];
    let client = client::<A>(&server);
    let mapping = client.map(&MapRequest::new(Protocol::Tcp, 4_000).external_port(5_000).lifetime(600)).unwrap();
    drop(server);
    assert_eq!(nat.standing(), [], "nothing stays open without a gateway");

    let setup = ServerSetup { port: Some(address.port()), ..setup(&nat) };
    let server = start::<A>(ServerSetup { state_file: Some(path), ..setup });
    eventually("it is taken up", || !server.mappings().is_empty());
    let standing = NatMapping { protocol: Protocol::Tcp, internal: inside(4_000), external_port: 5_000 };
    assert_eq!(nat.standing(), [standing]);
    assert!(server.time_left(&server.mappings()[0]).unwrap() > Duration::from_secs(500));
    let epoch = Asker::new(&server).external_address().0;
    assert!((1_000..1_060).contains(&epoch), "the epoch goes on: {epoch}");
    let mut events = client.events();
    assert_eq!(client.refresh(&mapping).unwrap().external_port, 5_000);
    assert!(matches!(events.next_timeout(SOON), Some(Event::Renewed(_))), "no restart was noticed");
}

/// G19: the last mappings before it may not be in the file, and this is how their clients learn that they have to ask.
fn after_a_crash_the_leases_stand_and_the_epoch_begins_anew<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    state_with_a_mapping().save(&path).unwrap();
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    assert!(!StoredState::load(&path).unwrap().unwrap().is_final, "it may be killed from now on");
    assert!(Asker::new(&server).external_address().0 >= 1_000, "the one before ended in order");
    client::<A>(&server).map(&MapRequest::new(Protocol::Udp, 4_001)).unwrap();
    eventually("the change is in the file", || StoredState::load(&path).unwrap().unwrap().mappings.len() == 2);
    let crashed = StoredState::load(&path).unwrap().unwrap();
    assert!(!crashed.is_final);
    drop(server);
    let ended = StoredState::load(&path).unwrap().unwrap();
    assert!(ended.is_final && ended.epoch >= 1_000, "{ended:?}");

    crashed.save(&path).unwrap();
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    assert!(Asker::new(&server).external_address().0 < 60);
    eventually("it is taken up", || nat.standing().len() == 2);
    drop(server);
    let ended = StoredState::load(&path).unwrap().unwrap();
    assert!(ended.is_final && ended.epoch < 60, "{ended:?}");
    assert_eq!(ended.mappings.len(), 2);
}

/// G19: what it was to take up then waits for the next start, unless it was to be forgotten.
fn without_an_external_address_an_end_is_in_order_too<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    for is_cleared in [false, true] {
        let state = state_with_a_mapping();
        state.save(&path).unwrap();
        let server = start::<A>(ServerSetup {
            external: Some(External::Interface("none0".into())),
            state_file: Some(path.clone()),
            ..setup(&nat)
        });
        if is_cleared {
            server.clear();
            eventually("the file is emptied", || StoredState::load(&path).unwrap().unwrap().mappings.is_empty());
        }
        drop(server);
        let ended = StoredState::load(&path).unwrap().unwrap();
        assert!(ended.is_final, "{ended:?}");
        let expected = if is_cleared { Vec::new() } else { state.mappings };
        assert_eq!((ended.epoch >= 1_000, ended.mappings), (!is_cleared, expected));
    }
}

/// A gateway that is ended, or killed, before the NAT has what was in the state has lost nothing of it.
fn what_the_nat_does_not_have_yet_stays_in_the_state<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    let state = state_with_a_mapping();
    state.save(&path).unwrap();
    nat.set(Manner::Blocking);
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    nat.wait_until_it_waits();
    std::fs::remove_file(&path).unwrap();
    let ending = begin(move || drop(server));
    eventually("the state is saved", || path.exists());
    let stored = StoredState::load(&path).unwrap().unwrap();
    assert_eq!(stored.mappings, state.mappings);
    nat.set(Manner::Well);
    ending.recv_timeout(SOON).unwrap();
}

/// G16: its lease ended while there was no gateway.
fn what_is_not_taken_up_again_leaves_the_state<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    let mut state = state_with_a_mapping();
    let standing = state.mappings[0].mapping;
    let ended = NatMapping { external_port: 5_001, internal: inside(4_001), ..standing };
    state.mappings.push(StoredMapping { mapping: ended, expires_at: state.saved_at - 1 });
    state.save(&path).unwrap();
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    eventually("it is taken up", || nat.standing() == [standing]);
    drop(server);
    let stored: Vec<_> =
        StoredState::load(&path).unwrap().unwrap().mappings.iter().map(|stored| stored.mapping).collect();
    assert_eq!(stored, [standing]);
}

/// Else it would be there again at every start, for as long as its lease was.
fn what_was_taken_up_and_is_deleted_leaves_the_state<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    state_with_a_mapping().save(&path).unwrap();
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    eventually("it is taken up", || !server.mappings().is_empty() && !nat.standing().is_empty());
    assert_eq!(client::<A>(&server).unmap(Protocol::Tcp, 4_000).unwrap(), Ending::Unmapped);
    drop(server);
    assert_eq!(StoredState::load(&path).unwrap().unwrap().mappings, []);
}

fn dropping_the_server_takes_the_nat_down_and_saves_the_state_and_ends_the_events<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    let mut events = server.events();
    Asker::new(&server).map(4_000);
    assert!(!nat.has_ended());
    in_time(move || drop(server));
    assert!(nat.has_ended());
    assert_eq!(nat.standing(), []);
    assert_eq!(StoredState::load(&path).unwrap().unwrap().mappings[0].mapping.internal, inside(4_000));
    in_time(move || {
        assert!(matches!(events.next(), Some(gateway::Event::Opened(_))));
        assert_eq!(events.next(), None, "there will be no more");
    });
}

fn a_change_is_in_the_file_while_the_server_runs<A: Adapter>() {
    let directory = Directory::new();
    let (path, nat) = (directory.file("state"), Notes::default());
    let server = start::<A>(ServerSetup { state_file: Some(path.clone()), ..setup(&nat) });
    let asker = Asker::new(&server);
    // The state of the start is in it when this is answered a second time.
    for _ in 0..2 {
        asker.external_address();
    }
    let stored = || StoredState::load(&path).unwrap().unwrap().mappings;
    assert_eq!(stored(), []);
    asker.map(4_000);
    eventually("it is in the file", || !stored().is_empty());
}

/// Of a server that has had it for some while.
pub(crate) fn state_with_a_mapping() -> StoredState {
    let saved_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let mapping = NatMapping { protocol: Protocol::Tcp, internal: inside(4_000), external_port: 5_000 };
    // The day after tomorrow, so that no test is at the edge of it.
    let stored = StoredMapping { mapping, expires_at: saved_at / DAY * DAY + 2 * DAY };
    StoredState { saved_at, epoch: 1_000, is_final: true, mappings: vec![stored] }
}

/// A directory that goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("natpmp-server-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// In seconds.
const DAY: u64 = 86_400;
