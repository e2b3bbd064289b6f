//! What is to be said, and what was.

use natpmp_proto::wire::Refusal;
use natpmp_proto::{Discard, Protocol, TransmitKind};

use super::machine::Run;
use super::nat::Sent;
use super::row::{All, Asker, Key};

/// What the machine said to a datagram.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    Answer(Vec<u8>),
    AfterNat,
    Nothing(Discard),
}

impl Said {
    #[track_caller]
    pub(super) fn is(&self, bytes: &[u8]) {
        assert_eq!(*self, Self::Answer(bytes.to_vec()));
    }

    #[track_caller]
    pub(super) fn is_silence(&self) {
        assert!(matches!(self, Self::Nothing(Discard::Undecodable(_))), "{self:?} where nothing is to be said");
    }
}

impl Run {
    /// What is sent after an input: one answer at most, and announcements that are due.
    pub(super) fn answered(&mut self, request: &[u8]) -> Option<Sent> {
        let mut answer = None;
        for _ in 0..100 {
            let Some(transmit) = self.gateway.poll_transmit(self.now) else { return answer };
            match transmit.kind {
                TransmitKind::Announcement => self.judge_announcement(&transmit),
                TransmitKind::Answer { socket } | TransmitKind::Echo { socket } => {
                    assert_eq!(answer, None, "one answer");
                    let mut buffer = vec![0; request.len().max(16)];
                    let bytes = transmit.write(request, &mut buffer).expect("16 bytes or the request's size").to_vec();
                    answer = Some((Asker { address: transmit.to, socket }, bytes));
                }
                TransmitKind::Request { .. } => panic!("a gateway asks nobody"),
            }
        }
        panic!("it sends without end");
    }

    pub(super) fn is_free(&self, port: u16, key: &Key) -> bool {
        self.rows
            .iter()
            .all(|(other, row)| row.external != Some(port) || other == key || (other.0 == key.0 && other.1 != key.1))
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch.1 + self.now.saturating_since(self.epoch.0).as_secs() as u32
    }

    pub(super) fn grant(&self, key: &Key, external_port: u16, lifetime: u32) -> Vec<u8> {
        let mut bytes = vec![0, 128 + key.1.opcode(), 0, 0];
        bytes.extend(self.epoch().to_be_bytes());
        bytes.extend(key.2.to_be_bytes());
        bytes.extend(external_port.to_be_bytes());
        bytes.extend(lifetime.to_be_bytes());
        bytes
    }

    pub(super) fn deletion(&self, key: &Key) -> Vec<u8> {
        self.grant(key, 0, 0)
    }

    pub(super) fn deletion_of_all(&self, protocol: Protocol, all: &All) -> Vec<u8> {
        let key = (*all.to.ip(), protocol, 0);
        match all {
            All { has_failed: true, .. } => self.refusal(&key, 3),
            All { has_static: true, .. } => self.refusal(&key, 2),
            _ => self.deletion(&key),
        }
    }

    /// G17
    pub(super) fn refusal(&self, key: &Key, code: u8) -> Vec<u8> {
        let mut bytes = self.deletion(key);
        bytes[3] = code;
        bytes
    }

    pub(super) fn is_refusal(&self, said: &Said, key: &Key, code: u8) {
        assert_ne!(Refusal::from_code(code.into()), None);
        said.is(&self.refusal(key, code));
    }
}
