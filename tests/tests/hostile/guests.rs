//! Makes components of the hostile guests.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::shapes;

const WIT: &str = include_str!("../../../wit/reducer.wit");
/// The world of guests that export more than a model.
const OTHER_WIT: &str = include_str!("../../guests/hostile/other.wit");
/// The world of a guest whose standard input is a stream of its own.
const LYING_WIT: &str = include_str!("../../guests/hostile/lying.wit");
/// The world of a guest that draws random numbers.
const RANDOM_WIT: &str = include_str!("../../guests/hostile/random.wit");

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests/hostile")
}

/// The name of their model, which stands in the text of each guest.
pub(crate) const DOCUMENT_TYPE: &str = "hostile/guest";

/// The component of a guest: of the file `wat/NAME.wat`, or of the shape `NAME`.
pub(crate) fn component(guest: &str) -> Result<Vec<u8>> {
    component_of(guest, DOCUMENT_TYPE)
}

/// The same as a model of another name, which must be as long.
pub(crate) fn component_of(guest: &str, document_type: &str) -> Result<Vec<u8>> {
    ensure!(document_type.len() == DOCUMENT_TYPE.len(), "the manifest says how long the name is");
    let own = match shapes::text(guest) {
        Some(text) => text,
        None => read(&format!("wat/{guest}.wat"))?,
    };
    componentize(&own, document_type, &shapes::sections(guest)).with_context(|| guest.to_owned())
}

/// A component that does what the well-behaved model does, except for the forms of `own`, and
/// that has these custom sections.
fn componentize(own: &str, document_type: &str, sections: &[(&str, Vec<u8>)]) -> Result<Vec<u8>> {
    let module = splice(&read("well-behaved.wat")?, own)?;
    let module = module.replace(&format!("\"{DOCUMENT_TYPE}\""), &format!("\"{document_type}\""));
    let mut module = wat::parse_str(&module)?;
    for (name, data) in sections {
        module.push(0);
        let size = 1 + name.len() + data.len();
        module.extend(shapes::leb128(size));
        module.extend(shapes::leb128(name.len()));
        module.extend(name.as_bytes());
        module.extend(data);
    }
    let mut resolve = Resolve::default();
    let mut package = resolve.push_str("reducer.wit", WIT).map_err(anyhow::Error::msg)?;
    let mut world = "reducer";
    let others = [
        ("hostile:other/", OTHER_WIT, "both"),
        ("wasi:cli/stdin", LYING_WIT, "lying"),
        ("wasi:random/", RANDOM_WIT, "random-model"),
    ];
    for (mark, wit, other_world) in others {
        if own.contains(mark) {
            package = resolve.push_str("other.wit", wit).map_err(anyhow::Error::msg)?;
            world = other_world;
        }
    }
    let world = resolve.select_world(&[package], Some(world)).map_err(anyhow::Error::msg)?;
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(anyhow::Error::msg)?;
    ComponentEncoder::default().module(&module).and_then(|mut encoder| encoder.encode()).map_err(anyhow::Error::msg)
}

fn read(file: &str) -> Result<String> {
    let path = folder().join(file);
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Replaces forms of the base module by those of `own` that have the same keyword and name,
/// and adds the others.
fn splice(base: &str, own: &str) -> Result<String> {
    let inside = base.split_once("(module").and_then(|(_, inside)| inside.rsplit_once(')'));
    let (inside, _) = inside.context("the base is no module")?;
    let (base, own) = (forms(inside)?, forms(own)?);
    let replaced = |form: &&str| head(form).is_none_or(|key| !own.iter().any(|own| head(own) == Some(key)));
    let kept = base.iter().copied().filter(replaced);
    let mut forms: Vec<_> = kept.chain(own.iter().copied()).collect();
    // Imports come before everything else.
    forms.sort_by_key(|form| !form.starts_with("(import"));
    Ok(format!("(module\n{}\n)", forms.join("\n")))
}

/// The keyword and the name of a form, such as `("func", "$load")`, if it has one.
fn head(form: &str) -> Option<(&str, &str)> {
    let mut words = form.trim_start_matches('(').split(|c: char| c.is_whitespace() || c == ')');
    let (keyword, name) = (words.next()?, words.next()?);
    name.starts_with('$').then_some((keyword, name))
}

/// The parenthesised forms at the top of a text, without the comments between them.
fn forms(text: &str) -> Result<Vec<&str>> {
    let (mut forms, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ';' => drop(characters.by_ref().find(|(_, character)| *character == '\n')),
            '"' => {
                while let Some((_, character)) = characters.next() {
                    match character {
                        '\\' => drop(characters.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '(' => {
                start = if depth == 0 { at } else { start };
                depth += 1;
            }
            ')' => {
                depth = depth.checked_sub(1).context("there is a parenthesis too many")?;
                if depth == 0 {
                    forms.push(&text[start..=at]);
                }
            }
            _ => {}
        }
    }
    ensure!(depth == 0, "a parenthesis is not closed");
    Ok(forms)
}
