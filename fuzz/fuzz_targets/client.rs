//! See the invariant of `natpmp_fuzz::client`.
#![cfg_attr(fuzzing, no_main)]
natpmp_fuzz::target!(client);
