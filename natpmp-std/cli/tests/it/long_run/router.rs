//! The gateways on the router of a lab: the real `miniupnpd`, and our own.

use std::fs;
use std::path::PathBuf;

use natpmp_lab::{Daemon, Host, Lab, Running, wait_until};

use super::{NATPMP, SOON};

/// Which gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The kernel does its NAT.
    Miniupnpd,
    /// Ours, with the kernel.
    Nftables,
    /// Ours, with no help from the kernel.
    Relay,
}

/// One of them.
#[derive(Debug)]
pub(crate) enum Gateway {
    Miniupnpd(Daemon),
    Serve(Serve),
}

/// A `natpmp serve --state`.
#[derive(Debug)]
pub(crate) struct Serve {
    router: Host,
    arguments: Vec<String>,
    state: PathBuf,
    running: Option<Running>,
}

impl Gateway {
    /// Starts it on the router. `hides_restarts`: the epoch is the machine's uptime.
    pub(crate) fn start_on(lab: &Lab, kind: Kind, hides_restarts: bool) -> Self {
        let backend = match kind {
            Kind::Miniupnpd => return Self::Miniupnpd(lab.miniupnpd().system_uptime(hides_restarts).start()),
            Kind::Nftables => "nftables",
            Kind::Relay => "relay",
        };
        let state = lab.directory().join("state");
        let words =
            format!("serve --internal lan0 --external wan0 --backend {backend} --json --state {}", state.display());
        let arguments = words.split(' ').map(str::to_owned).collect();
        let mut serve = Serve { router: lab.router().host().clone(), arguments, state, running: None };
        serve.start();
        Self::Serve(serve)
    }

    /// Starts it again, and waits until it answers.
    pub(crate) fn start(&mut self) {
        match self {
            Self::Miniupnpd(daemon) => daemon.start(),
            Self::Serve(serve) => serve.start(),
        }
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn crash(&mut self) {
        match self {
            Self::Miniupnpd(daemon) => daemon.crash(),
            Self::Serve(serve) => serve.running = None,
        }
    }

    /// Ends it as an administrator does.
    pub(crate) fn stop(&mut self) {
        match self {
            Self::Miniupnpd(daemon) => daemon.stop(),
            Self::Serve(serve) => {
                let running = serve.running.take().expect("it runs");
                running.terminate();
                let finished = running.finish(SOON);
                assert_eq!(finished.code, Some(0), "{finished}");
            }
        }
    }

    /// While it does not run: what it would find of its mappings is gone, as after a boot.
    pub(crate) fn forget(&self, lab: &Lab) {
        match self {
            Self::Miniupnpd(_) => lab.router().forget_mappings(),
            Self::Serve(serve) => {
                let _ = fs::remove_file(&serve.state);
            }
        }
    }

    /// Says that the external address has changed; ours finds out by itself.
    pub(crate) fn announce(&self) {
        if let Self::Miniupnpd(daemon) = self {
            daemon.announce();
        }
    }

    /// How many mappings it has.
    pub(crate) fn mappings(&self, lab: &Lab) -> usize {
        match self {
            Self::Miniupnpd(_) => lab.router().mappings().len(),
            Self::Serve(serve) => serve.mappings(),
        }
    }
}

impl Serve {
    fn start(&mut self) {
        assert!(self.running.is_none(), "it runs already");
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let running = self.running.insert(self.router.spawn(NATPMP, &arguments));
        let serves = || running.complaints().iter().any(|line| line.starts_with("serving NAT-PMP"));
        assert!(wait_until(SOON, serves), "it does not serve\n{}", running.last_words());
    }

    /// As its state has it: one line each.
    fn mappings(&self) -> usize {
        let text = fs::read_to_string(&self.state).unwrap_or_default().to_lowercase();
        text.lines().filter(|line| line.starts_with("udp ") || line.starts_with("tcp ")).count()
    }
}
