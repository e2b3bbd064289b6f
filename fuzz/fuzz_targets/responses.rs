//! See the invariant of `natpmp_fuzz::responses`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(responses);
