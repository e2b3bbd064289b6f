//! What `keep` does at present, for the service manager.

use super::{Account, Held, open_at};
use crate::once::find_gateway;
use crate::report::name;

impl Account<'_> {
    /// Tells what has changed. It is ready once all that it keeps is open.
    pub(super) fn tell_manager(&mut self) {
        if self.outlets.manager.is_there() {
            let is_ready = self.held.iter().all(|held| held.open.is_some());
            let status = self.status();
            self.outlets.manager.tell(is_ready, &status);
        }
    }

    fn status(&self) -> String {
        if !self.has_gateway() {
            let reason = find_gateway(self.global).err().map(|error| format!(": {error}"));
            return format!("waiting for a gateway{}", reason.unwrap_or_default());
        }
        let each: Vec<String> = self.held.iter().map(|held| self.status_of(held)).collect();
        each.join("; ")
    }

    fn status_of(&self, held: &Held) -> String {
        let (protocol, port) = (name(held.protocol), self.args.mapping.internal_port);
        match (&held.open, held.told_error, held.lost) {
            (Some(mapping), None, _) => open_at(mapping, self.external_address),
            (Some(mapping), Some(error), _) => {
                format!("{}, not renewed: {error}; trying on", open_at(mapping, self.external_address))
            }
            (None, Some(error), _) => format!("{protocol} {port}: {error}; trying on"),
            (None, None, Some(reason)) => format!("{protocol} {port} is not open: {reason}"),
            (None, None, None) => format!("asking {} for {protocol} {port}", self.gateway.ip()),
        }
    }
}
