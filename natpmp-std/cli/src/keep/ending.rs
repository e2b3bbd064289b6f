//! How `keep` ends.

use std::thread;

use natpmp_std::{Ending, Error, Mapping, Protocol};

use super::Account;
use crate::failure::Failure;
use crate::report::{Line, name, note};

impl Account<'_> {
    /// Deletes what was kept, and says what came of it.
    pub(super) fn end(mut self) -> Result<(), Failure> {
        self.outlets.manager.stopping("deleting what is open");
        let mut result = Ok(());
        let unasked: Vec<_> = self.held.iter().filter(|held| held.kept.is_none()).map(|held| held.protocol).collect();
        let stops: Vec<_> = self
            .held
            .iter_mut()
            .filter_map(|held| Some((held.protocol, held.open, held.left(), held.kept.take()?)))
            // At a gateway that is gone, each waits in vain: all at the same time.
            .map(|(protocol, open, left, kept)| {
                (protocol, open, left, thread::Builder::new().spawn(move || kept.stop()))
            })
            .collect();
        for (protocol, open, left, stop) in stops {
            let outcome = match stop {
                Ok(stop) => stop.join().unwrap_or(Err(Error::Stopped)),
                // It is deleted all the same, without a word.
                Err(error) => Err(Error::Start(error)),
            };
            self.set_open(protocol, None);
            match outcome {
                Ok(_) if !self.has_gateway() => self.was_not_open(protocol, ""),
                // What was never granted has no lease to end.
                Ok(Ending::LeftToLapse) if open.is_none() => self.was_not_open(protocol, ""),
                Ok(ending) => self.ended(protocol, open, ending),
                Err(error) if open.is_none() => self.was_not_open(protocol, &format!(" ({error})")),
                Err(error) => {
                    let failure = self.stays_open(protocol, left, &error);
                    match &result {
                        Ok(()) => result = Err(failure),
                        // Only one can be the command's.
                        Err(_) => self.report.failed(&failure),
                    }
                }
            }
            if open.is_some() {
                self.tell_hook("unmapped", protocol, None);
            }
        }
        unasked.into_iter().for_each(|protocol| self.was_not_open(protocol, ""));
        if let Some(hook) = self.outlets.hook.take() {
            hook.finish();
        }
        result
    }

    pub fn ended(&mut self, protocol: Protocol, open: Option<Mapping>, ending: Ending) {
        let port = self.args.mapping.internal_port;
        let (event, what) = match ending {
            Ending::LeftToLapse => ("lapsing", "is left to lapse: internal port 0 cannot be deleted alone"),
            _ => ("unmapped", "is unmapped"),
        };
        let line = Line {
            lifetime: open.filter(|_| ending == Ending::LeftToLapse).map(|mapping| mapping.lifetime),
            ..Line::new(event, self.gateway).of_mapping(protocol, port)
        };
        self.report.result(&line, &format!("{} {port} {what}", name(protocol)));
    }

    /// It was asked to end, and leaves nothing behind that it knows of: that is no failure.
    fn was_not_open(&self, protocol: Protocol, why: &str) {
        note(&format!("{} {} was not open{why}", name(protocol), self.args.mapping.internal_port));
    }

    fn stays_open(&self, protocol: Protocol, left: u64, error: &Error) -> Failure {
        let port = self.args.mapping.internal_port;
        let failure = Failure::new(format!("cannot delete {} {port}", name(protocol)), error);
        // To wait longer would be no remedy: whoever interrupts it wants it to end.
        let advice = format!("It stays open at the gateway until its lease ends, in up to {left} s.");
        failure.advise(advice).at(Some(self.gateway)).of_mapping(protocol, port)
    }
}

impl super::Held {
    /// What is left of the lease, in seconds.
    fn left(&self) -> u64 {
        let lifetime = self.open.map_or(0, |mapping| mapping.lifetime);
        u64::from(lifetime).saturating_sub(self.granted.elapsed().as_secs())
    }
}
