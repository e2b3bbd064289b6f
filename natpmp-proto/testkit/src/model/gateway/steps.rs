//! Steps from any bytes.

use natpmp_proto::gateway::NatFailure;
use natpmp_proto::wire::Request;

use super::{CLIENTS, HIGH, LOW, Step, When};
use crate::choices::Bytes;

pub(super) fn read(bytes: &[u8]) -> (u64, bool, Vec<Step>) {
    let mut bytes = Bytes::new(bytes);
    let (seed, is_eager) = (bytes.u8().into(), bytes.bit());
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < MOST_STEPS {
        steps.push(step(&mut bytes));
    }
    (seed, is_eager, steps)
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    match bytes.below(16) {
        0 | 1 => Step::Ask(client(bytes), request(bytes)),
        2 => Step::Repeat,
        3 => Step::Bytes(client(bytes), bytes.slice(64)),
        4 | 5 => Step::Pass(when(bytes)),
        6 => Step::AskNat,
        7 | 8 => Step::Outcome(bytes.below(8).into(), outcome(bytes)),
        9 => Step::Bogus(client(bytes), bytes.protocol(), port(bytes), external(bytes), bytes.bit()),
        10 => Step::Address(bytes.one_of(&[None, Some(0), Some(1)])),
        11 => Step::Allow(bytes.bit()),
        12 => Step::Switch(bytes.bit()),
        13 => Step::Clear,
        14 => match bytes.bit() {
            true => Step::AddStatic(client(bytes), bytes.protocol(), port(bytes), external(bytes)),
            false => Step::Restore(client(bytes), bytes.protocol(), port(bytes), external(bytes), lifetime(bytes)),
        },
        _ => Step::Remove(client(bytes), bytes.protocol(), port(bytes)),
    }
}

fn request(bytes: &mut Bytes<'_>) -> Request {
    match bytes.below(8) {
        0 => Request::ExternalAddress,
        1 => Request::delete(bytes.protocol(), 0),
        2 | 3 => Request::delete(bytes.protocol(), port(bytes)),
        _ => Request::Map {
            protocol: bytes.protocol(),
            internal_port: port(bytes),
            suggested_external_port: external(bytes),
            lifetime: lifetime(bytes),
        },
    }
}

fn outcome(bytes: &mut Bytes<'_>) -> Result<(), NatFailure> {
    bytes.one_of(&[Ok(()), Ok(()), Err(NatFailure::Network), Err(NatFailure::Resources)])
}

fn when(bytes: &mut Bytes<'_>) -> When {
    match bytes.below(6) {
        0 => When::AfterDeadline(-1),
        1 => When::AfterDeadline(0),
        2 => When::AfterDeadline(1),
        3 => When::AfterDeadline(i64::from(bytes.u16()) * 32),
        4 => When::AfterNow(u64::from(bytes.u16()) * 256),
        _ => When::AfterNow(bytes.u32().into()),
    }
}

fn client(bytes: &mut Bytes<'_>) -> u8 {
    bytes.below(CLIENTS)
}

fn port(bytes: &mut Bytes<'_>) -> u16 {
    bytes.one_of(&[LOW, LOW + 1, LOW + 2, LOW, LOW + 1, LOW + 2, 80, 0])
}

fn external(bytes: &mut Bytes<'_>) -> u16 {
    match bytes.below(16) {
        0 => 0,
        1 => 80,
        offset => (LOW + u16::from(offset) - 2).min(HIGH),
    }
}

fn lifetime(bytes: &mut Bytes<'_>) -> u32 {
    match bytes.below(8) {
        0 => 0,
        1 => u32::MAX,
        2..=4 => u32::from(bytes.u8()) * 4 + 1,
        _ => u32::from(bytes.below(30)) + 1,
    }
}

const MOST_STEPS: usize = 200;
