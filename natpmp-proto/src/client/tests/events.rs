//! What is told, and in which words.

use std::string::{String, ToString};

use super::*;

#[test]
fn an_event_names_the_mapping_that_it_is_about_and_no_other() {
    let open = mapping(UDP, 4000, 5000, 7200);
    let (protocol, internal_port, external_port) = (UDP, 4000, 5000);
    for event in [
        Event::Mapped(open),
        Event::Renewed(open),
        Event::PortChanged { mapping: open, previous_port: 1 },
        Event::Failed { protocol, internal_port, error: RequestError::NoAnswer, retry_at: None },
        Event::Lost { protocol, internal_port, external_port, cause: LossCause::Expired },
        Event::Ended { protocol, internal_port, external_port, ending: Ending::Expired },
    ] {
        assert_eq!(event.mapping_key(), Some((UDP, 4000)), "{event:?}");
    }
    for event in [
        Event::UnmappedAll { protocol, result: Ok(()) },
        Event::ExternalAddress(Ok(ADDRESS)),
        Event::GatewayRestarted,
        Event::GatewayChanged(GATEWAY),
    ] {
        assert_eq!(event.mapping_key(), None, "{event:?}");
    }
}

#[test]
fn errors_say_what_happened_and_what_to_do() {
    let refused = RequestError::Refused(Refusal::OutOfResources);
    let told: [(String, &str); 9] = [
        (RequestError::NoAnswer.to_string(), "does not answer"),
        (RequestError::PortUnreachable.to_string(), "port unreachable"),
        (RequestError::NetworkDown.to_string(), "on this side"),
        (refused.to_string(), &Refusal::OutOfResources.to_string()),
        (RequestError::GrantedNothing.to_string(), "granted nothing"),
        (RequestError::GatewayChanged.to_string(), "another gateway"),
        (MapError::TableFull { capacity: 8 }.to_string(), "all 8 mappings"),
        (MapError::ZeroLifetime.to_string(), "lifetime of 0 s"),
        (MapError::ZeroRefreshInterval.to_string(), "interval of 0 s"),
    ];
    for (text, part) in told {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}
