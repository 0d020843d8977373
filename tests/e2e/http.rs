//! Asking the site as its users do: by curl, which believes the site's own CA alone; and by a
//! websocket client that stops at the switch of protocols.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use autoodoo::host::probe::{Answer, Get, HttpProbe, Probe, TlsTrust};
use serde_json::{Value, json};

use crate::process::{Run, start};
use crate::site::Site;

/// A way to ask: who is asked for, and with which cookies.
pub struct Browser<'a> {
    site: &'a Site,
    domain: String,
    database: String,
    jar: tempfile::NamedTempFile,
}

pub struct Page {
    pub status: u16,
    pub body: String,
    /// Where a redirect leads to.
    pub location: String,
    /// curl's word for it: `1.1` or `2`.
    pub http: String,
    /// Names in lower case, each with its values.
    headers: Value,
}

impl Page {
    /// The values of a header, in the server's order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let values = self.headers[name].as_array();
        values.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// A header that has one value; empty without it.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} has several values: {values:?}");
        values.first().copied().unwrap_or_default()
    }
}

/// Ends a page's text; what follows is about it.
const MARK: &str = "\n--e2e--";

impl<'a> Browser<'a> {
    pub fn new(site: &'a Site) -> Browser<'a> {
        Browser::at(site, &site.domain, &site.database)
    }

    /// At another of the site's names, which leads to this database.
    pub fn at(site: &'a Site, domain: &str, database: &str) -> Browser<'a> {
        let jar = tempfile::NamedTempFile::new().expect("a cookie jar");
        Browser { site, domain: domain.to_owned(), database: database.to_owned(), jar }
    }

    pub fn url(&self, path: &str) -> String {
        format!("https://{}:{}{path}", self.domain, self.site.https)
    }

    /// However it ends: `args` go to curl.
    pub fn attempt(&self, url: &str, args: &[&str]) -> Run {
        self.attempt_with(url, args, "")
    }

    /// As [`Browser::attempt`], with `input` for curl to read.
    fn attempt_with(&self, url: &str, args: &[&str], input: &str) -> Run {
        let mut command = Command::new("curl");
        let jar = self.jar.path();
        command.args(["--silent", "--show-error", "--max-time", "60", "--noproxy", "*"]);
        command.arg("--cacert").arg(self.site.trusted());
        command.arg("--cookie").arg(jar).arg("--cookie-jar").arg(jar);
        let about = "%{http_code} %{redirect_url}\\n%{http_version}\\n%{header_json}";
        command.args(["--write-out", &format!("{MARK}{about}")]);
        // Whatever the name, it is at this address.
        for port in [self.site.http, self.site.https] {
            command.args(["--connect-to", &format!(":{port}:127.0.0.1:{port}")]);
        }
        command.args(args).arg(url);
        start(command, input).finish()
    }

    #[track_caller]
    pub fn ask(&self, url: &str, args: &[&str]) -> Page {
        self.ask_with(url, args, "")
    }

    #[track_caller]
    fn ask_with(&self, url: &str, args: &[&str], input: &str) -> Page {
        let asked = self.attempt_with(url, args, input).ends(0);
        let (body, about) = asked.out.rsplit_once(MARK).expect("curl's own mark");
        let mut about = about.splitn(3, '\n');
        let mut next = || about.next().expect("three lines").to_owned();
        let (first, http, headers) = (next(), next(), next());
        let (status, location) = first.split_once(' ').expect("two words");
        Page {
            status: status.parse().expect("a status"),
            body: body.to_owned(),
            location: location.to_owned(),
            http,
            headers: serde_json::from_str(&headers).expect("headers as JSON"),
        }
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Page {
        self.ask(&self.url(path), &[])
    }

    /// A JSON-RPC call; the whole answer.
    #[track_caller]
    pub fn call(&self, path: &str, params: &Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "method": "call", "id": 1, "params": params}).to_string();
        let json = ["--header", "Content-Type: application/json", "--data-binary", "@-"];
        let page = self.ask_with(&self.url(path), &json, &body);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        serde_json::from_str(&page.body).unwrap_or_else(|error| panic!("{error}: {}", page.body))
    }

    /// Logs in; `None` when it is refused.
    #[track_caller]
    pub fn log_in(&self, login: &str, password: &str) -> Option<u64> {
        let params = json!({"db": self.database, "login": login, "password": password});
        self.call("/web/session/authenticate", &params)["result"]["uid"].as_u64()
    }

    /// A model's method, once logged in.
    #[track_caller]
    pub fn model(&self, model: &str, method: &str, args: &Value, context: &Value) -> Value {
        let kwargs = json!({"context": context});
        let params = json!({"model": model, "method": method, "args": args, "kwargs": kwargs});
        let answer = self.call(&format!("/web/dataset/call_kw/{model}/{method}"), &params);
        assert!(answer.get("error").is_none(), "{model}.{method}: {answer}");
        answer["result"].clone()
    }

    /// The first session cookie of the jar (Netscape's format: the value is the seventh field).
    pub fn session(&self) -> String {
        let jar = std::fs::read_to_string(self.jar.path()).expect("a cookie jar");
        let line = jar.lines().find(|line| line.contains("session_id")).expect("a session cookie");
        line.split('\t').nth(6).expect("a value").to_owned()
    }

    /// Asks for a websocket and reads the answer's head.
    pub fn websocket(&self, path: &str) -> Answer {
        let origin = self.url("");
        let headers = [
            ("Origin", origin),
            ("Cookie", format!("session_id={}", self.session())),
            ("Connection", "Upgrade".to_owned()),
            ("Upgrade", "websocket".to_owned()),
            ("Sec-WebSocket-Version", "13".to_owned()),
            ("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==".to_owned()),
            ("User-Agent", "e2e".to_owned()),
        ];
        let get = Get {
            connect: SocketAddr::from((Ipv4Addr::LOCALHOST, self.site.https)),
            tls: Some(TlsTrust::Roots(self.site.roots())),
            host: format!("{}:{}", self.domain, self.site.https),
            path: path.to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            deadline: Duration::from_secs(30),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(HttpProbe.get(&get)).expect("an answer")
    }
}
