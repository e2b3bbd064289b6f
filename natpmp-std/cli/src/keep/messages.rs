//! What `keep` waits for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;

use natpmp_std::Event;

use crate::failure::{Failure, OTHER};
use crate::signals;

pub(super) enum Message {
    Event(Event),
    Interrupted,
    /// There will be no more events: nothing is renewed any longer.
    Ended,
}

/// The signal to stop. A second one ends the program at once.
pub(super) fn catch_signals(sender: SyncSender<Message>) -> Result<(), Failure> {
    let is_second = AtomicBool::new(false);
    let handler = move || {
        if is_second.swap(true, Ordering::Relaxed) {
            std::process::exit(OTHER.into());
        }
        signals::deliver(&sender, Message::Interrupted);
    };
    signals::on_stop(handler).map_err(|error| Failure::other("cannot catch signals", error, ""))
}

/// The events of the client, and their end.
pub(super) fn follow(
    events: impl Iterator<Item = Event> + Send + 'static,
    sender: SyncSender<Message>,
) -> Result<(), Failure> {
    let follow = move || {
        // An error is that nobody waits for them any more.
        let _ = events.map(Message::Event).chain([Message::Ended]).try_for_each(|message| sender.send(message));
    };
    let started = thread::Builder::new().name("events".into()).spawn(follow);
    started.map(drop).map_err(|error| Failure::other("cannot follow what happens", error, ""))
}

pub(super) const ENDED: &str = "the worker that renews it has ended, which it never should";

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_end_of_the_events_is_a_message() {
        let (sender, messages) = mpsc::sync_channel(4);
        // As the signals do, this holds the channel open.
        let _other = sender.clone();
        assert!(follow([Event::GatewayRestarted].into_iter(), sender).is_ok());
        assert!(matches!(messages.recv(), Ok(Message::Event(Event::GatewayRestarted))));
        assert!(matches!(messages.recv(), Ok(Message::Ended)));
    }
}
