//! The real `miniupnpd` on the lab's router.

use std::fmt::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::{self, Host};
use crate::outage::wait_until;
use crate::router::GATEWAY;

/// How a `miniupnpd` is to be run.
#[derive(Debug, Clone)]
pub struct Miniupnpd {
    router: Host,
    directory: PathBuf,
    system_uptime: bool,
    rules: Vec<String>,
    options: Vec<String>,
}

impl Miniupnpd {
    pub(crate) fn new(router: Host, directory: &Path) -> Self {
        let rules = vec![format!("allow 1024-65535 {}/24 1-65535", router.address())];
        Self { router, directory: directory.to_owned(), system_uptime: false, rules, options: Vec::new() }
    }

    /// Whether the epoch is the machine's uptime (it then hides a restart) or the daemon's own. Default: its own.
    #[must_use]
    pub fn system_uptime(mut self, yes: bool) -> Self {
        self.system_uptime = yes;
        self
    }

    /// Its permission rules, in its own words, first match first; what matches none is denied.
    /// Default: every port from 1024 for every client.
    #[must_use]
    pub fn rules(mut self, rules: &[&str]) -> Self {
        self.rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        self
    }

    /// Refuses every request to map, with result 2.
    #[must_use]
    pub fn deny_all(self) -> Self {
        self.rules(&[])
    }

    /// One more line of configuration, such as `max_lifetime=600`.
    #[must_use]
    pub fn option(mut self, line: &str) -> Self {
        self.options.push(line.to_owned());
        self
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// If it does not start to answer within some seconds.
    #[must_use]
    pub fn start(self) -> Daemon {
        let mut daemon = Daemon { setup: self, pid: None };
        daemon.start();
        daemon
    }

    fn configuration(&self) -> String {
        let mut text = String::from(
            "ext_ifname=wan0\nlistening_ip=lan0\nipv6_disable=yes\nenable_natpmp=yes\nenable_upnp=no\nsecure_mode=yes\n\
             uuid=00000000-0000-0000-0000-000000000000\n",
        );
        let _ = writeln!(text, "system_uptime={}", if self.system_uptime { "yes" } else { "no" });
        for line in self.options.iter().chain(&self.rules) {
            text += line;
            text.push('\n');
        }
        text += "deny 0-65535 0.0.0.0/0 0-65535\n";
        text
    }
}

/// A `miniupnpd` under the test's control; ended when dropped.
#[derive(Debug)]
pub struct Daemon {
    setup: Miniupnpd,
    pid: Option<Pid>,
}

impl Daemon {
    /// Starts it (again) and waits until it answers.
    ///
    /// # Panics
    /// If it runs already, or does not start to answer within some seconds.
    pub fn start(&mut self) {
        assert!(self.pid.is_none(), "miniupnpd runs already");
        let configuration = self.setup.directory.join("miniupnpd.conf");
        std::fs::write(&configuration, self.setup.configuration()).expect("the directory is ours");
        let pid_file = self.pid_file();
        // It refuses to start where its pid file exists already.
        let _ = std::fs::remove_file(&pid_file);
        let program = host::find("miniupnpd").expect("looked for when the lab was made");
        let status = self
            .setup
            .router
            .command(&program.to_string_lossy())
            .arg("-f")
            .arg(&configuration)
            .arg("-P")
            .arg(&pid_file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("it can be run");
        assert!(status.success(), "miniupnpd would not start: {status}");
        let written = wait_until(START, || {
            self.pid = std::fs::read_to_string(&pid_file)
                .ok()
                .and_then(|text| text.trim().parse().ok())
                .and_then(Pid::from_raw);
            self.pid.is_some()
        });
        assert!(written, "miniupnpd wrote no pid file");
        assert!(wait_until(START, || self.answers()), "miniupnpd does not answer");
    }

    /// Ends it as an administrator would, and waits until it is gone. Its mappings stay in the kernel.
    pub fn stop(&mut self) {
        self.end(Signal::TERM);
    }

    /// Ends it without a chance to clean up.
    pub fn crash(&mut self) {
        self.end(Signal::KILL);
    }

    /// Stops it and starts it again.
    ///
    /// # Panics
    /// As [`Daemon::start`].
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// Has it announce, as after a change of the external address.
    pub fn announce(&self) {
        if let Some(pid) = self.pid {
            let _ = kill_process(pid, Signal::USR1);
        }
    }

    fn end(&mut self, signal: Signal) {
        let Some(pid) = self.pid.take() else { return };
        let _ = kill_process(pid, signal);
        if !wait_until(START, || is_gone(pid)) {
            let _ = kill_process(pid, Signal::KILL);
            let _ = wait_until(START, || is_gone(pid));
        }
        let _ = std::fs::remove_file(self.pid_file());
    }

    /// Whether a question about the external address gets any answer, asked from the router itself.
    fn answers(&self) -> bool {
        self.setup.router.within(|| {
            let ask = || {
                let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                socket.connect((self.setup.router.address(), GATEWAY.port()))?;
                socket.set_read_timeout(Some(Duration::from_millis(100)))?;
                socket.send(&[0, 0])?;
                socket.recv(&mut [0; 64])
            };
            ask().is_ok()
        })
    }

    fn pid_file(&self) -> PathBuf {
        self.setup.directory.join("miniupnpd.pid")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.crash();
    }
}

/// A process that ended may still be waiting for its parent to notice; that is gone enough.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_none_or(|state| state == "Z" || state == "X")
}

const START: Duration = Duration::from_secs(5);
