//! The subcommand `keep`: mappings that are held until the command is interrupted.
//!
//! A thread for the signals and one for the events of the client send [`Message`]s; the thread of the command handles one after the other. What
//! is known of the mappings, and what is said of them, is in [`keep_report`](crate::keep_report).

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use natpmp_std::{Client, Ending, Error, Event, KeptMapping, Protocol, RequestError, Schedule};

use crate::args::{self, Global};
use crate::failure::{Failure, OTHER};
use crate::hook::Hook;
use crate::keep_report::{KeepReporter, Outputs};
use crate::lines::Line;
use crate::notify::Manager;
use crate::once::find_gateway;
use crate::port_file::PortFile;
use crate::report::{Notes, Report};
use crate::signals;

/// Keeps what the arguments say until a signal comes, or nobody reads the results any more; then deletes it.
pub(crate) fn keep(global: &Global, args: &args::Keep, report: &mut Report) -> Result<(), Failure> {
    let (sender, messages) = mpsc::sync_channel(signals::MOST_WAITING);
    catch_signals(sender.clone())?;
    let outputs = open_outputs(args, &report.notes())?;
    let client = client(global, args, report)?;
    follow(client.events(), sender)?;
    let reporter = KeepReporter::with_outputs(global, args, report, client.gateway(), outputs);
    let mut keeper = Keeper { client, args, reporter, kept: Vec::new() };
    keeper.begin()?;
    keeper.reporter.notify_manager();
    let mut result = Ok(());
    for message in messages {
        match message {
            Message::Event(event) => keeper.handle(&event)?,
            Message::Interrupted => break,
            Message::Ended => {
                result = Err(Failure::other("cannot keep the mapping any longer", ENDED, "Start it again."));
                break;
            }
        }
        keeper.reporter.notify_manager();
        if keeper.reporter.report.is_closed() {
            keeper.reporter.report.note("natpmp: nobody reads standard output any more: stopping");
            break;
        }
    }
    // Of two failures the first one is the reason.
    let ended = keeper.end();
    result.and(ended)
}

/// What the command waits for.
enum Message {
    Event(Event),
    Interrupted,
    /// There will be no more events: nothing is renewed any longer.
    Ended,
}

/// Sends a message at the signal to stop. A second one ends the program at once.
fn catch_signals(sender: SyncSender<Message>) -> Result<(), Failure> {
    let is_second = AtomicBool::new(false);
    let handler = move || {
        if is_second.swap(true, Ordering::Relaxed) {
            std::process::exit(OTHER.into());
        }
        signals::deliver(&sender, Message::Interrupted);
    };
    signals::on_stop(handler).map_err(|error| Failure::other("cannot catch signals", error, ""))
}

/// Sends the events of the client, and their end.
fn follow(events: impl Iterator<Item = Event> + Send + 'static, sender: SyncSender<Message>) -> Result<(), Failure> {
    let follow = move || {
        // An error is that nobody waits for them any more.
        let _ = events.map(Message::Event).chain([Message::Ended]).try_for_each(|message| sender.send(message));
    };
    let started = thread::Builder::new().name("events".into()).spawn(follow);
    started.map(drop).map_err(|error| Failure::other("cannot follow what happens", error, ""))
}

fn open_outputs(args: &args::Keep, notes: &Notes) -> Result<Outputs, Failure> {
    let start = |command: &String| {
        Hook::start(command, notes).map_err(|error| Failure::other("cannot start the --on-change command", error, ""))
    };
    let create = |path: &Path| {
        PortFile::create(path, notes).map_err(|error| {
            let tried = format!("cannot write the port file {}", path.display());
            Failure::other(tried, error, PORT_FILE_ADVICE)
        })
    };
    Ok(Outputs {
        hook: args.on_change.as_ref().map(start).transpose()?,
        port_file: args.port_file.as_deref().map(create).transpose()?,
        manager: Manager::of_environment(notes),
    })
}

/// A client of the gateway that was given, or of the one that the routes lead to, also if there is none yet. That is reported once.
fn client(global: &Global, args: &args::Keep, report: &mut Report) -> Result<Client, Failure> {
    let builder = global.builder().schedule(Schedule::within(global.patience())).wait_for_gateway(true);
    let client = builder.clear_on_new_address(args.clear_on_new_address).build();
    let client = client.map_err(|error| {
        let tried =
            if matches!(error, Error::Discover(_)) { "cannot find the gateway" } else { "cannot keep a mapping" };
        Failure::new(tried, &error).at(global.gateway)
    })?;
    if client.gateway().ip().is_unspecified() {
        let error = find_gateway(global).err().map(|error| error.to_string()).unwrap_or_default();
        let text = format!("no gateway yet: {error}; waiting, interrupt to end");
        report.event(&Line { event: "retrying", error: Some(error), ..Line::default() }, &text);
    }
    Ok(client)
}

