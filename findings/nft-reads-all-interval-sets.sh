#!/usr/bin/env bash
# Adding one element with nft takes longer the more prefixes somebody else's set has.
#
# Package:  Debian 12's nftables 1.0.6-2+deb12u2 (with libnftables1 of the same version); Linux 6.18.
# Expected: `nft add element ip mine m { 4000 : 10.0.0.1 }` costs what the table `mine` costs. It names one map
#           of one table, and that map is no interval set.
# Seen:     nft reads the elements of every interval set of every table first. Beside 100,000 prefixes in a table
#           of another owner and another family the same command takes some hundred times as long. The kernel itself takes microseconds for the element.
# Exits with 0 while that is so (at least ten times as long), with 1 when it has changed, with 2 where it cannot be
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
import statistics, subprocess, sys, time


def nft(*arguments, text=None):
    subprocess.run(["nft", *arguments], input=text, check=True, encoding="utf-8")


def added(first_port):
    """The median time of five additions, in milliseconds."""
    times = []
    for port in range(first_port, first_port + 5):
        before = time.perf_counter()
        nft("add", "element", "ip", "mine", "m", "{", f"{port} : 10.0.0.1", "}")
        times.append((time.perf_counter() - before) * 1000)
    return statistics.median(times)


nft("-f", "-", text="table ip mine {\n map m { type inet_service : ipv4_addr; }\n}\n")
alone = added(4000)
print(f"one element, no other table: {alone:.1f} ms")

prefixes = ", ".join(f"{20 + i * 2 // 65536}.{i * 2 // 256 % 256}.{i * 2 % 256}.0/24" for i in range(100_000))
nft("-f", "-", text=f"table inet theirs {{\n set s {{\n  type ipv4_addr; flags interval; elements = {{ {prefixes} }}\n }}\n}}\n")
beside = added(5000)
print(f"one element, 100,000 prefixes in another table: {beside:.1f} ms")
print(f"{beside / alone:.0f} times as long")
sys.exit(0 if beside > 10 * alone else "the behaviour has changed")
INSIDE
