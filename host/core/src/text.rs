//! Which characters of a stranger's text a reader does not see as they are.

/// Whether a reader cannot see the character, or does not see what it does to the text around it.
///
/// Besides control characters these are Unicode's format characters (Cf), such as marks of
/// direction, zero-width characters, the soft hyphen and tags; separators of lines and paragraphs;
/// and those that the standard lets a program leave out (`Default_Ignorable_Code_Point`), such as
/// fillers and variation selectors. In a name they make two different names look like one; in a log
/// or a terminal they hide or reorder what is there.
///
/// ```
/// assert!(['\n', '\u{200b}', '\u{202e}', '\u{e0041}'].into_iter().all(reductor_core::is_invisible));
/// assert!(!" aé字🦀".chars().any(reductor_core::is_invisible));
/// ```
pub fn is_invisible(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    // Cf and Default_Ignorable_Code_Point of Unicode 16.0.
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// The character as it may be shown: spelled out if it is invisible.
pub(crate) fn printable(character: char) -> impl Iterator<Item = char> {
    let escaped = is_invisible(character).then(|| character.escape_default());
    let plain = escaped.is_none().then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_direction_controls_and_zero_widths_are_spelled_out() {
        let text = "a\u{9b}b\u{61c}c\u{200b}d\u{202e}e\u{ad}f\u{2028}g";
        let shown: String = text.chars().flat_map(printable).collect();
        assert_eq!(shown, r"a\u{9b}b\u{61c}c\u{200b}d\u{202e}e\u{ad}f\u{2028}g");
    }

    #[test]
    fn every_control_character_is_invisible() {
        assert!(('\0'..=char::MAX).filter(|character| character.is_control()).all(is_invisible));
    }
}
