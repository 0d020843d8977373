//! Making the first database: under a name of its own, named at the end.

use std::fmt::Write;

use super::{Bench, sql};
use crate::engine::{Engine, Exec, ExecOutput};
use crate::event::{Event, Unit};
use crate::failure::{Failure, Result};
use crate::host::probe::Probe;
use crate::name::{DbName, Language};
use crate::plan::FirstUser;
use crate::render::odoo_conf::DATABASE_ROLE;
use crate::site::release::Release;
use crate::stack::collation::Collation;
use crate::stack::names;

const FILESTORE: &str = "/var/lib/odoo/filestore";
/// Printed by the script below when it came to its end.
const FIRST_USER_SET: &str = "autoodoo: the first user is set";
/// Evidence lines of a failed Odoo command.
const TAIL: usize = 25;

impl<E: Engine, P: Probe> Bench<'_, E, P> {
    pub(super) async fn create_database(
        &self,
        container: &str,
        name: &str,
        becomes: &DbName,
        collation: &Collation,
    ) -> Result<()> {
        let sql = sql::refuse_strangers_database(becomes.as_str())
            + &sql::create_database(name, DATABASE_ROLE, collation);
        self.psql(container, "postgres", &sql).await.map(drop)
    }

    /// A database with this name already is complete but was never served (its run was cut off
    /// just before that was written down): it is kept aside rather than dropped.
    pub(super) async fn rename_database(&self, container: &str, from: &str, to: &DbName) -> Result<()> {
        let aside = self.aside(to);
        self.psql(container, "postgres", &sql::rename_database(from, to.as_str(), &aside)).await.map(drop)
    }

    pub(super) async fn mark_complete(&self, container: &str, database: &DbName) -> Result<()> {
        self.psql(container, "postgres", &sql::mark_complete(database.as_str())).await.map(drop)
    }

    fn aside(&self, name: &DbName) -> String {
        names::aside_database(name, self.clock.now().as_second())
    }

    /// Odoo's own installation, with its progress. It makes no demo data.
    pub(super) async fn install_base(
        &self,
        container: &str,
        database: &str,
        release: Release,
        language: &Language,
    ) -> Result<()> {
        self.forget_filestore(container, database).await?;
        let mut argv = ["odoo", "--database", database, "--init", "base", "--stop-after-init"].to_vec();
        let load_language = format!("--load-language={language}");
        argv.push(&load_language);
        if release.number() < 19 {
            argv.push("--without-demo=all"); // from 19 demo data is off unless asked for
        }
        let output = self.odoo(container, Exec::new(argv)).await?;
        succeeded(&output, "Odoo could not install its base modules")
    }

    /// Files of an earlier attempt under this name.
    async fn forget_filestore(&self, container: &str, database: &str) -> Result<()> {
        let directory = format!("{FILESTORE}/{database}");
        let output = self.exec(container, Exec::new(["rm", "-rf", "--", &directory])).await?;
        succeeded(&output, "cannot remove the files of an earlier attempt")
    }

    pub(super) async fn set_first_user(
        &self,
        container: &str,
        database: &str,
        user: &FirstUser,
    ) -> Result<()> {
        let script = first_user_script(user, self.secrets.admin_password.expose());
        let exec = Exec::new(["odoo", "shell", "--database", database]).stdin(script);
        let output = self.odoo(container, exec).await?;
        let done = output.stdout.contains(FIRST_USER_SET);
        succeeded(&output, "Odoo could not set the first user")?;
        if done { Ok(()) } else { Err(Failure::failed("Odoo's shell ended before the first user was set")) }
    }

    pub(super) async fn adopt_filestore(&self, container: &str, from: &str, to: &DbName) -> Result<()> {
        let script = "cd \"$1\" 2>/dev/null || exit 0; [ -e \"$2\" ] || exit 0; \
                      [ ! -e \"$3\" ] || mv -- \"$3\" \"$4\" || exit 1; mv -- \"$2\" \"$3\"";
        let argv = ["sh", "-c", script, "sh", FILESTORE, from, to.as_str(), &self.aside(to)];
        let output = self.exec(container, Exec::new(argv)).await?;
        succeeded(&output, "cannot rename the filestore")
    }

    /// Runs an Odoo command and reports the modules that it loads.
    async fn odoo(&self, container: &str, exec: Exec) -> Result<ExecOutput> {
        let reporter = self.reporter;
        let mut watch = |_, line: &str| {
            if let Some((module, done, total)) = loading(line) {
                let note = format!("module {module}");
                reporter.report(Event::Progress { done, total: Some(total), unit: Unit::Items, note });
            }
        };
        self.engine.exec(container, exec, &mut watch).await
    }
}

