use natpmp_smol::{Client, MapRequest, Protocol};

fn main() {
    let (client, driver) = Client::discover().expect("a gateway");
    // The driver ends when the client is gone.
    std::thread::spawn(|| async_io::block_on(driver));
    let mapping = async_io::block_on(client.map(&MapRequest::new(Protocol::Tcp, 8080))).expect("a mapping");
    println!("{}", mapping.external_port);
}
