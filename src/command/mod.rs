//! One file a verb: load, observe, plan, confirm, apply.

pub mod backup;
pub mod cert;
pub mod certificate;
pub mod down;
pub mod export;
mod external;
pub mod fsck;
pub mod init;
pub mod init_files;
pub mod logs;
pub mod open;
pub mod order;
pub mod restart;
pub mod run;
pub mod site;
pub mod sizing;
pub mod standing;
pub mod status;
pub mod up;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::acme::Ca;
use crate::cli::{Cli, Command};
use crate::dns::Dns;
use crate::engine::Engine;
use crate::engine::endpoint::EngineChoice;
use crate::failure::Result;
use crate::host::clock::Clock;
use crate::host::hook::Hooks;
use crate::host::probe::Probe;
use crate::host::random::Random;
use crate::host::ssh::Ssh;
use crate::name::Port;
use crate::observed::EngineKind;
use crate::repository::store::{Access, DropBox, Store};
use crate::site::Limits;
use crate::site::backup::Place;
use crate::stack::sizing::Capacity;
use crate::stack::spec::UsedNetwork;
use crate::ui::Ui;
use crate::ui::prompt::Prompter;

/// The outside world, as far as commands touch it. The binary gives them the real one, tests a
/// stateful fake.
#[expect(async_fn_in_trait, reason = "the program runs on one thread; no caller needs Send")]
pub trait Adapters {
    type Engine: Engine;
    type Probe: Probe;
    type Ca: Ca;
    type Dns: Dns;
    type Hooks: Hooks;

    /// Connects to the engine that is meant; `remembered` is where the site was made.
    async fn engine(&self, choice: &EngineChoice, remembered: Option<&str>) -> Result<Self::Engine>;
    fn probe(&self) -> &Self::Probe;
    fn ca(&self) -> &Self::Ca;
    /// Asks these servers; those of the machine when there are none.
    fn dns(&self, resolvers: &[SocketAddr]) -> Result<Self::Dns>;
    fn hooks(&self) -> &Self::Hooks;
    fn ssh(&self) -> &dyn Ssh;
    /// Where a target's repository lies.
    fn store(&self, place: &Place, access: &Access) -> Result<Arc<dyn Store>>;
    /// A target that takes sealed exports.
    fn drop_box(&self, place: &Place, access: &Access) -> Result<Box<dyn DropBox>>;
    fn clock(&self) -> &dyn Clock;
    fn random(&self) -> &dyn Random;
    fn prompter(&self) -> &dyn Prompter;
    fn machine(&self) -> &Machine;
    /// Who listens on a port of the host, if anybody does.
    fn port_holder(&self, address: IpAddr, port: Port) -> Result<Option<String>>;
    /// Resolves when the operation is to stop: somebody wants it, or the terminal has gone.
    async fn interrupted(&self);
}

/// What the machine is, read once.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Processor cores.
    pub cpus: u32,
    pub memory_bytes: u64,
    /// Engines that keep their data on a disk that rotates.
    pub rotating: Vec<EngineKind>,
    /// Networks that the host routes to.
    pub routed: Vec<UsedNetwork>,
    /// The host's own addresses.
    pub addresses: Vec<IpAddr>,
    pub fqdn: Option<String>,
    /// The value of LANG.
    pub lang: Option<String>,
    /// Standard input and output are a terminal.
    pub terminal: bool,
    pub pid: u32,
}

impl Machine {
    /// What a site on this engine may use.
    #[must_use]
    pub fn capacity(&self, engine: EngineKind, limits: &Limits) -> Capacity {
        let rotational = self.rotating.contains(&engine);
        Capacity { cpus: self.cpus, memory_bytes: self.memory_bytes, rotational }.within(limits)
    }
}

/// What each command is given.
pub struct Context<'a, A> {
    pub adapters: &'a A,
    pub cli: &'a Cli,
    pub ui: &'a Ui,
}

/// Runs the command. The value is the exit code of a passed-on program, else 0.
pub async fn dispatch<A: Adapters>(context: &Context<'_, A>) -> Result<u8> {
    match &context.cli.command {
        Command::Init(args) => init_files::cmd_init(context, args).map(|()| 0),
        Command::Up(args) => up::cmd_up(context, args).await.map(|()| 0),
        Command::Down(args) => down::cmd_down(context, args).await.map(|()| 0),
        Command::Restart(args) => restart::cmd_restart(context, args).await.map(|()| 0),
        Command::Status(args) => status::cmd_status(context, args).await.map(|()| 0),
        Command::Logs(args) => logs::cmd_logs(context, args).await.map(|()| 0),
        Command::Psql(args) => open::cmd_psql(context, args).await,
        Command::Shell(args) => open::cmd_shell(context, args).await,
        Command::Odoo(args) => open::cmd_odoo(context, args).await,
        Command::Cert(command) => cert::cmd_cert(context, command).await.map(|()| 0),
        Command::Export(args) => export::cmd_export(context, args).await.map(|()| 0),
        Command::Backup(args) => backup::cmd_backup(context, args).await.map(|()| 0),
        Command::Fsck(args) => fsck::cmd_fsck(context, args).await.map(|()| 0),
    }
}
