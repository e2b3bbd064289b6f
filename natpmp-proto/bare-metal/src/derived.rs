//! The traits of every public type: comparisons, hashes, copies and texts.

use core::cmp::Ordering;
use core::fmt::{Debug, Display, Formatter};
use core::hash::{Hash, Hasher};
use core::ops::{Add, Deref};
use core::time::Duration;

use natpmp_proto::client::{
    Client, Config, Ending, Event, LossCause, MapError, MappingState, MappingStatus, Output, Received, RequestError,
};
use natpmp_proto::gateway::{
    self, CloseCause, Gateway, NatFailure, NatMapping, NatRequest, PortRange, RateLimit, TooManyRanges,
};
use natpmp_proto::wire::{DecodeError, Encoded, Failure, FailureDetail, Protocol, Refusal, Request, Response};
use natpmp_proto::{
    AddressKind, Backoff, Discard, Epoch, Instant, MapRequest, Mapping, Schedule, SocketId, Transmit, TransmitKind,
};

/// Exports the functions of each trait that a type has. `DebugByCore`: a derived text with an address or a number of 64 bits
/// in it, which `core` writes in ways that may panic as far as the optimiser can see; named and not proven.
macro_rules! traits {
    ($($name:ident = $type:ty: $($trait:ident)*;)*) => { $($(const _: () = {
        traits!(@$trait $name, $type);
    };)*)* };
    (@Clone $name:ident, $type:ty) => {
        traits!(@export "clone", $name, fn(value: &$type) -> $type { <$type as Clone>::clone(value) });
    };
    (@Debug $name:ident, $type:ty) => {
        traits!(@export "debug", $name, fn(value: &$type, formatter: &mut Formatter<'_>) -> core::fmt::Result {
            <$type as Debug>::fmt(value, formatter)
        });
    };
    (@Display $name:ident, $type:ty) => {
        traits!(@export "display", $name, fn(value: &$type, formatter: &mut Formatter<'_>) -> core::fmt::Result {
            <$type as Display>::fmt(value, formatter)
        });
    };
    (@DebugByCore $name:ident, $type:ty) => {
        #[unsafe(export_name = concat!("unproven_debug_", stringify!($name)))]
        pub extern "C" fn function(value: &$type, formatter: &mut Formatter<'_>) -> core::fmt::Result {
            <$type as Debug>::fmt(value, formatter)
        }
    };
    (@Default $name:ident, $type:ty) => {
        traits!(@export "default", $name, fn() -> $type { <$type as Default>::default() });
    };
    (@Hash $name:ident, $type:ty) => {
        traits!(@export "hash", $name, fn(value: &$type, hasher: &mut dyn Hasher) -> () {
            let mut hasher = hasher;
            <$type as Hash>::hash(value, &mut hasher);
        });
    };
    (@PartialEq $name:ident, $type:ty) => {
        traits!(@export "eq", $name, fn(a: &$type, b: &$type) -> bool { <$type as PartialEq>::eq(a, b) });
    };
    (@PartialOrd $name:ident, $type:ty) => {
        traits!(@export "partial_cmp", $name, fn(a: &$type, b: &$type) -> Option<Ordering> {
            <$type as PartialOrd>::partial_cmp(a, b)
        });
    };
    (@Ord $name:ident, $type:ty) => {
        traits!(@export "cmp", $name, fn(a: &$type, b: &$type) -> Ordering { <$type as Ord>::cmp(a, b) });
    };
    (@Add $name:ident, $type:ty) => {
        traits!(@export "add", $name, fn(a: $type, b: Duration) -> $type { <$type as Add<Duration>>::add(a, b) });
    };
    (@AsRef $name:ident, $type:ty) => {
        traits!(@export "as_ref", $name, fn(value: &$type) -> &[u8] { <$type as AsRef<[u8]>>::as_ref(value) });
    };
    (@Deref $name:ident, $type:ty) => {
        traits!(@export "deref", $name, fn(value: &$type) -> &[u8] { <$type as Deref>::deref(value) });
    };
    (@export $function:literal, $name:ident, fn($($argument:ident: $of:ty),*) -> $result:ty $body:block) => {
        #[unsafe(export_name = concat!("natpmp_trait_", $function, "_", stringify!($name)))]
        pub extern "C" fn function($($argument: $of),*) -> $result $body
    };
}

traits! {
    address_kind = AddressKind: Clone Debug Hash PartialEq;
    backoff = Backoff: Clone Debug Default PartialEq;
    client = Client<8>: Clone DebugByCore;
    close_cause = CloseCause: Clone Debug Hash PartialEq;
    config = Config: Clone DebugByCore PartialEq;
    decode_error = DecodeError: Clone Debug Display PartialEq;
    encoded = Encoded: AsRef Clone Debug Default Deref PartialEq;
    discard = Discard: Clone Debug PartialEq;
    ending = Ending: Clone Debug Hash PartialEq;
    epoch = Epoch: Clone DebugByCore PartialEq;
    error = RequestError: Clone Debug Display Hash PartialEq;
    event = Event: Clone DebugByCore PartialEq;
    failure = Failure: Clone Debug Hash PartialEq;
    failure_detail = FailureDetail: Clone Debug Hash PartialEq;
    gateway = Gateway<16>: DebugByCore;
    gateway_config = gateway::Config: Clone DebugByCore Default PartialEq;
    gateway_event = gateway::Event: Clone DebugByCore PartialEq;
    gateway_output = gateway::Output: Clone DebugByCore PartialEq;
    gateway_mapping = gateway::Mapping: Clone DebugByCore Hash PartialEq;
    received = Received: Clone DebugByCore PartialEq;
    instant = Instant: Add Clone DebugByCore Default Hash Ord PartialEq PartialOrd;
    loss_cause = LossCause: Clone Debug Hash PartialEq;
    map_error = MapError: Clone Debug Display Hash PartialEq;
    map_request = MapRequest: Clone Debug Hash PartialEq;
    mapping = Mapping: Clone Debug Hash PartialEq;
    mapping_state = MappingState: Clone DebugByCore PartialEq;
    mapping_status = MappingStatus: Clone DebugByCore PartialEq;
    nat_failure = NatFailure: Clone Debug Display Hash PartialEq;
    nat_mapping = NatMapping: Clone DebugByCore Hash PartialEq;
    nat_request = NatRequest: Clone DebugByCore Hash PartialEq;
    output = Output: Clone DebugByCore PartialEq;
    port_range = PortRange: Clone Debug PartialEq;
    protocol = Protocol: Clone Debug Display Hash Ord PartialEq PartialOrd;
    rate_limit = RateLimit<64>: Clone DebugByCore;
    refusal = Refusal: Clone Debug Display Hash PartialEq;
    request = Request: Clone Debug Hash PartialEq;
    response = Response: Clone DebugByCore Hash PartialEq;
    schedule = Schedule: Clone Debug Default PartialEq;
    socket_id = SocketId: Clone Debug Default Hash Ord PartialEq PartialOrd;
    too_many_ranges = TooManyRanges: Clone Debug Display PartialEq;
    transmit = Transmit: Clone DebugByCore PartialEq;
    transmit_kind = TransmitKind: Clone Debug Hash PartialEq;
}
