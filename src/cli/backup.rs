//! `backup` and `fsck`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::site::value::HostKey;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackupArgs {
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    #[command(flatten)]
    pub create: CreateArgs,
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Back up to every target of autoodoo.yaml; what `backup` alone does
    Create(CreateArgs),
    /// Show the backups of every target
    List(ListArgs),
    /// Check that backups are whole (exit code 7 if not): structure, packs, and that every attachment is there with its size; with --read-data also what is in them
    Verify(VerifyArgs),
    /// Forget old backups by the rules under `backup.keep`; what only they needed is freed by a prune 23 hours later, or with --now
    Prune(PruneArgs),
    /// List the files of a backup
    Ls(LsArgs),
    /// Write one file of a backup to standard output
    Cat(CatArgs),
    /// Make a target ready: key, host key, recipients, repository; safe to repeat
    Setup(SetupArgs),
    /// The recovery kit: what is needed to read the backups without this server
    #[command(subcommand)]
    Key(KeyCommand),
    /// Write the site as it is now into one file that tar, zstd, age or gpg and pg_restore open
    Export(SealArgs),
    /// Prove that this server can neither change nor delete what a target holds (exit code 7 if it can)
    Probe(ProbeArgs),
}

#[derive(Debug, Default, Args)]
pub struct CreateArgs {
    /// Stop Odoo meanwhile
    #[arg(long)]
    pub cold: bool,
    /// Only this target; may be given several times
    #[arg(long, value_name = "NAME")]
    pub target: Vec<String>,
    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only this target
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A backup; the newest one when left out
    #[arg(value_name = "ID", default_value = "latest")]
    pub backup: String,
    /// Only this target; all of them when left out
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Also read the data and compare it with its hashes: all of it, or a share such as 10%; else only presence and size of each attachment are compared
    #[arg(long, value_name = "SHARE", num_args = 0..=1, default_missing_value = "100%")]
    pub read_data: Option<String>,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only this target; all of them when left out
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
    /// Show what would be forgotten and why, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Free space at once, also what earlier runs left; only where the repository has backups of this site alone
    #[arg(long)]
    pub now: bool,
    /// Go on although the newest backup holds far less than those about to go, or lacks attachments that they have
    #[arg(long)]
    pub accept_loss: bool,
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// A backup: `latest`, or the first digits of its ID
    #[arg(value_name = "ID", default_value = "latest")]
    pub backup: String,
    /// Only what lies below this path
    #[arg(value_name = "PATH", default_value = "")]
    pub path: String,
    /// The target to read from; the first one when left out
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct CatArgs {
    /// A backup: `latest`, or the first digits of its ID
    #[arg(value_name = "ID")]
    pub backup: String,
    /// The file's path in the backup
    #[arg(value_name = "PATH")]
    pub path: String,
    /// The target to read from; the first one when left out
    #[arg(long, value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct SetupArgs {
    /// The target; all of them when left out
    #[arg(value_name = "NAME")]
    pub target: Option<String>,
    /// The SHA256 fingerprint of the ssh server's key, for use without a terminal
    #[arg(long, value_name = "FINGERPRINT")]
    pub host_key: Option<HostKey>,
    /// For whom exports to a drop target are sealed: a recipient of age (age1…, or an ssh public key), or the file
    /// of an OpenPGP public key; may be given several times, and is kept in secrets/backup/NAME.recipients
    #[arg(long, value_name = "RECIPIENT")]
    pub recipient: Vec<String>,
    /// Print what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Print the recovery kit: one page to print or to keep in a password manager
    Show,
    /// Say that the recovery kit is kept in another place than this server
    Kept,
}

#[derive(Debug, Args)]
pub struct SealArgs {
    /// The file to write, such as acme.tar.zst; `-` for standard output
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Seal for this age recipient (age1…, or an ssh-ed25519 or ssh-rsa public key); may be given several times
    #[arg(long, value_name = "RECIPIENT")]
    pub age: Vec<String>,
    /// Seal for the OpenPGP certificate in this file; may be given several times
    #[arg(long, value_name = "KEYFILE")]
    pub openpgp: Vec<PathBuf>,
    /// Stop Odoo meanwhile
    #[arg(long)]
    pub cold: bool,
}

#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The target; all of them when left out
    #[arg(value_name = "NAME")]
    pub target: Option<String>,
}

#[derive(Debug, Args)]
pub struct FsckArgs {
    /// One of the site's databases; all of them when left out
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
}
