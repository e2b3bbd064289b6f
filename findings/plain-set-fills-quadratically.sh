#!/usr/bin/env bash
# A set of ports fills in quadratic time, unless its elements may have a timeout.
#
# Package:  Debian 12's nftables 1.0.6-2+deb12u2 (with libnftables1 of the same version); Linux 6.18.
# Expected: `set s { type inet_service; }` is the simplest set there is. To fill it takes a time that grows with the
#           number of its elements, and no longer than for a set with more to keep of each element.
# Seen:     without flags, twice as many elements take four times as long: 30,000 ports take seconds of system time.
#           With `flags timeout`, for which the kernel chooses another structure, the same elements are in at about a
#           hundredth of that, though it keeps more of each.
# Exits with 0 while that is so (ten times as long or more), with 1 when it has changed, with 2 where it cannot be
# tried.
set -euo pipefail

version=1.0.6-2+deb12u2
[[ $(id -u) -eq 0 ]] || { echo 'needs root: it makes a network namespace'; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "nftables=$version" "libnftables1=$version" \
    && for deb in ./*.deb; do dpkg -x "$deb" root; done) || { echo "cannot get nftables $version"; exit 2; }
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu PATH=$work/root/usr/sbin:$PATH

nft --version
unshare --net python3 - <<'INSIDE'
import resource, subprocess, sys


def nft(text):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime
    subprocess.run(["nft", "-f", "-"], input=text, check=True, encoding="utf-8")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime - before


def fill(flags, number):
    """The system's time to add so many elements to an empty set."""
    nft("add table ip t\ndelete table ip t\ntable ip t {\n set s { type inet_service; " + flags + " }\n}\n")
    return nft("add element ip t s { " + ", ".join(str(port) for port in range(1, number + 1)) + " }\n")


for number in (15_000, 30_000):
    plain, timeout = fill("", number), fill("flags timeout;", number)
    print(f"{number} ports: {plain:.2f} s of system time; with flags timeout {timeout:.2f} s")
sys.exit(0 if plain > 10 * timeout else "the behaviour has changed")
INSIDE
