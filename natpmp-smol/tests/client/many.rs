//! One driver, many that it serves.

use natpmp_proto::wire::Request;
use natpmp_smol::{Client, Ending, MapRequest, Protocol};
use natpmp_testkit::gateway::Gateway;
use smol::LocalExecutor;

use super::{SOON, UDP, builder, gateway, lease, leases, requests, run};

#[test]
fn one_driver_serves_200_kept_mappings_and_50_callers() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let executor = LocalExecutor::new();
        let kept: Vec<_> =
            (0..200).map(|index| client.keep(&MapRequest::new(Protocol::Udp, 10_000 + index)).unwrap()).collect();
        let callers: Vec<_> = (0..50).map(|index| executor.spawn(call(client.clone(), 20_000 + index))).collect();
        let work = async {
            for caller in callers {
                caller.await;
            }
            for kept in &kept {
                assert_eq!(kept.wait_open(SOON).await.unwrap().external_port, kept.internal_port());
            }
        };
        executor.run(work).await;
        assert_eq!(leases(&gateway), 250);
        assert_eq!(client.mappings().len(), 250);
    });
    assert_eq!(leases(&gateway), 50, "what is kept is deleted at the end");
}

async fn call(client: Client, port: u16) {
    let request = MapRequest::new(Protocol::Tcp, port);
    assert_eq!(client.external_address().await.unwrap(), Gateway::EXTERNAL);
    let mapping = client.map(&request).await.unwrap();
    assert_eq!(mapping.external_port, port);
    assert_eq!(client.delete(&mapping).await.unwrap(), Ending::Unmapped);
    let mapping = client.map(&request).await.unwrap();
    assert_eq!(client.refresh(&mapping).await.unwrap(), mapping);
}

/// One request is in flight at a time, whoever asks for what.
#[test]
fn callers_that_ask_for_the_same_share_the_answer() {
    let gateway = gateway(|_| {});
    run(builder(&gateway), async |client| {
        let executor = LocalExecutor::new();
        let callers: Vec<_> = (0..20)
            .map(|_| {
                let client = client.clone();
                executor
                    .spawn(async move { (client.map(&UDP).await.unwrap(), client.external_address().await.unwrap()) })
            })
            .collect();
        executor
            .run(async {
                for caller in callers {
                    let (mapping, address) = caller.await;
                    assert_eq!((mapping.external_port, address), (4_000, Gateway::EXTERNAL));
                }
            })
            .await;
    });
    assert_eq!(lease(&gateway, Protocol::Udp, 4_000), Some(4_000));
    let asked = requests(&gateway);
    assert!(asked.iter().filter(|&&request| request == Request::ExternalAddress).count() <= 2, "{asked:?}");
}
