use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use natpmp_engine::EventQueue;

/// What a client tells, one after the other: a stream that ends when the client is gone.
///
/// It begins with what happens after it was made. A subscriber that does not keep up loses the oldest: 4,096 are kept.
pub struct Subscription<T>(EventQueue<T>);

impl<T> Subscription<T> {
    pub(crate) const fn new(news: EventQueue<T>) -> Self {
        Self(news)
    }
}

impl<T> Stream for Subscription<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_next(context)
    }
}

impl<T> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}
