//! `reductor plugin check`: would the host take this component?

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use reductor_host::{AdmissionError, Difference, GuestLimits, Plugin, Sandbox};
use reductor_host::{Json, Manifest, Reducer as _};
use serde_json::{Value, json};

use crate::{Outcome, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    file: PathBuf,
    /// Print a JSON object, also when the component is not admitted.
    #[arg(long)]
    json: bool,
}

pub(crate) fn check(args: &Args) -> anyhow::Result<Outcome> {
    let file = args.file.display();
    let bytes = std::fs::read(&args.file).with_context(|| format!("{file} cannot be read"))?;
    let sandbox = Sandbox::new(GuestLimits::default())?;
    match sandbox.admit(&bytes) {
        Ok(plugin) if args.json => output::pretty(&admitted(&args.file, &plugin))?,
        Ok(plugin) => output::text(&describe(&args.file, &plugin))?,
        Err(error) => {
            if args.json {
                output::pretty(&refused(&args.file, &error))?;
            }
            return Err(error).with_context(|| format!("{file} was not admitted"));
        }
    }
    Ok(Outcome::AllWell)
}

fn admitted(file: &std::path::Path, plugin: &Plugin) -> Value {
    json!({
        "file": file,
        "admitted": true,
        "digest": plugin.plugin().digest,
        "bytes": plugin.component_bytes(),
        "imports": plugin.imports(),
        "compileMs": plugin.compile_time().as_secs_f64() * 1000.0,
        "manifest": plugin.manifest(),
    })
}

fn refused(file: &std::path::Path, error: &AdmissionError) -> Value {
    let differences: Vec<_> = match error {
        AdmissionError::OtherWorld(differences) => differences.iter().map(difference).collect(),
        _ => Vec::new(),
    };
    json!({ "file": file, "admitted": false, "problem": error.to_string(), "differences": differences })
}

fn difference(difference: &Difference) -> Value {
    match difference {
        Difference::MissingExport { name } => json!({ "kind": "missing-export", "name": name }),
        Difference::ImportNotGranted { name, remedy } => {
            json!({ "kind": "import-not-granted", "name": name, "remedy": remedy })
        }
        Difference::OtherType { place, expected, found } => {
            json!({ "kind": "other-type", "place": place, "expected": expected, "found": found })
        }
    }
}

fn describe(file: &std::path::Path, plugin: &Plugin) -> String {
    let manifest = plugin.manifest();
    let row = |name: &str, value: &str| format!("\n  {name:<10}{value}");
    let scopes: Vec<_> = manifest.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut text = format!("{}: {} version {}", file.display(), manifest.document_type, manifest.version);
    text += &row("digest", &plugin.plugin().digest);
    text += &row("size", &format!("{} kB", plugin.component_bytes().div_ceil(1000)));
    text += &row("compiled", &format!("in {:.0} ms", plugin.compile_time().as_secs_f64() * 1000.0));
    text += &row("imports", &plugin.imports().join(", "));
    text += &row("scopes", &scopes.join(", "));
    text += &row("state", if manifest.canonical { "canonical JSON" } else { "JSON, made canonical by the host" });
    text += &actions(manifest);
    text
}

fn actions(manifest: &Manifest) -> String {
    let mut text = String::new();
    for (position, action) in manifest.actions.iter().enumerate() {
        let label = if position == 0 { "actions" } else { "" };
        let _ = write!(text, "\n  {label:<10}{}{}", action.name, input(&action.input_schema));
    }
    text
}

/// The members of an action's input, as far as its schema names them: ` {by: integer}`.
fn input(schema: &Json) -> String {
    let schema: Value = serde_json::from_str(schema.as_str()).unwrap_or_default();
    let Some(properties) = schema["properties"].as_object().filter(|properties| !properties.is_empty()) else {
        return String::new();
    };
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let members: Vec<_> = properties
        .iter()
        .map(|(name, schema)| {
            let optional = if required.contains(&name.as_str()) { "" } else { "?" };
            format!("{name}{optional}: {}", kind(schema))
        })
        .collect();
    format!(" {{{}}}", members.join(", "))
}

fn kind(schema: &Value) -> String {
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" | "),
        _ => "any".to_owned(),
    }
}
