mod certificate;

use std::collections::BTreeMap;

use super::*;
use crate::observed::{Connected, ContainerSummary, EngineInfo, EngineKind, Image, Mounted, Network, Volume};
use crate::pins::Pin;
use crate::plan::certificate::Next;
use crate::render::libpq::Certificates;
use crate::render::odoo_conf::OdooSecrets;
use crate::render::pg_hba::PG_HBA;
use crate::secret::Secret;
use crate::site::Site;
use crate::site::acme::CertificateName;
use crate::site::parse;
use crate::stack::sizing::{Capacity, Demand, Sizing, size};
use crate::stack::spec::{Attachment, LABEL_ROLE, MountSource, Owner};
use crate::state::Made;

const ROOT: &str = "/srv/acme";

/// A little world: what the site wants and what is there.
struct World {
    site: Site,
    sizing: Sizing,
    owner: Owner,
    observed: Observed,
    state: State,
    pins: Pins,
    local: LocalFacts,
    ports: Vec<(Port, String)>,
    settled: bool,
    database_password: Secret,
    hash: Secret,
    certificates: Certificates,
}

fn site() -> Site {
    parse::site(
        "name: acme\ndomain: odoo.example.com\nodoo: {image: 'odoo:19'}\npostgres: {image: 'postgres:17'}\n\
         nginx: {image: 'nginx:stable'}\nlisten: {address: 127.0.0.1}\n",
    )
    .unwrap()
}

impl World {
    /// A host with the images and nothing else.
    fn fresh() -> World {
        let site = site();
        let image = |id: &str| Image { id: id.into(), repo_digests: vec![], env: BTreeMap::new(), size: 1 };
        let images = [
            (site.odoo.image.clone(), image("sha256:odoo")),
            (site.postgres.image.clone(), image("sha256:postgres")),
            (site.nginx.image.clone(), image("sha256:nginx")),
        ];
        let pins = images.iter().map(|(reference, image)| {
            let pin = Pin { id: image.id.clone(), digests: vec![], since: String::new() };
            (reference.to_string(), pin)
        });
        World {
            pins: Pins { images: pins.collect() },
            sizing: size(Capacity { cpus: 2, memory_bytes: 4 << 30, rotational: false }, Demand::of(&site)),
            owner: Owner { site: site.name.to_string(), site_id: "id1".into() },
            observed: Observed {
                engine: EngineInfo {
                    kind: EngineKind::Docker,
                    version: "20.10".into(),
                    api: "1.41".into(),
                    endpoint: "unix:///var/run/docker.sock".into(),
                },
                images: images.into(),
                volumes: vec![],
                networks: vec![],
                all_containers: vec![],
                containers: vec![],
            },
            state: State::new("id1"),
            local: LocalFacts {
                certificate: CertificateFacts {
                    next: Some(next("there is none yet")),
                    ..CertificateFacts::default()
                },
                ..LocalFacts::default()
            },
            ports: vec![],
            settled: true,
            database_password: Secret::new("pw"),
            hash: Secret::new("hash"),
            certificates: Certificates::default(),
            site,
        }
    }

    /// The same site after a successful `up`.
    fn running() -> World {
        let mut world = World::fresh();
        world.bring_up();
        world
    }

    fn bring_up(&mut self) {
        let world = self;
        world.state.phase = Phase::Ready;
        let mut made = Made::from_site(&world.site);
        made.further = world.site.further.iter().map(|database| database.name.to_string()).collect();
        world.state.made = Some(made);
        world.local.certificate.current = Some("local-0".into());
        world.local.certificate.next = None;
        world.state.certificate = Some("local-0".into());
        let stack = world.with(target).unwrap();
        let odoos = stack.odoos.iter().map(|odoo| &odoo.container.spec);
        let server = stack.server.container();
        for spec in odoos.chain(server).chain([&stack.cron.spec, &stack.front, &stack.nginx]) {
            let container = world.container(spec);
            world.observed.all_containers.push(summary(&container));
            world.observed.containers.push(container);
        }
        let labels = stack.network.labels.clone();
        let (name, subnets) = (stack.network.name.clone(), vec![stack.network.subnet.to_string()]);
        world.observed.networks.push(Network { id: "net".into(), name, labels, subnets });
        for spec in stack.volumes() {
            world.observed.volumes.push(Volume {
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                directory: std::path::PathBuf::new(),
            });
        }
        world.settle();
    }

