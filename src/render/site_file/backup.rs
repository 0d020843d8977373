//! Where backups go.

use super::{quoted, scalar};
use crate::site::backup::{Backup, Days, Keep, Target};

const HEAD: &str = "\
backup:
  # Where `autoodoo backup` puts the site, encrypted: absolute paths on this host, or URLs. Each gets
  # every backup. One alone is lost with what destroys it: have a second one elsewhere, which this
  # server cannot erase (docs/backups.md). No passwords here: `autoodoo backup setup` asks for them.
";

const EXAMPLE: &str = "  # to:
  #   - /srv/backup/acme
  #   - { name: offsite, url: \"sftp://acme@backup.example.com:2222/odoo\", required: true, own_password: false }
  #   - s3://s3.example.com/acme-backup?region=eu-central-1
  #   - rest:https://backup.example.com:8000/acme/
";

pub(super) fn backup(backup: &Backup) -> String {
    let targets = if backup.targets.is_empty() {
        EXAMPLE.to_owned()
    } else {
        backup.targets.iter().map(target).fold("  to:\n".to_owned(), |text, target| text + &target)
    };
    format!("{HEAD}{targets}{}", keep(&backup.keep))
}

fn target(target: &Target) -> String {
    format!(
        "    - url: {url}\n      name: {name}\n      required: {required}\n      own_password: {own_password}\n",
        url = scalar(&target.place.to_string()),
        name = name(target),
        required = target.required,
        own_password = target.own_password,
    )
}

/// A name may look like a number.
fn name(target: &Target) -> String {
    quoted(target.name.as_str())
}

fn keep(keep: &Keep) -> String {
    format!(
        "  # What `autoodoo backup prune` keeps: the last so many, the newest of so many hours, days, weeks,
  # months and years, and everything younger than `within`. 0 is no such rule.
  keep:
    last: {last}
    hourly: {hourly}
    daily: {daily}
    weekly: {weekly}
    monthly: {monthly}
    yearly: {yearly}
    within: {within}
",
        last = keep.last,
        hourly = keep.hourly,
        daily = keep.daily,
        weekly = keep.weekly,
        monthly = keep.monthly,
        yearly = keep.yearly,
        within = Days(keep.within_days),
    )
}

#[cfg(test)]
mod tests {
    use crate::render::site_file::site_file;
    use crate::site::parse;

    #[test]
    fn the_group_as_it_is_written() {
        let group = |lines: &str| {
            let text = format!("name: acme\ndomain: odoo.example.com\n{lines}");
            let site = parse::site(&text).unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            let written = site_file(&site);
            assert_eq!(parse::site(&written).unwrap(), site, "{written}");
            written[written.find("\nbackup:").unwrap() + 1..].to_owned()
        };
        insta::assert_snapshot!(group(""));
        insta::assert_snapshot!(group(
            "backup: { to: ['/srv/b #1/\"x\"', { name: '2', url: 'sftp://b@h:2222/./ö%20', required: false, \
             own_password: true }, 's3://h/buck?region=eu-1'], keep: { last: 0, within: 8w } }"
        ));
    }
}
