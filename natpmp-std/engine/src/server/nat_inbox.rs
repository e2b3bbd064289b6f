//! Where the thread of the NAT waits: for work, for the changes that the NAT reports, and for a deadline.

use std::io;
use std::time::Instant;

use crate::events::{EventQueue, block_until};

/// The work of the NAT's thread, and what else it waits for.
#[derive(Debug)]
pub(super) struct NatInbox<T> {
    work: EventQueue<T>,
    #[cfg(unix)]
    wake_pipe: WakePipe,
}

/// Why the thread goes on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Work(T),
    /// The NAT is to be verified.
    #[cfg(unix)]
    Changes,
    /// The deadline has come.
    Due,
    /// There will be no more work.
    End,
}

impl<T> NatInbox<T> {
    pub(super) fn new(work: EventQueue<T>) -> io::Result<Self> {
        Ok(Self {
            work,
            #[cfg(unix)]
            wake_pipe: WakePipe::new()?,
        })
    }

    /// Takes work that is there already.
    pub(super) fn try_next(&mut self) -> Option<T> {
        self.work.try_next()
    }

    /// Waits for work, or the deadline.
    pub(super) fn wait(&mut self, deadline: Option<Instant>) -> Next<T> {
        match block_until(deadline, |context| self.work.poll_next(context)) {
            Some(Some(work)) => Next::Work(work),
            Some(None) => Next::End,
            None => Next::Due,
        }
    }
}

#[cfg(unix)]
mod unix {
    use std::io::{Read, Write};
    use std::os::fd::BorrowedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Ends a wait for descriptors when there is work.
    #[derive(Debug)]
    pub(super) struct WakePipe {
        receiver: UnixStream,
        waker: Waker,
    }

    impl WakePipe {
        pub(super) fn new() -> io::Result<Self> {
            let (receiver, sender) = UnixStream::pair()?;
            receiver.set_nonblocking(true)?;
            sender.set_nonblocking(true)?;
            Ok(Self { receiver, waker: Waker::from(Arc::new(PipeWaker(sender))) })
        }
    }

    impl<T> NatInbox<T> {
        /// Waits for work, for the deadline, or until `changes` is readable.
        pub(in super::super) fn wait_or_changes(
            &mut self,
            changes: BorrowedFd<'_>,
            deadline: Option<Instant>,
        ) -> Next<T> {
            loop {
                match self.work.poll_next(&mut Context::from_waker(&self.wake_pipe.waker)) {
                    Poll::Ready(Some(work)) => return Next::Work(work),
                    Poll::Ready(None) => return Next::End,
                    Poll::Pending => {}
                }
                let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
                let timeout = left.and_then(|left| Timespec::try_from(left).ok());
                let mut waiting = [
                    PollFd::new(&self.wake_pipe.receiver, PollFlags::IN),
                    PollFd::from_borrowed_fd(changes, PollFlags::IN),
                ];
                // An interrupted wait begins again.
                let _ = poll(&mut waiting, timeout.as_ref());
                let [is_woken, has_changed] = waiting.map(|descriptor| !descriptor.revents().is_empty());
                if is_woken {
                    // One read is enough: a later wake ends the next wait.
                    let _ = self.wake_pipe.receiver.read(&mut [0; 64]);
                } else if has_changed {
                    return Next::Changes;
                } else if left.is_some_and(|left| left.is_zero()) {
                    return Next::Due;
                }
            }
        }
    }

    struct PipeWaker(UnixStream);

    impl Wake for PipeWaker {
        fn wake(self: Arc<Self>) {
            // Where there is no room it wakes already.
            let _ = (&self.0).write(&[0]);
        }
    }

    #[cfg(test)]
    mod tests {
        use std::os::fd::AsFd;
        use std::thread;
        use std::time::Duration;

        use super::*;
        use crate::events::{UNBOUNDED, event_queue};

        #[test]
        fn it_waits_for_work_for_news_and_for_the_deadline() {
            let (sender, queue) = event_queue(UNBOUNDED);
            let mut inbox = NatInbox::new(queue).unwrap();
            let (changes, mut announcer) = UnixStream::pair().unwrap();
            let soon = || Some(Instant::now() + Duration::from_millis(20));
            assert_eq!(inbox.wait_or_changes(changes.as_fd(), soon()), Next::Due);
            assert_eq!(inbox.wait(soon()), Next::Due);
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(20));
                    sender.send(1);
                    thread::sleep(Duration::from_millis(20));
                    announcer.write_all(b"!").unwrap();
                });
                assert_eq!(inbox.wait_or_changes(changes.as_fd(), None), Next::Work(1));
                assert_eq!(inbox.wait_or_changes(changes.as_fd(), None), Next::Changes);
            });
            sender.send(2);
            assert_eq!(inbox.wait_or_changes(changes.as_fd(), None), Next::Work(2), "what was asked for comes first");
            assert_eq!(inbox.wait_or_changes(changes.as_fd(), None), Next::Changes, "until it is read");
            drop(sender);
            assert_eq!(inbox.wait_or_changes(changes.as_fd(), None), Next::End);
        }
    }
}
#[cfg(unix)]
use unix::WakePipe;
