//! The program: the real outside world, handed to the library.

use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use autoodoo::Output;
use autoodoo::acme::AcmeCa;
use autoodoo::command::{Adapters, Machine};
use autoodoo::dns::Hickory;
use autoodoo::engine::docker_api::DockerApi;
use autoodoo::engine::endpoint::{EngineChoice, Surroundings, candidates};
use autoodoo::failure::{Context, Result};
use autoodoo::host::clock::{Clock, SystemClock};
use autoodoo::host::hook::HostHooks;
use autoodoo::host::machine;
use autoodoo::host::ports::{PortUse, port_use};
use autoodoo::host::probe::HttpProbe;
use autoodoo::host::random::{Random, SystemRandom};
use autoodoo::host::signals;
use autoodoo::host::ssh::{OpenSsh, Ssh};
use autoodoo::name::Port;
use autoodoo::repository::store::{self, Access, DropBox, Store};
use autoodoo::site::backup::Place;
use autoodoo::ui::prompt::{Prompter, Terminal};

struct Real {
    machine: Machine,
    surroundings: Surroundings,
    probe: HttpProbe,
    ca: AcmeCa,
    prompter: Terminal,
}

impl Adapters for Real {
    type Engine = DockerApi;
    type Probe = HttpProbe;
    type Ca = AcmeCa;
    type Dns = Hickory;
    type Hooks = HostHooks;

    async fn engine(&self, choice: &EngineChoice, remembered: Option<&str>) -> Result<DockerApi> {
        let remembered = remembered.map(str::parse).transpose().context("cannot use the site's engine")?;
        let found = candidates(choice, &Surroundings { remembered, ..self.surroundings.clone() })?;
        DockerApi::connect(&found).await
    }

    fn probe(&self) -> &HttpProbe {
        &self.probe
    }

    fn ca(&self) -> &AcmeCa {
        &self.ca
    }

    fn dns(&self, resolvers: &[SocketAddr]) -> Result<Hickory> {
        Hickory::new(resolvers)
    }

    fn hooks(&self) -> &HostHooks {
        &HostHooks
    }

    fn ssh(&self) -> &dyn Ssh {
        &OpenSsh
    }

    fn store(&self, place: &Place, access: &Access) -> Result<Arc<dyn Store>> {
        store::open(place, access)
    }

    fn drop_box(&self, place: &Place, access: &Access) -> Result<Box<dyn DropBox>> {
        store::drop_box(place, access)
    }

    fn clock(&self) -> &dyn Clock {
        &SystemClock
    }

    fn random(&self) -> &dyn Random {
        &SystemRandom
    }

    fn prompter(&self) -> &dyn Prompter {
        &self.prompter
    }

    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn port_holder(&self, address: IpAddr, port: Port) -> Result<Option<String>> {
        Ok(match port_use(address, port.get())? {
            PortUse::Taken(Some(holder)) => Some(format!("{} (process {})", holder.name, holder.pid)),
            PortUse::Taken(None) => Some("another process".to_owned()),
            // Whether the engine may bind a low port is the engine's matter.
            _ => None,
        })
    }

    async fn interrupted(&self) {
        signals::interrupted().await;
    }
}

fn real() -> Result<Real> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Ok(Real {
        machine: Machine {
            cpus: machine::cpus()?,
            memory_bytes: machine::memory_bytes()?,
            rotating: machine::rotating_engines(),
            routed: machine::routed()?,
            addresses: machine::addresses(),
            fqdn: machine::fqdn(),
            lang: variable("LANG"),
            terminal: std::io::stdin().is_terminal() && std::io::stdout().is_terminal(),
            pid: std::process::id(),
        },
        surroundings: Surroundings {
            docker_host: variable("DOCKER_HOST"),
            container_host: variable("CONTAINER_HOST"),
            runtime_dir: variable("XDG_RUNTIME_DIR").map(PathBuf::from),
            remembered: None,
        },
        probe: HttpProbe,
        ca: AcmeCa::default(),
        prompter: Terminal::new(),
    })
}

fn output() -> Output {
    Output {
        data: Box::new(std::io::stdout()),
        talk: Box::new(std::io::stderr()),
        terminal: std::io::stderr().is_terminal(),
        colour: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    }
}

fn main() -> ExitCode {
    let started = real().and_then(|adapters| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| autoodoo::failure::Failure::failed("cannot start").because(error))?;
        Ok((adapters, runtime))
    });
    match started {
        Ok((adapters, runtime)) => {
            let code = runtime.block_on(autoodoo::run(std::env::args_os(), &adapters, output()));
            // A thread that still reads standard input must not keep the program alive.
            runtime.shutdown_background();
            ExitCode::from(code)
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.kind.exit_code())
        }
    }
}
