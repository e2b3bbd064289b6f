//! What the NAT asks of the kernel, recorded by a fake one.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

use super::conntrack::Ends;
use super::*;

/// The calls that were made, and what the fake kernel answers.
#[derive(Debug, Default)]
struct Recorded {
    scripts: Vec<String>,
    /// Scripts with one of these words are refused.
    refused: Vec<&'static str>,
    flows: Vec<Flow>,
    ended: Vec<Flow>,
    /// How many scripts there were when the first flow was ended.
    before_first_end: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct FakeKernel(Arc<Mutex<Recorded>>);

impl Kernel for FakeKernel {
    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        let script = operations.iter().map(|operation| format!("{operation}\n")).collect::<String>();
        let mut recorded = self.0.lock().unwrap();
        recorded.scripts.push(script.clone());
        let is_refused = recorded.refused.iter().any(|word| script.contains(word));
        if is_refused { Err(io::Error::other("refused")) } else { Ok(()) }
    }

    fn flows(&mut self, first_to: Option<Ipv4Addr>) -> io::Result<Vec<Flow>> {
        let is_asked_for =
            |flow: &&Flow| first_to.is_none_or(|address| flow.protocol == UDP && *flow.original.to.ip() == address);
        Ok(self.0.lock().unwrap().flows.iter().filter(is_asked_for).cloned().collect())
    }

    fn end_flow(&mut self, flow: &Flow) -> io::Result<()> {
        let mut recorded = self.0.lock().unwrap();
        let scripts = recorded.scripts.len();
        recorded.before_first_end.get_or_insert(scripts);
        recorded.ended.push(flow.clone());
        Ok(())
    }
}