/// Has the client keep one protocol after the other, and reports what comes of it.
struct Keeper<'a> {
    client: Client,
    args: &'a args::Keep,
    reporter: KeepReporter<'a>,
    /// Those that were asked for so far, in the order of the protocols.
    kept: Vec<(Protocol, KeptMapping)>,
}

impl Keeper<'_> {
    fn begin(&mut self) -> Result<(), Failure> {
        self.reporter.note_beginning();
        self.reporter.report.note_own_address(self.client.local_address());
        self.client.watch_external_address(true);
        self.keep_next(None)
    }

    /// Begins with the next protocol, on the port that the one before it got.
    fn keep_next(&mut self, external_port: Option<u16>) -> Result<(), Failure> {
        let Some(&protocol) = self.args.mapping.protocol.each().get(self.kept.len()) else { return Ok(()) };
        let mut request = self.args.request(protocol);
        if let Some(port) = external_port {
            request = request.external_port(port);
        }
        let kept = self.client.keep(&request).map_err(|error| Failure::new("cannot keep the mapping", &error))?;
        self.kept.push((protocol, kept));
        self.reporter.asked(protocol);
        Ok(())
    }

    fn handle(&mut self, event: &Event) -> Result<(), Failure> {
        self.reporter.report_event(event);
        match *event {
            Event::Mapped(mapping) => self.keep_next(Some(mapping.external_port))?,
            // Without a network nothing is known of the gateway.
            Event::Failed { error, .. } if error != RequestError::NetworkDown => self.keep_next(None)?,
            Event::GatewayChanged(_) => self.reporter.report.note_own_address(self.client.local_address()),
            _ => {}
        }
        Ok(())
    }

    /// Deletes what was kept, and reports what came of it.
    fn end(self) -> Result<(), Failure> {
        // The client lives until all is deleted.
        let Self { client: _client, args, mut reporter, kept } = self;
        reporter.notify_manager_of_stop();
        let not_asked = args.mapping.protocol.each().get(kept.len()..).unwrap_or_default();
        // At a gateway that is gone, each waits in vain: all at the same time.
        let stops: Vec<_> = kept
            .into_iter()
            .map(|(protocol, kept)| {
                let stop = thread::Builder::new().spawn(move || kept.stop());
                (protocol, reporter.open_mapping(protocol), reporter.seconds_left(protocol), stop)
            })
            .collect();
        let mut result = Ok(());
        for (protocol, open, left, stop) in stops {
            let outcome = match stop {
                Ok(stop) => stop.join().unwrap_or(Err(Error::Stopped)),
                // It is deleted all the same, and nobody learns what came of it.
                Err(error) => Err(Error::Start(error)),
            };
            reporter.close(protocol);
            match (outcome, open) {
                (Ok(_), _) if !reporter.has_gateway() => reporter.note_not_open(protocol, ""),
                // What was never granted has no lease to end.
                (Ok(Ending::LeftToLapse), None) => reporter.note_not_open(protocol, ""),
                (Ok(ending), _) => reporter.report_ending(protocol, open, ending),
                // It was asked to end, and leaves nothing behind that it knows of: that is no failure.
                (Err(error), None) => reporter.note_not_open(protocol, &format!(" ({error})")),
                (Err(error), Some(_)) => {
                    let failure = reporter.stays_open(protocol, left, &error);
                    match &result {
                        Ok(()) => result = Err(failure),
                        // Only one can be the command's.
                        Err(_) => reporter.report.failure(&failure),
                    }
                }
            }
            if open.is_some() {
                reporter.run_hook("unmapped", protocol, None);
            }
        }
        not_asked.iter().for_each(|&protocol| reporter.note_not_open(protocol, ""));
        reporter.finish();
        result
    }
}

const ENDED: &str = "the worker that renews it has ended, which it never should";
const PORT_FILE_ADVICE: &str =
    "Give a file in a directory that exists and may be written; one that is mounted by itself has to be writable.";

#[cfg(test)]
mod tests {
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
