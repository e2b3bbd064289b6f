//! A gateway and its client in one program.

use natpmp_lab::Lab;

use super::{SOON, start};

#[test]
fn a_gateway_and_its_client_share_a_thread_and_both_end() {
    let Some(lab) = Lab::or_skip() else { return };
    let finished = start(lab.client(), "serve_and_use", &[]).finish(SOON);
    assert_eq!(finished.code, Some(0), "{finished}");
    let expected = ["the service got \"anybody there?\"", "the gateway has 0 mappings", "both have ended"];
    for line in expected {
        assert!(finished.stdout.iter().any(|reported| reported == line), "{line}\n{finished}");
    }
    let answer = finished.stdout.iter().find(|line| line.starts_with("the answer is \"it is me\"")).unwrap();
    assert!(answer.contains("from 127.0.0.2:"), "{answer}");
}
