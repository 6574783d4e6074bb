//! Opaque reasoning on its way between workers, to be restored for clients that do not send it
//! back.
//!
//! The next request of a conversation may come to any worker, so each worker sends what it has
//! learned to all others. A worker reads its queue when it looks for something. What finds a full
//! queue is dropped and counted: the conversation goes on without its reasoning.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use llm_wire::reasoning::cache::Envelopes;

/// Entries that may wait for one worker.
const CAPACITY: usize = 256;

/// The reasoning of one turn, under the id of one of its tool calls.
#[derive(Debug)]
pub struct SealedReasoning {
    /// A hash of credential and call id.
    pub key: u64,
    pub envelopes: Arc<Envelopes>,
    /// When it was stored, in seconds on the process's clock.
    pub stored_at: u64,
}

/// A queue for every worker.
#[derive(Debug)]
pub struct ReasoningBroadcast {
    queues: Vec<ArrayQueue<Arc<SealedReasoning>>>,
}

impl ReasoningBroadcast {
    /// Makes a queue for each of this many workers.
    pub fn new(workers: usize) -> ReasoningBroadcast {
        ReasoningBroadcast { queues: (0..workers).map(|_| ArrayQueue::new(CAPACITY)).collect() }
    }

    /// Sends an entry to all workers but `from`. Returns how many had no room.
    pub fn send(&self, from: usize, entry: &Arc<SealedReasoning>) -> usize {
        let others = self.queues.iter().enumerate().filter(|(worker, _)| *worker != from);
        others.filter(|(_, queue)| queue.push(entry.clone()).is_err()).count()
    }

    /// Returns the next entry for a worker. `None` if its queue is empty.
    pub fn receive(&self, worker: usize) -> Option<Arc<SealedReasoning>> {
        self.queues.get(worker)?.pop()
    }
}
