use std::num::NonZeroU16;

use portmapper::{Client, Config};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let client = Client::new(Config { enable_upnp: false, enable_pcp: false, ..Config::default() });
        client.update_local_port(NonZeroU16::new(8080).expect("a port"));
        client.procure_mapping();
        let mut addresses = client.watch_external_address();
        let address = addresses.wait_for(Option::is_some).await.expect("a mapping");
        println!("{}", address.expect("it is there").port());
    });
}
