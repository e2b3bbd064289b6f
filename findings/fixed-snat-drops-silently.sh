#!/usr/bin/env bash
# `snat to ADDRESS : PORT` throws packets away, without a word, where masquerade takes another port.
#
# Package:  Debian 12's nftables 1.0.6-2+deb12u2 (with libnftables1 of the same version); Linux 6.18.
# Expected: where two hosts behind a NAT send from port 5060 to the same peer, a rule for the second one that names
#           a source port either gets another port or an error that somebody sees: with `masquerade` both pass.
# Seen:     the tuple is taken, a range of one port has no other, and the kernel drops every packet of the second
#           host to that peer for as long as the first flow lives. The rule's counter counts the packet as if it had
#           passed, and no log tells; only `insert_failed` of /proc/net/stat/nf_conntrack goes up.
# Exits with 0 while that is so, with 1 when it has changed, with 2 where it cannot be tried.
set -euo pipefail

version=1.0.6-2+deb12u2
[[ $(id -u) -eq 0 ]] || { echo 'needs root: it makes network namespaces'; exit 2; }
work=$(mktemp -d)
name=finding$$
namespaces=("$name-router" "$name-first" "$name-second" "$name-peer")
cleanup() {
    for each in "${namespaces[@]}"; do
        ip netns pids "$each" 2>/dev/null | xargs -r kill 2>/dev/null || true
        ip netns del "$each" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "nftables=$version" "libnftables1=$version" \
    && for deb in ./*.deb; do dpkg -x "$deb" root; done) || { echo "cannot get nftables $version"; exit 2; }
nft() { ip netns exec "$name-router" env LD_LIBRARY_PATH="$work/root/usr/lib/x86_64-linux-gnu" "$work/root/usr/sbin/nft" "$@"; }
within() { ip netns exec "$name-$1" "${@:2}"; }

# Two hosts, a router, and a peer at 198.51.100.99.
for each in "${namespaces[@]}"; do ip netns add "$each"; ip -n "$each" link set lo up; done
link() { # HOST ROUTER'S-INTERFACE ROUTER'S-ADDRESS HOST'S-ADDRESS
    ip link add "$2" netns "$name-router" type veth peer name eth0 netns "$name-$1"
    ip -n "$name-router" addr add "$3/24" dev "$2"
    ip -n "$name-$1" addr add "$4/24" dev eth0
    ip -n "$name-router" link set "$2" up
    ip -n "$name-$1" link set eth0 up
}
link first lan0 10.1.0.1 10.1.0.2
link second lan1 10.2.0.1 10.2.0.2
link peer wan0 198.51.100.1 198.51.100.99
ip -n "$name-first" route add default via 10.1.0.1
ip -n "$name-second" route add default via 10.2.0.1
within router sysctl -qw net.ipv4.ip_forward=1

within peer python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 5060))
print("ready", flush=True)
while True:
    data, sender = s.recvfrom(99); s.sendto(str(sender[1]).encode(), sender)' >"$work/peer" &
for _ in $(seq 50); do grep -q ready "$work/peer" && break; sleep 0.1; done

# From which port the peer sees a host that sends from 5060.
seen_from() {
    within "$1" python3 -c '
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 5060)); s.settimeout(1)
s.sendto(b"x", ("198.51.100.99", 5060))
try: print("seen from port", s.recv(99).decode())
except TimeoutError: print("no answer")'
}
# shellcheck disable=SC2016 # the dollars are awk's
failures() { within router awk 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "insert_failed") at = i } NR > 1 { print $at }' /proc/net/stat/nf_conntrack \
    | while read -r hex; do echo $((16#$hex)); done | awk '{ sum += $1 } END { print sum + 0 }'; }

nft -f - <<'RULES'
table ip t {
    chain postrouting {
        type nat hook postrouting priority 100;
        oifname "wan0" ip saddr 10.2.0.2 udp sport 5060 counter snat to 198.51.100.1 : 5060
        oifname "wan0" masquerade
    }
}
RULES
first=$(seen_from first)
before=$(failures)
fixed=$(seen_from second)
after=$(failures)
echo "the first host, by masquerade: $first"
echo "the second host, by 'snat to 198.51.100.1 : 5060': $fixed; insert_failed went up by $((after - before))"
nft list chain ip t postrouting | grep snat
nft flush chain ip t postrouting
nft add rule ip t postrouting oifname wan0 masquerade
masqueraded=$(seen_from second)
echo "the second host, by masquerade: $masqueraded"
[[ $first == 'seen from port 5060' && $fixed == 'no answer' && $masqueraded == 'seen from port '* && $after -gt $before ]] \
    || { echo 'the behaviour has changed'; exit 1; }
