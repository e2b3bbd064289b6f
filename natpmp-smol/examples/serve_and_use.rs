//! A gateway and its client in one process, on one thread: 127.0.0.1 is the inside, and 127.0.0.2 the address that the rest of
//! the world sees. The NAT between them is a relay in user space. It takes no privileges.
//!
//! ```sh
//! cargo run -p natpmp-smol --features relay --example serve_and_use
//! ```

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use natpmp_smol::server::nat::{Relay, RelayLimits};
use natpmp_smol::server::{External, Internal, Server};
use natpmp_smol::{Client, MapRequest, Protocol};
use smol::LocalExecutor;
use smol::net::UdpSocket;

fn main() -> Result<(), Box<dyn Error>> {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(async {
        // The gateway, on any port: 5351 may be taken.
        let (server, driver) = Server::builder(|_| Relay::start(RelayLimits::default()))
            .internal(Internal::Address(INSIDE))
            .external(External::Address(OUTSIDE))
            .port(0)
            .build()?;
        let serving = executor.spawn(driver);
        let gateway = *server.addresses().first().ok_or("the gateway listens nowhere")?;
        println!("a gateway serves {gateway}");

        // Its client, and a service that is to be reachable from outside.
        let (client, driver) = Client::builder().gateway(gateway).build()?;
        let using = executor.spawn(driver);
        let service = UdpSocket::bind((INSIDE, 0)).await?;
        let port = service.local_addr()?.port();
        let kept = client.keep(&MapRequest::new(Protocol::Udp, port))?;
        let mapping = kept.wait_open(Duration::from_secs(5)).await?;
        let external = (client.external_address().await?, mapping.external_port);
        println!("udp {port} is open at {}:{}", external.0, external.1);

        // One datagram to the mapped port, and the service's answer to it.
        let peer = UdpSocket::bind((INSIDE, 0)).await?;
        peer.send_to(b"anybody there?", external).await?;
        let (question, relay) = receive(&service).await?;
        println!("the service got {question:?}");
        service.send_to(b"it is me", relay).await?;
        let (answer, from) = receive(&peer).await?;
        println!("the answer is {answer:?}, from {from}");

        // The client's driver completes when its last handle is gone, and so does the gateway's.
        kept.stop().await?;
        drop(client);
        using.await;
        println!("the gateway has {} mappings", server.mappings().len());
        drop(server);
        serving.await;
        println!("both have ended");
        Ok(())
    }))
}

/// The next datagram, and who sent it.
async fn receive(socket: &UdpSocket) -> Result<(String, SocketAddr), Box<dyn Error>> {
    let mut buffer = [0; 64];
    let (length, from) = socket.recv_from(&mut buffer).await?;
    Ok((String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned(), from))
}

const INSIDE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
