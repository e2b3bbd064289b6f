#!/bin/sh
# Runs an image on the board that QEMU makes up: run-in-qemu.sh IMAGE [OPTION OF QEMU]...
#
# Without options its network is QEMU's own, which takes no privilege: it gives the board 10.0.2.15 by DHCP, and 10.0.2.2 as
# gateway, which is this host's 127.0.0.1. What comes to UDP port 4000 of 127.0.0.1 goes on to the board's.
set -eu
image=$1
shift
if [ $# -eq 0 ]; then
    set -- -nic user,model=stellaris,hostfwd=udp:127.0.0.1:4000-:4000
fi
exec qemu-system-arm -M lm3s6965evb -display none -monitor none -serial none \
    -semihosting-config enable=on,target=native "$@" -kernel "$image"
