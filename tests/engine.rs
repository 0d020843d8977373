//! Every verb of [`DockerApi`] on a real engine: `AUTOODOO_TEST_ENGINE=docker|podman` says which, and
//! `AUTOODOO_TEST_IMAGE` may name another image that has a shell and nginx. Everything that is made
//! is called `autoodoo-test-…` and removed at the end, also when a test fails.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use autoodoo::engine::docker_api::DockerApi;
use autoodoo::engine::endpoint::{EngineChoice, Surroundings, candidates};
use autoodoo::engine::{Engine, Exec, ExecOutput, LogQuery, Stream};
use autoodoo::failure::Result;
use autoodoo::name::ImageRef;
use autoodoo::observed::{Connected, Container, EngineKind, Health, RunState};
use autoodoo::stack::spec::{
    Attachment, Capability, ContainerSpec, Healthcheck, LogRotation, Mount, MountSource, NetworkSpec,
    PublishedPort, Restart, Role, Subnet, Tmpfs, VolumeSpec,
};
use futures_util::FutureExt;
use futures_util::future::join;
use sha2::{Digest, Sha256};

const ABSENT: &str = "localhost/autoodoo-test-absent:1";

async fn connect() -> DockerApi {
    let choice = std::env::var("AUTOODOO_TEST_ENGINE").expect("set AUTOODOO_TEST_ENGINE to docker or podman");
    let choice: EngineChoice = choice.parse().unwrap();
    DockerApi::connect(&candidates(&choice, &Surroundings::default()).unwrap()).await.unwrap()
}

/// An engine and the names of one test on it.
struct Bench {
    engine: DockerApi,
    kind: EngineKind,
    prefix: String,
    image: ImageRef,
}

impl Bench {
    fn name(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }

    /// A container that runs a shell script.
    fn spec(&self, what: &str, script: &str) -> ContainerSpec {
        ContainerSpec {
            name: self.name(what),
            role: Role::Helper,
            image: self.image.clone(),
            entrypoint: vec!["/bin/sh".into(), "-c".into()],
            command: vec![script.into()],
            env: BTreeMap::new(),
            user: None,
            labels: BTreeMap::from([("autoodoo.site".into(), "test".into())]),
            mounts: Vec::new(),
            attachment: Attachment::None,
            ports: Vec::new(),
            restart: Restart::No,
            // nginx's own is SIGQUIT.
            stop_signal: Some("SIGTERM".into()),
            stop_grace: 5,
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

    async fn running(&self, spec: &ContainerSpec) -> String {
        let id = self.engine.create(spec).await.unwrap();
        self.engine.start(&spec.name).await.unwrap();
        id
    }

    /// A container that does nothing for a long time.
    async fn sleeper(&self) -> String {
        self.running(&self.spec("sleeper", "exec sleep 1000")).await;
        self.name("sleeper")
    }

    async fn inspect(&self, container: &str) -> Container {
        self.engine.inspect(container).await.unwrap().expect("the container exists")
    }

    async fn sh(&self, container: &str, script: &str) -> ExecOutput {
        self.engine.exec(container, shell(script), &mut |_, _| {}).await.unwrap()
    }

    async fn volume(&self, what: &str) -> VolumeSpec {
        let labels = BTreeMap::from([("autoodoo.site".into(), "test".into())]);
        let spec = VolumeSpec { name: self.name(what), labels };
        self.engine.create_volume(&spec).await.unwrap();
        spec
    }

    /// `number` tells the networks of tests that run at the same time apart.
    async fn network(&self, what: &str, number: u8) -> NetworkSpec {
        let subnet = Subnet::around(Ipv4Addr::new(10, 230 + self.kind as u8, number, 0));
        let spec = NetworkSpec { name: self.name(what), labels: BTreeMap::new(), subnet };
        self.engine.create_network(&spec).await.unwrap();
        spec
    }

    async fn clean(&self) {
        // Several rounds, because containers depend on each other.
        for _ in 0..3 {
            for container in self.engine.containers().await.unwrap() {
                if container.name.starts_with(&self.prefix) {
                    let _ = self.engine.remove(&container.id).await;
                }
            }
        }
        for volume in self.engine.volumes().await.unwrap() {
            if volume.name.starts_with(&self.prefix) {
                self.engine.remove_volume(&volume.name).await.unwrap();
            }
        }
        for network in self.engine.networks().await.unwrap() {
            if network.name.starts_with(&self.prefix) {
                self.engine.remove_network(&network.name).await.unwrap();
            }
        }
        let left = self.engine.containers().await.unwrap();
        assert!(!left.iter().any(|container| container.name.starts_with(&self.prefix)), "{left:?}");
    }
}

fn shell(script: &str) -> Exec {
    Exec::new(["/bin/sh", "-c", script])
}

fn told<T>(result: Result<T>) -> String {
    result.err().expect("this must fail").message
}

/// Runs a test, and cleans up before and after it whatever happens.
fn on_engine(test: &str, body: impl AsyncFnOnce(&Bench)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = connect().await;
        let kind = engine.info().await.unwrap().kind;
        let image = std::env::var("AUTOODOO_TEST_IMAGE").unwrap_or("localhost/autoodoo/nginx:1.26".into());
        let image: ImageRef = image.parse().unwrap();
        let bench = Bench { engine, kind, prefix: format!("autoodoo-test-{test}-"), image };
        bench.clean().await;
        let outcome = AssertUnwindSafe(body(&bench)).catch_unwind().await;
        bench.clean().await;
        if let Err(panic) = outcome {
            resume_unwind(panic);
        }
    });
}

