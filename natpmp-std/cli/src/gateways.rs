//! `gateway --all`: what the gateway is chosen from.

use std::net::SocketAddrV4;

use natpmp_std::{DiscoverError, Error, GatewayCandidate, list_gateways};
use serde::Serialize;

use crate::args::{GATEWAY_PORT, Global};
use crate::failure::Failure;
use crate::once::find_gateway;
use crate::report::Report;

/// Lists what there is. If none of it has an address that is a failure all the same.
pub fn gateways(global: &Global, report: &mut Report) -> Result<(), Failure> {
    if global.gateway.is_some() {
        return Err(Failure::usage("cannot list the gateways", "--all looks for them: leave out --gateway"));
    }
    let mut candidates = list_gateways().map_err(failure)?;
    if let Some(interface) = &global.interface {
        candidates.retain(|candidate| candidate.interface == *interface);
    }
    tell(report, &candidates);
    if candidates.iter().any(|candidate| candidate.gateway.is_some()) {
        return Ok(());
    }
    // That none was found is told as `gateway` tells it.
    find_gateway(global).map(drop).map_err(failure)
}

pub fn tell(report: &mut Report, candidates: &[GatewayCandidate]) {
    for (candidate, text) in candidates.iter().zip(table(candidates)) {
        report.result(&Line::of(candidate), &text);
    }
}

fn failure(error: DiscoverError) -> Failure {
    Failure::new("cannot find the gateway", &Error::Discover(error))
}

/// A text for each candidate, all as wide as each other; the first has the heading above it.
fn table(candidates: &[GatewayCandidate]) -> Vec<String> {
    let heading = ["gateway", "interface", "metric", ""].map(str::to_owned);
    let rows: Vec<[String; 4]> = std::iter::once(heading).chain(candidates.iter().map(row)).collect();
    let width = |column: fn(&[String; 4]) -> &String| rows.iter().map(|row| column(row).chars().count()).max();
    let widths = [width(|row| &row[0]), width(|row| &row[1]), width(|row| &row[2])].map(Option::unwrap_or_default);
    let mut lines = rows.iter().map(|[gateway, interface, metric, reason]| {
        let [first, second, third] = widths;
        let line = format!("{gateway:first$}  {interface:second$}  {metric:third$}  {reason}");
        line.trim_end().to_owned()
    });
    let heading = lines.next().unwrap_or_default();
    let mut lines: Vec<String> = lines.collect();
    if let Some(first) = lines.first_mut() {
        *first = format!("{heading}\n{first}");
    }
    lines
}

fn row(candidate: &GatewayCandidate) -> [String; 4] {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let lead = if candidate.is_chosen() { "chosen: " } else { "" };
    [
        or_dash(candidate.gateway.map(|address| address.to_string())),
        candidate.interface.clone(),
        or_dash(candidate.metric.map(|metric| metric.to_string())),
        format!("{lead}{}", candidate.reason),
    ]
}

/// One candidate: the fields of its JSON object.
#[derive(Debug, Serialize)]
struct Line<'a> {
    event: &'static str,
    /// Null where the route names none.
    gateway: Option<SocketAddrV4>,
    interface: &'a str,
    metric: Option<u32>,
    table: Option<u32>,
    chosen: bool,
    reason: String,
}

impl<'a> Line<'a> {
    fn of(candidate: &'a GatewayCandidate) -> Self {
        Self {
            event: "gateway",
            gateway: candidate.gateway.map(|address| SocketAddrV4::new(address, GATEWAY_PORT)),
            interface: &candidate.interface,
            metric: candidate.metric,
            table: candidate.table,
            chosen: candidate.is_chosen(),
            reason: candidate.reason.to_string(),
        }
    }
}
