//! The arguments of the command, as [clap] reads them: the doc comments here are its help.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use natpmp_proto::wire::GATEWAY_PORT;
use natpmp_std::server::{NatMapping, PortRange};
use natpmp_std::{Client, ClientBuilder, MapRequest, Protocol, Schedule};

/// Opens ports on the router or VPN that this host is behind, by NAT-PMP (RFC 6886)
///
/// Results go to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "natpmp", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// The options that every subcommand takes
    #[command(flatten)]
    pub global: Global,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// The options that every subcommand takes.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// The gateway, where it is not the default route's: an IPv4 address, and a port if it is not 5351
    #[arg(long, global = true, value_name = "ADDR[:PORT]", value_parser = parse_gateway)]
    pub gateway: Option<SocketAddrV4>,
    /// The local IPv4 address to send from
    #[arg(long, global = true, value_name = "ADDR")]
    pub bind: Option<Ipv4Addr>,
    /// The interface to send and hear by, and whose gateway is discovered (Linux)
    #[arg(long, global = true, value_name = "NAME")]
    pub interface: Option<String>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub json: bool,
    /// Give up after so many seconds [default: 7.75]
    ///
    /// The total patience of a one-shot command, and of each attempt of `keep`. Requests are sent at once and again
    /// after 0.25, 0.75, 1.75 and 3.75 s and so on, as the RFC says; but where the RFC goes on for 127.75 s, the
    /// default ends after 7.75 s. For the RFC's own patience give 127.75.
    #[arg(long, global = true, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// Say what is sent, received and done
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// The subcommand, with its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the default gateway's address; asks nobody
    ///
    /// It is the one that packets to the internet go to, VPNs and policy routing considered (Linux); with --interface,
    /// that of this interface.
    Gateway {
        /// List all default routes, and why each is or is not the one that counts; with --interface those of this interface
        #[arg(long)]
        all: bool,
    },
    /// Print the gateway's external address
    ExternalAddress,
    /// Make a mapping, once: it is not renewed
    Map {
        /// What to map
        #[command(flatten)]
        mapping: Mapping,
    },
    /// Keep a mapping until interrupted, then delete it
    ///
    /// It is renewed, and asked for again after whatever happens to the gateway, for ever.
    Keep(Keep),
    /// Delete a mapping
    Unmap {
        /// The protocol of the mapping
        protocol: Protocols,
        /// The port on this host
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        internal_port: u16,
    },
    /// Delete all mappings that the gateway has for this host, those of other programs too
    UnmapAll {
        /// The protocol of the mappings
        protocol: Protocols,
    },
    /// Print the gateway's announcements as they come, until interrupted
    Watch,
    /// Be the gateway: serve NAT-PMP to the hosts of the internal side, until interrupted
    Serve(Serve),
    /// Show it all on this machine: a gateway, a client, a mapping and bytes through it; needs no router, root or network
    Demo,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, in roff
    Man,
}

/// What mapping to ask for.
#[derive(Debug, clap::Args)]
pub struct Mapping {
    /// The protocol to map; `both` asks for the same external port on both
    pub protocol: Protocols,
    /// The port on this host; 0 only where a VPN provider asks for it
    pub internal_port: u16,
    /// The external port to ask for, 0 for any; the gateway may give another [default: INTERNAL_PORT]
    #[arg(long, value_name = "PORT")]
    pub external: Option<u16>,
    /// The lifetime to ask for, in seconds; the gateway may grant less
    #[arg(long, value_name = "SECONDS", default_value_t = MapRequest::DEFAULT_LIFETIME,
        value_parser = clap::value_parser!(u32).range(1..))]
    pub lifetime: u32,
}

/// The arguments of `keep`.
#[derive(Debug, clap::Args)]
pub struct Keep {
    /// What to keep
    #[command(flatten)]
    pub mapping: Mapping,
    /// Renew every so many seconds [default: at half of the lifetime granted]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub refresh_interval: Option<u32>,
    /// Run this shell command on every change, one at a time, with NATPMP_EVENT (mapped, changed, lost or unmapped),
    /// NATPMP_PROTOCOL, NATPMP_INTERNAL_PORT, NATPMP_EXTERNAL_PORT, NATPMP_EXTERNAL_ADDRESS and NATPMP_GATEWAY in its
    /// environment
    #[arg(long, value_name = "COMMAND")]
    pub on_change: Option<String>,
    /// Keep the external port in this file, which is replaced atomically, and empty while there is no mapping; a file
    /// that is a mount point is written in place
    ///
    /// With `both` it is empty unless both are open, and has a second line, for TCP, only while the ports differ.
    #[arg(long, value_name = "PATH")]
    pub port_file: Option<PathBuf>,
    /// When this host has another address than before, first delete all mappings that the gateway has for the new one,
    /// those of other programs too: an earlier holder of the address may have left them
    #[arg(long)]
    pub clear_on_new_address: bool,
}

