use natpmp_std::{Error, RequestError};

/// The machine's error that a call's error was made of.
pub(crate) fn machine_error(error: Error) -> RequestError {
    match error {
        Error::NoAnswer { .. } => RequestError::NoAnswer,
        Error::PortUnreachable { .. } => RequestError::PortUnreachable,
        Error::NetworkDown { .. } => RequestError::NetworkDown,
        Error::Refused { refusal: Some(refusal), .. } => RequestError::Refused(refusal),
        Error::Refused { refusal: None, .. } => RequestError::GrantedNothing,
        other => panic!("a call to the gateway failed for another reason: {other}"),
    }
}
