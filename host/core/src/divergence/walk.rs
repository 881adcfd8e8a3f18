//! Where two canonical JSON texts begin to differ.
//!
//! A state may have many megabytes, and a guest chooses what is in it and when it differs, so states
//! are never parsed into trees here: both texts are canonical, so the first byte that differs is in
//! the first value that does, and the brackets before it say where that is. This takes a few passes
//! over the texts, and memory in proportion to the depth.

/// The innermost values that differ.
pub(super) struct Found<'a> {
    /// The way to them, from the outside.
    pub(super) steps: Vec<Step<'a>>,
    /// The value in the first text and in the second, where there is one.
    pub(super) values: (Option<&'a str>, Option<&'a str>),
}

/// A step into a list or an object.
pub(super) struct Step<'a> {
    pub(super) kind: StepKind<'a>,
    /// Where the list or object begins, in both texts.
    pub(super) begins_at: usize,
}

#[derive(Clone, Copy)]
pub(super) enum StepKind<'a> {
    /// To the element of this position.
    Element(usize),
    /// To the member with this key, as JSON spells it.
    Member(&'a str),
}

/// A list or an object that is open where the texts begin to differ.
struct Open {
    begins_at: usize,
    is_list: bool,
    /// Where the last item before the difference begins, in both texts.
    item: usize,
    /// The position of that item.
    position: usize,
}

/// Finds the first difference of two texts. `None` if they are equal, or if they are not canonical
/// JSON and it cannot be told where in them it is.
pub(super) fn first_difference<'a>(a: &'a str, b: &'a str) -> Option<Found<'a>> {
    let mut open = open_at(a, first_other_byte(a, b)?)?;
    let Some(last) = open.pop() else {
        return Some(Found { steps: Vec::new(), values: (Some(a), Some(b)) });
    };
    let mut steps = Vec::with_capacity(open.len() + 1);
    for Open { begins_at, is_list, item, position } in open {
        let kind = if is_list { StepKind::Element(position) } else { StepKind::Member(string(a, item)?) };
        steps.push(Step { kind, begins_at });
    }
    let (kind, values) = if last.is_list { last.other_element(a, b)? } else { last.other_member(a, b)? };
    steps.push(Step { kind, begins_at: last.begins_at });
    Some(Found { steps, values })
}

/// What differs in a list or an object: the step to it, and both values.
type Other<'a> = (StepKind<'a>, (Option<&'a str>, Option<&'a str>));

impl Open {
    fn other_element<'a>(&self, a: &'a str, b: &'a str) -> Option<Other<'a>> {
        let (first, second) = (element(a, self.item)?, element(b, self.item)?);
        if first != second {
            return Some((StepKind::Element(self.position), (first, second)));
        }
        // The lists are the same up to here, and one of them ends.
        let end = self.item + first?.len();
        let next = |text| if is_at(text, end, b',') { element(text, end + 1) } else { Some(None) };
        Some((StepKind::Element(self.position + 1), (next(a)?, next(b)?)))
    }

    fn other_member<'a>(&self, a: &'a str, b: &'a str) -> Option<Other<'a>> {
        match (member(a, self.item)?, member(b, self.item)?) {
            (Some((key, first)), Some((same, second))) if key == same => {
                if first != second {
                    return Some((StepKind::Member(key), (Some(first), Some(second))));
                }
                // The objects are the same up to here, and one of them ends.
                let end = self.item + key.len() + 1 + first.len();
                let next = |text| if is_at(text, end, b',') { member(text, end + 1) } else { Some(None) };
                missing_member(next(a)?, next(b)?)
            }
            (first, second) => missing_member(first, second),
        }
    }
}

/// A key as JSON spells it, and a value.
type Member<'a> = (&'a str, &'a str);

/// The member that one of two objects lacks, by the members that they have in its place. Members are
/// in the order of their keys.
fn missing_member<'a>(first: Option<Member<'a>>, second: Option<Member<'a>>) -> Option<Other<'a>> {
    let is_first = match (first, second) {
        (Some((key, _)), Some((other, _))) => utf16(key).lt(utf16(other)),
        _ => first.is_some(),
    };
    let (key, value) = if is_first { first? } else { second? };
    Some((StepKind::Member(key), if is_first { (Some(value), None) } else { (None, Some(value)) }))
}

