//! Takes the schema of an action enum apart: one schema for the input of each action.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::action;
use crate::manifest::ActionType;

const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
const DEFS: &str = "#/$defs/";

/// The actions of an enum, in its order. Every schema stands on its own.
///
/// Serde says which actions there are, schemars what they look like. That the two agree is
/// the test that the enum is externally tagged.
pub(crate) fn action_types<A: JsonSchema + DeserializeOwned>(document_type: &str) -> Vec<ActionType> {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    // Not the root schema: that one refers to itself as `#`, which would mean something else
    // in a schema of a single action.
    let schema = generator.subschema_for::<A>();
    let definitions = generator.take_definitions(true);
    take_apart(schema, &definitions, action::variants_of::<A>()).unwrap_or_else(|why| {
        panic!(
            "the actions of {document_type} ({}) must be an enum as serde writes it by default, \
             without #[serde(tag)], #[serde(untagged)] or the like: {why}",
            A::schema_name()
        )
    })
}

fn take_apart(
    schema: Schema,
    definitions: &Map<String, Value>,
    variants: Option<&'static [&'static str]>,
) -> Result<Vec<ActionType>, String> {
    let variants = variants.ok_or("serde asks for something else than an enum")?;
    let mut inputs = inputs(resolve(schema.as_value(), definitions))?;
    let mut actions = Vec::with_capacity(inputs.len());
    for &name in variants {
        // A variant that is not in the schema is another's alias.
        if let Some(index) = inputs.iter().position(|(described, _)| *described == name) {
            let (_, input) = inputs.remove(index);
            let input_schema = encode(standalone(input, definitions).as_value());
            actions.push(ActionType { name, input_schema });
        }
    }
    match inputs.first() {
        Some((name, _)) => Err(format!("serde knows no variant {name}")),
        None => Ok(actions),
    }
}

/// Follows `$ref` to the definition of the enum.
fn resolve<'a>(schema: &'a Value, definitions: &'a Map<String, Value>) -> &'a Value {
    match referred(schema).and_then(|name| definitions.get(name)) {
        Some(definition) => resolve(definition, definitions),
        None => schema,
    }
}

fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix(DEFS)
}

/// The names of the actions and the schemas of their inputs.
fn inputs(schema: &Value) -> Result<Vec<(&str, Schema)>, String> {
    let whole = std::slice::from_ref(schema);
    let branches = schema.get("oneOf").and_then(Value::as_array).map_or(whole, Vec::as_slice);
    let mut inputs = Vec::new();
    for branch in branches {
        let described = |input| with_description(input, branch.get("description"));
        if let Some(Value::String(name)) = branch.get("const") {
            inputs.push((name.as_str(), described(nothing())));
        } else if let Some(Value::Array(names)) = branch.get("enum") {
            inputs.extend(names.iter().filter_map(Value::as_str).map(|name| (name, nothing())));
        } else if let Some((name, input)) = only_property(branch) {
            let input = Schema::try_from(input.clone()).map_err(|error| error.to_string())?;
            inputs.push((name, described(input)));
        } else {
            let branch = encode(branch);
            return Err(format!("its schema has the branch {}", String::from_utf8_lossy(&branch)));
        }
    }
    Ok(inputs)
}

/// The schema of an action without input, exactly what its decoding accepts.
fn nothing() -> Schema {
    schemars::json_schema!({ "type": ["null", "object"], "maxProperties": 0 })
}

fn only_property(schema: &Value) -> Option<(&str, &Value)> {
    let properties = schema.get("properties")?.as_object()?;
    let (name, property) = properties.iter().next()?;
    (properties.len() == 1).then_some((name, property))
}

fn with_description(mut input: Schema, description: Option<&Value>) -> Schema {
    if let Some(description) = description {
        input.insert("description".to_owned(), description.clone());
    }
    input
}

/// Adds the definitions that a schema refers to, directly or not.
fn standalone(mut schema: Schema, definitions: &Map<String, Value>) -> Schema {
    let mut needed = Map::new();
    collect(schema.as_value(), definitions, &mut needed);
    schema.insert("$schema".to_owned(), json!(DIALECT));
    if !needed.is_empty() {
        schema.insert("$defs".to_owned(), Value::Object(needed));
    }
    schema
}

fn collect(part: &Value, definitions: &Map<String, Value>, needed: &mut Map<String, Value>) {
    if let Some((name, definition)) = referred(part).and_then(|name| definitions.get_key_value(name))
        && !needed.contains_key(name)
    {
        needed.insert(name.clone(), definition.clone());
        collect(definition, definitions, needed);
    }
    match part {
        Value::Object(members) => members.values().for_each(|part| collect(part, definitions, needed)),
        Value::Array(items) => items.iter().for_each(|part| collect(part, definitions, needed)),
        _ => {}
    }
}

