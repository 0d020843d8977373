//! What nginx adds in front of Odoo, as a browser sees it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::checks::visit::assets;
use crate::http::{Browser, Page};
use crate::process::until;
use crate::site::Site;

/// In every release, and not compressible.
const PICTURE: &str = "/base/static/img/avatar_grey.png";
const ABSENT: &str = "/base/static/img/e2e-absent.png";

pub fn headers(site: &Site) {
    let browser = Browser::new(site);
    let page = browser.ask(&browser.url("/web/login"), &["--http2"]);
    assert_eq!((page.status, page.http.as_str()), (200, "2"));
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    // Odoo 14 itself says DENY on this page.
    assert!(["SAMEORIGIN", "DENY"].contains(&page.header("x-frame-options")), "other sites may frame it");
    assert_eq!(page.header("referrer-policy"), "strict-origin-when-cross-origin");
    assert!(page.header("server").ends_with("nginx"), "the version shows: {}", page.header("server"));
    // A browser that insists on https could not click the local authority's warning away.
    assert_eq!(page.all("strict-transport-security"), Vec::<&str>::new());
    let session = session_cookie(&page);
    for flag in ["secure", "httponly", "samesite=lax"] {
        assert!(session.to_lowercase().contains(flag), "no {flag}: {session}");
    }
    let old = browser.attempt(&browser.url("/web/login"), &["--tls-max", "1.1"]);
    assert!(!old.succeeded(), "TLS 1.1 is spoken");
    assert_eq!(browser.ask(&browser.url("/web/login"), &["--tls-max", "1.2"]).status, 200);
}

#[track_caller]
fn session_cookie(page: &Page) -> String {
    let cookies = page.all("set-cookie");
    let session = cookies.iter().find(|cookie| cookie.starts_with("session_id="));
    (*session.unwrap_or_else(|| panic!("no session in {cookies:?}"))).to_owned()
}

pub fn compressed(site: &Site) {
    let browser = Browser::new(site);
    let script = assets(&browser.get("/web/login").body).into_iter().find(|path| path.contains(".js"));
    let url = browser.url(&script.expect("a script"));
    let quiet = ["--header", "Accept-Encoding: gzip", "--output", "/dev/null"];
    assert_eq!(browser.ask(&url, &quiet).header("content-encoding"), "gzip");
    assert_eq!(browser.ask(&url, &["--output", "/dev/null"]).header("content-encoding"), "");
}

/// Two visitors who meet for the first time never get one session.
pub fn sessions_apart(site: &Site) {
    let paths = assets(&Browser::new(site).get("/web/login").body);
    let paths =
        paths.iter().map(String::as_str).chain([PICTURE, ABSENT, "/web/login", "/web/session/logout"]);
    for path in paths {
        let sessions: Vec<_> = (0..3).flat_map(|_| new_sessions(site, path)).collect();
        let different: BTreeSet<_> = sessions.iter().collect();
        assert_eq!(different.len(), sessions.len(), "{path}: {sessions:?}");
    }
}

fn new_sessions(site: &Site, path: &str) -> Vec<String> {
    let browser = Browser::new(site);
    let page = browser.ask(&browser.url(path), &["--output", "/dev/null"]);
    let cookies = page.all("set-cookie");
    cookies.into_iter().filter(|cookie| cookie.starts_with("session_id=")).map(str::to_owned).collect()
}

