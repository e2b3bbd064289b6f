use std::time::Duration;

use natpmp::{Error, Natpmp, Protocol, Response};

fn main() {
    let mut client = Natpmp::new().expect("a gateway");
    client.send_port_mapping_request(Protocol::TCP, 8080, 0, 7200).expect("it is sent");
    loop {
        match client.read_response_or_retry() {
            Ok(Response::TCP(mapping)) => return println!("{}", mapping.public_port()),
            Err(Error::NATPMP_TRYAGAIN) => std::thread::sleep(Duration::from_millis(5)),
            other => panic!("no mapping: {other:?}"),
        }
    }
}
