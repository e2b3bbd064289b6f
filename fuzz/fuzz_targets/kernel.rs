//! See the invariant of `natpmp_fuzz::kernel`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(kernel);
