//! `reductor plugin check`: would the host take this component?

use std::fmt::Write as _;
use std::path::PathBuf;

use reductor_host::{AdmissionError, Blame, CodeOrigin, CompileWorker, Difference, Measure, Plugin, Sandbox};
use reductor_host::{Json, Manifest, Reducer as _};
use serde_json::{Map, Value, json};

use crate::plugins::{self, CacheArgs};
use crate::{Outcome, output};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component.
    file: PathBuf,
    /// Print a JSON object, also when the component is not admitted.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheArgs,
}

pub(crate) fn check(args: &Args, worker: CompileWorker) -> anyhow::Result<Outcome> {
    let builder = Sandbox::builder().compile_worker(worker);
    let builder = match args.cache.open()? {
        Some(cache) => builder.artefact_cache(cache),
        None => builder,
    };
    let sandbox = builder.build()?;
    let admitted = plugins::patiently(&format!("checking {}", args.file.display()), || sandbox.admit_file(&args.file));
    match admitted {
        Ok(plugin) if args.json => output::pretty(&as_json(&args.file, &plugin, &sandbox))?,
        Ok(plugin) => output::text(&describe(&args.file, &plugin, &sandbox))?,
        Err(error) => {
            if args.json {
                output::pretty(&refused(&args.file, &error))?;
            }
            return Err(plugins::refused(&args.file, error));
        }
    }
    Ok(Outcome::AllWell)
}

fn as_json(file: &std::path::Path, plugin: &Plugin, sandbox: &Sandbox) -> Value {
    let measures: Map<_, _> = measured(plugin, sandbox)
        .map(|(measure, found, max)| (camel_case(measure.name()), json!({ "found": found, "max": max })))
        .collect();
    json!({
        "file": file,
        "admitted": true,
        "digest": plugin.plugin().digest,
        "bytes": plugin.component_bytes(),
        "bytesMax": sandbox.limits().component_bytes_max,
        "imports": plugin.imports(),
        "code": plugin.code_origin().name(),
        "compileMs": milliseconds(plugin),
        "measures": measures,
        "manifest": plugin.manifest(),
    })
}

fn refused(file: &std::path::Path, error: &AdmissionError) -> Value {
    let differences: Vec<_> = match error {
        AdmissionError::OtherWorld(differences) => differences.iter().map(difference).collect(),
        _ => Vec::new(),
    };
    let over_limit = match error {
        AdmissionError::OverLimit(over) => json!({
            "measure": camel_case(over.what.name()), "found": over.found, "max": over.max, "offset": over.offset,
        }),
        _ => Value::Null,
    };
    let blame = match error.blame() {
        Blame::Component => "component",
        Blame::Host => "host",
    };
    json!({
        "file": file,
        "admitted": false,
        "problem": error.to_string(),
        "blame": blame,
        "overLimit": over_limit,
        "differences": differences,
    })
}

/// What was counted, how much of it there is, and how much may be.
fn measured(plugin: &Plugin, sandbox: &Sandbox) -> impl Iterator<Item = (Measure, u64, u64)> {
    let max = |measure: Measure| measure.max(sandbox.static_limits(), sandbox.limits());
    Measure::ALL.iter().map(move |measure| (*measure, plugin.measures().get(*measure), max(*measure)))
}

fn milliseconds(plugin: &Plugin) -> f64 {
    plugin.compile_time().as_secs_f64() * 1000.0
}

fn camel_case(snake_case: &str) -> String {
    let mut words = snake_case.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
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
        Difference::Omitted { count } => json!({ "kind": "omitted", "count": count }),
    }
}

fn describe(file: &std::path::Path, plugin: &Plugin, sandbox: &Sandbox) -> String {
    let manifest = plugin.manifest();
    let row = |name: &str, value: &str| format!("\n  {name:<10}{value}");
    let scopes: Vec<_> = manifest.scopes.iter().map(|scope| scope.as_str()).collect();
    let mut text = format!("{}: {} version {}", file.display(), manifest.document_type, manifest.version);
    text += &row("digest", &plugin.plugin().digest);
    text += &row("size", &size(plugin, sandbox));
    text += &row("compiled", &compiled(plugin));
    text += &row("imports", &plugin.imports().join(", "));
    text += &row("scopes", &scopes.join(", "));
    text += &row("state", if manifest.canonical { "canonical JSON" } else { "JSON, made canonical by the host" });
    text += &actions(manifest);
    text
}

/// How large it is, and what of it comes nearest to its limit.
fn size(plugin: &Plugin, sandbox: &Sandbox) -> String {
    let measures = plugin.measures();
    let mut text = format!(
        "{} kB, {} functions, {} kB of memory from the start",
        plugin.component_bytes().div_ceil(1000),
        measures.functions,
        measures.memory_bytes.div_ceil(1000),
    );
    let share = |found: u64, max: u64| found as f64 / max as f64;
    let nearest = measured(plugin, sandbox).max_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)));
    if let Some((measure, found, max)) = nearest {
        let _ = write!(text, "\n  {:<10}{found} {measure} of {max} allowed", "fullest");
    }
    text
}

fn compiled(plugin: &Plugin) -> String {
    let ms = milliseconds(plugin);
    match plugin.code_origin() {
        CodeOrigin::Cache => format!("before; found in the cache in {ms:.0} ms"),
        CodeOrigin::Worker => format!("in {ms:.0} ms, by a child process"),
        CodeOrigin::InProcess => format!("in {ms:.0} ms"),
    }
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