/// While Odoo is away by somebody's hand: a page for people, JSON for programs, and what is static is
/// still there; what was not found is not remembered as such.
pub fn odoo_away(site: &Site) {
    let browser = Browser::new(site);
    let styles = assets(&browser.get("/web/login").body);
    for path in styles.iter().map(String::as_str).chain([PICTURE, PICTURE]) {
        assert_eq!(status(&browser, path), 200, "{path}");
    }
    assert_eq!((status(&browser, ABSENT), status(&browser, ABSENT)), (404, 404));
    let odoo = site.odoo_container();
    site.engine.call(&["stop", "--time", "30", &odoo]);
    let seen = std::panic::catch_unwind(|| away(&Browser::new(site), &styles));
    site.engine.call(&["start", &odoo]);
    until("the login page", 120, || (status(&browser, "/web/login") == 200).then_some(()));
    seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

fn away(browser: &Browser<'_>, styles: &[String]) {
    for path in styles.iter().map(String::as_str).chain([PICTURE]) {
        assert_eq!(status(browser, path), 200, "{path} is not kept");
    }
    assert_ne!(status(browser, ABSENT), 404, "an absent file is remembered");
    let page = browser.ask(&browser.url("/web/login"), &["--header", "Accept: text/html"]);
    assert_eq!(page.status, 503);
    assert!(page.header("retry-after").parse::<u32>().is_ok(), "no Retry-After");
    assert!(page.header("content-type").starts_with("text/html"), "{}", page.header("content-type"));
    assert!(page.body.contains("<html") && !page.body.contains("nginx"), "{}", page.body);
    assert_eq!(page.header("cache-control"), "no-store");
    let program = ["--header", "Content-Type: application/json", "--data", "{}"];
    let answer = browser.ask(&browser.url("/jsonrpc"), &program);
    assert!((502..=503).contains(&answer.status), "{}", answer.status);
    serde_json::from_str::<Value>(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body));
}

fn status(browser: &Browser<'_>, path: &str) -> u16 {
    browser.ask(&browser.url(path), &["--output", "/dev/null"]).status
}

/// However it is spelt, the database manager is not there.
pub fn no_manager(site: &Site) {
    let browser = Browser::new(site);
    for path in [
        "/web/database",
        "/web/database/",
        "/web/database/manager",
        "/web/database/selector",
        "/web/database/create",
        "/web/database/drop",
        "/web/database/backup",
        "/web/database/restore",
        "/web/database/list",
        "/web/database/manager?x=1",
        "//web/database/manager",
        "/web//database//manager",
        "/web/./database/manager",
        "/web/x/../database/manager",
        "/base/static/../../web/database/manager",
        "/%77eb/database/manager",
        "/web/%64atabase/manager",
        "/web%2fdatabase%2fmanager",
        "/web/database%2Fmanager",
        "/WEB/Database/Manager",
        "/en/web/database/manager",
        "/fr_FR/web/database/manager",
    ] {
        for method in ["GET", "POST"] {
            let page = browser.ask(&browser.url(path), &["--path-as-is", "--request", method]);
            // In front of Odoo 14 two slashes are refused, whatever follows.
            let refused = page.status == 403 || (page.status == 400 && path.starts_with("//"));
            assert!(refused, "{method} {path}: {}", page.status);
            assert!(!page.body.contains("master_pwd"), "{path} shows the manager");
        }
    }
    // Spellings that lead nowhere.
    for path in ["/web/database;/manager", "/web/database%00/manager", "/web\\database\\manager"] {
        let page = browser.ask(&browser.url(path), &["--path-as-is"]);
        assert!((400..500).contains(&page.status), "{path}: {}", page.status);
        assert!(!page.body.contains("master_pwd"), "{path} shows the manager");
    }
    for method in ["list", "dump", "drop", "create_database", "change_admin_password"] {
        let params = json!({"service": "db", "method": method, "args": ["admin", site.database, "x"]});
        let answer = browser.call("/jsonrpc", &params);
        assert!(answer.get("error").is_some(), "db.{method} by RPC: {answer}");
    }
}