#[test]
fn the_engine_says_who_it_is() {
    on_engine("who", async |bench| {
        let info = bench.engine.info().await.unwrap();
        let wanted = std::env::var("AUTOODOO_TEST_ENGINE").unwrap();
        assert_eq!(info.kind.to_string().to_lowercase(), wanted);
        assert!(info.version.starts_with(|c: char| c.is_ascii_digit()), "{info:?}");
        assert!(info.endpoint.starts_with("unix:///"), "{info:?}");
    });
}

#[test]
fn images() {
    on_engine("images", async |bench| {
        let image = bench.engine.image(bench.image.as_str()).await.unwrap().expect("the test image is here");
        assert!(image.id.starts_with("sha256:") && image.id.len() == 71, "{image:?}");
        assert!(image.env.contains_key("PATH") && image.size > 1_000_000, "{image:?}");
        assert_eq!(bench.engine.image(&image.id).await.unwrap().map(|same| same.id), Some(image.id));
        assert_eq!(bench.engine.image(ABSENT).await.unwrap(), None);

        let spec = ContainerSpec { image: ABSENT.parse().unwrap(), ..bench.spec("a", "true") };
        let failure = told(bench.engine.create(&spec).await);
        assert!(failure.ends_with("the image is not on this machine"), "{failure}");

        let unreachable: ImageRef = "localhost:1/nothing:1".parse().unwrap();
        let failure = told(bench.engine.pull(&unreachable, &mut |_| {}).await);
        assert!(failure.ends_with("the registry cannot be reached"), "{failure}");
    });
}

/// A registry with one image of one layer, `small:1`. Returns its port.
fn registry() -> u16 {
    let layer = std::iter::repeat_n(0, 1024 * 1024).collect::<Vec<u8>>();
    let config = format!(
        r#"{{"architecture":"{}","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        digest(&layer),
    );
    let entry = |kind: &str, blob: &[u8]| {
        format!(
            r#"{{"mediaType":"application/vnd.docker.{kind}","size":{},"digest":"{}"}}"#,
            blob.len(),
            digest(blob)
        )
    };
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
        entry("container.image.v1+json", config.as_bytes()),
        entry("image.rootfs.diff.tar", &layer),
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let manifest = manifest.into_bytes();
    let blobs = [layer, config.into_bytes(), manifest.clone()].map(|blob| (digest(&blob), blob));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            answer(stream, &manifest, &blobs);
        }
    });
    port
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Answers one request and closes the connection.
fn answer(mut stream: TcpStream, manifest: &[u8], blobs: &[(String, Vec<u8>)]) {
    let mut request = [0; 8192];
    let length = stream.read(&mut request).unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let path = request.split(' ').nth(1).unwrap_or_default();
    let blob =
        blobs.iter().find(|(digest, _)| path.ends_with(digest.as_str())).map(|(_, blob)| blob.as_slice());
    let (status, body) = match (path, blob) {
        ("/v2/", _) => ("200 OK", &b"{}"[..]),
        (_, Some(blob)) => ("200 OK", blob),
        (path, _) if path.ends_with("/manifests/1") => ("200 OK", manifest),
        _ => (
            "404 Not Found",
            &br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#[..],
        ),
    };
    let kind = if body == manifest { MANIFEST } else { "application/json" };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nDocker-Content-Digest: {}\r\n\
         Connection: close\r\n\r\n",
        body.len(),
        digest(body),
    );
    if !request.starts_with("HEAD") {
        let _ = stream.write_all(body);
    }
}

#[test]
fn pulling() {
    on_engine("pull", async |bench| {
        let registry = format!("127.0.0.1:{}", registry());
        let image: ImageRef = format!("{registry}/small:1").parse().unwrap();
        let mut seen = Vec::new();
        let pulled = bench.engine.pull(&image, &mut |progress| seen.push(progress)).await;
        if bench.kind == EngineKind::Podman {
            // It wants TLS even from this machine, and says so within an answer that begins well.
            assert!(told(pulled).starts_with(&format!("cannot pull the image `{image}`")));
            return;
        }
        pulled.unwrap();
        let found = bench.engine.image(image.as_str()).await.unwrap().expect("was pulled");
        assert!(found.repo_digests[0].starts_with(&format!("{registry}/small@sha256:")), "{found:?}");
        let last = seen.last().expect("progress was told");
        assert_eq!((last.done_bytes, last.total_bytes), (1024 * 1024, 1024 * 1024));

        let by_digest: ImageRef = found.repo_digests[0].parse().unwrap();
        bench.engine.pull(&by_digest, &mut |_| {}).await.unwrap();
        let absent: ImageRef = format!("{registry}/small:2").parse().unwrap();
        let failure = told(bench.engine.pull(&absent, &mut |_| {}).await);
        assert!(failure.ends_with("the registry has no such image, or wants a login"), "{failure}");
        // The verbs have no removal of images.
        let removed = Command::new("docker").args(["rmi", "--force", &found.id]).output().unwrap();
        assert!(removed.status.success(), "{removed:?}");
    });
}

