//! Several gateways at once: a home router and a VPN, or two uplinks. Each has a client of its own, which finds its gateway
//! by the interface; all of them run on one thread. Enter ends it, and so does the end of its input.
//!
//! ```sh
//! cargo run -p natpmp-smol --example several_gateways -- eth0 wg0
//! ```

use std::error::Error;
use std::io;

use natpmp_smol::{Change, Client, MapRequest, Protocol};
use smol::LocalExecutor;

fn main() -> Result<(), Box<dyn Error>> {
    let interfaces: Vec<String> = std::env::args().skip(1).collect();
    if interfaces.is_empty() {
        return Err("name the interfaces that lead to the gateways: several_gateways eth0 wg0".into());
    }
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        let mut all_kept = Vec::new();
        for interface in &interfaces {
            // Packets leave by this interface, and the gateway is that of the default route through it. Where there is no
            // such route, as behind many VPNs, give its address too: `.gateway_address(…)`.
            let (client, driver) = Client::builder().interface(interface).build()?;
            executor.spawn(driver).detach();

            let name = interface.clone();
            let kept = client.keep_with(&MapRequest::new(Protocol::Tcp, PORT), move |change| report(&name, change))?;
            all_kept.push((interface, kept));

            // Each is asked beside the others: one that does not answer holds up nobody.
            let name = interface.clone();
            let ask = async move {
                match client.external_address().await {
                    Ok(address) => println!("{name}: the external address of {} is {address}", client.gateway()),
                    Err(error) => println!("{name}: {error}"),
                }
            };
            executor.spawn(ask).detach();
        }

        // Here your program does its work. This one waits for Enter.
        smol::unblock(|| io::stdin().read_line(&mut String::new())).await?;

        for (interface, kept) in all_kept {
            match kept.stop().await {
                Ok(_) => println!("{interface}: tcp {PORT} is unmapped"),
                Err(error) => println!("{interface}: {error}"),
            }
        }
        Ok(())
    }))
}

fn report(interface: &str, change: &Change) {
    match change.mapping {
        Some(mapping) => println!("{interface}: tcp {PORT} is open on port {}", mapping.external_port),
        None => println!("{interface}: tcp {PORT} is not open at present"),
    }
}

const PORT: u16 = 6881;