impl FakeKernel {
    fn with<T>(&self, work: impl FnOnce(&mut Recorded) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// What was committed since the last look.
    fn scripts(&self) -> Vec<String> {
        self.with(|recorded| std::mem::take(&mut recorded.scripts))
    }
}

fn started(previous: &[NatMapping]) -> (Nftables, FakeKernel) {
    let kernel = FakeKernel::default();
    let interfaces = Interfaces::new(Some("wan0"), &["lan0"]).unwrap();
    let previous = previous.iter().map(|mapping| (*mapping, EXTERNAL)).collect();
    let mut nat = Nftables::with(Box::new(kernel.clone()), interfaces, previous);
    nat.rebuild().unwrap();
    nat.set_external_address(Some(EXTERNAL));
    kernel.scripts();
    (nat, kernel)
}

const fn mapping(protocol: Protocol, internal_port: u16, external_port: u16) -> NatMapping {
    NatMapping { protocol, internal: SocketAddrV4::new(CLIENT, internal_port), external_port }
}

fn flow(protocol: Protocol, original: [(Ipv4Addr, u16); 2], reply: [(Ipv4Addr, u16); 2]) -> Flow {
    let ends = |[from, to]: [(Ipv4Addr, u16); 2]| Ends {
        from: SocketAddrV4::new(from.0, from.1),
        to: SocketAddrV4::new(to.0, to.1),
    };
    Flow { protocol, original: ends(original), reply: ends(reply), has_answer: false, id: 0 }
}

#[test]
fn a_call_is_one_transaction_however_many_requests() {
    let (mut nat, kernel) = started(&[]);
    let requests: Vec<_> = (1000..2000).map(|port| NatRequest::Install(mapping(UDP, port, port))).collect();
    assert_eq!(nat.apply(&requests), vec![Ok(()); 1000]);
    assert_eq!(kernel.scripts().len(), 1);
    assert_eq!(nat.apply(&[]), []);
    assert!(kernel.scripts().is_empty());
}

#[test]
fn only_what_differs_is_said_to_the_kernel() {
    let (mut nat, kernel) = started(&[]);
    let (first, moved) = (mapping(UDP, 4000, 5000), mapping(UDP, 4000, 5001));
    nat.apply(&[NatRequest::Install(first), NatRequest::Install(mapping(TCP, 1, 2)), NatRequest::Install(moved)]);
    let script = kernel.scripts().concat();
    assert!(!script.contains("5000") && script.contains("5001") && !script.contains("delete"), "{script}");
    nat.apply(&[NatRequest::Remove(first)]);
    assert!(kernel.scripts().is_empty(), "it does not stand, the other does");
    nat.apply(&[NatRequest::Install(first)]);
    let script = kernel.scripts().concat();
    let deleted = script.find("delete element ip natpmp udp_in { 5001").unwrap();
    assert!(deleted < script.find("add element ip natpmp udp_in { 5000").unwrap(), "{script}");
    nat.apply(&[NatRequest::Remove(first)]);
    assert!(kernel.scripts().concat().contains("delete element ip natpmp udp_out { 192.168.1.11 . 4000"));
}

#[test]
fn a_port_that_another_mapping_has_is_refused_without_the_kernel() {
    let (mut nat, kernel) = started(&[]);
    let other = NatMapping { internal: SocketAddrV4::new(OTHER_CLIENT, 4000), ..mapping(UDP, 4000, 5000) };
    let same_of_tcp = NatMapping { protocol: TCP, ..other };
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    kernel.scripts();
    let outcomes = nat.apply(&[NatRequest::Install(other), NatRequest::Install(same_of_tcp)]);
    assert_eq!(outcomes, [Err(NatFailure::Resources), Ok(())]);
    assert!(!kernel.scripts().concat().contains("udp"));
    let outcomes = nat.apply(&[NatRequest::Remove(mapping(UDP, 4000, 5000)), NatRequest::Install(other)]);
    assert_eq!(outcomes, [Ok(()), Ok(())]);
}

#[test]
fn one_request_that_the_kernel_refuses_does_not_fail_the_others() {
    let (mut nat, kernel) = started(&[]);
    let standing = mapping(UDP, 900, 901);
    nat.apply(&[NatRequest::Install(standing)]);
    kernel.scripts();
    kernel.with(|recorded| recorded.refused = vec!["666"]);
    let mut requests: Vec<_> =
        (0..20).map(|port| NatRequest::Install(mapping(UDP, 4000 + port, 5000 + port))).collect();
    requests.insert(13, NatRequest::Install(mapping(TCP, 4000, 666)));
    requests.push(NatRequest::Remove(standing));
    let outcomes = nat.apply(&requests);
    for (number, outcome) in outcomes.iter().enumerate() {
        let expected = if number == 13 { Err(NatFailure::Resources) } else { Ok(()) };
        assert_eq!(*outcome, expected, "{number}");
    }
    assert_eq!(outcomes.len(), requests.len());
    assert!(kernel.scripts().len() < 20, "it is found by halving");
    assert!(nat.mappings.has(&mapping(UDP, 4019, 5019)) && !nat.mappings.has(&standing));
    assert!(!nat.mappings.has(&mapping(TCP, 4000, 666)), "it leaves nothing");
}

#[test]
fn when_the_table_is_not_as_it_was_left_it_is_made_anew_with_all_that_is_to_stand() {
    let (mut nat, kernel) = started(&[]);
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000)), NatRequest::Install(mapping(TCP, 4001, 5001))]);
    kernel.scripts();
    kernel.with(|recorded| recorded.refused = vec!["delete element"]);
    let outcomes =
        nat.apply(&[NatRequest::Remove(mapping(TCP, 4001, 5001)), NatRequest::Install(mapping(UDP, 4002, 5002))]);
    assert_eq!(outcomes, [Ok(()), Ok(())]);
    let scripts = kernel.scripts();
    let [_, table] = &scripts[..] else { panic!("{scripts:#?}") };
    assert!(table.contains("replace table ip natpmp { external 11.22.33.44 }"));
    assert!(table.contains("5000") && table.contains("5002") && !table.contains("5001"), "{table}");
}

#[test]
fn while_the_kernel_takes_nothing_all_fail_and_what_was_removed_does_not_come_back() {
    let (mut nat, kernel) = started(&[]);
    let (kept, removed, new) = (mapping(UDP, 1, 5000), mapping(UDP, 2, 5001), mapping(UDP, 3, 5002));
    nat.apply(&[NatRequest::Install(kept), NatRequest::Install(removed)]);
    kernel.with(|recorded| recorded.refused = vec!["natpmp"]);
    let outcomes = nat.apply(&[NatRequest::Remove(removed), NatRequest::Install(new)]);
    assert_eq!(outcomes, [Err(NatFailure::Network); 2]);
    kernel.with(|recorded| recorded.refused.clear());
    kernel.scripts();
    assert_eq!(nat.apply(&[NatRequest::Remove(removed)]), [Ok(())]);
    let scripts = kernel.scripts();
    let [table] = &scripts[..] else { panic!("{scripts:#?}") };
    assert!(table.contains("replace table") && table.contains("5000"));
    assert!(!table.contains("5001") && !table.contains("5002"), "{table}");
}

