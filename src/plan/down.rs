//! The plans of `down` and `restart`.

use super::{Action, Plan};
use crate::observed::{Container, Labelled, Observed, RunState};
use crate::stack::spec::{Owner, Role};
use crate::stack::{self};
use crate::state::{Phase, State};

/// From the outside in: first nobody is let in, last of all the database stops.
const STOPPING_ORDER: [Role; 8] = [
    Role::Helper,
    Role::Session,
    Role::Nginx,
    Role::Front,
    Role::Cron,
    Role::Odoo,
    Role::Tunnel,
    Role::Postgres,
];

fn grace(role: Role) -> u32 {
    match role {
        Role::Postgres => stack::POSTGRES_GRACE,
        Role::Odoo | Role::Cron | Role::Session => stack::ODOO_GRACE,
        Role::Nginx => stack::NGINX_GRACE,
        Role::Tunnel => stack::TUNNEL_GRACE,
        Role::Front | Role::Helper => stack::HOLDER_GRACE,
    }
}

fn ours<'a>(observed: &'a Observed, owner: &'a Owner, role: Role) -> impl Iterator<Item = &'a Container> {
    observed.containers.iter().filter(move |container| {
        container.role() == Some(role) && container.site_id() == Some(owner.site_id.as_str())
    })
}

/// Stops and removes the site's containers and network. Data stays, unless `volumes`.
pub fn down(owner: &Owner, state: &State, observed: &Observed, volumes: bool) -> Plan {
    let mut plan = Plan::default();
    for role in STOPPING_ORDER {
        for container in ours(observed, owner, role) {
            let retire = Action::RetireContainer { name: container.name.clone(), grace: grace(role) };
            plan.push(retire, "the site goes down");
        }
    }
    let mine = |id: Option<&str>| id == Some(owner.site_id.as_str());
    for network in observed.networks.iter().filter(|network| mine(network.site_id())) {
        plan.push(Action::RemoveNetwork { name: network.name.clone() }, "the site goes down");
    }
    if volumes {
        remove_volumes(&mut plan, owner, state, observed);
    }
    plan
}

/// The removal is recorded before it begins and after it is complete: in between, `up` refuses.
fn remove_volumes(plan: &mut Plan, owner: &Owner, state: &State, observed: &Observed) {
    let found: Vec<_> =
        observed.volumes.iter().filter(|v| v.site_id() == Some(owner.site_id.as_str())).collect();
    if found.is_empty() && state.phase == Phase::New {
        return;
    }
    let generation = state.generation;
    let cause = "its owner confirmed that the data goes";
    plan.push(Action::RecordPhase { phase: Phase::Removing, generation, made: None }, cause);
    for volume in found {
        plan.push(Action::RemoveVolume { name: volume.name.clone() }, cause);
    }
    plan.push(Action::RecordPhase { phase: Phase::New, generation, made: None }, "the data is gone");
}

/// Stops the site's containers for a restart, outside in. `up` starts them again, inside out. With
/// `service` only that one; PostgreSQL takes Odoo with it, which does not survive its server.
pub fn stop_for_restart(owner: &Owner, observed: &Observed, service: Option<Role>) -> Plan {
    let mut plan = Plan::default();
    let wanted = |role: Role| match service {
        None => role != Role::Front,
        Some(server @ (Role::Postgres | Role::Tunnel)) => {
            role == server || matches!(role, Role::Odoo | Role::Cron)
        }
        Some(service) => role == service,
    };
    let roles = STOPPING_ORDER
        .into_iter()
        .filter(|role| wanted(*role) && !matches!(role, Role::Helper | Role::Session));
    for role in roles {
        for container in ours(observed, owner, role).filter(|c| c.state != RunState::Exited) {
            let stop = Action::StopContainer { name: container.name.clone(), grace: grace(role) };
            plan.push(stop, "a restart was asked for");
        }
    }
    plan
}
