//! See the invariant of `natpmp_fuzz::state`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(state);
