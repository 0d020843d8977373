//! `init`: what a new site should be, from flags, answers and the machine.

mod wizard;

use clap::Args;

use crate::failure::{Failure, Result};
use crate::name::{Country, DbName, Fqdn, ImageRef, Language, Login, Port, SiteName};
use crate::site::acme::{
    AcmeProfile, CertificateName, ChallengeKind, DirectoryUrl, ExternalAccountId, Resolver,
};
use crate::site::backup::{Backup, Place};
use crate::site::draft::{AcmeDraft, BackupDraft, Conflict, Draft, Given, TargetDraft};
use crate::site::key_kind::KeyKind;
use crate::site::release::Release;
use crate::site::value::{Address, FilePath, Flag, MailAddress, PostgresMajor, TlsMode, Users};
use crate::site::{Site, Tls, TlsProfile, locale};
use crate::ui::prompt::Prompter;

/// Every flag is the answer to a question or sets what the wizard does not ask.
#[derive(Debug, Clone, Default, Args)]
pub struct InitArgs {
    /// The site's name: the prefix of its volumes, networks and containers [default: the directory's]
    #[arg(long)]
    pub name: Option<SiteName>,
    /// The name that people type into the browser
    #[arg(long, value_name = "HOST")]
    pub domain: Option<Fqdn>,
    /// A further name that answers with the same site; may be given several times
    #[arg(long = "alias", value_name = "HOST")]
    pub aliases: Vec<Fqdn>,
    /// The database in PostgreSQL [default: the site's name]
    #[arg(long)]
    pub database: Option<DbName>,
    /// Odoo's image; its tag tells the release [default: docker.io/library/odoo:19.0]
    #[arg(long, value_name = "IMAGE")]
    pub odoo_image: Option<ImageRef>,
    /// Odoo's release, 14 to 19, where the image's tag does not tell it
    #[arg(long, value_name = "RELEASE")]
    pub odoo_release: Option<Release>,
    /// PostgreSQL's image; its tag tells the major version [default: one that fits the release]
    #[arg(long, value_name = "IMAGE")]
    pub postgres_image: Option<ImageRef>,
    /// PostgreSQL's major version, 10 to 18, where the image's tag does not tell it
    #[arg(long, value_name = "MAJOR")]
    pub postgres_major: Option<PostgresMajor>,
    /// The reverse proxy's image [default: docker.io/library/nginx:stable]
    #[arg(long, value_name = "IMAGE")]
    pub nginx_image: Option<ImageRef>,
    /// The port that redirects to https [default: 80]
    #[arg(long, value_name = "PORT")]
    pub http_port: Option<Port>,
    /// The port that serves Odoo [default: 443]
    #[arg(long, value_name = "PORT")]
    pub https_port: Option<Port>,
    /// The address of this host to publish on [default: 0.0.0.0]
    #[arg(long, value_name = "ADDRESS")]
    pub bind: Option<Address>,
    /// Where the certificate comes from: self-signed, acme (Let's Encrypt) or files [default: self-signed]
    #[arg(long, value_name = "MODE")]
    pub tls: Option<TlsMode>,
    /// With --tls files: the certificate and its chain, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_certificate: Option<FilePath>,
    /// With --tls files: the certificate's key, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<FilePath>,
    /// Which browsers are served: intermediate (TLS 1.2 and 1.3) or modern [default: intermediate]
    #[arg(long, value_name = "PROFILE")]
    pub tls_profile: Option<TlsProfile>,
    #[command(flatten)]
    pub acme: AcmeArgs,
    /// How many people work with Odoo at the same time of day [default: 5]
    #[arg(long, value_name = "COUNT")]
    pub users: Option<Users>,
    /// The first user's language, such as `fr_FR` [default: from LANG]
    #[arg(long, value_name = "CODE")]
    pub language: Option<Language>,
    /// The company's country in two letters, such as `FR` [default: from LANG]
    #[arg(long, value_name = "CODE")]
    pub country: Option<Country>,
    /// The login of the first user [default: owner]
    #[arg(long, value_name = "LOGIN")]
    pub admin_login: Option<Login>,
    /// Where backups go: an absolute path, or a URL such as sftp://user@host/path; may be given several times
    #[arg(long, value_name = "URL")]
    pub backup_to: Vec<Place>,
}

