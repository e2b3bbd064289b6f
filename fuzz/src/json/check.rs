//! The words that the README has for the command's JSON, and what may stand where.

use std::net::{Ipv4Addr, SocketAddrV4};

use natpmp_proto::AddressKind;
use serde_json::{Map, Value};

/// One line of the command.
pub(super) fn line(text: &str) {
    assert!(!text.contains(['\n', '\r']), "{text:?} is one line");
    let value: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let Value::Object(object) = value else { panic!("{text:?} is an object") };
    let event = object.get("event").and_then(Value::as_str).unwrap_or_else(|| panic!("{text:?} has an event"));
    let (_, always, also) =
        EVENTS.iter().find(|(name, ..)| *name == event).unwrap_or_else(|| panic!("{text:?} is documented"));
    for name in *always {
        assert!(object.contains_key(*name), "{text:?} has {name}");
    }
    for (name, value) in object.iter().filter(|(name, _)| *name != "event") {
        assert!(always.contains(&name.as_str()) || also.contains(&name.as_str()), "{text:?} does not have {name}");
        assert!(is_in_range(name, value), "{text:?}: {name}");
    }
    check_address(text, &object);
}

/// The events of the subcommands that ask a gateway or listen to it, with the fields that each has always and those that it may have.
pub const EVENTS: &[(&str, &[&str], &[&str])] = &[
    ("gateway", &["gateway"], &["interface", "metric", "table", "chosen", "reason"]),
    ("external-address", &["gateway"], &["external_address", "address_kind", "error"]),
    ("mapped", MAPPING, &["external_address"]),
    ("renewed", MAPPING, &["external_address"]),
    ("changed", MAPPING, &["external_address"]),
    ("retrying", &["gateway", "protocol", "internal_port", "error"], &[]),
    ("lost", &["gateway", "protocol", "internal_port", "external_port", "error"], &[]),
    ("gateway-restarted", &["gateway"], &[]),
    ("unmapped", &["gateway", "protocol", "internal_port"], &[]),
    ("lapsing", &["gateway", "protocol", "internal_port"], &["lifetime"]),
    ("unmapped-all", &["gateway", "protocol"], &[]),
    ("announcement", &["gateway"], &["epoch", "external_address"]),
    ("failed", &["error"], &["gateway", "protocol", "internal_port"]),
];

const MAPPING: &[&str] = &["gateway", "protocol", "internal_port", "external_port", "lifetime"];

/// All fields.
pub const FIELDS: &[&str] = &[
    "protocol",
    "internal_port",
    "external_port",
    "external_address",
    "address_kind",
    "lifetime",
    "gateway",
    "epoch",
    "error",
    "interface",
    "metric",
    "table",
    "chosen",
    "reason",
];

fn is_in_range(name: &str, value: &Value) -> bool {
    let is_number = |least: u64, most: u64| value.as_u64().is_some_and(|number| (least..=most).contains(&number));
    let is_text = |check: fn(&str) -> bool| value.as_str().is_some_and(check);
    match name {
        "protocol" => is_text(|text| text == "udp" || text == "tcp"),
        "internal_port" => is_number(0, u16::MAX.into()),
        "external_port" => is_number(1, u16::MAX.into()),
        "external_address" => is_text(|text| text.parse::<Ipv4Addr>().is_ok()),
        "address_kind" => is_text(|text| ["public", "private", "shared", "unspecified", "reserved"].contains(&text)),
        "lifetime" => is_number(1, u32::MAX.into()),
        "epoch" => is_number(0, u32::MAX.into()),
        // Null where a route names none.
        "gateway" => value.is_null() || is_text(|text| text.parse::<SocketAddrV4>().is_ok()),
        "metric" | "table" => value.is_null() || is_number(0, u32::MAX.into()),
        "chosen" => value.is_boolean(),
        "error" | "reason" => is_text(|text| !text.is_empty()),
        // Links may have any name.
        "interface" => value.is_string(),
        _ => false,
    }
}

/// An address goes with its kind, and not with an error; a gateway is absent in the list of them only.
fn check_address(text: &str, object: &Map<String, Value>) {
    let field = |name| object.get(name).and_then(Value::as_str);
    if let (Some(kind), Some(address)) = (field("address_kind"), field("external_address")) {
        assert_eq!(AddressKind::of(address.parse().unwrap()).name(), kind, "{text:?}");
    }
    if field("event") == Some("external-address") {
        assert_eq!(object.contains_key("external_address"), object.contains_key("address_kind"), "{text:?}");
        assert_ne!(object.contains_key("external_address"), object.contains_key("error"), "{text:?}");
    }
    let is_listed = object.contains_key("reason");
    assert!(is_listed || !object.get("gateway").is_some_and(Value::is_null), "{text:?}");
    assert_eq!(
        is_listed,
        ["interface", "metric", "table", "chosen"].iter().all(|name| object.contains_key(*name)),
        "{text:?}"
    );
}
