//! The signals that ask the command to end.

use std::io;
use std::sync::mpsc::{SyncSender, TrySendError};
use std::thread;

/// Calls `stop` at each of them, on a thread of its own.
///
/// They are SIGINT and SIGTERM, and SIGHUP unless it is ignored: `nohup` has it ignored, and expects that to last.
#[cfg(unix)]
pub(crate) fn on_stop(mut stop: impl FnMut() + Send + 'static) -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;

    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    if !is_ignored(SIGHUP) {
        signals.add_signal(SIGHUP)?;
    }
    let listen = move || signals.forever().for_each(|_| stop());
    thread::Builder::new().name("signals".into()).spawn(listen).map(drop)
}

/// Sends the message that the command is to end, without waiting for a receiver that is busy with earlier ones.
pub(crate) fn deliver<T: Send + 'static>(sender: &SyncSender<T>, message: T) {
    if let Err(TrySendError::Full(message)) = sender.try_send(message) {
        let sender = sender.clone();
        // If there is no thread to be had, the next signal is another chance.
        let _ = thread::Builder::new().spawn(move || sender.send(message));
    }
}

/// How much of what happens waits for a command that is busy, with a pipe that nobody reads perhaps. What is more than that
/// waits in the queue of the library, which is bounded.
pub(crate) const MOST_WAITING: usize = 64;

/// Whether this process was started with the signal ignored. Only Linux says so; elsewhere the signal is left alone.
#[cfg(unix)]
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal).ok().and_then(|signal| 1u64.checked_shl(signal.saturating_sub(1)));
    mask.zip(bit).is_none_or(|(mask, bit)| mask & bit != 0)
}

#[cfg(not(unix))]
pub(crate) fn on_stop(stop: impl FnMut() + Send + 'static) -> io::Result<()> {
    ctrlc::set_handler(stop).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn the_word_to_end_gets_through_to_whoever_is_busy() {
        let (sender, messages) = mpsc::sync_channel(2);
        (0..2).for_each(|number| sender.send(number).unwrap());
        deliver(&sender, 7);
        assert_eq!(messages.iter().take(3).collect::<Vec<_>>(), [0, 1, 7]);
    }
}
