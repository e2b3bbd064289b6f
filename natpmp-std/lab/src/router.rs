//! The router: forwarding, NAT, the faults a test can give it, and the count of what it is asked.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Mutex, PoisonError};

use crate::host::{self, Host, Unavailable};

/// The router of the lab. Nothing listens on port 5351 until a daemon is started: requests get port unreachable.
#[derive(Debug)]
pub struct Router {
    host: Host,
    internet: Host,
    external: Mutex<Ipv4Addr>,
}

impl Router {
    pub(crate) fn build(host: Host, internet: Host, clients: usize) -> Result<Self, Unavailable> {
        let ports: String =
            (0..clients).map(|n| format!("link set port{n} master lan0\nlink set port{n} up\n")).collect();
        host.ip_batch(&format!(
            "link add lan0 type bridge stp_state 0 forward_delay 0\n{ports}\
             link set lo up\nlink set lan0 up\naddress add {}/24 dev lan0\n\
             link set wan0 up\naddress add {FIRST_EXTERNAL}/24 dev wan0\n",
            host.address()
        ))?;
        let router = Self { host, internet, external: Mutex::new(FIRST_EXTERNAL) };
        router
            .host
            .within(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1"))
            .map_err(|error| Unavailable::NotPermitted(format!("forwarding cannot be switched on: {error}")))?;
        router.try_nft(include_str!("tables.nft"))?;
        Ok(router)
    }

    /// The router as a host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its address on the internet side as it is now.
    #[must_use]
    pub fn external_address(&self) -> Ipv4Addr {
        *self.external.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes another address on the internet side and gives the old one up. A private or shared one serves to see what becomes
    /// of requests then; the internet reaches whatever it is.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn change_external_address(&self, new: Ipv4Addr) {
        let mut external = self.external.lock().unwrap_or_else(PoisonError::into_inner);
        self.host.ip(&["address", "flush", "dev", "wan0", "scope", "global"]);
        self.host.ip(&["address", "add", &format!("{new}/32"), "dev", "wan0"]);
        let (to_us, to_them) = (new.to_string(), self.internet.address().to_string());
        self.host.ip(&["route", "replace", &to_them, "dev", "wan0", "src", &to_us]);
        self.internet.ip(&["route", "replace", &to_us, "dev", "eth0"]);
        *external = new;
    }

    /// From now on every request from the LAN to port 5351 is dropped without a word.
    pub fn drop_requests(&self) {
        self.nft("flush chain inet lab input; add rule inet lab input iifname lan0 udp dport 5351 drop");
    }

    /// From now on the first of every two requests from the LAN to port 5351 is lost.
    pub fn lose_every_other_request(&self) {
        self.nft(
            "flush chain inet lab input; add rule inet lab input iifname lan0 udp dport 5351 numgen inc mod 2 0 drop",
        );
    }

    /// From now on every answer and every announcement to the LAN is lost.
    pub fn drop_answers(&self) {
        self.nft("flush chain inet lab output; add rule inet lab output oifname lan0 udp sport 5351 drop");
    }

    /// Requests and answers come through again.
    pub fn let_requests_through(&self) {
        self.nft("flush chain inet lab input; flush chain inet lab output");
    }

    /// Removes every mapping from the kernel without telling anyone, as a reboot would.
    pub fn forget_mappings(&self) {
        self.nft(
            "flush chain inet filter miniupnpd; flush chain inet filter prerouting_miniupnpd; \
             flush chain inet filter postrouting_miniupnpd",
        );
    }

    /// The port mappings in the kernel, one line each, in the words of `nft`.
    ///
    /// # Panics
    /// If `nft` refuses.
    #[must_use]
    pub fn mappings(&self) -> Vec<String> {
        let listed =
            self.try_nft("list chain inet filter prerouting_miniupnpd").unwrap_or_else(|error| panic!("{error}"));
        listed.lines().filter(|line| line.contains("dnat")).map(|line| line.trim().to_owned()).collect()
    }

    /// All of the kernel's rules on the router, in the words of `nft`.
    ///
    /// # Panics
    /// If `nft` refuses.
    #[must_use]
    pub fn rules(&self) -> String {
        self.try_nft("list ruleset").unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs a script of `nft` on the router.
    ///
    /// # Panics
    /// If `nft` refuses it.
    pub fn nft(&self, script: &str) {
        self.try_nft(script).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Counts what it is asked, from now on and from zero.
    ///
    /// # Panics
    /// If `nft` refuses.
    pub fn count_requests(&self) {
        // The second byte says what is asked for; a deletion asks for a lifetime of 0.
        self.nft(
            "add table inet asked; delete table inet asked;
             table inet asked {
                counter questions { }
                counter mappings { }
                counter deletions { }
                chain requests {
                    @th,72,8 0 counter name questions return
                    @th,128,32 0 counter name deletions return
                    counter name mappings
                }
                chain input {
                    type filter hook input priority -10; policy accept;
                    iifname \"lan0\" udp dport 5351 jump requests
                }
             }",
        );
    }

    /// What it was asked since [`Router::count_requests`].
    ///
    /// # Panics
    /// If it does not count, or `nft` refuses.
    #[must_use]
    pub fn requests(&self) -> RequestCounts {
        let listed = self.try_nft("list counters table inet asked").unwrap_or_else(|error| panic!("{error}"));
        let count = |name: &str| {
            let text = listed.split_once(&format!("counter {name} ")).and_then(|(_, rest)| rest.split_once("packets "));
            text.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok()).expect("it is counted")
        };
        RequestCounts { questions: count("questions"), mappings: count("mappings"), deletions: count("deletions") }
    }

    pub(crate) fn try_nft(&self, script: &str) -> Result<String, Unavailable> {
        let program = host::find("nft")?;
        let mut command = self.host.command(&program.to_string_lossy());
        command.args(["-f", "-"]);
        host::run(command, script)
    }
}

/// How many requests came from the LAN, of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// For the external address.
    pub questions: u64,
    /// To map, or to renew.
    pub mappings: u64,
    /// To delete.
    pub deletions: u64,
}

impl RequestCounts {
    /// All of them.
    #[must_use]
    pub fn all(self) -> u64 {
        self.questions + self.mappings + self.deletions
    }
}

/// Where the router listens.
pub const GATEWAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 1), 5351);
const FIRST_EXTERNAL: Ipv4Addr = Ipv4Addr::new(11, 22, 33, 44);
