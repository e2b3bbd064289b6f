//! Queues from one part of a program to another, and what goes through those that a client's users read.
//!
//! There is one kind of queue. [`EventQueue`] is the end that reads, as a future ([`poll_next`](EventQueue::poll_next)), on a
//! blocked thread ([`wait_next`](EventQueue::wait_next)) or without waiting ([`try_next`](EventQueue::try_next));
//! [`EventSender`] is the end that writes. A full queue drops its oldest item, so that a reader who does not keep up costs no
//! more memory than `capacity` items: events use 4,096, a queue of which only the latest item counts uses 1, and a queue
//! that must lose nothing [`UNBOUNDED`].

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use crate::client::CLIENT_CAPACITY;

/// Makes a queue that holds at most `capacity` items: a further one takes the place of the oldest.
///
/// It ends when each sender is dropped or one of them closes it. What is in it then can still be read.
#[must_use]
pub fn event_queue<T>(capacity: usize) -> (EventSender<T>, EventQueue<T>) {
    let state = QueueState { items: VecDeque::new(), capacity, senders: 1, waker: None, is_closed: false };
    let queue = Arc::new(Queue { state: Mutex::new(state) });
    (EventSender { queue: Arc::downgrade(&queue) }, EventQueue { queue })
}

/// The end of a queue that reads. Dropping it drops what is left in the queue, on this thread.
#[derive(Debug)]
pub struct EventQueue<T> {
    queue: Arc<Queue<T>>,
}

impl<T> EventQueue<T> {
    /// Takes the next item, or has the task woken when there is one; `None` after the last one.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.queue.lock();
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        if state.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            return Poll::Pending;
        }
        let before = state.waker.replace(context.waker().clone());
        // What a waker holds may be the last of something that takes a lock when it is dropped.
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Takes the next item, if there is one already.
    pub fn try_next(&mut self) -> Option<T> {
        self.queue.lock().items.pop_front()
    }

    /// Takes the next item, and blocks this thread until there is one; `None` after the last one, or at `deadline`.
    pub fn wait_next(&mut self, deadline: Option<Instant>) -> Option<T> {
        block_until(deadline, |context| self.poll_next(context)).flatten()
    }

    /// Whether there is nothing to be read at present.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.lock().items.is_empty()
    }
}

/// Items are dropped here rather than by a sender, who may hold a lock that an item's drop would take.
impl<T> Drop for EventQueue<T> {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.is_closed = true;
        let left = (std::mem::take(&mut state.items), state.waker.take());
        drop(state);
        drop(left);
    }
}

/// The end of a queue that writes. Each clone writes into the same queue.
#[derive(Debug)]
pub struct EventSender<T> {
    /// Weak, so that a queue which nobody reads is gone, with what is in it.
    queue: Weak<Queue<T>>,
}

impl<T> EventSender<T> {
    /// Adds an item, and wakes the reader. `false` if the queue has ended or nobody reads it: then the item is dropped.
    ///
    /// Waking may run code of the reader's executor: call it without a lock.
    pub fn send(&self, item: T) -> bool {
        let mut pending_wakers = Vec::new();
        let is_added = self.push(item, &mut pending_wakers);
        pending_wakers.into_iter().for_each(Waker::wake);
        is_added
    }

    /// Adds an item as [`send`](Self::send) does, under a lock: whoever has to be woken is added to `pending_wakers`, and is to be
    /// woken when the lock is given back.
    pub fn push(&self, item: T, pending_wakers: &mut Vec<Waker>) -> bool {
        self.push_all([item], pending_wakers)
    }

    /// Adds items as [`push`](Self::push) does, with one look at the queue for all of them.
    pub fn push_all(&self, items: impl IntoIterator<Item = T>, pending_wakers: &mut Vec<Waker>) -> bool {
        let Some(queue) = self.queue.upgrade() else { return false };
        let mut state = queue.lock();
        if state.is_closed {
            return false;
        }
        for item in items {
            if state.items.len() >= state.capacity {
                state.items.pop_front();
            }
            state.items.push_back(item);
        }
        pending_wakers.extend(state.waker.take());
        true
    }

