//! Ends every connection of a worker at once.
//!
//! monoio cannot abort a task from outside, so each connection waits for the gate beside its work,
//! and ends by ownership: what wakes first, the rest is dropped with the socket.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// The connections of one worker, and whether they are to end.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: Cell<bool>,
    next: Cell<u64>,
    /// One for each connection that lives.
    inside: RefCell<HashMap<u64, Waker>>,
}

/// A place inside; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    gate: &'a Gate,
    number: u64,
}

impl Gate {
    /// Counts a connection until the result is dropped.
    pub(crate) fn enter(&self) -> Place<'_> {
        let number = self.next.replace(self.next.get() + 1);
        self.inside.borrow_mut().insert(number, Waker::noop().clone());
        Place { gate: self, number }
    }

    /// Ends all connections, and those that enter later.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        for waker in self.inside.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// Returns whether no connection lives.
    pub(crate) fn is_empty(&self) -> bool {
        self.inside.borrow().is_empty()
    }
}

impl Place<'_> {
    /// Ready when the gate is closed.
    pub(crate) async fn closing(&self) {
        poll_fn(|context| {
            if self.gate.closed.get() {
                return Poll::Ready(());
            }
            if let Some(waker) = self.gate.inside.borrow_mut().get_mut(&self.number) {
                waker.clone_from(context.waker());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.gate.inside.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn closing_wakes_who_is_inside() {
        let gate = Gate::default();
        {
            let place = gate.enter();
            let mut closing = pin!(place.closing());
            let mut context = Context::from_waker(Waker::noop());
            assert!(closing.as_mut().poll(&mut context).is_pending());
            gate.close();
            assert!(closing.as_mut().poll(&mut context).is_ready());
            assert!(!gate.is_empty());
        }
        assert!(gate.is_empty());
    }
}