/// The arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(args = hidden_from_serve())]
pub struct Serve {
    /// Whom to serve: one of this host's addresses, or an interface; may be given several times
    #[arg(long, value_name = "ADDR|IFACE", required = true)]
    pub internal: Vec<String>,
    /// The side towards the internet: an address, or an interface whose address is followed
    #[arg(long, value_name = "ADDR|IFACE")]
    pub external: String,
    /// What does the NAT: the kernel (needs root), or this program
    #[arg(long)]
    pub backend: Backend,
    /// The longest lease to grant, in seconds [default: 86400]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_lifetime: Option<u32>,
    /// The external ports to give [default: 1024-65535]
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ports)]
    pub ports: Option<PortRange>,
    /// External ports never to give; may be given up to 8 times
    #[arg(long, value_name = "LOW-HIGH", value_parser = parse_ports)]
    pub deny_ports: Vec<PortRange>,
    /// How many mappings one client may have [default: 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub per_client: Option<u16>,
    /// How many requests a second of one client to answer, twice as many at once, 0 for any number; the others are dropped
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    pub requests_per_second: u32,
    /// A mapping that always stands, such as udp:192.168.1.2:4000:5000 for the client's port 4000 on external port 5000;
    /// may be given several times
    #[arg(long = "static", value_name = "PROTO:ADDR:PORT:EXTERNAL", value_parser = parse_static)]
    pub statics: Vec<NatMapping>,
    /// Keep the mappings in this file, and take them up again at the next start, also after a crash; the epoch goes on unless there was one
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

/// What does the NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel, by its nftables.
    Nftables,
    /// This program, which passes the traffic itself.
    Relay,
}

/// UDP, TCP or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// Both, at the same external port where that can be had.
    Both,
}

/// By hand, since the doc comments would be help if it were derived.
impl ValueEnum for Backend {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Nftables, Self::Relay]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Nftables => "nftables",
            Self::Relay => "relay",
        }))
    }
}

/// The same.
impl ValueEnum for Protocols {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Udp, Self::Tcp, Self::Both]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Both => "both",
        }))
    }
}

impl Protocols {
    /// Each of them, in the order in which they are asked for.
    #[must_use]
    pub const fn each(self) -> &'static [Protocol] {
        match self {
            Self::Udp => &[Protocol::Udp],
            Self::Tcp => &[Protocol::Tcp],
            Self::Both => &Protocol::ALL,
        }
    }
}

impl Mapping {
    /// The request for one of the protocols.
    #[must_use]
    pub fn request(&self, protocol: Protocol) -> MapRequest {
        MapRequest::new(protocol, self.internal_port)
            .external_port(self.external.unwrap_or(self.internal_port))
            .lifetime(self.lifetime)
    }
}

impl Keep {
    /// The request for one of the protocols.
    #[must_use]
    pub fn request(&self, protocol: Protocol) -> MapRequest {
        let request = self.mapping.request(protocol);
        match self.refresh_interval {
            Some(seconds) => request.refresh_interval(seconds),
            None => request,
        }
    }
}

impl Global {
    /// The patience of a one-shot command.
    pub(crate) fn patience(&self) -> Duration {
        self.timeout.unwrap_or(Schedule::QUICK.total())
    }

    /// A client to be built as these options say, but for the patience.
    pub(crate) fn builder(&self) -> ClientBuilder {
        let mut builder = Client::builder();
        if let Some(gateway) = self.gateway {
            builder = builder.gateway(gateway);
        }
        if let Some(address) = self.bind {
            builder = builder.local_address(address);
        }
        if let Some(interface) = &self.interface {
            builder = builder.interface(interface);
        }
        builder
    }
}

/// The options of clients. A gateway refuses them with a reason, and its help says nothing of them.
fn hidden_from_serve() -> impl Iterator<Item = clap::Arg> {
    let global = <Global as clap::Args>::augment_args(clap::Command::new("natpmp"));
    let of_clients = |arg: &&clap::Arg| ["gateway", "bind", "interface", "timeout"].contains(&arg.get_id().as_str());
    let hidden: Vec<_> = global.get_arguments().filter(of_clients).map(|arg| arg.clone().hide(true)).collect();
    hidden.into_iter()
}

