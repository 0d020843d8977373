//! The command line: types and help texts only.

mod backup;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::command::init::InitArgs;
use crate::engine::endpoint::EngineChoice;
use crate::stack::spec::Role;

pub use backup::{
    BackupArgs, BackupCommand, CatArgs, CreateArgs, FsckArgs, KeyCommand, ListArgs, LsArgs, ProbeArgs,
    PruneArgs, SealArgs, SetupArgs, VerifyArgs,
};

/// Runs a production Odoo from the stock images on Docker or Podman.
///
/// Exit codes: 0 done; 1 failed; 2 bad usage or configuration; 3 there are changes to make;
/// 4 no engine; 5 another operation holds the site; 6 health gate failed, previous state is back;
/// 7 a verification failed.
#[derive(Debug, Parser)]
#[command(name = "autoodoo", version)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct GlobalArgs {
    /// The site directory, which holds autoodoo.yaml
    #[arg(short = 'C', long, global = true, value_name = "DIR", default_value = ".")]
    pub site_dir: PathBuf,
    /// The container engine: auto, docker, podman, or a URL such as unix:///run/podman/podman.sock
    #[arg(long, global = true, value_name = "ENGINE", default_value = "auto")]
    pub engine: EngineChoice,
    /// Write one JSON object a line to standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Take the default answer to every question
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Say only what went wrong
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say why each step is done
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Describe a new site: a wizard that writes autoodoo.yaml and secrets/
    Init(Box<InitArgs>),
    /// Bring the site to what autoodoo.yaml says
    Up(UpArgs),
    /// Stop the site and remove its containers; data stays unless asked otherwise
    Down(DownArgs),
    /// Stop and start the site's containers, or one service
    Restart(RestartArgs),
    /// Show what runs and where it answers
    Status(StatusArgs),
    /// Show log lines of the site's services
    Logs(LogsArgs),
    /// Open psql on the site's database, or pass it a script on standard input
    Psql(PsqlArgs),
    /// Open Odoo's Python shell on the site's database
    Shell(ShellArgs),
    /// Run any Odoo command with the site's configuration
    Odoo(OdooArgs),
    /// Show, get, renew or bring in the site's certificate
    #[command(subcommand)]
    Cert(CertCommand),
    /// Write the site in another tool's format
    Export(ExportArgs),
    /// Back the site up without stopping it; list, verify, prune and read backups
    Backup(BackupArgs),
    /// Compare every attachment of the live site with its file on the disk (exit code 7 if one is missing or altered)
    Fsck(FsckArgs),
}

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds that Odoo may take to show its login page
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub wait_timeout: u32,
}

#[derive(Debug, Args)]
pub struct DownArgs {
    /// Remove the data too: the database, the filestore, everything
    #[arg(long)]
    pub volumes: bool,
    /// With --volumes: the site's name, so that nobody removes data by habit
    #[arg(long, value_name = "NAME", requires = "volumes")]
    pub confirm: Option<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct RestartArgs {
    /// The service; all of them when left out
    pub service: Option<Service>,
    /// Seconds that Odoo may take to show its login page
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub wait_timeout: u32,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Show every size that was chosen for this machine, and why
    #[arg(long)]
    pub sizing: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The service; all of them when left out
    pub service: Option<Service>,
    /// Go on showing lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only lines since then: a duration such as 10m or 2h, or a time such as 2026-01-31T03:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only the last so many lines of each service
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u32>,
}

#[derive(Debug, Args)]
pub struct PsqlArgs {
    /// One of the site's databases; its first one when left out
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Be PostgreSQL's superuser instead of Odoo's role
    #[arg(long)]
    pub superuser: bool,
    /// Arguments for psql, such as -c 'select 1'
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PSQL ARGUMENTS")]
    pub args: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ShellArgs {
    /// One of the site's databases; its first one when left out
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Arguments for `odoo shell`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ODOO ARGUMENTS")]
    pub args: Vec<String>,
}

#[derive(Debug, Args)]
pub struct OdooArgs {
    /// One of the site's databases; its first one when left out
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Arguments for Odoo, such as --update=sale --stop-after-init
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ODOO ARGUMENTS",
        required = true
    )]
    pub args: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Show the certificate on disk and whether every published address serves it (exit code 7 if not)
    Show,
    /// Get a new certificate now and serve it
    Issue(IssueArgs),
    /// Get a new certificate if the present one is due; made for a daily schedule
    Renew(RenewArgs),
    /// Bring in a certificate of your own: PEM in any order, or PKCS#12
    Import(ImportArgs),
}

