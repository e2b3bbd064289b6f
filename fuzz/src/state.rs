//! **Invariant.** Any text is read as a gateway's state or is refused with the number of a line that it has, or of the one that is missing
//! behind them. What was read, written again, is read as the same. A state of any values is read as it was written; and with any
//! one byte of the file changed, taken out or put in, or the file cut off anywhere, it is refused. Nothing panics.

use std::net::SocketAddrV4;

use natpmp_proto::Protocol;
use natpmp_proto::gateway::NatMapping;
use natpmp_std::server::{StateError, StoredMapping, StoredState};

use crate::reader::Reader;

/// Reads these bytes as a file, as one that lacks its end only, and as choices of which a state is made and damaged.
///
/// # Panics
/// If the invariant does not hold.
pub fn run(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    read(&String::from_utf8_lossy(bytes));
    read(&with_end(&String::from_utf8_lossy(bytes)));
    damage(&mut Reader::new(bytes));
}

fn read(text: &str) {
    match StoredState::parse(text) {
        Ok(state) => assert_eq!(StoredState::parse(&state.to_string()).unwrap(), state),
        Err(StateError::Damaged { line, what, kept_as: None }) => {
            assert!(!what.is_empty());
            let lines = text.split_inclusive('\n').count();
            assert!((1..=lines + 1).contains(&line), "line {line} of {lines}");
        }
        Err(other) => panic!("{other}"),
    }
}

/// With the end that these lines have if they are a state: no fuzzer guesses a checksum.
fn with_end(text: &str) -> String {
    let text = format!("natpmp gateway state 1\n{text}\n");
    let sum = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mappings = text.lines().count().saturating_sub(2);
    format!("{text}end {mappings} {sum:016x}\n")
}

fn damage(choices: &mut Reader<'_>) {
    let (kind, place, byte) = (choices.u8(), usize::from(choices.u16()), choices.u8());
    let state = state(choices);
    let text = state.to_string();
    assert_eq!(StoredState::parse(&text).unwrap(), state);

    let mut bytes = text.clone().into_bytes();
    let place = place % bytes.len();
    match kind % 4 {
        0 => bytes[place] ^= byte.max(1),
        1 => drop(bytes.remove(place)),
        2 => bytes.insert(place, byte),
        _ => bytes.truncate(place),
    }
    // As the file is read.
    let damaged = String::from_utf8_lossy(&bytes);
    assert!(StoredState::parse(&damaged).is_err(), "{damaged:?}");
}

fn state(choices: &mut Reader<'_>) -> StoredState {
    let mut state =
        StoredState { saved_at: choices.u64(), epoch: choices.u32(), is_final: choices.bit(), mappings: Vec::new() };
    while !choices.is_empty() && state.mappings.len() < MOST_MAPPINGS {
        let protocol = Protocol::ALL[usize::from(choices.bit())];
        // 0 is no address and no port.
        let internal = SocketAddrV4::new(choices.u32().max(1).into(), choices.u16().max(1));
        let mapping = NatMapping { protocol, internal, external_port: choices.u16().max(1) };
        state.mappings.push(StoredMapping { mapping, expires_at: choices.u64() });
    }
    state
}

const LONGEST: usize = 2_048;
const MOST_MAPPINGS: usize = 32;
