//! Is a container what it should be? If not, the answer says in what it differs.

use std::path::Path;

use crate::observed::{Connected, Container, Labelled, Observed};
use crate::stack::spec::{Attachment, ContainerSpec, LABEL_CONFIG, MountSource, Role};

/// Why the container cannot stay, or `None` when it is as it should be. `image_id` is the image it
/// should be from; `root` is the site directory.
#[must_use]
pub fn drift(
    spec: &ContainerSpec,
    found: &Container,
    image_id: Option<&str>,
    root: &Path,
    observed: &Observed,
) -> Option<String> {
    if found.fingerprint() != spec.labels.get(LABEL_CONFIG).map(String::as_str) {
        return Some("its configuration changed".to_owned());
    }
    if spec.role != Role::Front && image_id.is_some_and(|id| id != found.image_id) {
        return Some("its image changed".to_owned());
    }
    if !mounts_match(spec, found, root) {
        return Some("its mounts are not those of this site directory".to_owned());
    }
    if found.restart != spec.restart {
        return Some("its restart policy was changed by hand".to_owned());
    }
    if !same_ports(spec, found) {
        return Some("its published ports differ".to_owned());
    }
    connection_drift(spec, found, observed)
}

fn same_ports(spec: &ContainerSpec, found: &Container) -> bool {
    spec.ports.len() == found.ports.len() && spec.ports.iter().all(|port| found.ports.contains(port))
}

fn mounts_match(spec: &ContainerSpec, found: &Container, root: &Path) -> bool {
    spec.mounts.iter().all(|mount| {
        let wanted = match &mount.source {
            MountSource::Volume(name) => MountSource::Volume(name.clone()),
            MountSource::Directory(path) => MountSource::Directory(root.join(path)),
        };
        found
            .mounts
            .iter()
            .any(|m| m.target == mount.target && m.source == wanted && m.read_only == mount.read_only)
    })
}

fn connection_drift(spec: &ContainerSpec, found: &Container, observed: &Observed) -> Option<String> {
    match (&spec.attachment, &found.connected) {
        (Attachment::None, Connected::None) => None,
        (Attachment::Container(holder), Connected::Container(id)) => {
            let holder_id = observed.containers.iter().find(|c| c.name == *holder).map(|c| c.id.as_str());
            (holder_id != Some(id.as_str())).then(|| format!("it does not share the network of {holder}"))
        }
        (Attachment::Network { name, address }, Connected::Networks(networks)) => {
            if networks.len() != 1 || !networks.contains_key(name) {
                return Some("its networks were changed by hand".to_owned());
            }
            // A stopped container has no address to compare; it will get the one it was made with.
            let actual = networks.get(name).copied().flatten();
            (address.is_some() && actual.is_some() && actual != *address)
                .then(|| "its address is not the one nginx expects".to_owned())
        }
        _ => Some("its network was changed by hand".to_owned()),
    }
}
