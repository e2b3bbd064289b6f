//! Where the network may not be there yet.

use natpmp_std::{Client, Error, Schedule};

use crate::args::{self, Global};
use crate::failure::Failure;
use crate::once::find_gateway;
use crate::report::{Line, Report};

/// A client of the gateway that was given, or of the one that the routes lead to, also if there is none yet. That is said once.
pub(super) fn client(global: &Global, args: &args::Keep, report: &mut Report) -> Result<Client, Failure> {
    let builder = global.builder().schedule(Schedule::within(global.patience())).wait_for_gateway(true);
    let client = builder.clear_on_new_address(args.clear_on_new_address).build();
    let client = client.map_err(|error| {
        let tried =
            if matches!(error, Error::Discover(_)) { "cannot find the gateway" } else { "cannot keep a mapping" };
        Failure::new(tried, &error).at(global.gateway)
    })?;
    if client.gateway().ip().is_unspecified() {
        let error = find_gateway(global).err().map(|error| error.to_string()).unwrap_or_default();
        let text = format!("no gateway yet: {error}; waiting, interrupt to end");
        report.event(&Line { event: "retrying", error: Some(error), ..Line::default() }, &text);
    }
    Ok(client)
}
