//! See the invariant of `natpmp_fuzz::network`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(network);
