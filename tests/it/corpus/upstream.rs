//! A provider that knows which row is being replayed, by the `x-request-id` that the gateway passes
//! on.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::support::link::Link;
use crate::support::{Conn, Request};

/// What to answer, and how it arrives.
pub struct Script {
    pub bytes: Vec<u8>,
    /// The writes it is sent in.
    pub pieces: Vec<Range<usize>>,
    /// The answer ends with its connection.
    pub close: bool,
}

#[derive(Default)]
struct Stage {
    scripts: Mutex<HashMap<String, Script>>,
    heard: Mutex<HashMap<String, Request>>,
}

pub struct Upstream {
    addr: SocketAddr,
    stage: Arc<Stage>,
}

impl Upstream {
    pub fn start() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let upstream = Upstream { addr: listener.local_addr().unwrap(), stage: Arc::default() };
        let stage = upstream.stage.clone();
        // Ends with the process, and so do the connections that the gateway keeps open.
        thread::spawn(move || {
            for (number, socket) in listener.incoming().flatten().enumerate() {
                let stage = stage.clone();
                thread::spawn(move || serve(socket, number, &stage));
            }
        });
        upstream
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The request with this id gets this answer.
    pub fn expect(&self, id: &str, script: Script) {
        self.stage.scripts.lock().unwrap().insert(id.to_owned(), script);
    }

    /// The request with this id, if it came; it is forgotten, and so is its answer.
    pub fn heard(&self, id: &str) -> Option<Request> {
        self.stage.scripts.lock().unwrap().remove(id);
        self.stage.heard.lock().unwrap().remove(id)
    }
}

fn serve(socket: TcpStream, number: usize, stage: &Stage) {
    let mut conn = Conn { link: Link::plain(socket), number };
    // The gateway keeps idle connections for as long as it likes.
    conn.link.socket().set_read_timeout(None).unwrap();
    while let Some(request) = conn.next_request() {
        let id = request.header("x-request-id").unwrap_or_default().to_owned();
        // An unexpected request ends here, and shows in the gateway's response.
        let Some(script) = stage.scripts.lock().unwrap().remove(&id) else { return };
        stage.heard.lock().unwrap().insert(id, request);
        for (at, piece) in script.pieces.into_iter().enumerate() {
            if conn.link.try_send(&script.bytes[piece]).is_err() {
                return;
            }
            // Gives the gateway a chance to read this piece by itself. Nothing depends on whether
            // it does.
            match at % 3 {
                0 => thread::sleep(Duration::from_micros(100)),
                _ => thread::yield_now(),
            }
        }
        if script.close {
            return;
        }
    }
}
