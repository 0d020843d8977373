//! Whether an account that may only add files really may do no more, tried from this side.

use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use openssh_sftp_client::Error;
use openssh_sftp_client::error::SftpErrorKind;
use openssh_sftp_client::metadata::{MetaDataBuilder, Permissions};

use super::super::{StoreError, StoreResult, Trouble};
use super::SftpStore;
use super::session::{Session, UNDER_WAY, fault, patient};
use super::ssh::Account;

/// What a client that is refused takes at most to say so.
const PATIENCE: Duration = Duration::from_mins(1);
const CONTENT: &[u8] = b"This file proves that nothing but adding is allowed here.\n";
const WORD: &str = "autoodoo-got-a-shell";

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Follows "can" or "cannot".
    pub attempt: &'static str,
    pub refused: bool,
    /// An intruder could lose backups by it, or get further. A further name for a file does no harm:
    /// it never replaces one, and whole uploads get their names by it.
    pub grave: bool,
}

/// Tries it all on a file of its own, which it removes where that works; elsewhere it stays, in the
/// directory that the server's own job empties.
pub fn prove_append_only(store: &SftpStore) -> StoreResult<Vec<Finding>> {
    let mut findings = store.ask(|session| async move { try_files(session).await })?;
    findings.push(grave("run a command", try_shell(&store.account)?));
    findings.push(grave("forward a port", try_forwarding(&store.account)?));
    Ok(findings)
}

fn grave(attempt: &'static str, refused: bool) -> Finding {
    Finding { attempt, refused, grave: true }
}

fn harmless(attempt: &'static str, refused: bool) -> Finding {
    Finding { attempt, refused, grave: false }
}

async fn try_files(session: Arc<Session>) -> StoreResult<Vec<Finding>> {
    let probe = begin(&session).await?;
    let further = |what: &str| format!("{probe}.{what}");
    let (renamed, linked, pointed, made) =
        (further("renamed"), further("linked"), further("pointed"), further("made"));
    let mut files = session.files();
    let mut open = session.sftp().options();
    let mut writable = Permissions::new();
    writable.set_read_by_owner(true).set_write_by_owner(true);
    let empty = MetaDataBuilder::new().len(0).create();
    let path = session.path(&probe);
    let mut findings = vec![
        grave("overwrite a file", is_refused(open.write(true).open(&path).await.map(drop))?),
        grave("empty a file", is_refused(open.create(true).truncate(true).open(&path).await.map(drop))?),
        grave("shorten a file", is_refused(files.set_metadata(&probe, empty).await)?),
        grave("change the mode of a file", is_refused(files.set_permissions(&probe, writable).await)?),
        harmless("give a file a further name", is_refused(files.hard_link(&probe, &linked).await)?),
        grave("make a symbolic link", is_refused(files.symlink(&probe, &pointed).await)?),
        harmless("make a directory", is_refused(files.create_dir(&made).await)?),
        grave("remove a directory", is_refused(files.remove_dir(&made).await)?),
    ];
    let moved = is_refused(files.rename(&probe, &renamed).await)?;
    let there = if moved { &probe } else { &renamed };
    findings.push(grave("rename a file", moved));
    findings.push(grave("remove a file", is_refused(files.remove_file(there).await)?));
    for left in [&linked, &pointed] {
        session.remove(left).await.ok();
    }
    Ok(findings)
}

/// Where it is removed by the server's job, or else where no program expects anything.
async fn begin(session: &Session) -> StoreResult<String> {
    let random = getrandom::u64().unwrap_or_default();
    let mut result = Err(StoreError::new(Trouble::Absent, "the repository has no directories yet"));
    for directory in [UNDER_WAY, "locks"] {
        let path = format!("{directory}/autoodoo-probe.{random:016x}");
        let mut file = match session.create_new(&path).await {
            Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => continue,
            other => other.map_err(|error| fault(format!("write `{path}`"), &error))?,
        };
        let written = patient(file.write_all(CONTENT)).await;
        result = written.map(|()| path).map_err(|error| fault("write a file to try on", &error));
        break;
    }
    result
}

/// An answer that nothing is there was no refusal: what was asked for is done here.
fn is_refused(answer: Result<(), Error>) -> StoreResult<bool> {
    match answer {
        Ok(()) | Err(Error::SftpError(SftpErrorKind::NoSuchFile, _)) => Ok(false),
        Err(Error::SftpError(..) | Error::UnsupportedExtension(_)) => Ok(true),
        Err(error) => Err(fault("try what is allowed", &error)),
    }
}

fn try_shell(account: &Account) -> StoreResult<bool> {
    let mut command = account.ssh();
    command.args(["--", account.host.as_str(), &format!("echo {WORD}")]);
    let output = outcome(account, &mut command)?;
    Ok(!String::from_utf8_lossy(&output.stdout).contains(WORD))
}

/// To the ssh server itself, as it would be seen from there.
fn try_forwarding(account: &Account) -> StoreResult<bool> {
    let mut command = account.ssh();
    command.args(["-W", &format!("127.0.0.1:{}", account.port), "--", account.host.as_str()]);
    let output = outcome(account, &mut command)?;
    Ok(String::from_utf8_lossy(&output.stderr).contains("administratively prohibited"))
}

/// What a client printed that came as far as the account.
fn outcome(account: &Account, command: &mut Command) -> StoreResult<Output> {
    let output = limited(command)
        .map_err(|error| StoreError::new(Trouble::Other, format!("cannot run `ssh`: {error}")))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let came = output.status.code() != Some(255)
        || ["prohibited", "request failed", "open failed"].iter().any(|words| said.contains(words));
    if came { Ok(output) } else { Err(account.explain(&said)) }
}

/// The little that is printed fits into the pipes.
fn limited(command: &mut Command) -> std::io::Result<Output> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait()?.is_none() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    child.wait_with_output()
}
