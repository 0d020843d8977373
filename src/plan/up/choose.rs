//! What a plan chooses before the stack can be spelt out: the network and the slots.

use std::net::Ipv4Addr;

use super::{Situation, wanted_image_id};
use crate::failure::{Failure, Result};
use crate::observed::{Container, Labelled, RunState};
use crate::plan::matching::drift;
use crate::render::nginx_conf::{asks, certificate_in, static_version_in};
use crate::stack::fingerprint::text_fingerprint;
use crate::stack::names::{self, Slot};
use crate::stack::spec::{ContainerSpec, MountSource, Role, Subnet, UsedNetwork};
use crate::stack::{self, Choice, Place, Stack, dirs};
use crate::state::Made;

pub(super) fn choose(situation: &Situation<'_>) -> Result<Choice> {
    let (certificate, tls) = (&situation.local.certificate, &situation.inputs.site.tls);
    let live = situation.local.nginx_live.as_deref().and_then(certificate_in);
    let first = certificate.first(tls, live);
    let mut choice = Choice {
        subnet: subnet(situation)?,
        generation: situation.state.generation,
        odoos: places(situation)?,
        nginx_slot: Slot::A,
        certificate: first.to_owned(),
        certificate_trusted: certificate.trusted.contains(first),
        static_version: String::new(),
        ssh_client: String::new(),
    };
    for number in 0..choice.odoos.len() {
        choice.odoos[number].slot = odoo_slot(situation, &choice, number);
    }
    choice.ssh_client = ssh_client(situation, &choice);
    choice.static_version = static_version(situation, &choice);
    choice.nginx_slot = nginx_slot(situation, &choice);
    Ok(choice)
}

/// The network's own subnet when it exists, else a free one that follows from the site's name.
fn subnet(situation: &Situation<'_>) -> Result<Subnet> {
    let name = names::network(&situation.inputs.site.name);
    if let Some(network) = situation.observed.networks.iter().find(|network| network.name == name) {
        return network
            .subnets
            .iter()
            .find_map(|text| text.split('/').next()?.parse().ok().map(Subnet::around))
            .ok_or_else(|| Failure::failed(format!("network {name} has no IPv4 subnet")));
    }
    free_subnet(situation.inputs.site.name.as_str(), &used_networks(situation)).ok_or_else(|| {
        Failure::failed("every private network that this program would take is in use on this machine")
    })
}

fn used_networks(situation: &Situation<'_>) -> Vec<UsedNetwork> {
    let engines = situation.observed.networks.iter().flat_map(|network| &network.subnets);
    engines.filter_map(|cidr| UsedNetwork::parse(cidr)).chain(situation.routed.iter().copied()).collect()
}

/// First halves of the networks from which a site's is taken; the second where a VPN has all of 10.
const RANGES: [[u8; 2]; 3] = [[10, 213], [172, 29], [192, 168]];

/// The first free /24, starting where the name's hash says: a site gets the same network again after
/// `down` and `up`.
fn free_subnet(name: &str, used: &[UsedNetwork]) -> Option<Subnet> {
    let start = u8::from_str_radix(text_fingerprint(name).get(..2)?, 16).ok()?;
    let candidates = RANGES.into_iter().flat_map(|[a, b]| {
        (0..=u8::MAX).map(move |offset| Subnet::around(Ipv4Addr::new(a, b, start.wrapping_add(offset), 0)))
    });
    candidates.into_iter().find(|subnet| !used.iter().any(|network| network.overlaps(*subnet)))
}

/// Every database with its number: that under which it was made, or the next one. The slots are
/// still to be chosen.
fn places(situation: &Situation<'_>) -> Result<Vec<Place>> {
    let made: Vec<&str> = situation.state.made.iter().flat_map(Made::databases).collect();
    let mut next = made.len();
    let mut places = Vec::new();
    for database in situation.inputs.site.databases() {
        let index = made.iter().position(|name| *name == database.name.as_str()).unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        let index =
            u8::try_from(index).ok().filter(|index| *index <= stack::LAST_INDEX).ok_or_else(|| {
                Failure::usage(format!(
                    "the site has had {} databases; it cannot have another",
                    stack::LAST_INDEX
                ))
                .hint("make another site for it; several live on one machine")
            })?;
        places.push(Place { database, index, slot: Slot::A });
    }
    Ok(places)
}