#[test]
fn what_stood_before_requests_that_the_kernel_refused_stands_as_it_did() {
    let (mut nat, kernel) = started(&[]);
    let (first, second) = (mapping(UDP, 1, 5000), mapping(UDP, 2, 5001));
    nat.apply(&[NatRequest::Install(first), NatRequest::Install(second)]);
    kernel.with(|recorded| recorded.refused = vec!["natpmp"]);
    let exchanged = [mapping(UDP, 2, 5000), mapping(UDP, 1, 5001)].map(NatRequest::Install);
    let requests = [&[NatRequest::Remove(first), NatRequest::Remove(second)][..], &exchanged].concat();
    assert_eq!(nat.apply(&requests), [Err(NatFailure::Network); 4]);
    kernel.with(|recorded| recorded.refused.clear());
    kernel.scripts();
    let taken = NatMapping { internal: SocketAddrV4::new(OTHER_CLIENT, 1), ..first };
    assert_eq!(nat.apply(&[NatRequest::Install(taken)]), [Err(NatFailure::Resources)]);
    let table = kernel.scripts().concat();
    for there in ["5000 : 192.168.1.11 . 1", "5001 : 192.168.1.11 . 2"] {
        assert!(table.contains(there), "{there}: {table}");
    }
    let removals = [NatRequest::Remove(first), NatRequest::Remove(second)];
    nat.apply(&removals);
    assert_eq!(nat.apply(&[NatRequest::Install(taken)]), [Ok(())]);
}

#[test]
fn without_an_external_address_what_is_installed_again_is_gone() {
    let (mut nat, _kernel) = started(&[]);
    let standing = mapping(UDP, 4000, 5000);
    nat.apply(&[NatRequest::Install(standing)]);
    nat.set_external_address(None);
    assert_eq!(nat.apply(&[NatRequest::Install(standing)]), [Err(NatFailure::Network)]);
    assert!(!nat.mappings.has(&standing));
    nat.set_external_address(Some(Ipv4Addr::UNSPECIFIED));
    assert_eq!(nat.apply(&[NatRequest::Install(standing)]), [Err(NatFailure::Network)]);
}

/// G21.
#[test]
fn the_flows_of_a_mapping_end_with_it_after_the_reset_rules_and_no_others() {
    let (mut nat, kernel) = started(&[]);
    let ended = mapping(TCP, 4000, 5000);
    let came_in = flow(TCP, [(PEER, 7), (EXTERNAL, 5000)], [(CLIENT, 4000), (PEER, 7)]);
    let began = flow(TCP, [(CLIENT, 4000), (PEER, 7)], [(PEER, 7), (EXTERNAL, 5000)]);
    let others = [
        flow(UDP, [(PEER, 7), (EXTERNAL, 5000)], [(CLIENT, 4000), (PEER, 7)]),
        flow(TCP, [(PEER, 7), (EXTERNAL, 5001)], [(CLIENT, 4000), (PEER, 7)]),
        flow(TCP, [(PEER, 7), (EXTERNAL, 5000)], [(OTHER_CLIENT, 4000), (PEER, 7)]),
        flow(TCP, [(PEER, 7), (PEER, 5000)], [(CLIENT, 4000), (PEER, 7)]),
        flow(TCP, [(CLIENT, 4000), (PEER, 7)], [(PEER, 7), (CLIENT, 4000)]),
        flow(TCP, [(CLIENT, 4000), (PEER, 7)], [(PEER, 7), (EXTERNAL, 4000)]),
        flow(TCP, [(CLIENT, 4001), (PEER, 7)], [(PEER, 7), (EXTERNAL, 5000)]),
    ];
    kernel.with(|recorded| recorded.flows = [vec![came_in.clone(), began.clone()], others.to_vec()].concat());
    nat.apply(&[NatRequest::Install(ended)]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), []);
    kernel.scripts();
    nat.apply(&[NatRequest::Remove(ended)]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), [came_in, began]);
    assert_eq!(kernel.with(|recorded| recorded.before_first_end), Some(2), "the removal, and the reset rules");
    let scripts = kernel.scripts();
    assert!(scripts[1].contains("ended_in { 5000 }") && scripts[1].contains("ended_out { 192.168.1.11 . 4000 }"));
}

