//! rustic's errors in our words.

use std::error::Error;

use rustic_core::RusticError;

use super::store::StoreError;
use crate::failure::Failure;

/// `doing`: what did not work, such as "cannot list the backups".
pub(super) fn failure(doing: &str, error: &RusticError) -> Failure {
    let mut failure = Failure::failed(doing);
    let Some(beneath) = store_error(error) else {
        failure.causes.push(sentence(error));
        return failure;
    };
    let beneath = Failure::from(beneath.clone());
    failure.kind = beneath.kind;
    failure.causes.push(beneath.message);
    failure.hints = beneath.hints;
    failure
}

/// What our store said beneath it.
pub(super) fn store_error(error: &RusticError) -> Option<&StoreError> {
    let mut beneath: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = beneath {
        if let Some(found) = error.downcast_ref::<StoreError>() {
            return Some(found);
        }
        beneath = error.source();
    }
    None
}

/// One sentence: the store's own, or rustic's without its decoration.
pub(super) fn sentence(error: &RusticError) -> String {
    if let Some(found) = store_error(error) {
        return found.message.clone();
    }
    let told = error.display_log();
    let told = told.strip_prefix("Error: ").unwrap_or(&told);
    let told = told.split(" (kind: ").next().unwrap_or(told).replace('`', "").replace('\n', " ");
    let mut letters = told.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use rustic_core::ErrorKind;

    use super::super::store::Trouble;
    use super::*;

    #[test]
    fn the_store_is_quoted_through_any_number_of_layers() {
        let store = StoreError::new(Trouble::Full, "no space left");
        let inner = RusticError::with_source(ErrorKind::Backend, "inner", store);
        let outer = RusticError::with_source(ErrorKind::Internal, "outer", inner);
        assert_eq!(sentence(&outer), "no space left");
        assert_eq!(failure("cannot save", &outer).to_string(), "cannot save: no space left");
    }

    #[test]
    fn rustic_is_quoted_without_decoration() {
        let error =
            RusticError::new(ErrorKind::Internal, "Blob `{id}` is missing.").attach_context("id", "ab");
        assert_eq!(sentence(&error), "blob ab is missing");
    }
}
