//! Servers that a test starts for itself, on loopback alone, and ends by their number.

#![allow(dead_code, reason = "each suite uses its part")]

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longer than a server takes on a busy machine.
const START: Duration = Duration::from_secs(20);

/// Ends with its owner, also when a test fails.
pub struct Daemon(Child);

impl Daemon {
    pub fn start(command: &mut Command) -> Daemon {
        Daemon::spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
    }

    /// What it says goes into a new file.
    pub fn logged(command: &mut Command, log: &Path) -> Daemon {
        let log = File::create(log).unwrap();
        Daemon::spawn(command.stdout(log.try_clone().unwrap()).stderr(log))
    }

    fn spawn(command: &mut Command) -> Daemon {
        let child = without_busy_file(command.stdin(Stdio::null()));
        Daemon(child.unwrap_or_else(|error| {
            panic!("cannot start {command:?}: {error}: scripts/test installs what the tests start")
        }))
    }

    /// Waits until the server answers; one that ends instead fails the test.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) {
        let started = Instant::now();
        while !ready() {
            let ended = self.0.try_wait().unwrap();
            assert!(ended.is_none(), "{what} ended: {ended:?}");
            assert!(started.elapsed() < START, "{what} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn stop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A program that was written a moment ago may be open in a child that another test has just forked,
/// until that child becomes another program (ETXTBSY).
fn without_busy_file(command: &mut Command) -> io::Result<Child> {
    let started = Instant::now();
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && started.elapsed() < START => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// An address of 127.0.0.1 whose port is free for TCP and UDP.
pub fn free_address() -> SocketAddr {
    let candidate = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let free = |address: &SocketAddr| UdpSocket::bind(address).is_ok();
    std::iter::repeat_with(candidate).take(100).find(free).expect("a free port")
}
