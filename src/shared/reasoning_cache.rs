//! Mail between cores: reasoning to be remembered for clients that do not send it back.
//!
//! The next request of a conversation may come to any core, so what one core has learned goes to
//! all of them. A core reads its mail when it looks for something. Full means a counted drop: the
//! conversation goes on without.

use std::sync::Arc;

use crossbeam_queue::ArrayQueue;

use llm_wire::reasoning::cache::Envelopes;

/// Letters that may wait for one core.
const MAIL: usize = 256;

/// One turn, under the id of one of its calls.
#[derive(Debug)]
pub struct SealedReasoning {
    /// Of whom, and the id of the call.
    pub key: u64,
    pub envelopes: Arc<Envelopes>,
    /// Seconds on the process's clock.
    pub at: u64,
}

/// The mail of every core.
#[derive(Debug)]
pub struct ReasoningBroadcast {
    boxes: Vec<ArrayQueue<Arc<SealedReasoning>>>,
}

impl ReasoningBroadcast {
    pub fn new(cores: usize) -> ReasoningBroadcast {
        ReasoningBroadcast { boxes: (0..cores).map(|_| ArrayQueue::new(MAIL)).collect() }
    }

    /// To all cores but `from`. Returns how many had no room.
    pub fn send(&self, from: usize, letter: &Arc<SealedReasoning>) -> usize {
        let others = self.boxes.iter().enumerate().filter(|(core, _)| *core != from);
        others.filter(|(_, mail)| mail.push(letter.clone()).is_err()).count()
    }

    pub fn take(&self, core: usize) -> Option<Arc<SealedReasoning>> {
        self.boxes.get(core)?.pop()
    }
}
