//! A lab whose router runs our gateway.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use natpmp_lab::{Finished, GATEWAY, Host, Lab, Protocol, Running, Value, wait_until};

use super::packets::{EXTERNAL_ADDRESS, ask};
use super::{NATPMP, SOON};

/// What does the NAT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nat {
    Relay,
    Nftables,
}

pub(crate) struct Setup {
    // Before the lab, which would end it with its namespaces.
    serve: Option<Running>,
    pub(crate) lab: Lab,
    nat: Nat,
}

impl Setup {
    /// With a gateway that answers, started with these options.
    pub(crate) fn or_skip(nat: Nat, clients: u8, options: &[&str]) -> Option<Self> {
        let mut setup = Self::empty_or_skip(nat, clients, &[])?;
        setup.start(options);
        Some(setup)
    }

    /// Without a gateway, for a test that also runs `programs`.
    pub(crate) fn empty_or_skip(nat: Nat, clients: u8, programs: &[&str]) -> Option<Self> {
        let lab = Lab::or_skip_with(clients, programs)?;
        // The gateway makes mappings, and leaves it to the box what it forwards.
        lab.router().nft("insert rule inet filter forward ct status dnat accept");
        Some(Self { serve: None, lab, nat })
    }

    /// Starts the gateway and waits until it answers.
    pub(crate) fn start(&mut self, options: &[&str]) {
        self.start_between(INTERNAL, EXTERNAL, options);
    }

    /// The same between these two sides.
    pub(crate) fn start_between(&mut self, internal: &str, external: &str, options: &[&str]) {
        assert!(self.serve.is_none(), "it runs already");
        let serve = self.serve.insert(serve(&self.lab, self.nat, internal, external, options));
        let answers = || ask(self.lab.client(), GATEWAY, EXTERNAL_ADDRESS).is_some();
        assert!(wait_until(SOON, answers), "the gateway does not answer: {:?}", serve.complaints());
    }

    /// Starts a gateway that will not be.
    pub(crate) fn start_in_vain(&self, options: &[&str]) -> Finished {
        serve(&self.lab, self.nat, INTERNAL, EXTERNAL, options).finish(SOON)
    }

    /// Ends it as `kill` does, and expects success.
    pub(crate) fn stop(&mut self) -> Finished {
        self.serving().terminate();
        let finished = self.finish();
        assert_eq!(finished.code, Some(0), "{finished}");
        finished
    }

    /// Waits for the end of one that was asked to end.
    pub(crate) fn finish(&mut self) -> Finished {
        self.serve.take().expect("it runs").finish(SOON)
    }

    /// Ends it without a chance to clean up.
    pub(crate) fn crash(&mut self) {
        drop(self.serve.take().expect("it runs"));
    }

    pub(crate) fn serving(&mut self) -> &mut Running {
        self.serve.as_mut().expect("it runs")
    }

    pub(crate) fn client(&self, number: usize) -> &Host {
        &self.lab.clients()[number]
    }

    pub(crate) fn external(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.lab.external_address(), port)
    }

    /// Whether packets from the internet come to this client by this port, and its answers back.
    pub(crate) fn leads_to(&self, client: usize, protocol: Protocol, port: u16) -> bool {
        self.lab.internet().who_answers(protocol, self.external(port)) == Some(self.client(client).address())
    }

    /// Starts `natpmp ARGUMENTS --json` on the first client.
    pub(crate) fn natpmp(&self, arguments: &[&str]) -> Running {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        self.client(0).spawn(NATPMP, &arguments)
    }

    /// Starts a `natpmp keep ARGUMENTS` and waits for its mapping.
    pub(crate) fn keep(&self, arguments: &[&str]) -> (Running, Value) {
        let arguments: Vec<&str> = ["keep"].iter().chain(arguments).copied().collect();
        let mut kept = self.natpmp(&arguments);
        let mapped = kept.event(SOON, "mapped");
        (kept, mapped)
    }

    /// Starts a `natpmp watch` and waits until it listens.
    pub(crate) fn watch(&self) -> Running {
        let watch = self.natpmp(&["watch"]);
        let listens = || {
            let sockets = self.client(0).within(|| std::fs::read_to_string("/proc/thread-self/net/udp").unwrap());
            sockets.lines().any(|line| line.contains(":14E6 "))
        };
        assert!(wait_until(SOON, listens), "port 5350");
        watch
    }

    /// The seconds since the gateway lost its mappings, as it says.
    pub(crate) fn epoch(&self) -> u32 {
        let answer = ask(self.client(0), GATEWAY, EXTERNAL_ADDRESS).expect("the gateway answers");
        u32::from_be_bytes(answer[4..8].try_into().unwrap())
    }

    /// Waits until the gateway is old enough for a client to notice that it begins anew (RFC 6886, section 3.6: 2 s are not).
    pub(crate) fn grow_old(&self) {
        assert!(wait_until(SOON, || self.epoch() >= 4), "its clock stands still");
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.lab.directory().join(name)
    }
}

fn serve(lab: &Lab, nat: Nat, internal: &str, external: &str, options: &[&str]) -> Running {
    let backend = match nat {
        Nat::Relay => "relay",
        Nat::Nftables => "nftables",
    };
    let fixed = ["serve", "--internal", internal, "--external", external, "--backend", backend, "--json"];
    let arguments: Vec<&str> = fixed.into_iter().chain(options.iter().copied()).collect();
    lab.router().host().spawn(NATPMP, &arguments)
}

const INTERNAL: &str = "lan0";
const EXTERNAL: &str = "wan0";
