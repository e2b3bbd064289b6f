//! A model of what a correct client may do, written from the checklist: a witness of one client.
//!
//! It is fed with the commands and inputs that the client gets, with all that the client sends and reports, and with time. For each send,
//! each event and each silence it says whether the RFC and the checklist (C01 to C28) allow it. Where the client chooses at random, the
//! model knows from when on something may be done, and by when it must be.
//!
//! | what is judged | ids | where |
//! | --- | --- | --- |
//! | to the gateway only, in the RFC's form, one in flight, by the schedule | C01, C02, C03, C14 | `requests` |
//! | nothing is sent that is not due, and nothing that is due is left unsent | C12, C19, C25, C27 | `requests` |
//! | what answers what, and what is dropped | C07, C08, C10, C15, C16, C17, C26 | `decode`, `inputs` |
//! | the epoch rule, in whole numbers | C18 | `inputs` |
//! | the life of a mapping: its lease, its suggestion, its deletion | C06, C12, C13, C23, C24 | `state` |
//! | what is reported, once, and nothing else | C20, C24, C25 | `events` |

mod commands;
mod decode;
mod events;
mod flight;
mod inputs;
mod requests;
mod rules;
mod state;
mod watched;

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::time::Duration;

use natpmp_proto::{Instant, Protocol};

use flight::Flight;
use rules::Window;
use state::{All, External, Mapping};

pub use rules::Rules;
pub use watched::{Drained, Watched};

/// What a mapping is known by: answers carry no transaction id (section 3.5).
type Key = (Protocol, u16);

/// What the model holds of one client.
#[derive(Clone, Debug)]
struct Witness {
    rules: Rules,
    /// How long to wait after each send.
    waits: Vec<Duration>,
    /// The same of a question that nobody waits for.
    short_waits: Vec<Duration>,
    gateway: SocketAddrV4,
    capacity: usize,
    mappings: BTreeMap<Key, Mapping>,
    /// The deletions of all mappings of a protocol.
    all: BTreeMap<Protocol, All>,
    external: External,
    flight: Option<Flight>,
    /// The last one read in an answer, and when.
    epoch: Option<(u32, Instant)>,
    /// The gateway was found silent: nothing is asked before, but deletions, once, and questions.
    quiet: Window,
    /// How often in a row.
    silences: u32,
    /// An announcement is to be checked by a question, at this moment.
    question: Option<Instant>,
    /// When a question goes out at the earliest: they are a second apart.
    question_from: Instant,
    /// The round of renewals that lost state or a PCP announcement caused last.
    round: Option<Window>,
    has_restarted: bool,
    has_moved: bool,
    /// How much was sent since when.
    second: (Instant, u32),
}

/// What is asked of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Address,
    Map(Key),
    Delete(Key),
    DeleteAll(Protocol),
}

impl Witness {
    fn new(rules: Rules, capacity: usize) -> Self {
        Self {
            gateway: rules.gateway,
            waits: rules.waits(),
            short_waits: rules.short_waits(),
            rules,
            capacity,
            mappings: BTreeMap::new(),
            all: BTreeMap::new(),
            external: External::default(),
            flight: None,
            epoch: None,
            quiet: Window::ALWAYS,
            silences: 0,
            question: None,
            question_from: Instant::ZERO,
            round: None,
            has_restarted: false,
            has_moved: false,
            second: (Instant::ZERO, 0),
        }
    }
}

impl Ask {
    fn key(self) -> Option<Key> {
        match self {
            Self::Map(key) | Self::Delete(key) => Some(key),
            Self::Address | Self::DeleteAll(_) => None,
        }
    }

    fn is_deletion(self) -> bool {
        matches!(self, Self::Delete(_) | Self::DeleteAll(_))
    }
}

#[cfg(test)]
mod tests;
