//! The owner's DNS hook: a program that puts a challenge's TXT record into the DNS and takes it out.
//!
//! `HOOK present NAME VALUE` adds the record and leaves other values of the name alone, since a domain
//! and its wildcard are proven at the same time by two values of one name. `HOOK cleanup NAME VALUE`
//! removes this one value. Both succeed when there is nothing left to do.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, FileType};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, memfd_create};
use rustix::process::{Pid, Signal, geteuid, kill_process_group};

use super::files::io_failure;
use crate::failure::{Context, Failure, Result};

/// Where programs are looked for when we were started without a PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Between two looks whether the program has ended.
const POLL: Duration = Duration::from_millis(20);
/// Of the program's output, the end is shown.
const SHOWN_LINES: usize = 20;
const SHOWN_BYTES: u64 = 16 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Present,
    Cleanup,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Change::Present => "present",
            Change::Cleanup => "cleanup",
        }
    }
}

/// One run of the hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookCall {
    pub program: PathBuf,
    /// The hook finds it in SITE_DIR.
    pub site_dir: PathBuf,
    pub change: Change,
    /// Without the final dot, such as `_acme-challenge.example.com`.
    pub name: String,
    pub value: String,
    /// After that the program and all that it started are killed.
    pub deadline: Duration,
}

