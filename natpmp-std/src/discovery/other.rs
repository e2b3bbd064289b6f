//! Systems other than Linux, through the `netdev` crate.

use super::routes::{DefaultRoute, Routes};

pub(super) fn read() -> Routes {
    let interfaces = netdev::get_interfaces();
    // netdev knows no metrics, but which interface the system prefers.
    let preferred = netdev::get_default_interface().map(|interface| interface.index);

    let mut routes = Routes::default();
    for interface in interfaces {
        let is_preferred = preferred.as_ref() == Ok(&interface.index);
        let gateway =
            interface.gateway.and_then(|gateway| gateway.ipv4.into_iter().find(|address| !address.is_unspecified()));
        if is_preferred || gateway.is_some() {
            routes.default.push(DefaultRoute {
                interface: interface.name.clone(),
                gateway,
                metric: u32::from(!is_preferred),
            });
        }
        routes.interfaces.push(interface.name);
    }
    routes
}