/// With --tls acme.
#[derive(Debug, Clone, Default, Args)]
pub struct AcmeArgs {
    /// With --tls acme: where the CA writes before a certificate ends
    #[arg(long = "acme-email", value_name = "ADDRESS")]
    pub email: Option<MailAddress>,
    /// With --tls acme: the CA's directory [default: letsencrypt]
    #[arg(long = "acme-directory", value_name = "URL")]
    pub directory: Option<DirectoryUrl>,
    /// With --tls acme: Let's Encrypt's staging CA, to try things out; browsers do not trust it
    #[arg(long, conflicts_with = "directory")]
    pub staging: bool,
    /// With --tls acme: you agree to the CA's terms of service
    #[arg(long = "acme-agree-tos")]
    pub agree_tos: bool,
    /// With --tls acme: what certifies the CA's own server, in PEM, where it is not a public one
    #[arg(long = "acme-ca", value_name = "FILE")]
    pub ca: Option<FilePath>,
    /// With --tls acme: http-01 or dns-01 [default: http-01]
    #[arg(long = "acme-challenge", value_name = "KIND")]
    pub challenge: Option<ChallengeKind>,
    /// With dns-01: the program that writes into the DNS
    #[arg(long = "acme-dns-hook", value_name = "FILE")]
    pub dns_hook: Option<FilePath>,
    /// With --tls acme: one of the CA's profiles, such as shortlived
    #[arg(long = "acme-profile", value_name = "NAME")]
    pub profile: Option<AcmeProfile>,
    /// With --tls acme: p256, p384, rsa2048, rsa3072 or rsa4096 [default: p256]
    #[arg(long = "acme-key-type", value_name = "KIND")]
    pub key_type: Option<KeyKind>,
    /// With --tls acme: the identifier of an account that the CA made; its key goes into secrets/acme-eab-key
    #[arg(long = "acme-eab-kid", value_name = "KID")]
    pub eab_kid: Option<ExternalAccountId>,
    /// With --tls acme: a name in the certificate, such as '*.example.com' [default: the site's names]
    #[arg(long = "acme-name", value_name = "NAME")]
    pub names: Vec<CertificateName>,
    /// With --tls acme: a DNS server to ask in place of the machine's own
    #[arg(long = "acme-resolver", value_name = "ADDRESS")]
    pub resolvers: Vec<Resolver>,
}

impl From<AcmeArgs> for AcmeDraft {
    fn from(args: AcmeArgs) -> Self {
        // A test holds the address against the type.
        let staging = || DirectoryUrl::LETS_ENCRYPT_STAGING.parse().expect("a directory");
        AcmeDraft {
            directory: args.directory.or_else(|| args.staging.then(staging)).into(),
            email: args.email.into(),
            agreed: args.agree_tos.then_some(Flag(true)).into(),
            root: args.ca.into(),
            challenge: args.challenge.into(),
            hook: args.dns_hook.into(),
            profile: args.profile.into(),
            key: args.key_type.into(),
            external_account: args.eab_kid.into(),
            names: args.names.into_iter().map(Given::Value).collect(),
            resolvers: args.resolvers.into_iter().map(Given::Value).collect(),
        }
    }
}

/// What defaults follow from.
#[derive(Debug, Clone, Default)]
pub struct Machine {
    /// The last part of the site directory's path.
    pub directory_name: Option<String>,
    /// The host's full name.
    pub fqdn: Option<String>,
    /// The value of LANG.
    pub lang: Option<String>,
    /// Processors that the site may use.
    pub cpus: u32,
}

