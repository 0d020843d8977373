//! What each step means for people who are using the site: the plan is followed in thought, and
//! the steps during which nobody would be answered count.

use std::collections::BTreeSet;

use crate::observed::{Observed, RunState};
use crate::plan::{Action, Plan};
use crate::stack::Stack;
use crate::stack::names::{self, Slot};

/// Fills in what each step of the plan interrupts. `targets` are the containers of Odoo to which
/// nginx sends requests now. Nothing can be said of a site that does not serve: then every step
/// keeps `None`.
pub(super) fn foresee(plan: &mut Plan, stack: &Stack, observed: &Observed, targets: Vec<String>) {
    let socket = names::socket_volume(&stack.site);
    let by_socket = observed.containers.iter().filter(|found| found.mounts_volume(&socket));
    let by_socket = by_socket.map(|found| found.name.clone()).collect();
    let mut site = Serving { stack, ready: running(observed), by_socket, targets };
    if !site.serves() {
        return;
    }
    let mut away = 0;
    for step in &mut plan.steps {
        let served = site.serves();
        site.follow(&step.action);
        let seconds = if served && site.serves() { 0 } else { usual_seconds(&step.action) };
        step.interruption_seconds = Some(seconds);
        away += seconds;
    }
    if away > 0 {
        plan.remarks.push(format!("the site does not answer for about {away} s"));
    }
}

fn running(observed: &Observed) -> BTreeSet<String> {
    let running = observed.containers.iter().filter(|found| found.state == RunState::Running);
    running.map(|found| found.name.clone()).collect()
}

/// Whole seconds that an action takes on a small server, at least one. Odoo loads its modules for
/// 5 to 10 s and stops in 4 s; PostgreSQL writes a checkpoint before it stops.
fn usual_seconds(action: &Action) -> u32 {
    match action {
        Action::AwaitOdoo { .. } => 10,
        Action::StopContainer { .. } => 5,
        Action::RetireContainer { .. } | Action::AwaitPostgres { .. } | Action::AwaitTunnel { .. } => 3,
        _ => 1,
    }
}

/// Who answers, as far as the plan has been followed.
struct Serving<'a> {
    stack: &'a Stack,
    /// Containers that do their work.
    ready: BTreeSet<String>,
    /// Those that reach PostgreSQL by its socket: a server of the site's own or a tunnel listens there.
    by_socket: BTreeSet<String>,
    targets: Vec<String>,
}

impl Serving<'_> {
    fn serves(&self) -> bool {
        let ready = |name: &String| self.ready.contains(name);
        let site = &self.stack.site;
        let at_socket = [names::postgres(site), names::tunnel(site)].iter().any(ready);
        ready(&self.stack.front.name)
            && [Slot::A, Slot::B].iter().any(|slot| ready(&names::nginx(site, *slot)))
            && !self.targets.is_empty()
            && self.targets.iter().all(|odoo| ready(odoo) && (at_socket || !self.by_socket.contains(odoo)))
    }

    fn follow(&mut self, action: &Action) {
        match action {
            Action::StopContainer { name, .. } | Action::RetireContainer { name, .. } => {
                self.ready.remove(name);
            }
            Action::CreateContainer(spec) if spec.mounts_volume(&names::socket_volume(&self.stack.site)) => {
                self.by_socket.insert(spec.name.clone());
            }
            Action::CreateContainer(spec) => {
                self.by_socket.remove(&spec.name);
            }
            // It only sleeps: nobody waits for it.
            Action::StartContainer { name } if *name == self.stack.front.name => {
                self.ready.insert(name.clone());
            }
            Action::AwaitPostgres { container, .. }
            | Action::AwaitTunnel { container, .. }
            | Action::AwaitOdoo { container, .. } => {
                self.ready.insert(container.clone());
            }
            Action::AwaitNginx { container, .. } | Action::ReloadNginx { container, .. } => {
                self.ready.insert(container.clone());
                let odoos = self.stack.odoos.iter().map(|odoo| odoo.container.spec.name.clone());
                self.targets = odoos.collect();
            }
            _ => {}
        }
    }
}
