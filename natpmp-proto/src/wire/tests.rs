//! The wire in both directions: known packets, then sweeps over every length, version, opcode and result.

mod echo;
mod lengths;
mod requests;
mod results;
mod text;
mod vectors;

use std::vec::Vec;

/// Bytes from hexadecimal digits; spaces are for the reader.
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.chars().filter_map(|digit| digit.to_digit(16)).map(|d| d.try_into().unwrap()).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// A packet made 64 bytes long by bytes that are no part of its form.
fn padded(digits: &str) -> Vec<u8> {
    let mut bytes = hex(digits);
    bytes.resize(64, 0xee);
    bytes
}