#[test]
fn a_containers_life() {
    on_engine("life", async |bench| {
        let name = bench.name("a");
        let id = bench
            .engine
            .create(&bench.spec("a", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.1; done"))
            .await;
        let id = id.unwrap();
        let created = bench.inspect(&name).await;
        assert_eq!((created.id.as_str(), created.name.as_str()), (id.as_str(), name.as_str()));
        assert_eq!((created.state, created.exit_code, created.started_at), (RunState::Created, None, None));

        for _ in 0..2 {
            bench.engine.start(&name).await.unwrap();
            assert_eq!(bench.inspect(&id).await.state, RunState::Running);
        }
        assert!(bench.inspect(&name).await.started_at.is_some());
        first_lines(bench, &name, 1).await;
        let listed = bench.engine.containers().await.unwrap();
        let listed = listed.into_iter().find(|container| container.name == name).unwrap();
        assert!(listed.running && listed.id == id && listed.labels["autoodoo.site"] == "test", "{listed:?}");

        for _ in 0..2 {
            bench.engine.stop(&name, 20).await.unwrap();
            let stopped = bench.inspect(&name).await;
            assert_eq!((stopped.state, stopped.exit_code), (RunState::Exited, Some(3)));
        }
        assert!(told(bench.engine.signal(&name, "SIGHUP").await).contains("the container is not running"));
        for _ in 0..2 {
            bench.engine.remove(&name).await.unwrap();
            assert_eq!(bench.engine.inspect(&name).await.unwrap(), None);
        }
        assert!(told(bench.engine.start(&name).await).contains("there is no such container"));
        assert!(told(bench.engine.stop(&name, 1).await).contains("there is no such container"));
    });
}

#[test]
fn stopping_kills_after_the_grace_and_removing_at_once() {
    on_engine("grace", async |bench| {
        let deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done";
        let spec = ContainerSpec { stop_grace: 60, ..bench.spec("a", deaf) };
        bench.running(&spec).await;
        first_lines(bench, &spec.name, 1).await;
        let begun = Instant::now();
        bench.engine.stop(&spec.name, 2).await.unwrap();
        let (took, stopped) = (begun.elapsed(), bench.inspect(&spec.name).await);
        assert!((Duration::from_secs(2)..Duration::from_secs(20)).contains(&took), "{took:?}");
        assert_eq!((stopped.state, stopped.exit_code), (RunState::Exited, Some(137)));

        bench.engine.start(&spec.name).await.unwrap();
        first_lines(bench, &spec.name, 2).await;
        let begun = Instant::now();
        bench.engine.remove(&spec.name).await.unwrap();
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    });
}

#[test]
fn signals_and_stop_signals() {
    on_engine("signals", async |bench| {
        let script = "trap 'echo hup' HUP; trap 'exit 4' USR1; echo ready; while :; do sleep 0.1; done";
        let spec = ContainerSpec { stop_signal: Some("SIGUSR1".into()), ..bench.spec("a", script) };
        bench.running(&spec).await;
        assert_eq!(first_lines(bench, &spec.name, 1).await, ["ready"]);
        bench.engine.signal(&spec.name, "SIGHUP").await.unwrap();
        assert_eq!(first_lines(bench, &spec.name, 2).await, ["ready", "hup"]);
        bench.engine.stop(&spec.name, 20).await.unwrap();
        assert_eq!(bench.inspect(&spec.name).await.exit_code, Some(4));
    });
}

#[test]
fn settings_arrive() {
    on_engine("settings", async |bench| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("seen"), "from the host").unwrap();
        let volume = bench.volume("v").await;
        let mounts = vec![
            Mount { source: MountSource::Volume(volume.name.clone()), target: "/v".into(), read_only: false },
            Mount { source: MountSource::Directory(dir.path().into()), target: "/d".into(), read_only: true },
        ];
        let spec = ContainerSpec {
            env: BTreeMap::from([("GREETING".into(), "a b=c".into())]),
            user: Some("7:8".into()),
            mounts: mounts.clone(),
            restart: Restart::UnlessStopped,
            shm_bytes: Some(128 << 20),
            ..bench.spec("a", "exec sleep 1000")
        };
        bench.running(&spec).await;
        let script = "cat /d/seen; touch /d/x 2>/dev/null || echo :read-only; id -u; id -g; echo $GREETING; \
                      df -k /dev/shm | tail -1 | awk '{print $2}'";
        let output = bench.sh(&spec.name, script).await;
        assert_eq!(output.stdout, "from the host:read-only\n7\n8\na b=c\n131072\n", "{}", output.stderr);

        let seen = bench.inspect(&spec.name).await;
        assert_eq!(seen.restart, Restart::UnlessStopped);
        assert_eq!(seen.connected, Connected::None);
        assert_eq!(seen.image, bench.image.as_str());
        assert_eq!(seen.image_id, bench.engine.image(bench.image.as_str()).await.unwrap().unwrap().id);
        for mount in mounts {
            let found = seen.mounts.iter().find(|found| found.target == mount.target).expect(&mount.target);
            assert_eq!((&found.source, found.read_only), (&mount.source, mount.read_only));
        }
    });
}

