//! What each client does in its own process.

mod ours;
mod shell;
mod theirs;

use std::io::Write;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Does the job, and prints what it took. Jobs:
/// - `addresses GATEWAY COUNT`: asks for the external address so often; prints nanoseconds.
/// - `mappings GATEWAY COUNT`: asks for a mapping so often; prints nanoseconds.
/// - `first GATEWAY`: makes a client and a mapping; prints nanoseconds and how it ended.
/// - `keep GATEWAY COUNT LIFETIME RENEWALS`: keeps so many mappings of so many seconds until it is killed; says when all
///   of them are open.
pub fn run(name: &str, job: &str, arguments: &[&str]) {
    let client = CLIENTS.iter().find(|client| client.name == name).expect("a client of this name");
    match (job, arguments) {
        ("addresses", [gateway, count]) => repeat(client, Ask::Address, number(gateway), number(count)),
        ("mappings", [gateway, count]) => repeat(client, Ask::Mapping, number(gateway), number(count)),
        ("first", [gateway]) => {
            let begun = Instant::now();
            let result = (client.first)(number(gateway));
            let ending = result.map_or_else(|error| error, |()| OPEN.into());
            println!("{} {ending}", begun.elapsed().as_nanos());
        }
        ("keep", [gateway, count, lifetime, renewals]) => {
            raise_the_limit_on_open_files();
            let job = Keep {
                gateway: number(gateway),
                count: number(count),
                lifetime: number(lifetime),
                renewals: number(renewals),
            };
            (client.keep)(&job);
        }
        _ => panic!("not a job: {job} {arguments:?}"),
    }
}

/// Says that a `first` was successful.
pub const OPEN: &str = "open";

struct Client {
    name: &'static str,
    repeat: fn(Ask, Ipv4Addr, usize) -> Duration,
    first: fn(Ipv4Addr) -> Result<(), String>,
    keep: fn(&Keep),
}

const CLIENTS: [Client; 7] = [
    Client { name: "natpmp-std", repeat: ours::repeat_on_std, first: ours::first_on_std, keep: ours::keep_on_std },
    Client {
        name: "natpmp-std, quick",
        repeat: ours::repeat_on_std,
        first: ours::first_quick,
        keep: ours::keep_on_std,
    },
    Client { name: "natpmp-smol", repeat: ours::repeat_on_smol, first: ours::first_on_smol, keep: ours::keep_on_smol },
    Client {
        name: "crab_nat",
        repeat: theirs::repeat_crab_nat,
        first: theirs::first_crab_nat,
        keep: theirs::keep_crab_nat,
    },
    Client { name: "natpmp, async", repeat: theirs::repeat_natpmp, first: theirs::first_natpmp_async, keep: no_keep },
    Client { name: "natpmp, blocking", repeat: no_repeat, first: theirs::first_natpmp, keep: no_keep },
    Client { name: "natpmpc loop", repeat: no_repeat, first: no_first, keep: shell::keep },
];

#[derive(Clone, Copy)]
enum Ask {
    Address,
    Mapping,
}

/// Mappings to be kept.
struct Keep {
    gateway: Ipv4Addr,
    count: u16,
    lifetime: u32,
    /// How often each is renewed before the end; only who cannot be told to stop has to know.
    renewals: u32,
}

impl Keep {
    fn ports(&self) -> std::ops::Range<u16> {
        LOWEST_PORT..LOWEST_PORT + self.count
    }
}

fn repeat(client: &Client, ask: Ask, gateway: Ipv4Addr, count: usize) {
    println!("{}", (client.repeat)(ask, gateway, count).as_nanos());
}

fn say_open() {
    println!("{OPEN}");
    std::io::stdout().flush().expect("somebody listens");
}

fn number<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number or an address: {text}"))
}

fn raise_the_limit_on_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}

fn no_repeat(_: Ask, _: Ipv4Addr, _: usize) -> Duration {
    unreachable!("not measured")
}

fn no_first(_: Ipv4Addr) -> Result<(), String> {
    unreachable!("not measured")
}

fn no_keep(_: &Keep) {
    unreachable!("not measured")
}

/// Of the mappings.
const LOWEST_PORT: u16 = 10_000;
