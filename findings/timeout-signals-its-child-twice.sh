#!/usr/bin/env bash
# `timeout` sends its child two signals, a moment apart.
#
# Package:  Debian 12's coreutils 9.1-1.
# Expected: `timeout 1 program` sends SIGTERM to the program, once. A program that takes a second SIGTERM for
#           impatience, and drops its orderly end for it, is not in danger here.
# Seen:     it signals the child, and then its own process group, in which the child is. Two SIGTERM that wait at the
#           same time are one, so that a program counts two only if it is quick enough to take the first: some
#           runs of a hundred. A signal that queues (SIGRTMIN) shows it every time. With `--foreground` it is one.
# Exits with 0 while that is so, with 1 when it has changed, with 2 where it cannot be tried.
set -euo pipefail

version=9.1-1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get -qq -o APT::Sandbox::User=root download "coreutils=$version" && dpkg -x ./*.deb root) \
    || { echo "cannot get coreutils $version"; exit 2; }
timeout=$work/root/usr/bin/timeout
"$timeout" --version | head -n 1

cat >"$work/counter.py" <<'PYTHON'
"""Prints how often the signal SIGRTMIN comes within 0.3 s of its first time."""
import signal, time

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
signal.sigwait({signal.SIGRTMIN})
end, count = time.monotonic() + 0.3, 1
while signal.sigtimedwait({signal.SIGRTMIN}, max(0, end - time.monotonic())):
    count += 1
print(count)
PYTHON

count() { "$timeout" --signal=RTMIN "$@" 1 python3 "$work/counter.py" || true; }
plain=$(count)
foreground=$(count --foreground)
echo "signals that the child counted: $plain; with --foreground: $foreground"
[[ $plain -eq 2 && $foreground -eq 1 ]] || { echo 'the behaviour has changed'; exit 1; }