#[test]
fn volumes() {
    on_engine("volumes", async |bench| {
        let volume = bench.volume("v").await;
        bench.engine.create_volume(&volume).await.unwrap();
        let other = VolumeSpec { labels: BTreeMap::new(), ..volume.clone() };
        assert!(told(bench.engine.create_volume(&other).await).ends_with("the name is taken"));
        let listed = bench.engine.volumes().await.unwrap();
        assert!(listed.iter().any(|seen| seen.name == volume.name && seen.labels == volume.labels));

        let mount = |name: &str| Mount {
            source: MountSource::Volume(name.into()),
            target: "/etc/nginx".into(),
            read_only: false,
        };
        let with = |mount| ContainerSpec { mounts: vec![mount], ..bench.spec("a", "ls /etc/nginx") };
        let absent = bench.name("absent");
        let failure = told(bench.engine.create(&with(mount(&absent))).await);
        assert!(failure.ends_with(&format!("there is no volume `{absent}`")), "{failure}");
        assert!(!bench.engine.volumes().await.unwrap().iter().any(|volume| volume.name == absent));

        bench.running(&with(mount(&volume.name))).await;
        bench.engine.wait(&bench.name("a")).await.unwrap();
        let files = logs(bench, &bench.name("a"), LogQuery::default()).await;
        assert!(
            files.contains(&"nginx.conf".to_owned()),
            "an empty volume gets the image's files: {files:?}"
        );

        let failure = told(bench.engine.remove_volume(&volume.name).await);
        assert!(failure.ends_with("a container still uses it"), "{failure}");
        bench.engine.remove(&bench.name("a")).await.unwrap();
        bench.engine.remove_volume(&volume.name).await.unwrap();
        bench.engine.remove_volume(&volume.name).await.unwrap();
    });
}

#[test]
fn a_missing_directory_is_not_made() {
    on_engine("directory", async |bench| {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        let mount =
            Mount { source: MountSource::Directory(missing.clone()), target: "/d".into(), read_only: true };
        let spec = ContainerSpec { mounts: vec![mount], ..bench.spec("a", "true") };
        let failure = told(bench.engine.create(&spec).await);
        assert!(failure.ends_with(&format!("there is no directory `{}`", missing.display())), "{failure}");
        assert!(!missing.exists());
    });
}

#[test]
fn networks_and_addresses() {
    on_engine("networks", async |bench| {
        let network = bench.network("n", 1).await;
        assert!(told(bench.engine.create_network(&network).await).contains(": "));
        let listed = bench.engine.networks().await.unwrap();
        let listed: Vec<_> = listed.iter().filter(|seen| seen.name == network.name).collect();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(listed[0].subnets, [network.subnet.to_string()]);

        let at = |what: &str, address| ContainerSpec {
            attachment: Attachment::Network { name: network.name.clone(), address },
            ..bench.spec(what, "exec sleep 1000")
        };
        let fixed = network.subnet.host(10);
        let front = at("front", Some(fixed));
        let front_id = bench.running(&front).await;
        let expected = Connected::Networks(BTreeMap::from([(network.name.clone(), Some(fixed))]));
        assert_eq!(bench.inspect(&front.name).await.connected, expected);
        let addresses = "cat /proc/net/fib_trie";
        assert!(bench.sh(&front.name, addresses).await.stdout.contains(&fixed.to_string()));

        let failure = told(match bench.engine.create(&at("twin", Some(fixed))).await {
            Ok(id) => bench.engine.start(&id).await,
            Err(failure) => Err(failure),
        });
        assert!(failure.ends_with("its address is taken by another container"), "{failure}");

        let dynamic = at("dynamic", None);
        bench.running(&dynamic).await;
        let Connected::Networks(found) = bench.inspect(&dynamic.name).await.connected else { panic!() };
        let given = found[&network.name].expect("a running container has an address");
        assert!(given.octets()[3] >= 128, "{given}");

        let inside = ContainerSpec {
            attachment: Attachment::Container(front.name.clone()),
            ..bench.spec("inside", "exec sleep 1000")
        };
        bench.running(&inside).await;
        assert_eq!(bench.inspect(&inside.name).await.connected, Connected::Container(front_id));
        assert!(bench.sh(&inside.name, addresses).await.stdout.contains(&fixed.to_string()));

        let failure = told(bench.engine.remove_network(&network.name).await);
        assert!(failure.ends_with("containers are still connected to it"), "{failure}");
        for container in [&inside, &dynamic, &front] {
            bench.engine.remove(&container.name).await.unwrap();
        }
        let _ = bench.engine.remove(&bench.name("twin")).await;
        bench.engine.remove_network(&network.name).await.unwrap();
        bench.engine.remove_network(&network.name).await.unwrap();
    });
}

