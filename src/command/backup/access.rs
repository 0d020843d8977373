//! Stand-in until the branch `site` brings its own.
use crate::command::site::Loaded;
use crate::failure::Result;
use crate::host::files;
use crate::repository::store::Access;
use crate::secret::Secret;
use crate::site::backup::Target;

pub fn of(loaded: &Loaded, _target: &Target) -> Result<(Secret, Access)> {
    let text = files::read_text(&loaded.dir.secrets_dir().join("backup/password"))?;
    Ok((Secret::new(text.trim()), Access::default()))
}