fn parse_gateway(text: &str) -> Result<SocketAddrV4, String> {
    let gateway = SocketAddrV4::from_str(text)
        .or_else(|_| Ipv4Addr::from_str(text).map(|address| SocketAddrV4::new(address, GATEWAY_PORT)))
        .map_err(|_| "give an IPv4 address, or an IPv4 address and a port such as 192.168.1.1:5351".to_owned())?;
    match (gateway.ip(), gateway.port()) {
        (_, 0) => Err("port 0 cannot be sent to: leave the port out for 5351".to_owned()),
        (ip, _) if ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() => {
            Err("this is not the address of one host: `natpmp gateway` prints the default gateway's".to_owned())
        }
        _ => Ok(gateway),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = f64::from_str(text).map_err(|_| "give a number of seconds, such as 10 or 2.5".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(patience) if (SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&patience) => Ok(patience),
        _ => Err("give from 0.01 to 86400 seconds".to_owned()),
    }
}

fn parse_ports(text: &str) -> Result<PortRange, String> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse::<u16>().ok().filter(|&port| port != 0);
    port(low)
        .zip(port(high))
        .and_then(|(low, high)| PortRange::new(low, high))
        .ok_or_else(|| "give a port or LOW-HIGH, both from 1 to 65535 and in order, such as 1024-65535".to_owned())
}

fn parse_static(text: &str) -> Result<NatMapping, String> {
    let parse = || {
        let (protocol, rest) = text.split_once(':')?;
        let (internal, external_port) = rest.rsplit_once(':')?;
        let protocol = match protocol {
            "udp" => Protocol::Udp,
            "tcp" => Protocol::Tcp,
            _ => return None,
        };
        let mapping =
            NatMapping { protocol, internal: internal.parse().ok()?, external_port: external_port.parse().ok()? };
        (mapping.internal.port() != 0 && mapping.external_port != 0).then_some(mapping)
    };
    parse().ok_or_else(|| "give PROTO:ADDR:PORT:EXTERNAL, such as udp:192.168.1.2:4000:5000".to_owned())
}

const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(86_400);

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  anything else
  2  usage
  3  the gateway does not answer, or does not speak NAT-PMP
  4  the gateway refused: not authorized (result 2)
  5  the gateway has no network (result 3)
  6  the gateway is out of resources (result 4)
  7  the gateway gave any other answer
  8  no gateway was found, or the network is unreachable";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definition_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_command_of_the_manual_is_understood() {
        for line in [
            "natpmp gateway",
            "natpmp gateway --all --json --interface eth0",
            "natpmp --json external-address",
            "natpmp map udp 4000",
            "natpmp map both 4000 --external 0 --lifetime 60 --timeout 2.5",
            "natpmp keep tcp 4000 --external 5000 --lifetime 60 --refresh-interval 45 --on-change true --port-file p",
            "natpmp keep both 0 --external 1 --gateway 10.2.0.1 --interface wg0 --bind 10.2.0.2",
            "natpmp unmap both 4000 --gateway 192.168.1.1:15351",
            "natpmp unmap-all udp -v",
            "natpmp watch --json",
            "natpmp completions bash",
            "natpmp man",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
        }
    }

    #[test]
    fn bad_values_are_named_with_what_would_be_right() {
        for (line, value, remedy) in [
            ("natpmp map icmp 4000", "icmp", "udp, tcp, both"),
            ("natpmp map udp 65536", "65536", "0..=65535"),
            ("natpmp map udp 4000 --external -1", "-1", ""),
            ("natpmp map udp 4000 --lifetime 0", "0", "1..=4294967295"),
            ("natpmp keep udp 4000 --refresh-interval 0", "0", "1..=4294967295"),
            ("natpmp unmap udp 0", "0", "1..=65535"),
            ("natpmp gateway --gateway ::1", "::1", "IPv4"),
            ("natpmp gateway --gateway router.lan", "router.lan", "IPv4"),
            ("natpmp gateway --gateway 192.168.1.1:0", "192.168.1.1:0", "5351"),
            ("natpmp gateway --gateway 0.0.0.0", "0.0.0.0", "natpmp gateway"),
            ("natpmp gateway --timeout 0", "0", "0.01 to 86400"),
            ("natpmp gateway --timeout -1", "-1", ""),
            ("natpmp gateway --timeout nan", "nan", "0.01 to 86400"),
            ("natpmp gateway --timeout soon", "soon", "number of seconds"),
            ("natpmp gateway --bind eth0", "eth0", "IPv4"),
            ("natpmp mapp udp 4000", "mapp", "map"),
            ("natpmp map udp 4000 --lifetme 5", "--lifetme", "--lifetime"),
        ] {
            let error = parse(line).expect_err(line);
            assert!(error.contains(value) && error.contains(remedy), "{line}: {error}");
        }
    }

    #[test]
    fn the_external_port_defaults_to_the_internal_one() {
        let Command::Map { mapping } = parse("natpmp map udp 4000").unwrap().command else { panic!("map") };
        assert_eq!(mapping.request(Protocol::Udp), MapRequest::new(Protocol::Udp, 4000));
    }
}