/// Reads `… odoo.modules.loading: Loading module web (2/14)`.
fn loading(line: &str) -> Option<(&str, u64, u64)> {
    let (module, rest) = line.split_once(": Loading module ")?.1.split_once(" (")?;
    let (done, rest) = rest.split_once('/')?;
    Some((module, done.parse().ok()?, rest.split_once(')')?.0.parse().ok()?))
}

fn succeeded(output: &ExecOutput, otherwise: &str) -> Result<()> {
    if output.exit_code == 0 {
        return Ok(());
    }
    let lines: Vec<_> = output.stderr.lines().chain(output.stdout.lines()).map(str::to_owned).collect();
    let last = lines.len().saturating_sub(TAIL);
    Err(Failure::failed(otherwise).evidence(lines.into_iter().skip(last)))
}

/// Odoo's shell runs this. Values travel as a JSON text, whose escapes Python's literals share.
fn first_user_script(user: &FirstUser, password: &str) -> String {
    let values = serde_json::json!({
        "login": user.login.as_str(),
        "password": password,
        "lang": user.language.as_str(),
        "country": user.country.as_ref().map(crate::name::Country::as_str),
        "url": user.url,
    });
    let literal = serde_json::Value::String(values.to_string()).to_string();
    let mut script = format!("import json\nv = json.loads({literal})\n");
    // Writing to a String cannot fail.
    let _ = writeln!(script, "{FIRST_USER}print({FIRST_USER_SET:?})");
    script
}

const FIRST_USER: &str = "\
import pytz
zones = []
if v['lang'] != 'en_US':
    env['ir.module.module'].search([('state', '=', 'installed')])._update_translations(v['lang'])

if v['country']:
    country = env['res.country'].search([('code', '=ilike', v['country'])], limit=1)
    if not country:
        raise SystemExit('Odoo knows no country %s' % v['country'])
    company = {'country_id': country.id}
    if country.currency_id:
        country.currency_id.active = True
        company['currency_id'] = country.currency_id.id
    env.ref('base.main_company').write(company)
    zones = pytz.country_timezones.get(v['country'].lower()) or []

user = {'login': v['login'], 'password': v['password'], 'lang': v['lang']}
if '@' in v['login']:
    user['email'] = v['login']

# A country with several time zones says nothing about this user's.
if len(zones) == 1:
    user['tz'] = zones[0]

env.ref('base.user_admin').write(user)
env['ir.config_parameter'].set_param('web.base.url', v['url'])
env.cr.commit()
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn module_progress_is_read_from_the_log() {
        let line = "2026-01-01 00:00:00,1 7 INFO acme odoo.modules.loading: Loading module web (2/14) ";
        assert_eq!(loading(line), Some(("web", 2, 14)));
        assert_eq!(loading("Loading module"), None);
        assert_eq!(loading("x: Loading module web (2/x)"), None);
    }

    #[test]
    fn the_script_quotes_its_values() {
        let user = FirstUser {
            login: "jo@example.com".parse().unwrap(),
            language: "fr_FR".parse().unwrap(),
            country: None,
            url: "https://odoo.example.com".to_owned(),
        };
        let script = first_user_script(&user, "a\"b\\c");
        let literal = script.lines().nth(1).unwrap().strip_prefix("v = json.loads(").unwrap();
        let inner: String = serde_json::from_str(literal.strip_suffix(')').unwrap()).unwrap();
        let values: serde_json::Value = serde_json::from_str(&inner).unwrap();
        assert_eq!(values["password"], "a\"b\\c");
        assert!(script.ends_with("print(\"autoodoo: the first user is set\")\n"));
    }
}