    /// Ends the queue under a lock; for `pending_wakers` see [`push`](Self::push).
    pub fn close(&self, pending_wakers: &mut Vec<Waker>) {
        if let Some(queue) = self.queue.upgrade() {
            let mut state = queue.lock();
            state.is_closed = true;
            pending_wakers.extend(state.waker.take());
        }
    }
}

impl<T> Clone for EventSender<T> {
    fn clone(&self) -> Self {
        if let Some(queue) = self.queue.upgrade() {
            let mut state = queue.lock();
            state.senders = state.senders.saturating_add(1);
        }
        Self { queue: Weak::clone(&self.queue) }
    }
}

/// With the last sender the queue ends.
impl<T> Drop for EventSender<T> {
    fn drop(&mut self) {
        let Some(queue) = self.queue.upgrade() else { return };
        let mut state = queue.lock();
        state.senders = state.senders.saturating_sub(1);
        if state.senders > 0 {
            return;
        }
        state.is_closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The queues of all who subscribed to one kind of event.
#[derive(Debug)]
pub(crate) struct Subscribers<T> {
    senders: Vec<EventSender<T>>,
    is_closed: bool,
}

impl<T: Clone> Subscribers<T> {
    pub(crate) const fn new() -> Self {
        Self { senders: Vec::new(), is_closed: false }
    }

    pub(crate) fn subscribe(&mut self) -> EventQueue<T> {
        let (sender, queue) = event_queue(MOST_UNREAD);
        self.senders.retain(|sender| sender.queue.strong_count() > 0);
        if !self.is_closed {
            // Dropped, it ends the queue.
            self.senders.push(sender);
        }
        queue
    }

    /// Adds an event to the queue of each subscriber; for `pending_wakers` see [`EventSender::push`].
    pub(crate) fn push(&self, event: &T, pending_wakers: &mut Vec<Waker>) {
        for sender in &self.senders {
            sender.push(event.clone(), pending_wakers);
        }
    }

    /// Adds events to the queue of each subscriber; for `pending_wakers` see [`EventSender::push`].
    #[cfg(feature = "server")]
    pub(crate) fn push_all(&self, events: &[T], pending_wakers: &mut Vec<Waker>) {
        if !events.is_empty() {
            for sender in &self.senders {
                sender.push_all(events.iter().cloned(), pending_wakers);
            }
        }
    }

    /// Ends the queues.
    pub(crate) fn close(&mut self, pending_wakers: &mut Vec<Waker>) {
        self.is_closed = true;
        self.senders.iter().for_each(|sender| sender.close(pending_wakers));
        self.senders.clear();
    }
}

/// An announcement of the gateway (RFC 6886, section 3.2.1). Anybody on the link can forge one: the client believes none
/// of it, and asks the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// Where it came from.
    pub gateway: SocketAddrV4,
    /// Seconds since the gateway's table was last empty by accident, as announced; `None` for an announcement of PCP,
    /// by which some gateways report a restart.
    pub epoch: Option<u32>,
    /// The external address, as announced; `None` for an announcement of PCP.
    pub external_address: Option<Ipv4Addr>,
}

impl Announcement {
    /// Makes an announcement, as a gateway at this address would send it.
    #[must_use]
    pub const fn new(gateway: SocketAddrV4, epoch: Option<u32>, external_address: Option<Ipv4Addr>) -> Self {
        Self { gateway, epoch, external_address }
    }
}

/// Blocks this thread until `poll` is ready, and returns what it came to; `None` if it is not ready at `deadline`.
pub fn block_until<T>(deadline: Option<Instant>, mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(result) = poll(&mut context) {
            return Some(result);
        }
        let Some(deadline) = deadline else {
            thread::park();
            continue;
        };
        let left = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        thread::park_timeout(left);
    }
}

struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<QueueState<T>>,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, QueueState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct QueueState<T> {
    items: VecDeque<T>,
    capacity: usize,
    senders: usize,
    /// Of the task or thread that waits for an item.
    waker: Option<Waker>,
    /// Nothing is added any more.
    is_closed: bool,
}

