//! Two databases behind three names: each is a whole Odoo for its visitors, and none shows the other.

use serde_json::json;

use crate::http::Browser;
use crate::process::until;
use crate::site::Site;

const SHOP: &str = "e2e_shop";

fn shop_names(site: &Site) -> [String; 2] {
    ["shop", "www.shop"].map(|word| format!("{word}.{}", site.domain))
}

/// A visitor of each name, with the database it leads to.
fn visitors(site: &Site) -> Vec<(Browser<'_>, String)> {
    let first = (site.domain.clone(), site.database.clone());
    let others = shop_names(site).map(|name| (name, SHOP.to_owned()));
    std::iter::once(first)
        .chain(others)
        .map(|(name, database)| (Browser::at(site, &name, &database), database))
        .collect()
}

/// The second database comes to a site that serves already, which goes on serving.
pub fn second(site: &Site) {
    let [name, further] = shop_names(site);
    site.add(&format!("databases:\n  - {{ name: {SHOP}, domain: {name}, aliases: [{further}] }}\n"));
    let told = super::change::keeps_its_word(site);
    assert!(told.is_zero(), "the plan announces an interruption of {told:?}");
    site.run(&["up", "--dry-run"]).ends(0).says("nothing to do");
}

pub fn logins(site: &Site) {
    let password = site.secret("admin-password");
    for (browser, database) in visitors(site) {
        assert_eq!(browser.get("/web/login").status, 200, "{database}");
        assert!(browser.log_in("owner", &password).is_some(), "{database} refuses its owner");
        let session = browser.call("/web/session/get_session_info", &json!({}));
        assert_eq!(session["result"]["db"], database.as_str());
    }
    let wrong = Browser::at(site, &site.domain, SHOP);
    assert_eq!(wrong.log_in("owner", &password), None, "one name leads to the other's database");
}

/// The anonymous page of a database with a website is that website, of one without the login.
pub fn websites(site: &Site) {
    site.run(&["odoo", "-d", SHOP, "-i", "website", "--stop-after-init"]).ends(0).says("Modules loaded");
    for (browser, database) in visitors(site) {
        let page = browser.ask(&browser.url("/"), &["--location"]);
        assert_eq!(page.status, 200, "{database}");
        let is_website = page.body.contains("data-website-id");
        assert_eq!(is_website, database == SHOP, "{database}: {}", page.body);
        assert_eq!(page.body.contains("name=\"password\""), database != SHOP, "{database}");
    }
    let anonymous = Browser::at(site, &shop_names(site)[1], SHOP);
    let contact = anonymous.get("/contactus");
    assert!(contact.status == 200 && contact.body.contains("data-website-id"), "{}", contact.status);
}

const DUE: &str = "update ir_cron set nextcall = now() at time zone 'utc' - interval '1 minute', lastcall = null \
                   where id = (select min(id) from ir_cron where active)";
const DONE: &str =
    "select lastcall is not null from ir_cron where id = (select min(id) from ir_cron where active)";

/// Odoo looks at its scheduled actions once a minute.
pub fn scheduled_actions(site: &Site) {
    let databases = [site.database.as_str(), SHOP];
    for database in databases {
        site.sql_in(database, DUE);
    }
    for database in databases {
        until("a scheduled action", 150, || (site.sql_in(database, DONE) == "t").then_some(()));
    }
}

/// Each tool works on the database that it is told; a wrong name is told with the nearest.
pub fn chosen(site: &Site) {
    let names = [site.database.as_str(), SHOP];
    for name in names {
        let psql = ["psql", "--database", name, "-X", "-t", "-A", "-c", "select current_database()"];
        assert_eq!(site.run(&psql).ends(0).out.trim(), name);
        let script = "print('on', env.cr.dbname)\n";
        site.run_with(&["shell", "--database", name], script).ends(0).says(&format!("on {name}"));
        let update = format!("--database={name}");
        let update = site.run(&["odoo", &update, "-u", "bus", "--stop-after-init"]).ends(0);
        update.says(&format!("{name} odoo.modules.loading: Modules loaded"));
    }
    for tool in ["psql", "shell"] {
        site.run(&[tool, "--database", "e2e_shpo"]).ends(2).says("did you mean `e2e_shop`?");
    }
}

/// Where people find each is said by `status` and at the end of `up`.
pub fn addresses(site: &Site) {
    let told = [site.run(&["up"]).ends(0).text(), site.run(&["status"]).ends(0).text()];
    for name in [&site.domain, &shop_names(site)[0]] {
        let url = format!("https://{name}:{}", site.https);
        for told in &told {
            assert!(told.contains(&url), "{url} is not in {told}");
        }
    }
    assert_eq!(site.status()["databases"][1]["name"], SHOP);
}

/// Files of each are its own, and the proxy finds both.
pub fn attachments(site: &Site) {
    let password = site.secret("admin-password");
    let mut visitors = visitors(site);
    visitors.truncate(2);
    for (browser, database) in &visitors {
        browser.log_in("owner", &password).expect("a login");
        let values =
            json!([{"name": "e2e.txt", "mimetype": "text/plain", "raw": format!("only in {database}")}]);
        let id = &browser.model("ir.attachment", "create", &json!([values]), &json!({}))[0];
        let page = browser.get(&format!("/web/content/{id}"));
        assert_eq!((page.status, page.body), (200, format!("only in {database}")));
    }
    for database in [&site.database, SHOP] {
        let files = format!("ls /var/lib/odoo/filestore/{database}");
        let odoo = site.container("cron");
        assert!(!site.engine.call(&["exec", &odoo, "sh", "-c", &files]).is_empty(), "{database}");
    }
}
