//! Faults as a gateway's knobs.

use std::time::Duration;

use super::Fault;
use crate::gateway::Knobs;

pub(super) fn turn(knobs: &mut Knobs, fault: Fault) {
    match fault {
        Fault::None => *knobs = Knobs::default(),
        Fault::Reach(reach) => knobs.reach = reach,
        Fault::Refuse(code, form) => {
            (knobs.refuse_map, knobs.refuse_unmap, knobs.refuse_address) = (code, code, code);
            knobs.failure_form = form;
        }
        Fault::Grant(grant) => knobs.grant = grant,
        Fault::MovesPorts => knobs.moves_ports = true,
        Fault::Late(delay, repeats, answers_every) => {
            knobs.delay = Duration::from_millis(delay.into());
            (knobs.repeats, knobs.answers_every) = (repeats, answers_every);
        }
        Fault::Version(form) => knobs.version_error = Some(form),
        Fault::Miniupnpd => *knobs = Knobs::miniupnpd(),
        Fault::Announces(announces) => knobs.announces = announces,
    }
}
