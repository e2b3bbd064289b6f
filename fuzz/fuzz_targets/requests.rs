//! See the invariant of `natpmp_fuzz::requests`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(requests);
