use std::net::Ipv4Addr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use natpmp_std::server::nat::Nat;
use natpmp_std::server::{NatFailure, NatMapping, NatRequest};
use natpmp_testkit::waiting::{SOON, eventually};

/// A NAT that takes notes.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>, Arc<Condvar>);

#[derive(Default)]
struct Noted {
    standing: Vec<NatMapping>,
    /// How often it installed a mapping.
    installed: usize,
    manner: Manner,
    is_waiting: bool,
    has_ended: bool,
}

/// How it does what it is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    Well,
    Failing(NatFailure),
    /// It says nothing of what came of it.
    Silent,
    Panicking,
    /// It waits until it is told another manner.
    Blocking,
}

impl Notes {
    pub(crate) fn standing(&self) -> Vec<NatMapping> {
        self.lock().standing.clone()
    }

    pub(crate) fn installed(&self) -> usize {
        self.lock().installed
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().has_ended
    }

    pub(crate) fn set(&self, manner: Manner) {
        self.lock().manner = manner;
        self.1.notify_all();
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.lock().is_waiting
    }

    #[track_caller]
    pub(crate) fn wait_until_it_waits(&self) {
        eventually("the NAT is asked", || self.is_waiting());
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap()
    }
}

impl Nat for Notes {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        let mut noted = self.lock();
        if !requests.is_empty() {
            noted.is_waiting = noted.manner == Manner::Blocking;
            // Not for ever, so that whoever waits for it is seen to.
            let is_to_wait = |noted: &mut Noted| noted.manner == Manner::Blocking;
            noted = self.1.wait_timeout_while(noted, SOON / 2, is_to_wait).unwrap().0;
            noted.is_waiting = false;
        }
        let manner = noted.manner;
        match manner {
            Manner::Silent => return Vec::new(),
            Manner::Panicking if !requests.is_empty() => {
                // Others look at the notes afterwards.
                drop(noted);
                panic!("as it was told");
            }
            _ => {}
        }
        let mut apply = |request: &NatRequest| {
            noted.standing.retain(|mapping| mapping != request.mapping());
            match (request, manner) {
                (NatRequest::Install(_), Manner::Failing(failure)) => return Err(failure),
                (NatRequest::Install(mapping), _) => {
                    noted.standing.push(*mapping);
                    noted.installed += 1;
                }
                (NatRequest::Remove(_), _) => {}
            }
            Ok(())
        };
        requests.iter().map(&mut apply).collect()
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn end(&mut self) {
        let mut noted = self.lock();
        noted.standing.clear();
        noted.has_ended = true;
    }
}