    /// Files and state as a finished `up` leaves them.
    fn settle(&mut self) {
        let stack = self.with(target).unwrap();
        let text = nginx_conf(&stack.nginx_conf);
        self.state.nginx_loaded = Some(text_fingerprint(&text));
        self.local.nginx_live = Some(text);
        self.local.pg_hba = Some(PG_HBA.to_owned());
        self.local.postgresql_conf = stack.server.own().map(|own| own.conf.clone());
        self.local.odoo_confs = configured(&stack).map(|(container, _)| conf_name(container)).collect();
    }

    fn container(&self, spec: &ContainerSpec) -> Container {
        let image_id = self.observed.images[&spec.image].id.clone();
        let mounted = |mount: &crate::stack::spec::Mount| Mounted {
            source: match &mount.source {
                MountSource::Volume(name) => MountSource::Volume(name.clone()),
                MountSource::Directory(path) => MountSource::Directory(Path::new(ROOT).join(path)),
            },
            target: mount.target.clone(),
            read_only: mount.read_only,
        };
        Container {
            id: format!("id-{}", spec.name),
            name: spec.name.clone(),
            image: spec.image.to_string(),
            image_id,
            labels: spec.labels.clone(),
            state: RunState::Running,
            exit_code: None,
            health: None,
            restart_count: 0,
            started_at: None,
            mounts: spec.mounts.iter().map(mounted).collect(),
            connected: match &spec.attachment {
                Attachment::None => Connected::None,
                Attachment::Container(name) => Connected::Container(format!("id-{name}")),
                Attachment::Network { name, address } => {
                    Connected::Networks([(name.clone(), *address)].into())
                }
            },
            ports: spec.ports.clone(),
            restart: spec.restart,
        }
    }

