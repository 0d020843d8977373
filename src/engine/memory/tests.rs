use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::observed::{Connected, RunState};
use crate::stack::spec::{Attachment, LogRotation, Mount, MountSource, PublishedPort, Restart, Subnet};

const IMAGE: &str = "docker.io/library/odoo:19";

/// A host with one image, one volume `v` and one network `n`.
async fn host() -> MemoryEngine {
    let engine = MemoryEngine::default();
    engine.add_image(IMAGE);
    engine.create_volume(&volume("v")).await.unwrap();
    engine.create_network(&network("n", 7)).await.unwrap();
    engine.forget_calls();
    engine
}

fn volume(name: &str) -> VolumeSpec {
    VolumeSpec { name: name.into(), labels: BTreeMap::new() }
}

fn network(name: &str, number: u8) -> NetworkSpec {
    let subnet = Subnet::around(Ipv4Addr::new(10, 213, number, 0));
    NetworkSpec { name: name.into(), labels: BTreeMap::new(), subnet }
}

fn spec(name: &str, role: Role) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        role,
        image: IMAGE.parse().unwrap(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        env: BTreeMap::new(),
        user: None,
        labels: BTreeMap::new(),
        mounts: Vec::new(),
        attachment: Attachment::None,
        ports: Vec::new(),
        restart: Restart::UnlessStopped,
        stop_signal: None,
        stop_grace: 10,
        shm_bytes: None,
        capabilities: Vec::new(),
        read_only_root: false,
        tmpfs: Vec::new(),
        pids: 100,
        memory_bytes: None,
        log: LogRotation { file_bytes: 1 << 20, files: 2 },
        healthcheck: None,
        selinux_level: None,
        stdin: false,
        tty: false,
        auto_remove: false,
    }
}

fn mount(volume: &str) -> Vec<Mount> {
    let source = MountSource::Volume(volume.into());
    vec![Mount { source, target: "/data".into(), read_only: false }]
}

fn on_network(name: &str, address: Option<Ipv4Addr>) -> ContainerSpec {
    ContainerSpec { attachment: Attachment::Network { name: "n".into(), address }, ..spec(name, Role::Odoo) }
}

fn joined(name: &str, holder: &str) -> ContainerSpec {
    ContainerSpec { attachment: Attachment::Container(holder.into()), ..spec(name, Role::Nginx) }
}

fn published(name: &str, host: [u8; 4], port: &str) -> ContainerSpec {
    let port = PublishedPort {
        host: IpAddr::from(host),
        host_port: port.parse().unwrap(),
        container_port: "80".parse().unwrap(),
    };
    ContainerSpec { ports: vec![port], ..spec(name, Role::Front) }
}

async fn running(engine: &MemoryEngine, spec: &ContainerSpec) {
    engine.create(spec).await.unwrap();
    engine.start(&spec.name).await.unwrap();
}

async fn state(engine: &MemoryEngine, name: &str) -> RunState {
    engine.inspect(name).await.unwrap().unwrap().state
}

fn why<T: std::fmt::Debug>(result: Result<T>) -> String {
    result.unwrap_err().message.rsplit(": ").next().unwrap().to_owned()
}

/// Runs a test as the program runs: on one thread.
macro_rules! test {
    ($(async fn $name:ident() $body:block)*) => {$(
        #[tokio::test(flavor = "current_thread")]
        async fn $name() $body
    )*};
}

