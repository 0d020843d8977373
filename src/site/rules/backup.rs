//! Rules for backups: no two targets share a name or a place, and something is kept.

use std::collections::{BTreeMap, BTreeSet};

use super::Rules;
use crate::site::backup::{Backup, Count, Days, Keep, Place, Target, TargetName};
use crate::site::draft::{BackupDraft, Field, Given, KeepDraft, TargetDraft};
use crate::site::value::Flag;

/// What is taken by the targets before.
#[derive(Default)]
struct Taken {
    /// With the place of who has it.
    names: BTreeMap<TargetName, String>,
    places: BTreeSet<String>,
}

impl Rules {
    pub(super) fn backup(&mut self, draft: BackupDraft) -> Option<Backup> {
        let mut taken = Taken::default();
        let targets: Vec<_> = draft
            .to
            .into_iter()
            .enumerate()
            .map(|(index, draft)| self.target(index, draft, &mut taken))
            .collect();
        let keep = self.keep(draft.keep);
        Some(Backup { targets: targets.into_iter().collect::<Option<_>>()?, keep: keep? })
    }

    fn target(&mut self, index: usize, draft: TargetDraft, taken: &mut Taken) -> Option<Target> {
        let place = self.required(draft.url, Field::Target(index, "url"));
        if let Some(place) = &place
            && !taken.places.insert(place.to_string())
        {
            self.conflict::<()>(Field::Target(index, "url"), format!("`{place}` is given twice"));
        }
        let name = self.target_name(index, draft.name, place.as_ref(), taken);
        let own_password = draft.own_password.or(|| Some(Flag(false)));
        if let (Some(Place::Drop { .. }), Some(Flag(true))) = (&place, own_password) {
            let why =
                "a place that takes sealed exports has no password; they are sealed for their recipients";
            self.conflict::<()>(Field::Target(index, "own_password"), why);
        }
        Some(Target {
            name: name?,
            place: place?,
            required: draft.required.or(|| Some(Flag(true)))?.0,
            own_password: own_password?.0,
        })
    }

    /// The name that was given, or the place's own.
    fn target_name(
        &mut self,
        index: usize,
        given: Given<TargetName>,
        place: Option<&Place>,
        taken: &mut Taken,
    ) -> Option<TargetName> {
        let field = || Field::Target(index, "name");
        let was_given = given.value().is_some();
        let name = given.or(|| match place?.own_name() {
            Some(name) => Some(name),
            None => self.conflict(field(), "required, as the place makes none, such as `name: offsite`"),
        })?;
        if let Some(other) = taken.names.get(&name) {
            let why = if was_given {
                format!("`{name}` is the name of {other} already")
            } else {
                format!("required, as `{name}`, which follows from the place, is the name of {other} already")
            };
            return self.conflict(field(), why);
        }
        taken.names.insert(name.clone(), place.map(ToString::to_string).unwrap_or_default());
        Some(name)
    }

    fn keep(&mut self, draft: KeepDraft) -> Option<Keep> {
        let default = Keep::default();
        let count = |given: Given<Count>, default| given.or(|| Some(Count(default))).map(|count| count.0);
        let keep = Keep {
            last: count(draft.last, default.last)?,
            hourly: count(draft.hourly, default.hourly)?,
            daily: count(draft.daily, default.daily)?,
            weekly: count(draft.weekly, default.weekly)?,
            monthly: count(draft.monthly, default.monthly)?,
            yearly: count(draft.yearly, default.yearly)?,
            within_days: draft.within.or(|| Some(Days(default.within_days)))?.0,
        };
        if keep.is_empty() {
            return self.conflict(
                Field::Key("backup.keep"),
                "no backup at all would be kept; give one rule a number",
            );
        }
        Some(keep)
    }
}

#[cfg(test)]
mod tests {
    use crate::site::backup::{Backup, Keep};
    use crate::site::parse;

    const SMALL: &str = "name: acme\ndomain: odoo.example.com\n";

    fn backup(lines: &str) -> Backup {
        parse::site(format!("{SMALL}{lines}")).unwrap_or_else(|faults| panic!("{lines}: {faults:?}")).backup
    }

    #[test]
    fn without_the_group_nothing_is_backed_up() {
        assert_eq!(backup(""), Backup { targets: Vec::new(), keep: Keep::default() });
        assert_eq!(backup("backup:\n  to:\n"), backup(""));
    }

    #[test]
    fn the_short_form_is_required_and_has_the_places_name() {
        let backup =
            backup("backup: { to: [/srv/b, { url: 's3://h/buck', required: false }], keep: { last: 0 } }");
        let told: Vec<_> =
            backup.targets.iter().map(|t| (t.name.as_str(), t.required, t.own_password)).collect();
        assert_eq!(told, [("b", true, false), ("buck", false, false)]);
        assert_eq!(backup.keep, Keep { last: 0, ..Keep::default() });
    }

    #[test]
    fn every_fault_is_told_with_its_place() {
        let text = format!(
            "{SMALL}\
backup:
  too: []
  to:
    - /srv/b
    - srv/c
    - stfp://b@h/x
    - sftp://b:hunter2@h/x
    - {{ url: 's3://AKIA:hunter2@h/buck' }}
    - {{ name: b, url: /mnt/c }}
    - /mnt/b
    - {{ url: /srv//b/, name: c }}
    - {{ url: /srv/日本 }}
    - {{ name: Off site, requird: true }}
    - {{ name: d, url: /srv/d, required: maybe }}
    - {{ name: e, url: 'drop+sftp://b@h/in', own_password: true }}
  keep: {{ last: 0, hourly: 0, daily: 0, weekly: 0, monthly: 0, yearly: 0, within: 0d }}
"
        );
        let faults = parse::site(&text).unwrap_err();
        let told = parse::failure(parse::FILE_NAME, &faults).evidence.join("\n");
        assert!(!told.contains("hunter2"), "{told}");
        insta::assert_snapshot!(told);
    }

    #[test]
    fn wrong_groups_and_numbers() {
        let table = [
            ("backup: /srv/b", "`backup`: expected keys such as `to:`, found `/srv/b`"),
            (
                "backup: { to: /srv/b }",
                "`backup.to`: expected a list whose items begin with `- url:`, found `/srv/b`",
            ),
            ("backup: { to: [[a]] }", "`backup.to[0]`: expected keys such as `url:`, found a list"),
            ("backup: { to: [{}] }", "`backup.to[0].url`: required"),
            ("backup: { keep: { lst: 3 } }", "unknown key `lst`; did you mean `last`?"),
            (
                "backup: { keep: { daily: all } }",
                "`backup.keep.daily`: expected a whole number from 0 (no such rule) to 10000, found `all`",
            ),
            (
                "backup: { keep: { within: 2h } }",
                "`backup.keep.within`: expected days or weeks, such as `2d` or `8w`, found `2h`",
            ),
        ];
        for (lines, expected) in table {
            let faults = parse::site(format!("{SMALL}{lines}")).unwrap_err();
            assert_eq!(faults[0].message, expected, "{lines}");
        }
    }
}
