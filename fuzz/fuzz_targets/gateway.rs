//! See the invariant of `natpmp_fuzz::gateway`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(gateway);
