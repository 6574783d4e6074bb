//! A real Redis (or Valkey) server, started for one test on a free port.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{eventually, reserved_port};

pub struct Redis {
    port: u16,
    dir: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    pub fn start() -> Redis {
        let port = reserved_port();
        let mut redis = Redis { port, dir: tempfile::tempdir().unwrap(), process: None };
        redis.resume();
        redis
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again on the same port, with the data of the last `SAVE` or none.
    pub fn resume(&mut self) {
        let port = self.port.to_string();
        let start = |program: &str| {
            Command::new(program)
                .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .current_dir(self.dir.path())
                .stdout(Stdio::null())
                .spawn()
        };
        let process = start("redis-server").or_else(|_| start("valkey-server"));
        self.process = Some(process.expect("`redis-server` is missing; `tests/run` installs it"));
        eventually("Redis answers", || self.ask("PING").is_some_and(|answer| answer == "+PONG\r\n"));
    }

    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Halts it: it takes connections and calls, and answers when it goes on.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends [`Redis::pause`].
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("Redis runs");
        kill_process(Pid::from_child(process), signal).unwrap();
    }

    /// One command of words, and what the server said to it.
    pub fn ask(&self, command: &str) -> Option<String> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        socket.write_all(format!("{command}\r\nQUIT\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).ok()?;
        Some(answer.trim_end_matches("+OK\r\n").to_owned())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