/// Decides what the site should be. Asks for what no flag gave, unless `yes` or nobody is there.
///
/// # Errors
/// Values that do not fit together, by the same rules as those of the site file; a person who
/// leaves the wizard or does not agree to its summary. Nothing has been written then.
pub fn decide(args: &InitArgs, yes: bool, machine: &Machine, prompter: &dyn Prompter) -> Result<Site> {
    let defaults = Defaults::of(machine);
    let mut draft = said(args);
    if draft.name.is_absent() {
        draft.name = Given::Value(defaults.name.clone());
    }
    if !yes && prompter.is_interactive() {
        return wizard::run(draft, &defaults, prompter);
    }
    defaults.fill(&mut draft);
    draft.into_site().map_err(|conflicts| refusal(&conflicts))
}

fn said(args: &InitArgs) -> Draft {
    let args = args.clone();
    Draft {
        name: args.name.into(),
        domain: args.domain.into(),
        aliases: args.aliases.into_iter().map(Given::Value).collect(),
        database: args.database.into(),
        users: args.users.into(),
        odoo_image: args.odoo_image.into(),
        odoo_release: args.odoo_release.into(),
        admin_login: args.admin_login.into(),
        language: args.language.into(),
        country: args.country.into(),
        postgres_image: args.postgres_image.into(),
        postgres_major: args.postgres_major.into(),
        nginx_image: args.nginx_image.into(),
        address: args.bind.into(),
        http: args.http_port.into(),
        https: args.https_port.into(),
        tls_mode: args.tls.into(),
        tls_certificate: args.tls_certificate.into(),
        tls_key: args.tls_key.into(),
        tls_profile: args.tls_profile.into(),
        acme: args.acme.into(),
        backup: BackupDraft { to: args.backup_to.into_iter().map(to).collect(), ..BackupDraft::default() },
        ..Draft::default()
    }
}

/// A target of which the place alone was said.
fn to(place: Place) -> TargetDraft {
    TargetDraft { url: Given::Value(place), ..TargetDraft::default() }
}

/// All that does not fit, each with its flag.
fn refusal(conflicts: &[Conflict]) -> Failure {
    let line = |conflict: &Conflict| format!("{}: {}", conflict.field.flag(), conflict.message);
    match conflicts {
        [only] => Failure::usage(line(only)),
        several => Failure::usage(format!("the options have {} faults", several.len()))
            .evidence(several.iter().map(line)),
    }
    .hint("nothing was written")
}

/// What is taken where nobody says anything.
struct Defaults {
    name: SiteName,
    domain: Fqdn,
    language: Language,
    country: Option<Country>,
    /// People whom the machine's processors serve well at once.
    served: u32,
}

impl Defaults {
    fn of(machine: &Machine) -> Defaults {
        let (language, country) = locale::from_lang(machine.lang.as_deref().unwrap_or_default());
        Defaults {
            name: site_name(machine.directory_name.as_deref()),
            domain: domain(machine.fqdn.as_deref()),
            language,
            country,
            // Odoo's manual, "Deploying Odoo": workers = 2 × processors + 1, six people a worker.
            served: (2 * machine.cpus.max(1) + 1) * 6,
        }
    }

    fn fill(&self, draft: &mut Draft) {
        if draft.domain.is_absent() {
            draft.domain = Given::Value(self.domain.clone());
        }
        if draft.language.is_absent() {
            draft.language = Given::Value(self.language.clone());
        }
        if draft.country.is_absent() {
            draft.country = self.country.clone().into();
        }
    }
}

/// The directory's name, where that makes a site and its database; else `odoo`.
fn site_name(directory: Option<&str>) -> SiteName {
    let makes_database = |name: &SiteName| {
        let named = Draft { name: Given::Value(name.clone()), ..Draft::default() };
        named.database().is_some()
    };
    let own: Option<SiteName> = directory.and_then(|directory| directory.parse().ok());
    // `odoo` is a valid name; every test without a directory takes it.
    own.filter(makes_database).unwrap_or_else(|| "odoo".parse().expect("a valid name"))
}

