//! What every command on an existing site begins with: the site directory, the engine, and what
//! is there now.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::{try_join, try_join_all, try_join3};

use super::certificate::Asker;
use super::{Adapters, Context};
use crate::engine::Engine;
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::lock::{Holder, SiteLock};
use crate::host::secrets::Secrets;
use crate::host::site_dir::SiteDir;
use crate::name::ImageRef;
use crate::observed::{Labelled, Observed};
use crate::pins::Pins;
use crate::plan::guard;
use crate::plan::up::LocalFacts;
use crate::site::{Site, parse};
use crate::stack::spec::Owner;
use crate::stack::{dirs, files as paths};
use crate::state::State;

/// A site directory that was read and found valid.
pub struct Loaded {
    pub dir: SiteDir,
    pub site: Site,
    pub owner: Owner,
    pub state: State,
    pub pins: Pins,
    pub secrets: Secrets,
    /// An operation before the present one did not end well: what it started has not proved itself.
    pub unproven: bool,
    /// Who asks for another certificate, if one is wanted.
    pub asker: Asker,
    /// The last order came to nothing, and nothing else was left to do.
    pub refused: bool,
}

pub fn load<A: Adapters>(context: &Context<'_, A>) -> Result<Loaded> {
    let dir = SiteDir::new(&context.cli.global.site_dir)?;
    let path = dir.site_file();
    let Some(bytes) = files::read_optional(&path)? else {
        return Err(Failure::usage(format!("there is no site here: {} does not exist", path.display()))
            .hint("make one with `autoodoo init`, or name its directory with `-C DIR`"));
    };
    let site = parse::site(&bytes).map_err(|faults| parse::failure(parse::FILE_NAME, &faults))?;
    let mut secrets = dir.secrets()?;
    if site.smtp.as_ref().is_some_and(|smtp| smtp.user.is_some()) && secrets.smtp_password.is_none() {
        let path = dir.secrets_dir().join("smtp-password");
        return Err(Failure::usage(format!("{} is missing", path.display()))
            .hint("write the mail server's password into it, with mode 600, or remove `smtp.user`"));
    }
    if let Some(external) = &site.postgres.external {
        super::external::read_secrets(&dir, external, &mut secrets)?;
    }
    let Some(state) = dir.load_state()? else {
        return Err(Failure::failed(format!(
            "the site directory has lost its memory: {} does not exist",
            dir.state_dir().join("state.json").display()
        ))
        .hint("nothing was changed: without it an empty Odoo could take the place of your data")
        .hint("bring `state/` back from a copy of the site directory, or with `autoodoo restore`"));
    };
    let owner = Owner { site: site.name.to_string(), site_id: state.site_id.clone() };
    let pins = dir.pins()?;
    Ok(Loaded { dir, site, owner, state, pins, secrets, unproven: false, asker: Asker::Up, refused: false })
}

/// Takes the site for this command, then reads it: what was read before could be the state that
/// another operation has just replaced. Fails when another operation has the site.
pub fn load_locked<A: Adapters>(context: &Context<'_, A>, command: &str) -> Result<(Loaded, SiteLock)> {
    let state_dir = SiteDir::new(&context.cli.global.site_dir)?.state_dir();
    if files::mode_of(&state_dir)?.is_none() {
        // Says what is missing; without a state directory it cannot succeed.
        load(context)?;
    }
    let holder = Holder {
        command: format!("autoodoo {command}"),
        pid: context.adapters.machine().pid,
        since: context.adapters.clock().now(),
    };
    let lock = SiteLock::acquire(&state_dir, &holder)?;
    let loaded = load(context)?;
    loaded.dir.sweep_temporary()?;
    loaded.dir.close_generated()?;
    Ok((loaded, lock))
}

impl Loaded {
    pub async fn engine<A: Adapters>(&self, context: &Context<'_, A>) -> Result<A::Engine> {
        context.adapters.engine(&context.cli.global.engine, self.state.engine.as_deref()).await
    }

    /// Everything on the engine that plans depend on, asked for side by side.
    pub async fn observe<E: Engine>(&self, engine: &E) -> Result<Observed> {
        let references = self.image_references();
        let images = try_join_all(references.iter().map(async |reference| {
            Ok::<_, Failure>((reference.clone(), engine.image(reference.as_str()).await?))
        }));
        let things = try_join3(engine.containers(), engine.networks(), engine.volumes());
        let (images, (all_containers, networks, volumes)) = try_join(images, things).await?;
        let ours = all_containers.iter().filter(|c| c.site_id() == Some(self.owner.site_id.as_str()));
        let containers = try_join_all(ours.map(|container| engine.inspect(&container.id))).await?;
        let images: BTreeMap<_, _> =
            images.into_iter().filter_map(|(reference, image)| Some((reference, image?))).collect();
        let observed = Observed {
            engine: engine.info().await?,
            images,
            volumes,
            networks,
            all_containers,
            containers: containers.into_iter().flatten().collect(),
        };
        guard::right_engine(&self.owner, &self.state, &observed)?;
        Ok(observed)
    }

    /// The references of the site file and what they were pinned to.
    fn image_references(&self) -> BTreeSet<ImageRef> {
        let site = &self.site;
        let named = [&site.odoo.image, &site.postgres.image, &site.nginx.image];
        let pinned = named.iter().filter_map(|image| self.pins.images.get(image.as_str())?.id.parse().ok());
        pinned.chain(named.iter().map(|image| (*image).clone())).collect()
    }

    /// What the site directory holds, as far as plans care.
    pub fn local_facts<A: Adapters>(&self, context: &Context<'_, A>) -> Result<LocalFacts> {
        let root = self.dir.root();
        Ok(LocalFacts {
            pg_hba: files::read_text_optional(&root.join(paths::PG_HBA))?,
            postgresql_conf: files::read_text_optional(&root.join(paths::POSTGRESQL_CONF))?,
            nginx_live: files::read_text_optional(&root.join(paths::NGINX_LIVE))?,
            odoo_confs: files::subdirectories_with(&root.join(dirs::ODOO), "odoo.conf")?,
            certificate: self.certificate_facts(context)?,
            ssh_client: self.ssh_client(context)?,
        })
    }

    fn ssh_client<A: Adapters>(&self, context: &Context<'_, A>) -> Result<Option<String>> {
        let external = self.site.postgres.external.as_ref();
        if external.is_none_or(|external| external.ssh.is_none()) {
            return Ok(None);
        }
        context.adapters.ssh().client().map(|client| Some(client.fingerprint))
    }
}
