//! Clients that we did not write.

use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_lab::{Finished, GATEWAY, Host, Protocol};

use super::setup::{Nat, Setup};

/// A client's program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Peer {
    /// `natpmpc` of libnatpmp.
    Natpmpc,
    /// `NAT-PMP` from PyPI.
    Python,
}

/// What a client was told, or the result code of a refusal.
pub(crate) type Answer<T> = Result<T, u16>;

/// A mapping, as the client reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) external_port: u16,
    pub(crate) lifetime: u32,
}

impl Peer {
    /// A lab in which it can run, with a gateway.
    pub(crate) fn setup_or_skip(self, nat: Nat, clients: u8, options: &[&str]) -> Option<Setup> {
        let mut setup = Setup::empty_or_skip(nat, clients, &[self.program()])?;
        if matches!(self, Self::Python) && !python_has_the_module(setup.client(0)) {
            let reason = "Python has no module natpmp: pip install --no-deps --target DIRECTORY NAT-PMP==1.3.2, PYTHONPATH=DIRECTORY";
            assert!(std::env::var("NATPMP_REQUIRE_LAB").as_deref() != Ok("1"), "{reason}");
            let _ = writeln!(std::io::stdout(), "skipped: {reason}");
            return None;
        }
        setup.start(options);
        Some(setup)
    }

    pub(crate) fn external_address(self, host: &Host) -> Answer<Ipv4Addr> {
        match self {
            Self::Natpmpc => natpmpc(host, &[]).map(|said| after(&said, "Public IP address :").parse().unwrap()),
            Self::Python => python(host, &["address"]).map(|words| words[0].parse().unwrap()),
        }
    }

    /// Asks for a mapping, or for the end of one with external port and lifetime 0.
    pub(crate) fn map(
        self,
        host: &Host,
        protocol: Protocol,
        internal_port: u16,
        external_port: u16,
        lifetime: u32,
    ) -> Answer<Granted> {
        let protocol = match protocol {
            Protocol::Udp => "udp",
            Protocol::Tcp => "tcp",
        };
        let (external, lifetime) = (external_port.to_string(), lifetime.to_string());
        let internal = internal_port.to_string();
        let (external_port, lifetime, reported): (u16, u32, u16) = match self {
            Self::Natpmpc => {
                let said = natpmpc(host, &["-a", &external, &internal, protocol, &lifetime])?;
                // It writes "liftime".
                let words: Vec<&str> = after(&said, "Mapped public port").split(' ').collect();
                (words[0].parse().unwrap(), words[8].parse().unwrap(), words[6].parse().unwrap())
            }
            Self::Python => {
                let words = python(host, &[protocol, &external, &internal, &lifetime])?;
                (words[1].parse().unwrap(), words[2].parse().unwrap(), words[0].parse().unwrap())
            }
        };
        assert_eq!(internal_port, reported, "the answer is about the port that was asked for");
        Ok(Granted { external_port, lifetime })
    }

    pub(crate) fn unmap(self, host: &Host, protocol: Protocol, internal_port: u16) -> Answer<Granted> {
        self.map(host, protocol, internal_port, 0, 0)
    }

    const fn program(self) -> &'static str {
        match self {
            Self::Natpmpc => "natpmpc",
            Self::Python => "python3",
        }
    }
}

/// It sees the end of its mapping.
pub(crate) const CLOSED: Granted = Granted { external_port: 0, lifetime: 0 };

/// What it said on success.
fn natpmpc(host: &Host, arguments: &[&str]) -> Answer<Finished> {
    let finished = host.spawn("natpmpc", arguments).finish(PATIENCE);
    if finished.code == Some(0) {
        return Ok(finished);
    }
    let refused = finished.stdout.iter().find_map(|line| match line.split_whitespace().nth(2) {
        Some("-14") => Some(1),
        Some("-51") => Some(2),
        Some("-52") => Some(3),
        Some("-53") => Some(4),
        Some("-15") => Some(5),
        _ => None,
    });
    Err(refused.unwrap_or_else(|| panic!("natpmpc {arguments:?}\n{finished}")))
}

/// What comes on the line that begins so.
fn after<'a>(said: &'a Finished, beginning: &str) -> &'a str {
    let line = said.stdout.iter().find_map(|line| line.strip_prefix(beginning));
    line.unwrap_or_else(|| panic!("no {beginning:?}\n{said}")).trim()
}

/// The words of its answer, without the result code 0.
fn python(host: &Host, arguments: &[&str]) -> Answer<Vec<String>> {
    let gateway = GATEWAY.ip().to_string();
    let arguments: Vec<&str> = ["-c", SCRIPT, &gateway].iter().chain(arguments).copied().collect();
    let finished = host.spawn("python3", &arguments).finish(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished}");
    let mut words = finished.stdout[0].split(' ').map(str::to_owned);
    let result = words.next().unwrap().parse().unwrap();
    if result == 0 { Ok(words.collect()) } else { Err(result) }
}

fn python_has_the_module(host: &Host) -> bool {
    host.spawn("python3", &["-c", IMPORT]).finish(PATIENCE).code == Some(0)
}

// Its discovery, which is not used here, takes another module.
const IMPORT: &str = "import sys, types; sys.modules['netifaces'] = types.ModuleType('netifaces'); import natpmp";
const SCRIPT: &str = "\
import sys, types
sys.modules['netifaces'] = types.ModuleType('netifaces')
import natpmp

gateway, what, *numbers = sys.argv[1:]
if what == 'address':
    try:
        print(0, natpmp.get_public_address(gateway))
    except natpmp.NATPMPResultError as error:
        print(error.args[0])
else:
    external, internal, lifetime = map(int, numbers)
    answer = natpmp.map_port({'udp': 1, 'tcp': 2}[what], external, internal, lifetime, gateway, use_exception=False)
    print(answer.result, answer.private_port, answer.public_port, answer.lifetime)
";
/// Longer than they are patient themselves.
const PATIENCE: Duration = Duration::from_secs(30);
