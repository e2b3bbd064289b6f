//! The gateway machine beside a model of a correct gateway.
//!
//! The model is written from the checklist with plain maps, and knows nothing of the machine's insides: after every step it says
//! which answers are allowed, and what the NAT, which it plays, holds.

mod answers;
mod commands;
mod machine;
mod nat;
mod requests;
mod row;
mod steps;
mod time;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatFailure;
use natpmp_proto::wire::Request;

use machine::Run;

/// Something that happens to the gateway. Clients are numbered from 0, up to [`CLIENTS`] - 1.
#[derive(Clone, Debug)]
pub enum Step {
    /// A client asks.
    Ask(u8, Request),
    /// The same again, as a client does that got no answer.
    Repeat,
    /// A client sends any bytes.
    Bytes(u8, Vec<u8>),
    /// Time passes.
    Pass(When),
    /// The machine is asked what the NAT is to do.
    AskNat,
    /// One of the outcomes that are due.
    Outcome(usize, Result<(), NatFailure>),
    /// An outcome that nobody asked for, of this client, protocol, internal and external port.
    Bogus(u8, Protocol, u16, u16, bool),
    /// The external address changes, or is lost.
    Address(Option<u8>),
    /// Mapping is allowed or forbidden.
    Allow(bool),
    /// NAT is switched on or off.
    Switch(bool),
    /// The table is cleared.
    Clear,
    /// The administrator makes a mapping of this client, protocol, internal and external port.
    AddStatic(u8, Protocol, u16, u16),
    /// A stored mapping is taken on, with what is left of its lease in seconds.
    Restore(u8, Protocol, u16, u16, u32),
    /// The administrator removes a mapping.
    Remove(u8, Protocol, u16),
}

/// A moment to go to.
#[derive(Clone, Copy, Debug)]
pub enum When {
    /// In microseconds.
    AfterNow(u64),
    /// After the next deadline in microseconds, before it if negative.
    AfterDeadline(i64),
}

/// Reads a seed and steps from any bytes, and runs them.
///
/// # Panics
/// If the machine does what a correct gateway does not.
pub fn run(bytes: &[u8]) {
    let (seed, is_eager, steps) = steps::read(bytes);
    run_steps(seed, is_eager, &steps);
}

/// Runs the machine beside the model; at the end the NAT works, and all leases end. `is_eager`: the NAT is asked after each step.
///
/// # Panics
/// If the machine does what a correct gateway does not.
pub fn run_steps(seed: u64, is_eager: bool, steps: &[Step]) {
    let mut run = Run::new(seed, is_eager);
    let mut last = None;
    for step in steps {
        match step.clone() {
            Step::Ask(client, request) => {
                last = Some((client, request));
                run.ask(client, &request);
            }
            Step::Repeat => {
                if let Some((client, request)) = last {
                    run.ask(client, &request);
                }
            }
            Step::Bytes(client, bytes) => run.bytes(client, &bytes),
            Step::Pass(when) => run.pass(when),
            Step::AskNat => run.ask_nat(),
            Step::Outcome(number, outcome) => run.outcome(number, outcome),
            Step::Bogus(client, protocol, port, external, is_ok) => run.bogus(client, protocol, port, external, is_ok),
            Step::Address(address) => run.set_address(address),
            Step::Allow(is_allowed) => run.allow(is_allowed),
            Step::Switch(is_on) => run.switch(is_on),
            Step::Clear => run.clear(),
            Step::AddStatic(client, protocol, port, external) => run.add_static(client, protocol, port, external),
            Step::Restore(client, protocol, port, external, lifetime) => {
                run.restore(client, protocol, port, external, lifetime);
            }
            Step::Remove(client, protocol, port) => run.remove(client, protocol, port),
        }
        run.check();
    }
    run.heal();
    run.let_all_leases_end();
}

/// The lowest external port that clients may have. Of all, two in the middle are denied.
pub const LOW: u16 = 4_000;
/// The highest one.
pub const HIGH: u16 = 4_011;
/// How many clients there are.
pub const CLIENTS: u8 = 5;

const DENIED: [u16; 2] = [4_005, 4_006];
const LIMIT: usize = 4;
const LONGEST: u32 = 600;
const CAPACITY: usize = 12;

fn is_allowed(port: u16) -> bool {
    (LOW..=HIGH).contains(&port) && !(DENIED[0]..=DENIED[1]).contains(&port)
}

fn socket(client: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100 + client), 50_000)
}

fn secs(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into())
}
