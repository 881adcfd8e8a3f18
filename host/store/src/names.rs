//! Texts that nearly every record repeats, such as scopes and plugin revisions: written once,
//! and a small number everywhere else.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use reductor_core::{DocumentType, PluginRef};

use crate::codec::{BadRecord, Name, PluginName, PluginText};

/// Names with numbers. More are spelled out in every record: who submits actions of ever new
/// types must not fill the memory.
const NAMES_MAX: usize = 65_536;

/// A text that is longer is not worth keeping in memory.
const NAME_BYTES_MAX: usize = 256;

/// What the numbers mean: for readers.
#[derive(Debug, Default)]
pub(crate) struct Names {
    texts: Vec<Arc<str>>,
    plugins: Vec<Arc<PluginRef>>,
}

/// Gives numbers: for the writer.
#[derive(Debug, Default)]
pub(crate) struct NameWriter {
    texts: HashMap<Arc<str>, u32, RandomState>,
    plugins: HashMap<(Arc<str>, u32, Arc<str>), u32, RandomState>,
    last_plugin: Option<(Arc<PluginRef>, u32)>,
    fresh: Vec<FreshName>,
}

/// A number that was just given, to be written with the record that it is used in.
#[derive(Clone, Debug)]
pub(crate) enum FreshName {
    Text(u32, Arc<str>),
    Plugin(u32, Arc<PluginRef>),
}

impl Names {
    pub(crate) fn text(&self, name: &Name<'_>) -> Result<Arc<str>, BadRecord> {
        match name {
            Name::Known(number) => {
                let text = self.texts.get(*number as usize);
                text.cloned().ok_or_else(|| BadRecord::fields(format!("it uses name {number}, which is missing")))
            }
            Name::Text(text) => Ok(Arc::from(*text)),
        }
    }

    pub(crate) fn plugin(&self, plugin: &PluginName<'_>) -> Result<Arc<PluginRef>, BadRecord> {
        match plugin {
            PluginName::Known(number) => {
                let plugin = self.plugins.get(*number as usize);
                plugin.cloned().ok_or_else(|| BadRecord::fields(format!("it uses plugin {number}, which is missing")))
            }
            PluginName::Text(text) => Ok(Arc::new(restore(text))),
        }
    }

    /// Takes the meaning of the next number.
    pub(crate) fn learn(&mut self, name: &FreshName) {
        match name {
            FreshName::Text(_, text) => self.texts.push(text.clone()),
            FreshName::Plugin(_, plugin) => self.plugins.push(plugin.clone()),
        }
    }
}

impl NameWriter {
    pub(crate) fn text<'a>(&mut self, text: &'a str) -> Name<'a> {
        if let Some(number) = self.texts.get(text) {
            return Name::Known(*number);
        }
        if text.len() > NAME_BYTES_MAX || self.texts.len() >= NAMES_MAX {
            return Name::Text(text);
        }
        let (number, text) = (self.texts.len() as u32, Arc::from(text));
        self.learn(FreshName::Text(number, text));
        Name::Known(number)
    }

    pub(crate) fn plugin<'a>(&mut self, plugin: &'a Arc<PluginRef>) -> PluginName<'a> {
        if let Some((last, number)) = &self.last_plugin
            && Arc::ptr_eq(last, plugin)
        {
            return PluginName::Known(*number);
        }
        let known = self.plugins.get(&key(plugin)).copied();
        let number = match known {
            Some(number) => number,
            None if self.plugins.len() >= NAMES_MAX => {
                let PluginRef { document_type, version, digest } = &**plugin;
                let text = PluginText { document_type: document_type.as_str(), version: *version, digest };
                return PluginName::Text(text);
            }
            None => {
                let number = self.plugins.len() as u32;
                self.learn(FreshName::Plugin(number, plugin.clone()));
                number
            }
        };
        self.last_plugin = Some((plugin.clone(), number));
        PluginName::Known(number)
    }

    fn learn(&mut self, name: FreshName) {
        self.know(&name);
        self.fresh.push(name);
    }

    /// Takes a number that was given before.
    pub(crate) fn know(&mut self, name: &FreshName) {
        match name {
            FreshName::Text(number, text) => self.texts.insert(text.clone(), *number),
            FreshName::Plugin(number, plugin) => self.plugins.insert(key(plugin), *number),
        };
    }

    /// The numbers given since the last call.
    pub(crate) fn take_fresh(&mut self) -> Vec<FreshName> {
        std::mem::take(&mut self.fresh)
    }
}

fn key(plugin: &PluginRef) -> (Arc<str>, u32, Arc<str>) {
    (plugin.document_type.shared(), plugin.version, plugin.digest.clone())
}

/// A plugin revision out of its text.
pub(crate) fn restore(text: &PluginText<'_>) -> PluginRef {
    PluginRef {
        document_type: DocumentType::from(text.document_type),
        version: text.version,
        digest: Arc::from(text.digest),
    }
}