#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct RenewArgs {
    /// Also when it is not due
    #[arg(long)]
    pub force: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The certificate and its chain; the key may be in the same file
    pub certificate: PathBuf,
    /// The certificate's key, where it is a file of its own
    pub key: Option<PathBuf>,
    /// A file whose first line is the passphrase of the key or of a PKCS#12 file
    #[arg(long, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    #[command(subcommand)]
    pub format: ExportFormat,
}

#[derive(Debug, Subcommand)]
pub enum ExportFormat {
    /// A Compose file of the same stack, for docker compose
    Compose,
}

/// A service as users name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    Odoo,
    Cron,
    Postgres,
    /// The ssh tunnel to a PostgreSQL server elsewhere
    Tunnel,
    Nginx,
}

impl Service {
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Service::Odoo => Role::Odoo,
            Service::Cron => Role::Cron,
            Service::Postgres => Role::Postgres,
            Service::Tunnel => Role::Tunnel,
            Service::Nginx => Role::Nginx,
        }
    }
}

/// Commands whose arguments belong to another program.
const PASSING_ON: [&str; 3] = ["psql", "shell", "odoo"];
/// Our own flags that may stand between such a command and its arguments.
const OWN_FLAGS: [&str; 4] = ["--superuser", "--database", "--help", "-h"];
/// Our own flags that take a value in a word of their own.
const WITH_VALUE: [&str; 4] = ["-C", "--site-dir", "--engine", "--database"];

/// The same command line with `--` before arguments that are passed on: `psql -v x=1` means psql's
/// `-v`, not ours.
#[must_use]
pub fn with_separator(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let is = |word: &OsString, known: &[&str]| known.iter().any(|known| word == known);
    let mut at = 1;
    while let Some(word) = args.get(at).filter(|word| word.as_encoded_bytes().starts_with(b"-")) {
        at += if is(word, &WITH_VALUE) { 2 } else { 1 };
    }
    if args.get(at).is_some_and(|word| is(word, &PASSING_ON)) {
        at += 1;
        while let Some(word) = args.get(at).filter(|word| is_own_flag(word)) {
            at += if is(word, &WITH_VALUE) { 2 } else { 1 };
        }
        if args.get(at).is_some_and(|word| word != "--") {
            args.insert(at, "--".into());
        }
    }
    args
}

fn is_own_flag(word: &OsString) -> bool {
    OWN_FLAGS.iter().any(|known| word == known) || word.as_encoded_bytes().starts_with(b"--database=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_other_programs_are_left_alone() {
        let cases = [
            ("autoodoo psql -v x=1", "autoodoo psql -- -v x=1"),
            ("autoodoo -C psql psql --superuser -q", "autoodoo -C psql psql --superuser -- -q"),
            ("autoodoo --json odoo --version", "autoodoo --json odoo -- --version"),
            ("autoodoo odoo -- --help", "autoodoo odoo -- --help"),
            ("autoodoo odoo --help", "autoodoo odoo --help"),
            ("autoodoo shell", "autoodoo shell"),
            ("autoodoo psql --database shop -q", "autoodoo psql --database shop -- -q"),
            ("autoodoo odoo --database=shop -u sale", "autoodoo odoo --database=shop -- -u sale"),
            ("autoodoo odoo -u sale --database x", "autoodoo odoo -- -u sale --database x"),
            ("autoodoo shell --database", "autoodoo shell --database"),
            ("autoodoo logs -f odoo", "autoodoo logs -f odoo"),
            ("autoodoo -C", "autoodoo -C"),
            ("autoodoo", "autoodoo"),
        ];
        for (typed, expected) in cases {
            let words = with_separator(typed.split(' ').map(OsString::from));
            let expected: Vec<OsString> = expected.split(' ').map(OsString::from).collect();
            assert_eq!(words, expected, "{typed}");
        }
    }

    #[test]
    fn passed_on_arguments_arrive() {
        let line = with_separator("autoodoo psql --superuser -v x=1 -c y".split(' ').map(OsString::from));
        let Command::Psql(args) = Cli::try_parse_from(line).unwrap().command else { panic!("psql") };
        assert!(args.superuser);
        assert_eq!(args.args, ["-v", "x=1", "-c", "y"]);
    }

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
