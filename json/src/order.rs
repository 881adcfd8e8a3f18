//! Puts the members of objects in order after they were written.
//!
//! Writers write members as they come and report each key. Objects whose keys come in order
//! cost one comparison per key. Small objects that come out of order are put in order when they
//! end. For large ones [`Order`] notes a permutation, and all of them are carried out in one pass
//! over the text at the end: the time stays in proportion to the length, however deep they nest.

use std::{cmp::Ordering, ops::Range};

use crate::{key, string::Escapes};

/// An object of so many bytes is moved at once: it is in the first-level cache, and moving it
/// costs less than remembering it. So many bytes also nest only so deep, hence move so often.
const SMALL_BYTES_MAX: usize = 1024;

/// The objects of one text that is being written.
#[derive(Default)]
pub(crate) struct Order {
    /// Members so far of the objects that are open, inner objects last.
    members: Vec<Member>,
    /// Members of the objects in `permutations`, sorted.
    sorted: Vec<SortedMember>,
    /// Closed large objects that did not come in order, inner before outer and left before right.
    permutations: Vec<Permutation>,
    /// Where small objects are put together.
    scratch: Vec<u8>,
}

/// An open object.
pub(crate) struct Object {
    start: usize,
    first_member: usize,
    /// The string of the last key; nothing before the first.
    last_key: Range<usize>,
    in_order: bool,
    escapes: Escapes,
}

impl Object {
    /// Where the string of the last key is.
    pub(crate) fn last_key(&self) -> Range<usize> {
        self.last_key.clone()
    }

    /// Whether no member has come yet.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.last_key.end == 0
    }
}

struct Member {
    key: Range<usize>,
    /// The first of the permutations inside the member.
    inner_start: usize,
}

struct SortedMember {
    key: Range<usize>,
    end: usize,
    /// The permutations inside the member.
    inner: Range<usize>,
}

struct Permutation {
    /// The object in the text, with its braces.
    text: Range<usize>,
    /// Its members in `sorted`.
    members: Range<usize>,
    /// The first of the permutations inside it; the last is the one before its own.
    inner_start: usize,
}

/// An object has the same key twice.
#[derive(Debug)]
pub(crate) struct DuplicateKey {
    /// The key's string in the text.
    pub(crate) key: Range<usize>,
}

impl Order {
    /// Begins an object whose brace stands at `start`.
    #[inline]
    pub(crate) fn open(&self, start: usize) -> Object {
        Object { start, first_member: self.members.len(), last_key: 0..0, in_order: true, escapes: Escapes::None }
    }

    /// Takes note of the member that begins with the key from `start` to the end of the text.
    #[inline]
    pub(crate) fn member(
        &mut self,
        object: &mut Object,
        text: &[u8],
        start: usize,
        escapes: Escapes,
    ) -> Result<(), DuplicateKey> {
        if escapes == Escapes::Some {
            object.escapes = Escapes::Some;
        }
        let key = start..text.len();
        if object.in_order && !object.is_empty() {
            let (last, new) = (content(text, &object.last_key), content(text, &key));
            match key::compare(last, new, object.escapes) {
                Ordering::Less => {}
                Ordering::Equal => return Err(DuplicateKey { key }),
                Ordering::Greater => object.in_order = false,
            }
        }
        object.last_key = key.clone();
        let inner_start = self.permutations.len();
        self.members.push(Member { key, inner_start });
        Ok(())
    }

    /// Ends an object whose closing brace is the next byte of `text`.
    #[inline]
    pub(crate) fn close(&mut self, object: Object, text: &mut [u8]) -> Result<(), DuplicateKey> {
        if object.in_order {
            self.members.truncate(object.first_member);
            return Ok(());
        }
        self.close_out_of_order(object, text)
    }

