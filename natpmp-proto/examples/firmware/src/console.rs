//! What the images say, through the debugger (semihosting): as text, or with defmt.

use core::fmt;

use natpmp_proto::{AddressKind, Event, Instant};

#[cfg(feature = "defmt")]
use defmt_semihosting as _;

/// A line, after the time.
pub fn say(now: Instant, line: fmt::Arguments<'_>) {
    #[cfg(not(feature = "defmt"))]
    {
        let millis = now.as_micros() / 1_000;
        cortex_m_semihosting::hprintln!("[{:3}.{:03}] {}", millis / 1_000, millis % 1_000, line);
    }
    #[cfg(feature = "defmt")]
    defmt::info!("{} {}", now, defmt::Display2Format(&line));
}

/// What happened to the client.
pub fn report(now: Instant, event: &Event) {
    #[cfg(not(feature = "defmt"))]
    say(now, format_args!("{}", EventText(event)));
    // A few bytes: the words stay on the host.
    #[cfg(feature = "defmt")]
    defmt::info!("{} {}", now, event);
}

/// In words.
#[cfg_attr(feature = "defmt", expect(dead_code, reason = "the words stay on the host"))]
struct EventText<'a>(&'a Event);

impl fmt::Display for EventText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self.0 {
            Event::Mapped(mapping) => {
                write!(f, "mapped: {} {} is open on port ", mapping.protocol, mapping.internal_port)?;
                write!(f, "{} for {} s", mapping.external_port, mapping.lifetime)
            }
            Event::Renewed(mapping) => write!(f, "renewed: {} {}", mapping.protocol, mapping.internal_port),
            Event::PortChanged { mapping, previous_port } => {
                write!(f, "changed: {} {} is open on port ", mapping.protocol, mapping.internal_port)?;
                write!(f, "{}, not {previous_port}", mapping.external_port)
            }
            Event::Failed { protocol, internal_port, error, .. } => {
                write!(f, "failed: {protocol} {internal_port}: {error}")
            }
            Event::Lost { protocol, internal_port, cause, .. } => {
                write!(f, "lost: {protocol} {internal_port}: {cause:?}")
            }
            Event::ExternalAddress(Ok(address)) => {
                write!(f, "external address: {address} ({})", AddressKind::of(address).name())
            }
            Event::ExternalAddress(Err(error)) => write!(f, "external address: none: {error}"),
            Event::GatewayRestarted => f.write_str("the gateway has restarted"),
            Event::GatewayChanged(gateway) => write!(f, "gateway: {gateway}"),
            Event::Ended { protocol, internal_port, .. } => write!(f, "ended: {protocol} {internal_port}"),
            // To print it as `Debug` has it would take 4 KiB of flash for what does not happen here.
            _ => f.write_str("something else"),
        }
    }
}

/// Ends the emulation with a failure. A product would start again.
#[cfg(not(test))] // on a host, `std` has one
#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(not(feature = "defmt"))]
    cortex_m_semihosting::hprintln!("{}", info);
    #[cfg(feature = "defmt")]
    defmt::error!("{}", defmt::Display2Format(info));
    loop {
        cortex_m_semihosting::debug::exit(cortex_m_semihosting::debug::EXIT_FAILURE);
    }
}
