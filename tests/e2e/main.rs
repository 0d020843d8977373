//! The real program against a real engine, real Odoo, PostgreSQL and nginx; each check asserts what
//! a user sees.
//!
//! `AUTOODOO_TEST_ENGINE` names the engine (`docker` or `podman`); a missing one fails the tests.
//! Bringing a site up takes most of the time, so the checks of one site share it and run in order.
//! Run with `--test-threads=1 --nocapture` to see each check with its duration;
//! `AUTOODOO_TEST_ONLY=word,word` runs only those checks whose name has one of the words (and those
//! that bring the site up).

#[path = "../support/backup_account.rs"]
mod backup_account;
#[path = "../support/certificate.rs"]
mod certificate;
mod certified;
#[path = "../support/challtestsrv.rs"]
mod challtestsrv;
mod checks;
#[path = "../support/daemon.rs"]
mod daemon;
mod elsewhere;
mod engine;
mod http;
mod kept;
mod load;
#[path = "../support/pebble.rs"]
mod pebble;
mod process;
#[path = "../support/proxy.rs"]
mod proxy;
#[path = "../support/s3_server.rs"]
mod s3_server;
mod sequence;
mod site;
#[path = "../support/sshd.rs"]
mod sshd;

use certified::Certified;
use checks::elsewhere::Away;
use checks::neighbours::Pair;
use checks::{
    attachments, backup, bad_days, by_hand, certificates, change, compose, data, databases, design,
    elsewhere as away, endings, mail, neighbours, no_certificate, proxy as front, strain, targets, tools,
    visit,
};
use sequence::{Check, run};
use site::{Recipe, Site};

#[test]
fn before_anything_is_made() {
    run(
        "bad days",
        &(),
        &[
            ("no engine", |()| bad_days::no_engine()),
            ("no permission on the socket", |()| bad_days::no_permission()),
            ("a wrong site file", |()| bad_days::wrong_site_file()),
            ("a port that is taken", |()| bad_days::taken_port()),
            ("an image that nobody has", |()| bad_days::absent_image()),
            ("a stranger's container and volume", |()| bad_days::strangers()),
        ],
    );
}

#[test]
fn odoo_19() {
    let site = Site::init(&Recipe::odoo_19());
    let checks: &[Check<Site>] = &[
        ("up: comes up, alone", endings::comes_up_alone),
        ("login page", visit::login_page),
        ("plain http and strangers' names", visit::other_doors),
        ("JSON-RPC login", visit::logs_in),
        ("websocket", visit::websocket),
        ("TLS by testssl.sh", visit::tls_audit),
        ("security headers", front::headers),
        ("compression", front::compressed),
        ("sessions apart", front::sessions_apart),
        ("Odoo away", front::odoo_away),
        ("no database manager", front::no_manager),
        ("attachments", attachments::downloads),
        ("uploaded scripts", attachments::no_script),
        ("access log", front::access_log),
        ("floods", front::floods),
        ("clean first database", data::first_database),
        ("sorting and checksums", data::sorting),
        ("language and country", data::french),
        ("roles in PostgreSQL", data::roles),
        ("the superuser's door", data::superuser_door),
        ("containers", design::containers),
        ("files", design::files),
        ("second up", change::nothing_to_do),
        ("status", tools::status),
        ("logs", tools::logs),
        ("logs -f", tools::follows_logs),
        ("psql", tools::psql),
        ("shell", tools::shell),
        ("odoo", tools::odoo),
        ("backup: two targets", backup::two_targets),
        ("backup: while people work", backup::while_people_work),
        ("backup: opened without autoodoo", backup::without_autoodoo),
        ("backup: a second one is small", backup::a_second_one_is_small),
        ("backup: damage on the disk", backup::damage),
        ("backup: beside Odoo's collector", backup::beside_the_collector),
        ("backup: killed", backup::killed),
        ("backup: two at once", backup::two_at_once),
        ("backup: a server that dies", backup::a_server_that_dies),
        ("backup: cold", backup::cold),
        ("backup: a target that went away", backup::a_target_that_went_away),
        ("backup: exported", backup::exported),
        ("more users", change::more_users),
        ("a slow request during a change", change::slow_request),
        ("a further name", change::alias),
        ("a release that does not start", change::bad_image),
        ("an option that Odoo refuses", strain::refused_option),
        ("a slow upload of 1 GB", strain::slow_upload),
        ("restart", tools::restart),
        ("containers removed by hand", by_hand::removed),
        ("containers altered by hand", by_hand::altered),
        ("a worker that is out of memory", by_hand::out_of_memory),
        ("two PostgreSQL on one volume", by_hand::second_postgres),
        ("started in reversed order", by_hand::reversed),
        ("no connection left", strain::no_connection_left),
        ("no secret told", design::no_secret_told),
        ("down keeps data", endings::down_keeps_data),
        ("100,000 files", strain::many_files),
        ("engine restart", by_hand::engine_restart),
        ("volumes lost", endings::lost_volume),
        ("down --volumes", endings::down_volumes),
    ];
    run("odoo 19", &site, checks);
}

