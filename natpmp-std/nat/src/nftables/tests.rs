//! What the NAT asks of the kernel, recorded by a fake one.

use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex};

use super::conntrack::{Ends, Flow, FlowFilter};
use natpmp_proto::wire::Protocol;

use super::*;

/// The calls that were made, and what the fake kernel answers.
#[derive(Debug, Default)]
struct Recorded {
    scripts: Vec<String>,
    /// Scripts with one of these words are refused.
    refused: Vec<&'static str>,
    flows: Vec<Flow>,
    ended: Vec<Flow>,
    /// What the table has; `None` is what cannot be read.
    contents: Option<Contents>,
    is_touched: bool,
    /// How often the table was read.
    looks: usize,
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
        if is_refused {
            return Err(io::Error::other("refused"));
        }
        let contents = recorded.contents.get_or_insert_default();
        for operation in operations {
            match operation {
                Operation::ReplaceTable(table) => {
                    let internal = table.internal().iter().copied().map(Element::Internal);
                    let elements = internal.chain(table.external().map(Element::External)).collect();
                    *contents = Contents { is_as_made: true, elements, strange: 0 };
                }
                Operation::DeleteTable => *contents = Contents::default(),
                Operation::Add(Element::EndedIn(_) | Element::EndedOut(_)) => {}
                Operation::Add(element) => drop(contents.elements.insert(*element)),
                Operation::Delete(element) => drop(contents.elements.remove(element)),
            }
        }
        Ok(())
    }

    fn was_touched(&mut self) -> bool {
        self.with(|recorded| std::mem::take(&mut recorded.is_touched))
    }

    fn contents(&mut self) -> io::Result<Contents> {
        self.with(|recorded| {
            recorded.looks += 1;
            recorded.contents.clone().ok_or_else(|| io::ErrorKind::ResourceBusy.into())
        })
    }

    fn changes(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Tracker for FakeKernel {
    fn flows(&mut self, filters: &[FlowFilter]) -> io::Result<Vec<Flow>> {
        let is_asked_for = |flow: &&Flow| filters.iter().any(|filter| filter.lets_through(flow));
        Ok(self.with(|recorded| recorded.flows.iter().filter(is_asked_for).cloned().collect()))
    }

    fn end_flows(&mut self, flows: &[Flow]) -> io::Result<()> {
        self.with(|recorded| {
            if !flows.is_empty() {
                let scripts = recorded.scripts.len();
                recorded.before_first_end.get_or_insert(scripts);
            }
            recorded.ended.extend_from_slice(flows);
        });
        Ok(())
    }

    fn commit(&mut self, operations: &[Operation]) -> io::Result<()> {
        Kernel::commit(self, operations)
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
    let mut nat = Nftables::with(Box::new(kernel.clone()), Box::new(kernel.clone()), interfaces, previous).unwrap();
    nat.rebuild().unwrap();
    nat.set_external_address(Some(EXTERNAL));
    kernel.scripts();
    (nat, kernel)
}

/// As a server does: it settles when the results are handed on.
fn settled(nat: &mut Nftables, requests: &[NatRequest]) {
    nat.apply(requests);
    nat.finish_cleaning();
}

const fn mapping(protocol: Protocol, internal_port: u16, external_port: u16) -> NatMapping {
    NatMapping { protocol, internal: SocketAddrV4::new(CLIENT, internal_port), external_port }
}

fn flow(protocol: Protocol, original: [(Ipv4Addr, u16); 2], reply: [(Ipv4Addr, u16); 2]) -> Flow {
    let ends = |[from, to]: [(Ipv4Addr, u16); 2]| Ends {
        from: SocketAddrV4::new(from.0, from.1),
        to: SocketAddrV4::new(to.0, to.1),
    };
    Flow { protocol, original: ends(original), reply: ends(reply), has_answer: false, is_closed: false, id: 0 }
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
    settled(&mut nat, &[NatRequest::Install(ended)]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), []);
    kernel.scripts();
    settled(&mut nat, &[NatRequest::Remove(ended)]);
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
    settled(&mut nat, &[NatRequest::Install(quiet), NatRequest::Install(datagrams)]);
    kernel.scripts();
    settled(&mut nat, &[NatRequest::Remove(quiet), NatRequest::Remove(datagrams)]);
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
        settled(&mut nat, &[NatRequest::Install(ended)]);
        settled(&mut nat, &[NatRequest::Remove(ended)]);
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
    settled(&mut nat, &[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), [blocked]);
}

#[test]
fn what_an_earlier_process_left_ends_with_the_first_call_unless_it_is_wanted() {
    let (wanted, unwanted) = (mapping(UDP, 4000, 5000), mapping(UDP, 4001, 5001));
    let (mut nat, kernel) = started(&[wanted, unwanted]);
    let flows = [(4000, 5000), (4001, 5001)]
        .map(|(internal, external)| flow(UDP, [(PEER, 7), (EXTERNAL, external)], [(CLIENT, internal), (PEER, 7)]));
    kernel.with(|recorded| recorded.flows = flows.to_vec());
    settled(&mut nat, &[NatRequest::Install(wanted)]);
    assert_eq!(kernel.with(|recorded| std::mem::take(&mut recorded.ended)), flows[1..]);
    settled(&mut nat, &[]);
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

/// Masquerading gave them the same port.
#[test]
fn flows_that_a_client_began_before_the_mapping_stay_and_those_that_it_began_since_end() {
    for protocol in [UDP, TCP] {
        let (mut nat, kernel) = started(&[]);
        let same_port = mapping(protocol, 4000, 4000);
        let flow_with_id = |peer, id| {
            let flow = flow(protocol, [(CLIENT, 4000), (PEER, peer)], [(PEER, peer), (EXTERNAL, 4000)]);
            Flow { id, ..flow }
        };
        let (older, since) = (flow_with_id(7, 1), flow_with_id(8, 2));
        let came_in = Flow { id: 3, ..flow(protocol, [(PEER, 9), (EXTERNAL, 4000)], [(CLIENT, 4000), (PEER, 9)]) };
        // The kernel may give the number of one that is closed to one that is begun in its place.
        let closed = Flow { is_closed: true, ..since.clone() };
        kernel.with(|recorded| recorded.flows = vec![older.clone(), closed]);
        settled(&mut nat, &[NatRequest::Install(same_port)]);
        kernel.with(|recorded| recorded.flows.pop());
        kernel.with(|recorded| recorded.flows.extend([since.clone(), came_in.clone()]));
        // A renewal changes nothing.
        settled(&mut nat, &[NatRequest::Install(same_port)]);
        settled(&mut nat, &[NatRequest::Remove(same_port), NatRequest::Install(same_port)]);
        assert_eq!(kernel.with(|recorded| std::mem::take(&mut recorded.ended)), [since, came_in]);
        kernel.with(|recorded| recorded.flows = vec![older.clone()]);
        settled(&mut nat, &[NatRequest::Remove(same_port)]);
        assert_eq!(kernel.with(|recorded| recorded.ended.clone()), []);
    }
}

/// Nobody has looked yet which of them are older.
#[test]
fn a_mapping_that_ends_before_its_flows_were_told_from_older_ones_ends_only_what_came_in() {
    let (mut nat, kernel) = started(&[mapping(UDP, 4001, 4001)]);
    let flows = [4000, 4001].map(|port| {
        let began = flow(UDP, [(CLIENT, port), (PEER, 7)], [(PEER, 7), (EXTERNAL, port)]);
        [began, flow(UDP, [(PEER, 8), (EXTERNAL, port)], [(CLIENT, port), (PEER, 8)])]
    });
    kernel.with(|recorded| recorded.flows = flows.concat());
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 4000))]);
    settled(&mut nat, &[NatRequest::Remove(mapping(UDP, 4000, 4000))]);
    let mut ended = kernel.with(|recorded| recorded.ended.clone());
    ended.sort_by_key(|flow| flow.original.to.port());
    assert_eq!(ended, [flows[0][1].clone(), flows[1][1].clone()], "also of what an earlier process left");
}

