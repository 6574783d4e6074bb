//! Sessions of the page at `/ui`: who has signed in, with which key's rights, and until when.
//!
//! Workers look sessions up without a lock; the control plane alone opens and closes them. A
//! session is known by the SHA-256 of its token, so that a dump of this table lets nobody in.

use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};

use crate::shared::admin::Role;

/// How long a session lasts.
pub const LIFETIME: Duration = Duration::from_secs(12 * 3600);
/// Sessions at one time. One more ends the oldest.
const MAX_SESSIONS: usize = 64;

#[derive(Debug, Clone)]
struct Session {
    token_hash: [u8; 32],
    role: Role,
    expires: Instant,
}

/// The open sessions, the oldest first.
#[derive(Debug, Default)]
pub struct Sessions(ArcSwap<Vec<Session>>);

impl Sessions {
    /// Returns the role of the session with this token. `None` if it has ended or never was.
    pub fn role(&self, token: &[u8], now: Instant) -> Option<Role> {
        let hash = hash(token);
        let sessions = self.0.load();
        sessions.iter().find(|session| session.token_hash == hash && session.expires > now).map(|session| session.role)
    }

    /// Opens a session. Beyond the largest number of sessions the oldest ones end.
    pub fn open(&self, token: &[u8], role: Role, now: Instant) {
        let session = Session { token_hash: hash(token), role, expires: now + LIFETIME };
        self.0.rcu(|sessions| {
            let mut open: Vec<_> = sessions.iter().filter(|session| session.expires > now).cloned().collect();
            let excess = (open.len() + 1).saturating_sub(MAX_SESSIONS);
            open.drain(..excess);
            open.push(session.clone());
            open
        });
    }

    /// Ends the session with this token, if there is one.
    pub fn close(&self, token: &[u8]) {
        let hash = hash(token);
        self.0.rcu(|sessions| -> Vec<Session> {
            sessions.iter().filter(|session| session.token_hash != hash).cloned().collect()
        });
    }
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_end_and_are_bounded() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        sessions.open(b"first", Role::Reader, now);
        assert_eq!(sessions.role(b"first", now), Some(Role::Reader));
        assert_eq!(sessions.role(b"other", now), None);
        assert_eq!(sessions.role(b"first", now + LIFETIME), None);
        sessions.close(b"first");
        assert_eq!(sessions.role(b"first", now), None);
        for number in 0..=MAX_SESSIONS {
            sessions.open(&number.to_be_bytes(), Role::Operator, now);
        }
        assert_eq!(sessions.role(&0_usize.to_be_bytes(), now), None);
        assert_eq!(sessions.role(&1_usize.to_be_bytes(), now), Some(Role::Operator));
        assert_eq!(sessions.0.load().len(), MAX_SESSIONS);
    }
}