/// The host's full name, where it has one; else a name that browsers take to this machine
/// (RFC 6761, section 6.3).
fn domain(fqdn: Option<&str>) -> Fqdn {
    let own = fqdn.map(|name| name.trim_end_matches('.')).filter(|name| {
        name.contains('.') && !name.ends_with(".localdomain") && !name.ends_with(".localhost")
    });
    // `odoo.localhost` is a valid host name; every test without a name takes it.
    own.and_then(|name| name.parse().ok()).unwrap_or_else(|| "odoo.localhost".parse().expect("a valid name"))
}

/// What the site will be, in a few aligned lines without a final line end.
#[must_use]
pub fn summary(site: &Site) -> String {
    let country =
        site.odoo.country.as_ref().map_or("no country".to_owned(), |code| format!("country {code}"));
    let addresses: Vec<String> =
        std::iter::once(site.url()).chain(site.aliases.iter().map(ToString::to_string)).collect();
    let certificate = match &site.tls {
        Tls::SelfSigned => "signed by a local CA of this site".to_owned(),
        Tls::Files { certificate, key } => format!("{} with {}", certificate.display(), key.display()),
        Tls::Acme(acme) => format!("from {} by ACME", acme.directory.host()),
    };
    let listen = &site.listen;
    let rows = [
        ("site", site.name.to_string()),
        ("address", addresses.join(", ")),
        ("published", format!("{}, ports {} and {}", listen.address, listen.http, listen.https)),
        ("certificate", certificate),
        ("Odoo", format!("{}, from {}", site.odoo.release, site.odoo.image)),
        ("PostgreSQL", format!("{}, from {}", site.postgres.major, site.postgres.image)),
        ("nginx", format!("from {}", site.nginx.image)),
        ("database", site.database.to_string()),
        ("users", format!("{} at the same time of day", site.users)),
        ("first user", format!("{}, {}, {country}", site.odoo.admin_login, site.odoo.language)),
        ("backups", backups(&site.backup)),
    ];
    let lines: Vec<String> = rows.into_iter().map(|(name, value)| format!("  {name:<12} {value}")).collect();
    lines.join("\n")
}

