//! Keeps a port open in a program on tokio, and says whenever that changes. Enter ends it, and so does the end of its input.
//!
//! Of tokio it takes the feature `rt`: the client brings its own sockets and timers, so the runtime needs no drivers. It runs
//! on a runtime with many threads as well.
//!
//! ```sh
//! cargo run -p natpmp-smol --example keep_on_tokio                            # TCP 6881, at the default gateway
//! cargo run -p natpmp-smol --example keep_on_tokio -- 192.168.1.1 udp 4000    # at this gateway, another port
//! ```

use std::error::Error;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use natpmp_smol::{Change, Client, MapRequest, Protocol};

fn main() -> Result<(), Box<dyn Error>> {
    let (gateway, request) = arguments()?;
    tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
        let (client, driver) = match gateway {
            Some(gateway) => Client::builder().gateway_address(gateway).build()?,
            None => Client::discover()?,
        };
        // The driver sends, hears and keeps time, as a task of the runtime.
        tokio::spawn(driver);
        println!("asking {} for {} {}", client.gateway(), request.protocol(), request.internal_port());

        let kept = client.keep_with(&request, report)?;
        if kept.wait_open(Duration::from_secs(5)).await.is_err() {
            // It is tried again for as long as `kept` exists, whatever goes wrong.
            println!("not open so far: {:?}", kept.state().last_error);
        }

        // Here your program does its work. This one waits for Enter.
        tokio::task::spawn_blocking(|| io::stdin().read_line(&mut String::new())).await??;

        // Deletes the mapping, and says whether that came through.
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