test! {
    async fn create_refuses_what_is_missing() {
        let engine = host().await;
        let odoo = spec("a", Role::Odoo);
        let no_image = ContainerSpec { image: "absent:1".parse().unwrap(), ..odoo.clone() };
        assert_eq!(why(engine.create(&no_image).await), "the image is not on this machine");
        let no_volume = ContainerSpec { mounts: mount("absent"), ..odoo.clone() };
        assert_eq!(why(engine.create(&no_volume).await), "there is no volume `absent`");
        let attachment = Attachment::Network { name: "absent".into(), address: None };
        let no_network = ContainerSpec { attachment, ..odoo.clone() };
        assert_eq!(why(engine.create(&no_network).await), "the network does not exist");
        assert_eq!(why(engine.create(&joined("a", "absent")).await), "there is no such container");
        engine.on_directory(|path| path != Path::new("/absent"));
        let source = MountSource::Directory("/absent".into());
        let mounts = vec![Mount { source, target: "/d".into(), read_only: true }];
        let no_directory = ContainerSpec { mounts, ..odoo.clone() };
        assert_eq!(why(engine.create(&no_directory).await), "there is no directory `/absent`");
        engine.create(&odoo).await.unwrap();
        assert_eq!(why(engine.create(&odoo).await), "the name is taken");
    }

    async fn a_containers_life() {
        let engine = host().await;
        let id = engine.create(&spec("a", Role::Odoo)).await.unwrap();
        assert_eq!(state(&engine, &id).await, RunState::Created);
        for _ in 0..2 {
            engine.start("a").await.unwrap();
            assert_eq!(state(&engine, "a").await, RunState::Running);
        }
        for _ in 0..2 {
            engine.stop("a", 1).await.unwrap();
            assert_eq!(engine.wait("a").await.unwrap(), 0);
        }
        assert_eq!(why(engine.signal("a", "SIGHUP").await), "the container is not running");
        engine.start("a").await.unwrap();
        engine.signal("a", "SIGKILL").await.unwrap();
        assert_eq!(engine.inspect("a").await.unwrap().unwrap().exit_code, Some(137));
        for _ in 0..2 {
            engine.remove("a").await.unwrap();
            assert_eq!(engine.inspect("a").await.unwrap(), None);
        }
        assert_eq!(why(engine.start("a").await), "there is no such container");
    }

    async fn what_is_in_use_cannot_be_removed() {
        let engine = host().await;
        let user = ContainerSpec { mounts: mount("v"), ..on_network("a", None) };
        engine.create(&user).await.unwrap();
        assert_eq!(why(engine.remove_volume("v").await), "a container still uses it");
        assert_eq!(why(engine.remove_network("n").await), "containers are still connected to it");
        engine.create(&joined("b", "a")).await.unwrap();
        assert_eq!(why(engine.remove("a").await), "other containers share its network; remove those first");
        engine.remove("b").await.unwrap();
        engine.remove("a").await.unwrap();
        engine.remove_volume("v").await.unwrap();
        engine.remove_volume("v").await.unwrap();
        engine.remove_network("n").await.unwrap();
        engine.remove_network("n").await.unwrap();
        assert!(engine.volumes().await.unwrap().is_empty() && engine.networks().await.unwrap().is_empty());
    }

    async fn a_volume_of_the_same_name_and_other_labels_is_not_ours() {
        let engine = host().await;
        engine.create_volume(&volume("v")).await.unwrap();
        let labels = BTreeMap::from([("a".into(), "b".into())]);
        assert_eq!(why(engine.create_volume(&VolumeSpec { labels, ..volume("v") }).await), "the name is taken");
    }

    async fn networks_do_not_overlap() {
        let engine = host().await;
        assert_eq!(why(engine.create_network(&network("n", 8)).await), "the name is taken");
        assert!(why(engine.create_network(&network("m", 7)).await).starts_with("its addresses are used"));
    }

    async fn ports_are_taken_while_their_container_runs() {
        let engine = host().await;
        let (first, second) = (published("a", [127, 0, 0, 1], "80"), published("b", [0, 0, 0, 0], "80"));
        running(&engine, &first).await;
        running(&engine, &published("c", [127, 0, 0, 2], "80")).await;
        engine.create(&second).await.unwrap();
        assert_eq!(why(engine.start("b").await), "port 80 of this machine is taken");
        assert_eq!(engine.containers().await.unwrap()[0].host_ports, ["127.0.0.1:80".parse().unwrap()]);
        engine.stop("a", 0).await.unwrap();
        engine.remove("c").await.unwrap();
        assert!(engine.containers().await.unwrap()[0].host_ports.is_empty());
        engine.take_port(80);
        assert_eq!(why(engine.start("b").await), "port 80 of this machine is taken");
        engine.free_port(80);
        engine.start("b").await.unwrap();
    }

    async fn addresses() {
        let engine = host().await;
        let fixed = Ipv4Addr::new(10, 213, 7, 10);
        running(&engine, &on_network("a", Some(fixed))).await;
        running(&engine, &on_network("b", None)).await;
        running(&engine, &on_network("c", None)).await;
        let mut given = Vec::new();
        for name in ["a", "b", "c"] {
            let Connected::Networks(networks) = engine.inspect(name).await.unwrap().unwrap().connected else {
                panic!("{name} is on a network");
            };
            given.push(networks["n"].unwrap().octets()[3]);
        }
        assert_eq!(given, [10, 128, 129]);
        engine.create(&on_network("d", Some(fixed))).await.unwrap();
        assert_eq!(why(engine.start("d").await), "its address is taken by another container");
        engine.stop("a", 0).await.unwrap();
        engine.start("d").await.unwrap();
    }

    async fn a_shared_network_belongs_to_one_container_not_to_a_name() {
        let engine = host().await;
        let id = engine.create(&spec("front", Role::Front)).await.unwrap();
        engine.create(&joined("nginx", "front")).await.unwrap();
        let not_running = "the container whose network it shares is not running";
        assert_eq!(why(engine.start("nginx").await), not_running);
        engine.start("front").await.unwrap();
        engine.start("nginx").await.unwrap();
        let seen = engine.inspect("nginx").await.unwrap().unwrap().connected;
        assert_eq!(seen, Connected::Container(id));
    }

    async fn a_crash_and_what_follows() {
        let engine = host().await;
        running(&engine, &spec("a", Role::Odoo)).await;
        engine.crash("a");
        let crashed = engine.inspect("a").await.unwrap().unwrap();
        assert_eq!((crashed.state, crashed.restart_count), (RunState::Running, 1));
        engine.forbid_restart("a").await.unwrap();
        engine.crash("a");
        assert_eq!(state(&engine, "a").await, RunState::Exited);
    }

    async fn an_engine_restart_brings_back_what_ran() {
        for reverse in [false, true] {
            let engine = host().await;
            running(&engine, &spec("front", Role::Front)).await;
            running(&engine, &joined("nginx", "front")).await;
            running(&engine, &ContainerSpec { restart: Restart::No, ..spec("once", Role::Odoo) }).await;
            running(&engine, &spec("stopped", Role::Odoo)).await;
            running(&engine, &spec("forbidden", Role::Odoo)).await;
            engine.create(&spec("created", Role::Odoo)).await.unwrap();
            engine.stop("stopped", 0).await.unwrap();
            engine.forbid_restart("forbidden").await.unwrap();
            engine.engine_restart(reverse);
            let up: Vec<_> = engine.containers().await.unwrap().into_iter().filter(|c| c.running).collect();
            assert_eq!(up.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["front", "nginx"]);
        }
    }

    async fn two_databases_on_one_volume_are_noticed() {
        let engine = host().await;
        for name in ["a", "b"] {
            running(&engine, &ContainerSpec { mounts: mount("v"), ..spec(name, Role::Postgres) }).await;
        }
        assert_eq!(engine.most_postgres_on_one_volume(), 2);
    }

    async fn a_lost_volume_keeps_its_container_down() {
        let engine = host().await;
        running(&engine, &ContainerSpec { mounts: mount("v"), ..spec("a", Role::Postgres) }).await;
        engine.lose_volume("v");
        engine.engine_restart(false);
        assert_eq!(state(&engine, "a").await, RunState::Exited);
        assert_eq!(why(engine.start("a").await), "there is no volume `v`");
    }

    async fn helpers_end_and_others_stay() {
        let engine = host().await;
        let helper = ContainerSpec { restart: Restart::No, ..spec("helper", Role::Helper) };
        running(&engine, &helper).await;
        assert_eq!(engine.wait("helper").await.unwrap(), 0);
        engine.on_start(|spec| {
            let lines = vec!["one".to_owned(), "two".to_owned()];
            (spec.name == "odoo").then_some(Process::Ends { exit_code: 3, lines })
        });
        running(&engine, &spec("odoo", Role::Odoo)).await;
        assert_eq!(engine.wait("odoo").await.unwrap(), 3);
        let mut log = Vec::new();
        let query = LogQuery { tail: Some(1), ..LogQuery::default() };
        engine.logs("odoo", &query, &mut |_, line| log.push(line.to_owned())).await.unwrap();
        assert_eq!(log, ["two"]);
        running(&engine, &spec("stays", Role::Odoo)).await;
        assert!(engine.wait("stays").await.is_err());
    }

    async fn what_runs_attached_is_removed_when_asked() {
        let engine = host().await;
        engine.on_start(|_| Some(Process::Ends { exit_code: 4, lines: Vec::new() }));
        for auto_remove in [false, true] {
            let session = ContainerSpec { auto_remove, ..spec("session", Role::Session) };
            engine.create(&session).await.unwrap();
            assert_eq!(engine.run_attached("session", true).await.unwrap(), 4);
            assert_eq!(engine.inspect("session").await.unwrap().is_none(), auto_remove);
            engine.remove("session").await.unwrap();
        }
    }

    async fn commands_are_scripted() {
        let engine = host().await;
        running(&engine, &spec("pg", Role::Postgres)).await;
        engine.on_exec(|container, exec| {
            (container == "pg" && exec.argv[0] == "psql").then(|| ExecOutput {
                exit_code: 2,
                stdout: "one\ntwo\n".into(),
                stderr: "wrong".into(),
            })
        });
        let mut lines = Vec::new();
        let mut note = |stream, line: &str| lines.push((stream, line.to_owned()));
        let output = engine.exec("pg", Exec::new(["psql"]), &mut note).await.unwrap();
        assert_eq!(output.exit_code, 2);
        let expected = [(Stream::Stdout, "one"), (Stream::Stdout, "two"), (Stream::Stderr, "wrong")];
        assert_eq!(lines, expected.map(|(stream, line)| (stream, line.to_owned())));
        assert_eq!(engine.exec_attached("pg", Exec::new(["true"]), false).await.unwrap(), 0);
        engine.stop("pg", 0).await.unwrap();
        let stopped = engine.exec("pg", Exec::new(["psql"]), &mut |_, _| {}).await;
        assert_eq!(why(stopped), "the container is not running");
    }

    async fn pulling() {
        let engine = MemoryEngine::default();
        let image: ImageRef = IMAGE.parse().unwrap();
        let none = engine.pull(&image, &mut |_| {}).await;
        assert!(why(none).starts_with("the registry has no such image"));
        engine.offer_image(IMAGE);
        engine.set_registry_reachable(false);
        assert_eq!(why(engine.pull(&image, &mut |_| {}).await), "the registry cannot be reached");
        engine.set_registry_reachable(true);
        let mut last = PullProgress::default();
        engine.pull(&image, &mut |progress| last = progress).await.unwrap();
        assert_eq!(last.done_bytes, last.total_bytes);
        let before = engine.image(IMAGE).await.unwrap().unwrap();
        engine.offer_image(IMAGE);
        engine.pull(&image, &mut |_| {}).await.unwrap();
        assert_ne!(engine.image(IMAGE).await.unwrap().unwrap().id, before.id);
    }

    async fn calls_are_noted_and_reads_are_not() {
        let engine = host().await;
        running(&engine, &spec("a", Role::Odoo)).await;
        engine.containers().await.unwrap();
        engine.inspect("a").await.unwrap();
        engine.exec("a", Exec::new(["id", "-u"]), &mut |_, _| {}).await.unwrap();
        assert_eq!(engine.calls(), ["create a", "start a", "exec a id -u"]);
        assert_eq!(engine.changes(), ["create a", "start a"]);
    }

    async fn one_call_fails() {
        let engine = host().await;
        engine.fail_at(2);
        engine.create(&spec("a", Role::Odoo)).await.unwrap();
        engine.start("a").await.unwrap_err();
        assert_eq!(state(&engine, "a").await, RunState::Created);
        engine.start("a").await.unwrap();
    }

    async fn everything_fails_after_a_kill() {
        let engine = host().await;
        engine.stop_at(2);
        engine.create(&spec("a", Role::Odoo)).await.unwrap();
        engine.start("a").await.unwrap_err();
        engine.remove("a").await.unwrap_err();
        engine.containers().await.unwrap_err();
        let next = engine.clone();
        next.resume();
        assert_eq!(state(&next, "a").await, RunState::Created);
        assert_eq!(next.calls(), ["create a", "start a"]);
    }
}
