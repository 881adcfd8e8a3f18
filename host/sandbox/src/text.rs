//! Text from guests, made fit to be shown.

/// Makes a guest's text safe for logs and terminals: control characters are spelled out, and
/// what is longer than `bytes_max` is cut, saying so.
///
/// Line feeds stay only in messages of several lines, as a visible `\n`.
pub fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let before = shown.len();
        if is_plain(character) {
            shown.push(character);
        } else {
            shown.extend(character.escape_default());
        }
        if shown.len() > bytes_max {
            shown.truncate(before);
            shown.push_str("… (cut)");
            break;
        }
    }
    shown
}

/// Whether a terminal shows the character as it is, and lets it change nothing around it.
fn is_plain(character: char) -> bool {
    let directs_text = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    !character.is_control() && !directs_text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_spelled_out_and_letters_kept() {
        assert_eq!(printable("é\u{1b}[31mred\n\u{202e}", 100), "é\\u{1b}[31mred\\n\\u{202e}");
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        assert_eq!(printable("ééé", 5), "éé… (cut)");
        assert_eq!(printable("ééé", 6), "ééé");
    }
}
