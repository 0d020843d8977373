//! `cert import`: the owner's own certificate.

use std::path::{Component, Path};

use super::put_in_use;
use crate::apply::certificate::store_pair;
use crate::cli::ImportArgs;
use crate::command::certificate::previous as kept;
use crate::command::site::{Loaded, load, load_locked};
use crate::command::{Adapters, Context};
use crate::event::Reporter;
use crate::failure::{Failure, Result};
use crate::host::files;
use crate::host::site_dir::SiteDir;
use crate::name::Fqdn;
use crate::observed::{Labelled, RunState};
use crate::secret::Secret;
use crate::site::Tls;
use crate::stack::dirs;
use crate::stack::fingerprint::text_fingerprint;
use crate::stack::spec::Role;
use crate::tls::import::{Imported, Material, import, needs_passphrase};
use crate::tls::inspect::check_pair;

pub async fn cmd_import<A: Adapters>(context: &Context<'_, A>, args: &ImportArgs) -> Result<()> {
    Place::of(&load(context)?)?;
    // A question left open for the night must not keep the site from a renewal.
    let given = Given::read(context, args)?;
    let (mut loaded, _lock) = load_locked(context, "cert import")?;
    let place = Place::of(&loaded)?;
    let imported = given.import(context, &loaded)?;
    for remark in &imported.remarks {
        context.ui.note(remark.clone());
    }
    let serves = serves(context, &loaded).await?;
    place.store(&mut loaded, &imported)?;
    if serves {
        return put_in_use(context, &mut loaded).await;
    }
    context.ui.note("the certificate is stored; `autoodoo up` serves it");
    Ok(())
}

/// Whether there is an nginx that could take another certificate. A site that was never up needs no
/// engine yet.
async fn serves<A: Adapters>(context: &Context<'_, A>, loaded: &Loaded) -> Result<bool> {
    if loaded.state.certificate.is_none() {
        return Ok(false);
    }
    let engine = loaded.engine(context).await?;
    let observed = loaded.observe(&engine).await?;
    let mut nginx = observed.containers.iter().filter(|found| found.role() == Some(Role::Nginx));
    Ok(nginx.any(|found| found.state == RunState::Running))
}

/// Where an imported certificate goes.
enum Place {
    /// The files that the site file names, or those that it would.
    Files { certificate: std::path::PathBuf, key: std::path::PathBuf },
    /// It serves until the CA is asked for its successor.
    BeforeAcme,
}

impl Place {
    fn of(loaded: &Loaded) -> Result<Place> {
        match &loaded.site.tls {
            Tls::Files { certificate, key } => {
                if is_inside(&loaded.dir, certificate)? && is_inside(&loaded.dir, key)? {
                    return Ok(Place::Files { certificate: certificate.clone(), key: key.clone() });
                }
                Err(Failure::usage(format!(
                    "`tls:` in autoodoo.yaml names files outside of the site directory: {} and {}",
                    certificate.display(),
                    key.display()
                ))
                .hint("replace them yourself and run `autoodoo cert renew`, or remove both keys and import again"))
            }
            Tls::Acme(_) => Ok(Place::BeforeAcme),
            Tls::SelfSigned => Err(Failure::usage("the site file asks for a certificate of the local CA")
                .hint("write `mode: files` under `tls:` in autoodoo.yaml and import again")),
        }
    }

    /// What was there before stays beside it, under `.previous`. Where an earlier import was cut off
    /// between the two files, that is the key in use, and stays.
    fn store(&self, loaded: &mut Loaded, imported: &Imported) -> Result<()> {
        match self {
            Place::Files { certificate, key } => {
                let (certificate, key) = (loaded.dir.root().join(certificate), loaded.dir.root().join(key));
                let whole = is_pair(&certificate, &key)?;
                replace(&key, imported.key_pem.expose(), whole)?;
                replace(&certificate, &imported.chain_pem, whole)
            }
            Place::BeforeAcme => {
                let text = format!("{}{}", imported.chain_pem, imported.key_pem.expose());
                let id = format!("imported-{}", text_fingerprint(&text));
                let directory = loaded.dir.root().join(dirs::TLS).join(&id);
                store_pair(&directory, &imported.chain_pem, &imported.key_pem)?;
                loaded.state.stored_certificate = Some(id);
                loaded.dir.save_state(&loaded.state)
            }
        }
    }
}

/// Neither by its words nor by a link does this path lead out of the site directory: what lies
/// elsewhere has another owner, and a link would be replaced by a file.
fn is_inside(dir: &SiteDir, path: &Path) -> Result<bool> {
    let mut reached = dir.root().to_owned();
    for part in path.components() {
        match part {
            Component::CurDir => continue,
            Component::Normal(name) => reached.push(name),
            _ => return Ok(false),
        }
        if files::is_link(&reached)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_pair(certificate: &Path, key: &Path) -> Result<bool> {
    let (Some(chain), Some(key)) = (files::read_optional(certificate)?, files::read_optional(key)?) else {
        return Ok(false);
    };
    let (Ok(chain), Ok(key)) = (String::from_utf8(chain), String::from_utf8(key)) else { return Ok(false) };
    Ok(check_pair(&chain, &Secret::new(key)).is_ok())
}

/// The directory's own permissions are its owner's affair, unless it is made here.
fn replace(path: &Path, text: &str, keep: bool) -> Result<()> {
    if let Some(directory) = path.parent() {
        if files::mode_of(directory)?.is_none() {
            files::ensure_dir(directory, 0o700)?;
        }
        files::sweep_temporary(directory)?;
    }
    if let (true, Some(previous)) = (keep, files::read_optional(path)?) {
        files::write_atomic(&kept(path), &previous, 0o600)?;
    }
    files::write_atomic(path, text.as_bytes(), 0o600)
}

/// What the owner brings, still as it is in his files.
struct Given {
    certificate: Vec<u8>,
    key: Option<Vec<u8>>,
    passphrase: Option<Secret>,
}

impl Given {
    fn read<A: Adapters>(context: &Context<'_, A>, args: &ImportArgs) -> Result<Given> {
        let file = |path: &Path| {
            files::read_optional(path)?
                .ok_or_else(|| Failure::usage(format!("{} does not exist", path.display())))
        };
        let certificate = file(&args.certificate)?;
        let key = args.key.as_deref().map(file).transpose()?;
        let wanted = needs_passphrase(&certificate) || key.as_deref().is_some_and(needs_passphrase);
        let passphrase = match &args.passphrase_file {
            Some(path) => Some(first_line(path)?),
            None if wanted => Some(context.adapters.prompter().password("Passphrase of the key")?),
            None => None,
        };
        Ok(Given { certificate, key, passphrase })
    }

    fn import<A: Adapters>(&self, context: &Context<'_, A>, loaded: &Loaded) -> Result<Imported> {
        let material = Material {
            certificate: &self.certificate,
            key: self.key.as_deref(),
            passphrase: self.passphrase.as_ref(),
        };
        let names: Vec<Fqdn> = loaded.site.names().cloned().collect();
        import(&material, &names, context.adapters.clock().now())
    }
}

fn first_line(path: &Path) -> Result<Secret> {
    let text = files::read_text(path)?;
    Ok(Secret::new(text.lines().next().unwrap_or_default().to_owned()))
}