#[test]
fn odoo_14() {
    let site = Site::init(&Recipe::odoo_14());
    let checks: &[Check<Site>] = &[
        ("up: comes up although it is killed", endings::comes_up_killed),
        ("login page", visit::login_page),
        ("plain http and strangers' names", visit::other_doors),
        ("JSON-RPC login", visit::logs_in),
        ("longpolling", visit::longpolling),
        ("security headers", front::headers),
        ("compression", front::compressed),
        ("sessions apart", front::sessions_apart),
        ("Odoo away", front::odoo_away),
        ("no database manager", front::no_manager),
        ("attachments", attachments::downloads),
        ("uploaded scripts", attachments::no_script),
        ("access log", front::access_log),
        ("floods", front::floods),
        ("clean first database", data::first_database),
        ("sorting and checksums", data::sorting),
        ("roles in PostgreSQL", data::roles),
        ("containers", design::containers),
        ("files", design::files),
        ("second up", change::nothing_to_do),
        ("odoo", tools::odoo),
        ("backup: two targets", backup::two_targets),
        ("backup: while people work", backup::while_people_work),
        ("backup: opened without autoodoo", backup::without_autoodoo),
        ("mail", mail::sends),
        ("the same stack by Compose", compose::login_page),
        ("memory lost", endings::lost_memory),
        ("a second directory with the name", endings::second_directory),
        ("down --volumes and a fresh site", endings::fresh_again),
    ];
    run("odoo 14", &site, checks);
}

#[test]
fn several() {
    let pair = Pair { first: Site::init(&Recipe::several()), second: Site::init(&Recipe::small()) };
    let checks: &[Check<Pair>] = &[
        ("up: the first database", |pair| drop(pair.first.up())),
        ("up: a second one", |pair| databases::second(&pair.first)),
        ("three names", |pair| databases::logins(&pair.first)),
        ("a database by its name", |pair| databases::chosen(&pair.first)),
        ("addresses", |pair| databases::addresses(&pair.first)),
        ("a website in one", |pair| databases::websites(&pair.first)),
        ("attachments of both", |pair| databases::attachments(&pair.first)),
        ("scheduled actions of both", |pair| databases::scheduled_actions(&pair.first)),
        ("mail", |pair| mail::sends(&pair.first)),
        ("backup: over ssh, to S3 and to a REST server", |pair| targets::on_servers(&pair.first)),
        ("up: a small site beside it", neighbours::small_beside),
        ("apart", neighbours::apart),
        ("more memory", neighbours::more_memory),
        ("a moved directory", neighbours::moved),
        ("one of them goes", neighbours::one_goes),
    ];
    run("several", &pair, checks);
}

#[test]
fn external_postgres() {
    let server = elsewhere::Elsewhere::begin();
    let direct = Away { site: Site::init(&Recipe::away()), server };
    let checks: &[Check<Away>] = &[
        ("up: a certificate of another CA", away::strange_certificate),
        ("up: a wrong password", away::wrong_password),
        ("up: no database", away::missing_database),
        ("up: a stranger's database", away::strangers_database),
        ("up: comes up although it is killed", away::comes_up_killed),
        ("login", |away| visit::logs_in(&away.site)),
        ("nothing of ours", away::nothing_of_ours),
        ("second up", away::second_up),
        ("encrypted", away::encrypted),
        ("a client certificate", away::client_certificate),
        ("no secret told", |away| design::no_secret_told(&away.site)),
        ("down leaves the data there", away::data_stays_there),
    ];
    run("tls", &direct, checks);
    let Away { server, site } = direct;
    drop(site);
    server.lets_in_by_password();
    let tunnelled = Away { site: Site::init(&Recipe::behind_ssh()), server };
    let checks: &[Check<Away>] = &[
        ("up: an unknown ssh server", away::unknown_ssh_server),
        ("up: an unknown key", away::unknown_key),
        ("up: older client programs", away::older_client),
        ("up: through the tunnel", away::through_the_tunnel),
        ("login", |away| visit::logs_in(&away.site)),
        ("the connection breaks", away::broken_tunnel),
        ("an ssh server that is not there", away::dead_ssh_port),
        ("another ssh server", away::another_ssh_server),
        ("without the tunnel and back", away::without_tunnel),
        ("restarts", away::restarts),
        ("no secret told", |away| design::no_secret_told(&away.site)),
    ];
    run("ssh", &tunnelled, checks);
}

#[test]
fn acme() {
    let certified = Certified::begin();
    let checks: &[Check<Certified>] = &[
        ("up: a certificate by ACME", certificates::comes_up),
        ("second up", |certified| change::nothing_to_do(&certified.site)),
        ("cert show", certificates::show),
        ("not due", certificates::not_due),
        ("issued under load", certificates::issue_under_load),
        ("a further name", certificates::further_name),
        ("kinds of key", certificates::kinds_of_key),
        ("TLS 1.3 alone", certificates::modern),
        ("a wildcard by DNS", certificates::wildcard),
        ("other modes and back", certificates::other_modes),
        ("port 80 closed", no_certificate::closed_port),
        ("a name without an address", no_certificate::no_address),
        ("a CA that is unwell", no_certificate::unwell_ca),
        ("an account that the CA forgot", no_certificate::forgotten_account),
        ("another's key", no_certificate::swapped_key),
        ("a full disk", no_certificate::full_disk),
        ("nginx.conf edited by hand", no_certificate::refused_configuration),
        ("expired", no_certificate::expired),
        ("a wrong clock", no_certificate::wrong_clock),
        ("two at once", no_certificate::two_at_once),
        ("killed", no_certificate::killed),
        ("no secret told", |certified| design::no_secret_told(&certified.site)),
    ];
    run("acme", &certified, checks);
}
