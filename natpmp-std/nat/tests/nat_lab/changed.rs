//! Somebody else changes the table: the kernel tells, and what was granted passes again.

use std::net::SocketAddrV4;

use natpmp_nat::{Nat, NatMapping, Verdict};
use natpmp_proto::Protocol::{Tcp, Udp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::traffic::{accept, connect, exchange, is_refused, is_reset_when_it_speaks, listener, talk, udp};
use super::{FLOWS_END_WITHIN, RouterLab};

/// A lab with a mapping of each protocol through which there is traffic.
struct Mapped {
    router_lab: RouterLab,
    mappings: [NatMapping; 2],
    there: SocketAddrV4,
}

impl Mapped {
    fn or_skip() -> Option<Self> {
        let mut router_lab = RouterLab::or_skip(1)?;
        let mappings = [router_lab.mapping(0, Udp, 4000, 5000), router_lab.mapping(0, Tcp, 4000, 5000)];
        let there = router_lab.install(mappings[0]);
        router_lab.install(mappings[1]);
        let mapped = Self { router_lab, mappings, there };
        assert!(!mapped.has_news(0), "what the NAT did itself is no changes");
        mapped.passes();
        Some(mapped)
    }

    fn nft(&self, script: &str) {
        self.router_lab.lab.router().nft(script);
    }

    fn list(&self) -> String {
        self.router_lab.nft(&["list", "table", "ip", "natpmp"])
    }

    /// Whether the kernel tells of a change within so many milliseconds.
    fn has_news(&self, milliseconds: i64) -> bool {
        let nat = self.router_lab.nat.as_ref().unwrap();
        let mut descriptor = [PollFd::from_borrowed_fd(nat.changes().unwrap(), PollFlags::IN)];
        let timeout = Timespec { tv_sec: 0, tv_nsec: milliseconds * 1_000_000 };
        poll(&mut descriptor, Some(&timeout)).unwrap() > 0
    }

    fn verify(&mut self) -> Verdict {
        assert!(self.has_news(500));
        let verdict = self.router_lab.within(|nat| {
            let verdict = nat.verify();
            nat.settle();
            verdict
        });
        std::thread::sleep(FLOWS_END_WITHIN);
        assert!(!self.has_news(0) || self.router_lab.within(Nat::verify) == Verdict::Intact, "its own doing");
        verdict
    }

    fn passes(&self) {
        exchange(&udp(self.router_lab.internet(), 0), self.there, &udp(self.router_lab.client(0), 4000));
        let accepting = listener(self.router_lab.client(0), 4000);
        let mut outer = connect(self.router_lab.internet(), 0, self.there).unwrap();
        talk(&mut outer, &mut accept(&accepting).0);
        // The port is to be had again at once.
        socket2::SockRef::from(&outer).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }
}

#[test]
fn whatever_somebody_else_does_to_the_table_is_told_and_repaired() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    let listing = mapped.list();
    for change in [
        "delete table ip natpmp",
        "flush table ip natpmp",
        "flush chain ip natpmp prerouting",
        "flush map ip natpmp udp_in",
        "delete element ip natpmp tcp_in { 5000 }",
        "delete element ip natpmp external { 11.22.33.44 }",
        "flush set ip natpmp internal",
        "insert rule ip natpmp prerouting udp dport 5000 return",
        "insert rule ip natpmp forward drop",
        "add chain ip natpmp forward { policy drop; }",
        "add chain ip natpmp more { type filter hook forward priority 0; policy drop; }",
        "add set ip natpmp more { type ipv4_addr; }",
        "add table ip natpmp { flags dormant; }",
        "delete element ip natpmp udp_in { 5000 }; add element ip natpmp udp_in { 5000 : 192.168.1.99 . 4000 }",
    ] {
        mapped.nft(change);
        assert_eq!(mapped.verify(), Verdict::Repaired, "{change}");
        assert_eq!(mapped.list(), listing, "{change}");
        mapped.passes();
    }
}

/// As the reload of Debian's rule set does: its first line takes the tables of everybody.
#[test]
fn after_the_whole_rule_set_was_flushed_running_connections_go_on() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    let accepting = listener(mapped.router_lab.client(0), 4000);
    let mut outer = connect(mapped.router_lab.internet(), 0, mapped.there).unwrap();
    let (mut inner, _) = accept(&accepting);
    mapped.nft("flush ruleset");
    assert_eq!(mapped.verify(), Verdict::Repaired);
    talk(&mut outer, &mut inner);
    talk(&mut inner, &mut outer);
}

#[test]
fn a_port_that_an_older_listing_opened_again_is_closed_and_what_came_in_ends() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    let older = mapped.list();
    let streams = mapped.mappings[1];
    mapped.router_lab.remove(streams);
    let accepting = listener(mapped.router_lab.client(0), 4000);
    mapped.nft(&format!("delete table ip natpmp; {older}"));
    let mut outer = connect(mapped.router_lab.internet(), 0, mapped.there).expect("it is open again");
    let (mut inner, _) = accept(&accepting);
    talk(&mut outer, &mut inner);
    assert_eq!(mapped.verify(), Verdict::Repaired);
    assert!(is_reset_when_it_speaks(&mut outer));
    assert!(connect(mapped.router_lab.internet(), 0, mapped.there).is_err());
    exchange(&udp(mapped.router_lab.internet(), 0), mapped.there, &udp(mapped.router_lab.client(0), 4000));
}

#[test]
fn what_others_do_to_their_own_tables_changes_nothing() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    let before = mapped.list();
    mapped
        .nft("add table ip6 natpmp; add table ip other; add set ip other udp_in { type inet_service; flags timeout; }");
    assert_eq!(mapped.verify(), Verdict::Intact);
    // More than there is room for.
    let ports: Vec<_> = (1..60_000).map(|port| format!("{port}")).collect();
    mapped.nft(&format!("add element ip other udp_in {{ {} }}", ports.join(", ")));
    assert_eq!(mapped.verify(), Verdict::Intact);
    assert_eq!(mapped.list(), before);
}

/// Where nobody has called for a look yet.
#[test]
fn a_mapping_is_granted_only_with_the_rules_that_make_it_work() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    mapped.nft("flush table ip natpmp");
    assert!(is_refused(mapped.router_lab.internet(), mapped.there));
    let another = mapped.router_lab.mapping(0, Udp, 4001, 5001);
    let there = mapped.router_lab.install(another);
    exchange(&udp(mapped.router_lab.internet(), 0), there, &udp(mapped.router_lab.client(0), 4001));
    mapped.passes();
}

/// A deletion is answered before the flows are looked for: nothing new comes in from then on.
#[test]
fn a_mapping_that_ended_is_closed_at_once_and_its_flows_end_when_the_nat_settles() {
    let Some(mut mapped) = Mapped::or_skip() else { return };
    let accepting = listener(mapped.router_lab.client(0), 4000);
    let mut outer = connect(mapped.router_lab.internet(), 0, mapped.there).unwrap();
    let (mut inner, _) = accept(&accepting);
    let removals = mapped.mappings.map(natpmp_proto::gateway::NatRequest::Remove);
    assert_eq!(mapped.router_lab.apply_only(&removals), [Ok(()); 2]);
    assert!(is_refused(mapped.router_lab.internet(), mapped.there));
    talk(&mut outer, &mut inner);
    mapped.router_lab.within(Nat::settle);
    std::thread::sleep(FLOWS_END_WITHIN);
    assert!(is_reset_when_it_speaks(&mut outer) && is_reset_when_it_speaks(&mut inner));
}
