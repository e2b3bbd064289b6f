#[test]
fn zz_sizes() {
    use super::*;
    use std::println;
    macro_rules! p { ($($t:ty),* $(,)?) => { $( println!("{} {}", stringify!($t), size_of::<$t>()); )* } }
    p!(Slot, Life, Key, super::slot::News, Option<Error>, Option<Exchange>, Exchange, External, [UnmapAll;2], Option<Epoch>, SocketAddrV4, Schedule, Backoff, Random, heapless::Vec<Slot,0>, Client<0>, Client<1>, Client<2>, Client<3>, Client<8>, Option<u32>, Ask, Error, Event, Ending, MappingStatus, Config, Output, Transmit);
}
