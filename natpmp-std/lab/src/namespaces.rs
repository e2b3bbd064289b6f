//! Making the namespaces, and removing them with everything in them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::host::{self, Host, Unavailable};
use crate::outage::wait_until;
use crate::router::Router;

/// The namespaces of one lab: their names begin with a prefix of the lab's own.
#[derive(Debug)]
pub(crate) struct Namespaces {
    prefix: String,
    directory: PathBuf,
}

impl Namespaces {
    pub(crate) fn new() -> Result<Self, Unavailable> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep_what_dead_runs_left);
        let prefix = format!("{PREFIX}{}-{}-", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(prefix.trim_end_matches('-'));
        std::fs::create_dir_all(&directory)
            .map_err(|error| Unavailable::NotPermitted(format!("{}: {error}", directory.display())))?;
        Ok(Self { prefix, directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The hosts with their links, addresses and routes.
    pub(crate) fn build(&self, network: u8, clients: u8) -> Result<(Vec<Host>, Router, Host), Unavailable> {
        let name = |role: &str| format!("{}{role}", self.prefix);
        let internet = Host::new(name("internet"), Ipv4Addr::new(11, 22, 33, 1));
        let router = Host::new(name("router"), Ipv4Addr::new(192, 168, network, 1));
        let clients: Vec<Host> = (1..=clients)
            .map(|number| Host::new(name(&format!("client{number}")), Ipv4Addr::new(192, 168, network, 10 + number)))
            .collect();
        wire(&router, &internet, &clients)?;
        for client in &clients {
            quiet(client)?;
            client.ip_batch(&format!(
                "link set lo up\nlink set eth0 up\naddress add {}/24 dev eth0\nroute add default via {}\n",
                client.address(),
                router.address()
            ))?;
        }
        quiet(&internet)?;
        internet
            .ip_batch(&format!("link set lo up\nlink set eth0 up\naddress add {}/24 dev eth0\n", internet.address()))?;
        quiet(&router)?;
        let router = Router::build(router, internet.clone(), clients.len())?;
        Ok((clients, router, internet))
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        remove(&self.prefix);
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The namespaces, and the cables between them.
fn wire(router: &Host, internet: &Host, clients: &[Host]) -> Result<(), Unavailable> {
    // The first namespace of a machine makes the directory of all: one test at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut script = String::new();
    for host in [router, internet].into_iter().chain(clients) {
        script += &format!("netns add {}\n", host.namespace());
    }
    script += &format!(
        "link add wan0 netns {} type veth peer name eth0 netns {}\n",
        router.namespace(),
        internet.namespace()
    );
    for (number, client) in clients.iter().enumerate() {
        script += &format!(
            "link add port{number} netns {} type veth peer name eth0 netns {}\n",
            router.namespace(),
            client.namespace()
        );
    }
    host::ip(&["-batch", "-"], &script).map(drop)
}

/// Every packet is answered with what it deserves, at once, however many there are.
fn quiet(host: &Host) -> Result<(), Unavailable> {
    host.within(|| {
        for (name, value) in [
            ("ipv4/conf/all/rp_filter", "0"),
            ("ipv4/conf/default/rp_filter", "0"),
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv6/conf/all/disable_ipv6", "1"),
            // What clients say to each other is no business of the router's firewall.
            ("bridge/bridge-nf-call-iptables", "0"),
        ] {
            let path = Path::new("/proc/sys/net").join(name);
            if path.exists() {
                std::fs::write(&path, value)
                    .map_err(|error| Unavailable::NotPermitted(format!("{}: {error}", path.display())))?;
            }
        }
        Ok(())
    })
}

/// Ends every process in the namespaces of that prefix, and removes these.
fn remove(prefix: &str) {
    let Ok(entries) = std::fs::read_dir(NAMESPACES) else {
        return;
    };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    for name in names.filter(|name| name.starts_with(prefix)) {
        let pids = || -> Vec<Pid> {
            let listed = host::ip(&["netns", "pids", &name], "").unwrap_or_default();
            listed.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
        };
        for pid in pids() {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = wait_until(Duration::from_secs(2), || pids().is_empty());
        let _ = host::ip(&["netns", "delete", &name], "");
    }
}

/// A test run that was killed could not clean up after itself; the next one does.
fn sweep_what_dead_runs_left() {
    for directory in [Path::new(NAMESPACES), &std::env::temp_dir()] {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
            let Some(lab) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let mut parts = lab.split('-');
            let (Some(pid), Some(number)) = (parts.next(), parts.next()) else {
                continue;
            };
            if pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists() {
                remove(&format!("{PREFIX}{pid}-{number}-"));
                let _ = std::fs::remove_dir_all(std::env::temp_dir().join(format!("{PREFIX}{pid}-{number}")));
            }
        }
    }
}

const PREFIX: &str = "natpmp-lab-";
const NAMESPACES: &str = "/run/netns";
