//! What `keep` says of a request that failed.

use natpmp_std::{Protocol, RequestError};

use super::Account;
use crate::report::{Line, name};

impl Account<'_> {
    pub(super) fn failed(&mut self, protocol: Protocol, internal_port: u16, error: RequestError) {
        // That there is none was said.
        if !self.has_gateway() {
            return;
        }
        self.tell_failure(protocol, internal_port, error);
        if error == RequestError::NetworkDown {
            // It is why the other protocol is not asked for either.
            let waits = self.held.iter().find(|held| held.protocol != protocol && held.kept.is_none());
            if let Some(other) = waits.map(|held| held.protocol) {
                self.tell_failure(other, internal_port, error);
            }
        }
    }

    fn tell_failure(&mut self, protocol: Protocol, internal_port: u16, error: RequestError) {
        let Some(held) = self.held.iter_mut().find(|held| held.protocol == protocol) else { return };
        let is_new = held.told_error != Some(error);
        held.told_error = Some(error);
        let line = Line {
            error: Some(format!("{}: {error}", self.gateway)),
            ..Line::new("retrying", self.gateway).of_mapping(protocol, internal_port)
        };
        // A person is told once, and a program every time.
        if self.global.json || is_new {
            let text = format!("{} {internal_port}: {error}; trying on", name(protocol));
            self.report.event(&line, &text);
        }
    }
}
