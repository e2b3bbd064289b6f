//! A start that fails.

use std::io;
use std::net::Ipv4Addr;

use natpmp_std::server::{External, Internal, ServerError, StateError, StoredState};
use natpmp_suites::{Adapter, ServerSetup, ServerUnderTest, on_each_adapter};

use super::notes::Notes;
use super::state::{Directory, state_with_a_mapping};
use super::{INSIDE, serve, setup};

on_each_adapter!(
    what_cannot_be_served_is_said_at_the_start_and_no_nat_is_started,
    a_start_that_fails_is_no_crash,
    a_damaged_state_is_refused_and_kept_aside_and_the_next_start_goes_on_without,
);

fn what_cannot_be_served_is_said_at_the_start_and_no_nat_is_started<A: Adapter>() {
    let nat = Notes::default();
    let server = serve::<A>(&nat);
    let start = |setup| A::Server::start(ServerSetup { start_nat: |_| panic!("no NAT is wanted"), ..setup });
    let nothing = start(ServerSetup { internal: None, ..setup(&nat) });
    assert!(matches!(nothing, Err(ServerError::NoInternal)), "{nothing:?}");
    let missing = start(ServerSetup { internal: Some(Internal::Interface("none0".into())), ..setup(&nat) });
    assert!(matches!(missing, Err(ServerError::NoAddress { .. })), "{missing:?}");
    let foreign = Internal::Address(Ipv4Addr::new(192, 0, 2, 1));
    let foreign = start(ServerSetup { internal: Some(foreign), ..setup(&nat) });
    assert!(matches!(foreign, Err(ServerError::NotLocal { .. })), "{foreign:?}");
    let same = start(ServerSetup { external: Some(External::Address(INSIDE)), ..setup(&nat) });
    assert!(matches!(same, Err(ServerError::SameSides)), "{same:?}");
    let lost = start(ServerSetup { state_file: Some("/nonexistent/natpmp/state".into()), ..setup(&nat) });
    assert!(matches!(lost, Err(ServerError::State(StateError::Io { .. }))), "{lost:?}");
    let taken = start(ServerSetup { port: Some(server.addresses()[0].port()), ..setup(&nat) });
    assert!(matches!(taken, Err(ServerError::Socket { .. })), "{taken:?}");
}

/// G19: nothing was granted.
fn a_start_that_fails_is_no_crash<A: Adapter>() {
    let directory = Directory::new();
    let path = directory.file("state");
    let state = state_with_a_mapping();
    state.save(&path).unwrap();
    let setup = ServerSetup { state_file: Some(path.clone()), ..setup(&Notes::default()) };
    let result = A::Server::start(ServerSetup { start_nat: |_| Err(io::Error::other("no NAT")), ..setup });
    assert!(matches!(result, Err(ServerError::Nat(_))), "{result:?}");
    assert_eq!(StoredState::load(&path).unwrap(), Some(state));
}

fn a_damaged_state_is_refused_and_kept_aside_and_the_next_start_goes_on_without<A: Adapter>() {
    let directory = Directory::new();
    let path = directory.file("state");
    std::fs::write(&path, "natpmp gateway state 1\nsaved 17").unwrap();
    let start = || A::Server::start(ServerSetup { state_file: Some(path.clone()), ..setup(&Notes::default()) });
    let result = start();
    assert!(matches!(&result, Err(ServerError::State(StateError::Damaged { kept_as: Some(_), .. }))), "{result:?}");
    drop(result);
    assert!(directory.file("state.damaged").exists());
    assert!(start().is_ok());
}
