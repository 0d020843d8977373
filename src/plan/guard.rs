//! What must hold before anything is changed. Each refusal touches nothing and says what to do.

use crate::failure::{Failure, Result};
use crate::name::SiteName;
use crate::observed::{Labelled, Observed};
use crate::site::Site;
use crate::stack::names::{self, Slot};
use crate::stack::spec::Owner;
use crate::state::{Made, Phase, State};

/// Refuses a host on which something stands under our names that is not ours.
pub fn nothing_foreign(site: &Site, owner: &Owner, observed: &Observed) -> Result<()> {
    let odoos = std::iter::once(None).chain(site.further.iter().map(|database| Some(&database.name)));
    let odoos =
        odoos.flat_map(|further| [Slot::A, Slot::B].map(|slot| names::odoo(&site.name, further, slot)));
    let site = &site.name;
    let containers = [
        names::postgres(site),
        names::tunnel(site),
        names::cron(site),
        names::front(site),
        names::nginx(site, Slot::A),
        names::nginx(site, Slot::B),
        names::helper(site, names::HELPER_CONF),
        names::helper(site, names::HELPER_INIT),
        names::helper(site, names::HELPER_NGINX_TEST),
        names::helper(site, names::HELPER_PSQL),
        names::helper(site, names::HELPER_BACKUP),
        names::helper(site, names::HELPER_TUNNEL),
        names::helper(site, names::HELPER_NEXT_TUNNEL),
    ];
    let containers: Vec<String> = containers.into_iter().chain(odoos).collect();
    let strangers =
        |name: &String, found: Option<&dyn Labels>| found.and_then(|thing| stranger(name, thing, owner));
    let found_containers = containers.iter().filter_map(|name| {
        let found = observed.all_containers.iter().find(|c| c.name == *name);
        strangers(name, found.map(|c| c as &dyn Labels)).map(|why| format!("container {why}"))
    });
    let network = names::network(site);
    let found_network = observed.networks.iter().find(|n| n.name == network);
    let found_networks =
        strangers(&network, found_network.map(|n| n as &dyn Labels)).map(|why| format!("network {why}"));
    let found_volumes = observed
        .volumes
        .iter()
        .filter(|volume| is_site_volume(&volume.name, site))
        .filter_map(|volume| strangers(&volume.name, Some(volume)).map(|why| format!("volume {why}")));
    let foreign: Vec<String> = found_containers.chain(found_networks).chain(found_volumes).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!("something that is not of this site has its names: {}", foreign.join("; ")))
        .hint("nothing was changed; remove or rename it yourself if it is not needed")
        .hint("or give this site another `name:` in autoodoo.yaml"))
}

/// Object-safe view of [`Labelled`].
trait Labels {
    fn site_label(&self) -> Option<&str>;
    fn site_id_label(&self) -> Option<&str>;
}

impl<T: Labelled> Labels for T {
    fn site_label(&self) -> Option<&str> {
        self.site()
    }
    fn site_id_label(&self) -> Option<&str> {
        self.site_id()
    }
}

fn stranger(name: &str, thing: &dyn Labels, owner: &Owner) -> Option<String> {
    match (thing.site_label(), thing.site_id_label()) {
        (Some(site), Some(id)) if site == owner.site && id == owner.site_id => None,
        (Some(_), _) => Some(format!("`{name}` belongs to another autoodoo site directory")),
        (None, _) => Some(format!("`{name}` was not made by autoodoo")),
    }
}

/// Volumes with data end in the number of their generation; the others have one name each.
fn is_site_volume(name: &str, site: &SiteName) -> bool {
    let numbered = |prefix: String| {
        name.strip_prefix(&prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit()))
    };
    let single = [
        names::socket_volume(site),
        names::tmp_volume(site),
        names::cache_volume(site, Slot::A),
        names::cache_volume(site, Slot::B),
    ];
    numbered(format!("{site}-db-"))
        || numbered(format!("{site}-web-"))
        || single.iter().any(|own| own == name)
}

