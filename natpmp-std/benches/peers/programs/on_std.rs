use natpmp_std::{Client, MapRequest, Protocol};

fn main() {
    let client = Client::discover().expect("a gateway");
    let mapping = client.map(&MapRequest::new(Protocol::Tcp, 8080)).expect("a mapping");
    println!("{}", mapping.external_port);
}