#[test]
fn a_fixed_address_outlives_a_stop() {
    on_engine("fixed", async |bench| {
        let network = bench.network("n", 2).await;
        let fixed = network.subnet.host(11);
        let spec = ContainerSpec {
            attachment: Attachment::Network { name: network.name.clone(), address: Some(fixed) },
            ..bench.spec("a", "exec sleep 1000")
        };
        bench.running(&spec).await;
        bench.engine.stop(&spec.name, 0).await.unwrap();
        bench.engine.start(&spec.name).await.unwrap();
        let expected = Connected::Networks(BTreeMap::from([(network.name.clone(), Some(fixed))]));
        assert_eq!(bench.inspect(&spec.name).await.connected, expected);
    });
}

#[test]
fn published_ports() {
    on_engine("ports", async |bench| {
        let network = bench.network("n", 3).await;
        // A free port, found by taking it and letting it go.
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = taken.local_addr().unwrap().port();
        let port = PublishedPort {
            host: IpAddr::from(Ipv4Addr::LOCALHOST),
            host_port: number.to_string().parse().unwrap(),
            container_port: "80".parse().unwrap(),
        };
        let spec = ContainerSpec {
            entrypoint: Vec::new(),
            command: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
            attachment: Attachment::Network { name: network.name.clone(), address: None },
            ports: vec![port],
            capabilities: vec![
                Capability::Chown,
                Capability::DacOverride,
                Capability::NetBindService,
                Capability::Setgid,
                Capability::Setuid,
            ],
            ..bench.spec("web", "")
        };
        bench.engine.create(&spec).await.unwrap();
        let failure = told(bench.engine.start(&spec.name).await);
        assert!(failure.ends_with(&format!("port {number} of this machine is taken")), "{failure}");
        drop(taken);

        bench.engine.start(&spec.name).await.unwrap();
        assert!(fetch(number).starts_with("HTTP/1.1 200"), "{}", fetch(number));
        assert_eq!(bench.inspect(&spec.name).await.ports, [port]);
        assert_eq!(host_ports(bench, &spec.name).await, [SocketAddr::new(port.host, number)]);
        bench.engine.stop(&spec.name, 10).await.unwrap();
        assert!(host_ports(bench, &spec.name).await.is_empty());
        assert_eq!(bench.inspect(&spec.name).await.ports, [port]);
    });
}

/// The kernel's own numbers, in version 1 or 2 of control groups.
const LIMITS: &str = "cd /sys/fs/cgroup; \
     cat memory/memory.limit_in_bytes memory.max 2>/dev/null; cat pids/pids.max pids.max 2>/dev/null";

#[test]
fn limits_and_rights() {
    on_engine("limits", async |bench| {
        let check = Healthcheck {
            script: "[ \"$(cat /run/health)\" = good ]".into(),
            interval: 1,
            timeout: 5,
            start_period: 0,
            retries: 1,
        };
        let spec = ContainerSpec {
            capabilities: vec![Capability::Chown],
            read_only_root: true,
            tmpfs: vec![Tmpfs { target: "/run".into(), size_bytes: 1 << 20 }],
            pids: 50,
            memory_bytes: Some(64 << 20),
            healthcheck: Some(check),
            ..bench.spec("limits", "exec sleep 1000")
        };
        bench.running(&spec).await;
        assert_eq!(bench.sh(&spec.name, LIMITS).await.stdout, "67108864\n50\n");
        let status = bench.sh(&spec.name, "cat /proc/1/status").await.stdout;
        assert!(status.contains("CapBnd:\t0000000000000001\n"), "{status}");
        assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
        let written = bench.sh(&spec.name, "touch /etc/x; head -c 2097152 /dev/zero >/run/x").await.stderr;
        assert!(written.contains("Read-only file system"), "{written}");
        assert!(written.contains("No space left on device"), "{written}");
        becomes(bench, &spec.name, Health::Unhealthy).await;
        bench.sh(&spec.name, "rm /run/x; echo good >/run/health").await;
        becomes(bench, &spec.name, Health::Healthy).await;
    });
}