    fn with<T>(&self, f: impl FnOnce(&Situation<'_>) -> Result<T>) -> Result<T> {
        let secrets = OdooSecrets {
            database_password: &self.database_password,
            master_password_hash: &self.hash,
            smtp_password: None,
            certificates: &self.certificates,
        };
        let mut local = self.local.clone();
        local.certificate.names = self.site.names().cloned().collect();
        local.certificate.ordered = local.certificate.names.iter().map(CertificateName::from).collect();
        f(&Situation {
            inputs: Inputs { site: &self.site, owner: &self.owner, sizing: &self.sizing, secrets: &secrets },
            observed: &self.observed,
            state: &self.state,
            pins: &self.pins,
            local: &local,
            root: Path::new(ROOT),
            routed: &[],
            port_holders: &self.ports,
            wait_seconds: 300,
            settled: self.settled,
        })
    }

    /// The plan's text; fingerprints, which change with every detail, by what they stand for.
    fn plan(&self) -> String {
        let stack = self.with(target).unwrap();
        let plan = self.with(up).unwrap();
        self.audit(&plan);
        let text = plan.to_string();
        configured(&stack)
            .fold(text, |text, (container, purpose)| text.replace(&conf_name(container), &purpose))
    }

    /// The invariants at the head of the module.
    fn audit(&self, plan: &Plan) {
        certificate::audit(self, plan);
        let position =
            |wanted: &dyn Fn(&Action) -> bool| plan.steps.iter().position(|step| wanted(&step.action));
        let there = |names: &[String], name: &str| names.iter().any(|known| known == name);
        let mut containers: Vec<String> =
            self.observed.all_containers.iter().map(|container| container.name.clone()).collect();
        let mut volumes: Vec<String> =
            self.observed.volumes.iter().map(|volume| volume.name.clone()).collect();
        for step in &plan.steps {
            match &step.action {
                Action::CreateVolume(spec) => {
                    let data = matches!(spec.labels[LABEL_ROLE].as_str(), "db" | "web");
                    assert!(!data || self.state.phase != Phase::Ready, "{plan}");
                    volumes.push(spec.name.clone());
                }
                Action::RemoveVolume { name } => volumes.retain(|volume| volume != name),
                Action::RetireContainer { name, .. } => containers.retain(|container| container != name),
                Action::CreateContainer(spec) => {
                    assert!(!there(&containers, &spec.name), "{} is made twice:\n{plan}", spec.name);
                    for mount in &spec.mounts {
                        if let MountSource::Volume(name) = &mount.source {
                            assert!(there(&volumes, name), "{} lacks {name}:\n{plan}", spec.name);
                        }
                    }
                    containers.push(spec.name.clone());
                }
                _ => {}
            }
        }
        let serves = |action: &Action| matches!(action, Action::DrainOdoo { .. });
        if let Some(drained) = position(&serves) {
            let answered = position(&|action| matches!(action, Action::AwaitOdoo { .. }));
            let switched =
                position(&|action| matches!(action, Action::ReloadNginx { .. } | Action::AwaitNginx { .. }));
            assert!(answered < switched && switched < Some(drained), "{plan}");
        }
    }

    fn refusal(&self) -> Failure {
        self.with(up).unwrap_err()
    }

    fn lose(&mut self, name: &str) {
        self.observed.containers.retain(|container| container.name != name);
        self.observed.all_containers.retain(|container| container.name != name);
    }

    fn change(&mut self, name: &str, f: impl FnOnce(&mut Container)) {
        f(self.observed.containers.iter_mut().find(|container| container.name == name).unwrap());
    }
}

/// Containers with an odoo.conf, and what they are for.
fn configured(stack: &Stack) -> impl Iterator<Item = (&OdooContainer, String)> {
    let odoos = stack.odoos.iter().map(|odoo| match odoo.place.index {
        0 => (&odoo.container, "(http)".to_owned()),
        _ => (&odoo.container, format!("(http of {})", odoo.place.database.name)),
    });
    odoos.chain([(&stack.cron, "(cron)".to_owned()), (&stack.command, "(command)".to_owned())])
}

fn summary(container: &Container) -> ContainerSummary {
    ContainerSummary {
        id: container.id.clone(),
        name: container.name.clone(),
        labels: container.labels.clone(),
        running: true,
        host_ports: vec![],
    }
}

#[test]
fn first_up() {
    insta::assert_snapshot!(World::fresh().plan());
}

#[test]
fn nothing_to_do() {
    assert_eq!(World::running().plan(), "");
}

#[test]
fn settings_that_a_running_postgres_takes_need_no_restart() {
    let mut world = World::running();
    world.sizing.postgres.work_mem_mib *= 2;
    let plan = world.plan();
    assert!(
        plan.starts_with(
            "[1] write generated/postgres/postgresql.conf: PostgreSQL reads it (no interruption)\n\
         [2] reload acme-postgres: its settings changed (no interruption)\n[3] ask "
        ),
        "{plan}"
    );
}

/// Only here do people notice: the plan says for how long.
#[test]
fn a_new_postgres_interrupts_and_says_so() {
    let mut world = World::running();
    world.change("acme-postgres", |postgres| {
        postgres.labels.insert(LABEL_CONFIG.to_owned(), "older".to_owned());
    });
    insta::assert_snapshot!(world.plan());
}

/// A site whose PostgreSQL is elsewhere; `keys` are further ones of `postgres:`.
fn elsewhere(keys: &str) -> World {
    let mut world = World::fresh();
    let text = format!("name: acme\ndomain: a.b\npostgres: {{ host: db.example.com, user: acme{keys} }}\n");
    world.site.postgres.external = parse::site(text).unwrap().postgres.external;
    world.local.ssh_client = Some("client".to_owned());
    world
}

const SSH: &str = ", ssh: { host: gate.example.com, user: tunnel }";

/// Nothing is recorded or made to last before the server was found fit.
#[test]
fn first_up_with_a_server_elsewhere() {
    insta::assert_snapshot!(elsewhere("").plan());
}

#[test]
fn first_up_with_a_server_behind_ssh() {
    insta::assert_snapshot!(elsewhere(SSH).plan());
}

#[test]
fn a_refused_server_leaves_nothing_of_a_new_site() {
    let plan = elsewhere(SSH).with(up).unwrap();
    let check = plan.steps.iter().find(|step| matches!(step.action, Action::CheckServer(_))).unwrap();
    let undo: Vec<_> = check.on_failure.iter().map(ToString::to_string).collect();
    assert_eq!(
        undo,
        [
            "stop and remove container acme-helper-psql",
            "stop and remove container acme-tunnel",
            "remove volume acme-socket and all data in it",
            "remove network acme-net",
        ]
    );
}

#[test]
fn a_server_elsewhere_is_not_asked_without_need() {
    for keys in ["", SSH] {
        let mut world = elsewhere(keys);
        world.bring_up();
        assert_eq!(world.plan(), "", "{keys}");
        world.settled = false;
        assert!(world.plan().contains("ask PostgreSQL at db.example.com:5432"), "{keys}");
    }
}

/// The host's updates interrupt nobody; the next tunnel is made from the client that is there then.
#[test]
fn a_new_ssh_client_waits_for_the_next_tunnel() {
    let mut world = elsewhere(SSH);
    world.bring_up();
    world.local.ssh_client = Some("newer".to_owned());
    assert_eq!(world.plan(), "");
    world.lose("acme-tunnel");
    insta::assert_snapshot!(world.plan());
    assert!(world.with(target).unwrap().ssh_client == "newer");
}

/// The site as it is told by other keys of `postgres:`.
fn told(world: &mut World, keys: &str) {
    world.site.postgres.external = elsewhere(keys).site.postgres.external;
}

const OTHER_SSH: &str = ", ssh: { host: gate.example.com, user: tunnel, port: 2222 }";

/// The next tunnel is asked beside the one in use, from files of its own; only then people notice.
#[test]
fn another_ssh_server_is_tried_before_anybody_is_interrupted() {
    let mut world = elsewhere(SSH);
    world.bring_up();
    told(&mut world, OTHER_SSH);
    let text = world.plan();
    insta::assert_snapshot!(text);
    assert!(text.contains("note: the site does not answer for about "), "{text}");
    let plan = world.with(up).unwrap();
    let stopped = plan.steps.iter().position(|step| matches!(step.action, Action::StopContainer { .. }));
    let tried = &plan.steps[..stopped.unwrap()];
    let gates: Vec<_> = tried.iter().filter(|step| step.gate).map(|step| step.on_failure.len()).collect();
    assert_eq!(gates, [0, 1, 1], "the files, the way, the server: {text}");
    for step in tried {
        let ours = |name: &str| name == "acme-helper-next-tunnel";
        match &step.action {
            Action::CreateContainer(spec) => {
                assert!(ours(&spec.name) && !spec.mounts_volume("acme-socket"), "{text}");
                let listens = |word: &String| word.starts_with("/tmp/.s.PGSQL.5432:");
                assert!(spec.command.iter().any(listens), "it listens in its own memory: {:?}", spec.command);
            }
            Action::RetireContainer { name, .. } => assert!(ours(name), "{text}"),
            Action::CheckServer(check) => assert_eq!(check.endpoint.host, "/tmp"),
            _ => {}
        }
    }
}

#[test]
fn each_pin_has_files_of_its_own() {
    let directory = |keys: &str| {
        let external = elsewhere(keys).site.postgres.external.unwrap();
        stack::server::tunnel_directory(&external.ssh.unwrap())
    };
    let pin = |letter: &str| {
        let pin = letter.repeat(43);
        directory(&format!(", ssh: {{ host: gate.example.com, user: tunnel, host_key: 'SHA256:{pin}' }}"))
    };
    assert_eq!(pin("A"), pin("A"));
    let all: BTreeSet<_> = [pin("A"), pin("B"), directory(SSH), directory(OTHER_SSH)].into();
    assert_eq!(all.len(), 4, "{all:?}");
}

/// Who works over the network goes on until an Odoo behind the tunnel answers.
#[test]
fn a_tunnel_for_a_site_without_one_interrupts_nobody() {
    let mut world = elsewhere("");
    world.bring_up();
    told(&mut world, SSH);
    insta::assert_snapshot!(world.plan());
    let plan = world.with(up).unwrap();
    let check = plan.steps.iter().find(|step| matches!(step.action, Action::CheckServer(_))).unwrap();
    let undo: Vec<_> = check.on_failure.iter().map(ToString::to_string).collect();
    assert!(check.gate);
    assert_eq!(
        undo,
        [
            "stop and remove container acme-helper-psql",
            "stop and remove container acme-tunnel",
            "remove volume acme-socket and all data in it",
        ]
    );
}

#[test]
fn a_tunnel_that_is_no_longer_wanted_goes_last() {
    let mut world = elsewhere(SSH);
    world.bring_up();
    told(&mut world, "");
    let plan = world.plan();
    let at = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text} is not in\n{plan}"));
    assert!(at("let acme-odoo-a finish") < at("stop and remove container acme-tunnel"), "{plan}");
    assert!(!plan.contains("does not answer"), "{plan}");
}

