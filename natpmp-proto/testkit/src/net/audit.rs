//! What holds for every datagram a client sends, whatever the scenario: to the gateway only, one request in flight,
//! never faster than the schedule.

use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::client::Transmit;
use natpmp_proto::wire::Request;
use natpmp_proto::{Instant, Schedule};

/// Watches one client.
#[derive(Clone, Debug)]
pub(super) struct Audit {
    schedule: Schedule,
    last: Option<Last>,
    /// The request in flight was answered or given up: another may go out.
    is_free: bool,
    /// There was a reason to bring the next send forward, to the first wait of the schedule at most.
    is_hurried: bool,
    /// An announcement had the schedule begin anew, which it may do once for a request.
    is_renewed: bool,
    /// How much was sent since when.
    window: (Instant, u32),
}

#[derive(Clone, Debug)]
struct Last {
    at: Instant,
    request: Request,
    sends: u8,
    /// When the schedule has it sent again, or given up.
    due: Option<Instant>,
}

impl Audit {
    pub(super) fn new(schedule: Schedule) -> Self {
        Self { schedule, last: None, is_free: true, is_hurried: false, is_renewed: false, window: (Instant::ZERO, 0) }
    }

    /// The request in flight was answered or ended from outside.
    pub(super) fn released(&mut self) {
        self.is_free = true;
    }

    /// An announcement may hurry a resend.
    pub(super) fn hurried(&mut self) {
        self.is_hurried = true;
    }

    /// A command may do both.
    pub(super) fn commanded(&mut self) {
        self.is_free = true;
        self.is_hurried = true;
    }

    /// Checks a datagram and returns the request it carries.
    pub(super) fn sent(&mut self, now: Instant, gateway: SocketAddrV4, transmit: &Transmit) -> Request {
        assert_eq!(transmit.to, gateway, "a datagram to somebody else than the gateway");
        let request = Request::decode(&transmit.payload).expect("clients send requests");
        assert_eq!(&request.encode()[..], &transmit.payload[..], "a request in another form than the RFC's");
        self.count(now);
        match (&self.last, transmit.resends) {
            (None, 0) => {}
            (Some(last), 0) => self.is_renewed = self.check_new(now, last, &request),
            (Some(last), resends) => self.check_resend(now, last, &request, resends),
            (None, _) => panic!("a request sent again that was never sent"),
        }
        let sends = transmit.resends + 1;
        let due = self.schedule.wait_after(sends).map(|wait| now + wait);
        // A send that was brought forward may leave the rhythm of the others as it was.
        let kept = self.last.as_ref().filter(|_| transmit.resends > 0).and_then(|last| last.due);
        let due = if kept.is_some_and(|kept| now < kept) { due.min(kept) } else { due };
        self.last = Some(Last { at: now, request, sends, due });
        self.is_free = false;
        self.is_hurried = false;
        request
    }

    /// A client that sends without end would run for ever in little time.
    fn count(&mut self, now: Instant) {
        if now.saturating_since(self.window.0) >= Duration::from_secs(1) {
            self.window = (now, 0);
        }
        self.window.1 += 1;
        assert!(self.window.1 <= MOST_SENDS_IN_A_SECOND, "a storm of requests at {now:?}");
    }

    /// Whether it is the same request whose schedule an announcement had begin anew.
    fn check_new(&self, now: Instant, last: &Last, request: &Request) -> bool {
        let is_last_send = self.schedule.wait_after(last.sends + 1).is_none();
        let is_over = is_last_send && last.due.is_some_and(|due| now >= due);
        // A deletion is dropped when its lease has ended, and sent only once when the gateway is known to be silent.
        let is_deletion = matches!(last.request, Request::Map { lifetime: 0, .. });
        // A question that nobody waits for is not pursued for long.
        let is_question = last.request == Request::ExternalAddress && last.due.is_none_or(|due| now >= due);
        if self.is_free || is_over || is_deletion || is_question {
            return false;
        }
        let first = self.schedule.wait_after(1).expect("there is a first send");
        let is_anew = self.is_hurried && !self.is_renewed && last.request == *request && now >= last.at + first;
        assert!(is_anew, "a second request in flight at {now:?}: {request:?}, after {last:?}");
        true
    }

    fn check_resend(&self, now: Instant, last: &Last, request: &Request, resends: u8) {
        // A command may change what is wanted of the mapping that is being asked for.
        let is_same = last.request == *request || self.is_free && subject(&last.request) == subject(request);
        assert!(is_same, "sent again as {request:?}, but not the same: {last:?}");
        let first = self.schedule.wait_after(1).expect("there is a first send");
        let due = last.due.expect("there was such a send");
        let earliest = if self.is_hurried { due.min(last.at + first) } else { due };
        assert!(now >= earliest, "sent again at {now:?}, not before {earliest:?} by the schedule");
        let is_early = self.is_hurried && (1..last.sends).contains(&resends);
        assert!(resends == last.sends || is_early, "a send that was not counted");
        assert!(self.schedule.wait_after(resends + 1).is_some(), "more sends than the schedule has");
    }
}

/// What a request is about.
fn subject(request: &Request) -> (u8, Option<u16>, bool) {
    match *request {
        Request::ExternalAddress => (request.opcode(), None, false),
        Request::Map { internal_port, lifetime, .. } => (request.opcode(), Some(internal_port), lifetime == 0),
    }
}

const MOST_SENDS_IN_A_SECOND: u32 = 200;
