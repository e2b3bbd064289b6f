//! A NAT gateway's NAT-PMP server. The board has one Ethernet port: the other side is made up, and its NAT only says what it would do.
#![no_std]
#![no_main]

use cortex_m::asm::wfi;
use cortex_m_rt::entry;
use natpmp_firmware::board::{self, Ethernet};
use natpmp_firmware::clock::{Clock, from_smoltcp, to_smoltcp};
use natpmp_firmware::console::say;
use natpmp_firmware::natpmp_client::Next;
use natpmp_firmware::natpmp_gateway::{Nat, NatPmpGateway, Storage};
use natpmp_firmware::nic::Nic;
use natpmp_firmware::settings::EXTERNAL_ADDRESS;
use natpmp_firmware::uplink::{Change, Uplink};
use natpmp_proto::gateway::{Config, Event, NatFailure, NatMapping, NatRequest, RateLimit};
use natpmp_proto::{Gateway, Instant};
use smoltcp::iface::{Interface, SocketSet, SocketStorage};

#[entry]
fn main() -> ! {
    static mut SOCKETS: [SocketStorage<'static>; 2] = [SocketStorage::EMPTY; 2];
    static mut STORAGE: Storage = Storage::new();

    let (Some(peripherals), Some(ethernet)) = (cortex_m::Peripherals::take(), Ethernet::take()) else {
        unreachable!("nobody has taken them before")
    };
    let mut clock = Clock::start(peripherals.SYST);
    let address = ethernet.address();
    let seed = board::seed(address);
    let mut nic = Nic::new(ethernet);

    // smoltcp.
    let mut config = smoltcp::iface::Config::new(smoltcp::wire::EthernetAddress(address).into());
    config.random_seed = seed;
    let mut interface = Interface::new(config, &mut nic, to_smoltcp(clock.now()));
    let mut sockets = SocketSet::new(&mut SOCKETS[..]);
    let mut uplink = Uplink::new(&mut sockets);

    // NAT-PMP. What `main` has is as good as a static: it never returns.
    let mut gateway: Gateway<64> = Gateway::new(Config::new().longest_lifetime(3_600).seed(seed));
    let mut natpmp = NatPmpGateway::new(&mut gateway, RateLimit::new(10, seed), &mut sockets, STORAGE);
    let mut nat = Recorder { installed: 0 };

    loop {
        let now = clock.now();
        interface.poll(to_smoltcp(now), &mut nic, &mut sockets);
        if let Some(change) = uplink.poll(&mut interface, &mut sockets) {
            take(now, change, &mut natpmp);
        }
        let wake = loop {
            match natpmp.poll(now, &mut sockets, &mut nat) {
                Next::Event(event) => log_event(now, &event),
                Next::Wait(until) => break until,
            }
        };
        let poll = interface.poll_at(to_smoltcp(now), &sockets).map(from_smoltcp);
        let wake = [wake, poll].into_iter().flatten().min();
        while wake.is_none_or(|wake| clock.now() < wake) && !nic.has_frame() {
            wfi();
        }
    }
}

/// The internal side came up or went down. The boot is announced when there is somebody to receive it.
fn take(now: Instant, change: Change, natpmp: &mut NatPmpGateway<'_, 64>) {
    match change {
        Change::Up(address, _) => {
            natpmp.set_internal_address(Some(address));
            if natpmp.gateway.external_address().is_none() {
                natpmp.gateway.start(now, 0);
                natpmp.gateway.set_external_address(now, Some(EXTERNAL_ADDRESS));
            }
            say(now, format_args!("serving: {} for {EXTERNAL_ADDRESS}", address.address()));
        }
        Change::Down => {
            natpmp.set_internal_address(None);
            say(now, format_args!("serving: nobody"));
        }
    }
}

/// A NAT that says what it would do.
struct Recorder {
    installed: u32,
}

impl Nat for Recorder {
    fn apply(&mut self, now: Instant, request: &NatRequest) -> Result<(), NatFailure> {
        let (word, NatMapping { protocol, internal, external_port }) = match request {
            NatRequest::Install(mapping) => ("install", mapping),
            NatRequest::Remove(mapping) => ("remove", mapping),
        };
        self.installed = match request {
            NatRequest::Install(_) => self.installed.saturating_add(1),
            NatRequest::Remove(_) => self.installed.saturating_sub(1),
        };
        let installed = self.installed;
        say(now, format_args!("{word}: {protocol} {external_port} to {internal} ({installed} installed)"));
        Ok(())
    }
}

fn log_event(now: Instant, event: &Event) {
    match event {
        Event::Renewed(renewed) => {
            let NatMapping { protocol, internal, external_port } = renewed.mapping;
            say(now, format_args!("renewed: {protocol} {external_port} to {internal}"));
        }
        Event::Refused { client, protocol, internal_port, refusal } => {
            say(now, format_args!("refused: {protocol} {internal_port} of {client}: {refusal}"));
        }
        // The NAT has said it.
        _ => {}
    }
}