/// Nobody is served through it: there is nothing to spare.
#[test]
fn a_tunnel_that_does_not_run_is_replaced_at_once() {
    let mut world = elsewhere(SSH);
    world.bring_up();
    world.change("acme-tunnel", |tunnel| tunnel.state = RunState::Restarting);
    told(&mut world, OTHER_SSH);
    let plan = world.plan();
    assert!(!plan.contains("next-tunnel") && plan.contains("stop acme-odoo-a"), "{plan}");
    assert!(!plan.contains("(about"), "it does not serve anyway: {plan}");
}

/// The certificate's content counts, not its path.
#[test]
fn a_new_ca_replaces_odoo_beside_the_old_one() {
    let mut world = elsewhere(", ssl_root_cert: ca.pem");
    world.certificates.root = Some("old".to_owned());
    world.bring_up();
    world.certificates.root = Some("new".to_owned());
    let plan = world.plan();
    assert!(plan.contains("create container acme-odoo-b"), "{plan}");
    assert!(plan.contains("let acme-odoo-a finish its requests"), "{plan}");
}

#[test]
fn data_does_not_wander_between_a_container_and_a_server_elsewhere() {
    let mut world = World::running();
    world.site.postgres.external = elsewhere("").site.postgres.external;
    let refusal = world.refusal().to_string();
    assert!(
        refusal.contains("its PostgreSQL is in a container, autoodoo.yaml says on a server elsewhere"),
        "{refusal}"
    );
    assert!(!refusal.contains("major"), "{refusal}");
}