#[test]
fn a_mapping_is_made_again_only_after_the_flows_from_before_have_ended() {
    let (mut nat, kernel) = started(&[]);
    let again = mapping(UDP, 4000, 5000);
    settled(&mut nat, &[NatRequest::Install(again)]);
    kernel
        .with(|recorded| recorded.flows = vec![flow(UDP, [(PEER, 7), (EXTERNAL, 5000)], [(CLIENT, 4000), (PEER, 7)])]);
    nat.apply(&[NatRequest::Remove(again)]);
    assert_eq!(kernel.with(|recorded| recorded.ended.len()), 0, "that is for later");
    kernel.scripts();
    nat.apply(&[NatRequest::Install(again)]);
    assert_eq!(
        kernel.with(|recorded| (recorded.ended.len(), recorded.before_first_end)),
        (1, Some(0)),
        "before the script"
    );
    nat.finish_cleaning();
    assert_eq!(kernel.with(|recorded| recorded.ended.len()), 1, "and the new ones stay");
}

#[test]
fn the_table_is_read_only_when_somebody_else_may_have_changed_it() {
    let (mut nat, kernel) = started(&[]);
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    assert_eq!(nat.verify(), Verdict::Intact);
    assert_eq!(kernel.with(|recorded| recorded.looks), 0);
    kernel.scripts();
    kernel.with(|recorded| recorded.is_touched = true);
    assert_eq!(nat.verify(), Verdict::Intact);
    assert_eq!(nat.verify(), Verdict::Intact);
    assert_eq!(kernel.with(|recorded| recorded.looks), 1);
    assert!(kernel.scripts().is_empty());
}