/// Each line is one JSON object that tells how long Odoo took, and no password that stood in a link.
pub fn access_log(site: &Site) {
    let browser = Browser::new(site);
    browser.get("/web/login?password=e2e-hidden-1&token=e2e-hidden-2");
    browser.get("/web/reset_password?token=e2e-hidden-3");
    let referer = ["--referer", &browser.url("/web/signup?token=e2e-hidden-4")];
    browser.ask(&browser.url("/web/login"), &referer);
    let form = ["--data", "login=owner&password=e2e-hidden-5"];
    browser.ask(&browser.url("/web/login"), &form);
    assert_eq!((status(&browser, PICTURE), status(&browser, PICTURE)), (200, 200));
    browser.get("/e2e/my/orders/7?access_token=e2e-hidden-6");
    // nginx keeps records for a second before it writes them.
    let log = until("the last record", 10, || {
        let log = site.run(&["logs", "nginx"]).ends(0);
        log.out.contains("/e2e/my/orders/7").then_some(log)
    });
    assert!(!log.text().contains("e2e-hidden"), "a secret of a link is told: {log}");
    let records = records(&log.out);
    let last =
        |path: &str| records.iter().rfind(|record| record["path"] == path).cloned().unwrap_or_default();
    // Workers of nginx write their records when they please: the order tells nothing.
    let posted = |record: &&Value| record["path"] == "/web/login" && record["method"] == "POST";
    let login = records.iter().rfind(posted).expect("the login that was posted");
    assert_eq!(login["host"], json!(site.domain), "{login}");
    let seconds: f64 = text(&login["odoo_seconds"]).parse().unwrap_or_else(|_| panic!("no time: {login}"));
    assert!(seconds > 0.0 && seconds < 60.0, "{login}");
    assert_eq!(text(&last("/e2e/my/orders/7")["status"]), "404");
    let cached =
        records.iter().filter(|record| record["path"] == PICTURE).any(|record| record["cache"] == "HIT");
    assert!(cached, "no static file came from the cache");
}

/// Those of requests; nginx's own messages begin with their date.
fn records(log: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.starts_with('{'));
    let records: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert!(records.len() > 5, "few records: {log}");
    records
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Asked from an address that is not the engine's own: several visitors may hide behind that one.
const FLOOD: &str = "
import collections, http.client, json, ssl, sys
host, address, wrong, calls, session = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection(host, 443, context=context, timeout=60)
def connect():
    import socket
    connection.sock = context.wrap_socket(socket.create_connection((address, 443), 60), server_hostname=host)
def ask(path, params, cookie=None):
    headers = {'Content-Type': 'application/json'}
    if cookie: headers['Cookie'] = 'session_id=' + cookie
    if connection.sock is None: connect()
    body = json.dumps({'jsonrpc': '2.0', 'method': 'call', 'id': 1, 'params': params})
    connection.request('POST', path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
statuses = collections.Counter()
for number in range(wrong):
    guess = {'db': 'none', 'login': 'owner', 'password': 'wrong %d' % number}
    statuses[ask('/web/session/authenticate', guess)[0]] += 1
print('login', json.dumps(statuses))
statuses = collections.Counter()
params = {'model': 'res.users', 'method': 'search_count', 'args': [[]], 'kwargs': {}}
for number in range(calls):
    status, body = ask('/web/dataset/call_kw/res.users/search_count', params, session)
    statuses[status if b'result' in body else 'error'] += 1
print('work', json.dumps(statuses))
";

/// A flood of wrong passwords ends in 429; the work of one who is in is never limited.
pub fn floods(site: &Site) {
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let front = site.engine.inspect("container", &site.container("front"));
    let network = site.container("net");
    let address = front["NetworkSettings"]["Networks"][&network]["IPAddress"].as_str().expect("an address");
    let odoo = crate::site::image("odoo", site.release);
    let name = site.container("flood");
    let args = ["run", "--rm", "--name", &name, "--network", &network, "--entrypoint", "python3", &odoo];
    let script = ["-c", FLOOD, &site.domain, address, "300", "200", &browser.session()];
    let flood = site.engine.call(&[&args[..], &script].concat());
    let counts = |word: &str| {
        let line = flood.lines().find_map(|line| line.strip_prefix(word)).expect("a line");
        serde_json::from_str::<Value>(line).expect("JSON")
    };
    let (login, work) = (counts("login "), counts("work "));
    assert!(login["429"].as_u64().is_some_and(|limited| limited >= 50), "{login}");
    assert!(login["200"].as_u64().is_some_and(|answered| answered >= 20), "an office is limited: {login}");
    assert_eq!(work, json!({"200": 200}), "work is limited");
    assert!(
        Browser::new(site).log_in("owner", &site.secret("admin-password")).is_some(),
        "others are limited"
    );
}
