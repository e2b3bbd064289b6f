//! What the thread has the NAT do when nobody waits for it.
#![cfg(unix)]

use std::io::{Read, Write};
use std::net::SocketAddrV4;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, Sender};

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatMapping;

use super::*;

/// A NAT that records its calls, and reports a change when somebody writes to it.
struct RecordingNat {
    calls: Sender<Call>,
    changes: UnixStream,
    verdicts: Vec<Verdict>,
}

#[derive(Debug, PartialEq, Eq)]
enum Call {
    Apply(usize),
    Settle,
    Verify,
}

impl Nat for RecordingNat {
    fn apply(&mut self, requests: &[NatRequest]) -> Vec<Result<(), NatFailure>> {
        self.calls.send(Call::Apply(requests.len())).unwrap();
        vec![Ok(()); requests.len()]
    }

    fn settle(&mut self) {
        self.calls.send(Call::Settle).unwrap();
    }

    fn set_external_address(&mut self, _address: Option<Ipv4Addr>) {}

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        Some(self.changes.as_fd())
    }

    fn verify(&mut self) -> Verdict {
        let _ = self.changes.read(&mut [0; 8]);
        self.calls.send(Call::Verify).unwrap();
        self.verdicts.pop().unwrap_or(Verdict::Intact)
    }

    fn end(&mut self) {}
}

fn started(verdicts: &[Verdict]) -> (NatThread, Receiver<Call>, UnixStream) {
    let (calls, called) = mpsc::channel();
    let (changes, announcer) = UnixStream::pair().unwrap();
    changes.set_nonblocking(true).unwrap();
    let nat = RecordingNat { calls, changes, verdicts: verdicts.iter().rev().copied().collect() };
    let thread = NatThread::start(Box::new(nat), Waker::noop().clone()).unwrap();
    let mut wakers = Vec::new();
    thread.begin(&mut wakers);
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(called.recv().unwrap(), Call::Apply(0));
    assert_eq!(called.recv().unwrap(), Call::Settle);
    (thread, called, announcer)
}

fn request(thread: &NatThread) {
    let internal = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1);
    let mapping = NatMapping { protocol: Protocol::Udp, internal, external_port: 1 };
    let mut wakers = Vec::new();
    thread.request(NatRequest::Install(mapping), &mut wakers);
    wakers.into_iter().for_each(Waker::wake);
}

#[test]
fn it_settles_once_for_requests_that_follow_each_other_and_soon_where_they_never_end() {
    let (thread, called, _teller) = started(&[]);
    let began = Instant::now();
    let mut settled = 0;
    while settled < 2 {
        request(&thread);
        assert_eq!(called.recv_timeout(LONG).unwrap(), Call::Apply(1));
        thread::sleep(Duration::from_millis(1));
        settled += called.try_iter().filter(|call| *call == Call::Settle).count();
    }
    assert!(began.elapsed() >= LONGEST_UNSETTLED, "not after each of them");
    assert!(began.elapsed() < LONG, "{:?}", began.elapsed());
    assert_eq!(called.recv_timeout(LONG).unwrap_or(Call::Settle), Call::Settle);
    assert!(called.recv_timeout(4 * LONGEST_UNSETTLED).is_err(), "there is nothing more to settle");
}

#[test]
fn news_has_it_verified_and_what_was_repaired_settles() {
    let (_thread, called, mut announcer) = started(&[Verdict::Intact, Verdict::Repaired]);
    announcer.write_all(b"!").unwrap();
    assert_eq!(called.recv_timeout(LONG).unwrap(), Call::Verify);
    assert!(called.recv_timeout(4 * LONGEST_UNSETTLED).is_err());
    announcer.write_all(b"!").unwrap();
    assert_eq!(called.recv_timeout(LONG).unwrap(), Call::Verify);
    assert_eq!(called.recv_timeout(LONG).unwrap(), Call::Settle);
}

#[test]
fn a_nat_that_is_broken_is_verified_until_it_is_not() {
    let (_thread, called, mut announcer) = started(&[Verdict::Broken, Verdict::Intact]);
    let began = Instant::now();
    announcer.write_all(b"!").unwrap();
    for _ in 0..2 {
        assert_eq!(called.recv_timeout(LONG).unwrap(), Call::Verify);
    }
    assert!(began.elapsed() >= PAUSE_WHILE_BROKEN);
    assert!(called.recv_timeout(PAUSE_WHILE_BROKEN + PAUSE_WHILE_BROKEN / 2).is_err(), "it is well");
}

const LONG: Duration = Duration::from_secs(5);