impl fmt::Display for HookCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{} {} {}`", self.program.display(), self.change.word(), self.name)
    }
}

#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Hooks {
    /// Refuses a program that could not run, or that somebody else could have changed.
    fn check(&self, program: &Path) -> Result<()>;
    /// Checks the program first. Its output is the failure's evidence.
    async fn run(&self, call: &HookCall) -> Result<()>;
}

/// Programs of this host.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostHooks;

impl Hooks for HostHooks {
    fn check(&self, program: &Path) -> Result<()> {
        let metadata = std::fs::metadata(program)
            .map_err(|error| io_failure("cannot find the DNS hook", program, &error))?;
        match fault(metadata.file_type(), metadata.mode(), metadata.uid(), geteuid().as_raw()) {
            None => Ok(()),
            Some((fault, hint)) => {
                Err(Failure::usage(format!("the DNS hook {} {fault}", program.display())).hint(hint))
            }
        }
    }

    async fn run(&self, call: &HookCall) -> Result<()> {
        self.check(&call.program)?;
        let (mut running, mut output) = start(call).context(format!("cannot run {call}"))?;
        let ended = tokio::time::timeout(call.deadline, running.ended(&output)).await;
        drop(running);
        let message = match ended {
            Ok(Ok(status)) if status.success() => return Ok(()),
            Ok(Ok(status)) => format!("{call} failed ({status})"),
            Ok(Err(error)) => return Err(Failure::failed(format!("cannot wait for {call}")).because(error)),
            Err(_) => format!("{call} did not end within {} s and was killed", call.deadline.as_secs_f32()),
        };
        Err(Failure::failed(message).evidence(last_lines(&mut output)))
    }
}

/// What is wrong with the file, and what to do about it.
fn fault(kind: FileType, mode: u32, owner: u32, own_user: u32) -> Option<(&'static str, &'static str)> {
    if !kind.is_file() {
        Some(("is no file", "put the path of a program into `tls.acme.dns_hook`"))
    } else if mode & 0o111 == 0 {
        Some(("cannot be executed", "make it executable with `chmod +x`"))
    } else if mode & 0o022 != 0 {
        Some(("can be changed by other users of this machine", "take that away with `chmod go-w`"))
    } else if owner != 0 && owner != own_user {
        Some(("belongs to another user, who could change it", "give it to root or to yourself with `chown`"))
    } else {
        None
    }
}

/// Its output goes to memory and not to a pipe: whatever a hook leaves running in the background
/// would hold a pipe open, and we would wait for it.
fn start(call: &HookCall) -> io::Result<(Running, File)> {
    let output = File::from(memfd_create("hook-output", MemfdFlags::CLOEXEC)?);
    let inherited = |name: &str| std::env::var_os(name);
    let mut command = Command::new(&call.program);
    command
        .args([call.change.word(), &call.name, &call.value])
        .env_clear()
        .env("PATH", inherited("PATH").unwrap_or_else(|| OsString::from(PATH)))
        .envs(["HOME", "LANG"].into_iter().filter_map(|name| Some((name, inherited(name)?))))
        .env("SITE_DIR", &call.site_dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?)
        .process_group(0);
    Ok((Running(command.spawn()?), output))
}

/// A program that leads a process group of its own; dropped before its end, the whole group dies.
struct Running(Child);

impl Running {
    async fn ended(&mut self, output: &File) -> io::Result<ExitStatus> {
        loop {
            match self.0.try_wait()? {
                Some(status) => return Ok(status),
                None => tokio::time::sleep(POLL).await,
            }
            forget_beginning(output)?;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Once the program has been waited for, its number may be another's.
        if !matches!(self.0.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// Gives the memory of what will not be shown back: a hook that never stops talking would fill it.
fn forget_beginning(output: &File) -> io::Result<()> {
    match output.metadata()?.len().saturating_sub(SHOWN_BYTES) {
        0 => Ok(()),
        old => Ok(fallocate(output, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, old)?),
    }
}

/// The end of the output. What cannot be read is no reason to hide the failure itself.
fn last_lines(output: &mut File) -> Vec<String> {
    let text = tail(output).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].to_vec()
}

fn tail(output: &mut File) -> io::Result<String> {
    let length = output.metadata()?.len();
    output.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES)))?;
    let mut bytes = Vec::new();
    match output.take(SHOWN_BYTES).read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
        _ => Ok(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;

    /// Another process writes the script: were it this one, a hook that another test starts meanwhile
    /// would hold the file open for writing, and it could not be executed.
    fn hook(directory: &TempDir, script: &str) -> HookCall {
        let program = directory.path().join("hook");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" > \"$1\" && chmod 755 \"$1\"";
        let written =
            Command::new("sh").args(["-c", write, "sh"]).arg(&program).arg(script).status().unwrap();
        assert!(written.success());
        HookCall {
            program,
            site_dir: directory.path().to_owned(),
            change: Change::Present,
            name: "_acme-challenge.example.com".to_owned(),
            value: "-value_".to_owned(),
            deadline: Duration::from_secs(20),
        }
    }

    const CHANGED: &str = "can be changed by other users of this machine";

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[tokio::test]
    async fn it_is_told_what_to_do_and_little_else() {
        let directory = tempfile::tempdir().unwrap();
        let script =
            r#"printf '%s|' "$@" > "$SITE_DIR/seen"; env | cut -d= -f1 | sort > "$SITE_DIR/env"; cat"#;
        let mut call = hook(&directory, script);
        let seen = || std::fs::read_to_string(directory.path().join("seen")).unwrap();
        HostHooks.run(&call).await.unwrap();
        assert_eq!(seen(), "present|_acme-challenge.example.com|-value_|");
        call.change = Change::Cleanup;
        HostHooks.run(&call).await.unwrap();
        assert_eq!(seen(), "cleanup|_acme-challenge.example.com|-value_|");
        let environment = std::fs::read_to_string(directory.path().join("env")).unwrap();
        // PWD, OLDPWD, SHLVL and _ are the shell's own.
        let allowed = ["HOME", "LANG", "PATH", "SITE_DIR", "PWD", "OLDPWD", "SHLVL", "_"];
        assert!(environment.lines().all(|name| allowed.contains(&name)), "{environment}");
        assert!(environment.contains("SITE_DIR") && environment.contains("PATH"), "{environment}");
    }

    #[tokio::test]
    async fn its_last_words_are_evidence() {
        let directory = tempfile::tempdir().unwrap();
        let call = hook(&directory, "seq 1 30; echo refused >&2; exit 3");
        let failure = HostHooks.run(&call).await.unwrap_err();
        let program = call.program.display();
        assert_eq!(
            failure.message,
            format!("`{program} present _acme-challenge.example.com` failed (exit status: 3)")
        );
        assert_eq!(failure.evidence.len(), SHOWN_LINES);
        assert_eq!(failure.evidence[0], "12");
        assert_eq!(failure.evidence.last().unwrap(), "refused");
    }

    /// Alive and no zombie, as /proc says.
    fn lives(pid: &str) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn at_the_deadline_all_that_it_started_dies() {
        let directory = tempfile::tempdir().unwrap();
        let mut call = hook(&directory, "echo working; sleep 100 & echo $! > \"$SITE_DIR/pid\"; wait");
        call.deadline = Duration::from_millis(500);
        let failure = HostHooks.run(&call).await.unwrap_err();
        assert!(failure.message.ends_with("did not end within 0.5 s and was killed"), "{failure}");
        assert_eq!(failure.evidence, ["working"]);
        let pid = std::fs::read_to_string(directory.path().join("pid")).unwrap();
        let started = Instant::now();
        while lives(pid.trim()) {
            assert!(started.elapsed() < Duration::from_secs(5), "process {pid} lives on");
            tokio::time::sleep(POLL).await;
        }
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let call = hook(&directory, "sleep 5 & exit 0");
        let started = Instant::now();
        HostHooks.run(&call).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn unfit_programs_are_not_run() {
        let directory = tempfile::tempdir().unwrap();
        let mut call = hook(&directory, "touch \"$SITE_DIR/ran\"");
        let table = [(0o644, "cannot be executed"), (0o757, CHANGED), (0o775, CHANGED)];
        for (mode, fault) in table {
            set_mode(&call.program, mode);
            let failure = HostHooks.run(&call).await.unwrap_err();
            assert_eq!(failure.message, format!("the DNS hook {} {fault}", call.program.display()));
        }
        call.program = directory.path().to_owned();
        assert!(HostHooks.run(&call).await.unwrap_err().message.ends_with("is no file"));
        call.program = directory.path().join("absent");
        let failure = HostHooks.run(&call).await.unwrap_err().to_string();
        assert!(
            failure.contains("cannot find the DNS hook") && failure.contains("no such file"),
            "{failure}"
        );
        assert!(!directory.path().join("ran").exists());
    }

    #[test]
    fn a_hook_of_another_user_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let kind = std::fs::metadata(hook(&directory, "").program).unwrap().file_type();
        let fault = |owner, own_user| fault(kind, 0o755, owner, own_user).map(|(fault, _)| fault);
        let stranger = Some("belongs to another user, who could change it");
        assert_eq!((fault(1000, 1000), fault(0, 1000)), (None, None));
        assert_eq!((fault(1001, 1000), fault(1000, 0)), (stranger, stranger));
    }

    #[test]
    fn only_the_end_of_the_output_takes_memory() {
        let mut output = File::from(memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        output.write_all(&vec![b'x'; 4 << 20]).unwrap();
        output.write_all(b"\nlast words\n").unwrap();
        forget_beginning(&output).unwrap();
        let blocks = output.metadata().unwrap().blocks();
        assert!(blocks * 512 <= 2 * SHOWN_BYTES, "{blocks} blocks");
        assert_eq!(last_lines(&mut output).pop().unwrap(), "last words");
    }
}