#[test]
fn reset_rules_are_set_only_where_there_are_connections() {
    let (mut nat, kernel) = started(&[]);
    let (quiet, datagrams) = (mapping(TCP, 4000, 5000), mapping(UDP, 4000, 5000));
    kernel
        .with(|recorded| recorded.flows = vec![flow(UDP, [(PEER, 7), (EXTERNAL, 5000)], [(CLIENT, 4000), (PEER, 7)])]);
    nat.apply(&[NatRequest::Install(quiet), NatRequest::Install(datagrams)]);
    kernel.scripts();
    nat.apply(&[NatRequest::Remove(quiet), NatRequest::Remove(datagrams)]);
    assert_eq!(kernel.scripts().len(), 1);
    assert_eq!(kernel.with(|recorded| recorded.ended.len()), 1);
}

#[test]
fn a_flow_between_two_mappings_ends_with_either() {
    for (internal, external_port) in [((CLIENT, 4000), 5000), ((OTHER_CLIENT, 4001), 5001)] {
        let (mut nat, kernel) = started(&[]);
        let hairpin = flow(UDP, [(OTHER_CLIENT, 4001), (EXTERNAL, 5000)], [(CLIENT, 4000), (EXTERNAL, 5001)]);
        kernel.with(|recorded| recorded.flows = vec![hairpin.clone()]);
        let internal = SocketAddrV4::new(internal.0, internal.1);
        let ended = NatMapping { protocol: UDP, internal, external_port };
        nat.apply(&[NatRequest::Install(ended)]);
        nat.apply(&[NatRequest::Remove(ended)]);
        assert_eq!(kernel.with(|recorded| recorded.ended.clone()), [hairpin]);
    }
}

#[test]
fn who_sent_before_the_port_was_mapped_is_forgotten_unless_the_box_answered() {
    let (mut nat, kernel) = started(&[]);
    let blocked = flow(UDP, [(PEER, 7), (EXTERNAL, 5000)], [(EXTERNAL, 5000), (PEER, 7)]);
    let served = Flow { has_answer: true, ..blocked.clone() };
    let elsewhere = flow(UDP, [(PEER, 7), (EXTERNAL, 5001)], [(EXTERNAL, 5001), (PEER, 7)]);
    kernel.with(|recorded| recorded.flows = vec![served, elsewhere, blocked.clone()]);
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), [blocked]);
}

#[test]
fn what_an_earlier_process_left_ends_with_the_first_call_unless_it_is_wanted() {
    let (wanted, unwanted) = (mapping(UDP, 4000, 5000), mapping(UDP, 4001, 5001));
    let (mut nat, kernel) = started(&[wanted, unwanted]);
    let flows = [(4000, 5000), (4001, 5001)]
        .map(|(internal, external)| flow(UDP, [(PEER, 7), (EXTERNAL, external)], [(CLIENT, internal), (PEER, 7)]));
    kernel.with(|recorded| recorded.flows = flows.to_vec());
    nat.apply(&[NatRequest::Install(wanted)]);
    assert_eq!(kernel.with(|recorded| std::mem::take(&mut recorded.ended)), flows[1..]);
    nat.apply(&[]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), []);
}

#[test]
fn it_ends_once_and_leaves_the_table_only_when_detached() {
    let is_removal = |script: &String| script.ends_with("delete table ip natpmp\n");
    let (mut nat, kernel) = started(&[]);
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    kernel.scripts();
    nat.end();
    drop(nat);
    let scripts = kernel.scripts();
    assert!(scripts.len() == 1 && is_removal(&scripts[0]), "{scripts:#?}");

    let (nat, kernel) = started(&[]);
    nat.detach();
    assert!(kernel.scripts().is_empty());

    let (mut nat, kernel) = started(&[]);
    nat.end();
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    kernel.scripts();
    drop(nat);
    assert!(kernel.scripts().iter().all(is_removal));
}

#[test]
fn names_of_interfaces_cannot_say_anything_else() {
    for name in ["", "lan 0", "lan\"0", "lan*", "a/b", "a\\b", "sixteen-letters-", "lan\n0", "lä"] {
        for (external, internal) in [(Some(name), "lan0"), (Some("wan0"), name), (None, name)] {
            let error = Interfaces::new(external, &[internal]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }
    assert!(Interfaces::new(Some("wan0"), &[]).is_err());
    for name in ["br-lan", "eth0.2", "wg0", "fifteen-letters", "enp3s0@x:1"] {
        Interfaces::new(None, &[name]).unwrap();
    }
}

const UDP: Protocol = Protocol::Udp;
const TCP: Protocol = Protocol::Tcp;
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 11);
const OTHER_CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 12);
const PEER: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 1);