    fn close_out_of_order(&mut self, object: Object, text: &mut [u8]) -> Result<(), DuplicateKey> {
        let sorted_start = self.sorted.len();
        let inner_start = self.members[object.first_member].inner_start;
        let (mut end, mut inner_end) = (text.len(), self.permutations.len());
        for member in self.members.drain(object.first_member..).rev() {
            let inner = member.inner_start..inner_end;
            // Before the next member is a comma.
            let next_end = member.key.start - 1;
            self.sorted.push(SortedMember { key: member.key, end, inner });
            (end, inner_end) = (next_end, member.inner_start);
        }
        sort(&mut self.sorted[sorted_start..], text, object.escapes)?;
        if text.len() - object.start <= SMALL_BYTES_MAX {
            self.permute_now(sorted_start, &mut text[object.start + 1..], object.start + 1);
        } else {
            self.permutations.push(Permutation {
                text: object.start..text.len() + 1,
                members: sorted_start..self.sorted.len(),
                inner_start,
            });
        }
        Ok(())
    }

    /// Moves the members of a small object, inside which nothing is left to be moved.
    fn permute_now(&mut self, sorted_start: usize, members: &mut [u8], offset: usize) {
        self.scratch.clear();
        for member in self.sorted.drain(sorted_start..) {
            self.scratch.extend_from_slice(&members[member.key.start - offset..member.end - offset]);
            self.scratch.push(b',');
        }
        members.copy_from_slice(&self.scratch[..members.len()]);
    }

    /// Carries out the permutations in what `text` has from `base` on.
    pub(crate) fn apply(self, text: &mut Vec<u8>, base: usize) {
        if self.permutations.is_empty() {
            return;
        }
        let sorted = self.permuted(text, base);
        if base == 0 {
            *text = sorted;
        } else {
            text[base..].copy_from_slice(&sorted);
        }
    }

    /// Fills a buffer of the same length from its end: there the outer permutations come
    /// before the inner ones, and so the last one inside any range is an outermost one.
    fn permuted(&self, text: &[u8], base: usize) -> Vec<u8> {
        let mut filler = Filler { buffer: vec![0; text.len() - base], left: text.len() - base };
        let mut pieces = vec![Piece { lead: None, text: base..text.len(), inner: 0..self.permutations.len() }];
        while let Some(mut piece) = pieces.pop() {
            if piece.inner.is_empty() {
                filler.put(&text[piece.text]);
                if let Some(lead) = piece.lead {
                    filler.put(&[lead]);
                }
                continue;
            }
            let permutation = &self.permutations[piece.inner.end - 1];
            filler.put(&text[permutation.text.end - 1..piece.text.end]);
            piece.text.end = permutation.text.start;
            piece.inner.end = permutation.inner_start;
            pieces.push(piece);
            let members = &self.sorted[permutation.members.clone()];
            let leads = std::iter::once(b'{').chain(std::iter::repeat(b','));
            pieces.extend(members.iter().zip(leads).map(|(member, lead)| Piece {
                lead: Some(lead),
                text: member.key.start..member.end,
                inner: member.inner.clone(),
            }));
        }
        filler.buffer
    }
}

fn sort(members: &mut [SortedMember], text: &[u8], escapes: Escapes) -> Result<(), DuplicateKey> {
    let compare =
        |a: &SortedMember, b: &SortedMember| key::compare(content(text, &a.key), content(text, &b.key), escapes);
    members.sort_unstable_by(compare);
    let mut pairs = members.array_windows();
    match pairs.find(|[a, b]| compare(a, b) == Ordering::Equal) {
        Some([_, twin]) => Err(DuplicateKey { key: twin.key.clone() }),
        None => Ok(()),
    }
}

/// What is between the quotes of the string at `string`.
#[inline]
fn content<'a>(text: &'a [u8], string: &Range<usize>) -> &'a [u8] {
    &text[string.start + 1..string.end - 1]
}

/// A range of the text that is still to be put.
struct Piece {
    /// The byte to put in front.
    lead: Option<u8>,
    text: Range<usize>,
    inner: Range<usize>,
}

/// A buffer that fills from its end.
struct Filler {
    buffer: Vec<u8>,
    left: usize,
}

impl Filler {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        let start = self.left - bytes.len();
        self.buffer[start..self.left].copy_from_slice(bytes);
        self.left = start;
    }
}
