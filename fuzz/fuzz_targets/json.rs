//! See the invariant of `natpmp_fuzz::json`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(json);
