//! Filling in templates: `<<name>>` stands for a value.

/// The template with each `<<name>>` replaced. A name alone on a line takes the line with it when
/// its value is empty, and gives it no second line end when the value has one.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in values {
        let place = format!("<<{name}>>");
        if value.is_empty() || value.ends_with('\n') {
            text = text.replace(&format!("{place}\n"), value);
        }
        text = text.replace(&place, value);
    }
    debug_assert!(!text.contains("<<"), "a value is missing: {text}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_take_their_places() {
        assert_eq!(fill("a <<x>>;\n<<y>>\nb", &[("x", "1"), ("y", "2\n3\n")]), "a 1;\n2\n3\nb");
        assert_eq!(fill("a\n<<x>>\nb", &[("x", "")]), "a\nb");
    }

    #[test]
    #[should_panic(expected = "a value is missing")]
    fn a_forgotten_value_is_noticed() {
        fill("<<x>>", &[]);
    }
}
