//! Processes with deadlines, and waiting for things by asking again.

use std::fmt;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine.
pub const LIMIT: Duration = Duration::from_secs(400);
const POLL: Duration = Duration::from_millis(50);

/// Asks until there is an answer; fails with `what` after so many seconds.
pub fn until<T>(what: &str, seconds: u64, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what}: not within {seconds} s");
        thread::sleep(POLL);
    }
}

/// How a process ended and what it wrote.
#[derive(Debug, Clone)]
pub struct Run {
    pub command: String,
    /// `None` when a signal ended it.
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    #[track_caller]
    pub fn ends(self, code: i32) -> Run {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Both streams have the words somewhere.
    #[track_caller]
    pub fn says(self, words: &str) -> Run {
        assert!(self.text().contains(words), "nothing says `{words}`: {self}");
        self
    }

    #[track_caller]
    pub fn says_not(self, words: &str) -> Run {
        assert!(!self.text().contains(words), "something says `{words}`: {self}");
        self
    }

    pub fn text(&self) -> String {
        format!("{}\n{}", self.out, self.err)
    }

    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Run { command, code, out, err } = self;
        write!(f, "{command}\nended with {code:?}\n--- stdout\n{out}\n--- stderr\n{err}")
    }
}

/// A process under way; it is killed when this goes.
pub struct Started {
    child: Child,
    command: String,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
}

/// Starts with `input` as its standard input.
pub fn start(mut command: Command, input: &str) -> Started {
    let shown = format!("{command:?}");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {shown}: {error}"));
    let mut stdin = child.stdin.take().expect("a piped stdin");
    let input = input.to_owned();
    // A process that does not read its input is no failure of ours.
    thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let out = reader(child.stdout.take().expect("a piped stdout"));
    let err = reader(child.stderr.take().expect("a piped stderr"));
    Started { child, command: shown, out: Some(out), err: Some(err) }
}

fn reader(mut stream: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

impl Started {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked").is_some()
    }

    /// Sends a signal by name, such as `INT`.
    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        let _ = Command::new("kill").args(["-s", name, &pid]).status();
    }

    #[track_caller]
    pub fn finish(mut self) -> Run {
        let status = self.wait();
        let text = |thread: Option<JoinHandle<String>>| {
            thread.and_then(|thread| thread.join().ok()).unwrap_or_default()
        };
        Run {
            command: self.command.clone(),
            code: status.code(),
            out: text(self.out.take()),
            err: text(self.err.take()),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(Instant::now() < deadline, "{} does not end within {LIMIT:?}", self.command);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(command: Command) -> Run {
    start(command, "").finish()
}
