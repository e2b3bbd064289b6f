//! Any bytes are a history that the machines and their models live through.

use natpmp_testkit::Random;
use natpmp_testkit::model::{client, client_and_gateway, gateway};

#[test]
fn any_bytes_are_a_history_of_a_gateway() {
    each(200, 400, gateway::run);
}

#[test]
fn any_bytes_are_a_history_of_a_client() {
    each(100, 200, client::run);
}

#[test]
fn any_bytes_are_a_history_of_clients_and_a_gateway() {
    each(50, 150, client_and_gateway::run);
}

/// Runs `count` sequences of up to `most` bytes.
fn each(count: u64, most: u64, run: fn(&[u8])) {
    for seed in 0..count {
        let mut random = Random::new(seed);
        let length = random.below(most);
        let bytes: Vec<u8> = (0..length).map(|_| random.bits().to_le_bytes()[0]).collect();
        println!("seed {seed}");
        run(&bytes);
    }
}
