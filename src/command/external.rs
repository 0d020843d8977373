//! What commands do otherwise when PostgreSQL is a server elsewhere.

use super::open::exit_code;
use super::site::Loaded;
use super::up::with_situation;
use super::{Adapters, Context};
use crate::apply::client;
use crate::cli::PsqlArgs;
use crate::engine::{Engine, Exec};
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::secrets::Secrets;
use crate::host::site_dir::SiteDir;
use crate::name::DbName;
use crate::plan::up::pinned;
use crate::render::libpq::{Certificates, ClientCertificate, Endpoint};
use crate::secret::Secret;
use crate::site::External;
use crate::stack::names;
use crate::stack::server::psql_session;

/// Reads the certificates that the site file names. The password is somebody's choice: one that
/// odoo.conf cannot hold is refused.
pub(super) fn read_secrets(dir: &SiteDir, external: &External, secrets: &mut Secrets) -> Result<()> {
    let read = |path: &std::path::Path| files::read_text(&dir.root().join(path));
    let client = match &external.client {
        None => None,
        Some(pair) => Some(ClientCertificate {
            certificate: read(&pair.certificate)?,
            key: Secret::new(read(&pair.key)?),
        }),
    };
    secrets.certificates =
        Certificates { root: external.root_certificate.as_deref().map(read).transpose()?, client };
    if secrets.database_password.expose().contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Failure::usage("the password in secrets/database-password has a space or a line break")
            .hint("odoo.conf cannot hold it; give the role another password"));
    }
    Ok(())
}

/// The server's name and port, for people.
pub(super) fn place(external: &External) -> String {
    format!("{}:{}", external.host, external.port)
}

/// psql in a container of its own, beside those that serve. It goes when psql ends.
pub(super) async fn psql<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    external: &External,
    database: &DbName,
    args: &PsqlArgs,
) -> Result<u8> {
    if args.superuser {
        return Err(Failure::usage(format!(
            "PostgreSQL at {} is not ours: the site has the role {} there and no superuser",
            place(external),
            external.user
        ))
        .hint("leave out `--superuser`"));
    }
    let observed = loaded.observe(engine).await?;
    super::open::running_server(loaded, &observed)?;
    let machine = context.adapters.machine();
    let name = names::helper(&loaded.site.name, &format!("psql-{}", machine.pid));
    let spec = with_situation(context, loaded, &observed, 0, |situation| {
        Ok(pinned(situation, &psql_session(&situation.inputs, name)))
    })?;
    let psql = client::psql(database, args.args.iter().map(String::as_str));
    let id = engine.create(&spec).await?;
    let outcome = session(context, loaded, engine, external, &id, psql).await;
    let removed = engine.remove(&id).await;
    let code = outcome?;
    removed.map(|()| exit_code(code))
}

async fn session<A: Adapters>(
    context: &Context<'_, A>,
    loaded: &Loaded,
    engine: &A::Engine,
    external: &External,
    container: &str,
    psql: Exec,
) -> Result<i64> {
    engine.start(container).await?;
    let endpoint = Endpoint::of_external(external);
    client::furnish(engine, container, &endpoint, &loaded.secrets).await?;
    engine.exec_attached(container, psql, context.adapters.machine().terminal).await
}