/// Waits for a verdict. Podman has one made by systemd; without it, its client makes one.
async fn becomes(bench: &Bench, name: &str, health: Health) {
    for _ in 0..100 {
        if bench.inspect(name).await.health == Some(health) {
            return;
        }
        if bench.kind == EngineKind::Podman {
            // It says by its exit code what is asked here of the engine.
            let _ = Command::new("podman").args(["healthcheck", "run", name]).output();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{name} does not become {health:?}");
}

async fn host_ports(bench: &Bench, name: &str) -> Vec<SocketAddr> {
    let listed = bench.engine.containers().await.unwrap();
    listed.into_iter().find(|container| container.name == name).unwrap().host_ports
}

fn fetch(port: u16) -> String {
    for _ in 0..100 {
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
            let mut answer = String::new();
            write!(stream, "GET / HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
            if stream.read_to_string(&mut answer).is_ok() && !answer.is_empty() {
                return answer;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    String::new()
}

#[test]
fn a_taken_name_is_refused() {
    on_engine("conflict", async |bench| {
        let spec = bench.spec("a", "true");
        bench.engine.create(&spec).await.unwrap();
        let failure = told(bench.engine.create(&spec).await);
        assert!(failure.ends_with("the name is taken"), "{failure}");
    });
}

#[test]
fn exec_tells_streams_codes_users_and_environments_apart() {
    on_engine("exec", async |bench| {
        let name = bench.sleeper().await;
        let exec = shell("echo out $GREETING; echo err >&2; id -u; exit 9").user("7").env("GREETING", "hi");
        let output = bench.engine.exec(&name, exec, &mut |_, _| {}).await.unwrap();
        let expected = ExecOutput { exit_code: 9, stdout: "out hi\n7\n".into(), stderr: "err\n".into() };
        assert_eq!(output, expected);

        let absent = bench.engine.exec(&name, Exec::new(["/absent"]), &mut |_, _| {}).await;
        assert!(
            absent.is_err() || matches!(absent, Ok(ExecOutput { exit_code: 126 | 127, .. })),
            "{absent:?}"
        );
        bench.engine.stop(&name, 0).await.unwrap();
        let failure = told(bench.engine.exec(&name, shell("true"), &mut |_, _| {}).await);
        assert!(failure.contains("the container is not running"), "{failure}");
        assert!(
            told(bench.engine.exec(&bench.name("absent"), shell("true"), &mut |_, _| {}).await)
                .contains("there is no such container")
        );
    });
}

#[test]
fn exec_takes_much_input() {
    on_engine("input", async |bench| {
        let name = bench.sleeper().await;
        let megabytes = b"0123456789abcde\n".repeat(5 * 65536);
        let run = async |script: &str| {
            let exec = shell(script).stdin(megabytes.clone());
            tokio::time::timeout(Duration::from_mins(1), bench.engine.exec(&name, exec, &mut |_, _| {}))
                .await
                .expect("no deadlock")
                .unwrap()
        };
        assert_eq!(run("wc -c").await.stdout.trim(), megabytes.len().to_string());
        // Output as large as the input, at the same time; only its end is kept.
        let echoed = run("cat; echo end").await.stdout;
        assert_eq!(echoed.len(), 1024 * 1024);
        assert!(echoed.ends_with("0123456789abcde\nend\n"), "{}", &echoed[echoed.len() - 40..]);
        // A command that does not read.
        let output = run("exit 5").await;
        assert_eq!(output.exit_code, 5);
        let empty = bench.engine.exec(&name, shell("cat; echo end").stdin(""), &mut |_, _| {}).await.unwrap();
        assert_eq!(empty.stdout, "end\n");
    });
}

#[test]
fn exec_delivers_lines_as_they_come() {
    on_engine("lines", async |bench| {
        let name = bench.sleeper().await;
        let mut seen: Vec<(Stream, String, Instant)> = Vec::new();
        let script = "echo one; sleep 1; echo two >&2; sleep 1; printf three";
        let mut line = |stream, text: &str| seen.push((stream, text.to_owned(), Instant::now()));
        bench.engine.exec(&name, shell(script), &mut line).await.unwrap();
        let texts: Vec<_> = seen.iter().map(|(stream, text, _)| (*stream, text.as_str())).collect();
        assert_eq!(texts, [(Stream::Stdout, "one"), (Stream::Stderr, "two"), (Stream::Stdout, "three")]);
        for pair in seen.windows(2) {
            assert!(pair[1].2 - pair[0].2 > Duration::from_millis(500), "delivered late");
        }
    });
}

#[test]
fn requests_at_the_same_time() {
    on_engine("parallel", async |bench| {
        let name = bench.sleeper().await;
        let slow = bench.sh(&name, "sleep 2; echo done");
        let quick = async {
            let begun = Instant::now();
            for _ in 0..20 {
                bench.engine.containers().await.unwrap();
            }
            begun.elapsed()
        };
        let (slow, quick) = join(slow, quick).await;
        assert_eq!(slow.stdout, "done\n");
        assert!(quick < Duration::from_secs(2), "{quick:?}");
    });
}

async fn logs(bench: &Bench, container: &str, query: LogQuery) -> Vec<String> {
    let mut lines = Vec::new();
    bench.engine.logs(container, &query, &mut |_, line| lines.push(line.to_owned())).await.unwrap();
    lines
}

/// The log once it has so many lines, or whatever there is after 10 s.
async fn first_lines(bench: &Bench, container: &str, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        let lines = logs(bench, container, LogQuery::default()).await;
        if lines.len() >= count || begun.elapsed() > Duration::from_secs(10) {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn logs_can_be_cut() {
    on_engine("logs", async |bench| {
        let name = bench.name("a");
        bench.running(&bench.spec("a", "echo one; echo two >&2; sleep 2; echo three; echo four")).await;
        bench.engine.wait(&name).await.unwrap();
        let mut all = Vec::new();
        let query = LogQuery::default();
        bench
            .engine
            .logs(&name, &query, &mut |stream, line| all.push((stream, line.to_owned())))
            .await
            .unwrap();
        let of = |stream| {
            let lines = all.iter().filter(move |(of, _)| *of == stream);
            lines.map(|(_, line)| line.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(of(Stream::Stdout), ["one", "three", "four"]);
        assert_eq!(of(Stream::Stderr), ["two"]);

        assert_eq!(logs(bench, &name, LogQuery { tail: Some(2), ..query.clone() }).await, ["three", "four"]);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let since =
            |ago: u64| LogQuery { since: Some(i64::try_from(now - ago).unwrap()), ..LogQuery::default() };
        assert_eq!(logs(bench, &name, since(3600)).await.len(), 4);
        assert_eq!(
            logs(bench, &name, LogQuery { since: Some(i64::try_from(now).unwrap() + 60), ..query.clone() })
                .await
                .len(),
            0
        );
        let stamped = logs(bench, &name, LogQuery { timestamps: true, ..query }).await;
        assert!(
            stamped.iter().any(|line| line.starts_with("20") && line.ends_with("Z one")
                || line.starts_with("20") && line.ends_with("0 one")),
            "{stamped:?}"
        );
        assert!(
            told(bench.engine.logs("autoodoo-test-absent", &LogQuery::default(), &mut |_, _| {}).await)
                .contains("there is no such container")
        );
    });
}

#[test]
fn logs_can_be_followed() {
    on_engine("follow", async |bench| {
        let name = bench.name("a");
        bench.running(&bench.spec("a", "echo one; sleep 1; echo two; sleep 1; exit 3")).await;
        let mut times = Vec::new();
        let query = LogQuery { follow: true, ..LogQuery::default() };
        let mut line = |_, line: &str| times.push((line.to_owned(), Instant::now()));
        let followed = bench.engine.logs(&name, &query, &mut line);
        tokio::time::timeout(Duration::from_secs(20), followed)
            .await
            .expect("ends with the container")
            .unwrap();
        assert_eq!(times.iter().map(|(line, _)| line.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert!(times[1].1 - times[0].1 > Duration::from_millis(300), "delivered late");
    });
}

#[test]
fn waiting_for_the_end() {
    on_engine("wait", async |bench| {
        let spec = bench.spec("a", "sleep 1; exit 6");
        bench.running(&spec).await;
        assert_eq!(bench.engine.wait(&spec.name).await.unwrap(), 6);
        assert_eq!(bench.engine.wait(&spec.name).await.unwrap(), 6, "also when it has ended");
        let brief = bench.spec("brief", "exit 7");
        bench.running(&brief).await;
        assert_eq!(bench.engine.wait(&brief.name).await.unwrap(), 7);
        assert!(told(bench.engine.wait(&bench.name("absent")).await).contains("there is no such container"));
    });
}

#[test]
fn a_crash_is_followed_by_a_restart() {
    on_engine("crash", async |bench| {
        let spec = ContainerSpec { restart: Restart::UnlessStopped, ..bench.spec("a", "sleep 0.3; exit 1") };
        bench.running(&spec).await;
        let begun = Instant::now();
        while bench.inspect(&spec.name).await.restart_count < 2 {
            assert!(begun.elapsed() < Duration::from_secs(30), "not restarted");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench.engine.forbid_restart(&spec.name).await.unwrap();
        bench.engine.stop(&spec.name, 5).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let stopped = bench.inspect(&spec.name).await;
        assert_eq!(stopped.state, RunState::Exited);
        if bench.kind == EngineKind::Docker {
            assert_eq!(stopped.restart, Restart::No);
        }
    });
}

/// What the child process of [`attached`] is to do: `exec` or `run`, the container, `tty` or `-`,
/// and the script to exec.
const CHILD: &str = "AUTOODOO_TEST_CHILD";

#[test]
#[ignore = "other tests run it in a process of its own, whose standard streams it uses"]
fn child() {
    let task = std::env::var(CHILD).expect("is run by other tests only");
    let [verb, container, tty, script] = task.splitn(4, ' ').collect::<Vec<_>>()[..] else {
        panic!("{task}")
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let code = runtime.block_on(async {
        let engine = connect().await;
        match verb {
            "exec" => engine.exec_attached(container, shell(script), tty == "tty").await,
            _ => engine.run_attached(container, tty == "tty").await,
        }
    });
    drop(runtime);
    match code {
        Ok(code) => std::process::exit(i32::try_from(code).unwrap()),
        Err(failure) => panic!("{failure}"),
    }
}

/// The command that runs [`child`].
fn child_command() -> Vec<String> {
    let program = std::env::current_exe().unwrap().display().to_string();
    [&program, "--exact", "child", "--ignored", "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec()
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs [`child`] with this input, which ends when `end_input`, and fails if it takes too long.
fn attached(argv: &[String], task: &str, input: &[u8], end_input: bool) -> Ended {
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .env(CHILD, task)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeding = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
        (!end_input).then_some(stdin)
    });
    let process = child.id().to_string();
    let watchdog = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_mins(1));
        let _ = Command::new("kill").args(["-9", &process]).status();
    });
    let output = child.wait_with_output().unwrap();
    assert!(!watchdog.is_finished(), "{task} took too long");
    drop(feeding.join());
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ended { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn exec_attached_closes_the_input_and_passes_the_code_on() {
    on_engine("attached", async |bench| {
        let name = bench.sleeper().await;
        let task = format!("exec {name} - cat; echo after; echo wrong >&2; exit 7");
        let ended = attached(&child_command(), &task, b"select 1;\n", true);
        assert_eq!(ended.code, Some(7), "{}", ended.stderr);
        assert!(ended.stdout.contains("select 1;\nafter\n"), "{}", ended.stdout);
        assert!(ended.stderr.contains("wrong\n") && !ended.stdout.contains("wrong"));

        let megabytes = b"0123456789abcde\n".repeat(5 * 65536);
        let ended = attached(&child_command(), &format!("exec {name} - cat"), &megabytes, true);
        assert_eq!(ended.stdout.matches("0123456789abcde").count(), 5 * 65536);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);

        let ended = attached(&child_command(), &format!("exec {name} - exit 3"), b"", false);
        assert_eq!(ended.code, Some(3), "an open input must not keep us: {}", ended.stderr);
    });
}

#[test]
fn run_attached_starts_waits_and_passes_the_code_on() {
    on_engine("run", async |bench| {
        for (what, script, code) in [
            ("brief", "exit 5", 5),
            ("longer", "sleep 1; exit 5", 5),
            ("cat", "cat; echo wrong >&2; exit 6", 6),
        ] {
            for auto_remove in [false, true] {
                let spec = ContainerSpec { stdin: true, auto_remove, ..bench.spec(what, script) };
                bench.engine.create(&spec).await.unwrap();
                let ended = attached(&child_command(), &format!("run {} - ", spec.name), b"hello\n", true);
                assert_eq!(ended.code, Some(code), "{what} {auto_remove}: {}", ended.stderr);
                assert_eq!(ended.stdout.contains("hello\n"), what == "cat", "{}", ended.stdout);
                assert_eq!(ended.stderr.contains("wrong\n"), what == "cat", "{}", ended.stderr);
                bench.engine.remove(&spec.name).await.unwrap();
            }
        }
    });
}

/// [`child`] under a terminal of 33 lines and 77 columns that `script` provides.
fn under_terminal() -> Vec<String> {
    let run = child_command().join(" ");
    let check = format!("stty rows 33 cols 77; {run}; code=$?; stty -a | grep -o -- '-*icanon'; exit $code");
    ["script", "--quiet", "--return", "--command", &check, "/dev/null"].map(str::to_owned).to_vec()
}

#[test]
fn a_terminal_is_passed_on_and_put_right_again() {
    on_engine("tty", async |bench| {
        let name = bench.sleeper().await;
        let script = "test -t 0 && test -t 1 && echo terminal; sleep 1; stty size; \
                      stty -echo; echo ready; read answer; echo \"<$answer>\"; exit 4";
        let ended = attached(&under_terminal(), &format!("exec {name} tty {script}"), b"typed\r", false);
        assert!(ended.stdout.contains("terminal\r\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("33 77\r\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("<typed>\r\n"), "{}", ended.stdout);
        assert!(ended.stdout.contains("\nicanon"), "the terminal is no longer raw: {}", ended.stdout);
        assert_eq!(ended.code, Some(4), "{}", ended.stdout);

        let spec = ContainerSpec { stdin: true, tty: true, auto_remove: true, ..bench.spec("run", script) };
        bench.engine.create(&spec).await.unwrap();
        let ended = attached(&under_terminal(), &format!("run {} tty ", spec.name), b"typed\r", false);
        assert!(ended.stdout.contains("33 77\r\n") && ended.stdout.contains("<typed>"), "{}", ended.stdout);
        assert_eq!(ended.code, Some(4), "{}", ended.stdout);
    });
}
