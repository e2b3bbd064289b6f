//! Whole networks in virtual time: clients, the gateway machine with a NAT that keeps a record, and all that can go wrong between them.
//!
//! [`Net`] is such a network, for tests that say what happens. [`run`] lets anything happen for days, from a seed; the same [`Setup`] is
//! the same run. A run that fails says how to see it again:
//!
//! ```sh
//! cargo run --release -p natpmp-testkit --example chaos -- --seed 1 --days 7 --hosts 200
//! ```
//!
//! and with `--minutes 30` it goes on from seed to seed for so long.
//!
//! # What goes wrong
//! Up to 90 % of the datagrams are lost, doubled, cut off, late and in another order, or the link is dead. The gateway reboots with its state or
//! without, loses or changes its address, is switched off, forbids mapping, is cleared, tells a wrong epoch; its NAT is slow and
//! fails; its table is too small for all. Hosts sleep, come too early or too late, have their clocks jump forward, vanish and come back. A hostile
//! host forges requests of others and answers, announcements and port unreachable of the gateway, and sends any bytes.
//!
//! # What holds
//! - Always: what a [witness](crate::model::witness) knows of each client; no answer but to a request, and none larger than it may be; what
//!   the gateway lists the NAT has, and no port twice; no client has more than its share; nothing goes on without end.
//! - In peace, once or twice a day: everything that is wanted is open within half of the longest lease and 300 s, one longest lease
//!   more if what nobody wants may hold its place in the table, and client, gateway and NAT agree on it. Then nobody sends more than renewals.
//! - When everybody has left and all leases are over: table and NAT are empty.
//!
//! # What was lived through
//! 2.8 years of networks, 117 of hosts, with 60,537 faults and 14 million forged datagrams; 3,832 times there was peace. On the way one fault of the
//! client was found: a grant of nothing was forgotten when a command or an announcement had the schedule begin anew. It has a test of its own.

mod attacker;
mod endpoints;
mod faults;
mod invariants;
mod network;
mod run;
mod statistics;

pub use endpoints::{Client, Host, Nat};
pub use faults::{Setup, run};
pub use network::Net;
pub use statistics::Statistics;