/// The image is for client programs only.
#[test]
fn newer_client_programs_are_no_other_data() {
    let mut world = elsewhere("");
    world.bring_up();
    world.site.postgres.major += 1;
    assert_eq!(world.with(up).unwrap().to_string(), "");
}

fn shop() -> crate::site::Database {
    let (name, domain) = ("shop".parse().unwrap(), "shop.example.com".parse().unwrap());
    crate::site::Database { name, domain, aliases: vec![] }
}

#[test]
fn a_further_database_is_made_beside_the_first() {
    let mut world = World::running();
    world.site.further.push(shop());
    insta::assert_snapshot!(world.plan());
}

/// The data stays, and the other databases keep their addresses.
#[test]
fn a_database_that_is_no_longer_named_loses_its_odoo() {
    let mut world = World::fresh();
    world.site.further = vec![shop(), crate::site::Database { name: "blog".parse().unwrap(), ..shop() }];
    world.site.further[1].domain = "blog.example.com".parse().unwrap();
    world.bring_up();
    assert_eq!(world.plan(), "");
    let address = |world: &World, name: &str| {
        let stack = world.with(target).unwrap();
        stack.odoos.iter().find(|odoo| odoo.place.database.name.as_str() == name).unwrap().address
    };
    let before = address(&world, "blog");
    world.site.further.remove(0);
    assert_eq!(address(&world, "blog"), before);
    let plan = world.plan();
    assert!(plan.contains("stop and remove container acme-odoo.shop-a: "), "{plan}");
    assert!(!plan.contains("acme-odoo.blog") && !plan.contains("volume"), "{plan}");
}

