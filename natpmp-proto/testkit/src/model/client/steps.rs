//! Steps from any bytes.

use std::time::Duration;

use super::{Fault, Key, Sender, Setup, Step};
use crate::choices::Bytes;
use crate::gateway::{Announces, FailureForm, Gateway, Grant, Reach, VersionError};
use crate::net::Link;

pub(super) fn read(bytes: &[u8]) -> (Setup, Vec<Step>) {
    let mut bytes = Bytes::new(bytes);
    let setup = Setup { seed: bytes.u8().into(), separate_announcements: bytes.bit(), is_unpunctual: bytes.bit() };
    let mut steps = Vec::new();
    while !bytes.is_empty() && steps.len() < MOST_STEPS {
        steps.push(step(&mut bytes));
    }
    (setup, steps)
}

fn step(bytes: &mut Bytes<'_>) -> Step {
    match bytes.below(32) {
        0..=3 => Step::Keep(key(bytes), external(bytes), lifetime(bytes)),
        4 => Step::Map(key(bytes), lifetime(bytes)),
        5 => Step::Unmap(key(bytes)),
        6 => Step::UnmapAll(bytes.protocol()),
        7 => Step::Clear,
        8 => Step::Refresh(key(bytes)),
        9 => Step::AskAddress,
        10 => Step::Watch(bytes.bit()),
        11 => match bytes.below(3) {
            0 => Step::NetworkChanged,
            _ => Step::Move(bytes.bit()),
        },
        12 => Step::Hasten,
        13 => Step::Run(duration(bytes)),
        14..=17 => Step::RunToDeadline(offset(bytes)),
        18 => Step::Sleep(duration(bytes)),
        19 | 20 => Step::Datagram(sender(bytes), packet(bytes)),
        21 | 22 => {
            let (sender, result) = (sender(bytes), bytes.one_of(&[0, 0, 0, 0, 2, 3, 4, 6]));
            Step::Answer(sender, result, bytes.u16().into(), external(bytes), granted(bytes))
        }
        23 | 24 => Step::Announcement(sender(bytes), packet(bytes)),
        25 => match bytes.below(3) {
            0 => Step::KeepEvery(key(bytes), bytes.one_of(&[30, 3_000, 7_200])),
            1 => Step::Unreachable,
            _ => Step::Down,
        },
        26 | 27 => Step::Turn(fault(bytes)),
        28 => Step::Restart,
        29 => Step::DropMappings,
        30 => Step::ChangeAddress(bytes.bit()),
        _ => Step::Link(bytes.one_of(&[Link::perfect(), Link::bad(), Link::DEAD])),
    }
}

fn key(bytes: &mut Bytes<'_>) -> Key {
    (bytes.protocol(), bytes.one_of(&[4_000, 4_001, 4_002, 4_000, 4_001, 4_002, 0]))
}

fn sender(bytes: &mut Bytes<'_>) -> Sender {
    bytes.one_of(&[
        Sender::Gateway,
        Sender::Gateway,
        Sender::Gateway,
        Sender::OtherPort,
        Sender::Second,
        Sender::Stranger,
    ])
}

fn external(bytes: &mut Bytes<'_>) -> u16 {
    bytes.one_of(&[0, 4_000, 4_001, 4_002])
}

fn granted(bytes: &mut Bytes<'_>) -> u32 {
    bytes.one_of(&[0, 1, 60, 7_200, u32::MAX])
}

fn lifetime(bytes: &mut Bytes<'_>) -> u32 {
    bytes.one_of(&[7_200, 60, 3_600, 1_000, 7_199])
}

fn duration(bytes: &mut Bytes<'_>) -> Duration {
    match bytes.below(3) {
        0 => Duration::from_millis(u64::from(bytes.u16()) / 16),
        1 => Duration::from_secs(u64::from(bytes.u8()) * 3),
        _ => Duration::from_secs(u64::from(bytes.u16()) / 3),
    }
}

fn offset(bytes: &mut Bytes<'_>) -> i64 {
    match bytes.below(5) {
        0 => -1,
        1 => 0,
        2 => 1,
        3 => i64::from(bytes.u16()) * 16,
        _ => i64::from(bytes.u16()) * 300_000,
    }
}

fn fault(bytes: &mut Bytes<'_>) -> Fault {
    match bytes.below(10) {
        0 | 1 => Fault::None,
        2 => Fault::Reach(bytes.one_of(&[Reach::Open, Reach::Silent, Reach::Closed])),
        3 => {
            let code = bytes.below(8).into();
            let forms = [FailureForm::Full, FailureForm::Echo, FailureForm::Short, FailureForm::Shortest];
            Fault::Refuse((code > 0).then_some(code), bytes.one_of(&forms))
        }
        4 => Fault::Grant(bytes.one_of(&[
            Grant::AtMost(30),
            Grant::AtMost(60),
            Grant::AtMost(1),
            Grant::Exactly(0),
            Grant::Exactly(u32::MAX),
        ])),
        5 => Fault::MovesPorts,
        6 => Fault::Late(u32::from(bytes.u8()) * 8, bytes.below(3).into(), u32::from(bytes.below(4)) + 1),
        7 => Fault::Version(bytes.one_of(&[
            VersionError::Opcode0,
            VersionError::Opcode128,
            VersionError::Opcode128Plus,
            VersionError::PcpUnderVersion0,
            VersionError::Pcp,
        ])),
        8 => Fault::Miniupnpd,
        _ => Fault::Announces(bytes.one_of(&[Announces::NatPmp, Announces::Pcp])),
    }
}

/// Almost an answer, or any bytes.
fn packet(bytes: &mut Bytes<'_>) -> Vec<u8> {
    match bytes.below(8) {
        0 => return bytes.slice(64),
        1 => return Gateway::PCP_ANNOUNCE.to_vec(),
        _ => {}
    }
    let mut packet = vec![0, bytes.one_of(&[0x80, 0x81, 0x82, 0x81, 0x82, 0])];
    packet.extend([0, bytes.one_of(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6])]);
    packet.extend(u32::from(bytes.u16()).to_be_bytes());
    for _ in 0..2 {
        packet.extend(external(bytes).to_be_bytes());
    }
    packet.extend(granted(bytes).to_be_bytes());
    packet.truncate(bytes.one_of(&[16, 16, 12, 12, 8, 4, 2, 15]));
    packet
}

const MOST_STEPS: usize = 100;
