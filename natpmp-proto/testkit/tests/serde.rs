//! What users store: the JSON form of mappings and requests is part of the interface.
#![cfg(feature = "serde")]

use std::fmt::Debug;
use std::net::Ipv4Addr;

use natpmp_proto::client::MapError;
use natpmp_proto::wire::Request;
use natpmp_proto::{Client, Config, Instant, MapRequest, Mapping, Output, Protocol};
use serde_json::{from_str, to_string};

/// The value is written as exactly this, and read from it.
fn is_stored_as<T>(value: &T, json: &str)
where
    T: serde::Serialize + for<'a> serde::Deserialize<'a> + PartialEq + Debug,
{
    assert_eq!(to_string(value).unwrap(), json);
    assert_eq!(&from_str::<T>(json).unwrap(), value);
}

#[test]
fn a_protocol_is_stored_by_its_name() {
    is_stored_as(&Protocol::Udp, r#""udp""#);
    is_stored_as(&Protocol::Tcp, r#""tcp""#);
    assert!(from_str::<Protocol>(r#""UDP""#).is_err());
    assert!(from_str::<Protocol>(r#""sctp""#).is_err());
}

#[test]
fn a_mapping_is_stored_with_its_four_fields() {
    let mapping = Mapping { protocol: Protocol::Udp, internal_port: 4000, external_port: 49_153, lifetime: 7200 };
    is_stored_as(&mapping, r#"{"protocol":"udp","internal_port":4000,"external_port":49153,"lifetime":7200}"#);
}

#[test]
fn a_request_is_stored_with_all_that_was_chosen() {
    let request = MapRequest::new(Protocol::Tcp, 6881);
    is_stored_as(
        &request,
        r#"{"protocol":"tcp","internal_port":6881,"external_port":6881,"lifetime":7200,"refresh_interval":null}"#,
    );
    let request = request.external_port(0).lifetime(60).refresh_interval(45);
    is_stored_as(
        &request,
        r#"{"protocol":"tcp","internal_port":6881,"external_port":0,"lifetime":60,"refresh_interval":45}"#,
    );
}

#[test]
fn a_request_written_by_hand_may_leave_the_interval_out() {
    let json = r#"{"protocol":"udp","internal_port":4000,"external_port":4000,"lifetime":7200}"#;
    assert_eq!(from_str::<MapRequest>(json).unwrap(), MapRequest::new(Protocol::Udp, 4000));
}

#[test]
fn numbers_that_do_not_fit_and_missing_fields_are_refused_when_they_are_read() {
    for json in [
        r#"{"protocol":"udp","internal_port":65536,"external_port":1,"lifetime":1}"#,
        r#"{"protocol":"udp","internal_port":-1,"external_port":1,"lifetime":1}"#,
        r#"{"protocol":"udp","internal_port":1,"external_port":1,"lifetime":4294967296}"#,
        r#"{"protocol":"udp","internal_port":1,"external_port":1}"#,
    ] {
        assert!(from_str::<Mapping>(json).is_err(), "{json}");
        assert!(from_str::<MapRequest>(json).is_err(), "{json}");
    }
}

/// What the client asks for, or why it does not.
fn asked(request: &MapRequest) -> Result<Request, MapError> {
    let mut client: Client<1> = Client::new(Config::new(Ipv4Addr::new(192, 168, 1, 1)));
    client.keep(Instant::ZERO, request)?;
    let Output::Transmit(transmit) = client.poll(Instant::ZERO) else { panic!("the request is due") };
    Ok(Request::decode(&transmit.payload).unwrap())
}

/// The limits hold where a stored value is used, since it may have been changed by hand.
#[test]
fn stored_lifetimes_and_intervals_beyond_the_limits_do_no_harm() {
    let stored = |lifetime: u32, interval: &str| {
        let json = format!(
            r#"{{"protocol":"udp","internal_port":7,"external_port":8,"lifetime":{lifetime},"refresh_interval":{interval}}}"#
        );
        from_str::<MapRequest>(&json).unwrap()
    };
    assert_eq!(asked(&stored(0, "null")), Err(MapError::ZeroLifetime));
    assert_eq!(asked(&stored(60, "0")), Err(MapError::ZeroRefreshInterval));
    let longest = Request::Map {
        protocol: Protocol::Udp,
        internal_port: 7,
        suggested_external_port: 8,
        lifetime: MapRequest::LONGEST_LIFETIME,
    };
    assert_eq!(asked(&stored(u32::MAX, "4294967295")), Ok(longest));
}

#[test]
fn a_stored_mapping_is_asked_for_again_on_its_port() {
    let json = r#"{"protocol":"udp","internal_port":4000,"external_port":49153,"lifetime":120}"#;
    let expected =
        Request::Map { protocol: Protocol::Udp, internal_port: 4000, suggested_external_port: 49_153, lifetime: 120 };
    assert_eq!(asked(&from_str::<Mapping>(json).unwrap().request()), Ok(expected));
    let dead = json.replace("120", "0");
    assert_eq!(asked(&from_str::<Mapping>(&dead).unwrap().request()), Err(MapError::ZeroLifetime));
}