/// What RFC 8785 orders keys by, of a key as JSON spells it.
fn utf16(key: &str) -> impl Iterator<Item = [u16; 2]> {
    let mut rest = key[1..key.len() - 1].chars();
    std::iter::from_fn(move || {
        let character = match rest.next()? {
            '\\' => match rest.next()? {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => {
                    let code = u32::from_str_radix(rest.as_str().get(..4)?, 16).ok()?;
                    rest.nth(3);
                    char::from_u32(code)?
                }
                plain => plain,
            },
            plain => plain,
        };
        let mut units = [0; 2];
        character.encode_utf16(&mut units);
        Some(units)
    })
}

/// The position of the first byte in which two texts differ, or where the shorter one ends.
fn first_other_byte(a: &str, b: &str) -> Option<usize> {
    let shorter = a.len().min(b.len());
    let differs = a.bytes().zip(b.bytes()).position(|(a, b)| a != b);
    differs.or(Some(shorter).filter(|_| a.len() != b.len()))
}

/// The lists and objects that are open at a place, the outermost first. `None` if brackets close that
/// never opened.
fn open_at(text: &str, place: usize) -> Option<Vec<Open>> {
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    while at < place {
        let byte = text.as_bytes()[at];
        match byte {
            b'"' => match string(text, at) {
                Some(string) => at += string.len() - 1,
                None => break,
            },
            b'[' | b'{' => open.push(Open { begins_at: at, is_list: byte == b'[', item: at + 1, position: 0 }),
            b']' | b'}' => {
                open.pop()?;
            }
            b',' => {
                let last = open.last_mut()?;
                (last.item, last.position) = (at + 1, last.position + 1);
            }
            _ => {}
        }
        at += 1;
    }
    Some(open)
}

/// The elements of a list.
pub(super) fn elements(list: &str) -> Option<Vec<&str>> {
    let (mut elements, mut at) = (Vec::new(), 1);
    while let Some(found) = element(list, at)? {
        elements.push(found);
        at += found.len() + 1;
    }
    Some(elements)
}

/// The element of a list that begins at `at`; `Some(None)` at the list's end.
fn element(text: &str, at: usize) -> Option<Option<&str>> {
    if at >= text.len() || is_at(text, at, b']') { Some(None) } else { value(text, at).map(Some) }
}

/// The member of an object that begins at `at`; `Some(None)` at the object's end.
fn member(text: &str, at: usize) -> Option<Option<Member<'_>>> {
    if is_at(text, at, b'}') {
        return Some(None);
    }
    let key = string(text, at)?;
    let colon = at + key.len();
    if is_at(text, colon, b':') { Some(Some((key, value(text, colon + 1)?))) } else { None }
}

/// The value that begins at `at`.
pub(super) fn value(text: &str, at: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    let end = match *bytes.get(at)? {
        b'"' => at + string(text, at)?.len(),
        b'[' | b'{' => {
            let (mut end, mut depth) = (at, 0_usize);
            loop {
                match *bytes.get(end)? {
                    b'"' => end += string(text, end)?.len() - 1,
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth -= 1,
                    _ => {}
                }
                end += 1;
                if depth == 0 {
                    break end;
                }
            }
        }
        _ => {
            let rest = bytes[at..].iter().position(|byte| matches!(byte, b',' | b']' | b'}'));
            at + rest.unwrap_or(bytes.len() - at)
        }
    };
    text.get(at..end).filter(|value| !value.is_empty())
}

/// The string that begins at `at`, with its quotes.
fn string(text: &str, at: usize) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.get(at) != Some(&b'"') {
        return None;
    }
    let mut end = at + 1;
    loop {
        match *bytes.get(end)? {
            b'"' => return text.get(at..=end),
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
}

fn is_at(text: &str, at: usize, byte: u8) -> bool {
    text.as_bytes().get(at) == Some(&byte)
}
