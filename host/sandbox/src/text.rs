//! Text from guests, made fit to be shown.

use std::borrow::Cow;
use std::fmt::Write as _;

use reductor_core::is_invisible;
use unicode_width::UnicodeWidthChar as _;

/// Combining marks in a row that are shown as they are: writing systems stack no more on one
/// letter, and hundreds of them reach over the lines above and below.
const MARKS_MAX: usize = 4;

/// Makes a guest's text safe for logs and terminals: characters that control a terminal, direct
/// text or cannot be seen are spelled out, and what is longer than `bytes_max` is cut, saying so.
///
/// Line feeds stay only in messages of several lines, as a visible `\n`.
pub fn printable(text: &str, bytes_max: usize) -> String {
    let mut shown = String::with_capacity(text.len().min(bytes_max));
    let mut marks = Marks::default();
    for character in text.chars() {
        let before = shown.len();
        if marks.is_plain(character) {
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

/// Makes a JSON text safe for terminals, and keeps it the JSON of the same value: characters that
/// control a terminal, direct text or cannot be seen become escapes.
///
/// Only strings have such characters, besides the white space between tokens, which stays.
///
/// ```
/// use reductor_sandbox::printable_json;
///
/// assert_eq!(printable_json("[\"a\u{9b}31m\u{202e}\"]"), r#"["a\u009b31m\u202e"]"#);
/// assert_eq!(printable_json(r#"["é"]"#), r#"["é"]"#);
/// ```
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let mut marks = Marks::default();
    let mut is_plain = |character| matches!(character, '\n' | '\r' | '\t') || marks.is_plain(character);
    let Some(plain) = json.find(|character| !is_plain(character)) else { return Cow::Borrowed(json) };
    let mut shown = String::with_capacity(json.len() + 64);
    shown.push_str(&json[..plain]);
    for (index, character) in json[plain..].chars().enumerate() {
        // The first was looked at already.
        if index > 0 && is_plain(character) {
            shown.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\u{unit:04x}");
            }
        }
    }
    Cow::Owned(shown)
}

/// Counts combining marks in a row.
#[derive(Default)]
struct Marks(usize);

impl Marks {
    /// Whether a terminal shows the next character as it is, and lets it change nothing around it.
    fn is_plain(&mut self, character: char) -> bool {
        let is_mark = !character.is_ascii() && character.width() == Some(0);
        self.0 = if is_mark { self.0 + 1 } else { 0 };
        !is_invisible(character) && self.0 <= MARKS_MAX
    }
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

    #[test]
    fn characters_that_nobody_sees_are_spelled_out() {
        for hidden in [
            '\u{ad}',
            '\u{61c}',
            '\u{115f}',
            '\u{200b}',
            '\u{200d}',
            '\u{200e}',
            '\u{2028}',
            '\u{2060}',
            '\u{2069}',
            '\u{3164}',
            '\u{feff}',
            '\u{fff9}',
            '\u{e0001}',
            '\u{e0041}',
            '\u{7f}',
            '\u{9b}',
        ] {
            let text = format!("a{hidden}b");
            assert_eq!(printable(&text, 100), format!("a{}b", hidden.escape_default()), "{hidden:?}");
            let json = format!("\"{text}\"");
            assert!(printable_json(&json).is_ascii(), "{hidden:?}");
        }
    }

    #[test]
    fn letters_of_every_script_stay_and_a_pile_of_marks_does_not() {
        for word in ["naïve", "שָׁלוֹם", "สวัสดี", "नमस्ते", "한국어", "ქართული", "日本語", "e\u{301}\u{323}"]
        {
            assert_eq!(printable(word, 100), word);
            assert_eq!(printable_json(word), word);
        }
        let pile = |marks: usize| format!("a{}", "\u{301}".repeat(marks));
        assert_eq!(printable(&pile(MARKS_MAX), 1_000), pile(MARKS_MAX));
        assert_eq!(printable(&pile(MARKS_MAX + 2), 1_000), format!("{}\\u{{301}}\\u{{301}}", pile(MARKS_MAX)));
        assert_eq!(printable(&format!("{0}{0}", pile(MARKS_MAX)), 1_000), format!("{0}{0}", pile(MARKS_MAX)));
    }

    #[test]
    fn json_that_is_shown_has_the_value_that_it_had() {
        let json = "{\"a\u{9b}\":\n\t\"\u{1f600}\u{e0041}\u{feff}x\u{202e}\"}";
        assert_eq!(printable_json(json), "{\"a\\u009b\":\n\t\"\u{1f600}\\udb40\\udc41\\ufeffx\\u202e\"}");
        assert!(matches!(printable_json("{\"a\": [1, \"ü\"]}"), Cow::Borrowed(_)));
    }
}
