//! Signals that ask the program to stop.

use std::future::poll_fn;
use std::path::Path;
use std::sync::LazyLock;
use std::task::Poll;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::files;

/// SIGHUP's bit among the signals of `/proc/PID/status` (proc_pid_status(5)): signal 1 is the lowest.
const HANGUP: u64 = 1;

/// The program was started by one that wants it to outlive the terminal (nohup(1)). Looked up before
/// anything is caught: from then on it could not be told any more.
static HANGUP_IS_IGNORED: LazyLock<bool> = LazyLock::new(|| {
    let status = files::read_text_optional(Path::new("/proc/self/status")).ok().flatten();
    status.is_some_and(|status| ignored(&status) & HANGUP != 0)
});

/// Resolves at the next SIGINT (Ctrl-C), SIGTERM or SIGHUP, which comes when a terminal is closed or an
/// ssh session drops. From the first call on, none of them ends the process by itself any more.
pub async fn interrupted() {
    let hangup = (!*HANGUP_IS_IGNORED).then(SignalKind::hangup);
    let kinds = [SignalKind::interrupt(), SignalKind::terminate()].into_iter().chain(hangup);
    // One that cannot be caught goes on ending the process.
    let mut signals: Vec<Signal> = kinds.filter_map(|kind| signal(kind).ok()).collect();
    poll_fn(|context| {
        // Each is asked, so that each wakes us.
        let came = signals.iter_mut().filter_map(|signal| match signal.poll_recv(context) {
            Poll::Ready(Some(())) => Some(()),
            Poll::Ready(None) | Poll::Pending => None,
        });
        if came.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

fn ignored(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    /// None of them ends the process that runs this.
    #[tokio::test(flavor = "current_thread")]
    async fn whatever_asks_to_stop_is_heard() {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let mut interrupted = pin!(interrupted());
            let early = tokio::time::timeout(Duration::ZERO, interrupted.as_mut()).await;
            assert!(early.is_err(), "{signal:?}: nobody has asked yet");
            kill_process(getpid(), signal).unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(10), interrupted).await;
            assert!(heard.is_ok(), "{signal:?}");
        }
    }

    #[test]
    fn nohup_is_noticed() {
        let status = |mask: &str| format!("Name:\tautoodoo\nSigBlk:\t0000000000000000\nSigIgn:\t{mask}\n");
        assert_eq!(ignored(&status("0000000000001001")) & HANGUP, HANGUP);
        assert_eq!(ignored(&status("0000000000001000")) & HANGUP, 0);
        assert_eq!(ignored("Name:\tautoodoo\n"), 0);
    }
}
