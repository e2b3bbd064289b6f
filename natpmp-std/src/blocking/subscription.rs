//! Queues on which a client tells what happens.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// What a client tells, one after the other: an iterator that blocks until there is more, and ends when the client is gone.
///
/// It begins with what happens after it was made. A subscriber that does not keep up loses the oldest: 1,024 are kept.
#[derive(Debug)]
pub struct Subscription<T> {
    queue: Arc<Queue<T>>,
}

impl<T> Subscription<T> {
    /// The next one, waiting for it no longer than `timeout`; `None` if there is none by then, or the client is gone.
    #[must_use]
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<T> {
        self.wait(Some(timeout))
    }

    fn wait(&self, timeout: Option<Duration>) -> Option<T> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.queue.lock();
        loop {
            if let Some(item) = state.items.pop_front() {
                return Some(item);
            }
            if state.is_closed {
                return None;
            }
            state = match deadline {
                None => self.queue.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
                    self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl<T> Iterator for Subscription<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.wait(None)
    }
}

/// The subscribers of one kind of news.
#[derive(Debug)]
pub(crate) struct Subscribers<T> {
    queues: Vec<Weak<Queue<T>>>,
}

impl<T: Clone> Subscribers<T> {
    pub(crate) const fn new() -> Self {
        Self { queues: Vec::new() }
    }

    pub(crate) fn subscribe(&mut self) -> Subscription<T> {
        let queue = Arc::new(Queue {
            state: Mutex::new(State { items: VecDeque::new(), is_closed: false }),
            changed: Condvar::new(),
        });
        self.queues.retain(|queue| queue.strong_count() > 0);
        self.queues.push(Arc::downgrade(&queue));
        Subscription { queue }
    }

    pub(crate) fn tell(&self, item: &T) {
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            let mut state = queue.lock();
            if state.items.len() >= MOST_UNREAD {
                state.items.pop_front();
            }
            state.items.push_back(item.clone());
            queue.changed.notify_one();
        }
    }
}

/// Whoever waits is released.
impl<T> Drop for Subscribers<T> {
    fn drop(&mut self) {
        for queue in self.queues.iter().filter_map(Weak::upgrade) {
            queue.lock().is_closed = true;
            queue.changed.notify_all();
        }
    }
}

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    is_closed: bool,
}

const MOST_UNREAD: usize = 1_024;
