//! Which gateway to keep mappings at, where the network may not be there yet.

use std::net::SocketAddrV4;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use natpmp_std::{DiscoverError, Error};

use super::messages::Message;
use crate::args::Global;
use crate::failure::Failure;
use crate::once::find_gateway;
use crate::report::{Line, Report, note};

/// The gateway that was given or is discovered, as soon as there is one; `None` if the command is to end before that.
pub(super) fn wait_for_gateway(
    global: &Global,
    report: &mut Report,
    messages: &Receiver<Message>,
) -> Result<Option<SocketAddrV4>, Failure> {
    let mut pause = FIRST_PAUSE;
    let mut has_told = false;
    loop {
        let error = match find_gateway(global) {
            Ok(gateway) => return Ok(Some(gateway)),
            Err(error @ DiscoverError::Unsupported) => {
                return Err(Failure::new("cannot find the gateway", &Error::Discover(error)));
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut has_told, true) {
            let line = Line { event: "retrying", error: Some(error.to_string()), ..Line::default() };
            report.event(&line, &format!("no gateway yet: {error}; trying on, interrupt to end"));
        }
        // Whatever comes before there are events is a reason to end.
        if report.is_closed || !matches!(messages.recv_timeout(pause), Err(RecvTimeoutError::Timeout)) {
            note("natpmp: no gateway was found: nothing is open");
            return Ok(None);
        }
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
}

const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
