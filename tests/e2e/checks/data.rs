//! What the first database holds, and who may do what in it.

use serde_json::json;

use crate::http::Browser;
use crate::site::Site;

pub fn first_database(site: &Site) {
    assert_eq!(site.sql("select count(*) from res_users where login = 'demo'"), "0");
    assert_eq!(site.sql("select count(*) from ir_module_module where demo"), "0");
    let people = "select count(*) from ir_model_data where model = 'res.partner' and name like '%demo%'";
    assert_eq!(site.sql(people), "0");
    let url = "select value from ir_config_parameter where key = 'web.base.url'";
    assert_eq!(site.sql(url), format!("https://{}:{}", site.domain, site.https));
    let databases =
        "select string_agg(datname, ',' order by datname) from pg_database where not datistemplate";
    let mut expected = [site.database.as_str(), "postgres"];
    expected.sort_unstable();
    assert_eq!(site.sql(databases), expected.join(","));
}

/// By ICU, for the site's language and country, and Odoo's index for searches can be made.
pub fn sorting(site: &Site) {
    let provider = "select datlocprovider from pg_database where datname = current_database()";
    assert_eq!(site.sql(provider), "i");
    assert_eq!(site.sql("show data_checksums"), "on");
    let sorted =
        "select string_agg(word, ' ' order by word) from (values ('f'), ('z'), ('é'), ('e')) as words (word)";
    assert_eq!(site.sql(sorted), "e é f z");
    assert_eq!(site.sql("select 'ÉCLAIR' ilike 'éclair', unaccent('É')"), "t|E");
    let index = "create temporary table people as select 'Élodie ' || n as name from generate_series(1, 9999) n; \
                 create index people_name on people using gin (unaccent(name) gin_trgm_ops); analyze people; \
                 explain (costs off) select from people where unaccent(name) ilike '%die 4711%'";
    assert!(site.sql(index).contains("Index Scan on people_name"), "{}", site.sql(index));
}

pub fn french(site: &Site) {
    let browser = Browser::new(site);
    let uid = browser.log_in("owner", &site.secret("admin-password")).expect("a login");
    let context = json!({"lang": "fr_FR"});
    let user = browser.model("res.users", "read", &json!([[uid], ["lang", "tz"]]), &context);
    assert_eq!((&user[0]["lang"], &user[0]["tz"]), (&json!("fr_FR"), &json!("Europe/Paris")));
    let fields = browser.model("res.partner", "fields_get", &json!([["name"], ["string"]]), &context);
    assert_eq!(fields["name"]["string"], "Nom");
    let company = "select c.code || ' ' || y.name from res_company o join res_partner p on p.id = o.partner_id \
                   join res_country c on c.id = p.country_id join res_currency y on y.id = o.currency_id";
    assert_eq!(site.sql(company), "FR EUR");
}

pub fn roles(site: &Site) {
    let powers = "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolcanlogin \
                  from pg_roles where rolname = 'odoo'";
    assert_eq!(site.sql(powers), "f|f|f|f|f|t");
    let owner = "select pg_get_userbyid(datdba) from pg_database where datname = current_database()";
    assert_eq!(site.sql(owner), "postgres");
    let extensions =
        "select string_agg(extname, ',' order by extname) from pg_extension where extname <> 'plpgsql'";
    assert_eq!(site.sql(extensions), "pg_trgm,unaccent");
    let verifier = "select rolpassword like 'SCRAM-SHA-256$%' from pg_authid where rolname = 'odoo'";
    assert_eq!(site.sql(verifier), "t");
    assert_eq!(site.sql("show listen_addresses"), "");
    assert_eq!(site.sql("select count(*) from pg_roles where rolsuper and rolname <> 'postgres'"), "0");
}

/// Odoo shares the socket's directory with the server; it must not be let in as the superuser,
/// nor without a password.
pub fn superuser_door(site: &Site) {
    let odoo = site.odoo_container();
    for (user, role, words) in [
        ("odoo", "postgres", "Peer authentication failed"),
        ("root", "postgres", "Peer authentication failed"),
        ("odoo", "odoo", "no password supplied"),
    ] {
        let code = format!(
            "import psycopg2; psycopg2.connect(host='/var/run/postgresql', user='{role}', dbname='postgres')"
        );
        let attempt = site.engine.attempt(&["exec", "--user", user, &odoo, "python3", "-c", &code]);
        attempt.ends(1).says(words);
    }
}