#[test]
fn images_that_are_absent_are_pulled_first() {
    let mut world = World::fresh();
    world.observed.images.clear();
    world.pins = Pins::default();
    let plan = world.plan();
    assert!(plan.starts_with("[1] pull image postgres:17: it is not on this host\n[2] pull image odoo:19"));
}

#[test]
fn more_users_replace_odoo_beside_the_old_one() {
    let mut world = World::running();
    world.sizing.odoo.workers += 2;
    insta::assert_snapshot!(world.plan());
}

fn next(why: &str) -> Next {
    Next { id: "local-1".into(), why: why.into(), stored: false }
}

#[test]
fn a_new_alias_is_a_certificate_and_a_reload() {
    let mut world = World::running();
    world.site.aliases.push("www.example.com".parse().unwrap());
    world.local.certificate.next = Some(next("it does not cover www.example.com"));
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_removed_odoo_is_made_again_in_its_slot() {
    let mut world = World::running();
    world.lose("acme-odoo-a");
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_removed_postgres_takes_odoo_through_a_restart() {
    let mut world = World::running();
    world.lose("acme-postgres");
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_removed_holder_takes_nginx_with_it() {
    let mut world = World::running();
    world.lose("acme-front");
    insta::assert_snapshot!(world.plan());
}

#[test]
fn a_stopped_container_is_started() {
    let mut world = World::running();
    world.change("acme-cron", |cron| cron.state = RunState::Exited);
    assert!(
        world
            .plan()
            .starts_with("[1] start acme-cron: it is stopped (no interruption)\n[2] wait for acme-cron")
    );
}

#[test]
fn what_was_altered_by_hand_is_put_right() {
    type Alter = fn(&mut Container);
    let cases: [(&str, Alter, &str); 4] = [
        ("acme-cron", |c| c.restart = crate::stack::spec::Restart::No, "restart policy was changed by hand"),
        ("acme-cron", |c| c.connected = Connected::None, "network was changed by hand"),
        ("acme-cron", |c| c.mounts.clear(), "mounts are not those of this site directory"),
        ("acme-odoo-a", |c| c.state = RunState::Paused, "paused by hand"),
    ];
    for (name, alter, expected) in cases {
        let mut world = World::running();
        world.change(name, alter);
        assert!(world.plan().contains(expected), "{name}: {}", world.plan());
    }
}

#[test]
fn killed_between_the_new_odoo_and_the_switch() {
    let mut world = World::running();
    let old = world.observed.containers.iter().find(|c| c.name == "acme-odoo-a").unwrap().clone();
    world.sizing.odoo.workers += 2;
    let spec = world.with(target).unwrap().odoos.remove(0).container.spec;
    assert_eq!(spec.name, "acme-odoo-b");
    let new = world.container(&spec);
    world.observed.all_containers.push(summary(&new));
    world.observed.containers.push(new);
    let plan = world.plan();
    assert!(!plan.contains("create container acme-odoo"), "{plan}");
    let switch = plan.find("reload acme-nginx-a").unwrap();
    let retire = plan.find(&format!("stop and remove container {}", old.name)).unwrap();
    assert!(
        plan.find("wait for the login page of acme-odoo-b").unwrap() < switch && switch < retire,
        "{plan}"
    );
}

#[test]
fn killed_between_publishing_and_reloading() {
    let mut world = World::running();
    world.state.nginx_loaded = Some("older".into());
    assert!(world.plan().starts_with("[1] reload acme-nginx-a"), "{}", world.plan());
}

#[test]
fn what_a_cut_off_run_started_is_asked() {
    let mut world = World::running();
    world.settled = false;
    insta::assert_snapshot!(world.plan());
}

#[test]
fn an_interrupted_initialisation_is_redone() {
    let mut world = World::running();
    world.state.phase = Phase::Initialising;
    for name in ["acme-odoo-a", "acme-cron", "acme-front", "acme-nginx-a"] {
        world.lose(name);
    }
    let plan = world.plan();
    assert!(plan.contains("create database acme__init"), "{plan}");
    assert!(!plan.contains("create volume"), "{plan}");
}

#[test]
fn a_first_cluster_that_was_cut_off_is_made_again() {
    let mut world = World::running();
    world.state.phase = Phase::Initialising;
    for name in ["acme-odoo-a", "acme-cron", "acme-front", "acme-nginx-a"] {
        world.lose(name);
    }
    world.change("acme-postgres", |postgres| postgres.state = RunState::Restarting);
    let plan = world.plan();
    let step = |text: &str| plan.find(text).unwrap_or_else(|| panic!("{text}:\n{plan}"));
    assert!(step("stop and remove container acme-postgres") < step("remove volume acme-db-1"));
    assert!(step("remove volume acme-db-1") < step("create volume acme-db-1"));
    assert!(step("create volume acme-db-1") < step("create container acme-postgres"));
    // A server that has answered once may hold something.
    world.state.system_identifier = Some("7123456789".into());
    assert!(!world.plan().contains("remove volume"));
}

#[test]
fn lost_volumes_are_never_replaced_by_empty_ones() {
    let mut world = World::running();
    world.observed.volumes.retain(|volume| volume.name != "acme-db-1");
    let refusal = world.refusal();
    assert!(refusal.message.contains("acme-db-1"), "{refusal}");
    assert!(refusal.hints.iter().any(|hint| hint.contains("restore")));
}

#[test]
fn data_without_memory_is_not_touched() {
    let mut world = World::running();
    world.state = State::new("id1");
    let refusal = world.refusal();
    assert!(refusal.message.contains("does not know"), "{refusal}");
    assert!(refusal.hints.iter().any(|hint| hint.contains("restore")));
}

#[test]
fn strangers_with_our_names_are_not_touched() {
    let mut world = World::fresh();
    world.observed.all_containers.push(ContainerSummary {
        id: "x".into(),
        name: "acme-postgres".into(),
        labels: BTreeMap::new(),
        running: true,
        host_ports: vec![],
    });
    world.observed.volumes.push(Volume {
        name: "acme-db-1".into(),
        labels: BTreeMap::new(),
        directory: std::path::PathBuf::new(),
    });
    let refusal = world.refusal();
    assert!(refusal.message.contains("container `acme-postgres` was not made by autoodoo"), "{refusal}");
    assert!(refusal.message.contains("volume `acme-db-1` was not made by autoodoo"), "{refusal}");
}

#[test]
fn a_taken_port_names_its_process() {
    let mut world = World::fresh();
    world.ports = vec![(Port::HTTPS, "caddy (process 812)".into())];
    assert!(world.refusal().message.contains("port 443 is taken by caddy (process 812)"));
}

#[test]
fn a_moved_tag_changes_nothing_by_itself() {
    let mut world = World::running();
    let odoo = world.site.odoo.image.clone();
    let old = world.observed.images[&odoo].clone();
    world.observed.images.get_mut(&odoo).unwrap().id = "sha256:newer".into();
    world.observed.images.insert(old.id.parse().unwrap(), old);
    assert_eq!(world.plan(), "");
}

#[test]
fn a_failed_gate_brings_nobody_down() {
    let mut world = World::running();
    world.sizing.odoo.workers += 2;
    let plan = world.with(up).unwrap();
    let gate = plan.steps.iter().find(|step| matches!(step.action, Action::AwaitOdoo { .. })).unwrap();
    assert_eq!(gate.on_failure, vec![retire("acme-odoo-b", stack::ODOO_GRACE)]);
    assert!(gate.gate);
    let first = World::fresh().with(up).unwrap();
    assert!(first.steps.iter().all(|step| !step.gate), "nothing serves yet that could serve on");
}

#[test]
fn the_site_gets_the_same_network_again() {
    let subnet = || World::fresh().with(target).unwrap().network.subnet;
    assert_eq!(subnet(), subnet());
    let mut world = World::fresh();
    world.observed.networks.push(Network {
        id: "x".into(),
        name: "other".into(),
        labels: BTreeMap::new(),
        subnets: vec![subnet().to_string()],
    });
    assert_ne!(world.with(target).unwrap().network.subnet, subnet());
    world.observed.networks[0].subnets = vec!["10.0.0.0/8".into()];
    assert!(world.with(target).unwrap().network.subnet.to_string().starts_with("172.29."));
}