/// The slot whose container is already right; else the one beside the Odoo that serves.
fn odoo_slot(situation: &Situation<'_>, choice: &Choice, number: usize) -> Slot {
    let place = &choice.odoos[number];
    let right = |slot: &Slot| {
        let place = Place { slot: *slot, ..place.clone() };
        let server = stack::odoo_server(&situation.inputs, choice, &place);
        matches(situation, &server.container.spec)
    };
    if let Some(slot) = [Slot::A, Slot::B].into_iter().find(right) {
        return slot;
    }
    let exists = |slot: Slot| {
        let name = place.container_in(&situation.inputs.site.name, slot);
        situation.observed.containers.iter().any(|container| container.name == name)
    };
    match (exists(Slot::A), exists(Slot::B)) {
        (true, true) => serving_slot(situation, choice.subnet, place).unwrap_or(Slot::A).other(),
        (true, false) => Slot::B,
        (false, _) => Slot::A,
    }
}

/// The copy from which the running tunnel was made while that tunnel is right: the host's own updates
/// are no reason to interrupt anybody. Else the client that the host has now.
fn ssh_client(situation: &Situation<'_>, choice: &Choice) -> String {
    let now = situation.local.ssh_client.clone().unwrap_or_default();
    let runs = |found: &&Container| found.role() == Some(Role::Tunnel) && found.state == RunState::Running;
    let tunnel = situation.observed.containers.iter().find(runs);
    let mut sources = tunnel.into_iter().flat_map(|found| &found.mounts).map(|mount| &mount.source);
    let made_from = sources.find_map(client_copy);
    let stays = |copy: &String| {
        let stack = stack::stack(&situation.inputs, &Choice { ssh_client: copy.clone(), ..choice.clone() });
        stack.server.container().is_some_and(|spec| matches(situation, spec))
    };
    made_from.filter(stays).unwrap_or(now)
}

/// The name of the copied client in a mount of the tunnel.
fn client_copy(source: &MountSource) -> Option<String> {
    let MountSource::Directory(path) = source else { return None };
    let is_copy = path.parent()?.ends_with(dirs::SSH_CLIENT);
    is_copy.then(|| path.file_name()?.to_str().map(str::to_owned))?
}

/// That of the live nginx.conf while Odoo stays what it is; else one that follows from the image,
/// whose id is not known before it was pulled.
fn static_version(situation: &Situation<'_>, choice: &Choice) -> String {
    let stays = choice.odoos.iter().any(|place| {
        let server = stack::odoo_server(&situation.inputs, choice, place);
        matches(situation, &server.container.spec)
    });
    let live = situation.local.nginx_live.as_deref().and_then(static_version_in);
    match live {
        Some(version) if stays => version.to_owned(),
        _ => {
            let image = &situation.inputs.site.odoo.image;
            text_fingerprint(wanted_image_id(situation, image).unwrap_or(image.as_str()))
        }
    }
}

/// The slot that the live nginx.conf points to.
fn serving_slot(situation: &Situation<'_>, subnet: Subnet, place: &Place) -> Option<Slot> {
    let text = situation.local.nginx_live.as_deref()?;
    [Slot::A, Slot::B].into_iter().find(|slot| {
        let address = Place { slot: *slot, ..place.clone() }.address(subnet);
        asks(text, address)
    })
}

/// The containers of Odoo to which nginx sends requests now.
pub(super) fn targets(situation: &Situation<'_>, stack: &Stack) -> Vec<String> {
    let target = |place: &Place| {
        let slot = serving_slot(situation, stack.network.subnet, place)?;
        Some(place.container_in(&stack.site, slot))
    };
    stack.odoos.iter().filter_map(|odoo| target(&odoo.place)).collect()
}

fn nginx_slot(situation: &Situation<'_>, choice: &Choice) -> Slot {
    let right = |slot: &Slot| {
        let stack = stack::stack(&situation.inputs, &Choice { nginx_slot: *slot, ..choice.clone() });
        matches(situation, &stack.nginx)
    };
    let name = |slot| names::nginx(&situation.inputs.site.name, slot);
    let running = |slot| {
        let name = name(slot);
        situation.observed.containers.iter().any(|c| c.name == name && c.state == RunState::Running)
    };
    [Slot::A, Slot::B]
        .into_iter()
        .find(right)
        .unwrap_or_else(|| if running(Slot::A) { Slot::B } else { Slot::A })
}

fn matches(situation: &Situation<'_>, spec: &ContainerSpec) -> bool {
    situation.observed.containers.iter().any(|found| {
        found.name == spec.name
            && drift(spec, found, wanted_image_id(situation, &spec.image), situation.root, situation.observed)
                .is_none()
    })
}