#[test]
fn whatever_somebody_else_changed_is_repaired() {
    type Change = fn(&mut Contents);
    let changes: [(&str, Change); 6] = [
        ("the table is gone", |contents| *contents = Contents::default()),
        ("a rule is gone, or there is one more", |contents| contents.is_as_made = false),
        ("the address is gone", |contents| {
            contents.elements.remove(&Element::External(EXTERNAL));
        }),
        ("a mapping is gone", |contents| {
            contents.elements.remove(&Element::In(mapping(UDP, 4000, 5000)));
        }),
        ("one is back", |contents| {
            contents.elements.insert(Element::In(mapping(TCP, 4001, 5001)));
        }),
        ("there is something else", |contents| contents.strange = 1),
    ];
    for (what, change) in changes {
        let (mut nat, kernel) = started(&[]);
        nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
        let before = kernel.with(|recorded| recorded.contents.clone()).unwrap();
        kernel.scripts();
        kernel.with(|recorded| {
            change(recorded.contents.as_mut().unwrap());
            recorded.is_touched = true;
        });
        assert_eq!(nat.verify(), Verdict::Repaired, "{what}");
        assert_eq!(kernel.scripts().len(), 1, "{what}");
        let after = kernel.with(|recorded| recorded.contents.clone()).unwrap();
        assert!(after.is_as_made && after.strange == 0 && after.elements == before.elements, "{what}");
        assert_eq!(nat.verify(), Verdict::Intact, "{what}");
    }
}

#[test]
fn what_came_in_while_a_closed_port_was_open_again_ends() {
    let (mut nat, kernel) = started(&[]);
    let came_in = flow(UDP, [(PEER, 7), (EXTERNAL, 5001)], [(CLIENT, 4001), (PEER, 7)]);
    kernel.with(|recorded| {
        recorded.flows = vec![came_in.clone()];
        recorded.contents.as_mut().unwrap().elements.insert(Element::In(mapping(UDP, 4001, 5001)));
        recorded.is_touched = true;
    });
    assert_eq!(nat.verify(), Verdict::Repaired);
    nat.finish_cleaning();
    assert_eq!(kernel.with(|recorded| recorded.ended.clone()), [came_in]);
}

#[test]
fn a_table_that_cannot_be_read_or_made_is_not_called_intact() {
    let (mut nat, kernel) = started(&[]);
    nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]);
    kernel.with(|recorded| {
        recorded.contents = None;
        recorded.is_touched = true;
        recorded.refused = vec!["natpmp"];
    });
    assert_eq!(nat.verify(), Verdict::Broken);
    assert_eq!(nat.verify(), Verdict::Broken, "as long as it is");
    kernel.with(|recorded| recorded.refused.clear());
    assert_eq!(nat.verify(), Verdict::Repaired);
    assert_eq!(nat.verify(), Verdict::Intact);
    assert!(kernel.with(|recorded| recorded.contents.clone()).unwrap().elements.contains(&Element::External(EXTERNAL)));
    nat.end();
    kernel.with(|recorded| recorded.is_touched = true);
    assert_eq!(nat.verify(), Verdict::Intact, "there is nothing to be there");
    assert_eq!(kernel.with(|recorded| recorded.contents.clone()).unwrap().elements.len(), 0);
}

/// As two of these do that are started in one network namespace.
#[test]
fn where_somebody_takes_the_table_away_all_the_time_it_is_made_anew_only_so_often() {
    let (mut nat, kernel) = started(&[]);
    let mut change_and_verify = || {
        kernel.with(|recorded| {
            *recorded.contents.as_mut().unwrap() = Contents::default();
            recorded.is_touched = true;
        });
        nat.verify()
    };
    let verdicts: Vec<_> = (0..1_000).map(|_| change_and_verify()).collect();
    let repairs = verdicts.iter().filter(|verdict| **verdict == Verdict::Repaired).count();
    assert!((1..500).contains(&repairs), "{repairs}");
    assert!(verdicts.contains(&Verdict::Broken), "and is not called intact in between");
    std::thread::sleep(REPAIRS_COUNT_FOR);
    assert_eq!(change_and_verify(), Verdict::Repaired);
    assert_eq!(nat.verify(), Verdict::Intact);
}

/// Where the rules are gone and the sets are not, adding elements succeeds.
#[test]
fn nothing_is_granted_on_a_table_that_somebody_else_emptied() {
    let (mut nat, kernel) = started(&[]);
    kernel.scripts();
    kernel.with(|recorded| {
        recorded.contents.as_mut().unwrap().is_as_made = false;
        recorded.is_touched = true;
    });
    assert_eq!(nat.apply(&[NatRequest::Install(mapping(UDP, 4000, 5000))]), [Ok(())]);
    let scripts = kernel.scripts();
    let [table, elements] = &scripts[..] else { panic!("{scripts:#?}") };
    assert!(table.contains("replace table") && elements.contains("5000"));
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
