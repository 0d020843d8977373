//! Days on which something runs out: connections, memory, disk time, patience.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::checks::change::keeps_its_word;
use crate::engine::Engine;
use crate::http::Browser;
use crate::load::{under_load, under_pace};
use crate::process::until;
use crate::site::Site;

/// Takes connections as Odoo until there are no more, says how many, and keeps them for a while.
const TAKE_ALL: &str = "
import configparser, psycopg2, sys, time
options = configparser.RawConfigParser(); options.read('/etc/odoo/odoo.conf'); options = options['options']
held = []
try:
    while True:
        held.append(psycopg2.connect(host=options['db_host'], user=options['db_user'],
                                     password=options['db_password'], dbname=sys.argv[1]))
except psycopg2.OperationalError as error:
    print(len(held), error, flush=True)
time.sleep(8)
";

/// When Odoo's role has every connection there is, an administrator still gets in, and the site is
/// back as soon as they are given back, without anybody's help.
pub fn no_connection_left(site: &Site) {
    let ids = || site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let (before, cron) = (ids(), site.container("cron"));
    let mut greedy = site.engine.start(&["exec", &cron, "python3", "-c", TAKE_ALL, &site.database]);
    let count = "select count(*) from pg_stat_activity where usename = 'odoo'";
    let limit: u64 = site
        .sql(
            "select current_setting('max_connections')::int - \
                               current_setting('superuser_reserved_connections')::int",
        )
        .parse()
        .expect("a number");
    until("all connections are taken", 30, || {
        assert!(!greedy.has_ended(), "it ended early");
        (site.sql(count).parse::<u64>().expect("a number") + 3 >= limit).then_some(())
    });
    assert_eq!(
        site.run(&["psql", "--superuser", "-X", "-t", "-A", "-c", "select 1"]).ends(0).out.trim(),
        "1"
    );
    let taken = greedy.finish().ends(0);
    assert!(taken.out.contains("connection slots") || taken.out.contains("too many"), "{taken}");
    let browser = Browser::new(site);
    until("the login page", 60, || (browser.get("/web/login").status == 200).then_some(()));
    assert!(browser.log_in("owner", &site.secret("admin-password")).is_some());
    assert_eq!(ids(), before);
}

/// Odoo does not know this level and ends at once.
const REFUSED: &str = "log_level: nonsense";

/// An option of the owner's that Odoo refuses to start with changes nothing for visitors.
pub fn refused_option(site: &Site) {
    let before = site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>();
    let (comment, option) =
        ("  # options: { limit_time_real: 3600 }\n", format!("  options: {{ {REFUSED} }}\n"));
    site.edit(comment, &option);
    under_load(site, || drop(site.run(&["up"]).ends(6).says("nonsense").says("still serves"))).lost_nothing();
    assert_eq!(site.five().iter().map(|name| site.id_of(name)).collect::<Vec<_>>(), before);
    site.edit(&option, "  options: { limit_time_real: 900 }\n");
    assert_eq!(keeps_its_word(site), Duration::ZERO);
    let conf = site.engine.call(&["exec", &site.odoo_container(), "cat", "/etc/odoo/odoo.conf"]);
    assert!(conf.contains("limit_time_real = 900\n") && conf.matches("limit_time_real =").count() == 1);
    site.edit("  options: { limit_time_real: 900 }\n", "  options: { db_name: other }\n");
    site.run(&["up"]).ends(2).says("db_name");
    site.edit("  options: { db_name: other }\n", comment);
    site.up();
}

/// On Docker alone, since it takes a while and nothing about it is the engine's.
fn heavy(site: &Site) -> bool {
    let docker = site.engine == Engine::Docker;
    if !docker {
        eprintln!("           on Docker only");
    }
    docker
}

const FILES: u32 = 100_000;
/// More than this would be a walk over all files.
const WALK: Duration = Duration::from_secs(3);

/// However many files there are, none is touched when a site comes up.
pub fn many_files(site: &Site) {
    if !heavy(site) {
        return;
    }
    let few = down_and_up(site);
    let place = format!("/var/lib/odoo/filestore/{}/e2e", site.database);
    let make = format!(
        "import os\nfor d in range(100):\n os.makedirs('{place}/%02d' % d)\n for f in range({FILES} // 100):\n  \
         open('{place}/%02d/%d' % (d, f), 'w').close()\n"
    );
    let cron = || site.container("cron");
    site.engine.call(&["exec", &cron(), "python3", "-c", &make]);
    site.engine.call(&["exec", &cron(), "touch", "/var/lib/odoo/e2e-now"]);
    let many = down_and_up(site);
    let changed = format!("find {place} -newercc /var/lib/odoo/e2e-now | wc -l");
    let changed = site.engine.call(&["exec", &cron(), "sh", "-c", &changed]);
    site.engine.call(&["exec", &cron(), "rm", "-r", &place, "/var/lib/odoo/e2e-now"]);
    eprintln!("           up after {few:?} with few files, after {many:?} with {FILES} more");
    assert_eq!(changed.trim(), "0", "files were changed");
    assert!(many < few + WALK, "up takes {many:?} with many files, {few:?} without");
}

fn down_and_up(site: &Site) -> Duration {
    site.run(&["down"]).ends(0);
    let begun = Instant::now();
    site.up();
    begun.elapsed()
}

const GIB: u64 = 1 << 30;

/// A file of 1 GB from somebody with a slow line: nobody else notices, and nothing is killed for it.
pub fn slow_upload(site: &Site) {
    if !heavy(site) {
        return;
    }
    site.edit("  upload_limit: 100M\n", "  upload_limit: 1500M\n");
    assert_eq!(keeps_its_word(site), Duration::ZERO);
    let browser = Browser::new(site);
    browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    // Odoo's own limit, as an administrator raises it: 128 MiB from release 17 on.
    let limit = json!(["web.max_file_upload_size", (2 * GIB).to_string()]);
    browser.model("ir.config_parameter", "set_param", &limit, &json!({}));
    let form = browser.get("/web/login?redirect=/").body + &browser.get("/odoo").body;
    let token = between(&form, "csrf_token: \"", "\"")
        .or_else(|| between(&form, "name=\"csrf_token\" value=\"", "\""));
    let token = format!("csrf_token={}", token.expect("a form's token"));
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(GIB).expect("room on the disk");
    let part = format!("ufile=@{};filename=e2e-large.bin", file.path().display());
    let partner = site.sql("select partner_id from res_users where login = 'owner'");
    let id = format!("id={partner}");
    let fields = ["--form", &token, "--form", "model=res.partner", "--form", &id, "--form", &part];
    let slow = ["--limit-rate", "50M", "--max-time", "300"];
    // One of Odoo's two workers has to do with the file for ten seconds or more.
    let seen = under_pace(site, 10, || {
        let page = browser.ask(&browser.url("/web/binary/upload_attachment"), &[&fields[..], &slow].concat());
        assert_eq!(page.status, 200, "{}", page.body);
        assert!(!page.body.contains("error"), "{}", page.body);
    });
    seen.lost_nothing();
    let bytes = "select max(file_size) from ir_attachment where name = 'e2e-large.bin'";
    assert_eq!(site.sql(bytes), GIB.to_string());
    for name in site.five() {
        let state = &site.engine.inspect("container", &name)["State"];
        assert_eq!((&state["Running"], &state["OOMKilled"]), (&json!(true), &json!(false)), "{name}");
    }
    site.sql("delete from ir_attachment where name = 'e2e-large.bin'");
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    Some(text.split_once(before)?.1.split_once(after)?.0.to_owned())
}