/// Refuses a site file that its own data does not fit.
pub fn same_data(site: &Site, state: &State) -> Result<()> {
    let Some(made) = &state.made else { return Ok(()) };
    let now = Made::from_site(site);
    let place = |made: &Made| if made.external { "on a server elsewhere" } else { "in a container" };
    // Elsewhere the major is the server's own matter: the check of the server compares it.
    let major = |made: &Made| if made.external { String::new() } else { made.postgres_major.to_string() };
    let differences = [
        ("name", made.site.clone(), now.site.clone()),
        ("database", made.database.clone(), now.database.clone()),
        ("PostgreSQL", place(made).to_owned(), place(&now).to_owned()),
        (
            "PostgreSQL major",
            major(made),
            if made.external == now.external { major(&now) } else { major(made) },
        ),
        ("Odoo release", made.odoo_release.to_string(), now.odoo_release.to_string()),
    ];
    let differences: Vec<String> = differences
        .into_iter()
        .filter(|(_, made, now)| made != now)
        .map(|(what, made, now)| format!("its {what} is {made}, autoodoo.yaml says {now}"))
        .collect();
    if differences.is_empty() {
        return Ok(());
    }
    Err(Failure::usage(format!("the site file does not fit the site's data: {}", differences.join("; ")))
        .hint("nothing was changed; put it back in autoodoo.yaml")
        .hint("another name, database or major version needs the data to be moved, which `up` never does by itself"))
}

/// Refuses an engine that has nothing of the site when the site was made on another one.
pub fn right_engine(owner: &Owner, state: &State, observed: &Observed) -> Result<()> {
    let Some(made_on) = state.engine.as_deref() else { return Ok(()) };
    let here = &observed.engine.endpoint;
    let has_data = observed.volumes.iter().any(|volume| volume.site_id() == Some(owner.site_id.as_str()));
    if state.phase == Phase::New || has_data || made_on == here {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "this site was made on the engine at {made_on}, and {here} has nothing of it"
    ))
    .hint("nothing was changed; leave out `--engine`, DOCKER_HOST and CONTAINER_HOST"))
}

/// Refuses when what the site directory remembers and the volumes on the engine do not agree:
/// an empty Odoo in place of a lost one would be backed up until the good backups are gone.
pub fn data_as_remembered(site: &Site, owner: &Owner, state: &State, observed: &Observed) -> Result<()> {
    let external = site.postgres.external.is_some();
    let site = &site.name;
    if state.phase == Phase::Removing {
        return Err(Failure::failed("the removal of this site's data was begun and not finished")
            .hint(format!("finish it with `autoodoo down --volumes --confirm {site}`")));
    }
    let wanted = data_volumes(site, state.generation, external);
    let missing: Vec<_> =
        wanted.iter().filter(|name| !observed.volumes.iter().any(|v| v.name == **name)).collect();
    if state.phase == Phase::Ready && !missing.is_empty() {
        let list = missing.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" and ");
        return Err(Failure::failed(format!(
            "the data of this site is missing: volume {list} does not exist"
        ))
        .hint("nothing was changed, and no empty Odoo was put in its place")
        .hint("if the site was made on another engine, name it with `--engine`")
        .hint("else bring the data back with `autoodoo restore latest`"));
    }
    if state.phase == Phase::New {
        let left: Vec<_> = observed
            .volumes
            .iter()
            .filter(|v| v.site() == Some(owner.site.as_str()) && wanted_role(v))
            .map(|v| v.name.as_str())
            .collect();
        if !left.is_empty() {
            return Err(unremembered(&left));
        }
    }
    Ok(())
}

/// The volumes with the site's data. A server elsewhere keeps the databases itself.
#[must_use]
pub fn data_volumes(site: &SiteName, generation: u32, external: bool) -> Vec<String> {
    let db = (!external).then(|| names::db_volume(site, generation));
    db.into_iter().chain([names::web_volume(site, generation)]).collect()
}

fn wanted_role(volume: &crate::observed::Volume) -> bool {
    volume.labels.get(crate::stack::spec::LABEL_ROLE).is_some_and(|role| role == "db" || role == "web")
}

fn unremembered(volumes: &[&str]) -> Failure {
    Failure::failed(format!(
        "there is data of a site with this name that this site directory does not know: volume {}",
        volumes.join(" and ")
    ))
    .hint("nothing was changed; the data is untouched")
    .hint("use the site directory that belongs to it, or bring its `state/` back with `autoodoo restore`")
    .hint("or give this site another `name:` in autoodoo.yaml")
}
