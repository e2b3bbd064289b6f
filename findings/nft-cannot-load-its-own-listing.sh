#!/usr/bin/env bash
# nft lists a rule that it cannot load again.
#
# Package:  Debian 12's nftables 1.0.6-2+deb12u2 (with libnftables1 of the same version); Linux 6.18.
# Expected: `nft list ruleset > saved` and, after a flush, `nft -f saved` give the same rule set: that is how
#           Debian's own manual has rule sets saved for the next boot.
# Seen:     for a rule that matches a concatenation of `ct original proto-dst` and `udp dport`, the listing
#           leaves out the `meta l4proto udp` that the rule was given, since `udp dport` implies it; without it
#           nft refuses the concatenation. The file is one transaction, so that nothing of it is loaded:
#             Error: can not use variable sized data types (invalid) in concat expressions
#           With `udp dport` first in the concatenation the listing loads.
# Exits with 0 while that is so, with 1 when it has changed, with 2 where it cannot be tried.
set -euo pipefail

version=1.0.6-2+deb12u2
[[ $(id -u) -eq 0 ]] || { echo 'needs root: it makes a network namespace'; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "nftables=$version" "libnftables1=$version" \
    && for deb in ./*.deb; do dpkg -x "$deb" root; done) || { echo "cannot get nftables $version"; exit 2; }
export LD_LIBRARY_PATH=$work/root/usr/lib/x86_64-linux-gnu PATH=$work/root/usr/sbin:$PATH

# Loads a table with this rule, saves the listing, and says whether the listing loads.
try() {
    unshare --net bash -s -- "$1" "$work/saved" <<'INSIDE'
set -euo pipefail
nft -f - <<RULES
table ip t {
    set open { type inet_service . inet_service; }
    chain c {
        type filter hook forward priority 0;
        meta l4proto udp $1 @open accept
    }
}
RULES
nft list ruleset >"$2"
nft flush ruleset
if nft -f "$2" 2>"$2.error"; then echo loads; else echo 'does not load'; fi
INSIDE
}

nft --version
first=$(try 'ct original proto-dst . udp dport')
echo "the listing of a rule with 'ct original proto-dst . udp dport': $first"
grep proto-dst "$work/saved"
head -n 1 "$work/saved.error"
second=$(try 'udp dport . ct original proto-dst')
echo "the listing of a rule with 'udp dport . ct original proto-dst': $second"
[[ $first == 'does not load' && $second == 'loads' ]] || { echo 'the behaviour has changed'; exit 1; }
