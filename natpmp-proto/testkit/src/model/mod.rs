//! Models of correct machines, written from the checklist and not from the machines' code, and the machines beside them.
//!
//! - [`gateway`]: the gateway machine, beside a model of a correct gateway and a NAT.
//! - [`client`]: the client machine on the virtual network, watched by a model of what a correct client may do.
//! - [`client_and_gateway`]: clients and the gateway machine, with a bad network between them.
//! - [`witness`]: that model, and a client under its eyes.
//!
//! The first three have steps that a test may choose, and a `run` that reads them from any bytes, as a fuzzer brings them. All end by panicking
//! where a machine does what its model does not allow.

pub mod client;
pub mod client_and_gateway;
pub mod gateway;
pub mod witness;
