//! Queues on which a client tells what happens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use crate::client::CLIENT_CAPACITY;

/// What is told, one after the other, to one who asked for it. One that does not keep up loses the oldest: 4,096 are kept.
#[derive(Debug)]
pub struct EventQueue<T> {
    queue: Arc<Queue<T>>,
}

impl<T> EventQueue<T> {
    /// The next one; `None` when there will be no more.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.queue.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(context.waker().clone());
        // What a waker holds may be the last of something that takes a lock when it is dropped.
        drop(state);
        drop(before);
        Poll::Pending
    }
}

/// Whoever is told one kind of news.
#[derive(Debug)]
pub(crate) struct Subscribers<T> {
    queues: Vec<Weak<Queue<T>>>,
    is_closed: bool,
}

impl<T: Clone> Subscribers<T> {
    pub(crate) const fn new() -> Self {
        Self { queues: Vec::new(), is_closed: false }
    }

    pub(crate) fn subscribe(&mut self) -> EventQueue<T> {
        let state = State { items: VecDeque::new(), waker: None, is_closed: self.is_closed };
        let queue = Arc::new(Queue { state: Mutex::new(state) });
        self.queues.retain(|queue| queue.strong_count() > 0);
        self.queues.push(Arc::downgrade(&queue));
        EventQueue { queue }
    }

    /// Those to be woken are added to `woken`.
    pub(crate) fn tell(&self, item: &T, woken: &mut Vec<Waker>) {
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            let mut state = queue.lock();
            if state.items.len() >= MOST_UNREAD {
                state.items.pop_front();
            }
            state.items.push_back(item.clone());
            woken.extend(state.waker.take());
        }
    }
}

impl<T> Subscribers<T> {
    /// There will be no more: whoever waits is released.
    pub(crate) fn close(&mut self, woken: &mut Vec<Waker>) {
        self.is_closed = true;
        for queue in self.queues.drain(..).filter_map(|queue| queue.upgrade()) {
            let mut state = queue.lock();
            state.is_closed = true;
            woken.extend(state.waker.take());
        }
    }
}

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    /// Whoever waits.
    waker: Option<Waker>,
    is_closed: bool,
}

/// More than a client can tell at once.
const MOST_UNREAD: usize = 4 * CLIENT_CAPACITY;
