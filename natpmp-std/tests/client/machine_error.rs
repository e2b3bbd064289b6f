use natpmp_std::{Error, MachineError};

/// The machine's error that a call's error was made of.
pub(crate) fn machine_error(error: Error) -> MachineError {
    match error {
        Error::NoAnswer { .. } => MachineError::NoAnswer,
        Error::PortUnreachable { .. } => MachineError::PortUnreachable,
        Error::NetworkDown { .. } => MachineError::NetworkDown,
        Error::Refused { refusal: Some(refusal), .. } => MachineError::Refused(refusal),
        Error::Refused { refusal: None, .. } => MachineError::GrantedNothing,
        other => panic!("a call to the gateway failed for another reason: {other}"),
    }
}