fn encode(schema: &Value) -> Vec<u8> {
    match reductor_json::to_vec(schema) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a schema has no canonical JSON: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Everything.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "SCREAMING_SNAKE_CASE")]
    #[expect(dead_code, reason = "only its schema matters")]
    enum Action {
        Reset,
        /// Adds an item.
        Add {
            /// What it costs.
            price: u32,
            part: Option<Part>,
        },
        /// Takes it back.
        Undo,
        #[serde(alias = "OLD_NAME")]
        Attach(Part),
        Move(i64, i64),
        Batch(Vec<Action>),
    }

    /// A piece of it.
    #[derive(Deserialize, JsonSchema)]
    #[expect(dead_code, reason = "only its schema matters")]
    struct Part {
        name: String,
        parts: Vec<Part>,
    }

    fn schemas<A: JsonSchema + DeserializeOwned>() -> Vec<(&'static str, Value)> {
        let decode =
            |action: ActionType| (action.name, serde_json::from_slice(&action.input_schema).expect("a schema is JSON"));
        action_types::<A>("example/test").into_iter().map(decode).collect()
    }

    #[test]
    fn every_action_has_a_schema_of_its_own_in_the_order_of_the_enum() {
        let schemas = schemas::<Action>();
        let names: Vec<_> = schemas.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["RESET", "ADD", "UNDO", "ATTACH", "MOVE", "BATCH"]);
        let nothing = json!({"$schema": DIALECT, "type": ["null", "object"], "maxProperties": 0});
        assert_eq!(schemas[0].1, nothing);
        assert_eq!(schemas[2].1["description"], "Takes it back.");
        assert_eq!(schemas[4].1["maxItems"], 2);
    }

    #[test]
    fn doc_comments_become_descriptions() {
        let add = &schemas::<Action>()[1].1;
        assert_eq!(add["description"], "Adds an item.");
        assert_eq!(add["properties"]["price"]["description"], "What it costs.");
        assert_eq!(add["required"], json!(["price"]));
        assert_eq!(add["$defs"]["Part"]["description"], "A piece of it.");
    }

    #[test]
    fn a_schema_carries_the_definitions_it_needs_and_no_others() {
        let schemas = schemas::<Action>();
        let definitions = |index: usize| -> Vec<&str> {
            let definitions = schemas[index].1.get("$defs").and_then(Value::as_object);
            definitions.into_iter().flat_map(Map::keys).map(String::as_str).collect()
        };
        assert_eq!(definitions(0), Vec::<&str>::new());
        assert_eq!(definitions(3), ["Part"]);
        assert_eq!(definitions(5), ["Action", "Part"]);
        assert_eq!(schemas[5].1["items"]["$ref"], "#/$defs/Action");
    }

    #[test]
    fn enums_of_units_of_one_variant_and_in_a_newtype_are_enums_too() {
        #[derive(Deserialize, JsonSchema)]
        enum Units {
            A,
            B,
        }
        #[derive(Deserialize, JsonSchema)]
        #[expect(dead_code, reason = "only its schema matters")]
        enum One {
            Only(u8),
        }
        #[derive(Deserialize, JsonSchema)]
        #[expect(dead_code, reason = "only its schema matters")]
        struct Wrapped(Units);

        let names = |schemas: Vec<(&'static str, _)>| -> Vec<_> { schemas.into_iter().map(|(name, _)| name).collect() };
        assert_eq!(names(schemas::<Units>()), ["A", "B"]);
        assert_eq!(names(schemas::<One>()), ["Only"]);
        assert_eq!(names(schemas::<Wrapped>()), ["A", "B"]);
        let _ = (Units::A, Units::B);
    }

    #[test]
    #[should_panic(expected = "the actions of example/test (Internal) must be an enum as serde")]
    fn an_internally_tagged_enum_is_refused() {
        #[derive(Deserialize, JsonSchema)]
        #[serde(tag = "type")]
        enum Internal {
            A,
        }
        let _ = Internal::A;
        schemas::<Internal>();
    }

    #[test]
    #[should_panic(expected = "its schema has the branch")]
    fn a_schema_of_another_shape_is_refused() {
        #[derive(Deserialize, JsonSchema)]
        #[schemars(tag = "type")]
        #[expect(dead_code, reason = "only its schema matters")]
        enum Differing {
            A { x: u8 },
        }
        schemas::<Differing>();
    }

    #[test]
    #[should_panic(expected = "serde knows no variant B")]
    fn a_schema_with_other_names_is_refused() {
        #[derive(Deserialize, JsonSchema)]
        enum Differing {
            #[schemars(rename = "B")]
            A,
        }
        let _ = Differing::A;
        schemas::<Differing>();
    }
}