fn backups(backup: &Backup) -> String {
    let places: Vec<String> = backup.targets.iter().map(|target| target.place.to_string()).collect();
    if places.is_empty() {
        "NONE: nothing is backed up yet; name a place under `backup:` in autoodoo.yaml".to_owned()
    } else {
        format!("to {}", places.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::failure::Kind;
    use crate::site::parse;
    use crate::ui::prompt::Answer::{self, Default, Leave, No, Say, Yes};
    use crate::ui::prompt::Scripted;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        init: InitArgs,
    }

    fn args(line: &str) -> InitArgs {
        CommandLine::try_parse_from(format!("init {line}").split_whitespace()).unwrap().init
    }

    fn machine() -> Machine {
        Machine {
            directory_name: Some("acme-2".to_owned()),
            fqdn: Some("erp.example.com.".to_owned()),
            lang: Some("fr_BE.UTF-8".to_owned()),
            cpus: 4,
        }
    }

    /// Decides with `--yes`; a question would fail.
    fn yes(line: &str) -> Result<Site> {
        decide(&args(line), true, &machine(), &Scripted::new([]))
    }

    fn wizard(line: &str, answers: impl IntoIterator<Item = Answer>) -> (Result<Site>, Scripted) {
        let script = Scripted::new(answers);
        let site = decide(&args(line), false, &machine(), &script);
        (site, script)
    }

    const QUESTIONS: [&str; 10] = [
        "Domain",
        "Database",
        "Odoo release",
        "PostgreSQL",
        "Certificate",
        "Users",
        "Language",
        "Country",
        "Backup to",
        "Write this site?",
    ];

    #[test]
    fn yes_takes_every_default_from_the_machine() {
        insta::assert_snapshot!(summary(&yes("").unwrap()), @r#"
        site         acme-2
        address      https://erp.example.com
        published    0.0.0.0, ports 80 and 443
        certificate  signed by a local CA of this site
        Odoo         19, from docker.io/library/odoo:19.0
        PostgreSQL   17, from docker.io/library/postgres:17
        nginx        from docker.io/library/nginx:stable
        database     acme_2
        users        5 at the same time of day
        first user   owner, fr_BE, country BE
        backups      NONE: nothing is backed up yet; name a place under `backup:` in autoodoo.yaml
        "#);
    }

    #[test]
    fn a_bare_machine_has_defaults_too() {
        let bare = decide(&InitArgs::default(), true, &Machine::default(), &Scripted::new([])).unwrap();
        assert_eq!(bare.name.as_str(), "odoo");
        assert_eq!(bare.domain.as_str(), "odoo.localhost");
        assert_eq!((bare.odoo.language.as_str(), bare.odoo.country), ("en_US", None));
    }

    #[test]
    fn names_of_the_machine_that_will_not_do_are_left() {
        for directory in ["Acme", "2026", "postgres", "a", "x--init", "", "a b"] {
            assert_eq!(site_name(Some(directory)).as_str(), "odoo", "{directory}");
        }
        for fqdn in ["server", "localhost.localdomain", "a.localhost", "10.0.0.1", "a_b.example"] {
            assert_eq!(domain(Some(fqdn)).as_str(), "odoo.localhost", "{fqdn}");
        }
    }

    #[test]
    fn without_a_terminal_nothing_is_asked() {
        let script = Scripted::absent();
        let site = decide(&args("--users 7"), false, &machine(), &script).unwrap();
        assert_eq!(site, yes("--users 7").unwrap());
        assert!(script.heard().is_empty());
    }

    #[test]
    fn all_flags_leave_only_the_summary_to_agree_to() {
        let line = "--name acme --domain a.example.com --alias b.example.com --alias c.example.com --database main \
                    --odoo-image acme/odoo:latest --odoo-release 16 --postgres-image acme/pg --postgres-major 14 \
                    --nginx-image acme/nginx:1 --http-port 8080 --https-port 8443 --bind :: --tls files \
                    --tls-certificate a.pem --tls-key a.key --users 40 --language de_DE --country at --admin-login jo \
                    --backup-to /srv/b --backup-to sftp://b@h/x";
        let (site, script) = wizard(line, [Yes]);
        assert_eq!(script.heard(), ["Write this site?"]);
        let site = site.unwrap();
        assert_eq!(site, yes(line).unwrap());
        insta::assert_snapshot!(summary(&site), @r#"
        site         acme
        address      https://a.example.com:8443, b.example.com, c.example.com
        published    ::, ports 8080 and 8443
        certificate  a.pem with a.key
        Odoo         16, from acme/odoo:latest
        PostgreSQL   14, from acme/pg
        nginx        from acme/nginx:1
        database     main
        users        40 at the same time of day
        first user   jo, de_DE, country AT
        backups      to /srv/b, sftp://b@h/x
        "#);
        assert_eq!(parse::site(crate::render::site_file::site_file(&site)).unwrap(), site);
    }

    #[test]
    fn return_at_every_question_is_the_same_as_yes() {
        let (site, script) = wizard("", [const { Default }; 10]);
        assert_eq!(script.heard(), QUESTIONS);
        assert_eq!(site.unwrap(), yes("").unwrap());
    }

    #[test]
    fn every_question_answered() {
        let answers = [
            Say("Odoo.Example.com"),
            Say("main"),
            Say("Odoo 16"),
            Say("PostgreSQL 15"),
            Say("own files"),
            Say("certs/a.pem"),
            Say("certs/a.key"),
            Say("25"),
            Say("de_DE"),
            Say("none"),
            Say("/srv/backup"),
            Say("s3://s3.example.com/acme-backup"),
            Yes,
        ];
        let (site, script) = wizard("", answers);
        assert!(script.heard().len() <= 13);
        insta::assert_snapshot!(summary(&site.unwrap()), @r#"
        site         acme-2
        address      https://odoo.example.com
        published    0.0.0.0, ports 80 and 443
        certificate  certs/a.pem with certs/a.key
        Odoo         16, from docker.io/library/odoo:16.0
        PostgreSQL   15, from docker.io/library/postgres:15
        nginx        from docker.io/library/nginx:stable
        database     main
        users        25 at the same time of day
        first user   owner, de_DE, no country
        backups      to /srv/backup, s3://s3.example.com/acme-backup
        "#);
    }

    #[test]
    fn only_what_no_flag_gave_is_asked() {
        let asked = |line: &str| wizard(line, [const { Default }; 10]).1.heard();
        let without = |gone: &[&str]| -> Vec<String> {
            QUESTIONS.iter().filter(|q| !gone.contains(q)).map(ToString::to_string).collect()
        };
        assert_eq!(asked("--odoo-release 17"), without(&["Odoo release"]));
        assert_eq!(asked("--odoo-image odoo:17"), without(&["Odoo release"]));
        assert_eq!(asked("--odoo-image acme/odoo:latest"), QUESTIONS);
        assert_eq!(asked("--postgres-image postgres:16-alpine"), without(&["PostgreSQL"]));
        assert_eq!(asked("--tls self-signed --users 3"), without(&["Certificate", "Users"]));
    }

    #[test]
    fn an_own_image_keeps_its_name_when_its_release_is_asked() {
        let (site, _) = wizard(
            "--odoo-image acme/odoo:latest",
            [Default, Default, Say("Odoo 15")].into_iter().chain([const { Default }; 7]),
        );
        let site = site.unwrap();
        assert_eq!((site.odoo.image.as_str(), site.odoo.release.number()), ("acme/odoo:latest", 15));
        assert_eq!(site.postgres.image.as_str(), "docker.io/library/postgres:15");
    }

    #[test]
    fn wrong_answers_are_asked_again_until_one_fits() {
        let answers = [
            Say("https://a.b"),
            Say("www.example.com"),
            Say("a.example.com"),
            Say("postgres"),
            Say("a b"),
            Default,
            Say("Odoo 13"),
            Say("Odoo 14"),
            Say("PostgreSQL 17"),
            Default,
            Default,
            Say("0"),
            Say("many"),
            Say("3"),
            Say("fr"),
            Say("ms_MY"),
            Say("fr_FR"),
            Say("France"),
            Say("zz"),
            Say("FR"),
            Say("srv/backup"),
            Say("stfp://b@h/x"),
            Say("sftp://b:hunter2@h/x"),
            Say("/srv/backup"),
            Say("/srv/backup/"),
            Default,
            Yes,
        ];
        let (site, script) = wizard("--alias www.example.com", answers);
        assert_eq!(site.unwrap().odoo.country.unwrap().as_str(), "FR");
        assert_eq!(script.left_over(), 0);
        insta::assert_snapshot!(script.heard().join("\n"), @r#"
        Domain
        ! expected a bare host name such as `odoo.example.com`, without https:// or a path
        ! `www.example.com` is both the domain and an alias
        Database
        ! `postgres` belongs to PostgreSQL itself; choose another name
        ! expected 2 to 57 letters, digits, `_`, `.` or `-`, starting with a letter or digit, such as `acme`
        Odoo release
        ! no item `Odoo 13`
        PostgreSQL
        ! no item `PostgreSQL 17`
        Certificate
        Users
        ! expected a whole number from 1 to 100000
        ! expected a whole number from 1 to 100000
        Language
        ! Odoo 14 has no language `fr`; did you mean `fr_FR`?
        ! Odoo 14 has no language `ms_MY`
        Country
        ! expected a two-letter country code such as `FR`
        ! there is no country `ZZ` in ISO 3166-1
        Backup to
        ! expected a place for backups: an absolute path such as `/srv/backup`, or a URL such as `sftp://user@backup.example.com/odoo`, `s3://s3.example.com/bucket` or `rest:https://backup.example.com/odoo`
        ! there is no kind of place `stfp`; did you mean `sftp`?
        ! a password does not belong in a URL; ssh logs in with a key, which `autoodoo backup setup` makes
        Second place
        ! `/srv/backup` is given twice
        Write this site?
        "#);
    }

    #[test]
    fn releases_that_do_not_fit_the_flags_are_not_offered() {
        let (_, script) = wizard("--postgres-image postgres:12", [Default, Default, Say("Odoo 19")]);
        assert!(script.heard().contains(&"! no item `Odoo 19`".to_owned()));
    }

    #[test]
    fn flags_that_do_not_fit_are_told_before_the_first_question_and_with_yes_alike() {
        for line in [
            "--odoo-image odoo:13",
            "--odoo-image odoo:18 --odoo-release 17",
            "--odoo-image odoo:19 --postgres-image postgres:12",
            "--http-port 443",
            "--domain a.b --alias a.b",
            "--alias a.b --alias a.b",
            "--tls self-signed --tls-key a.key",
            "--tls acme --acme-challenge dns-01",
            "--language xx_YY --odoo-release 19",
            "--country zz",
            "--backup-to /srv/b --backup-to /mnt/b",
        ] {
            let (site, script) = wizard(line, []);
            let (asked, unasked) = (site.unwrap_err(), yes(line).unwrap_err());
            assert_eq!((asked.kind, asked.message), (Kind::Usage, unasked.message), "{line}");
            assert!(script.heard().is_empty(), "{line}");
        }
    }

    #[test]
    fn refusals_name_the_flags() {
        let told = |line: &str| {
            let failure = yes(line).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            [vec![failure.message], failure.evidence].concat().join("\n  ")
        };
        let lines = [
            "--tls files --acme-email a@b.example",
            "--tls acme --acme-dns-hook hook --tls-key a.key",
            "--tls files --tls-key a.key",
            "--odoo-image acme/odoo:latest",
            "--name postgres",
            "--odoo-release 19 --postgres-major 12",
            "--tls-certificate a.pem --https-port 80 --country zz",
            "--backup-to /srv/b --backup-to /mnt/b",
        ];
        insta::assert_snapshot!(lines.map(told).join("\n"), @r#"
        --acme-email: used only with the TLS mode `acme`
        the options have 2 faults
          --tls-key: used only with the TLS mode `files`
          --acme-dns-hook: used only with `dns-01`
        --tls-certificate: required by the key
        --odoo-release: required, as the tag of `acme/odoo:latest` does not tell it
        --database: required, as the site's name makes none: `postgres` belongs to PostgreSQL itself; choose another name
        --postgres-major: PostgreSQL 12 is older than Odoo 19 supports; use 13 or newer
        the options have 3 faults
          --country: there is no country `ZZ` in ISO 3166-1
          --https-port: port 80 is already the port for http
          --tls-certificate: used only with the TLS mode `files`
        --backup-to: required, as `b`, which follows from the place, is the name of /srv/b already
        "#);
    }

    #[test]
    fn leaving_and_refusing_write_nothing() {
        let (site, _) = wizard("", [Default, Leave]);
        assert!(site.unwrap_err().message.contains("nothing was written"));
        let answers = [const { Default }; 9].into_iter().chain([No]);
        let (site, _) = wizard("", answers);
        assert!(site.unwrap_err().message.contains("nothing was written"));
    }

    #[test]
    fn a_malformed_flag_is_a_usage_error_that_says_what_was_expected() {
        let error = CommandLine::try_parse_from(["init", "--name", "Acme"]).err().unwrap();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("expected 1 to 32 lowercase letters"));
    }
}
