//! Keeps a port open, and says whenever that changes. Enter ends it, and so does the end of its input.
//!
//! ```sh
//! cargo run -p natpmp-smol --example keep_mapping                            # TCP 6881, at the default gateway
//! cargo run -p natpmp-smol --example keep_mapping -- udp 4000                # another port
//! cargo run -p natpmp-smol --example keep_mapping -- 192.168.1.1 udp 4000    # at this gateway
//! ```

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;

use natpmp_smol::{Change, Client, Event, MapRequest, Protocol};
use smol::stream::StreamExt;

fn main() -> Result<(), Box<dyn Error>> {
    let (gateway, request) = arguments()?;
    smol::block_on(async {
        let (client, driver) = match gateway {
            Some(gateway) => Client::builder().gateway_address(gateway).build()?,
            None => Client::discover()?,
        };
        // The driver sends, hears and keeps time. It is a future like any other: spawn it where you like.
        smol::spawn(driver).detach();
        println!("asking {} for {} {}", client.gateway(), request.protocol(), request.internal_port());

        // What goes wrong is told by the events. A kept mapping is tried again whatever it is.
        let mut events = client.events();
        smol::spawn(async move {
            while let Some(event) = events.next().await {
                if let Event::Failed { error, .. } = event {
                    println!("it will be tried again: {error}");
                }
            }
        })
        .detach();

        let kept = client.keep_with(&request, report)?;

        // Here your program does its work. This one waits for Enter.
        smol::unblock(|| io::stdin().read_line(&mut String::new())).await?;

        // Deletes the mapping, and says whether that came through. If `kept` is dropped it is deleted as well, and nobody
        // waits for it.
        kept.stop().await?;
        println!("{} {} is unmapped", request.protocol(), request.internal_port());
        Ok(())
    })
}

/// Called when the mapping is open, has another external port or address, or is lost.
fn report(change: &Change) {
    let Change { protocol, internal_port, .. } = change;
    match (change.mapping, change.external_address) {
        (Some(mapping), Some(address)) => {
            println!("{protocol} {internal_port} is open at {address}:{}", mapping.external_port);
        }
        // The address is asked for as well, and told when it is known.
        (Some(mapping), None) => println!("{protocol} {internal_port} is open on port {}", mapping.external_port),
        (None, _) => println!("{protocol} {internal_port} is not open at present"),
    }
}

/// `[GATEWAY] [udp|tcp] [PORT]`
fn arguments() -> Result<(Option<Ipv4Addr>, MapRequest), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).peekable();
    let gateway = arguments.peek().and_then(|first| first.parse().ok());
    if gateway.is_some() {
        arguments.next();
    }
    let protocol = match arguments.next().as_deref() {
        Some("udp") => Protocol::Udp,
        Some("tcp") | None => Protocol::Tcp,
        Some(other) => return Err(format!("{other} is neither a gateway's address nor udp nor tcp").into()),
    };
    let port = arguments.next().map_or(Ok(6881), |port| port.parse())?;
    Ok((gateway, MapRequest::new(protocol, port)))
}