/// The capacity of a queue that loses nothing.
pub const UNBOUNDED: usize = usize::MAX;

/// More events than a client can have at once.
const MOST_UNREAD: usize = 4 * CLIENT_CAPACITY;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_full_queue_drops_its_oldest_item() {
        let (sender, mut queue) = event_queue(2);
        for item in 0..5 {
            assert!(sender.send(item));
        }
        assert_eq!([queue.try_next(), queue.try_next(), queue.try_next()], [Some(3), Some(4), None]);
    }

    #[test]
    fn it_ends_after_what_is_in_it_when_it_is_closed_or_the_last_sender_is_gone() {
        for is_closed in [true, false] {
            let (sender, mut queue) = event_queue(UNBOUNDED);
            let other = sender.clone();
            assert!(sender.send(1));
            drop(sender);
            assert!(other.send(2), "a sender is left");
            if is_closed {
                other.close(&mut Vec::new());
                assert!(!other.send(3));
            } else {
                drop(other);
            }
            let read: Vec<i32> = std::iter::from_fn(|| queue.wait_next(None)).collect();
            assert_eq!(read, [1, 2]);
        }
    }

    #[test]
    fn whoever_waits_is_woken_by_an_item_by_the_close_and_by_the_last_sender_but_never_under_the_lock_of_a_pusher() {
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut context = Context::from_waker(&waker);
        let (sender, mut queue) = event_queue(UNBOUNDED);
        let mut pending_wakers = Vec::new();
        assert!(queue.poll_next(&mut context).is_pending());
        assert!(sender.push(1, &mut pending_wakers));
        assert_eq!((counter.wakes(), pending_wakers.len()), (0, 1));
        assert!(sender.push(2, &mut pending_wakers));
        assert_eq!(pending_wakers.len(), 1, "it has not waited again");
        assert_eq!(queue.try_next().zip(queue.try_next()), Some((1, 2)));
        assert!(queue.poll_next(&mut context).is_pending());
        assert!(sender.send(3));
        assert_eq!(counter.wakes(), 1);
        assert_eq!(queue.poll_next(&mut context), Poll::Ready(Some(3)));
        assert!(queue.poll_next(&mut context).is_pending());
        let other = sender.clone();
        drop(sender);
        assert_eq!(counter.wakes(), 1);
        drop(other);
        assert_eq!(counter.wakes(), 2);
        assert_eq!(queue.poll_next(&mut context), Poll::Ready(None));
    }

    #[test]
    fn a_queue_that_nobody_reads_takes_nothing() {
        let (sender, queue) = event_queue(UNBOUNDED);
        let item = Arc::new(());
        assert!(sender.send(Arc::clone(&item)));
        drop(queue);
        assert!(!sender.send(Arc::clone(&item)));
        assert_eq!(Arc::strong_count(&item), 1, "what was in it is dropped");
    }

    #[test]
    fn a_thread_waits_for_an_item_and_no_longer_than_it_wants() {
        let (sender, mut queue) = event_queue(UNBOUNDED);
        assert_eq!(queue.wait_next(Some(Instant::now() + Duration::from_millis(20))), None);
        let thread = thread::spawn(move || queue.wait_next(None));
        thread::sleep(Duration::from_millis(20));
        sender.send(7);
        assert_eq!(thread.join().unwrap(), Some(7));
    }

    #[test]
    fn subscribers_who_are_gone_are_forgotten_and_one_who_comes_after_the_end_hears_it() {
        let mut subscribers = Subscribers::new();
        for _ in 0..100 {
            drop(subscribers.subscribe());
        }
        let mut queue = subscribers.subscribe();
        assert_eq!(subscribers.senders.len(), 1);
        subscribers.push(&1, &mut Vec::new());
        subscribers.close(&mut Vec::new());
        assert_eq!([queue.wait_next(None), queue.wait_next(None)], [Some(1), None]);
        assert_eq!(subscribers.subscribe().wait_next(None), None);
    }

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Counter {
        fn wakes(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
