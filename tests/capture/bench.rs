//! A PostgreSQL in a container, and a volume as Odoo has one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use autoodoo::engine::docker_api::DockerApi;
use autoodoo::engine::endpoint::{EngineChoice, Surroundings, candidates};
use autoodoo::engine::{Engine, Exec};
use autoodoo::stack::spec::Capability::{Chown, DacOverride, Fowner, Setgid, Setuid};
use autoodoo::stack::spec::{Attachment, ContainerSpec, LogRotation, Restart, Role, VolumeSpec};

pub struct Bench {
    pub engine: DockerApi,
    pub container: String,
    /// The directory of Odoo's volume on this host.
    pub volume: PathBuf,
    prefix: String,
}

pub async fn connect() -> DockerApi {
    let choice = std::env::var("AUTOODOO_TEST_ENGINE").expect("set AUTOODOO_TEST_ENGINE to docker or podman");
    let choice: EngineChoice = choice.parse().unwrap();
    let candidates = candidates(&choice, &Surroundings::default()).unwrap();
    DockerApi::connect(&candidates).await.unwrap()
}

impl Bench {
    pub async fn start(image: &str) -> Bench {
        let tag = image.rsplit([':', '/']).next().unwrap();
        let prefix = format!("{}-{tag}-", std::env::var("AUTOODOO_TEST_PREFIX").unwrap_or("cap".into()));
        let container = format!("{prefix}postgres");
        let mut bench = Bench { engine: connect().await, container, volume: PathBuf::new(), prefix };
        bench.clean().await;
        let volume = VolumeSpec { name: format!("{}web", bench.prefix), labels: labels() };
        bench.engine.create_volume(&volume).await.unwrap();
        let volumes = bench.engine.volumes().await.unwrap();
        bench.volume = volumes.into_iter().find(|found| found.name == volume.name).unwrap().directory;
        bench.engine.create(&postgres(&bench.container, image)).await.unwrap();
        bench.engine.start(&bench.container).await.unwrap();
        bench.ready().await;
        bench
    }

    /// The server of an image's first start listens on the socket only for a while; process 1 is the
    /// last one.
    async fn ready(&self) {
        for _ in 0..600 {
            let script = "grep -qx postgres /proc/1/comm && psql -U postgres -c 'SELECT 1'";
            if self.sh(script).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("PostgreSQL does not start");
    }

    /// Runs a script in the container, as the server's user.
    pub async fn sh(&self, script: &str) -> Result<String, String> {
        let exec = Exec::new(["sh", "-c", script]).user("postgres");
        let output = self.engine.exec(&self.container, exec, &mut |_, _| {}).await.unwrap();
        if output.exit_code == 0 { Ok(output.stdout) } else { Err(output.stderr) }
    }

    pub async fn sql(&self, database: &str, sql: &str) -> String {
        let words = ["psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", database, "-f", "-"];
        let exec = Exec::new(words).user("postgres").stdin(sql);
        let output = self.engine.exec(&self.container, exec, &mut |_, _| {}).await.unwrap();
        assert_eq!(output.exit_code, 0, "{sql}: {}", output.stderr);
        output.stdout.trim().to_owned()
    }

    /// Processes of this name that work on this database, by their numbers on this host. They are looked
    /// for from here: a command in the container that ends beside another may be lost by Docker.
    pub fn processes(name: &str, database: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap() {
            let path = entry.unwrap().path();
            // What ends meanwhile is not there.
            let read = |file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
            let words = read("cmdline");
            if read("comm").trim() == name
                && words.split('\0').any(|word| word == format!("dbname={database}"))
            {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
        found
    }

    pub fn kill(name: &str, database: &str) {
        let processes = Bench::processes(name, database);
        assert!(!processes.is_empty(), "no {name} works on {database}");
        assert!(Command::new("kill").arg("-9").args(processes).status().unwrap().success());
    }

    /// Sessions of a backup.
    pub async fn sessions(&self) -> String {
        self.sql(
            "postgres",
            "SELECT string_agg(application_name, ' ') FROM pg_stat_activity WHERE application_name LIKE 'autoodoo:%'",
        )
        .await
    }

    pub async fn clean(&self) {
        let _ = self.engine.remove(&self.container).await;
        let volumes = self.engine.volumes().await.unwrap();
        for volume in volumes.iter().filter(|volume| volume.name.starts_with(&self.prefix)) {
            self.engine.remove_volume(&volume.name).await.unwrap();
        }
        assert!(self.engine.inspect(&self.container).await.unwrap().is_none());
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("autoodoo.site".into(), "cap".into())])
}

fn postgres(name: &str, image: &str) -> ContainerSpec {
    ContainerSpec {
        name: name.to_owned(),
        role: Role::Postgres,
        image: image.parse().unwrap(),
        entrypoint: Vec::new(),
        command: Vec::new(),
        env: BTreeMap::from([("POSTGRES_HOST_AUTH_METHOD".into(), "trust".into())]),
        user: None,
        labels: labels(),
        mounts: Vec::new(),
        attachment: Attachment::None,
        ports: Vec::new(),
        restart: Restart::No,
        stop_signal: None,
        stop_grace: 5,
        shm_bytes: None,
        capabilities: vec![Chown, DacOverride, Fowner, Setgid, Setuid],
        read_only_root: false,
        tmpfs: Vec::new(),
        pids: 200,
        memory_bytes: None,
        log: LogRotation { file_bytes: 1 << 20, files: 2 },
        healthcheck: None,
        selinux_level: None,
        stdin: false,
        tty: false,
        auto_remove: false,
    }
}
